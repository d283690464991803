/** Notices of what was done, with a way back where there is one. */
import { html, signal, useEffect, useRef } from "../vendor/preact.js";
import { Icon } from "./basics.js";

const SHOWN_MILLISECONDS = 8_000;
const AT_MOST = 4;

/** @typedef {{id: number, text: string, kind: "done"|"wrong", undo?: () => unknown}} Toast */
const toasts = signal(/** @type {Toast[]} */ ([]));
let last = 0;

/** @param {string} text @param {{kind?: "done"|"wrong", undo?: () => unknown}} [options] */
export function toast(text, { kind = "done", undo } = {}) {
  last += 1;
  toasts.value = [...toasts.value, { id: last, text, kind, undo }].slice(-AT_MOST);
}

export const wrong = (error) => toast(error.message, { kind: "wrong" });

/** Does something, and says so if it fails. @template T @param {() => Promise<T>} action */
export async function said(action) {
  try {
    return await action();
  } catch (error) {
    wrong(error);
    return null;
  }
}

const dismiss = (id) => (toasts.value = toasts.value.filter((one) => one.id !== id));

function Toast({ id, text, kind, undo }) {
  const timer = useRef(0);
  const wait = () => (timer.current = setTimeout(() => dismiss(id), SHOWN_MILLISECONDS));
  const stay = () => clearTimeout(timer.current);
  useEffect(() => {
    wait();
    return stay;
  }, []);
  const takeBack = () => {
    dismiss(id);
    said(undo);
  };
  return html`<li class="toast" data-kind=${kind} onMouseEnter=${stay} onMouseLeave=${wait} onFocusIn=${stay} onFocusOut=${wait}>
    <${Icon} name=${kind === "done" ? "success" : "errors"} /><span>${text}</span>
    ${undo && html`<button type="button" class="button" onClick=${takeBack}>Undo</button>`}
    <button type="button" class="button quiet" aria-label="Dismiss" onClick=${() => dismiss(id)}><${Icon} name="close" /></button></li>`;
}

export const Toasts = () =>
  html`<div class="toasts" role="status" aria-label="Notices"><ul>${toasts.value.map((one) => html`<${Toast} key=${one.id} ...${one} />`)}</ul></div>`;
