// The structure as balls on a canvas, and a normal mode as their motion. Drag to turn, arrow keys turn as well; a click picks an atom.

export function render({model}) {
  const canvas = h("canvas", {tabindex: 0, role: "img", "aria-label": model.label})
  const box = h("div", {class: "molecule"}, canvas)
  const pen = canvas.getContext("2d")
  let around = 0, above = 0, grip = null, frame = 0, faced = ""
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches
  const turn = (dx, dy) => { around += dx; above = Math.max(-1.5, Math.min(1.5, above + dy)); if (!frame) draw(0) }
  let turned = 0, balls = []   // as drawn last: [x, y, radius, index], those in front at the end
  canvas.addEventListener("pointerdown", event => { grip = [event.clientX, event.clientY]; turned = 0; canvas.setPointerCapture(event.pointerId) })
  canvas.addEventListener("pointerup", event => {
    grip = null
    if (!model.pickable || turned > 4) return
    const place = canvas.getBoundingClientRect(), x = event.clientX - place.left, y = event.clientY - place.top
    const hit = balls.findLast(ball => Math.hypot(ball[0] - x, ball[1] - y) <= ball[2])
    if (hit) model.send_msg({atom: hit[3]})
  })
  canvas.addEventListener("pointermove", event => {
    if (!grip) return
    turned += Math.hypot(event.clientX - grip[0], event.clientY - grip[1])
    turn((event.clientX - grip[0]) / 120, (event.clientY - grip[1]) / 120)
    grip = [event.clientX, event.clientY]
  })
  canvas.addEventListener("keydown", event => {
    const step = {ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12], ArrowDown: [0, 0.12]}[event.key]
    if (step) { event.preventDefault(); turn(...step) }
  })

  // Upright, with the widest side to the front; what lies flat is seen from above.
  function face() {
    const places = JSON.stringify(model.atoms.map(a => a.at))
    if (places === faced || !model.atoms.length) return
    faced = places
    const mean = f => model.atoms.reduce((sum, a) => sum + f(a.at), 0) / model.atoms.length
    const spread = (i, j) => mean(at => at[i] * at[j]) - mean(at => at[i]) * mean(at => at[j])
    const [xx, yy, xy, zz] = [spread(0, 0), spread(1, 1), spread(0, 1), spread(2, 2)]
    const narrow = (xx + yy) / 2 - Math.hypot((xx - yy) / 2, xy)
    around = 0.3 - Math.atan2(2 * xy, xx - yy) / 2
    above = zz < 0.3 * narrow ? 1.1 : 0.25
  }

  // To the right, up, and towards who looks.
  function project([x, y, z]) {
    const [c, s] = [Math.cos(around), Math.sin(around)], [C, S] = [Math.cos(above), Math.sin(above)]
    const right = c * x - s * y, near = -s * x - c * y
    return [right, C * z - S * near, S * z + C * near]
  }

  function draw(phase) {
    const width = box.clientWidth, height = 300, dense = devicePixelRatio || 1
    if (!width) return
    if (canvas.width !== Math.round(width * dense)) { canvas.width = Math.round(width * dense); canvas.height = height * dense; canvas.style.height = `${height}px` }
    pen.setTransform(dense, 0, 0, dense, 0, 0)
    pen.clearRect(0, 0, width, height)
    const style = getComputedStyle(canvas), line = style.getPropertyValue("--faint")
    const atoms = model.atoms, middle = [0, 1, 2].map(k => atoms.reduce((sum, a) => sum + a.at[k], 0) / atoms.length)
    const reach = Math.max(0.9, ...atoms.map(a => Math.hypot(...a.at.map((v, k) => v - middle[k])) + a.radius))
    const scale = Math.min(width, height) / 2.35 / reach, swing = 0.35 * Math.sin(phase)
    const put = (a, way = [0, 0, 0]) => { const p = project(a.at.map((v, k) => v - middle[k] + swing * (a.mode?.[k] ?? 0) + way[k])); return [width / 2 + scale * p[0], height / 2 - scale * p[1], p[2]] }
    const places = atoms.map(a => put(a))
    pen.lineCap = "round"; pen.strokeStyle = line; pen.globalAlpha = 0.55; pen.lineWidth = Math.max(2, scale * 0.13)
    const stick = (from, to) => { pen.beginPath(); pen.moveTo(from[0], from[1]); pen.lineTo(to[0], to[1]); pen.stroke() }
    for (const [i, j] of model.bonds) stick(places[i], places[j])
    for (const [i, way] of model.halves) stick(places[i], put(atoms[i], way))
    balls = []
    for (const i of [...places.keys()].sort((a, b) => places[a][2] - places[b][2])) {
      const [x, y] = places[i], r = scale * atoms[i].radius * 0.62, light = pen.createRadialGradient(x - r / 3, y - r / 3, r / 8, x, y, r)
      light.addColorStop(0, "#fff"); light.addColorStop(0.3, atoms[i].colour); light.addColorStop(1, `color-mix(in srgb, ${atoms[i].colour} 62%, black)`)
      balls.push([x, y, r, i])
      pen.globalAlpha = atoms[i].held ? 0.3 : 1
      pen.fillStyle = light
      pen.beginPath(); pen.arc(x, y, r, 0, 2 * Math.PI); pen.fill()
      pen.strokeStyle = "rgb(0 0 0 / 45%)"; pen.lineWidth = 1; pen.stroke()
    }
    pen.globalAlpha = 1
  }

  function play(time) {
    if (!box.isConnected && time > 2000) return
    draw(time / 260)
    frame = requestAnimationFrame(play)
  }
  function start() {
    cancelAnimationFrame(frame); frame = 0
    face()
    const moves = model.atoms.some(a => a.mode) && !still
    if (moves) frame = requestAnimationFrame(play)
    else draw(still ? Math.PI / 2 : 0)
  }
  for (const part of ["atoms", "bonds", "halves"]) model.on(part, start)
  new ResizeObserver(() => { if (!frame) draw(0) }).observe(box)
  requestAnimationFrame(start)
  return box
}
