/** One thing done to many tasks: counted first, then confirmed, then done in parts that show. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { part, post } from "../core/api.js";
import { ties } from "../core/filter.js";
import { number, plural } from "../core/format.js";
import { undoing, waitsForGroup } from "./actions.js";
import { Meter } from "./basics.js";
import { Dialog, close, show } from "./dialog.js";
import { toast, wrong } from "./toasts.js";

const PART = 1_000;
const UNDOABLE = 100;

/**
 * The verbs: their words, the states that they take (`of`), and those that they take unless the
 * filter has a state (`usually`).
 * @type {Record<string, {word: string, doing: string, past: string, of: string[], usually: string[], kind: string}>}
 */
export const VERBS = {
  retry: {
    word: "Retry",
    doing: "Retrying",
    past: "retried",
    of: ["failed", "cancelled"],
    usually: ["failed"],
    kind: "primary",
  },
  cancel: {
    word: "Cancel",
    doing: "Cancelling",
    past: "cancelled",
    of: ["scheduled", "pending", "retrying", "processing"],
    usually: ["scheduled", "pending", "processing"],
    kind: "danger",
  },
  run: {
    word: "Run now",
    doing: "Starting",
    past: "run",
    of: ["scheduled", "retrying"],
    usually: ["scheduled"],
    kind: "primary",
  },
  delete: {
    word: "Delete",
    doing: "Deleting",
    past: "deleted",
    of: ["success", "failed", "cancelled"],
    usually: ["success", "failed", "cancelled"],
    kind: "danger",
  },
};

