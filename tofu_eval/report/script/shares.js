// How much of what each model said is one class: a strip a model, the same answer in the same
// colour in every strip.

const RARE = 0.9; // share of responses that were said once
const STRIPS = 6; // on the first screen
const HUES = 6; // beyond, and what was said once, is grey

/** How often each number stands in some lists. */
const counted = (rows) => rows.flat().reduce((sums, one) => sums.set(one, (sums.get(one) ?? 0) + 1), new Map());

/** The classes of a record, a list a model: by what is chosen, meaning or text. */
const classesOf = (record) => (choice.classes === "meaning" && record.meanings) || record.classes;

/** How often each class was said, over all models. */
function totals(record) {
  const rows = classesOf(record);
  if (record.counted !== rows) [record.counted, record.totals] = [rows, counted(rows)];
  return record.totals;
}

/** Where a run has no equivalence and next to nothing was said twice, its embeddings say more. */
function startClasses() {
  const records = Object.values(data.explorer).flat();
  if (!records.some((record) => record.meanings)) return false;
  let [once, all] = [0, 0];
  for (const record of records) {
    for (const count of counted(record.classes).values()) once += count === 1;
    all += record.classes.flat().length;
  }
  if (once > RARE * all) choice.classes = "meaning";
  return true;
}

/** The colour of a class: classes are numbered by their size over all models. */
function hueOfClass(record, number) {
  return number >= 0 && number < HUES && totals(record).get(number) > 1 ? number : null;
}

const letter = (i) => (i < 26 ? "" : letter(Math.floor(i / 26) - 1)) + String.fromCharCode(65 + (i % 26));

/** What a class is called: a letter, where it was said more than once. */
function nameOfClass(record, number) {
  return number >= 0 && totals(record).get(number) > 1 ? letter(number) : "";
}

/** The text that stands for a class: the one that was said most. */
function textOfClass(record, number) {
  const times = new Map();
  classesOf(record).forEach((row, i) => row.forEach((one, sample) => {
    const text = record.samples[i][sample];
    if (one === number) times.set(text, (times.get(text) ?? 0) + 1);
  }));
  const [most] = [...times].sort((a, b) => b[1] - a[1])[0];
  return firstLine(record.texts[most], 60);
}

/** The parts of one model's strip: its coloured classes, then all else as one grey part. */
function parts(record, i) {
  const sizes = new Map();
  for (const one of classesOf(record)[i]) sizes.set(one, (sizes.get(one) ?? 0) + 1);
  const coloured = [...sizes].filter(([one]) => hueOfClass(record, one) !== null).sort((a, b) => a[0] - b[0]);
  const rest = [...sizes].filter(([one]) => hueOfClass(record, one) === null);
  const many = rest.reduce((sum, [, size]) => sum + size, 0);
  return [
    ...coloured.map(([one, size]) => ({ hue: hueOfClass(record, one), size, text: textOfClass(record, one) })),
    ...(many ? [{ hue: null, size: many, text: rest[0][0] < 0 ? "not decided" : `${rest.length} ${coloured.length ? "more" : "different"}` }] : []),
  ];
}

/** The strip of one model to one prompt. */
function shareStrip(record, i) {
  const told = parts(record, i);
  const strip = make("div", { class: "shares", role: "img",
    "aria-label": told.map((part) => `${part.hue === null ? part.text : `“${part.text}”`}: ${part.size}`).join(", ") || "no responses" });
  for (const part of told) {
    const node = make("span", { class: part.hue === null ? "share" : `share class-${part.hue}`, title: `${part.text}: ${part.size} of ${record.samples[i].length}` },
      make("span", {}, ...visible(part.hue === null ? part.text : `${part.text} ${part.size}`)));
    node.style.flexGrow = part.size;
    strip.append(node);
  }
  return strip;
}

/** The strips of some models (by default all) to a prompt, each with its name. */
function shareStrips(record, shown = data.members.map((_, i) => i)) {
  return make("div", { class: "strips" }, ...shown.flatMap((i) => [
    make("span", { class: "name", title: data.members[i] }, data.members[i]), shareStrip(record, i)]));
}

