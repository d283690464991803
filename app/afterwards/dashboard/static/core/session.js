/** Who one is here: the key of the browser's session, logging in and out. */
import { batch, effect } from "../vendor/preact.js";
import { SESSION, Unreachable, get, post, remove } from "./api.js";
import { isVisible, login, outage, recoveries, refusals, session } from "./store.js";

const NOBODY = { keys_required: false, key: null, ends_at: null };
/** The pauses before a new session is looked for, in milliseconds: another worker may not know it yet. */
const PAUSES = [0, 100, 300, 1_000];

export const NOT_KEPT =
  "The key is right, but the browser has not kept the login. It does so over HTTPS or at localhost only, and if cookies are allowed.";

/** Asks the service who one is, and for a key if one is needed. */
export async function check() {
  let found = NOBODY;
  try {
    found = await get(SESSION);
  } catch (error) {
    if (error instanceof Unreachable) return; // The page says so, and this is asked again after it.
  }
  take(found ?? NOBODY);
}

function take(found) {
  const before = session.peek();
  // Another window has logged in with another key: nothing that is shown is that key's.
  if (before?.key && found.key && before.key.id !== found.key.id) return reload();
  if (login.peek() && !isNeeded(found)) return reload();
  batch(() => {
    session.value = found;
    if (isNeeded(found)) login.value ??= { hasEnded: Boolean(before?.key) };
  });
}

const isNeeded = ({ keys_required: isRequired, key }) => isRequired && !key;

/** The page begins anew where it is, with nothing of what another key has seen. */
const reload = () => window.location.reload();

/** @param {string} token @throws {Error} with what to tell the user */
export async function logIn(token) {
  await post(SESSION, { token });
  for (const pause of PAUSES) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (!isNeeded(await get(SESSION))) return reload();
  }
  throw new Error(NOT_KEPT);
}

export async function logOut() {
  await remove(SESSION);
  reload();
}

effect(() => {
  if (refusals.value) check();
});
effect(() => {
  if (recoveries.value) check();
});
effect(() => {
  // Another window may have logged in or out meanwhile.
  if (isVisible.value && session.peek()?.keys_required && !outage.peek()) check();
});
