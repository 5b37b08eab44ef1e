// The table of all numbers: sorted by any column, filtered by task, metric and model.

const PAGE_ROWS = window.innerWidth < 832 ? 10 : 25;
const COLUMNS = [
  { key: "task", title: "task" },
  { key: "metric", title: "metric" },
  { key: "model", title: "model" },
  { key: "value", title: "mean", more: " [95% interval]", numeric: true },
  { key: "difference", title: "difference", more: " [95% interval]", numeric: true },
  { key: "p_adjusted", title: "p (adjusted)", numeric: true },
  { key: "turn", title: "result" },
  { key: "n", title: "prompts", numeric: true },
];

function startTable(estimates) {
  const wanted = { task: "", metric: "", model: "", clear: false };
  let sorted = { key: null, down: false };
  let page = 0;
  const all = (names) => [["", "all"], ...names.map((name) => [name, name])];
  const change = (key) => (value) => { wanted[key] = value; page = 0; show(); };
  const clear = make("input", { type: "checkbox", change: () => change("clear")(clear.checked) });
  const count = make("p", { class: "count", role: "status" });
  const heads = COLUMNS.map((column) => head(column));
  const body = make("tbody", { role: "rowgroup" });
  const pages = make("div");

  const fields = {
    task: select("Task", all(data.tasks), "", change("task")),
    metric: select("Metric", all(Object.keys(data.metrics)), "", change("metric")),
    model: select("Model", all(data.models), "", change("model")),
  };

  byId("table-body").append(
    make("div", { class: "controls" }, ...Object.values(fields),
      make("label", { class: "field check" }, clear, make("span", {}, "clear differences only"))),
    count,
    make("div", { class: "scroll", role: "region", "aria-label": "All numbers", tabindex: "0" },
      make("table", { class: "numbers", role: "table" }, // said, since a phone lays it out as cards
        make("caption", { class: "only-read" }, "Means and differences by task, metric and model"),
        make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), body)),
    pages);

  function head(column) {
    const sort = make("button", { type: "button", click: () => sortBy(column.key) }, column.title,
      column.more ? make("span", { class: "aside" }, column.more) : null,
      make("span", { class: "sorter", "aria-hidden": "true" }));
    return make("th", { scope: "col", role: "columnheader", "aria-sort": "none", class: column.numeric ? "number" : null }, sort);
  }

  function sortBy(key) {
    sorted = { key, down: sorted.key === key ? !sorted.down : false };
    COLUMNS.forEach((column, i) => {
      const state = column.key !== key ? "none" : sorted.down ? "descending" : "ascending";
      heads[i].setAttribute("aria-sort", state);
    });
    page = 0;
    show();
  }

  function chosen() {
    const rows = estimates.filter((row) =>
      ["task", "metric", "model"].every((key) => !wanted[key] || row[key] === wanted[key]) &&
      (!wanted.clear || row.mark === "**"));
    if (!sorted.key) return rows;
    const sign = sorted.down ? -1 : 1;
    const empty = (value) => value === null || value === "";
    return rows.sort((a, b) => {
      const [one, other] = [a[sorted.key], b[sorted.key]];
      if (empty(one) || empty(other)) return empty(one) - empty(other); // last, whatever the order
      return sign * (typeof one === "number" ? one - other : one < other ? -1 : one > other ? 1 : 0);
    });
  }

  function show() {
    const rows = chosen();
    page = Math.min(page, Math.max(0, Math.ceil(rows.length / PAGE_ROWS) - 1));
    count.textContent = `${rows.length} of ${estimates.length} rows`;
    body.replaceChildren(...rows.slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS).map(line));
    pages.replaceChildren();
    if (rows.length > PAGE_ROWS) pages.append(pager(rows.length, PAGE_ROWS, page, (to) => { page = to; show(); }, "rows"));
  }

  function line(row) {
    const baseline = row.model === data.models[0];
    const result = row.turn || (baseline ? "baseline" : row.difference === null ? "" : "not clear");
    const cell = (label, more, ...children) => make("td", { role: "cell", "data-label": label, ...more }, ...children);
    const numeric = { class: "number" };
    return make("tr", { role: "row" },
      cell("task", { class: "task" }, row.task),
      make("th", { scope: "row", role: "rowheader" }, ...visible(row.metric + arrow(row.metric))),
      cell("model", { class: "model" }, row.model),
      cell("mean", { ...numeric, title: row.reasons ? `undefined on ${row.undefined}: ${row.reasons}` : null },
        make("span", {}, row.mean_text)),
      cell("difference", numeric, row.difference_text
        ? make("span", {}, row.difference_text, row.mark ? make("b", {}, ` ${row.mark}`) : "") : null),
      cell("p (adjusted)", numeric, row.p_text ? row.p_text.replace(/^p (= )?/, "") : null),
      cell("result", { class: "result" }, make("span", { class: `chip ${row.turn || "unclear"}` }, result)),
      cell("prompts", numeric, row.undefined ? `${row.n} (${row.undefined} undefined)` : String(row.n)));
  }

  function filter(key, value) {
    wanted[key] = fields[key].querySelector("select").value = value;
    page = 0;
  }

  follow((changed) => { // what is chosen above filters these numbers too
    if (changed.includes("only")) filter("metric", choice.only);
    if (changed.includes("model")) filter("model", choice.model);
    if (changed.includes("task")) filter("task", choice.task);
    show();
  });
  show();
}
