/** Charts with axes. Their library is loaded with the first of them. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { axisTime, hourMinute } from "../core/format.js";
import { theme, times } from "../core/store.js";
import { Time } from "./basics.js";

const HEIGHT = 164;
const ROWS_AT_MOST = 60;
const STYLE = new URL("../vendor/uplot.css", import.meta.url).href;

let library;

function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: STYLE });
    link.onload = () => import("../vendor/uplot.js").then((module) => resolve(module.default), reject);
    link.onerror = reject;
    document.head.append(link);
  });
  return library;
}

/**
 * @typedef {object} Line
 * @property {string} label @property {string} state whose colour it has
 * @property {(number|null)[]} values @property {number[]} [dash] @property {boolean} [fill]
 */

/**
 * @param {object} _
 * @param {string} _.title @param {string} _.metric what Prometheus calls it
 * @param {number[]} _.at epoch seconds @param {Line[]} _.lines
 * @param {(value: number) => string} _.format @param {boolean} [_.log] a logarithmic scale: seconds
 * @param {any} [_.aside] what stands beside its name
 */
export function Chart({ title, metric, at, lines, format, log = false, aside }) {
  const [isTable, setTable] = useState(false);
  return html`<figure class="chart"><figcaption><h2>${title}</h2><span class="metric mono" title="In Prometheus: ${metric}">${metric}</span>
      ${aside}<button type="button" class="button quiet small" aria-pressed=${String(isTable)} onClick=${() => setTable(!isTable)}>${isTable ? "Chart" : "Table"}</button></figcaption>
    ${
      isTable
        ? html`<${Values} title=${title} at=${at} lines=${lines} format=${format} />`
        : html`<${Canvas} title=${title} at=${at} lines=${lines} format=${format} log=${log} />`
    }</figure>`;
}

function Values({ title, at, lines, format }) {
  const last = at
    .map((_, index) => index)
    .slice(-ROWS_AT_MOST)
    .toReversed();
  return html`<div class="values" tabindex="0" role="region" aria-label="${title}: values"><table class="table" aria-label="${title}, newest first">
    <thead><tr><th scope="col">Time</th>${lines.map(({ label }) => html`<th key=${label} scope="col" class="number">${label}</th>`)}</tr></thead>
    <tbody>${last.map(
      (index) => html`<tr key=${at[index]}><td><${Time} at=${at[index] * 1_000} /></td>
      ${lines.map(({ label, values }) => html`<td key=${label} class="number">${values[index] === null ? "–" : format(values[index])}</td>`)}</tr>`,
    )}</tbody></table></div>`;
}

function Canvas({ title, at, lines, format, log }) {
  const place = useRef(null);
  const plot = useRef(null);
  const data = () => [
    at,
    ...lines.map(({ values }) => (log ? values.map((value) => value || null) : values)),
  ];
  const scheme = useScheme();
  useEffect(() => {
    const element = place.current;
    let isGone = false;
    loadLibrary().then(
      (UPlot) => {
        if (isGone) return;
        plot.current = new UPlot(options(UPlot, element, lines, format, log), data(), element);
        // The legend is a table without a name; the values have one of their own.
        plot.current.root.setAttribute("aria-hidden", "true");
      },
      () => {},
    );
    const observer = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    observer.observe(element);
    return () => {
      isGone = true;
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [scheme, lines.map(({ label }) => label).join(), times.value]);
  useEffect(() => plot.current?.setData(data()), [at, lines]);
  return html`<div class="canvas" ref=${place} role="img" aria-label="${title}: chart. The button Table shows its values."></div>`;
}

/** Changes with the colours: a canvas does not follow a style. */
function useScheme() {
  const query = matchMedia("(prefers-color-scheme: dark)");
  const [isDark, setDark] = useState(query.matches);
  useEffect(() => {
    const change = () => setDark(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, []);
  return `${theme.value} ${isDark}`;
}

/** A colour of the styles, as a canvas takes it. */
function colourOf(element, text) {
  element.style.color = text;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}

function options(UPlot, place, lines, format, log) {
  const colour = (name) => colourOf(place, `var(--${name})`);
  const axis = {
    stroke: colour("faint"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
  const zone =
    times.peek() === "utc" ? { tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1_000), "Etc/UTC") } : {};
  return {
    ...zone,
    width: place.clientWidth,
    height: HEIGHT,
    legend: {
      markers: { width: 0, fill: (_, line) => sample(colour(lines[line - 1].state), lines[line - 1].dash) },
    },
    cursor: { sync: { key: "time" }, y: false, points: { size: 6 } },
    scales: { y: log ? { distr: 3 } : { range: (_, low, high) => [0, Math.max(1, high * 1.05)] } },
    axes: [
      {
        ...axis,
        space: 60,
        size: 22,
        values: (plot, ticks) =>
          ticks.map((tick) =>
            axisTime(tick * 1_000, plot.scales.x.max - plot.scales.x.min, times.peek() === "utc"),
          ),
      },
      {
        ...axis,
        grid: { ...axis.grid, ...(log && { filter: wholePowers }) },
        size: 48,
        gap: 4,
        space: 26,
        values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : log ? power(tick) : format(tick))),
      },
    ],
    series: [
      { label: "Time", value: (_, seconds) => (seconds === null ? "" : hourMinute(seconds * 1_000)) },
      ...lines.map(({ label, state, dash, fill }) => ({
        label,
        dash,
        width: 1.5,
        stroke: colour(state),
        fill: fill ? colourOf(place, `color-mix(in srgb, var(--${state}) 13%, transparent)`) : undefined,
        points: { show: false },
        // Without a cursor the legend tells what is now.
        value: (plot, value, line, index) => told(index === null ? latest(plot.data[line]) : value, format),
      })),
    ],
  };
}

/** The dashes of a line as a background: in the legend, too, colour is not all that tells lines apart. */
function sample(colour, dash = [1, 0]) {
  let at = 0;
  const stops = dash.map((length, index) => {
    const from = at;
    at += length;
    return `${index % 2 ? "transparent" : colour} ${from}px ${at}px`;
  });
  return `repeating-linear-gradient(90deg, ${stops.join(", ")})`;
}

const told = (value, format) => (value === null || value === undefined ? "–" : format(value));
const latest = (values) => values.findLast((value) => value !== null && value !== undefined);

/** A logarithmic scale has a line for each power of ten, and none between. */
const wholePowers = (_, ticks) =>
  ticks.map((tick) => (Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6) ? tick : null));

const power = (seconds) => (seconds < 1 ? `${Number((seconds * 1_000).toPrecision(1))} ms` : `${seconds} s`);
