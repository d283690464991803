/** One task: what it is, how it went, attempt by attempt, and what can be done about it. */
import { html, useRef } from "../vendor/preact.js";
import { API, apiUrl, get, part } from "../core/api.js";
import { bytes, duration, shortId } from "../core/format.js";
import { isForClients } from "../core/deliveries.js";
import { useKeys } from "../core/keys.js";
import { masked } from "../core/mask.js";
import { useStatsPolling, useStream } from "../core/live.js";
import { useRepeated, useResource } from "../core/resource.js";
import { go, href } from "../core/router.js";
import { mayChange } from "../core/store.js";
import { cancel, deleteTask, retry, runNow } from "../ui/actions.js";
import {
  Badge,
  Copy,
  Fact,
  Heading,
  Icon,
  Labels,
  Meter,
  Time,
  TypeLink,
  UNFINISHED,
  Verb,
  stateOf,
} from "../ui/basics.js";
import { Json } from "../ui/json.js";
import { editDialog, submitDialog } from "../ui/later.js";
import { Relations, Waits } from "../ui/relations.js";
import { Loaded } from "../ui/states.js";
import { Timeline } from "../ui/timeline.js";

const RELOAD_MILLISECONDS = 1_000;
const RELATIONS_SECONDS = 10;
const RETRYABLE = new Set(["failed", "cancelled"]);

export default function Task({ name: id }) {
  useStatsPolling();
  const resource = useResource(`task ${id}`, (signal) =>
    get(`tasks/${part(id)}`, { tracebacks: 1, logs: 1 }, signal),
  );
  const { data: task } = resource;
  useTaskEvents(id, resource);
  // Children, and who holds its key, change without an event of this task.
  useRepeated(resource.reload, task && UNFINISHED.has(task.status) ? RELATIONS_SECONDS : 0);
  document.title = `${task ? `${task.type} ` : ""}${shortId(id)} · Afterwards`;
  const reload = () => void resource.reload();
  useKeys(task && mayChange.value ? keysOf(task, reload) : {});
  return html`<${Heading} title=${task ? html`<bdi>${task.type}</bdi>` : "Task"} aside=${task && html`<${Verbs} task=${task} reload=${reload} />`}>
      ${task && html`<${Badge} state=${stateOf(task)} />`}
      <span class="id"><span class="mono dim">${id}</span><${Copy} text=${id} label="Copy the id" /></span><//>
    <${Loaded} of=${resource} rows=${8}>${(found) => html`<${Details} task=${found} />`}<//>`;
}

/** Progress shows at once; after anything else the task is loaded, once a second at most. */
function useTaskEvents(id, resource) {
  const timer = useRef(0);
  const isOver = resource.data === undefined && resource.error;
  useStream(isOver ? null : "events", { task_id: [id] }, (frames) => {
    const last = frames.at(-1);
    if (last.name === "stats") return;
    if (frames.every(({ name }) => name === "progress") && resource.data) {
      const { fraction, message, at } = last.data;
      resource.set({ ...resource.data, progress: { fraction, message, at } });
      return;
    }
    clearTimeout(timer.current);
    timer.current = setTimeout(resource.reload, frames.length > 1 ? RELOAD_MILLISECONDS : 0);
  });
}

/** True if its payload may be sent: it is shown, and the type is one that clients submit. */
const isReusable = (task) => !task.redacted && isForClients(task.type);

function keysOf(task, reload) {
  return {
    r: () =>
      RETRYABLE.has(task.status) ? retry(task, reload) : task.status === "scheduled" && runNow(task, reload),
    c: () => UNFINISHED.has(task.status) && cancel(task, reload),
    e: () => RETRYABLE.has(task.status) && isReusable(task) && editDialog(task, reload),
  };
}

