// What the reader looks at: one choice for the whole page. Whoever shows it follows it.

const lead = data.leads.find((name) => data.metrics[name].measures === "diversity") ?? data.leads[0];
const choice = {
  task: data.tasks.find((task) => data.scores[task]?.[lead]) ?? data.tasks[0],
  metric: lead,
  quality: Object.keys(data.metrics).find((name) => data.metrics[name].measures === "quality") ?? "",
  model: "", // one alone
  classes: "text", // or "meaning"
  only: "", // the metric that was clicked: what is below shows it alone
};
const followers = [];

/** Call `follower` with the names of what changed, whenever something does. */
function follow(follower) {
  followers.push(follower);
}

function choose(changes) {
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
