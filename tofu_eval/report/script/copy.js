// The sentence to quote, as text, Markdown or LaTeX.

function startCopy() {
  const root = byId("copy");
  root.hidden = false;
  const status = root.querySelector("[role=status]");
  for (const button of root.querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      const text = data.copies[button.dataset.form];
      try {
        await navigator.clipboard.writeText(text);
        status.replaceChildren("Copied.");
      } catch { // not allowed here, or not there: to be copied by hand
        const area = make("textarea", { readonly: true, rows: 3, "aria-label": "The sentence" });
        area.value = text;
        status.replaceChildren("Press Ctrl+C: ", area);
        area.select();
      }
    });
  }
}
