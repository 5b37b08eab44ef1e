// The two pictures: diversity against quality, and the stairs of ranks.

/** Round numbers between two, some three to six of them. */
function ticks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** The long words where they have room. */
const fit = (long, brief, width) => (long.length * 7.2 < width ? long : brief);

/** Where values of a block stand between two points; the better end comes last. */
function axisOf(block, from, to) {
  const [low, high] = scaleOf(block);
  const sign = data.metrics[data.blocks[block][1]].sign;
  const pad = (high - low || Math.abs(high) || 1) * 0.04;
  const [a, b] = sign < 0 ? [high + pad, low - pad] : [low - pad, high + pad];
  return { at: (value) => from + ((value - a) / (b - a)) * (to - from), low: low - pad, high: high + pad };
}

function drawPlane(width) {
  const [x, y] = [state.x, state.y];
  const place = byId("plane");
  const isQuality = y >= 0 && data.metrics[y].group === "quality";
  byId("plane-title").textContent = isQuality ? "Diversity against quality" : "Two views of diversity";
  const [bx, by] = [blocksOf(x)[0], y < 0 ? undefined : blocksOf(y)[0]];
  if (bx === undefined || by === undefined) {
    byId("plane-note").textContent = "";
    place.replaceChildren(make("p", { class: "empty" }, "One metric alone: nothing to draw it against."));
    return;
  }
  const [rx, ry] = [x, y].map((m) => rowsByTask[state.task].get(m));
  const points = [];
  let apart = 0;
  for (const [entry, one] of rx) {
    const other = ry.get(entry);
    if (!other || one[VALUE] === null || other[VALUE] === null) continue;
    if (one[0] !== bx || other[0] !== by) apart += 1;
    else points.push([entry, one, other]);
  }
  const height = Math.round(Math.min(380, width * 0.72));
  const [left, bottom, top, right] = [52, height - 40, 14, width - 14];
  const [ax, ay] = [axisOf(bx, left, right), axisOf(by, bottom, top)];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${titleOf(x)} against ${titleOf(y)} of ${points.length} models. The table below has the numbers.` });
  for (const t of ticks(ax.low, ax.high)) {
    svg.append(draw("line", { class: "grid", x1: ax.at(t), x2: ax.at(t), y1: top, y2: bottom }),
      draw("text", { class: "tick", x: ax.at(t), y: bottom + 15, "text-anchor": "middle" }, clean(t)));
  }
  for (const t of ticks(ay.low, ay.high)) {
    svg.append(draw("line", { class: "grid", x1: left, x2: right, y1: ay.at(t), y2: ay.at(t) }),
      draw("text", { class: "tick", x: left - 6, y: ay.at(t) + 4, "text-anchor": "end" }, clean(t)));
  }
  svg.append(draw("text", { class: "axis", x: right, y: height - 6, "text-anchor": "end" }, fit(`${data.metrics[x].label}: more diverse →`, "more diverse →", right - left)),
    draw("text", { class: "axis", x: left + 4, y: top + 2 }, `↑ ${data.metrics[y].label}: ${isQuality ? "better" : "more diverse"}`));
  const marks = draw("g");
  const labels = draw("g");
  const shown = points.filter(([entry]) => isWanted(entry));
  const best = (row) => row[RANK] !== null && row[WORSE] === 0;
  const kind = ([, one, other]) => (best(one) && best(other) ? "both" : best(one) ? "wide" : best(other) ? "good" : "beaten");
  const order = ["beaten", "good", "wide", "both"];
  const faint = shown.length > 40;
  for (const point of shown.sort((a, b) => order.indexOf(kind(a)) - order.indexOf(kind(b)))) {
    const [entry, one, other] = point;
    const [cx, cy] = [ax.at(one[VALUE]), ay.at(other[VALUE])];
    const group = draw("a", { class: `dot ${kind(point)}${faint ? " faint" : ""}`, href: hrefOf(entry), tabindex: "-1", "data-entry": entry, "data-metric": x });
    if (one[LOW] !== null) group.append(draw("line", { class: "span", x1: ax.at(one[LOW]), x2: ax.at(one[HIGH]), y1: cy, y2: cy }));
    if (other[LOW] !== null) group.append(draw("line", { class: "span", x1: cx, x2: cx, y1: ay.at(other[LOW]), y2: ay.at(other[HIGH]) }));
    group.append(draw("circle", { cx, cy, r: faint ? 4 : 5.5 }), draw("circle", { class: "reach", cx, cy, r: 10 }));
    marks.append(group);
  }
  svg.append(marks, labels);
  place.replaceChildren(svg, legend(kind, shown, isQuality));
  labelPoints(labels, shown, kind, ax, ay, right);
  const n = data.blocks[bx][2];
  byId("plane-note").textContent = `${shown.length} models${n === null ? "" : ` at n = ${n}`}, up and to the right is better; lines are 95% intervals.`
    + (apart ? ` ${apart} of another number of responses or signature cannot be drawn among them.` : "");
}

/** Names beside the points that nothing is shown to beat, or all where they are few; none on another. */
function labelPoints(layer, points, kind, ax, ay, right) {
  const taken = [];
  const wanted = points.length <= 12 ? points : points.filter((p) => kind(p) === "both");
  const some = wanted.length ? wanted : points.filter((p) => kind(p) !== "beaten");
  for (const [entry, one, other] of some.slice().reverse().slice(0, 14)) {
    const [x, y] = [ax.at(one[VALUE]), ay.at(other[VALUE])];
    const name = data.entries[entry][2];
    const text = name.length > 22 ? `${name.slice(0, 21)}…` : name;
    const size = text.length * 6.6 + 8;
    const [from, anchor] = x + size + 8 > right ? [x - 8 - size, "end"] : [x + 8, "start"];
    const box = [from, y - 9, from + size, y + 5];
    if (taken.some((b) => b[0] < box[2] && box[0] < b[2] && b[1] < box[3] && box[1] < b[3])) continue;
    taken.push(box);
    layer.append(draw("text", { class: "name", x: anchor === "end" ? x - 8 : x + 8, y: y + 4, "text-anchor": anchor }, text));
  }
}

function legend(kind, points, isQuality) {
  const count = (name) => points.filter((point) => kind(point) === name).length;
  const told = [["both", "nothing is shown better on either"], ["wide", "none shown more diverse"],
    ["good", isQuality ? "none shown better in quality" : "none shown more diverse on the other"], ["beaten", "beaten on both"]];
  return make("p", { class: "legend" }, ...told.filter(([name]) => count(name)).map(([name, text]) =>
    make("span", {}, make("i", { class: `key ${name}`, "aria-hidden": "true" }), `${text} (${count(name)})`)));
}

/** The rows of the ranking that leads, by rank. */
function stairRows() {
  const block = blocksOf(state.metric)[0];
  if (block === undefined) return [];
  return [...rowsByTask[state.task].get(state.metric).values()]
    .filter((row) => row[0] === block && row[RANK] !== null)
    .sort((a, b) => a[RANK] - b[RANK] || a[LAST] - b[LAST] || better(a, b));
}

function drawStairs(width) {
  const rows = stairRows();
  const place = byId("stairs");
  if (!rows.length) {
    byId("stairs-note").textContent = "";
    place.replaceChildren(make("p", { class: "empty" }, "No model has a rank by this metric; the table says why."));
    return;
  }
  const count = rows.length;
  const high = Math.max(2, Math.min(30, 330 / count));
  const [top, left] = [20, 6];
  const height = Math.round(count * high + top + 20);
  const at = (rank) => left + ((rank - 1) / count) * (width - 2 * left);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `The ranks that the tests leave ${count} models by ${titleOf(state.metric)}. The table below has them.` });
  for (const t of ticks(1, count).filter((t) => t >= 1 && Number.isInteger(t))) {
    svg.append(draw("line", { class: "grid", x1: at(t), x2: at(t), y1: top - 3, y2: height - 18 }),
      draw("text", { class: "tick", x: at(t), y: 12, "text-anchor": "middle" }, String(t)));
  }
  let [group, before] = [0, rows[0][RANK]];
  rows.forEach((row, i) => {
    if (row[RANK] !== before) { group = 1 - group; before = row[RANK]; }
    const y = top + i * high;
    const [entry, from, to] = [row[1], at(row[RANK]), at(row[LAST] + 1)];
    const link = draw("a", { class: `stair g${group}${isWanted(entry) ? "" : " unwanted"}`, href: hrefOf(entry), tabindex: "-1", "data-entry": entry, "data-metric": state.metric },
      draw("rect", { class: "reach", x: 0, y, width, height: high }),
      draw("rect", { class: "bar", x: from, y: y + high * 0.08, width: Math.max(2, to - from), height: high * 0.84, rx: Math.min(3, high / 4) }));
    if (high >= 13) {
      const name = data.entries[entry][2];
      const text = name.length > 30 ? `${name.slice(0, 29)}…` : name;
      const inside = to - from > text.length * 6.6 + 12;
      const after = !inside && to + text.length * 6.6 + 8 < width;
      link.append(draw("text", { class: inside ? "name inside" : "name", x: inside ? from + 6 : after ? to + 5 : from - 5, y: y + high * 0.5 + 4, "text-anchor": inside || after ? "start" : "end" }, text));
    }
    svg.append(link);
  });
  svg.append(draw("text", { class: "axis", x: left, y: height - 4 }, "← best rank"));
  place.replaceChildren(svg);
  const first = rows.filter((row) => row[WORSE] === 0).length;
  const ranks = new Set(rows.map((row) => row[RANK])).size;
  byId("stairs-note").textContent = `${titleOf(state.metric)}: ${count} models on ${ranks} rank${ranks === 1 ? "" : "s"} (a colour each, in turn); nothing is shown to beat ${first}. A bar spans the ranks that a model may have; two that do not overlap are told apart.`;
}
