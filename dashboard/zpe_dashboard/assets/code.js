export function render({model}) {
  const text = h("pre", {tabindex: 0, "aria-label": model.label})
  const copy = h("button", {type: "button", onclick: async () => {
    await navigator.clipboard.writeText(model.text)
    copy.textContent = model.copied_label
    setTimeout(() => { copy.textContent = model.copy_label }, 2000)
  }}, model.copy_label)
  const draw = () => { text.textContent = model.text }
  draw(); model.on("text", draw)
  return h("div", {class: `code ${model.wrap ? "wrap" : ""}`}, text, navigator.clipboard ? copy : null)
}
