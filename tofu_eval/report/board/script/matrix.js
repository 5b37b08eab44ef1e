// The table of models by metrics: ranked by one of them, a section a ranking, ties bracketed.

const PAGE_ROWS = 200;
const NARROW = 700; // pixels below which the metric that ranks is the only column
const hrefOf = (entry) => `models/${data.entries[entry][0]}.html`;

/** Which of two rows of a block is better; what has no value comes last. */
function better(a, b) {
  if (a[VALUE] === null || b[VALUE] === null) return (a[VALUE] === null) - (b[VALUE] === null);
  return -(data.metrics[data.blocks[a[0]][1]].sign || 1) * (a[VALUE] - b[VALUE]);
}

function columnsShown() {
  const shown = metricsOf(state.task).filter((m) => state.columns.has(m) || m === state.metric);
  return window.innerWidth < NARROW ? [state.metric] : shown;
}

function sortBy(metric) {
  state.reversed = metric === state.metric && !state.byName ? !state.reversed : false;
  state.metric = metric;
  state.byName = false;
  state.limit = PAGE_ROWS;
  redraw();
}

function drawHead(columns) {
  const cell = (title, sorted, click, more = {}) => make("th",
    { scope: "col", "aria-sort": !sorted ? "none" : state.reversed ? "descending" : "ascending", ...more },
    make("button", { type: "button", click }, title, make("span", { class: "sorter", "aria-hidden": "true" })));
  const byName = cell("model", state.byName, () => { state.reversed = state.byName && !state.reversed; state.byName = true; redraw(); }, { class: "name" });
  const heads = columns.map((m) => cell(titleOf(m), !state.byName && m === state.metric, () => sortBy(m), { class: m === state.metric ? "lead" : null }));
  byId("matrix").tHead.replaceChildren(make("tr", {}, byName, ...heads));
}

/** The sections of the table: [title, rows of the metric that ranks, whether they are ranked]. */
function sections() {
  const rows = [...(rowsByTask[state.task].get(state.metric)?.values() ?? [])].filter((row) => isWanted(row[1]));
  const label = (row) => data.entries[row[1]][2].toLowerCase();
  if (state.byName) {
    rows.sort((a, b) => (label(a) < label(b) ? -1 : label(a) > label(b) ? 1 : 0) * (state.reversed ? -1 : 1));
    return [[null, rows, false]];
  }
  const blocks = blocksOf(state.metric);
  const found = [];
  for (const block of blocks) {
    const own = rows.filter((row) => row[0] === block && row[RANK] !== null);
    own.sort((a, b) => a[RANK] - b[RANK] || a[LAST] - b[LAST] || better(a, b));
    if (state.reversed) own.reverse();
    const other = found.length ? "Another ranking, not comparable with the one above: " : "One ranking: ";
    if (own.length) found.push([`${other}${blockText(block)}`, own, true]);
  }
  const left = new Map();
  for (const row of rows.filter((row) => row[RANK] === null)) {
    const why = data.reasons[row[WHY]] ?? "";
    if (!left.has(why)) left.set(why, []);
    left.get(why).push(row);
  }
  for (const [why, own] of left) found.push([`No rank: ${why}`, own.sort((a, b) => a[0] - b[0] || better(a, b)), false]);
  return found;
}

