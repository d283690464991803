/** Three charts of how tasks went over a time, for all tasks and for those of one type. */
import { html } from "../vendor/preact.js";
import { duration, rate } from "../core/format.js";
import { Chart } from "./chart.js";

export const RANGES = [
  ["1h", "1 h"],
  ["24h", "24 h"],
  ["30d", "30 d"],
];
export const RELOAD_SECONDS = { "1h": 15, "24h": 60, "30d": 300 };

/** What each line is in Prometheus, and the state whose colour it has; deploy/grafana has the same. */
const THROUGHPUT = [
  {
    label: "Submitted",
    column: "submitted",
    metric: "afterwards_tasks_submitted_total",
    state: "pending",
    dash: [2, 3],
  },
  {
    label: "Succeeded",
    column: "succeeded",
    metric: "afterwards_task_transitions_total",
    state: "success",
    fill: true,
  },
  {
    label: "Failed",
    column: "failed",
    metric: "afterwards_task_transitions_total",
    state: "failed",
    dash: [5, 2],
    fill: true,
  },
  {
    label: "Retried",
    column: "retried",
    metric: "afterwards_task_retries_total",
    state: "retrying",
    dash: [8, 2, 2, 2],
  },
];
const QUANTILES = [
  { label: "p50", state: "success" },
  { label: "p95", state: "processing", dash: [6, 3] },
  { label: "p99", state: "failed", dash: [2, 3] },
];

const perSecond = (values, step) => values.map((value) => (value === null ? null : value / step));

/** @param {{series: any}} _ what `/stats/series` gives */
export function SeriesCharts({ series }) {
  const { times: at, step_seconds: step } = series;
  const quantiles = (name) => QUANTILES.map((line) => ({ ...line, values: series[`${name}_${line.label}`] }));
  const throughput = THROUGHPUT.map((line) => ({ ...line, values: perSecond(series[line.column], step) }));
  const metrics = [...new Set(THROUGHPUT.map(({ metric }) => metric))].join(", ");
  return html`<div class="charts">
    <${Chart} title="Throughput" metric=${metrics} at=${at} lines=${throughput} format=${rate} />
    <${Chart} title="Wait" metric="afterwards_task_wait_seconds" at=${at} lines=${quantiles("wait")} format=${duration} log />
    <${Chart} title="Run" metric="afterwards_task_run_seconds" at=${at} lines=${quantiles("run")} format=${duration} log /></div>`;
}
