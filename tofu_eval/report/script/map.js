// A map of what was said to a prompt: what lies close together is alike. A point leads to its text.

const [WIDE, HIGH, EDGE] = [600, 300, 16];
const PATHS = { // a shape a model, as in the charts
  circle: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0", square: "M-4.5,-4.5h9v9h-9z", "triangle-up": "M0,-5.5L5.5,4.5H-5.5z",
  diamond: "M0,-6L5,0L0,6L-5,0z", cross: "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z", "triangle-down": "M0,5.5L5.5,-4.5H-5.5z",
};
const SHAPES = Object.values(PATHS);

/** Places in the drawing: as large as fits, one scale for both directions. */
function placer(points) {
  const ends = [0, 1].map((k) => [Math.min(...points.map((p) => p[k])), Math.max(...points.map((p) => p[k]))]);
  const [dx, dy] = ends.map(([low, high]) => Math.max(1, high - low));
  const scale = Math.min((WIDE - 2 * EDGE) / dx, (HIGH - 2 * EDGE) / dy);
  return ([x, y]) => [
    WIDE / 2 + (x - (ends[0][0] + ends[0][1]) / 2) * scale, HIGH / 2 - (y - (ends[1][0] + ends[1][1]) / 2) * scale,
  ].map((one) => Math.round(10 * one) / 10);
}

/** The map of a record, or null where the run has no embeddings; `open(i, sample)` shows a text. */
function mapNode(record, open) {
  if (!record.map) return null;
  const points = record.samples.flatMap((row, i) => row.map((text, sample) => ({ i, sample, text, number: classesOf(record)[i][sample] })));
  const caption = make("p", { class: "hint", role: "status" }, rest());
  const place = placer(points.map((point) => record.map.points[point.text]));
  let at = -1;
  const nodes = points.map((point, k) => {
    const [x, y] = place(record.map.points[point.text]);
    const hue = hueOfClass(record, point.number);
    return draw("path", { d: SHAPES[point.i % SHAPES.length], class: hue === null ? "point" : `point class-${hue}`,
      transform: `translate(${x} ${y})`, "data-k": k }, draw("title", {}, told(point)));
  });
  const drawing = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, tabindex: "0", role: "application",
    "aria-label": "Map of the responses. Arrow keys go from point to point, Enter opens its text." }, ...nodes);
  drawing.addEventListener("click", (event) => { if (event.target.dataset.k) go(Number(event.target.dataset.k), true); });
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) go((at + step + points.length) % points.length, false);
    else if (event.key === "Enter" && at >= 0) open(points[at].i, points[at].sample);
    else return;
    event.preventDefault();
  });

  function go(k, opens) {
    nodes[at]?.classList.remove("here");
    at = k;
    nodes[at].classList.add("here");
    caption.replaceChildren(...visible(told(points[at])));
    if (opens) open(points[at].i, points[at].sample);
  }

  function told(point) {
    return `${data.members[point.i]} #${point.sample + 1}: ${firstLine(record.texts[point.text], 90)}`;
  }

  function rest() {
    return `The two main directions of their embeddings, which hold ${Math.round(100 * record.map.share)}% of the variance. Colours are those of the strips, shapes those of the models${data.members.length > SHAPES.length ? `, again after ${SHAPES.length}` : ""}.`;
  }

  return make("details", { class: "map", open: points.length > 2 }, make("summary", {}, "Map of the responses"),
    drawing, make("p", { class: "legend" }, ...data.members.flatMap((model, i) => [
      draw("svg", { viewBox: "-7 -7 14 14", class: "shape", "aria-hidden": "true" }, draw("path", { d: SHAPES[i % SHAPES.length] })), `${model} `])),
    caption);
}
