// Joins the tab to its session: where the tab is, whether it is in sight, and whether the server is still there.

export function render({model}) {
  const words = model.words
  document.documentElement.lang = model.lang
  const notice = h("div", {class: "notice", role: "status", "aria-live": "polite", hidden: true})
  const away = h("div", {class: "away", role: "alert", hidden: true})
  // Outside of the sidebar, which may be folded away.
  const overlay = h("div", {style: "position: fixed; z-index: 3000; inset: auto 0 0 0; pointer-events: none"})
  const shadow = overlay.attachShadow({mode: "open"})
  const style = h("style"); style.textContent = model.overlay_css
  shadow.append(style, h("div", {class: "overlay"}, away, notice))
  document.body.append(overlay)

  let hiding
  model.on("notice", () => {
    notice.textContent = model.notice.text ?? ""
    notice.className = `notice ${model.notice.problem ? "bad" : "good"}`
    notice.hidden = !model.notice.text
    clearTimeout(hiding)
    hiding = setTimeout(() => { notice.hidden = true }, model.notice.problem ? 12000 : 5000)
  })

  model.send_msg({zone: -new Date().getTimezoneOffset()})
  // Every place is one entry of the browser's history, whatever led there.
  const tell = () => model.send_msg({place: location.hash, page: location.href})
  window.addEventListener("hashchange", tell)
  tell()
  model.on("msg:custom", ({place}) => { if (location.hash !== place) history.pushState(null, "", place) })

  const narrow = matchMedia("(max-width: 899px)")
  const measure = () => model.send_msg({narrow: narrow.matches})
  narrow.addEventListener("change", measure)
  measure()

  const seen = () => model.send_msg({visible: document.visibilityState === "visible"})
  document.addEventListener("visibilitychange", seen)
  seen()

  let heard = performance.now(), asking = false
  const told = text => { away.textContent = text; away.hidden = !text }
  const hear = () => { heard = performance.now(); told(model.reachable ? "" : words.away) }
  model.on("beat", hear)
  model.on("reachable", hear)
  document.addEventListener("visibilitychange", () => { heard = performance.now() })
  const timer = setInterval(async () => {
    if (document.visibilityState !== "visible" || asking || performance.now() - heard < model.silence_seconds * 1000) return
    asking = true
    try {
      // The session of this page is gone if the dashboard was started again: a new page is a new session.
      const reply = await fetch("alive", {cache: "no-store"})
      if (reply.ok || reply.status === 403) location.reload()
    } catch { told(words.gone) } finally { asking = false }
  }, 2000)
  model.on("remove", () => { clearInterval(timer); overlay.remove(); window.removeEventListener("hashchange", tell) })
  return h("div", {hidden: true})
}
