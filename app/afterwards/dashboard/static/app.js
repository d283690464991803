/** The beginning: draws the frame, and in it the page that the URL names. */
import { html, render, useEffect, useState } from "./vendor/preact.js";
import { place } from "./core/router.js";
import { check } from "./core/session.js";
import { login, outage, session } from "./core/store.js";
import { Frame } from "./ui/frame.js";
import { loginPage } from "./ui/later.js";
import { Empty, Skeleton } from "./ui/states.js";

/** Loaded when they are first shown. */
const PAGES = {
  "": () => import("./pages/overview.js"),
  tasks: () => import("./pages/tasks.js"),
  "tasks/": () => import("./pages/task.js"),
  errors: () => import("./pages/errors.js"),
  types: () => import("./pages/types.js"),
  "types/": () => import("./pages/type.js"),
  schedules: () => import("./pages/schedules.js"),
  webhooks: () => import("./pages/webhooks.js"),
  workers: () => import("./pages/workers.js"),
  activity: () => import("./pages/activity.js"),
};

const loaded = new Map();

function usePage(name) {
  const [shown, setShown] = useState({ name, page: loaded.get(name), error: null });
  useEffect(() => {
    if (!PAGES[name]) return;
    PAGES[name]().then(
      (module) => {
        loaded.set(name, module.default);
        setShown({ name, page: module.default, error: null });
      },
      (error) => setShown({ name, page: null, error }),
    );
  }, [name]);
  return shown.name === name ? shown : { page: loaded.get(name), error: null };
}

/** Nothing is asked for before it is known who asks. */
const Waiting = () => html`<h1 class="unseen" tabindex="-1">Afterwards</h1><${Skeleton} rows=${8} />`;

function LoginPage() {
  const [Page, setPage] = useState(/** @type {any} */ (null));
  useEffect(() => void loginPage().then((page) => setPage(() => page ?? Outdated)), []);
  return Page && html`<${Page} />`;
}

function App() {
  if (login.value) return html`<${LoginPage} />`;
  if (!session.value && !outage.value) return html`<${Frame}><${Waiting} /><//>`;
  return html`<${Shown} />`;
}

function Shown() {
  const { page, name } = place.value;
  const route = name === null ? page : `${page}/`;
  const { page: Page, error } = usePage(route);
  let content = html`<${Skeleton} rows=${8} />`;
  if (!PAGES[route]) content = html`<${Lost} />`;
  else if (error) content = html`<${Outdated} />`;
  else if (Page) content = html`<${Page} key=${route + (name ?? "")} name=${name} />`;
  return html`<${Frame}>${content}<//>`;
}

const Lost = () => html`<h1 class="unseen" tabindex="-1">No such page</h1>
  <${Empty} icon="search" title="No such page"><a href=".">Overview</a><//>`;

/** The service was upgraded, and has no longer the files of this page's version. */
const Outdated = () => html`<h1 class="unseen" tabindex="-1">Reload</h1>
  <${Empty} icon="retry" title="The service was upgraded">
    <button type="button" class="button primary" onClick=${() => window.location.reload()}>Reload</button><//>`;

check();
render(html`<${App} />`, document.getElementById("app"));
