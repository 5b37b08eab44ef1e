// Vega empties its own element by an empty innerHTML; nothing else may become HTML here.
window.trustedTypes?.createPolicy("default", {
  createHTML: (text) => {
    if (text === "") return text;
    throw new TypeError("This page makes no HTML out of text.");
  },
});

const system = window.matchMedia("(prefers-color-scheme: dark)");
const themeChoice = byId("theme");

function applyTheme() {
  const root = document.documentElement;
  root.dataset.theme = themeChoice.value;
  root.dataset.shown = themeChoice.value || (system.matches ? "dark" : "light");
}

function startAbout() {
  for (const [title, table] of Object.entries(data.about)) {
    byId("about-body").append(
      make("details", { open: title === "Made by" }, make("summary", {}, title), plainTable(table.names, table.rows, title)));
  }
}

applyTheme();
const datasets = Object.fromEntries(Object.entries(data.datasets).map(([name, table]) => [name, records(table)]));
startForest(datasets.estimates);
startVerdicts();
startCopy();
const explorer = startExplorer();
startShownMost(explorer.open);
startTable(datasets.estimates);
const drawing = startCharts(datasets, explorer.open);
startAbout();
drawing.done.then(() => { document.documentElement.dataset.ready = "true"; });
themeChoice.addEventListener("change", () => { applyTheme(); drawing.redraw(); });
system.addEventListener("change", () => { applyTheme(); drawing.redraw(); });
