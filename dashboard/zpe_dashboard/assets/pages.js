export function render({model}) {
  const words = model.words, list = h("ul")
  const form = h("form", {method: "post", action: "logout"}, h("button", {class: "out"}, h("span", {class: "icon logout"}), words.logout))
  model.on("reload", () => location.reload())
  const other = h("button", {type: "button", class: "out", onclick: () => model.send_msg({language: true})}, h("span", {class: "icon language"}), words.language)

  function drawPages() {
    list.replaceChildren(...model.pages.map(page => h("li", {}, h("a", {href: `#/${page.id}`, "aria-current": page.id === model.page ? "page" : null},
      h("span", {class: `icon ${page.id}`}), h("span", {}, page.text),
      page.count ? h("span", {class: `chip ${page.tone}`}, String(page.count)) : null))))
  }
  drawPages(); model.on("pages", drawPages)
  model.on("page", () => {
    for (const link of list.querySelectorAll("a"))
      link.getAttribute("href") === `#/${model.page}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")
  })
  const nav = h("nav", {"aria-label": words.pages}, list, h("div", {class: "foot"}, other, form))
  // On a narrow screen it comes up in a dialog, made anew each time, without a name and with an empty heading.
  new ResizeObserver(() => {
    let node = nav
    while (node && !node.matches?.("[role=dialog]")) node = node.parentNode ?? node.host
    node?.setAttribute("aria-label", words.pages)
    node?.querySelector("h5")?.setAttribute("aria-hidden", "true")
  }).observe(nav)
  return nav
}
