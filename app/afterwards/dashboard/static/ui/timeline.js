/** A task's attempts on one scale: how long each waited, ran, and what it came to. */
import { html, useState } from "../vendor/preact.js";
import { bytes, duration } from "../core/format.js";
import { now } from "../core/store.js";
import { Badge, Copy, Icon, Time } from "./basics.js";

const OUTCOMES = {
  success: ["success", "Success"],
  failure: ["failed", "Failed"],
  timeout: ["failed", "Timed out"],
  lost: ["failed", "Lost"],
  suspected: ["retrying", "Suspected"],
  released: ["pending", "Released"],
  cancelled: ["cancelled", "Cancelled"],
};

const stateOf = (attempt) => OUTCOMES[attempt.outcome] ?? ["processing", "Running"];

/** An attempt's times, in milliseconds. */
function span(attempt) {
  const started = Date.parse(attempt.started_at);
  const ended = attempt.finished_at ? Date.parse(attempt.finished_at) : now.value;
  return { due: started - attempt.wait_seconds * 1_000, started, ended: Math.max(started, ended) };
}

/** @param {{attempts: any[], task: any}} _ */
export function Timeline({ attempts, task }) {
  if (!attempts.length)
    return html`<p class="dim">${task.finished_at ? "It ended without an attempt." : html`No attempt yet.${task.run_at && html` Due <${Time} at=${task.run_at} />.`}`}</p>`;
  const spans = attempts.map(span);
  const from = Math.min(...spans.map(({ due }) => due));
  const to = Math.max(...spans.map(({ ended }) => ended), from + 1);
  const place = (time) => `${((time - from) / (to - from)) * 100}%`;
  const numbered = attempts.map((attempt, index) => ({
    attempt,
    span: spans[index],
    backoff: index ? spans[index].due - spans[index - 1].ended : 0,
  }));
  return html`<ol class="timeline" reversed>${numbered.toReversed().map((one) => html`<${Attempt} key=${one.attempt.attempt} ...${one} place=${place} />`)}</ol>`;
}

function Attempt({ attempt, span: { due, started, ended }, backoff, place }) {
  const [state, word] = stateOf(attempt);
  const run = attempt.run_seconds ?? (ended - started) / 1_000;
  const widthOf = (first, last) => `calc(${place(last)} - ${place(first)})`;
  return html`<li data-state=${state}><div class="facts"><b class="dim">#${attempt.attempt}</b><${Badge} state=${state} word=${word} />
      <span class="dim">${backoff > 1_000 && `after ${duration(backoff / 1_000)} backoff, `}waited ${duration(attempt.wait_seconds)}, ${attempt.outcome ? "ran" : "runs for"} ${duration(run)}</span>
      <span class="faint"><${Time} at=${attempt.started_at} /></span></div>
    <div class="track" aria-hidden="true"><i class="wait" style=${{ left: place(due), width: widthOf(due, started) }}></i><i class="run" style=${{ left: place(started), width: widthOf(started, ended) }}></i></div>
    ${attempt.error && html`<${Failure} attempt=${attempt} />`}
    <p class="faint">worker <span class="mono">${attempt.worker}</span>${attempt.peak_memory_bytes ? ` · ${bytes(attempt.peak_memory_bytes)} at most` : ""}${attempt.cpu_seconds ? ` · ${duration(attempt.cpu_seconds)} CPU` : ""}${attempt.span_id && html` · span <span class="mono">${attempt.span_id}</span>`}</p></li>`;
}

function Failure({ attempt: { error, traceback } }) {
  const [isOpen, setOpen] = useState(false);
  return html`<div class="failure"><p dir="auto"><bdi>${error}</bdi></p>
    ${
      traceback &&
      html`<p><button type="button" class="button quiet small" aria-expanded=${String(isOpen)} onClick=${() => setOpen(!isOpen)}><${Icon} name="expand" />Traceback</button>
      ${isOpen && html` <${Copy} text=${traceback} label="Copy the traceback" />`}</p>${isOpen && html`<pre class="values" tabindex="0">${traceback}</pre>`}`
    }</div>`;
}
