/**
 * Runs in the dashboard's pages before their own scripts: notes when something is there to be seen,
 * from the start of the navigation or from the last click on: when a frame with it has been drawn.
 */
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const EVERYTHING = { subtree: true, childList: true, characterData: true };
let since = 0;
addEventListener("click", (event) => (since = event.timeStamp), true);

function seen(isThere) {
  return new Promise((resolve) => {
    const look = () => {
      if (!isThere()) return;
      observer.disconnect();
      requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - since)));
    };
    const observer = new MutationObserver(look);
    observer.observe(document, { ...EVERYTHING, attributes: true });
    look();
  });
}

const hasRows = () => one("tbody tr") && !one(".stale, .skeleton");
const tiles = () => all(".tile b").filter(({ innerText }) => innerText !== "–");

/** Kilobytes that came over the network for this page, but for streams; or for its files alone. */
function transferred(isFile) {
  const entries = ["resource", "navigation"].flatMap((kind) => performance.getEntriesByType(kind));
  const counted = entries.filter(({ name }) =>
    isFile ? name.includes("/assets/") : !name.includes("/events"),
  );
  return counted.reduce((sum, { transferSize }) => sum + transferSize, 0) / 1000;
}

window.watch = {
  updates: 0,
  overview: () => seen(() => tiles().length === 6 && one(".chart canvas") && one("table")),
  rows: () => seen(hasRows),
  filter() {
    one('.states [data-state="success"]').click();
    return seen(() => one('.states [data-state="success"][aria-pressed="true"]') && hasRows());
  },
  task() {
    one(".c-id a").click();
    return seen(() => one(".facts-list"));
  },
  transferred,
  /** Counts updates of the screen: changes of the page between two frames are one. */
  count() {
    let isNoted = false;
    const note = () => {
      if (isNoted) return;
      isNoted = true;
      window.watch.updates += 1;
      requestAnimationFrame(() => (isNoted = false));
    };
    new MutationObserver(note).observe(one("main"), EVERYTHING);
  },
};
