/** What opens a dialog, loaded when somebody first wants it: a page is there the sooner. */
import { toast } from "./toasts.js";

const load = (module, name) =>
  module.then(
    (found) => found[name],
    () => toast("This could not be loaded. Reload the page.", { kind: "wrong" }),
  );

/** See `submit.js`. @param {{type?: string, payload?: any}} [begun] */
export const submitDialog = async (begun) => (await load(import("./submit.js"), "submitDialog"))?.(begun);

/** See `edit.js`. @param {any} task @param {(task: any) => void} onDone */
export const editDialog = async (task, onDone) =>
  (await load(import("./edit.js"), "editDialog"))?.(task, onDone);

/** See `bulk.js`. @param {string} verb @param {Record<string, any>} filter @param {() => void} [onDone] */
export const bulk = async (verb, filter, onDone) =>
  (await load(import("./bulk.js"), "bulk"))?.(verb, filter, onDone);

/** See `login.js`; undefined: it could not be loaded. */
export const loginPage = () => load(import("./login.js"), "default");
