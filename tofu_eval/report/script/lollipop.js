// Prompt by prompt: one row a model and prompt, and which of them are drawn (drawing.py does the same).

function differences(task, metric) {
  const table = data.scores[task]?.[metric];
  if (!table) return [];
  return data.models.slice(1).flatMap((model, i) =>
    table[i + 1]
      .map((value, prompt) => ({ model, prompt, prompt_id: data.prompts[task][prompt][0], label: data.prompts[task][prompt][2], baseline: table[0][prompt], value }))
      .filter((row) => row.value !== null && row.baseline !== null)
      .map((row) => ({ ...row, difference: row.value - row.baseline })));
}

/** The prompts that changed most, as many as there are lines for; the narrowest first. Of many models
 * the chosen one is drawn alone. */
function mostChanged(all, lines, metric) {
  const rows = choice.model ? all.filter((row) => row.model === choice.model) : all;
  const byPrompt = Map.groupBy ? Map.groupBy(rows, (row) => row.label) : grouped(rows);
  const most = Math.max(4, Math.floor(lines / Math.max(1, choice.model ? 1 : data.models.length - 1)));
  const sign = data.metrics[metric].reversed ? -1 : 1;
  const largest = (some) => Math.max(...some.map((row) => Math.abs(row.difference)));
  const mean = (some) => some.reduce((sum, row) => sum + row.difference, 0) / some.length;
  return [...byPrompt.values()].sort((a, b) => largest(b) - largest(a)).slice(0, most)
    .sort((a, b) => sign * (mean(a) - mean(b))).flat();
}

function grouped(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.label, [...(groups.get(row.label) ?? []), row]);
  return groups;
}
