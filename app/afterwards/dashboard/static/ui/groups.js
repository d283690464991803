/** Failed tasks that failed for the same reason, and what can be done about all of them. */
import { html } from "../vendor/preact.js";
import { number } from "../core/format.js";
import { href } from "../core/router.js";
import { stats } from "../core/store.js";
import { pauseType } from "./actions.js";
import { TaskLink, Time, TypeLink, Verb } from "./basics.js";
import { bulk } from "./later.js";
import { Spark } from "./spark.js";
import { Table } from "./table.js";

const tasksOf = (group) => href("tasks", { status: "failed", error: group.id });

const COLUMNS = [
  {
    name: "count",
    title: "Failed",
    kind: "number",
    cell: (group) => html`<a class="loud" href=${tasksOf(group)}>${number(group.count)}</a>`,
  },
  {
    name: "error",
    title: "Error",
    kind: "wide mono",
    cell: (group) =>
      html`<a class="plain" href=${tasksOf(group)} title=${group.message}><bdi>${group.message}</bdi></a>`,
  },
  { name: "type", title: "Type", cell: (group) => html`<${TypeLink} name=${group.type} />` },
  {
    name: "day",
    title: "24 h",
    cell: (group) =>
      html`<${Spark} values=${group.series} state="failed" bars label="Failures by hour, the last 24 h" />`,
  },
  {
    name: "first",
    title: "First",
    kind: "number",
    cell: (group) => html`<${Time} at=${group.first_seen} />`,
  },
  { name: "last", title: "Last", kind: "number", cell: (group) => html`<${Time} at=${group.last_seen} />` },
];

const Samples = ({ group }) =>
  html`<span class="samples faint">newest ${group.sample_ids.map((id) => html`<${TaskLink} key=${id} id=${id} />`)}</span>`;

const act = (group, reload, canDelete) => html`<span class="verbs">
  <${Verb} icon="retry" kind="small" label="Retry the ${number(group.count)} tasks of this group" onClick=${() => bulk("retry", { error: group.id, status: ["failed"] }, reload)}>Retry<//>
  <${PauseVerb} type=${group.type} />
  ${canDelete && html`<${Verb} icon="remove" kind="small quiet" label="Delete the tasks of this group" onClick=${() => bulk("delete", { error: group.id, status: ["failed"] }, reload)} />`}</span>`;

export function PauseVerb({ type, onDone, kind = "small" }) {
  const isPaused = stats.value?.paused_types.includes(type) ?? false;
  const done = (isPausedThen) => {
    const known = stats.peek();
    const others = known?.paused_types.filter((name) => name !== type);
    if (known) stats.value = { ...known, paused_types: isPausedThen ? [...others, type] : others };
    onDone?.();
  };
  return html`<${Verb} icon=${isPaused ? "play" : "pause"} kind=${kind} label="${isPaused ? "Resume" : "Pause"} type ${type}"
    onClick=${() => pauseType(type, isPaused, done)}>${isPaused ? "Resume" : "Pause type"}<//>`;
}

/** @param {{groups: any[], reload: () => void, onOpen: (group: any) => void, isFull?: boolean}} _ */
export function Groups({ groups, reload, onOpen, isFull = false }) {
  const verbs = {
    name: "verbs",
    title: html`<span class="unseen">Actions</span>`,
    kind: "number",
    cell: (group) => act(group, reload, isFull),
  };
  return html`<${Table} label="Error groups" isCards columns=${[...COLUMNS, verbs]} rows=${groups} keyOf=${(group) => group.id} onOpen=${onOpen} more=${isFull ? (group) => html`<${Samples} group=${group} />` : undefined}
    keys=${{ r: (group) => bulk("retry", { error: group.id, status: ["failed"] }, reload) }} />`;
}

export const openGroup = (go) => (group) => go(tasksOf(group));
