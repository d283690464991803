/** The service is away: it is asked again, less and less often, until it answers. */
import { batch } from "../vendor/preact.js";
import { connected, heardAt, outage, recoveries } from "./store.js";

const FIRST_RETRY_SECONDS = 1;
const SLOWEST_RETRY_SECONDS = 15;

let pause = FIRST_RETRY_SECONDS;
let timer = 0;

/**
 * @param {string} detail what the user is told
 * @param {URL} probe answers 200 when the service is back
 */
export function noteOutage(detail, probe) {
  if (outage.peek()) return;
  pause = FIRST_RETRY_SECONDS;
  batch(() => {
    connected.value = false;
    plan(heardAt.peek() || Date.now(), detail, probe);
  });
}

/** Something has answered. */
export function noteContact() {
  heardAt.value = Date.now();
}

function plan(since, detail, probe) {
  outage.value = { since, detail, retryAt: Date.now() + pause * 1_000, retry: () => ask(probe) };
  clearTimeout(timer);
  timer = setTimeout(() => ask(probe), pause * 1_000);
  pause = Math.min(pause * 2, SLOWEST_RETRY_SECONDS);
}

async function ask(probe) {
  clearTimeout(timer);
  const known = outage.peek();
  if (!known) return;
  const isBack = await fetch(probe, { cache: "no-store" }).then(
    (answer) => answer.ok,
    () => false,
  );
  if (!isBack) {
    plan(known.since, known.detail, probe);
    return;
  }
  batch(() => {
    outage.value = null;
    recoveries.value += 1;
    heardAt.value = Date.now();
  });
}

window.addEventListener("online", () => outage.peek()?.retry());
