// What a run says reaches the page as text and as nothing else: every node is made by `make`,
// which knows no markup.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes; functions become listeners, strings become text. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element of a drawing. */
function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The rows of a dataset as objects. */
function records(table) {
  return table.rows.map((row) => Object.fromEntries(table.names.map((name, i) => [name, row[i]])));
}

/** A labelled <select>; `options` are [value, text] pairs. */
function select(label, options, value, change) {
  const control = make("select", { change: () => change(control.value) });
  for (const [key, text] of options) control.append(make("option", { value: key }, text));
  control.value = value;
  return make("label", { class: "field" }, make("span", {}, label), control);
}

/** A number with six digits at most. */
function number(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

/** A plain table in a region that scrolls on its own; a function in it makes a cell's node. */
function plainTable(names, rows, label, limit = 500) {
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
  const body = make("tbody");
  for (const row of rows.slice(0, limit)) {
    const cells = row.map((value, i) =>
      make(i ? "td" : "th", { ...(i ? {} : { scope: "row" }), class: typeof value === "number" ? "number" : null },
        ...(typeof value === "function" ? [value()] : visible(number(value)))));
    body.append(make("tr", {}, ...cells));
  }
  const region = make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" },
    make("table", { class: "plain" }, make("thead", {}, head), body));
  if (rows.length <= limit) return region;
  return make("div", {}, region, make("p", { class: "hint" }, `The first ${limit} of ${rows.length} rows.`));
}

/** "‹ 1–50 of 212 ›", and which page it is. */
function pager(total, size, page, go, noun) {
  const pages = Math.max(1, Math.ceil(total / size));
  const first = total ? page * size + 1 : 0;
  const text = `${first.toLocaleString("en")}–${Math.min(total, (page + 1) * size).toLocaleString("en")} of ${total.toLocaleString("en")} ${noun}`;
  const button = (label, mark, to) =>
    make("button", { type: "button", "aria-label": label, disabled: to < 0 || to >= pages, click: () => go(to) }, mark);
  return make("div", { class: "pager" },
    button(`Previous ${noun}`, "‹", page - 1), make("span", {}, text), button(`Next ${noun}`, "›", page + 1));
}

// Characters that would be obeyed or not be seen: controls, bidirectional overrides, fillers.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** Nodes that show a text whole: hidden characters by their number, `found` marked. */
function visible(text, found = "") {
  const nodes = [];
  let from = 0;
  text = text.replaceAll("\r\n", "\n"); // the end of a line, on Windows
  for (const match of text.matchAll(HIDDEN)) {
    nodes.push(...marked(text.slice(from, match.index), found));
    const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    nodes.push(make("span", { class: "hidden-character", title: "a character that is not shown" }, `U+${code}`));
    from = match.index + match[0].length;
  }
  nodes.push(...marked(text.slice(from), found));
  return nodes;
}

function marked(text, found) {
  if (!found) return text ? [text] : [];
  const nodes = [];
  const lower = text.toLowerCase();
  // Lower case may be longer than the text (İ): then what was found is not marked.
  if (lower.length !== text.length) return [text];
  let from = 0;
  for (let at = lower.indexOf(found); at >= 0; at = lower.indexOf(found, from)) {
    if (at > from) nodes.push(text.slice(from, at));
    nodes.push(make("mark", {}, text.slice(at, at + found.length)));
    from = at + found.length;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

/** The beginning of a prompt, for where it stands as a name. */
function firstLine(text, length) {
  return text.trim().split("\n", 1)[0].slice(0, length);
}

/** A name that a line may end in after each "_". */
const breakable = (name) => name.split("_").flatMap((part, i) => [...(i ? ["_", make("wbr")] : []), ...visible(part)]);

/** "1 response", "2 responses". */
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** What a metric's direction means, as an arrow. */
function arrow(metric) {
  return data.metrics[metric].arrow ? ` ${data.metrics[metric].arrow}` : "";
}

function later(wait, call) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), wait);
  };
}
