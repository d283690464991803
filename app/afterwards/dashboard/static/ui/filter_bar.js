/** The conditions on a list of tasks; each is in the URL as soon as it is set. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { AGES, NOTHING, conditions, hasOwnTimes } from "../core/filter.js";
import { place, setQuery } from "../core/router.js";
import { stats } from "../core/store.js";
import { Icon } from "./basics.js";

const TYPING_MILLISECONDS = 300;
const ORDERS = [
  ["created", "Newest first"],
  ["due", "Soonest due first"],
  ["finished", "Last finished first"],
];

/** @param {{filter: import("../core/filter.js").Filter}} _ */
export function FilterBar({ filter }) {
  const types = Object.keys(stats.value?.by_type ?? {});
  const known = [...new Set([...types, ...filter.type])].toSorted();
  const shown = conditions(filter).filter(({ name }) => name !== "status");
  return html`<div class="filters" role="search"><${Search} value=${filter.q} />
      <${Select} label="Type" value=${filter.type[0] ?? ""} options=${[["", "Any type"], ...known.map((name) => [name, name])]} onChange=${(name) => setQuery({ type: name })} />
      <${Text} label="Label" placeholder="Label: tenant=acme" onEnter=${(label) => setQuery({ label: [...new Set([...filter.label, label])] })} />
      <${Age} filter=${filter} />
      <${Select} label="Order" value=${filter.order} options=${ORDERS} onChange=${(order) => setQuery({ order })} /></div>
    ${
      shown.length > 0 &&
      html`<div class="chips" role="group" aria-label="Conditions">${shown.map(({ word, change }) => html`<button key=${word} type="button" class="button small" aria-label="Remove ${word}" onClick=${() => setQuery(change)}>${word}<${Icon} name="close" /></button>`)}
      ${shown.length > 1 && html`<button type="button" class="button quiet small" onClick=${() => setQuery(NOTHING)}>Remove all</button>`}</div>`
    }`;
}

const OWN = "own";

/** An age, or two times of this zone. */
function Age({ filter: { after, before } }) {
  const [isOwn, setOwn] = useState(hasOwnTimes({ after, before }));
  const choose = (name) => {
    setOwn(name === OWN);
    setQuery({ after: name === OWN ? null : name, before: null });
  };
  const change = (name) => (event) => setQuery({ [name]: event.target.value });
  const value = isOwn || hasOwnTimes({ after, before }) ? OWN : after;
  return html`<${Select} label="Created" value=${value} options=${[...AGES, [OWN, "Between…"]]} onChange=${choose} />
    ${
      value === OWN &&
      html`<label><span class="unseen">Created after</span><input type="datetime-local" value=${after} onChange=${change("after")} /></label>
      <label><span class="unseen">Created before</span><input type="datetime-local" value=${before} onChange=${change("before")} /></label>`
    }`;
}

/** Searches when the typing pauses; a word that is still typed makes no history. */
function Search({ value }) {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  const field = useRef(null);
  useEffect(() => setText((before) => (before.trim() === value ? before : value)), [value]);
  useEffect(() => {
    if (place.peek().query.get("focus") !== "search") return;
    setQuery({ focus: null }, { replace: true });
    field.current.focus();
  }, []);
  // Else it would change the query of another page.
  useEffect(() => () => clearTimeout(timer.current), []);
  const search = (next, options) => {
    clearTimeout(timer.current);
    setQuery({ q: next.trim() }, options);
  };
  const type = (event) => {
    const next = event.target.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(next, { replace: true }), TYPING_MILLISECONDS);
  };
  const press = (event) => {
    if (event.key === "Enter") search(event.target.value);
    if (event.key === "Escape") event.target.blur();
  };
  return html`<label class="search"><span class="unseen">Search</span><${Icon} name="search" /><input ref=${field} type="search" dir="auto" value=${text}
    placeholder="Id, text, or payload.customer=7" title="The beginning of an id, a text in payload or error, or a member of the payload" onInput=${type} onKeyDown=${press} /></label>`;
}

const Select = ({
  label,
  value,
  options,
  onChange,
}) => html`<label><span class="unseen">${label}</span><select value=${value} onChange=${(event) => onChange(event.target.value)}>
  ${options.map(([name, word]) => html`<option key=${name} value=${name} selected=${name === value}>${word}</option>`)}</select></label>`;

function Text({ label, placeholder, onEnter }) {
  const press = (event) => {
    const text = event.target.value.trim();
    if (event.key !== "Enter" || !text) return;
    event.target.value = "";
    onEnter(text);
  };
  return html`<label><span class="unseen">${label}</span><input class="short" placeholder=${placeholder} title="Enter adds it" onKeyDown=${press} /></label>`;
}
