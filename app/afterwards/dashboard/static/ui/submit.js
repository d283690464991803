/** A new task, by a form that its type's schema makes. */
import { html, useState } from "../vendor/preact.js";
import { Problem, get, post } from "../core/api.js";
import { isForClients } from "../core/deliveries.js";
import { pretty } from "../core/format.js";
import { masked } from "../core/mask.js";
import { useResource } from "../core/resource.js";
import { go } from "../core/router.js";
import { example } from "../core/schema.js";
import { Dialog, close, show } from "./dialog.js";
import { Field, Mistakes, PayloadForm, parse } from "./form.js";
import { Loaded, NoTypes } from "./states.js";
import { toast, wrong } from "./toasts.js";

/** @param {{type?: string, payload?: any}} [begun] what the form begins with */
export const submitDialog = (begun = {}) => show(html`<${Submit} begun=${begun} />`);

function Submit({ begun }) {
  const types = useResource("task types", (signal) => get("task-types", {}, signal));
  return html`<${Loaded} of=${types}>${({ task_types: known }) => {
    const offered = known.filter(({ name }) => isForClients(name));
    if (!offered.length) return html`<${Dialog} title="Submit a task"><${NoTypes} /><//>`;
    return html`<${SubmitForm} types=${offered} begun=${begun} />`;
  }}<//>`;
}

function SubmitForm({ types, begun }) {
  const [type, setType] = useState(types.find((one) => one.name === begun.type) ?? types[0]);
  const [text, setText] = useState(pretty(begun.payload ?? example(type.payload_schema) ?? {}));
  const [delay, setDelay] = useState("");
  const [refusals, setRefusals] = useState([]);
  const { payload } = parse(text);
  const secrets = masked(payload);
  const choose = (event) => {
    const chosen = types.find((one) => one.name === event.target.value);
    setType(chosen);
    setText(pretty(example(chosen.payload_schema) ?? {}));
    setRefusals([]);
  };
  const send = async () => {
    try {
      const task = await post("tasks", {
        type: type.name,
        payload,
        ...(Number(delay) > 0 && { delay_seconds: Number(delay) }),
      });
      close();
      toast("The task is on disk.");
      go(`tasks/${task.id}`);
    } catch (error) {
      if (error instanceof Problem && error.errors.length) setRefusals(error.errors);
      else wrong(error);
    }
  };
  const footer = html`<button type="button" class="button" onClick=${close}>Leave it</button>
    <button type="button" class="button primary" disabled=${!payload || secrets.length > 0} onClick=${send}>Submit</button>`;
  return html`<${Dialog} title="Submit a task" footer=${footer}>
    <${Field} id="submit-type" label="Type"><select id="submit-type" value=${type.name} onChange=${choose}>${types.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}</select><//>
    ${type.paused && html`<p class="dim">This type is paused: the task waits until it is resumed.</p>`}
    <${PayloadForm} key=${type.name} schema=${type.payload_schema} text=${text} onChange=${setText} refusals=${[...secrets, ...refusals]} />
    <${Mistakes} wrong=${refusals.filter(({ pointer }) => !pointer?.startsWith("#/payload"))} />
    <${Field} id="submit-delay" label="Delay in seconds" hint="Empty: it runs at once."><input id="submit-delay" type="number" min="0" step="any" value=${delay} onInput=${(event) => setDelay(event.target.value)} /><//><//>`;
}
