export function render({model}) {
  const lang = model.lang
  const head = h("thead"), empty = h("p", {class: "empty"}), table = h("table", {"aria-label": model.label}, head)
  // It scrolls where it is too wide, or the page does: the keyboard needs something to hold on to.
  const box = h("div", {class: "box", role: "region", "aria-label": model.label, tabindex: 0}, table, empty)
  const shown = new Map()   // row id -> {body, cells: [{td, key}]}
  const told = () => model.sort.length ? {key: model.sort[0], down: model.sort[1] === "down"} : null
  let sort = told()

  function drawHead() {
    const titles = model.columns.filter(column => !column.below).map(column => {
      const label = column.sort ? h("button", {class: "sort", onclick: () => {
        sort = {key: column.key, down: sort?.key === column.key ? !sort.down : false}
        if (model.in_part) model.send_msg({sort: sort.key, down: sort.down})
        redraw()
      }}, column.label, h("span", {"aria-hidden": "true"}, sort?.key === column.key ? (sort.down ? " ▾" : " ▴") : "")) : column.label
      const order = sort?.key === column.key ? (sort.down ? "descending" : "ascending") : null
      if (!column.label) return h("td", {"data-key": column.key})
      return h("th", {scope: "col", class: column.align, "data-key": column.key, "aria-sort": order}, label)
    })
    if (model.selectable) titles.unshift(h("th", {class: "pick"}, h("input", {type: "checkbox", "aria-label": model.select_label, onchange: event => {
      model.selected = event.target.checked ? model.rows.map(row => row.id) : []
      drawBody()
    }})))
    head.replaceChildren(h("tr", {}, ...titles))
  }

  function ordered() {
    if (!sort || model.in_part) return model.rows
    const value = row => row.sort?.[sort.key] ?? row[sort.key]
    const rows = [...model.rows].sort((a, b) => {
      const x = value(a), y = value(b)
      if (x === y) return 0
      if (x === null || x === undefined || x === "") return 1
      if (y === null || y === undefined || y === "") return -1
      return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), lang, {numeric: true})
    })
    return sort.down ? rows.reverse() : rows
  }

  // Each row is a tbody: what does not fit into a line stands below, over the whole width.
  function newRow(row) {
    const line = h("tr"), cells = []
    if (model.selectable) line.append(h("td", {class: "pick"}, h("input", {type: "checkbox", "aria-label": row.name ?? row.id, onchange: event => {
      model.selected = event.target.checked ? [...model.selected, row.id] : model.selected.filter(id => id !== row.id)
    }})))
    const body = h("tbody", {"data-id": row.id}, line)
    for (const column of model.columns) {
      const td = h("td", {class: `${column.align ?? ""} ${column.label ? "" : "bare"}`, "data-label": column.label})
      cells.push({td, key: undefined})
      if (column.below) { td.colSpan = model.columns.length + 1; body.append(h("tr", {class: "below"}, td)) } else line.append(td)
    }
    return {body, cells}
  }

  const nothing = value => !value || (Array.isArray(value) && !value.length)

  function content(column, value, row) {
    if (column.kind !== "actions") return column.below && nothing(value) ? "" : cell(column.kind, value, lang)
    return h("span", {class: "actions"}, ...(value ?? []).map(action =>
      h("button", {type: "button", class: action.tone, "aria-label": `${action.text}: ${row.name ?? row.id}`, onclick: () => model.send_msg({row: row.id, action: action.id})}, action.text)))
  }

  function drawBody() {
    const rows = ordered(), ids = new Set(rows.map(row => row.id))
    for (const [id, {body}] of shown) if (!ids.has(id)) { body.remove(); shown.delete(id) }
    rows.forEach((row, place) => {
      if (!shown.has(row.id)) shown.set(row.id, newRow(row))
      const {body, cells} = shown.get(row.id)
      model.columns.forEach((column, n) => {
        const value = row[column.key], key = JSON.stringify(value ?? null)
        // A cell that has not changed stays as it is, with its focus and whatever is unfolded in it.
        if (cells[n].key === key) return
        cells[n].td.replaceChildren(content(column, value, row))
        if (column.below) cells[n].td.parentElement.hidden = nothing(value)
        cells[n].key = key
      })
      const pick = body.querySelector(".pick input")
      if (pick) pick.checked = model.selected.includes(row.id)
      if (table.children[place + 1] !== body) table.insertBefore(body, table.children[place + 1] ?? null)
    })
    empty.textContent = model.empty
    empty.hidden = rows.length > 0
    box.classList.toggle("none", rows.length === 0)
    const all = head.querySelector(".pick input")
    if (all) all.checked = rows.length > 0 && rows.every(row => model.selected.includes(row.id))
  }

  function redraw() {
    const key = box.getRootNode().activeElement?.closest("[data-key]")?.dataset.key
    drawHead(); drawBody()
    if (key) head.querySelector(`[data-key="${key}"] button`)?.focus()
  }

  drawHead(); drawBody(); ticking(box, lang)
  model.on("rows", drawBody)
  model.on("empty", drawBody)
  model.on("selected", drawBody)
  model.on("sort", () => { sort = told(); redraw() })
  return box
}
