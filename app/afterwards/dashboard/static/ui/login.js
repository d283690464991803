/** The page that asks for a key. What was open stays in the URL, and is shown after it. */
import { html, useEffect, useRef, useState } from "../vendor/preact.js";
import { logIn } from "../core/session.js";
import { login } from "../core/store.js";
import { Icon } from "./basics.js";
import { Field } from "./form.js";

export default function Login() {
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  const field = useRef(/** @type {HTMLInputElement|null} */ (null));
  document.title = "Log in · Afterwards";
  useEffect(() => field.current.focus(), []);
  const refuse = (message) => {
    setError(message);
    setBusy(false);
    field.current.focus();
    field.current.select();
  };
  const send = async (event) => {
    event.preventDefault();
    const token = field.current.value.trim();
    if (!token) return refuse("Enter a key.");
    setBusy(true);
    setError("");
    return logIn(token).catch(({ status, message }) =>
      refuse(status === 401 ? "This key is unknown, expired or revoked." : `${message.replace(/\.$/, "")}.`),
    );
  };
  const describedBy = `key-hint${error ? " key-error" : ""}`;
  return html`<main id="main" class="login"><form onSubmit=${send} aria-label="Log in">
    <p class="name">Afterwards</p><h1 tabindex="-1">Log in</h1>
    ${login.value?.hasEnded && html`<p class="notice" role="status"><${Icon} name="lock" /><span>The session has ended. Log in to go on where you were.</span></p>`}
    ${!window.isSecureContext && html`<p class="notice"><${Icon} name="lock" /><span>This page is not encrypted: others on the way can read the key, and the browser does not keep the login. Open it over HTTPS, or at localhost.</span></p>`}
    <input class="unseen" type="text" name="username" autocomplete="username" value="afterwards" readonly tabindex="-1" aria-hidden="true" />
    <${Field} id="key" label="Key" hint="A token that begins with aw_, from an administrator." error=${error}>
      <input id="key" ref=${field} name="password" type="password" autocomplete="current-password" required="" spellcheck="false" autocapitalize="off" aria-invalid=${error ? "true" : undefined} aria-describedby=${describedBy} /><//>
    <button type="submit" class="button primary" disabled=${isBusy}>${isBusy ? "Logging in…" : "Log in"}</button>
    </form></main>`;
}
