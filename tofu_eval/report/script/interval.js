// A difference with its interval on the line that all metrics share: narrower left, wider right.
// Where it stands, in percent of the line's width, comes from Python (report/scale.py).

/** The labels above the line. */
function axisLine(left = "◀ narrower", right = "wider ▶") {
  return draw("svg", { class: "axis", "aria-hidden": "true" },
    draw("text", { class: "end", x: 0, y: 11 }, left),
    draw("text", { class: "end", x: "100%", y: 11, "text-anchor": "end" }, right),
    ...data.ticks.map(([at, label]) => draw("text", { x: `${at}%`, y: 25, "text-anchor": "middle" }, label)));
}

/** The estimates of one metric, a line a model; of a model that is not the chosen one, fainter. */
function intervals(rows) {
  const step = { 1: 16, 2: 7 }[rows.length] ?? 5;
  const height = Math.max(18, rows.length * step + 3);
  const top = (height - (rows.length - 1) * step) / 2;
  const drawing = draw("svg", { class: "strip", height, "aria-hidden": "true" },
    draw("line", { class: "zero", x1: "50%", x2: "50%", y1: 0, y2: "100%" }));
  rows.forEach((row, i) => {
    const y = top + i * step;
    const faint = choice.model && choice.model !== row.model ? " faint" : "";
    drawing.append(draw("g", { class: `${hueOf(row.model)}${faint}` },
      draw("title", {}, `${row.model}: ${spoken(row)}`),
      draw("line", { class: "range", x1: `${row.at_low}%`, x2: `${row.at_high}%`, y1: y, y2: y, "stroke-width": 2 }),
      draw("circle", { class: row.mark === "**" ? "clear" : "unclear", cx: `${row.at}%`, cy: y, r: rows.length > 2 ? 3 : 4 })));
  });
  return drawing;
}

/** A difference in words, for who does not see it. */
function spoken(row) {
  const result = row.turn || "not clear";
  return `${result}, ${row.difference_text}${row.p_text ? `, adjusted ${row.p_text}` : ""}`;
}
