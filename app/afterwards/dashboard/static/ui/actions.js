/** Verbs for one task: each says how it really ended, and is taken back where that can be. */
import { part, post, remove } from "../core/api.js";
import { shortId } from "../core/format.js";
import { confirm } from "./dialog.js";
import { said, toast, wrong } from "./toasts.js";

const OUTCOMES = {
  prevented: "was cancelled before it ran",
  stopped: "was stopped while it ran",
  finished: "finished first: there was nothing to cancel",
  unstoppable: "runs in a thread and was asked to stop; if it does not listen, it ends at its time limit",
  requested: "was asked to stop; its worker has not answered yet",
};
const CANCELLED = new Set(["prevented", "stopped"]);

/** @type {(task: any) => void} */
const NOTHING = () => {};

/** @param {any} task @param {(task: any) => void} [onDone] is given the task as it is then */
export async function cancel(task, onDone = NOTHING) {
  const answer = await said(() => post(`tasks/${part(task.id)}/cancel`));
  if (!answer) return;
  onDone(answer.task);
  const undo = CANCELLED.has(answer.outcome) && !waitsForGroup(task) ? () => backToItsTime(task, onDone) : undefined;
  toast(`Task ${shortId(task.id)} ${OUTCOMES[answer.outcome]}.`, {
    undo,
    kind: answer.outcome === "finished" ? "wrong" : "done",
  });
}

/** True if its cancellation cannot be undone: a retry would start it at once, without its group. */
export const waitsForGroup = (task) => Boolean(task.waiting_for?.group);

/** The body of a retry that has a cancelled task run when it would have run. */
export function undoing(task) {
  const isAhead = task.status === "scheduled" && Date.parse(task.run_at) > Date.now();
  return isAhead ? { run_at: task.run_at } : {};
}

async function backToItsTime(task, onDone) {
  onDone(await post(`tasks/${part(task.id)}/retry`, undoing(task)));
  toast(`Task ${shortId(task.id)} is back.`);
}

export async function retry(task, onDone = NOTHING) {
  const answer = await said(() => post(`tasks/${part(task.id)}/retry`, {}));
  if (!answer) return;
  onDone(answer);
  toast(`Task ${shortId(task.id)} waits for a new attempt.`);
}

export async function runNow(task, onDone = NOTHING) {
  const answer = await said(() => post(`tasks/${part(task.id)}/run`));
  if (!answer) return;
  onDone(answer);
  toast(`Task ${shortId(task.id)} is due now.`);
}

export function deleteTask(task, onDone) {
  const action = async () => {
    try {
      await remove(`tasks/${part(task.id)}`);
    } catch (error) {
      wrong(error);
      return;
    }
    toast(`Task ${shortId(task.id)} was deleted.`);
    onDone();
  };
  confirm({
    title: "Delete this task?",
    text: "It does not come back: its payload, result and attempts are gone.",
    verb: "Delete",
    action,
  });
}

/**
 * Pauses or resumes a type.
 *
 * @param {string} name @param {boolean} isPaused as it is now
 * @param {(isPaused: boolean) => void} onDone is given how it is then
 */
export async function pauseType(name, isPaused, onDone) {
  const verb = isPaused ? "resume" : "pause";
  const answer = await said(() => post(`task-types/${part(name)}/${verb}`).then(() => true));
  if (!answer) return;
  onDone(!isPaused);
  toast(isPaused ? `${name} is resumed.` : `${name} is paused: its tasks are accepted and wait.`, {
    undo: () => pauseType(name, !isPaused, onDone),
  });
}
