/** A line without axes: how a number went. The number itself stands beside it. */
import { html } from "../vendor/preact.js";

const WIDTH = 100;
const HEIGHT = 24;

/** @param {{values: (number|null)[], state?: string, bars?: boolean, label?: string}} _ null: not known */
export function Spark({ values, state = "processing", bars = false, label }) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(1, ...known);
  const named = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class="spark" data-state=${state} viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" ...${named}>
    ${bars ? barsOf(values, top) : html`<path d=${lineOf(values, top)} />`}</svg>`;
}

function lineOf(values, top) {
  const step = WIDTH / Math.max(1, values.length - 1);
  let pen = "M";
  const parts = [];
  values.forEach((value, index) => {
    if (value === null) {
      pen = "M";
      return;
    }
    parts.push(
      `${pen}${(index * step).toFixed(1)} ${(HEIGHT - 1.5 - (value / top) * (HEIGHT - 3)).toFixed(1)}`,
    );
    pen = "L";
  });
  return parts.join("");
}

function barsOf(values, top) {
  const step = WIDTH / values.length;
  return values.map((value, index) => {
    const height = value ? Math.max(2, (value / top) * HEIGHT) : 0.8;
    return html`<rect key=${index} class=${value ? "" : "none"} x=${index * step} y=${HEIGHT - height} width=${step * 0.75} height=${height} />`;
  });
}

/** As many values as a small line can show: of each part the largest, so that no peak is lost. */
export function thinned(values, count = 60) {
  if (values.length <= count) return values;
  const size = values.length / count;
  return Array.from({ length: count }, (_, index) => {
    const known = values
      .slice(Math.floor(index * size), Math.floor((index + 1) * size))
      .filter((value) => value !== null);
    return known.length ? Math.max(...known) : null;
  });
}
