/** Data of the service for a page: loaded, kept while it is loaded again, and kept up to date. */
import { useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { Unreachable } from "./api.js";
import { isVisible, outage, paused, recoveries } from "./store.js";

const KEPT = 30;
/** @type {Map<string, {data: any, at: number}>} What pages showed last: going back shows it at once. */
const kept = new Map();

function keep(key, entry) {
  kept.delete(key);
  kept.set(key, entry);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}

/**
 * @template T
 * @typedef {object} Resource
 * @property {T|undefined} data what was last loaded, also while newer is on its way
 * @property {number} at when that was, in milliseconds
 * @property {Error|null} error why there is nothing newer
 * @property {boolean} isStale whether the data is that of another key, or of before an outage
 * @property {() => Promise<void>} reload
 * @property {(data: T) => void} set
 */

/**
 * @template T
 * @param {string} key names what is loaded; another key loads anew
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {{every?: number}} [options] every: seconds until it is loaded again; 0: it is not
 * @returns {Resource<T>}
 */
export function useResource(key, load, { every = 0 } = {}) {
  const [state, setState] = useState({ key, ...kept.get(key), error: null });
  const latest = useRef(load);
  latest.current = load;
  const running = useRef(/** @type {AbortController|null} */ (null));

  const reload = useCallback(async () => {
    running.current?.abort();
    const mine = (running.current = new AbortController());
    try {
      const entry = { data: await latest.current(mine.signal), at: Date.now() };
      if (mine.signal.aborted) return;
      keep(key, entry);
      setState({ key, ...entry, error: null });
    } catch (error) {
      if (mine.signal.aborted) return;
      setState((before) => failed(before, key, error));
    }
  }, [key]);

  useEffect(() => {
    if (kept.has(key)) setState({ key, ...kept.get(key), error: null });
    reload();
    return () => running.current?.abort();
  }, [key, recoveries.value]);
  useRepeated(reload, every);

  const set = (data) => {
    keep(key, { data, at: Date.now() });
    setState({ key, data, at: Date.now(), error: null });
  };
  const isStale = state.key !== key || Boolean(outage.value && state.data !== undefined);
  return { ...state, isStale, reload, set };
}

/** An outage leaves the last data on the screen; a refusal takes their place. */
function failed(before, key, error) {
  if (error instanceof Unreachable) return { ...before, error };
  return { key, data: undefined, at: Date.now(), error };
}

/** Calls again and again, but not while the page is hidden or the service is away; at once after that. */
export function useRepeated(action, seconds) {
  const latest = useRef(action);
  latest.current = action;
  const calledAt = useRef(Date.now());
  const isOn = Boolean(seconds) && isVisible.value && !paused.value && !outage.value;
  useEffect(() => {
    if (!isOn) return undefined;
    const act = () => {
      calledAt.current = Date.now();
      latest.current();
    };
    if (Date.now() - calledAt.current > seconds * 1_000) act();
    const timer = setInterval(act, seconds * 1_000);
    return () => clearInterval(timer);
  }, [isOn, seconds]);
}

/** The data that were last loaded under a key. */
export const lastLoaded = (key) => kept.get(key)?.data;
