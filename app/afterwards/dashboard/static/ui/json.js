/** JSON as a tree. Large values are folded, so that a megabyte costs nothing until it is opened. */
import { html, useMemo, useState } from "../vendor/preact.js";
import { byteLength, bytes, number, pretty } from "../core/format.js";
import { MASK } from "../core/mask.js";
import { Copy, Icon } from "./basics.js";

const OPEN_BYTES = 20_000;
const OPEN_DEPTH = 3;
const OPEN_MEMBERS = 30;
const FOLDED_BYTES = 1_000_000;
const PORTION = 100;
const LONG_TEXT = 400;

/** @param {{title: string, value: any}} _ */
export function Json({ title, value }) {
  const [isText, setText] = useState(false);
  const text = useMemo(() => pretty(value), [value]);
  const size = useMemo(() => byteLength(JSON.stringify(value)), [value]);
  const depth = size > FOLDED_BYTES ? 0 : size > OPEN_BYTES ? 1 : OPEN_DEPTH;
  return html`<section class="json" aria-label=${title}><header><h2>${title}</h2><span class="faint">${bytes(size)}${depth === 0 ? ", folded" : ""}</span>
      <span class="aside"><button type="button" class="button quiet small" aria-pressed=${String(isText)} onClick=${() => setText(!isText)}>${isText ? "Tree" : "Text"}</button>
      <${Copy} text=${text} label="Copy ${title.toLowerCase()}" /></span></header>
    <div class="values" tabindex="0" role="region" aria-label="${title}, JSON">${isText ? html`<pre dir="auto">${text}</pre>` : html`<${Node} value=${value} depth=${depth} isRoot />`}</div></section>`;
}

const isBranch = (value) => typeof value === "object" && value !== null;

/** @param {{name?: string, value: any, depth: number, isRoot?: boolean}} _ */
function Node({ name, value, depth, isRoot = false }) {
  const entries = isBranch(value) ? Object.entries(value) : null;
  const [isOpen, setOpen] = useState(depth > 0 && (entries?.length ?? 0) <= OPEN_MEMBERS);
  const key = name !== undefined && html`<bdi class="key">${name}</bdi>: `;
  if (!entries) return html`<div class="leaf">${key}<${Leaf} value=${value} /></div>`;
  if (!entries.length)
    return html`<div class="leaf">${key}<span class="dim">${Array.isArray(value) ? "[]" : "{}"}</span></div>`;
  return html`<div class=${isRoot ? "" : "branch"}><button type="button" class="fold" aria-expanded=${String(isOpen)} onClick=${() => setOpen(!isOpen)}>
      <${Icon} name="expand" />${key && html`<span>${key}</span>`}<span class="faint">${Array.isArray(value) ? `[${number(entries.length)}]` : `{${number(entries.length)}}`}</span></button>
    ${isOpen && html`<${Members} entries=${entries} depth=${depth - 1} isList=${Array.isArray(value)} />`}</div>`;
}

/** A hundred at a time: a list may have a hundred thousand. */
function Members({ entries, depth, isList }) {
  const [shown, setShown] = useState(PORTION);
  return html`<div class="members">${entries.slice(0, shown).map(([name, value]) => html`<${Node} key=${name} name=${isList ? `${name}` : name} value=${value} depth=${depth} />`)}
    ${entries.length > shown && html`<button type="button" class="button quiet small" onClick=${() => setShown(shown + PORTION)}>${number(entries.length - shown)} more · show ${Math.min(PORTION, entries.length - shown)}</button>`}</div>`;
}

function Leaf({ value }) {
  const [isWhole, setWhole] = useState(false);
  if (value === MASK)
    return html`<span class="dim" title="Kept from view by the service">${MASK} redacted</span>`;
  if (typeof value !== "string") return html`<span class="literal">${String(value)}</span>`;
  if (isWhole || value.length <= LONG_TEXT) return html`<bdi class="text" dir="auto">"${value}"</bdi>`;
  return html`<bdi class="text" dir="auto">"${value.slice(0, LONG_TEXT)}…"</bdi> <button type="button" class="button quiet small" onClick=${() => setWhole(true)}>all ${number(value.length)} characters</button>`;
}
