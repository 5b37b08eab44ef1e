// What the reader looks at: one choice for the whole page. Whoever shows it follows it.

const lead = data.leads.find((name) => data.metrics[name].measures === "diversity") ?? data.leads[0];
const firstTask = data.tasks.find((task) => data.scores[task]?.[lead]) ?? data.tasks[0];
const choice = {
  task: firstTask,
  metric: lead,
  quality: qualityOn(firstTask),
  model: "", // one alone
  classes: "text", // or "meaning"
  only: "", // the metric that was clicked: what is below shows it alone
};
const followers = [];

/** The first metric of quality that a task was scored with, else the first of all. */
function qualityOn(task) {
  const all = Object.keys(data.metrics).filter((name) => data.metrics[name].measures === "quality");
  return all.find((name) => data.scores[task]?.[name]) ?? all[0] ?? "";
}

/** Call `follower` with the names of what changed, whenever something does. */
function follow(follower) {
  followers.push(follower);
}

function choose(wanted) {
  const changes = { ...wanted };
  const { task } = changes; // of another task, another metric of quality may be measured
  if (task && !changes.quality && !data.scores[task]?.[choice.quality]) changes.quality = qualityOn(task);
  const changed = Object.keys(changes).filter((key) => choice[key] !== changes[key]);
  Object.assign(choice, changes);
  if (changed.length) for (const follower of followers) follower(changed);
}

/** A labelled <select> that chooses, and shows what is chosen elsewhere. */
function chooser(label, key, options) {
  const field = select(label, options, choice[key], (value) => choose({ [key]: value }));
  follow(() => { field.querySelector("select").value = choice[key]; });
  return field;
}

/** What the prompts of a task are ordered by: the chosen metric, else the first that it was scored with. */
function metricOn(task) {
  const has = (name) => data.scores[task]?.[name];
  return has(choice.metric) ? choice.metric : data.leads.find((name) => has(name) && data.metrics[name].measures === "diversity");
}

/** The colour of a model, the same everywhere. */
const hueOf = (model) => `hue-${data.models.indexOf(model) % 8}`;