function Verbs({ task, reload }) {
  const isFinished = !UNFINISHED.has(task.status);
  return html`${
    RETRYABLE.has(task.status) &&
    html`<${Verb} icon="retry" kind="primary" onClick=${() => retry(task, reload)}>Retry<//>
      ${isReusable(task) && html`<${Verb} icon="edit" onClick=${() => editDialog(task, reload)}>Edit and retry<//>`}`
  }
    ${task.status === "scheduled" && html`<${Verb} icon="now" onClick=${() => runNow(task, reload)}>Run now<//>`}
    ${!isFinished && html`<${Verb} icon="close" kind="danger" disabled=${task.cancel_requested} onClick=${() => cancel(task, reload)}>${task.cancel_requested ? "Asked to stop" : "Cancel"}<//>`}
    ${isReusable(task) && html`<${Verb} icon="add" onClick=${() => submitDialog({ type: task.type, payload: task.payload })}>Duplicate<//>`}
    ${isReusable(task) && !masked(task.payload).length && html`<${Copy} text=${curlOf(task)}>Copy as curl<//>`}
    ${isFinished && html`<${Verb} icon="remove" kind="quiet" label="Delete" onClick=${() => deleteTask(task, () => go("tasks"))} />`}`;
}

/** Submits the same once more. */
function curlOf(task) {
  const body = JSON.stringify({ type: task.type, payload: task.payload }).replaceAll("'", "'\\''");
  return `curl ${API.href}tasks -H 'Content-Type: application/json' -d '${body}'`;
}

const Details = ({ task }) => html`<div class="task">
  <div class="main">
    <${Waits} waiting=${task.waiting_for} />
    ${task.status === "processing" && task.progress && html`<p class="progress" role="status"><${Meter} fraction=${task.progress.fraction} label="Progress" /> ${Math.round(task.progress.fraction * 100)} % <bdi class="dim">${task.progress.message}</bdi></p>`}
    ${task.error && html`<section class="failure loudly" aria-label="Error"><h2>${task.retrying ? "Last error" : "Error"}</h2><p dir="auto"><bdi>${task.error}</bdi></p></section>`}
    <section class="section" aria-labelledby="attempts"><header><h2 id="attempts">Attempts</h2><span class="faint">${task.attempts} started, ${task.max_attempts} in a round</span></header><${Timeline} attempts=${task.history} task=${task} /></section>
    ${task.log_lines?.length > 0 && html`<section class="section" aria-labelledby="log"><header><h2 id="log">Output of the last attempt</h2></header><pre class="values" tabindex="0" dir="auto">${task.log_lines.join("\n")}</pre></section>`}
    ${task.redacted ? html`<${Hidden} />` : html`<${Values} task=${task} />`}
  </div>
  <${Facts} task=${task} /></div>`;

const Hidden = () => html`<p class="notice"><${Icon} name="lock" /><span><b>Payloads are hidden from this key.</b> So are results, errors, progress, files and output.</span></p>`;

const Values = ({ task }) => html`<${Json} title="Payload" value=${task.payload} />${task.result !== null && html`<${Json} title="Result" value=${task.result} />`}${task.artifacts.length > 0 && html`<${Files} task=${task} />`}`;

const Files = ({
  task: { id, artifacts },
}) => html`<section class="section" aria-labelledby="files"><header><h2 id="files">Files</h2></header>
  <ul class="files">${artifacts.map(({ name, size }) => html`<li key=${name}><a href=${apiUrl(`tasks/${part(id)}/artifacts/${part(name)}`).href}><bdi>${name}</bdi></a> <span class="faint">${bytes(size)}</span></li>`)}</ul></section>`;

const Trace = ({ id, link }) => html`${
  link
    ? html`<a class="mono" href=${link} target="_blank" rel="noreferrer" aria-label=${`Trace ${id}`}>${shortId(id)}</a>`
    : html`<span class="mono">${shortId(id)}</span>`
}<${Copy} text=${id} label="Copy the id of the trace" />`;

const Facts = ({ task }) => html`<dl class="facts-list" aria-label="Facts">
  <${Fact} name="Type"><${TypeLink} name=${task.type} /><//>
  <${Fact} name="Created"><${Time} at=${task.created_at} /><//>
  <${Fact} name="Due"><${Time} at=${task.run_at} /><//>
  <${Fact} name="Started"><${Time} at=${task.started_at} /><//>
  <${Fact} name="Finished"><${Time} at=${task.finished_at} /><//>
  ${task.deadline && html`<${Fact} name="Deadline"><${Time} at=${task.deadline} /><//>`}
  ${Object.keys(task.labels ?? {}).length > 0 && html`<${Fact} name="Labels"><${Labels} labels=${task.labels} /><//>`}
  ${task.schedule && html`<${Fact} name="Schedule"><a href=${href("schedules", { name: task.schedule })}>${task.schedule}</a><//>`}
  <${Relations} task=${task} />
  ${task.trace_id && html`<${Fact} name="Trace"><${Trace} id=${task.trace_id} link=${task.trace_link} /><//>`}
  <${Fact} name="Priority">${task.priority}<//>
  <${Fact} name="Retried by hand">${task.retries}<//>
  <${Fact} name="Runs in">${task.executor}<//>
  <${Fact} name="Time limit">${task.timeout_seconds ? duration(task.timeout_seconds) : "the type's"}<//>
  ${task.idempotency_key && html`<${Fact} name="Idempotency key"><bdi class="mono">${task.idempotency_key}</bdi><//>`}
</dl>`;
