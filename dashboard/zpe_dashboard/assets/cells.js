// How values are shown, in tables as well as in lists of facts. Texts go in as text: nothing here is read as HTML.

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else node.setAttribute(name, value === true ? "" : value)
  }
  node.append(...children.filter(child => child !== null && child !== undefined))
  return node
}

// The locale of the browser, as far as it is of the language of the page.
const locale = lang => navigator.languages.find(name => name.startsWith(lang)) ?? lang

function ago(iso, lang) {
  const seconds = (Date.parse(iso) - Date.now()) / 1000
  const format = new Intl.RelativeTimeFormat(lang, {numeric: "auto", style: "short"})
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]])
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit)
  return format.format(Math.trunc(seconds), "second")
}

function clock(seconds) {
  const s = Math.max(0, Math.round(seconds)), pad = n => String(n).padStart(2, "0")
  const d = Math.floor(s / 86400), rest = `${pad(Math.floor(s / 3600) % 24)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`
  return d ? `${d} d ${rest}` : s < 3600 ? rest.slice(3) : rest
}

const KINDS = {
  text: v => v,
  mono: v => h("span", {class: "mono"}, v),
  number: v => typeof v === "number" ? String(v) : v,
  chip: v => h("span", {class: `chip ${v.tone}`}, v.text),
  chips: v => h("span", {class: "list"}, ...v.map(x => h("span", {class: `chip ${x.tone}`}, x.text))),
  link: v => h("a", {href: v.href, class: v.mono ? "mono" : null, title: v.title}, v.text),
  links: v => h("span", {class: "list"}, ...v.map(x => h("a", {href: x.href, title: x.title}, x.text))),
  download: v => h("span", {class: "list"}, ...v.map(x => h("a", {href: x.href, download: x.name}, x.text))),
  two: v => h("span", {}, h("span", {}, v.text), h("br"), h("span", {class: "faint"}, v.note)),
  list: v => v.length > 8
    ? h("details", {}, h("summary", {}, v.summary ?? `${v.slice(0, 3).join(", ")} … (${v.length})`), h("span", {class: "list"}, ...v.map(x => h("span", {}, x))))
    : h("span", {class: "list"}, ...v.map(x => h("span", {}, x))),
  more: v => h("details", {}, h("summary", {}, v.summary), h("pre", {tabindex: 0}, v.text)),
  attempts: (v, lang) => h("details", {}, h("summary", {}, v.summary), ...v.attempts.map(x =>
    h("details", {class: "inner", open: v.attempts.length === 1}, h("summary", {}, KINDS.time(x.at, lang), `  ${x.text}`), h("pre", {tabindex: 0}, x.tail ?? "–")))),
  progress: v => {
    const share = n => `width: ${v.total ? 100 * n / v.total : 0}%`
    return h("span", {class: `bar ${v.tone}`},
      h("span", {role: "progressbar", "aria-valuenow": v.done, "aria-valuemax": v.total, "aria-label": v.label},
        h("i", {class: "held", style: share(v.done + v.running)}), h("i", {style: share(v.done)})),
      h("span", {}, `${v.done}/${v.total}`))
  },
  age: (v, lang) => h("time", {datetime: v, title: new Date(v).toLocaleString(locale(lang)), "data-age": v}, ago(v, lang)),
  time: (v, lang) => h("time", {datetime: v}, new Date(v).toLocaleString(locale(lang))),
  duration: v => clock(v),
  left: v => { const end = Date.now() + 1000 * v; return h("span", {"data-end": end}, clock(v)) },
}

function cell(kind, value, lang) {
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length))
    return h("span", {class: "faint"}, "–")
  return (KINDS[kind] ?? KINDS.text)(value, lang)
}

// Ages and times left go on by themselves between two answers of the server.
function ticking(root, lang) {
  const timer = setInterval(() => {
    if (!root.isConnected) return clearInterval(timer)
    for (const node of root.querySelectorAll("[data-age]")) node.textContent = ago(node.dataset.age, lang)
    for (const node of root.querySelectorAll("[data-end]")) node.textContent = clock((node.dataset.end - Date.now()) / 1000)
  }, 1000)
}

