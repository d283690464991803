/** A forecast of when a type's queue is empty, by how its length went during the last minute. */

const WINDOW_MILLISECONDS = 60_000;
const LEAST_MILLISECONDS = 5_000;

/** @type {{at: number, byType: Record<string, Record<string, number>>}[]} */
let frames = [];

/** @param {import("./store.js").Stats} frame one a second */
export function remember(frame) {
  const at = Date.now();
  // After a pause the last minute is another one.
  if (frames.length && at - frames.at(-1).at > LEAST_MILLISECONDS) frames = [];
  frames.push({ at, byType: frame.by_type });
  while (at - frames[0].at > WINDOW_MILLISECONDS) frames.shift();
}

const waiting = (counts = {}) => (counts.pending ?? 0) + (counts.processing ?? 0);
const ended = (counts = {}) => (counts.success ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0);

/**
 * @param {string} type
 * @returns {{perSecond: number|null, seconds: number|null, trend: "empty"|"draining"|"growing"|"steady"|"unknown"}}
 * perSecond: tasks that ended; seconds: until none waits, at this pace
 */
export function forecast(type) {
  const [first, last] = [frames[0], frames.at(-1)];
  const length = waiting(last?.byType[type]);
  const elapsed = first ? (last.at - first.at) / 1_000 : 0;
  if (elapsed * 1_000 < LEAST_MILLISECONDS)
    return { perSecond: null, seconds: null, trend: length ? "unknown" : "empty" };
  const perSecond = Math.max(0, ended(last.byType[type]) - ended(first.byType[type])) / elapsed;
  if (length === 0) return { perSecond, seconds: 0, trend: "empty" };
  const slope = (length - waiting(first.byType[type])) / elapsed;
  if (slope < -0.01) return { perSecond, seconds: length / -slope, trend: "draining" };
  return { perSecond, seconds: null, trend: slope > 0.01 ? "growing" : "steady" };
}
