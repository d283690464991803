/** Types with what waits, how fast it goes, and when nothing will wait any more. */
import { html } from "../vendor/preact.js";
import { forecast } from "../core/drain.js";
import { duration, number, rate } from "../core/format.js";
import { go, href } from "../core/router.js";
import { stats } from "../core/store.js";
import { TypeLink } from "./basics.js";
import { PauseVerb } from "./groups.js";
import { Empty } from "./states.js";
import { Table } from "./table.js";

const count = (state, title) => ({
  name: state,
  title,
  kind: "number",
  cell: ({ name, counts }) =>
    counts[state]
      ? html`<a class=${state === "failed" ? "loud" : "plain"} href=${href("tasks", { type: name, status: state })}>${number(counts[state])}</a>`
      : html`<span class="faint">0</span>`,
});

const COLUMNS = [
  {
    name: "name",
    title: "Type",
    kind: "name",
    cell: ({ name, isPaused }) =>
      html`<${TypeLink} name=${name} /> ${isPaused && html`<span class="tag">paused</span>`}`,
  },
  count("pending", "Pending"),
  count("processing", "Processing"),
  count("scheduled", "Scheduled"),
  count("failed", "Failed"),
  {
    name: "rate",
    title: "Finish rate",
    kind: "number",
    cell: ({ now }) => html`<span class=${now.perSecond ? "" : "faint"}>${rate(now.perSecond)}</span>`,
  },
  { name: "drain", title: "Drained", kind: "number", cell: (row) => html`<${Drain} row=${row} />` },
  {
    name: "verbs",
    title: html`<span class="unseen">Actions</span>`,
    kind: "number",
    cell: ({ name }) => html`<${PauseVerb} type=${name} />`,
  },
];

function Drain({ row: { isPaused, now } }) {
  if (isPaused && now.trend !== "empty") return html`<span class="dim">waits</span>`;
  if (now.trend === "draining")
    return html`<span title="At the pace of the last minute">in ${duration(now.seconds)}</span>`;
  if (now.trend === "growing") return html`<b class="loud">growing</b>`;
  if (now.trend === "steady") return html`<span class="dim">steady</span>`;
  return html`<span class="faint">${now.trend === "unknown" ? "measuring" : "empty"}</span>`;
}

/** @param {{names: string[]}} _ */
export function TypeTable({ names }) {
  const { by_type: byType, paused_types: paused, types_left_out: others } = stats.value;
  if (!names.length)
    return html`<${Empty} icon="types" title="No tasks of any type">Types show here when they have tasks. <a href=${href("types")}>All types</a><//>`;
  const rows = names.toSorted().map((name) => ({
    name,
    counts: byType[name] ?? {},
    isPaused: paused.includes(name),
    now: forecast(name),
  }));
  return html`<div class="scroller"><${Table} label="Task types" columns=${COLUMNS} rows=${rows} keyOf=${(row) => row.name} onOpen=${(row) => go(`types/${encodeURIComponent(row.name)}`)} /></div>
    ${others > 0 && html`<p class="dim">${number(others)} more types have tasks, and are not shown.</p>`}`;
}
