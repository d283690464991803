/** What ties a task to others: its parent and children, its group, its keys, and what it waits for. */
import { html } from "../vendor/preact.js";
import { get, part } from "../core/api.js";
import { number, plural } from "../core/format.js";
import { useResource } from "../core/resource.js";
import { href } from "../core/router.js";
import { Fact, Icon, Meter, TaskLink } from "./basics.js";
import { Loaded } from "./states.js";

const RELOAD_SECONDS = 5;
const STARTS = { success: "starts if all succeed", finished: "starts when all are finished" };

/** @param {{task: any}} _ */
export const Relations = ({ task }) => html`
  ${task.parent && html`<${Fact} name="Parent"><${TaskLink} id=${task.parent} /><//>`}
  ${task.children > 0 && html`<${Fact} name="Children"><a href=${href("tasks", { parent: task.id })}>${plural(task.children, "task")}</a><//>`}
  ${task.follows && html`<${Fact} name="Follows"><${Group} id=${task.id} /><p class="faint">It ${STARTS[task.follows.on]}.</p><//>`}
  ${task.group && html`<${Fact} name="Group"><${Group} id=${task.group} /><p class="faint">Then <${TaskLink} id=${task.group} /></p><//>`}
  ${task.concurrency_key && html`<${Fact} name="Concurrency key"><${Key} value=${task.concurrency_key} link=${href("tasks", { type: task.type, concurrency_key: task.concurrency_key })} /><//>`}
  ${task.unique_key && html`<${Fact} name="Unique key"><${Key} value=${task.unique_key} link=${href("tasks", { unique_key: task.unique_key })} /><//>`}`;

const Key = ({ value, link }) => html`<a class="mono" href=${link}><bdi>${value}</bdi></a>`;

/** How many of a group have ended. No event of this task tells of its group, so it is asked for. */
function Group({ id }) {
  const group = useResource(`group ${id}`, (signal) => get(`groups/${part(id)}`, {}, signal), {
    every: RELOAD_SECONDS,
  });
  return html`<${Loaded} of=${group} rows=${1} isPart>${({ size, finished, ...ended }) => html`<div class="group"><${Meter} fraction=${finished / size} label="Finished tasks of the group" state=${ended.failed ? "failed" : "success"} />
    <a href=${href("tasks", { group: id })}>${number(finished)} of ${plural(size, "task")} finished</a></div>
    <p class="dim">${endsInWords(ended)}</p>`}<//>`;
}

const endsInWords = (ended) =>
  ["succeeded", "failed", "cancelled"]
    .filter((end) => ended[end] > 0)
    .map((end) => `${number(ended[end])} ${end}`)
    .join(", ");

/** Says what a task waits for that is not its time. @param {{waiting: any}} _ */
export function Waits({ waiting }) {
  if (!waiting) return null;
  return html`<p class="notice waits" role="status"><${Icon} name="pending" /><span>${waiting.group ? "Waits for its group." : html`<${WaitsForKey} waiting=${waiting} />`}</span></p>`;
}

/** The number is null for a key of the API that may not count the tasks of others. */
const WaitsForKey = ({ waiting: { concurrency_key: key, holders } }) =>
  html`Waits for its key <bdi class="mono">${key}</bdi>${holders === null ? "." : `: ${plural(holders, "attempt")} ${holders === 1 ? "runs" : "run"}.`}`;