/** Of many models those that fit the first screen: the baseline, the chosen one, then the others in order. */
function fitting() {
  const all = data.members.map((_, i) => i);
  const chosen = data.members.indexOf(choice.model);
  const order = [0, ...(chosen > 0 ? [chosen] : []), ...all.filter((i) => i && i !== chosen)];
  return order.slice(0, STRIPS).sort((a, b) => a - b);
}

/** How far apart two models' shares are: 0 where the same was said as often, 1 where nothing was. */
function shareDistance(one, other) {
  if (!one.length || !other.length) return 0;
  const shares = new Map();
  for (const label of one) shares.set(label, (shares.get(label) ?? 0) + 1 / one.length);
  for (const label of other) shares.set(label, (shares.get(label) ?? 0) - 1 / other.length);
  return [...shares.values()].reduce((sum, share) => sum + Math.abs(share), 0) / 2;
}

/** The prompts of a task, that on which the chosen metric (else what was said) changed most first. */
function byChange(task) {
  const place = new Map(data.prompts[task].map(([id], i) => [id, i]));
  const table = data.scores[task]?.[metricOn(task)];
  const columns = choice.model ? [data.models.indexOf(choice.model)] : data.models.map((_, i) => i).slice(1);
  const change = (record) => {
    const at = place.get(record.id);
    const gaps = table && at !== undefined
      ? columns.map((i) => Math.abs(table[i][at] - table[0][at])).filter((_, i) => table[columns[i]][at] !== null && table[0][at] !== null)
      : [];
    const told = Math.max(0, ...classesOf(record).slice(1).map((row) => shareDistance(classesOf(record)[0], row)));
    return [Math.max(-1, ...gaps), told];
  };
  return data.explorer[task].map((record, i) => ({ record, i, change: change(record) }))
    .sort((a, b) => b.change[0] - a.change[0] || b.change[1] - a.change[1] || a.i - b.i);
}

/** The prompt that changed most, on the first screen; its neighbours are one press away. */
function startShownMost(open) {
  const root = byId("shown-most");
  let order = [];
  let at = 0;

  function show() {
    if (!order.length) {
      root.hidden = true;
      return;
    }
    root.hidden = false;
    const { record } = order[at];
    const count = record.samples.reduce((sum, row, i) => sum + row.length + record.more[i], 0);
    const step = (label, mark, to) => make("button", { type: "button", class: "step", "aria-label": label,
      disabled: to < 0 || to >= order.length, click: () => { at = to; show(); root.querySelector(`[aria-label="${label}"]`).focus(); } }, mark);
    root.replaceChildren(
      make("div", { class: "head" }, make("h2", {}, "Where it shows most"),
        make("span", { class: "steps" }, step("Previous prompt", "‹", at - 1),
          make("span", { class: "hint", role: "status" }, `${at + 1} of ${order.length}`), step("Next prompt", "›", at + 1))),
      make("p", { class: "asked", dir: "auto", title: record.id }, ...visible(firstLine(record.prompt, 160) || record.id)),
      make("p", { class: "hint" }, data.models.length > 1
        ? `By how much ${metricOn(choice.task) ?? "what was said"} changed. The same colour is the same ${choice.classes === "meaning" ? "meaning" : "answer"}${data.tasks.length > 1 ? ` (${choice.task})` : ""}.`
        : "The same colour is the same answer."),
      shareStrips(record, fitting()),
      data.members.length > STRIPS ? make("p", { class: "hint" }, `${STRIPS} of ${data.members.length} models.`) : "",
      make("button", { type: "button", class: "open", click: () => open(choice.task, record.id) },
        `Open the ${plural(count, "response")}`));
  }

  function reorder() {
    order = data.explorer[choice.task]?.length ? byChange(choice.task) : [];
    at = 0;
    show();
  }

  follow((changed) => { if (changed.some((key) => ["task", "metric", "model", "classes"].includes(key))) reorder(); });
  reorder();
}
