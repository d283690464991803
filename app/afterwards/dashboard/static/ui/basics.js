/** The smallest parts: icons, states, times, ids, buttons. */
import { html, useState } from "../vendor/preact.js";
import { bothTimes, local, relative, shortId, utc } from "../core/format.js";
import { href } from "../core/router.js";
import { mayChange, now, nowRoughly, times } from "../core/store.js";

const SPRITE = new URL("../vendor/icons.svg", import.meta.url).href;

export const STATES = ["scheduled", "pending", "processing", "success", "failed", "cancelled"];
export const WORDS = {
  scheduled: "Scheduled",
  pending: "Pending",
  retrying: "Retrying",
  processing: "Processing",
  success: "Success",
  failed: "Failed",
  cancelled: "Cancelled",
};
export const UNFINISHED = new Set(["scheduled", "pending", "processing"]);

export const Icon = ({ name }) =>
  html`<svg class="icon" aria-hidden="true" focusable="false"><use href="${SPRITE}#${name}" /></svg>`;

/** A state: icon and word, and colour besides. */
export const Badge = ({ state, word }) =>
  html`<span class="badge" data-state=${state}><${Icon} name=${state} />${word ?? WORDS[state] ?? state}</span>`;

/** A task's state; a task that waits for another attempt is told from one that waits for its first. */
export const stateOf = (task) => (task.retrying && task.status !== "processing" ? "retrying" : task.status);

const MINUTES = 120_000;

/** A time as the user has chosen to see times; all of them on hover. */
export function Time({ at, otherwise = "–" }) {
  if (!at) return html`<span class="faint">${otherwise}</span>`;
  const milliseconds = typeof at === "number" ? at : Date.parse(at);
  return html`<time datetime=${new Date(milliseconds).toISOString()} title=${bothTimes(milliseconds)}>
    ${shownTime(milliseconds)}</time>`;
}

function shownTime(milliseconds) {
  if (times.value === "local") return local(milliseconds);
  if (times.value === "utc") return `${utc(milliseconds)}Z`;
  const clock = Math.abs(nowRoughly.value - milliseconds) > MINUTES ? nowRoughly : now;
  return relative(milliseconds, clock.value);
}

export const TaskLink = ({ id, full = false }) =>
  html`<a class="mono" href=${href(`tasks/${id}`)} title=${id}>${full ? id : shortId(id)}</a>`;

export const TypeLink = ({ name }) =>
  html`<a href=${href(`types/${encodeURIComponent(name)}`)}><bdi>${name}</bdi></a>`;

/**
 * A button that changes something. It goes where nothing may be changed.
 *
 * @param {{icon?: string, onClick: () => unknown, kind?: string, label?: string, disabled?: boolean, children: any}} _
 */
export function Verb({ icon, onClick, kind = "", label, disabled = false, children }) {
  const [isBusy, setBusy] = useState(false);
  if (!mayChange.value) return null;
  const act = async () => {
    if (isBusy) return;
    setBusy(true);
    try {
      await onClick();
    } finally {
      setBusy(false);
    }
  };
  // While it is busy it keeps the focus, which a disabled one loses: a dialog gives it back to it.
  return html`<button type="button" class="button ${kind}" aria-label=${label} disabled=${disabled} aria-disabled=${isBusy ? "true" : undefined} onClick=${act}>
    ${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

export function Copy({ text, children, label }) {
  const [isDone, setDone] = useState(false);
  const copy = async () => {
    await toClipboard(text);
    setDone(true);
    setTimeout(() => setDone(false), 1_500);
  };
  return html`<button type="button" class="button quiet" aria-label=${label} onClick=${copy}>
    <${Icon} name=${isDone ? "success" : "copy"} />${children && (isDone ? "Copied" : children)}</button>`;
}

/** Without TLS a browser has no clipboard for scripts but this one. */
async function toClipboard(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
  return undefined;
}

/** The part of something that is done or taken. */
export function Meter({ fraction, label, state = "processing" }) {
  const percent = Math.round(Math.min(1, Math.max(0, fraction)) * 100);
  return html`<span class="meter" role="progressbar" aria-label=${label} aria-valuenow=${percent}
    aria-valuemin="0" aria-valuemax="100" data-state=${state}><span style=${{ width: `${percent}%` }}></span></span>`;
}

export const Labels = ({ labels }) =>
  Object.entries(labels ?? {}).map(
    ([key, value]) =>
      html`<a key=${key} class="label" href=${href("tasks", { label: `${key}=${value}` })}><bdi>${key}=${value}</bdi></a>`,
  );

/** One of a list of facts: its name and what it is. */
export const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

/** A choice of a few, as buttons in a row. */
export const Choice = ({ label, options, value, onChange }) =>
  html`<div class="choice" role="group" aria-label=${label}>${options.map(
    ([name, word]) => html`<button key=${name} type="button" aria-pressed=${String(name === value)}
      onClick=${() => onChange(name)}>${word}</button>`,
  )}</div>`;

export const Heading = ({ title, children, aside }) =>
  html`<header class="heading"><h1 tabindex="-1">${title}</h1>${children}<div class="aside">${aside}</div></header>`;
