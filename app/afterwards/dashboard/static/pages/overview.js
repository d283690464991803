/** The service on one page: what waits, runs and fails, how fast, and why. */
import { html } from "../vendor/preact.js";
import { API, get } from "../core/api.js";
import { remember } from "../core/drain.js";
import { duration, number, rate, shortNumber } from "../core/format.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go, href, place, setQuery } from "../core/router.js";
import { stats } from "../core/store.js";
import { Badge, Choice, Copy, Heading, STATES, Verb } from "../ui/basics.js";
import { Groups, openGroup } from "../ui/groups.js";
import { RANGES, RELOAD_SECONDS, SeriesCharts } from "../ui/series.js";
import { Slots } from "../ui/slots.js";
import { Spark, thinned } from "../ui/spark.js";
import { Loaded, Skeleton } from "../ui/states.js";
import { submitDialog } from "../ui/later.js";
import { TypeTable } from "../ui/type_table.js";

const GROUPS_SHOWN = 5;

export default function Overview() {
  const asked = place.value.query.get("range");
  const range = asked in RELOAD_SECONDS ? asked : "1h";
  useStatsStream(remember);
  const series = useResource(`series ${range}`, (signal) => get("stats/series", { range }, signal), {
    every: RELOAD_SECONDS[range],
  });
  const isUnused = stats.value && Object.values(stats.value.tasks).every((count) => count === 0);
  document.title = "Overview · Afterwards";
  return html`<${Heading} title="Overview" aside=${html`<${Verb} icon="add" onClick=${() => submitDialog()}>Submit a task<//>
      <${Choice} label="Range" options=${RANGES} value=${range} onChange=${(name) => setQuery({ range: name === "1h" ? null : name })} />`} />
    <${Tiles} series=${series.data} />
    ${isUnused && html`<${FirstUse} />`}
    <${Loaded} of=${series} rows=${7} isPart>${(data) => html`<${SeriesCharts} series=${data} />`}<//>
    <${Failing} />
    <${TypesNow} /><${SlotsNow} />`;
}

const Tiles = ({ series }) =>
  html`<ul class="tiles" aria-label="Tasks by state" title="In Prometheus: afterwards_tasks">${STATES.map(
    (state) => html`<${Tile} key=${state} state=${state} column=${series?.tasks?.[state]} />`,
  )}</ul>`;

function Tile({ state, column }) {
  const tasks = stats.value?.tasks;
  const count = tasks?.[state];
  return html`<li class="tile" data-state=${state} data-loud=${String(state === "failed" && count > 0)}>
    <a href=${href("tasks", { status: state })}><${Badge} state=${state} /><b title=${number(count)}>${shortNumber(count)}</b></a>
    <${Spark} values=${thinned(column ?? [])} state=${state} />
    <p class="note">${state === "pending" && stats.value?.oldest_pending_seconds > 0 && html`oldest ${duration(stats.value.oldest_pending_seconds)}`}
      ${state === "scheduled" && tasks?.retrying > 0 && html`<a href=${href("tasks", { status: "retrying" })}>${number(tasks.retrying)} retrying</a>`}
      ${state === "success" && stats.value?.per_second && rate(stats.value.per_second.finished)}
      ${state === "failed" && stats.value?.per_second && rate(stats.value.per_second.failed)}</p></li>`;
}

function Failing() {
  const errors = useResource("errors top", (signal) => get("errors", { order: "count" }, signal), {
    every: 15,
  });
  const groups = errors.data?.groups;
  if (groups?.length === 0) return null;
  return html`<section class="section" aria-labelledby="failing"><header><h2 id="failing">Failing</h2><span class="metric mono">afterwards_tasks{state="failed"}</span>
      ${groups?.length > GROUPS_SHOWN && html`<a href=${href("errors")}>all ${number(groups.length)} groups</a>`}</header>
    <${Loaded} of=${errors} rows=${3} isPart>${({ groups: found }) => html`<${Groups} groups=${found.slice(0, GROUPS_SHOWN)} reload=${errors.reload} onOpen=${openGroup(go)} />`}<//></section>`;
}

const TypesNow =
  () => html`<section class="section" aria-labelledby="types"><header><h2 id="types">Types</h2><span class="metric mono">afterwards_tasks</span></header>
  ${stats.value ? html`<${TypeTable} names=${Object.keys(stats.value.by_type)} />` : html`<${Skeleton} rows=${4} />`}</section>`;

const SlotsNow = () =>
  stats.value &&
  html`<section class="section" aria-labelledby="slots"><header><h2 id="slots">Slots</h2>
    <span class="metric mono">afterwards_executor_slots</span></header><${Slots} slots=${stats.value.slots} /></section>`;

const CURL = `curl ${API.href}tasks -H 'Content-Type: application/json' \\
  -d '{"type": "notification", "payload": {"email": "johndoe@example.com", "message": "Hello"}}'`;

const FirstUse = () => html`<section class="begin" aria-labelledby="first"><h2 id="first">No tasks yet</h2>
  <p>Send one from a shell, or fill in a form. It shows here at once.</p>
  <pre>${CURL}</pre><p><${Copy} text=${CURL}>Copy<//> <${Verb} icon="add" kind="primary" onClick=${() => submitDialog()}>Submit a task<//></p></section>`;
