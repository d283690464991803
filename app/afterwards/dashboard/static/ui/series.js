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

const QUANTILES = [
  ["p50", "success"],
  ["p95", "processing", [6, 3]],
  ["p99", "failed", [2, 3]],
];

const perSecond = (values, step) => values.map((value) => (value === null ? null : value / step));

/** @param {{series: any}} _ what `/stats/series` gives */
export function SeriesCharts({ series }) {
  const { times: at, step_seconds: step } = series;
  const quantiles = (name) =>
    QUANTILES.map(([quantile, state, dash]) => ({
      label: quantile,
      state,
      dash,
      values: series[`${name}_${quantile}`],
    }));
  const throughput = [
    { label: "Submitted", state: "pending", values: perSecond(series.submitted, step), dash: [2, 3] },
    { label: "Succeeded", state: "success", values: perSecond(series.succeeded, step), fill: true },
    {
      label: "Failed",
      state: "failed",
      values: perSecond(series.failed, step),
      dash: [5, 2],
      fill: true,
    },
    { label: "Retried", state: "retrying", values: perSecond(series.retried, step), dash: [1, 2] },
  ];
  return html`<div class="charts">
    <${Chart} title="Throughput" metric="afterwards_task_transitions_total" at=${at} lines=${throughput} format=${rate} />
    <${Chart} title="Wait" metric="afterwards_task_wait_seconds" at=${at} lines=${quantiles("wait")} format=${duration} log />
    <${Chart} title="Run" metric="afterwards_task_run_seconds" at=${at} lines=${quantiles("run")} format=${duration} log /></div>`;
}
