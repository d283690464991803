/** A payload as a form made from its type's schema, or as JSON. */
import { html, useState } from "../vendor/preact.js";
import { pretty } from "../core/format.js";
import { mistakes, withoutNull } from "../core/schema.js";
import { Choice } from "./basics.js";

const SIMPLE = new Set(["string", "integer", "number", "boolean"]);
const INPUTS = { email: "email", uri: "url", password: "password" };

/** A labelled field. `hint` and `error` are read with it. */
export function Field({ id, label, hint, error, isRequired, children }) {
  return html`<div class="field"><label for=${id}>${label}${isRequired && html`<span class="faint"> required</span>`}</label>
    ${children}${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    ${error && html`<p class="wrong" id="${id}-error" role="alert">${error}</p>`}</div>`;
}

/** @returns {{payload: any, error: string|null}} what a text is as JSON */
export function parse(text) {
  try {
    const payload = JSON.parse(text);
    if (typeof payload === "object" && payload !== null && !Array.isArray(payload))
      return { payload, error: null };
    return { payload: null, error: "A payload is a JSON object: { … }" };
  } catch (error) {
    return { payload: null, error: error.message };
  }
}

/**
 * @param {{schema: any, text: string, onChange: (text: string) => void, refusals?: {pointer?: string, message: string}[]}} _
 * text: the payload as JSON; refusals: what the service has said of it, by pointers into the body
 */
export function PayloadForm({ schema, text, onChange, refusals = [] }) {
  const members = Object.entries(schema?.properties ?? {});
  const hasForm = members.length > 0;
  const [isForm, setForm] = useState(hasForm);
  const { payload, error } = parse(text);
  const wrong = [
    ...(payload && schema ? mistakes(payload, schema) : []),
    ...refusals.map((one) => ({ ...one, pointer: (one.pointer ?? "#").replace("#/payload", "#") })),
  ];
  const set = (name, value) => {
    const { [name]: _, ...rest } = payload ?? {};
    onChange(pretty(value === undefined ? rest : { ...payload, [name]: value }));
  };
  const isShownAsForm = isForm && hasForm && payload;
  return html`<div class="payload-form">${
    hasForm &&
    html`<${Choice} label="Payload as" options=${[
      ["form", "Form"],
      ["json", "JSON"],
    ]} value=${isShownAsForm ? "form" : "json"} onChange=${(name) => setForm(name === "form")} />`
  }
    ${
      isShownAsForm
        ? members.map(
            ([
              name,
              member,
            ]) => html`<${Member} key=${name} name=${name} schema=${withoutNull(member, schema)} value=${payload[name]}
        isRequired=${schema.required?.includes(name)} error=${messageAt(wrong, `#/${name}`)} onChange=${(value) => set(name, value)} />`,
          )
        : html`<${Field} id="payload" label="Payload (JSON)" error=${error}><textarea id="payload" rows="10" spellcheck="false" dir="auto" value=${text} onInput=${(event) => onChange(event.target.value)}></textarea><//>`
    }
    ${!isShownAsForm && html`<${Mistakes} wrong=${wrong} />`}</div>`;
}

const messageAt = (wrong, pointer) =>
  wrong.find((one) => one.pointer === pointer || one.pointer?.startsWith(`${pointer}/`))?.message;

export const Mistakes = ({ wrong }) =>
  wrong.length > 0 &&
  html`<ul class="mistakes" role="alert">${wrong.map(({ pointer, message }) => html`<li key=${pointer + message}><code>${pointer}</code> ${message}</li>`)}</ul>`;

function Member({ name, schema, value, isRequired, error, onChange }) {
  const id = `field-${name}`;
  const described =
    [schema.description && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const shared = { id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined };
  return html`<${Field} id=${id} label=${schema.title ?? name} hint=${schema.description} error=${error} isRequired=${isRequired}>
    <${Input} schema=${schema} value=${value} shared=${shared} onChange=${onChange} /><//>`;
}

function Input({ schema, value, shared, onChange }) {
  if (schema.enum) {
    const choose = (event) =>
      onChange(event.target.value === "" ? undefined : schema.enum[Number(event.target.value)]);
    return html`<select ...${shared} value=${schema.enum.indexOf(value) < 0 ? "" : String(schema.enum.indexOf(value))} onChange=${choose}><option value=""></option>
      ${schema.enum.map((one, index) => html`<option key=${one} value=${String(index)}>${String(one)}</option>`)}</select>`;
  }
  if (schema.type === "boolean")
    return html`<input type="checkbox" ...${shared} checked=${Boolean(value)} onChange=${(event) => onChange(event.target.checked)} />`;
  if (!SIMPLE.has(schema.type))
    return html`<${JsonInput} value=${value} shared=${shared} onChange=${onChange} />`;
  const isNumber = schema.type !== "string";
  const change = ({ target }) =>
    onChange(
      target.value === "" && (isNumber || schema.isNullable)
        ? undefined
        : isNumber
          ? Number(target.value)
          : target.value,
    );
  const kind = isNumber
    ? { type: "number", step: schema.type === "integer" ? 1 : "any" }
    : { type: INPUTS[schema.format] ?? "text", dir: "auto", autocomplete: "off" };
  return html`<input ...${kind} ...${shared} value=${value ?? ""} onInput=${change} />`;
}

/** A member that has no field of its own: JSON, taken over when it is right. */
function JsonInput({ value, shared, onChange }) {
  const [text, setText] = useState(value === undefined ? "" : pretty(value));
  const change = ({ target }) => {
    setText(target.value);
    try {
      onChange(target.value.trim() ? JSON.parse(target.value) : undefined);
    } catch {
      // Half-written JSON; the last that was whole stays.
    }
  };
  return html`<textarea rows="3" spellcheck="false" dir="auto" ...${shared} value=${text} onInput=${change}></textarea>`;
}
