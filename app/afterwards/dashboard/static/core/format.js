/** Numbers, sizes and times as a reader wants them. Pure functions. */

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const number = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));

/** 12,345 in full, and 1.2M where there is no room. */
export const shortNumber = (value) =>
  value === null || value === undefined
    ? "–"
    : Math.abs(value) < 100_000
      ? WHOLE.format(value)
      : SHORT.format(value);

/** @param {number} value a second's */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0/s";
  if (value >= 100) return `${WHOLE.format(value)}/s`;
  if (value >= 1) return `${value.toFixed(1)}/s`;
  return `${(value * 60).toFixed(value * 60 >= 10 ? 0 : 1)}/min`;
}

/** @param {{count: number, exact: boolean}} counted */
export const countOf = ({ count, exact }) => `${WHOLE.format(count)}${exact ? "" : "+"}`;

/** `1 task`, `2 tasks`. */
export const plural = (count, word, words = `${word}s`) => `${number(count)} ${count === 1 ? word : words}`;

/** @type {[number, string][]} */
const STEPS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
];

/** A length of time in its two largest units: 850 ms, 4.2 s, 3 min 5 s, 2 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.001) return seconds > 0 ? "<1 ms" : "0 ms";
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  for (const [index, [size, unit]] of STEPS.entries()) {
    if (seconds < size) continue;
    const [smaller, name] = STEPS[index + 1] ?? [1, "s"];
    const whole = Math.floor(seconds / size);
    const rest = Math.floor((seconds - whole * size) / smaller);
    return rest && whole < 10 ? `${whole} ${unit} ${rest} ${name}` : `${whole} ${unit}`;
  }
  return "1 min";
}

/** A length of time in one unit, for columns: 45 s, 3 min, 2 h, 5 d. */
function roughly(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const [size, unit] = STEPS.find(([length]) => seconds >= length);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** @param {number} time @param {number} now both in milliseconds */
export function relative(time, now) {
  const seconds = (now - time) / 1_000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${roughly(seconds)} ago` : `in ${roughly(-seconds)}`;
}

const pad = (value, length = 2) => String(value).padStart(length, "0");

/** `2026-11-28 04:05:06`, by this machine's clock and zone. */
export function local(time) {
  const at = new Date(time);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${clock(at)}`;
}

const clock = (at) => `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;

export const hourMinute = (time) => clock(new Date(time)).slice(0, 5);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A time on an axis of so many seconds: its hour, or its day where there are many. */
export function axisTime(time, span, isUtc) {
  const at = isUtc ? new Date(time + new Date(time).getTimezoneOffset() * 60_000) : new Date(time);
  return span > 3 * 86_400 ? `${at.getDate()} ${MONTHS[at.getMonth()]}` : clock(at).slice(0, 5);
}

export const utc = (time) => new Date(time).toISOString().slice(0, 19).replace("T", " ");

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Both, for a hover. */
export const bothTimes = (time) => `${local(time)} ${ZONE}\n${utc(time)} UTC`;

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const power = value < 1 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${power && scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${SIZES[power]}`;
}

/** The beginning of an id: enough to tell tasks on a page apart. */
export const shortId = (id) => id.slice(0, 8);

/** JSON as it is shown and edited. */
export const pretty = (value) => JSON.stringify(value, null, 2);

export const byteLength = (text) => new Blob([text]).size;
