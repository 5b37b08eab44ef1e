// What the reader looks at: one choice for the whole page. Whoever shows it follows it.

const choice = {
  task: data.tasks[0],
  metric: data.leads.find((name) => data.metrics[name].measures === "diversity") ?? data.leads[0],
  quality: Object.keys(data.metrics).find((name) => data.metrics[name].measures === "quality") ?? "",
  model: "", // one alone
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

/** The colour of a model, the same everywhere. */
const hueOf = (model) => `hue-${data.models.indexOf(model) % 8}`;
