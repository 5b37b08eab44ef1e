// The charts: the specifications come from Python, where `tofu-eval plot` draws the same ones.

function startCharts(datasets, openPrompt) {
  const quality = Object.keys(data.metrics).filter((name) => data.metrics[name].measures === "quality");
  const ofDiversity = (name) => data.metrics[name].measures === "diversity";
  const pairs = (names) => names.map((name) => [name, name + (name in data.metrics ? arrow(name) : "")]);
  const figures = data.charts.map(figure);
  const folded = make("details", { class: "folded", hidden: true }, make("summary", {}), make("ul"));
  let drawn = Promise.resolve();

  byId("charts-body").append(
    make("div", { class: "controls" },
      data.tasks.length > 1 ? chooser("Task", "task", pairs(data.tasks)) : null,
      chooser("Metric", "metric", pairs(data.leads)),
      quality.length > 1 ? chooser("Quality", "quality", pairs(quality)) : null),
    make("div", { class: "figures" }, ...figures.map((one) => one.node)), folded);
  follow((changed) => drawAll(changed));

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

  function drawAll(changed = null) {
    const follows = (chart) => chart.by.some((key) => changed.includes(key)) || (chart.lines && changed.includes("model"));
    const some = figures.filter((one) => changed === null || follows(one.chart));
    // One after the other, so that the page answers in between.
    drawn = some.reduce((before, one) => before.then(() => drawChart(one)).then(pause), drawn).then(fold);
    return drawn;
  }

  const pause = () => new Promise((done) => setTimeout(done));

  async function drawChart(one) {
    one.view?.finalize();
    one.view = null;
    one.rows = rowsOf(one.chart);
    one.what.textContent = captionOf(one);
    if (one.behind.open) fillTable(one);
    else one.behind.replaceChildren(one.behind.firstChild); // the summary: a table made before is stale
    one.node.hidden = !one.rows.length;
    if (!one.rows.length) return;
    const made = await window.vegaEmbed(one.place, specOf(one), {
      ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: tooltip(one.chart),
    });
    one.view = made;
    if (one.chart.name === "prompts") {
      made.view.addEventListener("click", (event, item) => {
        if (item?.datum?.prompt_id !== undefined) openPrompt(choice.task, item.datum.prompt_id);
      });
    }
  }

  function specOf(one) {
    const theme = data.themes[document.documentElement.dataset.shown];
    const width = Math.max(one.place.clientWidth, 200);
    const rows = one.chart.lines ? mostChanged(one.rows, one.chart.lines, choice.metric) : one.rows;
    const spec = {
      $schema: data.schema,
      description: `${one.chart.title}, ${captionOf(one)}. ${one.chart.about} The table below it has the numbers.`,
      data: { values: rows },
      autosize: { type: "fit-x", contains: "padding" },
      width,
      height: Math.max(60, data.line * new Set(rows.map((row) => `${row.label ?? row.task} ${row.model}`)).size),
      config: {
        ...theme.config,
        axis: { ...theme.config.axis, labelLimit: Math.min(320, Math.round(width / 3)) },
        legend: { ...theme.config.legend, columns: legendColumns(one.chart.lines ? 0.55 * width : 0.85 * width) },
      },
      ...structuredClone(one.chart.spec),
    };
    for (const layer of spec.layer ?? []) if (layer.encoding?.y?.axis?.labelLimit) layer.encoding.y.axis.labelLimit = Math.round(width / 2.5);
    for (const [channel, named] of Object.entries(one.chart.axes)) { // what was chosen
      const side = spec.encoding[channel];
      side.axis.title = lines(axisTitle(named, channel), (channel === "x" ? 0.6 * width : 300) / 7);
      side.scale.reverse = data.metrics[named === "quality" ? choice.quality : choice.metric].reversed;
    }
    if (rows[0].log) spec.encoding.x.scale = { type: "log" };
    return spec;
  }

  /** As many as the longest name leaves room for. */
  function legendColumns(width) {
    const longest = Math.max(...data.models.map((name) => name.length));
    return Math.min(4, Math.max(1, Math.floor(width / (7 * longest + 30))));
  }

  /** A title in lines of so many characters at most, as far as its words allow. */
  function lines(title, most) {
    return title.split(" ").reduce((all, word) => {
      if (all.length && all.at(-1).length + 1 + word.length <= most) all.push(`${all.pop()} ${word}`);
      else all.push(word);
      return all;
    }, []);
  }

  /** "self_bleu minus base, wider →". */
  function axisTitle(named, channel) {
    const metric = named === "quality" ? choice.quality : choice.metric;
    const { word } = data.metrics[metric];
    return metric + (named === "difference" ? ` minus ${data.models[0]}` : "") + (word ? `, ${word} ${channel === "x" ? "→" : "↑"}` : "");
  }

  /** The choice, the baseline and n, as an exported chart says them. */
  function captionOf(one) {
    const told = one.chart.by.filter((key) => choice[key]).map((key) => choice[key]);
    if (["differences", "scores"].includes(one.chart.dataset)) told.push(`compared with ${data.models[0]}`);
    const ids = new Set(one.rows.map((row) => row.prompt_id).filter((id) => id !== undefined));
    const prompts = ids.size ? [ids.size] : one.rows.map((row) => row.pairs ?? row.n ?? row.prompts).filter(Boolean);
    const counts = prompts.length ? prompts : one.rows.map((row) => row.responses).filter(Boolean);
    const [least, most] = [Math.min(...counts), Math.max(...counts)].map((count) => count.toLocaleString("en"));
    if (counts.length) told.push(`n = ${least}${least === most ? "" : ` to ${most}`} ${prompts.length ? "prompts" : "responses a model"}`);
    return told.join(" · ");
  }

  /** Charts that have nothing to draw, and why, in a fold. */
  function fold() {
    const empty = figures.filter((one) => !one.rows.length);
    folded.hidden = !empty.length;
    folded.firstChild.textContent = `${plural(empty.length, "chart")} with nothing to draw`;
    folded.lastChild.replaceChildren(...empty.map((one) => make("li", {}, `${one.chart.title}: ${missing(one.chart)}`)));
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
