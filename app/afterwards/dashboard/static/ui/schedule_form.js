/** A schedule, new or changed. */
import { html, useState } from "../vendor/preact.js";
import { Problem, get, part, put } from "../core/api.js";
import { cronInWords } from "../core/cron.js";
import { isForClients } from "../core/deliveries.js";
import { ZONE, pretty } from "../core/format.js";
import { useResource } from "../core/resource.js";
import { example } from "../core/schema.js";
import { Choice } from "./basics.js";
import { Dialog, close, show } from "./dialog.js";
import { Field, Mistakes, PayloadForm, parse } from "./form.js";
import { Loaded, NoTypes } from "./states.js";
import { said, toast, wrong } from "./toasts.js";

/**
 * Opens the form. Lists have no payloads, so the schedule is loaded before: the form begins with what
 * is stored now.
 *
 * @param {string|null} name null: a new one @param {() => void} onDone
 */
export async function scheduleDialog(name, onDone) {
  const schedule = name === null ? null : await said(() => get(`schedules/${part(name)}`));
  if (schedule || name === null) show(html`<${Begin} schedule=${schedule} onDone=${onDone} />`);
}

function Begin({ schedule, onDone }) {
  const types = useResource("task types", (signal) => get("task-types", {}, signal));
  return html`<${Loaded} of=${types}>${({ task_types: known }) => {
    const offered = known.filter(({ name }) => isForClients(name));
    if (!offered.length) return html`<${Dialog} title="New schedule"><${NoTypes} /><//>`;
    return html`<${Form} types=${offered} schedule=${schedule} onDone=${onDone} />`;
  }}<//>`;
}

const BEGUN = { name: "", cron: "0 3 * * *", every_seconds: null, timezone: ZONE };

function Form({ types, schedule, onDone }) {
  const [values, setValues] = useState({ ...BEGUN, type: types[0].name, ...schedule });
  const [isCron, setCron] = useState(values.cron !== null);
  const type = types.find(({ name }) => name === values.type);
  const [text, setText] = useState(pretty(schedule?.payload ?? example(type?.payload_schema) ?? {}));
  const [refusals, setRefusals] = useState([]);
  const set = (name) => (event) => setValues({ ...values, [name]: event.target.value });
  const { payload } = parse(text);
  const chooseType = (event) => {
    setValues({ ...values, type: event.target.value });
    setText(pretty(example(types.find(({ name }) => name === event.target.value).payload_schema) ?? {}));
  };
  const save = async () => {
    try {
      await put(`schedules/${part(values.name)}`, bodyOf(values, isCron, payload));
      close();
      toast(`The schedule ${values.name} is saved.`);
      onDone();
    } catch (error) {
      if (error instanceof Problem && error.errors.length) setRefusals(error.errors);
      else wrong(error);
    }
  };
  const refusalOf = (name) => refusals.find(({ pointer }) => pointer === `#/${name}`)?.message;
  const footer = html`<button type="button" class="button" onClick=${close}>Leave it</button>
    <button type="button" class="button primary" disabled=${!payload || !values.name} onClick=${save}>Save</button>`;
  return html`<${Dialog} title=${schedule ? `Edit ${schedule.name}` : "New schedule"} footer=${footer}>
    ${!schedule && html`<${Field} id="schedule-name" label="Name" hint="Letters, digits, '.', '_' and '-'." error=${refusalOf("name")} isRequired><input id="schedule-name" value=${values.name} onInput=${set("name")} autocomplete="off" /><//>`}
    <${Recurrence} values=${values} set=${set} isCron=${isCron} setCron=${setCron} refusalOf=${refusalOf} />
    <${Field} id="schedule-type" label="Type"><select id="schedule-type" value=${values.type} onChange=${chooseType}>${types.map(({ name }) => html`<option key=${name} value=${name} selected=${name === values.type}>${name}</option>`)}</select><//>
    <${PayloadForm} key=${values.type} schema=${type?.payload_schema} text=${text} onChange=${setText} refusals=${refusals} />
    <${Mistakes} wrong=${refusals.filter(({ pointer }) => !/^#\/(payload|cron|every_seconds|timezone|name)/.test(pointer ?? ""))} /><//>`;
}

function wordsOf(cron) {
  const words = cronInWords(cron ?? "");
  return words === cron ? "Minute, hour, day of the month, month, day of the week." : words;
}

function Recurrence({ values, set, isCron, setCron, refusalOf }) {
  return html`<${Choice} label="Recurrence" options=${[
    ["cron", "By the calendar"],
    ["every", "At an interval"],
  ]} value=${isCron ? "cron" : "every"} onChange=${(name) => setCron(name === "cron")} />
    ${
      isCron
        ? html`<${Field} id="schedule-cron" label="Cron" hint=${wordsOf(values.cron)} error=${refusalOf("cron")}><input id="schedule-cron" class="mono" value=${values.cron ?? ""} onInput=${set("cron")} /><//>
        <${Field} id="schedule-zone" label="Time zone" error=${refusalOf("timezone")}><input id="schedule-zone" value=${values.timezone} onInput=${set("timezone")} /><//>`
        : html`<${Field} id="schedule-every" label="Every so many seconds" error=${refusalOf("every_seconds")}><input id="schedule-every" type="number" min="1" value=${values.every_seconds ?? ""} onInput=${set("every_seconds")} /><//>`
    }`;
}

/** Members that the form does not show stay as they are. */
function bodyOf(values, isCron, payload) {
  const { type, timezone, catch_up, paused, priority, max_attempts, timeout_seconds, labels } = values;
  const { concurrency_key, unique_key } = values;
  const unchanged = { catch_up, paused, priority, max_attempts, timeout_seconds, labels, concurrency_key, unique_key };
  const kept = Object.fromEntries(
    Object.entries(unchanged).filter(([, value]) => value !== undefined && value !== null),
  );
  const recurrence = isCron
    ? { cron: values.cron, timezone }
    : { every_seconds: Number(values.every_seconds) };
  return { type, payload, ...recurrence, ...kept };
}
