/**
 * The tasks of a filter. Rows stay where they are: what changes, changes in its place, and new
 * tasks are counted until the user asks for them.
 */
import { useEffect, useRef, useState } from "../vendor/preact.js";
import { get } from "./api.js";
import { forApi } from "./filter.js";
import { useStream } from "./live.js";
import { lastLoaded, useRepeated, useResource } from "./resource.js";
import { stats } from "./store.js";

const PAGE = 50;
const MOST = 500;
const FOLLOWED = 100;
const NEWS_SECONDS = 5;
const WAITING = new Set(["scheduled", "pending"]);

/** @typedef {{tasks: any[], next: string|null, scan: any}} List */

const queryOf = (filter, more = {}) => ({
  ...forApi(filter),
  order: filter.order === "created" ? null : filter.order,
  summary: true,
  limit: PAGE,
  ...more,
});

/** @param {import("./filter.js").Filter} filter */
export function useTaskList(filter) {
  const key = `tasks ${JSON.stringify(filter)}`;
  // As many as were shown: what was scrolled to stays there.
  const shown = () => Math.min(MOST, Math.max(PAGE, lastLoaded(key)?.tasks.length ?? 0));
  const list = useResource(key, (signal) => get("tasks", queryOf(filter, { limit: shown() }), signal));
  const [isLoadingMore, setLoadingMore] = useState(false);
  const tasks = list.data?.tasks ?? [];
  const change = (each) => list.data && list.set({ ...list.data, tasks: list.data.tasks.map(each) });
  const news = useNews(key, filter, list);
  useRowUpdates(tasks, change, news.check);
  const loadMore = async () => {
    setLoadingMore(true);
    try {
      const page = await get("tasks", queryOf(filter, { cursor: list.data.next }));
      list.set({ ...page, tasks: withoutDoubles([...tasks, ...page.tasks]) });
    } finally {
      setLoadingMore(false);
    }
  };
  return { ...list, tasks, key, news, loadMore, isLoadingMore };
}

function withoutDoubles(tasks) {
  return [...new Map(tasks.map((task) => [task.id, task])).values()];
}

/** Follows the rows that are there, and changes them; asks for all where events are missing. */
function useRowUpdates(tasks, change, askAll) {
  const ids = tasks.slice(0, FOLLOWED).map((task) => task.id);
  // Without rows there is nothing to follow but the numbers.
  useStream(ids.length ? "events" : "stats/events", ids.length ? { task_id: ids } : {}, (frames) => {
    /** @type {Map<string, any>} */
    const changes = new Map();
    for (const { name, data } of frames) {
      if (name === "stats") stats.value = data;
      else if (data.task_id)
        changes.set(data.task_id, { ...changes.get(data.task_id), ...changeOf(name, data) });
    }
    if (changes.size) change((task) => (changes.has(task.id) ? updated(task, changes.get(task.id)) : task));
    if (ids.length && frames.some(({ name }) => name === "open" || name === "reset")) askAll();
  });
}

function changeOf(name, data) {
  if (name === "progress")
    return { progress: { fraction: data.fraction, message: data.message, at: data.at } };
  return { status: data.status, at: data.at, attempt: data.attempt };
}

/** A row after an event; what the event does not say is left to the next load. */
function updated(task, { status, at, attempt, progress }) {
  if (!status) return { ...task, progress };
  const isOver = !WAITING.has(status) && status !== "processing";
  return {
    ...task,
    status,
    attempts: attempt ?? task.attempts,
    progress: status === "processing" ? (progress ?? null) : null,
    started_at: status === "processing" ? at : task.started_at,
    finished_at: isOver ? at : null,
    retrying: WAITING.has(status) && task.status === "processing",
  };
}

/**
 * Counts the tasks that there are now and the list does not show. Those that it shows are brought up to
 * date on that occasion.
 */
function useNews(key, filter, list) {
  const [news, setNews] = useState({ key, count: 0 });
  const isScan = Boolean(list.data?.scan);
  useEffect(() => setNews({ key, count: 0 }), [key, list.data === undefined]);
  const latest = useRef(list);
  latest.current = list;
  const check = async () => {
    if (!list.data) return;
    const page = await get("tasks", queryOf(filter)).catch(() => null);
    const { data, set } = latest.current;
    if (!page || !data || list.isStale) return;
    const found = new Map(page.tasks.map((task) => [task.id, task]));
    const tasks = data.tasks.map((task) => found.get(task.id) ?? task);
    set({ ...data, tasks });
    for (const { id } of tasks) found.delete(id);
    setNews({ key, count: filter.order === "due" ? 0 : found.size });
  };
  useRepeated(check, isScan ? NEWS_SECONDS * 4 : NEWS_SECONDS);
  const count = news.key === key ? news.count : 0;
  const show = async () => {
    await list.reload();
    setNews({ key, count: 0 });
  };
  return { check, count, word: count >= PAGE ? `${PAGE}+` : String(count), show };
}
