// The responses of all models to a prompt, side by side; the prompt that changed most first.

const PAGE_PROMPTS = 25;

function startExplorer() {
  const tasks = data.tasks.filter((task) => data.explorer[task]?.length);
  const root = byId("responses-body");
  if (!tasks.length) {
    root.append(make("p", { class: "empty" }, "The run holds no responses, or this page was made without them."));
    return { open() {} };
  }
  const state = { task: tasks.includes(choice.task) ? choice.task : tasks[0], words: "", order: "classes", by: "change", at: 0, page: 0, hits: [] };
  const search = make("input", {
    type: "search", placeholder: "in prompts and responses", "aria-label": "Search the responses",
    input: later(150, () => { state.words = search.value.trim().toLowerCase(); refresh(); }),
  });
  const told = make("p", { class: "hint" });
  const classes = startClasses() ? chooser("Classes", "classes", [["text", "same text"], ["meaning", "same meaning"]]) : null;
  const status = make("p", { class: "count", role: "status" });
  const list = make("ul", { class: "prompts", keydown: move });
  const pages = make("div");
  const panel = make("div", { class: "panel", "aria-live": "off" });
  const tasksField = select("Task", tasks.map((task) => [task, task]), state.task, (task) => choose({ task }));
  root.append(
    told,
    make("div", { class: "controls" }, tasks.length > 1 ? tasksField : null,
      make("label", { class: "field wide" }, make("span", {}, "Search"), search),
      select("Prompts", [["change", "most changed first"], ["task", "as in the task"]], state.by,
        (by) => { state.by = by; refresh(); }),
      select("Order", [["classes", "largest class first"], ["samples", "as sampled"]], state.order,
        (order) => { state.order = order; show(); }), classes),
    status,
    make("div", { class: "explorer" }, make("nav", { "aria-label": "Prompts" }, list, pages), panel));

  function legend() {
    const same = choice.classes === "meaning"
      ? `The run has no equivalence: classes are responses whose embeddings, given the prompt, have a cosine of ${data.cosine} or more with each other. They are to look at; no number stands on them`
      : data.method === "exact"
        ? "Responses with the same text, but for case and punctuation between models, form a class"
        : `Classes are those of the run’s equivalence (${data.method}), joined between models where it says so without a model`;
    return `${same}: the same colour and letter in every column. “A ×3” is a class of three responses; the six largest have colours, what was said once has none.`;
  }

  function refresh() {
    told.textContent = legend();
    const records = data.explorer[state.task];
    const matches = (text) => text.toLowerCase().includes(state.words);
    const ordered = state.by === "change" ? byChange(state.task) : records.map((record, i) => ({ record, i }));
    state.hits = ordered.map(({ record, i }) => ({ record, i, count: count(record, matches) }))
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
        title: `${hit.record.id}, place ${hit.i + 1}`,
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
        ...textNodes(record.prompt, record.prompt.length, state.words)),
      shareStrips(record),
      mapNode(record, showCard) ?? "",
      make("div", { class: "columns", role: "region", "aria-label": "Responses by model", tabindex: "0" },
        ...data.members.map((model, i) => columnNode(record, model, i, state))));
  }

  /** The card of a response, which may stand behind an equal one. */
  function showCard(i, sample) {
    const record = state.hits[state.at].record;
    const first = record.samples[i].indexOf(record.samples[i][sample]);
    const column = panel.querySelectorAll(".column")[i];
    const find = () => [sample, first].map((one) => panel.querySelector(`[data-place="${i} ${one}"]`)).find(Boolean);
    if (!find()) column.querySelector(".cards > .rest")?.click();
    const card = find();
    card?.scrollIntoView({ block: "nearest", inline: "nearest" });
    card?.focus({ preventScroll: true });
  }

  function open(task, id) {
    if (!data.explorer[task]?.length) return;
    state.words = search.value = "";
    state.task = tasksField.querySelector("select").value = task;
    refresh();
    const at = state.hits.findIndex((hit) => hit.record.id === id);
    if (at < 0) {
      status.textContent = "The responses to that prompt are not in this page. Make one with them: tofu-eval report RUN --prompts ID";
    } else {
      state.at = at;
      state.page = Math.floor(at / PAGE_PROMPTS);
      drawList();
      show();
    }
    byId("responses").scrollIntoView();
    list.querySelector("[aria-current]")?.focus({ preventScroll: true });
  }

  follow((changed) => {
    if (!changed.some((key) => ["task", "metric", "model", "classes"].includes(key))) return;
    if (tasks.includes(choice.task)) state.task = tasksField.querySelector("select").value = choice.task;
    refresh();
  });
  refresh();
  return { open };
}
