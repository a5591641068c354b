export function render({model}) {
  const lang = model.lang, list = h("dl")
  function draw() {
    list.replaceChildren(...model.facts.map(fact => h("div", {class: fact.big ? "big" : null},
      h("dt", {}, fact.label),
      h("dd", {class: fact.tone ?? null}, cell(fact.kind ?? "text", fact.value, lang), fact.note ? h("small", {}, fact.note) : null))))
  }
  draw(); ticking(list, lang)
  let before = JSON.stringify(model.facts)
  model.on("facts", () => { const now = JSON.stringify(model.facts); if (now !== before) { before = now; draw() } })
  return h("div", {class: `box ${model.shape}`}, list)
}
