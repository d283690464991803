/** The keyboard: one listener, and what each component wants of it while it is there. */
import { signal, useEffect, useRef } from "../vendor/preact.js";
import { go } from "./router.js";
import { hiddenPages, paused } from "./store.js";

const SEQUENCE_MILLISECONDS = 1_200;

/** @type {[string, [string, string][]][]} */
const SHORTCUTS = [
  [
    "Anywhere",
    [
      ["/", "Search tasks"],
      ["g o", "Overview"],
      ["g t", "Tasks"],
      ["g e", "Errors"],
      ["g y", "Types"],
      ["g s", "Schedules"],
      ["g h", "Webhooks"],
      ["g w", "Workers"],
      ["g a", "Activity"],
      [".", "Pause or resume live updates"],
      ["?", "This help"],
    ],
  ],
  [
    "Lists",
    [
      ["j / k", "Next, previous row"],
      ["x", "Select the row"],
      ["Enter", "Open the row"],
      ["r", "Retry"],
      ["c", "Cancel"],
      ["Esc", "Clear the selection, close"],
    ],
  ],
  [
    "A task",
    [
      ["r", "Retry"],
      ["c", "Cancel"],
      ["e", "Edit and retry"],
    ],
  ],
];

/** The keys as the help shows them: without those of pages that are not shown. */
export const shortcuts = () =>
  SHORTCUTS.map(([title, keys]) => [title, keys.filter(([key]) => isThere(key))]);

const isThere = (key) => !key.startsWith("g ") || !hiddenPages.value.has(PAGES[key.slice(2)]);

export const helpIsOpen = signal(false);

const PAGES = {
  o: "",
  t: "tasks",
  e: "errors",
  y: "types",
  s: "schedules",
  h: "webhooks",
  w: "workers",
  a: "activity",
};
const GLOBAL = {
  "/": search,
  "?": () => (helpIsOpen.value = true),
  ".": () => (paused.value = !paused.value),
};

/** @type {Set<{current: Record<string, (event: KeyboardEvent) => void>}>} */
const maps = new Set();
let goesSince = -Infinity;

/** @param {Record<string, (event: KeyboardEvent) => void>} map handlers by `KeyboardEvent.key` */
export function useKeys(map) {
  const current = useRef(map);
  current.current = map;
  useEffect(() => {
    maps.add(current);
    return () => void maps.delete(current);
  }, []);
}

function search() {
  const field = /** @type {HTMLInputElement|null} */ (document.querySelector("input[type=search]"));
  if (field) field.focus();
  else go("tasks?focus=search");
}

/** True if a key belongs to what has the focus, and is no shortcut. */
function isTyping(target) {
  return (
    target.isContentEditable ||
    (/^(input|textarea|select)$/i.test(target.tagName) && target.type !== "checkbox")
  );
}

function isOnControl(event) {
  return event.key === "Enter" && event.target.closest?.("a, button, summary, input, label");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target) || document.querySelector("dialog[open]") || isOnControl(event)) return;
  const handler = handlerOf(event);
  if (!handler) return;
  event.preventDefault();
  handler(event);
});

function handlerOf(event) {
  const isSecond = event.timeStamp - goesSince < SEQUENCE_MILLISECONDS;
  if (isSecond && event.key in PAGES && !hiddenPages.peek().has(PAGES[event.key])) {
    goesSince = -Infinity;
    return () => go(PAGES[event.key] || ".");
  }
  if (event.key === "g") return () => (goesSince = event.timeStamp);
  const own = [...maps].toReversed().find((map) => map.current[event.key]);
  return own?.current[event.key] ?? GLOBAL[event.key];
}