function drawMatrix() {
  const columns = columnsShown();
  drawHead(columns);
  const main = new Map(columns.map((m) => [m, blocksOf(m)[0]]));
  const table = byId("matrix");
  [...table.tBodies].forEach((body) => body.remove());
  const parts = sections();
  const total = parts.reduce((sum, part) => sum + part[1].length, 0);
  let room = Math.max(state.limit, PAGE_ROWS);
  for (const [title, rows, isRanked] of parts) {
    if (room <= 0) break;
    const body = make("tbody");
    if (title !== null) {
      body.append(make("tr", { class: "section" }, make("th", { scope: "rowgroup", colspan: columns.length + 1 }, make("span", {}, title))));
    }
    let group = 0;
    rows.slice(0, room).forEach((row, i) => {
      if (i && row[RANK] !== rows[i - 1][RANK]) group = 1 - group;
      const ends = isRanked && { first: !i || row[RANK] !== rows[i - 1][RANK], last: i === rows.length - 1 || row[RANK] !== rows[i + 1][RANK] };
      body.append(line(row, columns, main, group, ends));
    });
    room -= rows.length;
    table.append(body);
  }
  const all = rowsByTask[state.task].get(state.metric)?.size ?? 0;
  byId("count").textContent = `${total} of ${all} measured models` + (total > Math.max(state.limit, PAGE_ROWS) ? `, the first ${Math.max(state.limit, PAGE_ROWS)} shown` : "");
  byId("more").replaceChildren();
  if (room < 0) byId("more").append(make("button", { type: "button", click: () => { state.limit = Math.max(state.limit, PAGE_ROWS) + PAGE_ROWS; drawMatrix(); } }, `Show ${PAGE_ROWS} more`));
}

function line(row, columns, main, group, ends) {
  const [, run, label] = data.entries[row[1]];
  const tie = ends ? ` tie g${group}${ends.first ? " first" : ""}${ends.last ? " last" : ""}` : "";
  const name = make("th", { scope: "row", class: `name${tie}` }, make("a", { href: hrefOf(row[1]) }, label),
    data.runs.length > 1 ? make("small", {}, data.runs[run]) : null);
  return make("tr", { "data-entry": row[1], "data-metric": state.metric }, name,
    ...columns.map((m) => cellOf(rowsByTask[state.task].get(m)?.get(row[1]), m, main.get(m))));
}

function cellOf(row, metric, block) {
  const lead = metric === state.metric;
  if (!row) return make("td", { class: lead ? "lead none" : "none" }, "");
  const other = row[0] !== block;
  const [title, text] = row[RANK] === null ? [data.reasons[row[WHY]] ?? null, "–"]
    : ranked[row[0]] < 2 ? ["the only one of its ranking", "alone"] : [null, rankText(row)];
  const best = text !== "alone" && row[RANK] !== null && row[WORSE] === 0 && !other;
  const rank = make("span", { class: `rank${best ? " best" : ""}`, title }, text);
  const value = make("span", { class: "value" }, clean(row[VALUE], lead ? 4 : 3));
  const apart = { class: `${lead ? "lead" : ""}${other ? " apart" : ""}`, title: other ? `another ranking: ${blockText(row[0])}` : null };
  return lead && window.innerWidth >= NARROW ? make("td", apart, rank, strip(row, 130), value, moved(row)) : make("td", apart, make("div", { class: "pair" }, ...[rank, lead ? moved(row) : null, value].filter(Boolean)), strip(row, lead ? 180 : 96));
}

/** How the rank moved since the version before. */
function moved(row) {
  if (row[WAS] === 0) return make("span", { class: "moved new" }, "new");
  if (row[WAS] === null || row[RANK] === null) return null;
  const by = row[WAS][0] - row[RANK];
  return by ? make("span", { class: `moved ${by > 0 ? "up" : "down"}` }, `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`) : null;
}

/** A mean with its interval on the scale of its ranking. */
function strip(row, width) {
  const svg = draw("svg", { class: "strip", viewBox: `0 0 ${width} 14`, width, height: 14, "aria-hidden": "true" },
    draw("line", { class: "track", x1: 0, x2: width, y1: 7, y2: 7 }));
  if (row[VALUE] === null) return svg;
  const axis = axisOf(row[0], 3, width - 3);
  if (row[LOW] !== null) {
    const [a, b] = [axis.at(row[LOW]), axis.at(row[HIGH])].sort((p, q) => p - q);
    svg.append(draw("rect", { class: "interval", x: a, y: 5, width: Math.max(1.5, b - a), height: 4, rx: 2 }));
  }
  svg.append(draw("circle", { class: "mean", cx: axis.at(row[VALUE]), cy: 7, r: 3.5 }));
  return svg;
}
