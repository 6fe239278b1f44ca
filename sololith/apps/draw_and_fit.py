"Draw and fit: draw two classes of points, and watch a curve learn to tell them apart."
import functools
from sololith import *

draw_and_fit = pipeline("Draw and fit")


@functools.cache
def scatter() -> Any:
    "The widget in which points are drawn. Its class is made when it is first wanted: that takes half a second."
    anywidget, traits = widget_library()

    class Scatter(anywidget.AnyWidget):
        data = traits.List().tag(sync=True)   # {"x": 0…1, "y": 0…1, "label": "a" or "b"}
        _css = FIT_STYLE
        _esm = FIT_SCRIPT + """
export default {render({model, el}) {
  const bar = el.appendChild(document.createElement("p")), canvas = el.appendChild(board())
  let label = "a", isDown = false, at = [.5, .5], last = 0
  const add = (x, y) => model.set("data", [...model.get("data"), {x: +x.toFixed(3), y: +y.toFixed(3), label}])
  const clear = () => model.set("data", [])
  const undo = () => model.set("data", model.get("data").slice(0, -10))
  const buttons = {a: () => { label = "a" }, b: () => { label = "b" }, "Undo": undo, "Clear": clear}
  for (const [name, work] of Object.entries(buttons)) {
    const b = bar.appendChild(Object.assign(document.createElement("button"), {textContent: name, className: name}))
    b.onclick = () => { work(); model.save_changes(); draw() }
  }
  const count = bar.appendChild(document.createElement("span"))
  const draw = () => {
    paint(canvas, model.get("data"))
    if (document.activeElement === canvas) ring(canvas, at)
    for (const n of "ab") bar.querySelector("." + n).ariaPressed = String(n === label)
    count.textContent = model.get("data").length + " points"
  }
  const spray = e => {
    if (!isDown || performance.now() - last < 25) return
    last = performance.now()
    const [x, y] = placed(canvas, e), r = () => (Math.random() + Math.random() - 1) * .06
    add(Math.min(1, Math.max(0, x + r())), Math.min(1, Math.max(0, y + r())))
    model.save_changes()
    draw()
  }
  canvas.onpointerdown = e => { isDown = true; canvas.setPointerCapture(e.pointerId); spray(e) }
  canvas.onpointermove = spray
  canvas.onpointerup = canvas.onpointercancel = () => { isDown = false }
  canvas.onfocus = canvas.onblur = draw
  canvas.onkeydown = e => {
    const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[e.key]
    if (move) at = at.map((v, i) => Math.min(1, Math.max(0, v + move[i] * .03)))
    else if (e.key === " ") { add(...at); model.save_changes() }
    else if ("ab".includes(e.key)) label = e.key
    else return
    e.preventDefault()
    draw()
  }
  model.on("change:data", draw)
  draw()
}}
"""
    return Scatter


@functools.cache
def decision() -> Any:
    "The widget that shows the points, and how a curve of some degree parts them; it is fitted anew when that is moved."
    anywidget, traits = widget_library()

    class Decision(anywidget.AnyWidget):
        data, degree = traits.List().tag(sync=True), traits.Int(2, min=1, max=8).tag(sync=True)
        grid, told = traits.Bytes(b"").tag(sync=True), traits.Unicode("").tag(sync=True)
        weights = traits.List().tag(sync=True)
        _css = FIT_STYLE
        _esm = FIT_SCRIPT + """
export default {render({model, el}) {
  const bar = el.appendChild(document.createElement("p")), canvas = el.appendChild(board())
  const name = bar.appendChild(Object.assign(document.createElement("label"), {textContent: "Degree "}))
  const slider = name.appendChild(Object.assign(document.createElement("input"), {type: "range", min: 1, max: 8}))
  const told = bar.appendChild(document.createElement("span"))
  slider.oninput = () => { model.set("degree", +slider.value); model.save_changes() }
  const draw = () => {
    slider.value = model.get("degree")
    told.textContent = model.get("told")
    paint(canvas, model.get("data"), model.get("grid"))
  }
  for (const n of ["data", "degree", "grid", "told"]) model.on("change:" + n, draw)
  draw()
}}
"""

        @traits.observe("data", "degree")
        def _fit(self, _: Any) -> None:
            if not self.data: return
            weights, grid, right = fitted(self.data, self.degree)
            self.weights, self.grid = weights, grid
            self.told = f"{right:.0%} of {len(self.data)} points are on their side"
    return Decision


