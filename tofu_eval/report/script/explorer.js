// The responses of all models to a prompt, side by side.

const PAGE_PROMPTS = 25;
const CARDS = 24;
const LONG = 700;
const HUES = 8;

function startExplorer() {
  const tasks = data.tasks.filter((task) => data.explorer[task]?.length);
  const root = byId("responses-body");
  if (!tasks.length) {
    root.append(make("p", { class: "empty" }, "The run holds no responses, or this page was made without them."));
    return { open() {} };
  }
  const state = { task: tasks[0], words: "", order: "classes", at: 0, page: 0, hits: [] };
  const search = make("input", {
    type: "search", placeholder: "in prompts and responses", "aria-label": "Search the responses",
    input: later(150, () => { state.words = search.value.trim().toLowerCase(); refresh(); }),
  });
  const status = make("p", { class: "count", role: "status" });
  const list = make("ul", { class: "prompts", keydown: move });
  const pages = make("div");
  const panel = make("div", { class: "panel", "aria-live": "off" });
  const tasksField = select("Task", tasks.map((task) => [task, task]), state.task,
    (task) => { state.task = task; refresh(); });
  root.append(
    make("p", { class: "hint" }, legend()),
    make("div", { class: "controls" }, tasksField,
      make("label", { class: "field wide" }, make("span", {}, "Search"), search),
      select("Order", [["classes", "largest class first"], ["samples", "as sampled"]], state.order,
        (order) => { state.order = order; show(); })),
    status,
    make("div", { class: "explorer" }, make("nav", { "aria-label": "Prompts" }, list, pages), panel));

  function legend() {
    const same = data.method === "exact"
      ? "Responses with the same text form a class; a colour and a letter stand for the same text in every column."
      : `Classes are those of the run’s equivalence (${data.method}), each within one model.`;
    return `${same} “A ×3” is a class of three responses; what was said once has no colour.`;
  }

  function refresh() {
    const records = data.explorer[state.task];
    const matches = (text) => text.toLowerCase().includes(state.words);
    state.hits = records.map((record, i) => ({ record, i, count: count(record, matches) }))
      .filter((hit) => !state.words || hit.count || matches(hit.record.prompt));
    state.page = 0;
    state.at = 0;
    const found = state.hits.reduce((sum, hit) => sum + hit.count, 0);
    status.textContent = state.words
      ? `${found.toLocaleString("en")} responses to ${state.hits.length} of ${records.length} prompts match`
      : `${records.length} prompts`;
    drawList();
    show();
  }

  function count(record, matches) {
    if (!state.words) return 0;
    const good = record.texts.map(matches);
    return record.samples.reduce((sum, row) => sum + row.filter((text) => good[text]).length, 0);
  }

  function drawList() {
    const from = state.page * PAGE_PROMPTS;
    list.replaceChildren(...state.hits.slice(from, from + PAGE_PROMPTS).map((hit, i) =>
      make("li", {}, make("button", {
        type: "button", "aria-current": from + i === state.at ? "true" : null, dir: "auto",
        click: () => { state.at = from + i; drawList(); show(); list.querySelector("[aria-current]").focus(); },
      }, make("span", { class: "name" }, ...visible(firstLine(hit.record.prompt, 140) || hit.record.id)),
      state.words ? make("span", { class: "hits" }, String(hit.count)) : null))));
    pages.replaceChildren();
    if (state.hits.length > PAGE_PROMPTS) {
      pages.append(pager(state.hits.length, PAGE_PROMPTS, state.page,
        (to) => { state.page = to; state.at = to * PAGE_PROMPTS; drawList(); show(); }, "prompts"));
    }
  }

  function move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...list.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    next.focus();
  }

  function show() {
    const hit = state.hits[state.at];
    if (!hit) {
      panel.replaceChildren(make("p", { class: "empty" }, "Nothing matches."));
      return;
    }
    const record = hit.record;
    panel.replaceChildren(
      make("div", { class: "prompt" },
        make("h3", { title: record.id }, `Prompt ${hit.i + 1} of ${data.explorer[state.task].length}`),
        ...long(record.prompt, record.prompt.length)),
      make("div", { class: "columns", role: "region", "aria-label": "Responses by model", tabindex: "0" }, ...data.members.map((model, i) => column(record, model, i))));
  }

  function column(record, model, i) {
    const head = make("h4", {}, model);
    const box = make("section", { class: "column", "aria-label": `Responses of ${model}` }, head);
    const samples = record.samples[i];
    if (!samples.length) {
      box.append(make("p", { class: "empty" }, "No responses."));
      return box;
    }
    const labels = record.classes.length ? record.classes[i] : samples.map((text) => exactClass(record, text));
    const decided = !labels.includes(-1);
    const total = samples.length + record.more[i];
    head.append(make("span", {}, decided
      ? `${new Set(labels).size} different of ${samples.length}` : `${samples.length}, classes not decided`));
    const cards = merge(record, i, labels)
      .filter((card) => !state.words || asked(record) || record.texts[card.text].toLowerCase().includes(state.words));
    const place = make("div", { class: "cards" });
    drawCards(place, record, cards, CARDS);
    box.append(place);
    if (state.words && !cards.length) box.append(make("p", { class: "empty" }, "No match here."));
    if (record.more[i]) box.append(make("p", { class: "hint" }, `${record.more[i]} more of ${total} are not in this page.`));
    return box;
  }

  /** Whether the words are the prompt's: then all that was said to it is shown. */
  const asked = (record) => record.prompt.toLowerCase().includes(state.words);

  function drawCards(place, record, cards, limit) {
    place.replaceChildren(...cards.slice(0, limit).map((card) => cardNode(record, card)));
    if (cards.length > limit) {
      place.append(make("button", { type: "button", class: "more", click: () => drawCards(place, record, cards, cards.length) },
        `Show all ${cards.length}`));
    }
  }

  /** Equal texts differ at most in white space at the ends. */
  function exactClass(record, text) {
    record.exact ??= record.texts.map((one, _, all) => all.findIndex((other) => other.trim() === one.trim()));
    return record.exact[text];
  }

  /** The cards of one model: in their order as sampled, or a card a text, the largest class first. */
  function merge(record, i, labels) {
    const sizes = new Map();
    for (const label of labels) sizes.set(label, (sizes.get(label) ?? 0) + 1);
    const letters = lettersOf(record, labels);
    const times = new Map();
    for (const text of record.samples[i]) times.set(text, (times.get(text) ?? 0) + 1);
    const cards = record.samples[i].map((text, sample) => ({
      text, sample, label: labels[sample], size: sizes.get(labels[sample]), times: times.get(text),
      letter: letters.get(labels[sample]), stopped: record.long[i].includes(sample),
      first: record.samples[i].indexOf(text),
    }));
    if (state.order === "samples") return cards;
    return cards.filter((card) => card.first === card.sample)
      .sort((a, b) => b.size - a.size || a.label - b.label || b.times - a.times || a.sample - b.sample);
  }

  /** A letter for each class of two or more; with equal text, over all columns. */
  function lettersOf(record, labels) {
    if (!record.classes.length) {
      record.letters ??= named(record.samples.flatMap((row) => row.map((text) => exactClass(record, text))));
      return record.letters;
    }
    return named(labels);
  }

  function named(labels) {
    const sizes = new Map();
    for (const label of labels) sizes.set(label, (sizes.get(label) ?? 0) + 1);
    const many = [...sizes].filter(([label, size]) => size > 1 && label >= 0).sort((a, b) => b[1] - a[1]);
    return new Map(many.map(([label], i) => [label, i]));
  }

  const letter = (i) => (i < 26 ? "" : letter(Math.floor(i / 26) - 1)) + String.fromCharCode(65 + (i % 26));

  function cardNode(record, card) {
    const marks = make("div", { class: "marks" });
    marks.append(make("span", { class: "sample" }, `#${card.sample + 1}`));
    if (card.letter !== undefined) {
      marks.append(make("span", { class: "class" }, `${letter(card.letter)} ×${card.size}`));
    }
    if (state.order === "samples" && card.first !== card.sample) {
      marks.append(make("span", { class: "copies" }, `same text as #${card.first + 1}`));
    } else if (card.times > 1) {
      marks.append(make("span", { class: "copies" }, card.times === card.size ? "same text" : `same text ×${card.times}`));
    }
    if (card.stopped) marks.append(make("span", { class: "stopped" }, "stopped at the token limit"));
    const whole = record.cut[card.text] ?? record.texts[card.text].length;
    const hue = card.letter === undefined ? "" : ` hue-${card.letter % HUES}`;
    return make("article", { class: `card${hue}` }, marks, ...long(record.texts[card.text], whole));
  }

  /** A text, of which a long one is shown from its beginning; `whole` is its full length. */
  function long(text, whole) {
    const box = make("div", { class: "text", dir: "auto" });
    const draw = (end) => box.replaceChildren(...visible(text.slice(0, end), state.words));
    const at = state.words ? text.toLowerCase().indexOf(state.words) : -1;
    const nodes = [box];
    if (!text) {
      box.append(make("span", { class: "hidden-character" }, "empty"));
    } else if (text.length > LONG && at + state.words.length <= LONG) {
      draw(LONG);
      const more = make("button", { type: "button", class: "more", click: () => { draw(text.length); more.remove(); } },
        `Show all ${text.length.toLocaleString("en")} characters`);
      nodes.push(more);
    } else {
      draw(text.length);
    }
    if (whole > text.length) {
      nodes.push(make("p", { class: "hint" },
        `Cut: the first ${text.length.toLocaleString("en")} of ${whole.toLocaleString("en")} characters.`));
    }
    return nodes;
  }

  function open(task, id) {
    if (!data.explorer[task]?.length) return;
    state.task = task;
    state.words = search.value = "";
    tasksField.querySelector("select").value = task;
    refresh();
    const at = state.hits.findIndex((hit) => hit.record.id === id);
    if (at < 0) {
      status.textContent = "The responses to that prompt are not in this page.";
    } else {
      state.at = at;
      state.page = Math.floor(at / PAGE_PROMPTS);
      drawList();
      show();
    }
    byId("responses").scrollIntoView();
    list.querySelector("[aria-current]")?.focus({ preventScroll: true });
  }

  refresh();
  return { open };
}
