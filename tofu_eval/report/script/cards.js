// The responses of one model to a prompt as cards: classes, near-duplicates, thoughts, what was cut.

const CARDS = 24;
const LONG = 700;

/** A model's column; `view` says which words are searched and in which order cards stand. */
function columnNode(record, model, i, view) {
  const head = make("h4", {}, model);
  const box = make("section", { class: "column", "aria-label": `Responses of ${model}` }, head);
  const without = Object.entries(record.without[i]).map(([state, count]) => `${count} ${state}`);
  const note = without.length ? make("p", { class: "hint without" }, `Without a text: ${without.join(", ")}.`) : null;
  if (!record.samples[i].length) {
    box.append(note ?? make("p", { class: "empty" }, "No responses."));
    return box;
  }
  const labels = classesOf(record)[i];
  head.append(make("span", {}, labels.includes(-1)
    ? `${labels.length}, classes not decided` : `${new Set(labels).size} different of ${labels.length}`));
  const cards = cardsOf(record, i, view.order)
    .filter((card) => !view.words || promptHas(record, view.words) || record.texts[card.text].toLowerCase().includes(view.words));
  const place = make("div", { class: "cards" });
  drawCards(place, record, cards, CARDS, view);
  box.append(place);
  if (view.words && !cards.length) box.append(make("p", { class: "empty" }, "No match here."));
  if (note) box.append(note);
  if (record.more[i]) {
    box.append(make("p", { class: "hint" }, `${record.more[i]} more of ${labels.length + record.more[i]} are not in this page.`));
  }
  return box;
}

/** Whether the words are the prompt's: then all that was said to it is shown. */
const promptHas = (record, words) => record.prompt.toLowerCase().includes(words);

function drawCards(place, record, cards, limit, view) {
  place.replaceChildren(...cards.slice(0, limit).map((card) => cardNode(record, card, view)));
  if (cards.length > limit) {
    place.append(make("button", { type: "button", class: "rest", click: () => drawCards(place, record, cards, cards.length, view) },
      `Show all ${cards.length}`));
  }
}

/** The cards of one model: in their order as sampled, or a card a text, the largest class first. */
function cardsOf(record, i, order) {
  const [samples, labels] = [record.samples[i], classesOf(record)[i]];
  const sizes = new Map();
  for (const label of labels) sizes.set(label, (sizes.get(label) ?? 0) + 1);
  const times = new Map();
  for (const text of samples) times.set(text, (times.get(text) ?? 0) + 1);
  const cards = samples.map((text, sample) => ({
    i, text, sample, label: labels[sample], size: sizes.get(labels[sample]), times: times.get(text),
    stopped: record.long[i].includes(sample), thought: record.thoughts[i][sample], first: samples.indexOf(text),
    bySample: order === "samples",
  }));
  const shown = order === "samples" ? cards
    : cards.filter((card) => card.first === card.sample)
      .sort((a, b) => b.size - a.size || a.label - b.label || b.times - a.times || a.sample - b.sample);
  const near = nearest(shown.map((card) => record.texts[card.text]));
  shown.forEach((card, place) => { card.near = near[place] === null ? null : shown[near[place]]; });
  return shown;
}

function cardNode(record, card, view) {
  const marks = make("div", { class: "marks" }, make("span", { class: "sample" }, `#${card.sample + 1}`));
  const mark = (kind, text) => marks.append(make("span", { class: kind }, text));
  const name = nameOfClass(record, card.label);
  if (name) mark("class", card.size > 1 ? `${name} ×${card.size}` : name);
  if (card.bySample && card.first !== card.sample) mark("copies", `same text as #${card.first + 1}`);
  else if (card.times > 1) mark("copies", card.times === card.size ? "same text" : `same text ×${card.times}`);
  if (card.near) mark("near", `nearly #${card.near.sample + 1}`);
  if (card.stopped) mark("stopped", "cut at the token limit");
  const whole = record.cut[card.text] ?? record.texts[card.text].length;
  const hue = hueOfClass(record, card.label);
  return make("article", { class: hue === null ? "card" : `card class-${hue}`, "data-place": `${card.i} ${card.sample}`, tabindex: "-1" },
    marks, card.thought ? thoughtNode(card.thought) : null,
    ...textNodes(record.texts[card.text], whole, view.words, card.near ? record.texts[card.near.text] : null));
}

/** What was thought before the response, folded: it is kept and not scored. */
function thoughtNode(thought) {
  return make("details", { class: "thought" }, make("summary", {}, `Thought (${plural(thought.length, "character")})`),
    make("div", { class: "text", dir: "auto" }, ...visible(thought)));
}

/** A text, of which a long one is shown from its beginning; `whole` is its full length. What `other`,
 * which it nearly repeats, lacks is marked. */
function textNodes(text, whole, words = "", other = null) {
  const box = make("div", { class: "text", dir: "auto" });
  const show = (end) => box.replaceChildren(...(other === null || words
    ? visible(text.slice(0, end), words)
    : difference(text.slice(0, end), other).flatMap(([piece, isNew]) => (isNew ? [make("ins", {}, ...visible(piece))] : visible(piece)))));
  const at = words ? text.toLowerCase().indexOf(words) : -1;
  const nodes = [box];
  if (!text) {
    box.append(make("span", { class: "hidden-character" }, "empty"));
  } else if (text.length > LONG && at + words.length <= LONG) {
    show(LONG);
    const more = make("button", { type: "button", class: "rest", click: () => { show(text.length); more.remove(); } },
      `Show all ${text.length.toLocaleString("en")} characters`);
    nodes.push(more);
  } else {
    show(text.length);
  }
  if (whole > text.length) {
    nodes.push(make("p", { class: "hint" },
      `Cut: the first ${text.length.toLocaleString("en")} of ${whole.toLocaleString("en")} characters.`));
  }
  return nodes;
}
