/** Tasks in rows; the same wherever tasks are listed. */
import { html } from "../vendor/preact.js";
import { duration, number } from "../core/format.js";
import { go } from "../core/router.js";
import { now } from "../core/store.js";
import { Badge, Labels, Meter, TaskLink, Time, TypeLink, stateOf } from "./basics.js";
import { Table } from "./table.js";

const isAhead = (task) => task.status === "scheduled" || task.status === "pending";

/** A task's last error, if there is one, and its payload in short. */
function Digest({ task }) {
  if (task.redacted)
    return html`<span class="faint" title="Payloads are hidden from this key">hidden</span>`;
  const text = task.digest ?? JSON.stringify(task.payload);
  const failed = task.error && (task.status === "failed" || task.retrying);
  return html`${failed && html`<bdi class="error" title=${task.error}>${task.error}</bdi> `}<bdi class="mono dim" title=${text}>${text}</bdi>`;
}

function Run({ task }) {
  if (task.status === "processing") {
    const run = html`<span>${duration(Math.max(0, Math.floor((now.value - Date.parse(task.started_at)) / 1_000)))}</span>`;
    return task.progress
      ? html`<${Meter} fraction=${task.progress.fraction} label="Progress" /> ${Math.round(task.progress.fraction * 100)} %`
      : run;
  }
  if (!task.finished_at || !task.started_at) return html`<span class="faint">–</span>`;
  return duration(Math.max(0, (Date.parse(task.finished_at) - Date.parse(task.started_at)) / 1_000));
}

/** The due time if that is ahead, else the age. */
const When = ({ task }) =>
  isAhead(task) && Date.parse(task.run_at) > Date.now()
    ? html`<${Time} at=${task.run_at} />`
    : html`<${Time} at=${task.created_at} />`;

const COLUMNS = [
  { name: "state", title: "State", cell: (task) => html`<${Badge} state=${stateOf(task)} />` },
  { name: "id", title: "Task", cell: (task) => html`<${TaskLink} id=${task.id} />` },
  { name: "type", title: "Type", cell: (task) => html`<${TypeLink} name=${task.type} />` },
  { name: "payload", title: "Payload", kind: "wide", cell: (task) => html`<${Digest} task=${task} />` },
  { name: "labels", title: "Labels", cell: (task) => html`<${Labels} labels=${task.labels} />` },
  {
    name: "attempts",
    title: html`<abbr title="Attempts started, of those in a round">Tries</abbr>`,
    kind: "number",
    cell: (task) =>
      html`<span title="${number(task.attempts)} attempts, ${number(task.max_attempts)} in a round">${task.attempts}/${task.max_attempts}</span>`,
  },
  { name: "when", title: "Age or due", kind: "number", cell: (task) => html`<${When} task=${task} />` },
  { name: "run", title: "Run", kind: "number", cell: (task) => html`<${Run} task=${task} />` },
];

/** @param {{tasks: any[], selection?: any, keys?: Record<string, (task: any) => void>, label?: string, without?: string[]}} _ */
export function TaskTable({ tasks, selection, keys, label = "Tasks", without = [] }) {
  const hasLabels = tasks.some((task) => Object.keys(task.labels ?? {}).length);
  const columns = COLUMNS.filter(({ name }) => !without.includes(name) && (name !== "labels" || hasLabels));
  return html`<${Table} label=${label} columns=${columns} rows=${tasks} keyOf=${(task) => task.id} selection=${selection} keys=${keys} isCards onOpen=${(task) => go(`tasks/${task.id}`)} />`;
}
