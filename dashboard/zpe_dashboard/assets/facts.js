export function render({model}) {
  const lang = model.lang, list = h("dl")
  const value = fact => cell(fact.kind ?? "text", fact.value, lang)
  const shown = fact => model.shape === "title" ? h("h1", {}, value(fact)) : value(fact)
  function draw() {
    list.replaceChildren(...model.facts.map(fact => h("div", {class: fact.big ? "big" : null},
      h("dt", {}, fact.label),
      h("dd", {class: fact.tone ?? null}, shown(fact), fact.note ? h("small", {}, fact.note) : null))))
  }
  draw(); ticking(list, lang)
  let before = JSON.stringify(model.facts)
  model.on("facts", () => { const now = JSON.stringify(model.facts); if (now !== before) { before = now; draw() } })
  return h("div", {class: `box ${model.shape}`}, list)
}
