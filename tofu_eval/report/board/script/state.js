// What is shown: the task, the metric that ranks, the filters; kept in the address, so that a view
// can be sent to somebody.

const [VALUE, LOW, HIGH, N, UNDEFINED, RANK, LAST, BETTER, WORSE, BEATS, WHY, WAS] =
  Array.from({ length: 12 }, (_, i) => i + 2);
const SHOWN_COLUMNS = 7;
const GROUPS = ["diversity", "quality", "other"];

const rowsByTask = data.tasks.map(() => new Map()); // by task: metric → entry → row
const ranked = data.blocks.map(() => 0);
for (const row of data.rows) {
  const [task, metric] = data.blocks[row[0]];
  const metrics = rowsByTask[task];
  if (!metrics.has(metric)) metrics.set(metric, new Map());
  metrics.get(metric).set(row[1], row);
  if (row[RANK] !== null) ranked[row[0]] += 1;
}

const state = { task: 0, metric: 0, x: 0, y: -1, run: "", query: "", reversed: false, byName: false, columns: new Set(), limit: 0 };

/** The metrics of the task, in the order in which they lead. */
function metricsOf(task) {
  return [...rowsByTask[task].keys()].sort((a, b) => a - b);
}

const inGroup = (metrics, group) => metrics.filter((m) => data.metrics[m].group === group);
const titleOf = (metric) => `${data.metrics[metric].label}\u00a0${data.metrics[metric].arrow}`.trim();

function chooseTask(task) {
  const metrics = metricsOf(task);
  const [diversity, quality] = ["diversity", "quality"].map((g) => inGroup(metrics, g).filter((m) => data.metrics[m].sign));
  state.task = task;
  state.x = diversity[0] ?? metrics[0];
  state.y = quality[0] ?? diversity[1] ?? -1;
  state.metric = diversity[0] ?? quality[0] ?? metrics[0];
  const leading = [...diversity.slice(0, 4), ...quality.slice(0, 3)];
  state.columns = new Set([...leading, ...metrics.filter((m) => !leading.includes(m))].slice(0, SHOWN_COLUMNS));
}

/** The blocks of a metric on the task, the one of most ranked rows first. */
function blocksOf(metric) {
  const rows = rowsByTask[state.task].get(metric);
  if (!rows) return [];
  const sizes = new Map();
  for (const row of rows.values()) sizes.set(row[0], (sizes.get(row[0]) ?? 0) + 1);
  return [...sizes.keys()].sort((a, b) => ranked[b] - ranked[a] || sizes.get(b) - sizes.get(a) || a - b);
}

/** What distinguishes a ranking from the others of its metric. */
function blockText(block) {
  const [, , responses, cluster, signature] = data.blocks[block];
  return [responses === null ? null : `at n = ${responses}`, cluster === null ? null : `over clusters by ${cluster}`, signature]
    .filter(Boolean).join(" · ");
}

function rankText(row) {
  if (row[RANK] === null) return "";
  return row[RANK] === row[LAST] ? String(row[RANK]) : `${row[RANK]}–${row[LAST]}`;
}

/** The entries that the filters leave. */
function isWanted(entry) {
  const [, run, label] = data.entries[entry];
  return (state.run === "" || String(run) === state.run) && (!state.query || label.toLowerCase().includes(state.query));
}

const scales = new Map();
/** What the rows of a block span. */
function scaleOf(block) {
  if (!scales.has(block)) {
    let [low, high] = [Infinity, -Infinity];
    for (const row of rowsByTask[data.blocks[block][0]].get(data.blocks[block][1]).values()) {
      if (row[0] !== block || row[VALUE] === null) continue;
      low = Math.min(low, row[LOW] ?? row[VALUE]);
      high = Math.max(high, row[HIGH] ?? row[VALUE]);
    }
    scales.set(block, [low, high]);
  }
  return scales.get(block);
}

/** A number with a few digits. */
function clean(value, digits = 4) {
  if (value === null) return "undefined";
  const small = value && Math.abs(value) < 1e-3;
  return small || Math.abs(value) >= 1e5 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

function saveState() {
  const kept = new URLSearchParams({ task: data.tasks[state.task], metric: data.metrics[state.metric].label });
  if (state.query) kept.set("find", state.query);
  try { history.replaceState(null, "", `#${kept}`); } catch { /* where the address may not change */ }
}

function loadState() {
  const kept = new URLSearchParams(location.hash.slice(1));
  chooseTask(Math.max(0, data.tasks.indexOf(kept.get("task"))));
  const metric = metricsOf(state.task).find((m) => data.metrics[m].label === kept.get("metric"));
  if (metric !== undefined) { state.metric = metric; state.columns.add(metric); }
  state.query = (kept.get("find") ?? "").toLowerCase();
}
