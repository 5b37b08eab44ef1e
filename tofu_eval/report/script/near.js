// Near-duplicates: a response that nearly repeats an earlier one, and what is different in it.

const NEAR = 0.6; // of the words of both
const COMPARED = 400; // words of a text at most
const segmenter = window.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

/** A text in words, spaces and signs; joined again they are the text. */
function wordsOf(text) {
  return segmenter ? [...segmenter.segment(text)].map((part) => part.segment) : text.match(/\s+|[^\s]+/gu) ?? [];
}

/** For each text of a list that nearly repeats an earlier one: which, by its place; else null. */
function nearest(texts) {
  const sets = texts.map((text) => new Set(wordsOf(text.slice(0, 4000)).filter((word) => word.trim()).map((word) => word.toLowerCase())));
  return texts.map((text, i) => {
    let [best, at] = [NEAR, null];
    for (let j = 0; j < i; j += 1) {
      if (texts[j] === text || sets[i].size < 4) continue;
      let both = 0;
      for (const word of sets[i]) if (sets[j].has(word)) both += 1;
      const alike = both / (sets[i].size + sets[j].size - both);
      if (alike >= best && (at === null || alike > best)) [best, at] = [alike, j];
    }
    return at;
  });
}

/** The pieces of a text, each with whether the other one lacks it: the longest common run of words. */
function difference(text, other) {
  const [a, b] = [wordsOf(text), wordsOf(other)];
  if (a.length > COMPARED || b.length > COMPARED) return [[text, false]];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  const pieces = [];
  const add = (word, isNew) => {
    const last = pieces.at(-1);
    if (last && last[1] === isNew) last[0] += word;
    else pieces.push([word, isNew]);
  };
  let [i, j] = [0, 0];
  while (i < a.length) {
    if (j < b.length && a[i] === b[j]) { add(a[i], false); i += 1; j += 1; }
    else if (j < b.length && common[i][j + 1] >= common[i + 1][j]) j += 1;
    else { add(a[i], true); i += 1; }
  }
  return pieces;
}
