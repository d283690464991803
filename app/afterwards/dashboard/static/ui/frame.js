/** The frame of every page: the rail, the live dot, what is wrong with the service. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { API } from "../core/api.js";
import { duration, hourMinute, number, plural, shortNumber } from "../core/format.js";
import { helpIsOpen, shortcuts } from "../core/keys.js";
import { href, place } from "../core/router.js";
import {
  connected,
  heardAt,
  hiddenPages,
  liveState,
  now,
  outage,
  paused,
  readOnly,
  stats,
  theme,
  times,
} from "../core/store.js";
import { Account } from "./account.js";
import { Icon } from "./basics.js";
import { Dialog, DialogHost } from "./dialog.js";
import { Toasts } from "./toasts.js";

const ANNOUNCED_MILLISECONDS = 10_000;

export const PAGES = [
  ["", "Overview", "overview"],
  ["tasks", "Tasks", "tasks"],
  ["errors", "Errors", "errors"],
  ["types", "Types", "types"],
  ["schedules", "Schedules", "schedules"],
  ["webhooks", "Webhooks", "webhooks"],
  ["workers", "Workers", "workers"],
  ["activity", "Activity", "activity"],
];

const shownPages = () => PAGES.filter(([page]) => !hiddenPages.value.has(page));

function countFor(page) {
  const { tasks, workers } = stats.value ?? {};
  if (!tasks) return null;
  if (page === "tasks") return (tasks.scheduled ?? 0) + (tasks.pending ?? 0) + (tasks.processing ?? 0);
  if (page === "errors") return tasks.failed ?? 0;
  return page === "workers" ? workers : null;
}

const COUNTED = { tasks: "unfinished task", errors: "failed task", workers: "worker" };

function RailLink({ page, word, icon }) {
  const count = countFor(page);
  const isHere = place.value.page === page;
  const isLoud = (page === "errors" && count > 0) || (page === "workers" && count === 0);
  return html`<a href=${href(page)} aria-current=${isHere ? "page" : undefined}>
    <${Icon} name=${icon} /><span>${word}</span>
    ${count !== null && html`<b class=${isLoud ? "loud" : ""} title=${plural(count, COUNTED[page])}><span aria-hidden="true">${shortNumber(count)}</span><span class="unseen">${plural(count, COUNTED[page])}</span></b>`}</a>`;
}

const THEMES = { system: "System theme", light: "Light theme", dark: "Dark theme" };
const TIMES = { relative: "Relative times", local: "Local times", utc: "UTC times" };

/** A button that goes through a preference's values. */
function Cycle({ preference, words, icon }) {
  const names = Object.keys(words);
  const next = names[(names.indexOf(preference.value) + 1) % names.length];
  return html`<button type="button" class="cycle" title="Change to: ${words[next].toLowerCase()}" onClick=${() => (preference.value = next)}>
    <${Icon} name=${icon} /><span>${words[preference.value]}</span></button>`;
}

const Rail = () => html`<nav class="rail" aria-label="Pages">
  <a class="name" href=${href("")}>Afterwards</a>
  <div class="pages">${shownPages().map(([page, word, icon]) => html`<${RailLink} key=${page} page=${page} word=${word} icon=${icon} />`)}</div>
  <div class="foot"><${LiveDot} /><${Account} />
    <${Cycle} preference=${times} words=${TIMES} icon="zone" /><${Cycle} preference=${theme} words=${THEMES} icon="theme" />
    <button type="button" class="cycle" onClick=${() => (helpIsOpen.value = true)}><${Icon} name="keys" /><span>Shortcuts</span></button>
    <a class="cycle" href=${new URL("docs", API).href} target="_blank" rel="noreferrer"><${Icon} name="link" /><span>HTTP API</span></a></div></nav>`;

const LIVE_WORDS = { live: "Live", "catching up": "Catching up", paused: "Paused" };

/** The dot that tells how fresh the page is; a click pauses the updates. */
export function LiveDot() {
  const state = liveState.value;
  const word = state === "offline" ? `Offline since ${hourMinute(outage.value.since)}` : LIVE_WORDS[state];
  const verb = paused.value ? "Resume live updates" : "Pause live updates";
  return html`<button type="button" class="live" data-live=${state.replace(" ", "-")} title="${verb} ( . )" aria-label="${word}. ${verb}"
    onClick=${() => (paused.value = !paused.value)}><i></i><span>${word}</span></button>`;
}

function Banner() {
  if (outage.value) return html`<${OutageBanner} />`;
  if (readOnly.value) {
    return html`<div class="banner" data-kind="lock" role="status"><${Icon} name="lock" /><span><b>Read only.</b> ${readOnly.value}</span>
      <button type="button" class="button" onClick=${() => (readOnly.value = null)}>Try anyway</button></div>`;
  }
  if (stats.value && stats.value.workers === 0) {
    return html`<div class="banner" data-kind="wrong" role="status"><${Icon} name="errors" /><span><b>No workers: tasks wait.</b> They are kept, and run when a worker is back.</span></div>`;
  }
  return null;
}

function OutageBanner() {
  const { detail, retryAt, retry } = outage.value;
  const seconds = Math.max(0, Math.ceil((retryAt - now.value) / 1_000));
  return html`<div class="banner" data-kind="wrong" role="status"><${Icon} name="errors" />
    <span><b>Offline.</b> ${detail}. ${heardAt.value > 0 && `What you see is ${duration(Math.max(1, Math.round((now.value - heardAt.value) / 1_000)))} old.`}
      <span class="count" aria-live="off"> Retrying in ${seconds} s.</span></span>
    <button type="button" class="button" onClick=${retry}>Retry now</button></div>`;
}

/** Tells a screen reader of changes, every ten seconds at most. */
function Announcer() {
  const [text, setText] = useState("");
  const saidAt = useRef(0);
  const { tasks } = stats.value ?? {};
  const news =
    tasks &&
    `${number(tasks.pending)} pending, ${number(tasks.processing)} processing, ${number(tasks.failed)} failed`;
  useEffect(() => {
    const wait = Math.max(0, saidAt.current + ANNOUNCED_MILLISECONDS - Date.now());
    const timer = setTimeout(() => {
      saidAt.current = Date.now();
      setText(news ?? "");
    }, wait);
    return () => clearTimeout(timer);
  }, [news]);
  return html`<p class="unseen" aria-live="polite">${text}</p>`;
}

function Help() {
  if (!helpIsOpen.value) return null;
  return html`<${Dialog} title="Shortcuts" onClose=${() => (helpIsOpen.value = false)}>
    <div class="shortcuts">${shortcuts().map(
      ([title, keys]) =>
        html`<section key=${title}><h3>${title}</h3><dl>${keys.map(
          ([key, text]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${text}</dd></div>`,
        )}</dl></section>`,
    )}</div><//>`;
}

export const Frame = ({ children }) => html`<div class="frame" data-connected=${String(connected.value)}>
  <a class="skip" href="#main" target="_self" onClick=${skip}>To the content</a>
  <${Rail} /><div class="content"><${Banner} /><main id="main" tabindex="-1">${children}</main></div>
  <${Toasts} /><${Announcer} /><${DialogHost} /><${Help} /></div>`;

/** With a base, a link to a fragment would leave the page. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}
