/* Runs before the first paint: a page that is to be dark never flashes. */
try {
  const theme = localStorage.getItem("afterwards.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme it is, then.
}
