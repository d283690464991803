/** One task type: its limits, how its tasks go, and its payload's schema. */
import { html } from "../vendor/preact.js";
import { get, part } from "../core/api.js";
import { isForClients } from "../core/deliveries.js";
import { remember } from "../core/drain.js";
import { duration, number } from "../core/format.js";
import { useStatsStream } from "../core/live.js";
import { useResource } from "../core/resource.js";
import { go, href, place, setQuery } from "../core/router.js";
import { stats } from "../core/store.js";
import { Badge, Choice, Heading, STATES, Verb } from "../ui/basics.js";
import { Groups, PauseVerb, openGroup } from "../ui/groups.js";
import { Json } from "../ui/json.js";
import { Loaded } from "../ui/states.js";
import { submitDialog } from "../ui/later.js";
import { RANGES, RELOAD_SECONDS, SeriesCharts } from "../ui/series.js";

export default function Type({ name }) {
  useStatsStream(remember);
  const type = useResource(`type ${name}`, (signal) => get(`task-types/${part(name)}`, {}, signal));
  const asked = place.value.query.get("range");
  const range = asked in RELOAD_SECONDS ? asked : "1h";
  document.title = `${name} · Afterwards`;
  const isPaused = stats.value?.paused_types.includes(name) ?? type.data?.paused;
  const aside =
    type.data &&
    html`${isForClients(name) && html`<${Verb} icon="add" onClick=${() => submitDialog({ type: name })}>Submit a task<//>`}<${PauseVerb} type=${name} onDone=${type.reload} kind="" />
    <${Choice} label="Range" options=${RANGES} value=${range} onChange=${(one) => setQuery({ range: one === "1h" ? null : one })} />`;
  return html`<${Heading} title=${html`<bdi>${name}</bdi>`} aside=${aside}>${isPaused && html`<span class="tag">paused</span>`}<//>
    <${Loaded} of=${type}>${(known) => html`
      <${Numbers} type=${known} /><${Series} name=${name} range=${range} /><${TypeErrors} name=${name} />
      <${Limits} type=${known} /><${Json} title="Schema of the payload" value=${known.payload_schema} />`}<//>`;
}

function Numbers({ type }) {
  const counts = stats.value?.by_type[type.name] ?? type.tasks;
  return html`<ul class="numbers" aria-label="Tasks of this type by state">${STATES.map(
    (state) =>
      html`<li key=${state}><a href=${href("tasks", { type: type.name, status: state })}><${Badge} state=${state} /> <b>${number(counts[state] ?? 0)}</b></a></li>`,
  )}</ul>`;
}

function Series({ name, range }) {
  const series = useResource(
    `series ${range} ${name}`,
    (signal) => get("stats/series", { range, type: name }, signal),
    { every: RELOAD_SECONDS[range] },
  );
  return html`<${Loaded} of=${series} rows=${7} isPart>${(data) => html`<${SeriesCharts} series=${data} />`}<//>`;
}

function TypeErrors({ name }) {
  const errors = useResource(
    `errors ${name} count`,
    (signal) => get("errors", { type: name, order: "count" }, signal),
    { every: 15 },
  );
  if (!errors.data?.groups.length) return null;
  return html`<section class="section" aria-labelledby="failing"><header><h2 id="failing">Failing</h2></header>
    <${Groups} groups=${errors.data.groups.slice(0, 5)} reload=${errors.reload} onOpen=${openGroup(go)} /></section>`;
}

function Limits({ type }) {
  const {
    executor,
    max_attempts: attempts,
    timeout_seconds: timeout,
    max_concurrency: concurrency,
    rate_limit: rate,
  } = type;
  const facts = [
    ["Runs in", executor],
    ["Attempts", number(attempts)],
    ["Time limit", duration(timeout)],
    ["At once", concurrency === null ? "no limit" : number(concurrency)],
    ["Rate", rate === null ? "no limit" : `${number(rate.count)} in ${duration(rate.period_seconds)}`],
  ];
  return html`<section class="section" aria-labelledby="limits"><header><h2 id="limits">Limits</h2></header>
    <dl class="limits">${facts.map(([word, value]) => html`<div key=${word}><dt>${word}</dt><dd>${value}</dd></div>`)}</dl></section>`;
}