/** A filter in words, such as `failed · email · error group a1b2c3d4`. */
export function inWords(filter) {
  const list = (value) => [value ?? []].flat();
  return [
    list(filter.status).join(" or "),
    list(filter.type).join(" or "),
    ...list(filter.label).map((label) => `label ${label}`),
    ...ties(filter).map(({ word }) => word),
    filter.q && `“${filter.q}”`,
    filter.error && `error group ${filter.error.slice(0, 8)}`,
    filter.created_after && `created after ${filter.created_after}`,
    filter.created_before && `created before ${filter.created_before}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/**
 * The filter as far as the verb can be done to what it matches; null: to nothing. Ids go alone: the
 * service skips those in other states.
 *
 * @param {string} verb @param {Record<string, any>} filter
 */
function bodyOf(verb, filter) {
  if (filter.ids) return filter;
  const { of, usually } = VERBS[verb];
  const asked = [filter.status ?? []].flat();
  const status = asked.length ? asked.filter((state) => of.includes(state)) : usually;
  return status.length ? { ...filter, status } : null;
}

/**
 * @param {string} verb one of VERBS
 * @param {Record<string, any>} filter as lists take it, or `{ids}`
 * @param {() => void} [onDone]
 * @param {any[]} [tasks] the selected ones as they are before: what a cancellation of them is undone to
 */
export function bulk(verb, filter, onDone = () => {}, tasks = []) {
  const body = bodyOf(verb, filter);
  if (!body) return toast(`None of these tasks can be ${VERBS[verb].past}.`, { kind: "wrong" });
  return show(html`<${Bulk} verb=${verb} body=${body} onDone=${onDone} tasks=${tasks} />`);
}

function Bulk({ verb, body, onDone, tasks }) {
  const { word, doing, kind } = VERBS[verb];
  const [matched, setMatched] = useState(/** @type {number|null} */ (null));
  const [done, setDone] = useState(/** @type {number|null} */ (null));
  const stopped = useRef(false);
  useEffect(() => {
    post(`tasks/${verb}`, { ...body, dry_run: true, limit: PART }).then(
      (answer) => setMatched(answer.matched),
      giveUp,
    );
    return () => void (stopped.current = true);
  }, []);
  const act = async () => {
    setDone(0);
    try {
      const waited = tasks.length <= UNDOABLE ? tasks.filter(canBePutBack) : [];
      const undo = verb === "cancel" && waited.length > 0 ? () => putBack(waited, onDone) : undefined;
      report(verb, await inParts(verb, body, matched, setDone, stopped), undo);
    } catch (error) {
      wrong(error);
    }
    close();
    onDone();
  };
  const isRunning = done !== null;
  const footer = isRunning
    ? html`<button type="button" class="button" onClick=${() => (stopped.current = true)}>Stop here</button>`
    : html`<button type="button" class="button" onClick=${close}>Leave them</button>
      <button type="button" class="button ${kind}" disabled=${!matched} autofocus onClick=${act}>${word} ${matched === null ? "…" : plural(matched, "task")}</button>`;
  return html`<${Dialog} title=${isRunning ? `${doing}…` : `${word} ${matched === null ? "tasks" : plural(matched, "task")}?`} footer=${footer}>
    ${
      isRunning
        ? html`<p role="status"><${Meter} fraction=${done / matched} label="Progress" /> ${number(done)} of ${number(matched)}</p>`
        : html`<${Question} verb=${verb} body=${body} matched=${matched} />`
    }<//>`;
}

function giveUp(error) {
  wrong(error);
  close();
}

function Question({ verb, body, matched }) {
  if (matched === null) return html`<p role="status">Counting what matches…</p>`;
  if (matched === 0) return html`<p>No task matches that can be ${VERBS[verb].past}.</p>`;
  return html`<p>${
    body.ids
      ? `${plural(body.ids.length, "task")} selected, ${number(matched)} of them can be ${VERBS[verb].past}.`
      : html`<b>${plural(matched, "task")}</b> match: ${inWords(body)}.`
  }</p>
    ${verb === "delete" && html`<p>Deleted tasks do not come back: their payloads and results are gone.</p>`}
    ${verb === "cancel" && html`<p>Tasks that wait will not run. Tasks that run are asked to stop.</p>`}`;
}

/** Ends after as many as were counted: what fails again meanwhile is not taken twice. */
async function inParts(verb, body, total, tell, stopped) {
  const sum = { matched: 0, changed: 0, requested: 0, skipped: 0, interrupted: null, wasStopped: false };
  let more = true;
  while (more && sum.matched < total && !sum.interrupted && !stopped.current) {
    const answer = await post(`tasks/${verb}`, { ...body, limit: Math.min(PART, total - sum.matched) });
    sum.matched += answer.matched;
    sum.changed += answer[VERBS[verb].past] ?? 0;
    sum.requested += answer.requested ?? 0;
    sum.skipped += answer.skipped;
    sum.interrupted = answer.interrupted;
    more = answer.more && answer.matched > 0;
    tell(sum.matched);
  }
  return { ...sum, wasStopped: stopped.current && more };
}

const canBePutBack = (task) =>
  (task.status === "scheduled" || task.status === "pending") && !waitsForGroup(task);

/** Undoes a cancellation, task by task: each is due when it was due. */
async function putBack(waited, onDone) {
  const answers = await Promise.allSettled(
    waited.map((task) => post(`tasks/${part(task.id)}/retry`, undoing(task))),
  );
  const back = answers.filter(({ status }) => status === "fulfilled").length;
  toast(`${plural(back, "task")} ${back === 1 ? "is" : "are"} back.`, {
    kind: back === waited.length ? "done" : "wrong",
  });
  onDone();
}

function report(verb, { changed, requested, skipped, interrupted, wasStopped }, undo) {
  const parts = [`${plural(changed, "task")} ${VERBS[verb].past === "run" ? "due now" : VERBS[verb].past}`];
  if (requested) parts.push(`${number(requested)} asked to stop`);
  if (skipped) parts.push(`${number(skipped)} skipped: they are in another state`);
  if (wasStopped) parts.push("stopped before the rest");
  if (interrupted) parts.push(interrupted);
  toast(`${parts.join(", ")}.`, { kind: interrupted ? "wrong" : "done", undo: changed ? undo : undefined });
}
