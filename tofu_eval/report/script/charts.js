// The charts: the specifications come from Python, where `tofu-eval plot` draws the same ones.

function startCharts(datasets, openPrompt) {
  const quality = Object.keys(data.metrics).filter((name) => data.metrics[name].measures === "quality");
  const ofDiversity = (name) => data.metrics[name].measures === "diversity";
  const choice = { task: data.tasks[0], metric: data.leads.find(ofDiversity) ?? data.leads[0], quality: quality[0] ?? "" };
  const change = (key) => (value) => { choice[key] = value; drawAll(key); };
  const pairs = (names) => names.map((name) => [name, name + (name in data.metrics ? arrow(name) : "")]);
  const figures = data.charts.map(figure);
  let drawn = Promise.resolve();

  byId("charts-body").append(
    make("div", { class: "controls" },
      select("Task", pairs(data.tasks), choice.task, change("task")),
      select("Metric", pairs(data.leads), choice.metric, change("metric")),
      quality.length ? select("Quality", pairs(quality), choice.quality, change("quality")) : null),
    make("div", { class: "figures" }, ...figures.map((one) => one.node)));

  function figure(chart) {
    const place = make("div", { class: "chart", id: `chart-${chart.name}` });
    const behind = make("details", { class: "behind" }, make("summary", {}, "Table"));
    const what = make("span", { class: "what" });
    const node = make("figure", { "aria-labelledby": `title-${chart.name}` },
      make("figcaption", {},
        make("h3", { id: `title-${chart.name}` }, chart.title, what), make("p", {}, chart.about)),
      place, behind);
    const made = { chart, node, place, behind, what, rows: [], view: null };
    behind.addEventListener("toggle", () => { if (behind.open) fillTable(made); });
    return made;
  }

  function drawAll(key = null) {
    const some = figures.filter((one) => key === null || one.chart.by.includes(key));
    // One after the other, so that the page answers in between.
    drawn = some.reduce((before, one) => before.then(() => draw(one)).then(pause), drawn);
    return drawn;
  }

  const pause = () => new Promise((done) => setTimeout(done));

  async function draw(one) {
    one.view?.finalize();
    one.view = null;
    one.rows = rowsOf(one.chart);
    one.what.textContent = one.chart.by.filter((key) => choice[key]).map((key) => choice[key]).join(" · ");
    if (one.behind.open) fillTable(one);
    else one.behind.replaceChildren(one.behind.firstChild); // the summary: a table made before is stale
    one.behind.hidden = !one.rows.length;
    if (!one.rows.length) {
      one.place.replaceChildren(make("p", { class: "empty" }, missing(one.chart)));
      return;
    }
    const theme = data.themes[document.documentElement.dataset.shown];
    const width = Math.max(one.place.clientWidth, 200);
    const spec = {
      $schema: data.schema,
      description: `${one.chart.title}. ${one.chart.about} The table below it has the numbers.`,
      data: { values: one.rows },
      autosize: { type: "fit-x", contains: "padding" },
      width,
      height: Math.max(60, data.line * new Set(one.rows.map((row) => `${row.task} ${row.model}`)).size),
      config: {
        ...theme.config,
        axis: { ...theme.config.axis, labelLimit: Math.min(200, Math.round(width / 3)) },
        legend: { ...theme.config.legend, columns: width < 420 ? 2 : 4 },
      },
      ...structuredClone(one.chart.spec),
    };
    for (const [channel, named] of Object.entries(one.chart.axes)) { // what was chosen
      const metric = named === "quality" ? choice.quality : choice.metric;
      const side = spec.encoding[channel];
      side.axis.title = named === "difference" ? `${metric} minus ${data.models[0]}` : data.metrics[metric].title;
      if (side.scale) side.scale.reverse = data.metrics[metric].reversed;
    }
    const made = await window.vegaEmbed(one.place, spec, {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: tooltip(one.chart),
    });
    one.view = made;
    if (one.chart.name === "prompts") {
      made.view.addEventListener("click", (event, item) => {
        if (item?.datum?.prompt_id !== undefined) openPrompt(choice.task, item.datum.prompt_id);
      });
    }
  }

  function missing(chart) {
    if (chart.by.includes("quality") && !quality.length) {
      return "No metric of quality was measured. Score the run with one: --reward-model MODEL.";
    }
    if (chart.by.includes("quality") && !ofDiversity(choice.metric)) {
      return `${choice.metric} is no metric of diversity. Choose one above.`;
    }
    if (chart.dataset === "scores" && data.models.length > 1) {
      return `${choice.metric} has no values of single prompts on ${choice.task}.`;
    }
    if (data.models.length < 2 && (chart.dataset === "scores" || chart.dataset === "differences")) {
      return "There is one model: nothing to compare it with.";
    }
    return `Nothing was measured: ${chart.by.map((key) => choice[key]).join(", ")}.`;
  }

  function rowsOf(chart) {
    if (chart.dataset === "scores") {
      const line = data.people[choice.task]?.[choice.metric];
      return differences(choice.task, choice.metric).map((row) => ({ ...row, ...line }));
    }
    const name = chart.dataset === "differences" ? "estimates" : chart.dataset;
    const rows = datasets[name].filter((row) => chart.by.every((key) => row[key] === choice[key]));
    if (chart.dataset === "differences") return rows.filter((row) => row.difference !== null);
    return chart.dataset === "estimates" ? rows.filter((row) => row.value !== null) : rows;
  }

  function fillTable(one) {
    const task = choice.task;
    // What a click on a point does, for the keyboard.
    const opener = (row) => make("button", { type: "button", title: row.prompt_id, click: () => openPrompt(task, row.prompt_id) },
      ...visible(firstLine(data.prompts[task][row.prompt][1], 80) || row.prompt_id));
    const rows = one.rows.map((row) => one.chart.columns.map((name) => (name === "prompt_id" ? () => opener(row) : row[name])));
    const table = plainTable(one.chart.columns.map(words), rows, `${one.chart.title}, as a table`);
    one.behind.replaceChildren(one.behind.firstChild, make("div", {}, table));
  }

  const words = (name) => (name === "prompt_id" ? "prompt" : name.replaceAll("_", " "));

  function tooltip(chart) {
    const box = byId("tooltip");
    return (handler, event, item, value) => {
      box.hidden = !value || typeof item?.datum !== "object";
      if (box.hidden) return;
      const shown = chart.columns.filter((name) => name !== "prompt_id"); // its text stands below
      const lines = shown.filter((name) => ![undefined, null, ""].includes(item.datum[name]))
        .map((name) => make("div", {}, make("span", {}, words(name)), make("b", {}, ...visible(number(item.datum[name])))));
      const prompt = data.prompts[choice.task]?.[item.datum.prompt];
      box.replaceChildren(...lines,
        ...(prompt ? [make("p", { dir: "auto" }, ...visible(prompt[1].slice(0, 160)))] : []));
      const left = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
      const top = Math.min(event.clientY + 14, window.innerHeight - box.offsetHeight - 8);
      box.style.left = `${Math.max(8, left)}px`;
      box.style.top = `${Math.max(8, top)}px`;
    };
  }

  const done = drawAll();
  let width = window.innerWidth;
  window.addEventListener("resize", later(200, () => {
    if (window.innerWidth !== width) drawAll(); // a phone's bars change the height alone
    width = window.innerWidth;
  }));
  return { redraw: () => drawAll(), done };
}

/** One row a model and prompt, ranked within the model, as charts.py makes them. */
function differences(task, metric) {
  const table = data.scores[task]?.[metric];
  if (!table) return [];
  return data.models.slice(1).flatMap((model, i) => {
    const pairs = table[i + 1]
      .map((value, prompt) => ({ model, prompt, prompt_id: data.prompts[task][prompt][0], baseline: table[0][prompt], value }))
      .filter((row) => row.value !== null && row.baseline !== null)
      .map((row) => ({ ...row, difference: row.value - row.baseline }))
      .sort((a, b) => a.difference - b.difference || a.prompt - b.prompt);
    return pairs.map((row, rank) => ({ ...row, rank: rank + 1 }));
  });
}
