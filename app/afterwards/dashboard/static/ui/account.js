/** Who is logged in, and the way out. */
import { html } from "../vendor/preact.js";
import { logOut } from "../core/session.js";
import { session } from "../core/store.js";
import { Icon, Labels, Time } from "./basics.js";
import { Dialog, close, show } from "./dialog.js";
import { said } from "./toasts.js";

const MAY = {
  viewer: "Looks, and changes nothing.",
  submitter: "Submits tasks; cancels and retries its own.",
  operator: "Does anything to tasks, types and schedules.",
  admin: "Does anything, and says who else may.",
};

/** Nothing where no key is needed. */
export function Account() {
  const key = session.value?.key;
  if (!key) return null;
  return html`<button type="button" class="cycle account" aria-haspopup="dialog" aria-label="Account: ${key.name}, ${key.role}" onClick=${() => show(html`<${AccountDialog} />`)}>
    <${Icon} name="lock" /><span><bdi>${key.name}</bdi> <span class="faint">${key.role}</span></span></button>`;
}

const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

function AccountDialog() {
  const { key, ends_at: endsAt } = session.value;
  if (!key) return null;
  // Without a session a proxy shows the key, and there is nothing to log out of.
  const out = () => {
    close();
    said(logOut);
  };
  return html`<${Dialog} title="Account" footer=${endsAt && html`<button type="button" class="button primary" onClick=${out}>Log out</button>`}>
    <dl class="facts-list" aria-label="The key">
      <${Fact} name="Key"><bdi>${key.name}</bdi><//>
      <${Fact} name="Role"><b>${key.role}</b><br />${MAY[key.role]}<//>
      <${Fact} name="Payloads">${key.payloads ? "shown" : "hidden"}<//>
      ${key.types && html`<${Fact} name="Task types"><bdi>${key.types.join(", ")}</bdi><//>`}
      ${key.labels && html`<${Fact} name="Labels"><${Labels} labels=${key.labels} /><//>`}
      ${endsAt && html`<${Fact} name="Session ends"><${Time} at=${endsAt} /><//>`}
    </dl><//>`;
}