FIT_STYLE = """
html { color-scheme: light dark; background: none; color: CanvasText }
p { display: flex; gap: .5rem; flex-wrap: wrap; align-items: center; margin: 0 0 .5rem } label { display: flex; gap: .5rem }
button { font: inherit; padding: .2rem .7rem; border: 1px solid #8886; border-radius: .4rem; background: none }
.a { color: light-dark(#0b6a60, #5fc4b4) } .b { color: light-dark(#a34a18, #f0a070) }
button[aria-pressed=true] { border-color: currentColor; background: #8882 }
canvas { width: 100%; height: 320px; border: 1px solid #8884; border-radius: .5rem; touch-action: none;
  box-sizing: border-box }
"""
FIT_SCRIPT = """
const colours = {a: [24, 138, 124], b: [204, 102, 48]}
const board = () => Object.assign(document.createElement("canvas"), {width: 960, height: 480, tabIndex: 0,
  ariaLabel: "Draw with the mouse, or with arrows and space"})
const placed = (canvas, e) => {
  const box = canvas.getBoundingClientRect()
  return [(e.clientX - box.x) / box.width, 1 - (e.clientY - box.y) / box.height]
}
const ring = (canvas, [x, y]) => {
  const pen = canvas.getContext("2d")
  pen.beginPath()
  pen.arc(x * canvas.width, (1 - y) * canvas.height, 12, 0, 7)
  pen.stroke()
}
function paint(canvas, data, grid) {
  const pen = canvas.getContext("2d"), {width, height} = canvas
  pen.clearRect(0, 0, width, height)
  if (grid?.byteLength) {
    const side = Math.sqrt(grid.byteLength), small = new OffscreenCanvas(side, side), image = new ImageData(side, side)
    for (let i = 0; i < side * side; i++) {
      const p = grid.getUint8(i) / 255, c = p > .5 ? colours.b : colours.a
      image.data.set([...c, Math.abs(p - .5) * 150 + 8], i * 4)
    }
    small.getContext("2d").putImageData(image, 0, 0)
    pen.drawImage(small, 0, 0, width, height)
  }
  for (const {x, y, label} of data) {
    pen.fillStyle = `rgb(${colours[label] ?? [90, 90, 90]})`
    pen.beginPath()
    pen.arc(x * width, (1 - y) * height, 6, 0, 7)
    pen.fill()
  }
}
"""
SIDE = 48  # of the grid of decisions, in cells


def exponents(degree: int) -> list[tuple[int, int]]:
    "Those of x and y in the terms of a polynomial, in order."
    return [(i, d - i) for d in range(degree + 1) for i in range(d + 1)]


def powers(x: Any, y: Any, degree: int) -> Any:
    "The terms of a polynomial of x and y, centred: a column each."
    import numpy as np
    x, y = 2 * np.asarray(x) - 1, 2 * np.asarray(y) - 1
    return np.stack([x ** i * y ** j for i, j in exponents(degree)], 1)


def fitted(data: list[dict], degree: int) -> tuple[list[float], bytes, float]:
    """Logistic regression on the terms of a polynomial, by Newton's method with a small ridge: the weights, the
    probability of b in each cell of a grid (0 to 255, from the top left), and the share of points that it gets right."""
    try: import numpy as np
    except ImportError as e: raise Problem("numpy is not installed.", fix="Run: pip install numpy") from e
    terms = powers([p["x"] for p in data], [p["y"] for p in data], degree)
    is_b = np.array([p["label"] == "b" for p in data], float)
    weights = np.zeros(terms.shape[1])
    said = lambda t: 1 / (1 + np.exp(-np.clip(t @ weights, -30, 30)))
    for _ in range(25):
        p = said(terms)
        bend = (terms * (p * (1 - p))[:, None]).T @ terms + 0.02 * np.eye(len(weights))
        weights = weights + np.linalg.solve(bend, terms.T @ (is_b - p) - 0.02 * weights)
    places = (np.arange(SIDE) + .5) / SIDE
    x, y = np.meshgrid(places, places[::-1])
    grid = (said(powers(x.ravel(), y.ravel(), degree)) * 255).astype("uint8").tobytes()
    return [round(float(w), 4) for w in weights], grid, float(((said(terms) > .5) == is_b).mean())


@draw_and_fit.step
def points(points: widget(scatter, field="data")):
    "Draw points of class a, then choose b and draw those, with the mouse or a finger."
    if len({p["label"] for p in points}) < 2:
        raise Problem("There are not two classes yet.", fix="Draw points of a, and of b.")
    return points


@draw_and_fit.step
def statistics(points):
    "What was drawn: how many points, where their middle is, and how far they spread."
    found = []
    for label in ("a", "b"):
        own = [p for p in points if p["label"] == label]
        row = {"class": label, "points": len(own)}
        for axis in "xy":
            middle = sum(p[axis] for p in own) / len(own)
            spread = (sum((p[axis] - middle) ** 2 for p in own) / len(own)) ** .5
            row |= {f"middle {axis}": round(middle, 3), f"spread {axis}": round(spread, 3)}
        found.append(row)
    return found


@draw_and_fit.step
def fit(points):
    "A curve that parts the two. Move the slider: it is fitted anew."
    return decision()(data=points)


@draw_and_fit.step(asks=True)
def result(fit) -> Markdown:
    "Keep the curve as it is now."
    rows = "\n".join(f"| x^{i} y^{j} | {w:g} |" for (i, j), w in zip(exponents(fit.degree), fit.weights, strict=True))
    return f"A curve of degree {fit.degree}: {fit.told}.\n\n| term | weight |\n|---|---|\n{rows}"
