/**
 * Signals that all pages share. Components read them; each is written where its fact belongs.
 */
import { computed, effect, signal } from "../vendor/preact.js";

/** @typedef {{since: number, retryAt: number, detail: string, retry: () => void}} Outage */
/** @typedef {Record<string, number>} Counts Numbers of tasks by state, and `retrying`. */
/**
 * @typedef {object} Stats A frame of `/stats/events`, or `/stats` as far as it says the same.
 * @property {Counts} tasks
 * @property {Record<string, Counts>} by_type
 * @property {Record<string, {busy: number, free: number, stuck?: number}>} slots
 * @property {number} workers
 * @property {number} oldest_pending_seconds
 * @property {string[]} paused_types
 * @property {number} [types_left_out] how many types are not in `by_type`
 * @property {{submitted: number, finished: number, failed: number}} [per_second]
 */

export const stats = signal(/** @type {Stats|null} */ (null));
export const outage = signal(/** @type {Outage|null} */ (null));
/** Counts the outages that have ended: what depends on it is loaded anew. */
export const recoveries = signal(0);
/** @typedef {{name: string, role: string|null, types: string[]|null, labels: Record<string, string>|null, payloads: boolean}} Key */
/** Who one is, as `GET /session` tells; null: it has not told yet. */
export const session = signal(
  /** @type {{keys_required: boolean, key: Key|null, ends_at: string|null}|null} */ (null),
);
/** Set while a key is needed; `hasEnded`: one was logged in before. */
export const login = signal(/** @type {{hasEnded: boolean}|null} */ (null));
/** Counts the answers that say that a key is needed. */
export const refusals = signal(0);
/** Why nothing can be changed here; null: it can. */
export const readOnly = signal(/** @type {string|null} */ (null));
/** False where no verb is offered. */
export const mayChange = computed(
  () => readOnly.value === null && session.value?.key?.role !== "viewer",
);
/** The roles that may look at webhooks, whose URLs may hold secrets. */
const OPERATORS = new Set(["operator", "admin"]);
/** The pages of which the service would show nothing to the key. */
export const hiddenPages = computed(() => {
  const key = session.value?.key;
  return new Set(!key || OPERATORS.has(key.role) ? [] : ["webhooks"]);
});
/** False where the service hides payloads, so that nothing can be made of them. */
export const seesPayloads = computed(() => session.value?.key?.payloads ?? true);
/** True while the user has stopped the updates. */
export const paused = signal(false);
/** True while a stream is open and has said something. */
export const connected = signal(false);
/** The time at which something was last heard from the service, in milliseconds; 0: never. */
export const heardAt = signal(0);
export const isVisible = signal(!document.hidden);

export const liveState = computed(() => {
  if (outage.value) return "offline";
  if (paused.value) return "paused";
  return connected.value ? "live" : "catching up";
});

/** The time, for what is shown in seconds and for what is shown in minutes; milliseconds. */
export const now = signal(Date.now());
export const nowRoughly = signal(Date.now());

/** @returns {string} */
function stored(name, otherwise) {
  try {
    return localStorage.getItem(`afterwards.${name}`) ?? otherwise;
  } catch {
    return otherwise; // Storage may be forbidden.
  }
}

function preference(name, otherwise) {
  const kept = signal(stored(name, otherwise));
  effect(() => {
    const value = kept.value;
    try {
      localStorage.setItem(`afterwards.${name}`, value);
    } catch {
      // It then holds until the page is closed.
    }
  });
  return kept;
}

/** `system`, `light` or `dark`. */
export const theme = preference("theme", "system");
/** The way times are shown: `relative`, `local` or `utc`. */
export const times = preference("times", "relative");

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});

document.addEventListener("visibilitychange", () => {
  isVisible.value = !document.hidden;
  if (isVisible.value) now.value = nowRoughly.value = Date.now();
});
setInterval(() => {
  if (!isVisible.peek() || paused.peek()) return;
  now.value = Date.now();
  if (now.value - nowRoughly.value >= 10_000) nowRoughly.value = now.value;
}, 1_000);
