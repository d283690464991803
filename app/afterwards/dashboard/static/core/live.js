/**
 * The one event stream of a page.
 *
 * A hidden tab has none: a browser allows six connections to an origin. It goes on where it was, by
 * the id of the last event. What comes in is given to the page four times a second at most.
 */
import { effect, useEffect, useRef } from "../vendor/preact.js";
import { PROBE, apiUrl, get } from "./api.js";
import { noteContact, noteOutage } from "./outage.js";
import { takePlace } from "./places.js";
import { useRepeated } from "./resource.js";
import { check } from "./session.js";
import { connected, isVisible, outage, paused, session, stats } from "./store.js";

const FLUSH_MILLISECONDS = 250;
const FIRST_RETRY_MILLISECONDS = 500;
const SLOWEST_RETRY_MILLISECONDS = 15_000;
/** Frames of statistics come every second; without them for so long, the registry is away. */
const SILENCE_MILLISECONDS = 5_000;
const POLLING_SECONDS = 5;
const NAMES = ["stats", "state", "progress", "task", "reset"];

/** @typedef {{name: string, data: any}} Frame `open`: the stream begins now, and what was before it has not told. */

/** The last event's id, by path. It is a place among the events of all tasks, whichever a stream takes. */
const lastIds = new Map();

class Stream {
  /** @param {string} path @param {object} query @param {(frames: Frame[]) => void} take */
  constructor(path, query, take) {
    this.path = path;
    this.query = query;
    this.take = take;
    /** @type {Frame[]} */
    this.frames = [];
    this.failures = 0;
    this.flushedAt = 0;
    this.stopWatching = effect(() => {
      if (isVisible.value && !paused.value && !outage.value) this.open();
      else this.close();
    });
  }

  open() {
    this.close();
    const turn = (this.turn = new AbortController());
    takePlace(turn.signal).then(
      (release) => {
        if (turn.signal.aborted) return release();
        this.release = release;
        return this.connect();
      },
      () => {}, // It was closed while it waited.
    );
  }

  connect() {
    const source = new EventSource(
      apiUrl(this.path, { ...this.query, last_event_id: lastIds.get(this.path) }),
    );
    this.source = source;
    const isGapless = lastIds.has(this.path);
    source.onopen = () => {
      this.heard(this.path !== "stats/events");
      if (!isGapless) this.add({ name: "open", data: {} });
    };
    source.onerror = () => this.failed();
    for (const name of NAMES) source.addEventListener(name, (event) => this.received(name, event));
    this.expectFrame();
  }

  close() {
    this.turn?.abort();
    this.source?.close();
    this.source = null;
    this.release?.();
    this.release = null;
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    clearTimeout(this.flushing);
    this.flushing = 0;
    connected.value = false;
  }

  stop() {
    this.stopWatching();
    this.close();
  }

  heard(isLive) {
    noteContact();
    this.failures = 0;
    if (isLive) connected.value = true;
  }

  expectFrame() {
    if (this.path !== "stats/events") return;
    clearTimeout(this.silence);
    this.silence = setTimeout(() => noteOutage("No statistics come", PROBE), SILENCE_MILLISECONDS);
  }

  received(name, event) {
    this.heard(true);
    this.expectFrame();
    if (event.lastEventId) lastIds.set(this.path, event.lastEventId);
    this.add({ name, data: JSON.parse(event.data) });
  }

  /** @param {Frame} frame */
  add(frame) {
    this.frames.push(frame);
    const wait = Math.max(0, this.flushedAt + FLUSH_MILLISECONDS - Date.now());
    this.flushing ||= setTimeout(() => this.flush(), wait);
  }

  flush() {
    this.flushing = 0;
    this.flushedAt = Date.now();
    const frames = this.frames;
    this.frames = [];
    this.take(frames);
  }

  /** EventSource gives up after some answers, and says nothing of when it tries; so we do it. */
  failed() {
    this.close();
    const pause = FIRST_RETRY_MILLISECONDS * 2 ** this.failures;
    this.failures += 1;
    // A stream ends with its key or its session, and does not tell the status of its refusal.
    if (session.peek()?.key) check();
    if (this.failures > 2) {
      // It may be the stream alone that fails: whether the service is away, a plain request tells.
      fetch(PROBE, { cache: "no-store" }).then(
        (answer) => answer.ok || noteOutage("The service is away", PROBE),
        () => noteOutage("The service does not answer", PROBE),
      );
    }
    this.retry = setTimeout(() => this.open(), Math.min(pause, SLOWEST_RETRY_MILLISECONDS));
  }
}

/**
 * Follows a stream as long as the component is there.
 *
 * @param {string|null} path null: nothing is followed now
 * @param {object} query
 * @param {(frames: Frame[]) => void} take is given all frames since the last time, oldest first
 */
export function useStream(path, query, take) {
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    if (path === null) return undefined;
    const stream = new Stream(path, query, (frames) => latest.current(frames));
    return () => stream.stop();
  }, [path, JSON.stringify(query)]);
}

/** @type {(frame: import("./store.js").Stats) => void} */
const NOTHING = () => {};

/** Keeps the statistics of all pages up to date, each second. */
export function useStatsStream(take = NOTHING) {
  useStream("stats/events", {}, (frames) => {
    const frame = frames.findLast(({ name }) => name === "stats");
    if (!frame) return;
    stats.value = frame.data;
    take(frame.data);
  });
  // A proxy may let no stream through; then the numbers come slower, and the dot says so.
  const loadUnlessConnected = () => void (connected.peek() || loadStats());
  useRepeated(loadUnlessConnected, POLLING_SECONDS);
  useEffect(() => {
    const timer = setTimeout(loadUnlessConnected, FIRST_RETRY_MILLISECONDS);
    return () => clearTimeout(timer);
  }, []);
}

const loadStats = () =>
  get("stats").then(
    (document) => (stats.value = document),
    () => {},
  );

/** The same every five seconds, for pages whose one stream is another. */
export function useStatsPolling() {
  useEffect(() => void loadStats(), []);
  useRepeated(loadStats, POLLING_SECONDS);
}

window.addEventListener("pagehide", () => (isVisible.value = false));
window.addEventListener("pageshow", () => (isVisible.value = !document.hidden));
document.addEventListener("freeze", () => (isVisible.value = false));
document.addEventListener("resume", () => (isVisible.value = !document.hidden));
