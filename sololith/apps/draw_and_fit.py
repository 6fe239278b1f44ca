"Draw and fit: draw two classes of points, and watch a curve learn to tell them apart."
import functools
from sololith import *

draw_and_fit = pipeline("Draw and fit")


@functools.cache
def board() -> Any:
    """The widget: points are drawn in it; with a degree it shows instead how a curve of that degree parts them, and fits it
    anew when that is moved. Its class is made when it is first wanted: that takes half a second."""
    anywidget, traits = widget_library()

    class Board(anywidget.AnyWidget):
        data = traits.List().tag(sync=True)   # {"x": 0…1, "y": 0…1, "label": "a" or "b"}
        degree = traits.Int(0, max=8).tag(sync=True)
        grid, told = traits.Bytes(b"").tag(sync=True), traits.Unicode("").tag(sync=True)
        weights = traits.List().tag(sync=True)
        _css, _esm = BOARD_STYLE, BOARD_SCRIPT

        @traits.observe("data", "degree")
        def _fit(self, _: Any) -> None:
            if not self.data or self.degree < 1: return
            self.weights, self.grid, right = fitted(self.data, self.degree)
            self.told = f"{right:.0%} of {len(self.data)} points are on their side"
    return Board


BOARD_STYLE = """
html { color-scheme: light dark; background: none; color: CanvasText }
p { display: flex; gap: .5rem; flex-wrap: wrap; align-items: center; margin: 0 0 .5rem } label { display: flex; gap: .5rem }
button { font: inherit; padding: .2rem .7rem; border: 1px solid #8886; border-radius: .4rem; background: none }
.a { color: light-dark(#0b6a60, #5fc4b4) } .b { color: light-dark(#a34a18, #f0a070) }
button[aria-pressed=true] { border-color: currentColor; background: #8882 }
canvas { width: 100%; height: 320px; border: 1px solid #8884; border-radius: .5rem; touch-action: none;
  box-sizing: border-box }
"""
BOARD_SCRIPT = """
const colours = {a: [24, 138, 124], b: [204, 102, 48]}
const made = (within, tag, as) => within.appendChild(Object.assign(document.createElement(tag), as))
export default {render({model, el}) {
  const isDrawn = !model.get("degree"), bar = made(el, "p")
  const canvas = made(el, "canvas", {width: 960, height: 480, tabIndex: 0,
    ariaLabel: isDrawn ? "Draw with the mouse, or with arrows and space" : "The points, and the curve between them"})
  const pen = canvas.getContext("2d"), {width, height} = canvas
  let label = "a", isDown = false, at = [.5, .5], last = 0
  const circle = (x, y, radius) => {
    pen.beginPath()
    pen.arc(x * width, (1 - y) * height, radius, 0, 7)
  }
  const draw = () => {
    const data = model.get("data"), grid = model.get("grid")
    pen.clearRect(0, 0, width, height)
    if (grid?.byteLength) {
      const side = Math.sqrt(grid.byteLength), small = new OffscreenCanvas(side, side), image = new ImageData(side, side)
      for (let i = 0; i < side * side; i++) {
        const p = grid.getUint8(i) / 255
        image.data.set([...colours[p > .5 ? "b" : "a"], Math.abs(p - .5) * 150 + 8], i * 4)
      }
      small.getContext("2d").putImageData(image, 0, 0)
      pen.drawImage(small, 0, 0, width, height)
    }
    for (const {x, y, label} of data) {
      pen.fillStyle = `rgb(${colours[label] ?? [90, 90, 90]})`
      circle(x, y, 6)
      pen.fill()
    }
    if (isDrawn && document.activeElement === canvas) {
      circle(...at, 12)
      pen.stroke()
    }
    for (const n of "ab") bar.querySelector("." + n)?.setAttribute("aria-pressed", n === label)
    told.textContent = isDrawn ? data.length + " points" : model.get("told")
    if (!isDrawn) slider.value = model.get("degree")
  }
  const change = (name, value) => {
    model.set(name, value)
    model.save_changes()
    draw()
  }
  const add = (x, y) => change("data", [...model.get("data"), {x: +x.toFixed(3), y: +y.toFixed(3), label}])
  const spray = e => {
    if (!isDown || performance.now() - last < 25) return
    last = performance.now()
    const box = canvas.getBoundingClientRect()
    const near = part => Math.min(1, Math.max(0, part + (Math.random() + Math.random() - 1) * .06))
    add(near((e.clientX - box.x) / box.width), near(1 - (e.clientY - box.y) / box.height))
  }
  const choose = name => {
    label = name
    draw()
  }
  const buttons = {a: () => choose("a"), b: () => choose("b"),
    Undo: () => change("data", model.get("data").slice(0, -10)), Clear: () => change("data", [])}
  if (isDrawn) {
    for (const [name, onclick] of Object.entries(buttons))
      made(bar, "button", {textContent: name, className: name, onclick})
    canvas.onpointerdown = e => { isDown = true; canvas.setPointerCapture(e.pointerId); spray(e) }
    canvas.onpointermove = spray
    canvas.onpointerup = canvas.onpointercancel = () => { isDown = false }
    canvas.onfocus = canvas.onblur = draw
    canvas.onkeydown = e => {
      const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[e.key]
      if (move) at = at.map((v, i) => Math.min(1, Math.max(0, v + move[i] * .03)))
      else if (e.key === " ") add(...at)
      else if ("ab".includes(e.key)) label = e.key
      else return
      e.preventDefault()
      draw()
    }
  }
  const slider = isDrawn ? null : made(made(bar, "label", {textContent: "Degree "}), "input",
    {type: "range", min: 1, max: 8, oninput: () => change("degree", +slider.value)})
  const told = made(bar, "span")
  model.on("change", draw)
  draw()
}}
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
def points(points: widget(board, field="data")):
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
    return board()(data=points, degree=2)


@draw_and_fit.step(asks=True)
def result(fit) -> Markdown:
    "Keep the curve as it is now."
    rows = "\n".join(f"| x^{i} y^{j} | {w:g} |" for (i, j), w in zip(exponents(fit.degree), fit.weights, strict=True))
    return f"A curve of degree {fit.degree}: {fit.told}.\n\n| term | weight |\n|---|---|\n{rows}"
