// The choices, and what is under the pointer.

const labelled = (list) => list.map((m) => [String(m), titleOf(m)]);

function drawChoice() {
  const metrics = metricsOf(state.task);
  const directed = metrics.filter((m) => data.metrics[m].sign);
  const change = (key) => (value) => { state[key] = Number(value); redraw(); };
  const controls = [];
  if (data.tasks.length > 1) {
    controls.push(select("Task", data.tasks.map((name, i) => [String(i), name]), String(state.task), (value) => { chooseTask(Number(value)); drawChoice(); redraw(); }));
  }
  controls.push(select("Rank by", labelled(metrics), String(state.metric), (value) => sortBy(Number(value))));
  if (directed.length > 1) {
    controls.push(select("Across", labelled(directed), String(state.x), change("x")));
    controls.push(select("Up", labelled(directed), String(state.y), change("y")));
  }
  byId("choice").replaceChildren(...controls);
  const chips = GROUPS.filter((group) => inGroup(metrics, group).length).map((group) =>
    make("fieldset", { class: "chips" }, make("legend", {}, group),
      ...inGroup(metrics, group).map((m) => make("button", { type: "button", "aria-pressed": String(state.columns.has(m)), click: (event) => {
        if (!state.columns.delete(m)) state.columns.add(m);
        event.currentTarget.setAttribute("aria-pressed", String(state.columns.has(m)));
        drawMatrix();
      } }, titleOf(m)))));
  byId("columns").replaceChildren(make("details", {}, make("summary", {}, `Columns: ${metrics.length} metrics`), ...chips));
}

function drawFilters() {
  const search = make("input", { type: "search", input: later(150, () => { state.query = search.value.trim().toLowerCase(); state.limit = PAGE_ROWS; redraw(); }) });
  search.value = state.query;
  const controls = [make("label", { class: "field wide" }, make("span", {}, "Find a model"), search)];
  if (data.runs.length > 1) {
    controls.push(select("Measured by", [["", "everybody"], ...data.runs.map((name, i) => [String(i), name])], "", (value) => { state.run = value; redraw(); }));
  }
  byId("filters").replaceChildren(...controls);
}

function redraw() {
  const width = (id) => Math.max(260, Math.floor(byId(id).clientWidth));
  drawPlane(width("plane"));
  drawStairs(width("stairs"));
  drawMatrix();
  const rank = byId("choice").querySelectorAll("select")[data.tasks.length > 1 ? 1 : 0];
  if (rank) rank.value = String(state.metric);
  saveState();
}

// What is under the pointer, or has the focus: it is marked in both pictures and in the table.
const tooltip = byId("tooltip");

function mark(entry) {
  document.querySelectorAll(".on").forEach((node) => node.classList.remove("on"));
  document.body.classList.toggle("marking", entry !== null);
  if (entry !== null) document.querySelectorAll(`[data-entry="${entry}"]`).forEach((node) => node.classList.add("on"));
}

function tell(entry, event) {
  const lines = [state.x, state.y, state.metric].filter((m, i, all) => m >= 0 && all.indexOf(m) === i).flatMap((m) => {
    const row = rowsByTask[state.task].get(m)?.get(entry);
    if (!row) return [];
    const interval = row[LOW] === null ? "" : ` [${clean(row[LOW])}, ${clean(row[HIGH])}]`;
    const rank = row[RANK] === null ? "no rank" : `rank ${rankText(row)} of ${ranked[row[0]]}`;
    const beats = row[BEATS] === null ? "" : `, beats another on ${Math.round(100 * row[BEATS])}% of prompts`;
    return [make("div", {}, make("span", {}, titleOf(m)), make("b", {}, `${clean(row[VALUE])}${interval}`)), make("div", {}, make("span", {}, `${rank}${beats}`))];
  });
  tooltip.replaceChildren(make("b", {}, data.entries[entry][2]), ...lines);
  tooltip.hidden = false;
  const box = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - box.width - 8)}px`;
  tooltip.style.top = `${Math.max(4, event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 10 : event.clientY + 18)}px`;
}

document.addEventListener("pointermove", (event) => {
  const node = event.target.closest?.("[data-entry]");
  const entry = node ? Number(node.getAttribute("data-entry")) : null;
  if (entry !== marked_entry) { marked_entry = entry; mark(entry); }
  if (node && event.pointerType === "mouse") tell(entry, event); else tooltip.hidden = true;
});
let marked_entry = null;

loadState();
drawChoice();
drawFilters();
redraw();
let drawn = window.innerWidth;
window.addEventListener("resize", later(120, () => { if (window.innerWidth !== drawn) { drawn = window.innerWidth; redraw(); } }));
document.documentElement.dataset.ready = "true";
