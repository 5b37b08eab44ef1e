// All metrics of a task on one line, grouped by what they see. A metric is a button: it filters
// what is below, and orders the prompts.

const OVERLAID = 3; // models that can be told apart in one line

function startForest(estimates) {
  const root = byId("forest");
  const others = data.models.slice(1);
  if (!others.length) return;
  const several = data.tasks.length > 1;
  const alone = others.length > OVERLAID;
  if (alone) choose({ model: others[0] });
  const body = make("div");
  const hint = make("p", { class: "hint", role: "status" });
  root.append(
    make("div", { class: "head" }, make("h2", {}, "All metrics"),
      several ? chooser("Task", "task", data.tasks.map((task) => [task, task])) : null,
      alone ? chooser("Model", "model", others.map((model) => [model, model])) : legend()),
    hint, body);

  function legend() {
    return make("p", { class: "legend" }, ...others.flatMap((model) => [
      make("span", { class: `dot ${hueOf(model)}`, "aria-hidden": "true" }), `${model} `]));
  }

  function show() {
    const rows = estimates.filter((row) => row.task === choice.task && row.at !== null &&
      (!alone || row.model === choice.model));
    const groups = data.groups.map((group) => [group, metricsOf(rows, group)]).filter(([, names]) => names.length);
    hint.textContent = choice.only
      ? `What is below shows ${choice.only}. Press it again for all.`
      : "Standard deviations of the paired differences; filled: clear. A metric filters what is below.";
    body.replaceChildren(groups.length ? table(rows, groups) : make("p", { class: "empty" }, "No metric of this task has an interval to draw: see the numbers below."));
  }

  function metricsOf(rows, group) {
    const names = new Set(rows.map((row) => row.metric));
    return data.leads.filter((name) => names.has(name) && data.metrics[name].group === group);
  }

  function table(rows, groups) {
    return make("table", { class: "forest" },
      make("caption", { class: "only-read" }, `All metrics on ${choice.task}, compared with ${data.models[0]}`),
      make("thead", {}, make("tr", {},
        make("th", { scope: "col" }, make("span", { class: "only-read" }, "group")),
        make("th", { scope: "col" }, make("span", { class: "only-read" }, "metric")),
        make("th", { scope: "col" }, axisLine(), make("span", { class: "only-read" }, "difference")))),
      ...groups.map(([group, names]) => make("tbody", { class: group }, ...names.map((name, i) => line(rows, name, i ? null : group, names.length)))));
  }

  function line(rows, name, group, size) {
    const own = rows.filter((row) => row.metric === name);
    const press = () => choose(choice.only === name ? { only: "" } : { only: name, ...chosenBy(name) });
    return make("tr", {},
      group ? make("th", { scope: "rowgroup", rowspan: size, class: "group" }, group) : null,
      make("th", { scope: "row" }, make("button", { type: "button", "aria-pressed": String(choice.only === name), click: press },
        ...breakable(name))),
      make("td", {}, intervals(own), make("span", { class: "only-read" }, own.map((row) => `${row.model}: ${spoken(row)}`).join("; "))));
  }

  function chosenBy(name) {
    return data.metrics[name].measures === "quality" ? { quality: name, metric: name } : { metric: name };
  }

  follow((changed) => {
    if (!changed.some((key) => ["task", "model", "only"].includes(key))) return;
    const focused = root.contains(document.activeElement) ? document.activeElement.textContent : null;
    show();
    if (focused) [...root.querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
  });
  show();
}

/** The rows of models on the first screen: a name shows that model alone, a task that task too. */
function startVerdicts() {
  const buttons = document.querySelectorAll(".verdicts button");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const { model, task } = button.dataset;
      if (task) choose({ task, model });
      else choose({ model: choice.model === model && data.models.length - 1 <= OVERLAID ? "" : model });
    });
  }
  const mark = () => {
    for (const button of buttons) {
      const { model, task } = button.dataset;
      button.setAttribute("aria-pressed", String(model === choice.model && (!task || task === choice.task)));
    }
  };
  follow(mark);
  mark();
}
