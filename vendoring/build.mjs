/**
 * Makes app/afterwards/dashboard/static/vendor/: what the dashboard takes from others, as files
 * that a browser loads as they are. The service and its users need neither node nor npm. What only
 * the dashboard's tests load goes to a folder of theirs.
 *
 *     node build.mjs PACKAGES TARGET TESTS
 *
 * PACKAGES is a folder with the `node_modules` of package-lock.json. The same lock gives the same
 * bytes; their digests are in a manifest.json in each folder, which tests/dashboard/test_vendor.py
 * holds against the files.
 */
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [packages, target, tests] = process.argv.slice(2).map((path) => resolve(path));
const modules = join(packages, "node_modules");
const esbuild = createRequire(join(packages, "package.json"))("esbuild");

const ICONS = {
  scheduled: "clock",
  pending: "circle",
  retrying: "refresh-cw",
  processing: "loader-circle",
  success: "check",
  failed: "x",
  cancelled: "circle-slash",
  overview: "layout-dashboard",
  tasks: "list",
  errors: "triangle-alert",
  types: "shapes",
  schedules: "calendar-clock",
  workers: "server",
  webhooks: "webhook",
  activity: "history",
  search: "search",
  pause: "pause",
  play: "play",
  retry: "rotate-ccw",
  remove: "trash-2",
  copy: "copy",
  edit: "pencil",
  add: "plus",
  expand: "chevron-right",
  theme: "sun-moon",
  now: "zap",
  keys: "keyboard",
  lock: "lock",
  close: "x",
  link: "external-link",
  zone: "globe",
};
const BUNDLED = ["preact", "htm", "@preact/signals", "@preact/signals-core", "uplot", "lucide-static"];

const OF_TESTS = ["axe-core"];

for (const folder of [target, tests]) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, "licences"), { recursive: true });
}
await bundle("preact.js", [
  'export * from "preact";',
  'export * from "preact/hooks";',
  'export * from "@preact/signals";',
  'import { h } from "preact"; import htm from "htm"; export const html = htm.bind(h);',
]);
await bundle("uplot.js", ['export { default } from "uplot";']);
await minifyStyle("uplot.css", join(modules, "uplot/dist/uPlot.min.css"));
await writeFile(join(target, "icons.svg"), await sprite());
await writeManifest(target, BUNDLED, { esbuild: esbuild.version });
await cp(join(modules, "axe-core/axe.min.js"), join(tests, "axe.js"));
await writeManifest(tests, OF_TESTS, {});

async function bundle(name, lines) {
  await esbuild.build({
    stdin: { contents: lines.join("\n"), resolveDir: packages },
    bundle: true,
    format: "esm",
    minify: true,
    target: "es2022",
    legalComments: "none",
    outfile: join(target, name),
  });
}

async function minifyStyle(name, source) {
  const { code } = await esbuild.transform(await readFile(source, "utf8"), { loader: "css", minify: true });
  await writeFile(join(target, name), code);
}

async function sprite() {
  const symbols = await Promise.all(
    Object.entries(ICONS).map(async ([id, icon]) => {
      const drawing = await readFile(join(modules, "lucide-static/icons", `${icon}.svg`), "utf8");
      const shapes = drawing
        .match(/<svg[^>]*>(.*)<\/svg>/s)[1]
        .replace(/\s+/g, " ")
        .trim();
      return `<symbol id="${id}" viewBox="0 0 24 24">${shapes}</symbol>`;
    }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
}

async function writeManifest(folder, names, madeWith) {
  const made = {};
  for (const name of names) {
    const { version, license } = JSON.parse(await readFile(join(modules, name, "package.json"), "utf8"));
    const licenceFile = `licences/${name.replace("@", "").replace("/", "-")}.txt`;
    await cp(join(modules, name, "LICENSE"), join(folder, licenceFile));
    made[name] = { version, licence: license, licence_file: licenceFile };
  }
  const files = {};
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const bytes = await readFile(join(folder, name)).catch(() => null);
    if (bytes) files[name] = createHash("sha256").update(bytes).digest("hex");
  }
  const manifest = { made_with: madeWith, packages: made, sha256: files };
  await writeFile(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}
