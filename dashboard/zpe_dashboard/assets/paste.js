// A text to paste, or a file to drop on it. What is typed is told after a pause, not with every key.

export function render({model}) {
  const area = h("textarea", {"aria-label": model.label, placeholder: model.hint, spellcheck: "false", rows: 14, autocomplete: "off"})
  const file = h("input", {type: "file", hidden: true})
  const choose = h("button", {type: "button", onclick: () => file.click()}, model.choose_label)
  let waits
  const tell = () => { clearTimeout(waits); if (model.value !== area.value) model.value = area.value }
  const take = async chosen => { if (chosen) { area.value = await chosen.text(); tell() } }
  area.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(tell, 300) })
  area.addEventListener("change", tell)
  area.addEventListener("dragover", event => { event.preventDefault(); area.classList.add("over") })
  area.addEventListener("dragleave", () => area.classList.remove("over"))
  area.addEventListener("drop", event => {
    area.classList.remove("over")
    if (event.dataTransfer.files.length) { event.preventDefault(); take(event.dataTransfer.files[0]) }
  })
  file.addEventListener("change", () => { take(file.files[0]); file.value = "" })
  const draw = () => { if (area.value !== model.value) area.value = model.value }
  draw(); model.on("value", draw)
  return h("div", {class: "paste"}, area, file, choose)
}
