/** Schedules: their recurrence, their last task, the next times. */
import { html, useState } from "../vendor/preact.js";
import { get, part, post, remove } from "../core/api.js";
import { recurrenceInWords } from "../core/cron.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go, href, place } from "../core/router.js";
import { seesPayloads } from "../core/store.js";
import { Heading, Time, TypeLink, Verb } from "../ui/basics.js";
import { confirm } from "../ui/dialog.js";
import { scheduleDialog } from "../ui/schedule_form.js";
import { Empty, Loaded } from "../ui/states.js";
import { Table } from "../ui/table.js";
import { said, toast } from "../ui/toasts.js";

const RELOAD_SECONDS = 10;
const PAGE = 100;

export default function Schedules() {
  useStatsStream();
  const [limit, setLimit] = useState(PAGE);
  const schedules = useResource(
    `schedules ${limit}`,
    (signal) => get("schedules", { limit, results: true }, signal),
    { every: RELOAD_SECONDS },
  );
  document.title = "Schedules · Afterwards";
  const create = () => scheduleDialog(null, schedules.reload);
  return html`<${Heading} title="Schedules" aside=${html`<${Verb} icon="add" onClick=${create}>New schedule<//>`} />
    <${Loaded} of=${schedules}>${({
      schedules: found,
      next,
    }) => html`${found.length ? html`<${List} schedules=${found} reload=${schedules.reload} />` : html`<${None} create=${create} />`}
      ${next && limit < 500 && html`<p class="end"><button type="button" class="button" onClick=${() => setLimit(limit + PAGE)}>Show more</button></p>`}`}<//>`;
}

const None = ({ create }) => html`<${Empty} icon="schedules" title="No schedules">
  <p>A schedule submits a task again and again: one for each due time, restarts included.</p><p><${Verb} icon="add" kind="primary" onClick=${create}>New schedule<//></p><//>`;

const COLUMNS = [
  {
    name: "name",
    title: "Schedule",
    cell: ({ name, paused, module, gone }) =>
      html`<b>${name}</b> ${paused && html`<span class="tag">paused</span>`}
      ${gone && html`<span class="tag" title="${module} declares it no longer: it makes no tasks. Declare it again, or delete it.">gone from ${module}</span>`}
      ${module && !gone && html`<span class="faint" title="Declared in the task module ${module}, and changed there">${module}</span>`}`,
  },
  {
    name: "recurs",
    title: "Recurs",
    kind: "wrap",
    cell: (schedule) =>
      html`<span title=${schedule.cron ?? ""}>${recurrenceInWords(schedule)}</span>${schedule.cron && html` <span class="faint">${schedule.timezone}</span>`}`,
  },
  { name: "type", title: "Type", cell: ({ type }) => html`<${TypeLink} name=${type} />` },
  {
    name: "last",
    title: "Last task",
    cell: ({ last_task_id: id, last_due: due }) =>
      id === null
        ? html`<span class="faint">none yet</span>`
        : html`<a href=${href(`tasks/${id}`)}><${Time} at=${due} /></a>`,
  },
  {
    name: "results",
    title: "Latest results",
    cell: ({ results }) => html`<${Strip} results=${results} />`,
  },
  {
    name: "next",
    title: "Next",
    kind: "number",
    cell: ({ next_runs: runs, paused, gone }) =>
      paused || gone
        ? html`<span class="dim">${gone ? "gone" : "paused"}</span>` : html`<${Time} at=${runs[0]} otherwise="never" />`,
  },
];

const ENDS = ["success", "failed", "cancelled"];

/** What became of the tasks of the latest due times, the newest at the right: tall and striped is failed. */
function Strip({ results }) {
  if (!results.length) return html`<span class="faint">none yet</span>`;
  const counts = ENDS.map((state) => [state, results.filter(({ status }) => status === state).length]);
  const words = counts.filter(([, count]) => count).map(([state, count]) => `${count} ${state}`);
  const open = results.length - counts.reduce((sum, [, count]) => sum + count, 0);
  if (open) words.push(`${open} unfinished`);
  return html`<span class="strip" role="img" aria-label="Of the latest ${results.length}: ${words.join(", ")}" title=${words.join(", ")}>${results
    .toReversed()
    .map(({ task_id: id, status }) => html`<i key=${id} data-state=${status}></i>`)}</span>`;
}

function List({ schedules, reload }) {
  const [open, setOpen] = useState(place.value.query.get("name"));
  const verbs = {
    name: "verbs",
    title: html`<span class="unseen">Actions</span>`,
    kind: "number",
    cell: (schedule) => html`<${Verbs} schedule=${schedule} reload=${reload} />`,
  };
  return html`<${Table} label="Schedules" columns=${[...COLUMNS, verbs]} rows=${schedules} keyOf=${({ name }) => name} isCards
    onOpen=${({ name }) => setOpen(open === name ? null : name)} more=${(schedule) => schedule.name === open && html`<${More} schedule=${schedule} />`} />`;
}

const More = ({
  schedule: {
    cron,
    every_seconds: every,
    next_runs: runs,
    last_due: due,
    last_task_id: id,
    catch_up: catchUp,
    module,
    gone,
  },
}) => html`<dl class="limits">
  <div><dt>${cron ? "Cron" : "Every"}</dt><dd class="mono">${cron ?? `${every} s`}</dd></div>
  <div><dt>Next five</dt><dd>${runs.length ? runs.map((run) => html`<span key=${run} class="run"><${Time} at=${run} /></span>`) : `none while it is ${gone ? "gone" : "paused"}`}</dd></div>
  <div><dt>Last due</dt><dd><${Time} at=${due} otherwise="not yet" /> ${id && html`<a href=${href(`tasks/${id}`)}>its task</a>`}</dd></div>
  ${module && html`<div><dt>Task module</dt><dd class="mono">${module}</dd></div>`}
  <div><dt>Missed times</dt><dd>${String(catchUp)}</dd></div></dl>`;

function Verbs({ schedule, reload }) {
  const { name, paused, module, gone } = schedule;
  const isDeclared = module !== null && !gone;
  const path = `schedules/${part(name)}`;
  const run = async () => {
    const task = await said(() => post(`${path}/run`));
    if (task) {
      toast(`${name} has made a task.`);
      go(`tasks/${task.id}`);
    }
  };
  const pause = async () => {
    if (await said(() => post(`${path}/${paused ? "resume" : "pause"}`)))
      toast(`${name} is ${paused ? "resumed" : "paused"}.`);
    reload();
  };
  const discard = () =>
    confirm({
      title: `Delete ${name}?`,
      text: "It makes no more tasks. Those that it has made stay.",
      verb: "Delete",
      action: () => said(() => remove(path).then(() => toast(`${name} was deleted.`))).then(reload),
    });
  return html`<span class="verbs"><${Verb} icon="now" kind="small" label="Run now: ${name}" onClick=${run}>Run now<//>
    <${Verb} icon=${paused ? "play" : "pause"} kind="small quiet" label="${paused ? "Resume" : "Pause"} ${name}" onClick=${pause} />
    ${!isDeclared && seesPayloads.value && html`<${Verb} icon="edit" kind="small quiet" label="Edit ${name}" onClick=${() => scheduleDialog(name, reload)} />`}
    ${!isDeclared && html`<${Verb} icon="remove" kind="small quiet" label="Delete ${name}" onClick=${discard} />`}</span>`;
}
