/** Dialogs: the browser's own, which keeps the focus inside, and gives it back. */
import { html, signal, useEffect, useRef } from "../vendor/preact.js";
import { Icon } from "./basics.js";

const open = signal(/** @type {{key: number, body: any}|null} */ (null));
let last = 0;

/** @param {any} body what is shown: a component's element, which has a `Dialog` in it */
export function show(body) {
  last += 1;
  open.value = { key: last, body };
}

export const close = () => (open.value = null);

export const DialogHost = () => open.value && html`<div key=${open.value.key}>${open.value.body}</div>`;

/** @param {{title: string, children: any, footer?: any, isWide?: boolean, onClose?: () => void}} _ */
export function Dialog({ title, children, footer, isWide = false, onClose = close }) {
  const element = useRef(/** @type {HTMLDialogElement|null} */ (null));
  useEffect(() => {
    const before = /** @type {HTMLElement|null} */ (document.activeElement);
    element.current.showModal();
    return () => before?.isConnected && before.focus?.();
  }, []);
  const onBackdrop = (event) => event.target === element.current && onClose();
  return html`<dialog ref=${element} class=${isWide ? "wide" : ""} aria-labelledby="dialog-title" onClose=${onClose} onMouseDown=${onBackdrop}>
    <header><h2 id="dialog-title">${title}</h2>
      <button type="button" class="button quiet" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <div class="body">${children}</div>
    ${footer && html`<footer>${footer}</footer>`}</dialog>`;
}

/** Asks before something is done. */
export function confirm({ title, text, verb, kind = "danger", action }) {
  const act = () => {
    close();
    action();
  };
  show(
    html`<${Dialog} title=${title} footer=${html`
    <button type="button" class="button" onClick=${close}>Leave it</button>
    <button type="button" class="button ${kind}" autofocus onClick=${act}>${verb}</button>`}><p>${text}</p><//>`,
  );
}
