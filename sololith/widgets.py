"""Anywidgets on pages and in steps, alive, without Jupyter: as they come from PyPI, each in a box of its own.

    @fit.step
    def points(points: widget(ScatterWidget, field="data", height=400)):   # asked for with that widget: its data
        "Draw two classes of points."
        return points

    @fit.step
    def slider(points): return DegreeSlider(points=points)   # shown, and alive; later steps are given the widget itself

    show(widget)                                             # on any page

A widget's module runs in a frame without an origin: it reaches neither our pages nor the network, only its model. The
page carries messages between frames and one WebSocket, in binary: a length, JSON, the buffers. A state is kept as the
same bytes in the table `widgets`, a quarter of a second after it moves; so a widget is there as it was left after a
restart. What lives in Python only (observers set by a step) lasts as long as the process: put it into a widget's class.
Source of the front end's contract: https://anywidget.dev/en/afm/
"""
import asyncio, base64, contextlib, functools, hashlib, importlib, json, struct, threading
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple
from collections.abc import Callable, Iterable, Mapping
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from .base import *
from .fields import Asked, Field, clip, number
from .pipeline import runs
from .store import db
from .ui import scripts, styles
from .server import beside
from .values import MARKED, OTHERS

KEPT_AFTER = .25  # seconds between looks at what has moved
MOST_LIVE = 200   # widgets that nobody looks at, and that stay alive
# what no tab may change: what runs, and which model it is
FIXED = re.compile(r"_esm|_css|_anywidget_id|_(model|view|dom)_\w+|layout|tabbable|tooltip")
db.openers.append(lambda: db.execute("""CREATE TABLE IF NOT EXISTS widgets (id INTEGER PRIMARY KEY AUTOINCREMENT,
  place TEXT NOT NULL DEFAULT '', class TEXT NOT NULL, state BLOB NOT NULL)"""))


# ─── messages and states, as bytes ───

def framed(head: dict, buffers: Iterable[Any] = ()) -> bytes:
    "A message: the length of its JSON in four bytes, the JSON, which has the lengths of the buffers, and those."
    parts = [memoryview(b).cast("B") for b in buffers]
    text = json.dumps(head | {"lengths": [len(p) for p in parts]}, default=str).encode()
    return b"".join([struct.pack("<I", len(text)), text, *parts])


def unframed(data: bytes) -> tuple[dict, list[bytes]]:
    "What `framed` made. Raises Problem for what is no such message."
    try:
        (length,) = struct.unpack_from("<I", data)
        head, at, buffers = json.loads(data[4:4 + length]), 4 + length, list[bytes]()
        for n in head["lengths"]:
            buffers.append(data[at:at + n])
            at += n
        if at == len(data) and min([0, *head["lengths"]]) == 0: return head, buffers
    except (struct.error, ValueError, KeyError, TypeError, RecursionError): pass
    raise Problem("This is no message of a widget.", fix="Reload the page.")


def library() -> Any:
    "ipywidgets' module of that name; anywidget's are its widgets."
    return importlib.import_module("ipywidgets.widgets.widget")


def state_of(made: Any, names: Any = None) -> tuple[dict, list[list], list[Any]]:
    "The state of a widget, or some of it, as the front end has it, with what is binary apart: its paths, and the bytes."
    return library()._remove_buffers(made.get_state(names))


def with_buffers(state: dict, paths: list[list], buffers: list[bytes]) -> dict:
    try: library()._put_buffers(state, paths, buffers)
    except (LookupError, TypeError, ValueError): raise Problem("A buffer has no place.", fix="Reload the page.") from None
    return state


# ─── widgets that are there ───

class Tab(NamedTuple):
    "One tab's socket: what is to be sent, and on which loop."
    queue: asyncio.Queue
    loop: asyncio.AbstractEventLoop
    def send(self, message: bytes) -> None: self.loop.call_soon_threadsafe(self.queue.put_nowait, message)


# The widgets that are shown, by key: the number of their row; “draft:PLACE” where one is asked for; the id of their model.
live: dict[str, Any] = {}
watching: dict[str, set[Tab]] = {}  # who is told what happens to a model, by its id
keys_of_models: dict[str, str] = {}  # under which key the state of a model is kept
locks: dict[str, threading.Lock] = {}
moved: set[str] = set()  # the keys of widgets that are not kept as they are now
starts: dict[str, Callable[[], Any]] = {}  # what makes the widget of a draft that nobody has touched yet, by key


@functools.cache
def channel_class() -> Any:
    "The class of the channels from a widget to whoever shows it."
    from comm.base_comm import BaseComm

    class Channel(BaseComm):
        def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> Any:
            said = data or {}
            if msg_type != "comm_msg" or said.get("method") == "echo_update": return
            if "state" in said: said = said | {"state": front(said["state"])}
            heard(self.comm_id, said, buffers or ())
    return Channel


def heard(model: str, said: Mapping, buffers: Iterable[Any], but: Tab | None = None) -> None:
    "Tell every tab but one what a model has said, and keep the state that it is now in."
    message = framed({**said, "model": model}, buffers)
    for tab in list(watching.get(model, ())):
        if tab is not but: tab.send(message)
    if said.get("method") == "update" and (key := keys_of_models.get(model)): moved.add(key)


def is_widget_class(hint: Any) -> bool:  # without an import of what may not be wanted, or there
    return isinstance(hint, type) and any(c.__module__ == "ipywidgets.widgets.widget" for c in hint.__mro__)


def models_of(made: Any) -> dict[str, Any]:
    "A widget and those that its state names, by the ids of their models."
    instances = library()._instances
    found, todo = dict[str, Any](), [made]
    while todo:
        one = todo.pop()
        if one.model_id in found: continue
        found[one.model_id] = one
        named = re.findall(r'"(?:IPY_MODEL_|anywidget:)([\w-]+)"', json.dumps(state_of(one)[0], default=str))
        todo += [instances[n] for n in named if n in instances]
    return found


def connected(made: Any) -> dict[str, Any]:
    "A widget's models, each with a channel of ours."
    models = models_of(made)
    for model, one in models.items():
        library()._instances[model] = one
        if not isinstance(one.comm, channel_class()): one.comm = channel_class()(comm_id=model, primary=False)
        locks.setdefault(model, threading.Lock())
    return models


def front(state: Mapping) -> dict:
    "A state as a tab is sent it: the module by its hash."
    return {n: module_url(v) if n == "_esm" else v for n, v in state.items()}


modules: dict[str, str] = {}  # the text of each module by its hash


def module_url(text: Any) -> str:
    digest = hashlib.sha256(str(text).encode()).hexdigest()[:24]
    modules[digest] = str(text)
    return f"/widgets/{digest}.js"


# ─── kept and revived ───

def kept_state(made: Any) -> bytes:
    state, paths, buffers = state_of(made)
    own = {n: v for n, v in state.items() if not FIXED.fullmatch(n) and "IPY_MODEL_" not in str(v)[:99]}
    kept = [i for i, path in enumerate(paths) if path[0] in own]
    return framed({"state": own, "buffer_paths": [paths[i] for i in kept]}, [buffers[i] for i in kept])


def class_name(made: type) -> str:
    "Where a class is found again; ours are at the top in both forms of Sololith."
    is_ours = made.__module__.partition(".")[0] in ("sololith", "__main__")
    return f"{'sololith' if is_ours else made.__module__}:{made.__qualname__}"


def new_row(made: Any, place: str = "") -> str:
    "Keep the state of a widget in a row of its own: its number."
    row = {"place": place, "state": kept_state(made), "class": class_name(type(made))}
    with db.transaction(): return str(db.add("widgets", row))


def keep_moved() -> None:
    "Keep the states of what has moved."
    while moved:
        if (made := live.get(key := moved.pop())) is None: continue
        if not key.isdecimal() and not db.one("SELECT 1 FROM widgets WHERE place=?", [key]): new_row(made, key)
        column = "id" if key.isdecimal() else "place"
        db.execute(f"UPDATE widgets SET state=? WHERE {column}=?", [kept_state(made), key])


async def keep_widgets() -> None:
    "Keep what moves, soon after, and once more when the server ends."
    try:
        while True:
            await asyncio.sleep(KEPT_AFTER)
            if moved: await run_in_threadpool(keep_moved)
            if len(live) > MOST_LIVE: await run_in_threadpool(forget)
    finally: keep_moved()


beside.append(keep_widgets)


def made_again(kind: str, data: bytes) -> Any:
    "A widget of a class by its name, in a state that was kept. Raises Problem where the class is gone or not its own."
    import ipywidgets
    module, _, name = kind.partition(":")
    cls: Any
    path, _, inner = name.partition(".<locals>")  # a class that a function makes when it is first wanted
    try: cls = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        raise Problem(f"{clip(name)} is not there any more.", fix=f"Is {module.partition('.')[0]} installed?") from None
    if inner: cls = cls()
    if not is_widget_class(cls): raise Problem(f"{clip(name)} is no widget.")
    head, buffers = unframed(data)
    try: made = cls()
    except TypeError:  # it is made of something: its state has to do
        made = cls.__new__(cls)
        (cls if "__init__" not in vars(cls) else ipywidgets.DOMWidget).__init__(made)
    made.set_state(with_buffers(head["state"], head["buffer_paths"], buffers))
    return made


def shown_as(made: Any, key: str = "") -> str:
    "The key under which tabs ask for a widget, which is live from now on."
    live[key or made.model_id] = made
    for model in connected(made): keys_of_models[model] = key
    return key or made.model_id


def key_of(made: Any) -> str: return next((key for key, one in live.items() if one is made), "")


def row_of(key: str) -> dict | None:
    return db.first("SELECT * FROM widgets WHERE id=?" if key.isdecimal() else "SELECT * FROM widgets WHERE place=?", [key])


def widget_in(key: str) -> Any:
    "The widget of a key, live or made again. Raises Problem where there is none."
    if key in live: return live[key]
    if found := row_of(key): made = made_again(found["class"], found["state"])
    elif key in starts: made = starts[key]()
    else: raise Problem("This widget is not there any more.", fix="Reload the page.", status=404)
    shown_as(made, key)
    return made


def put_away(key: str) -> None:
    "Close a widget that nobody needs any more; one without a row is only let go of, as a plugin may show it again."
    keep_moved()
    if (made := live.pop(key, None)) is None: return
    for model, one in models_of(made).items():
        for of in (keys_of_models, watching, locks, library()._instances): of.pop(model, None)
        if key != model: one.close()


def forget() -> None:
    "Put away the oldest of what nobody looks at."
    unseen = [key for key, made in list(live.items()) if not watching.get(made.model_id)]
    for key in unseen[:-MOST_LIVE]: put_away(key)


def close_deleted(entries: list[dict]) -> None:
    "Close the widgets of runs that were deleted. They are made again where that is undone."
    for e in entries:
        if e["app"] == "runs" and e["verb"] == "delete":
            place = f"runs/{e['record_id']}/"
            own = [str(row["id"]) for row in db.query("SELECT id FROM widgets WHERE place LIKE ?", [f"%{place}%"])]
            for key in [*own, *(key for key in live if place in key)]: put_away(key)


db.listeners.append(close_deleted)


class Widgets:
    "A widget that a step gives: its value is a row, and what is done with it since is kept there."
    def is_one(self, value: Any) -> bool: return is_widget_class(type(value))
    def load(self, text: str) -> Any: return widget_in(text)

    def copy(self, text: str, place: str) -> str:
        "A row like it, for a run that is a copy."
        keep_moved()
        row = row_of(text)
        return str(db.add("widgets", row | {"id": None, "place": place})) if row else text

    def keep(self, value: Any, place: str) -> str:
        if (key := key_of(value)).isdecimal(): return key
        for old in db.query("SELECT id FROM widgets WHERE place=?", [place]): put_away(str(old["id"]))
        return shown_as(value, new_row(value, place))

    def show(self, value: Any) -> FT:
        return box(key_of(value) or shown_as(value), type(value).__name__)


OTHERS["widget"] = Widgets()


def box(key: str, title: str) -> FT:
    return Iframe(src="/widgets/box", data_widget=key, id=f"widget-{key}", cls="widget", sandbox="allow-scripts",
        title=title)


# ─── asked for in a step ───

@dataclass(frozen=True)
class Left:
    "A widget as somebody left it when a step was answered."
    row: str
    def __str__(self) -> str: return self.row

    @property
    def told(self) -> str:
        found = row_of(self.row)
        return re.split("[.:]", found["class"])[-1] if found else "a widget"


MARKED["Left"] = Left


class AskedByWidget(Asked):
    "How a parameter is asked for with a widget, and what the step is handed."
    def __init__(self, made: Any, trait: str, given: dict): self.source, self.trait, self.given = made, trait, given

    @property
    def made(self) -> Any: return self.source if is_widget_class(self.source) else self.source()

    def start(self, field: Field, value: Any) -> Any:
        "The widget as it is before anybody touches it: as it was answered, or given, or as it is made."
        if value in (None, ""): return self.made(**self.given)
        row: Any = row_of(self.read(field, value).row)
        return made_again(row["class"], row["state"])

    def draw(self, field: Field, value: Any, place: str = "", **attrs: Any) -> FT:
        is_drawn = isinstance(value, str) and value.startswith("widget:")
        key = value[7:] if is_drawn else f"draft:{place}"
        if not is_drawn: starts[key] = lambda: self.start(field, value)
        return Div(box(key, field.label), Hidden(f"widget:{key}", name=field.name), id=attrs.get("id"))

    def read(self, field: Field, value: Any) -> Left:
        "What was drawn, or the value that the widget would have as JSON. Raises ValueError."
        if isinstance(value, Left): return value
        if isinstance(value, str) and value.startswith("widget:"):
            return Left(new_row(widget_in(value[7:]), f"answer {value[7:]}"))
        made = self.made(**self.given)
        if not self.trait: raise ValueError("a whole widget is drawn, not said")
        setattr(made, self.trait, json.loads(value) if isinstance(value, str) else value)
        return Left(new_row(made))

    def sample(self) -> Left: return Left(new_row(self.made(**self.given)))

    def hand(self, value: Left) -> Any:
        draft = ((row_of(value.row) or {}).get("place") or "").partition("answer ")[2]
        if draft:  # it is answered: the next one begins anew
            put_away(draft)
            starts.pop(draft, None)
            db.execute("DELETE FROM widgets WHERE place=?", [draft])
            db.execute("UPDATE widgets SET place='' WHERE id=?", [number(value.row)])
        made = widget_in(value.row)
        return getattr(made, self.trait) if self.trait else made


def widget_library() -> tuple[Any, Any]:
    "anywidget and traitlets, for classes that are made when they are first wanted. Raises Problem where they are missing."
    try: import anywidget, traitlets
    except ImportError as e:
        raise Problem("anywidget is not installed.", fix="Run: pip install 'sololith[widgets]'") from e
    return anywidget, traitlets


def widget(made: Any, field: str = "", **traits: Any) -> Any:
    """A step's parameter that is asked for with an anywidget: `points: widget(ScatterWidget, field="data")`. The step is
    handed that trait, or the whole widget where none is named. `made` is a class, or a function that makes one when it is
    first wanted; `traits` are those that it begins with. Raises Problem for what is no widget, or has no such trait."""
    is_class = isinstance(made, type)
    if is_class and not is_widget_class(made) or not callable(made):
        raise Problem(f"{getattr(made, '__name__', made)} is no widget.", fix="Give a subclass of anywidget.AnyWidget.")
    if is_class and field and field not in (traits_of := getattr(made, "class_trait_names", list)()):
        raise Problem(f"{made.__name__} has no {clip(field)}.", fix=did_you_mean(field, traits_of))
    return Annotated[Any, AskedByWidget(made, field, traits)]


Asked.hints.append(lambda hint: AskedByWidget(hint, "", {}) if is_widget_class(hint) else None)


# ─── the socket ───

async def widget_socket(ws: WebSocket) -> None:
    "One tab: what its frames say to their models, and what those say."
    await ws.accept()
    tab = Tab(asyncio.Queue(), asyncio.get_running_loop())
    async def pump() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True: await ws.send_bytes(await tab.queue.get())
    pumping, turns = asyncio.create_task(pump()), dict[str, asyncio.Lock]()
    async def turn(head: dict, buffers: list[bytes]) -> None:
        async with turns.setdefault(str(head.get("model") or head.get("open")), asyncio.Lock()):
            try: await run_in_threadpool(said_by_tab, tab, head, buffers)
            except Problem as e: tab.send(framed({"problem": str(e), "model": head.get("model"), "key": head.get("open")}))
    tasks = set[asyncio.Task]()
    try:
        while (message := await ws.receive())["type"] == "websocket.receive":
            try: task = asyncio.create_task(turn(*unframed(message.get("bytes") or b"")))
            except Problem as e: tab.send(framed({"problem": str(e)}))
            else:
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    finally:
        pumping.cancel()
        for tabs in watching.values(): tabs.discard(tab)


def said_by_tab(tab: Tab, head: dict, buffers: list[bytes]) -> None:
    "Do what a tab says: show it a widget, or let a model have an update or a message. Raises Problem."
    if key := head.get("open"):
        made = widget_in(key)
        models = connected(made)
        for model, one in models.items():
            watching.setdefault(model, set()).add(tab)
            state, paths, parts = state_of(one)
            tab.send(framed({"key": key, "model": model, "root": made.model_id, "count": len(models), "state": front(state),
                "buffer_paths": paths}, parts))
        return
    model, method = str(head.get("model")), head.get("method")
    made = library()._instances.get(model)
    if not made or tab not in watching.get(model, ()):
        raise Problem("This widget is not there any more.", fix="Reload the page.")
    with locks[model]:
        if method == "custom": made._handle_custom_msg(head.get("content"), buffers)
        elif method == "update": updated(tab, made, head, buffers)
        else: raise Problem(f"A widget does not understand {clip(method)}.")
    tab.send(framed({"done": head.get("n"), "model": model}))


def updated(tab: Tab, made: Any, head: dict, buffers: list[bytes]) -> None:
    "Let a model have what a tab has changed, tell the others, and take back what the model refuses. Raises Problem."
    state, paths = head.get("state"), head.get("buffer_paths") or []
    if not isinstance(state, dict) or not isinstance(paths, list): raise Problem("An update has no state.")
    def now() -> tuple[dict, list[Any]]:
        found, at, parts = state_of(made, [n for n in state if n in made.keys])
        return {"method": "update", "state": found, "buffer_paths": at}, parts
    if wrong := [n for n in state if FIXED.fullmatch(n)]:
        raise Problem(f"{type(made).__name__} lets nobody change {clip(wrong[0])}.", fix="Reload the page.")
    key = keys_of_models.get(made.model_id, "")
    run = re.search(r"runs/(\d+)/", (row_of(key) or {"place": key})["place"])
    if run and runs.row(int(run[1]))["is_locked"]:
        heard(made.model_id, *now())
        raise Problem("This run is locked.", fix="Unlock it first.")
    state = {n: v for n, v in state.items() if n in made.keys}  # as Jupyter does: some send more
    paths, buffers = (list(p) for p in zip(*[(p, b) for p, b in zip(paths, buffers, strict=False) if p[0] in state],
        strict=True)) if paths else ([], [])
    try: made.set_state(with_buffers(state, paths, buffers))
    except Problem: raise
    except Exception as e:  # a trait refuses it, or whatever an observer raises
        heard(made.model_id, *now())
        raise Problem(f"{type(made).__name__}: {clip(e, 300)}") from e
    heard(made.model_id, *now(), but=tab)


system.web.router.routes.append(WebSocketRoute("/widgets", widget_socket))
system.web.router.routes[-1].methods = ["ws"]


@rt("/widgets/{digest}.js", methods=["GET"])
async def module_get(digest: str):
    if not (text := modules.get(digest)): raise Problem("There is no such module.", status=404)
    return Response(text, media_type="text/javascript", headers={"cache-control": "max-age=31536000, immutable"})


# ─── in the browser ───

BOX_STYLE = """
html { color-scheme: light; background: #fff; color: #1c1c1a; font: 14px/1.5 system-ui, sans-serif } body { margin: 0 }
#root { padding: 1px 0; overflow-x: auto }
.problem { color: #b3261e; margin: .5rem; white-space: pre-wrap; font: 13px/1.5 system-ui }
"""
BOX_SCRIPT = """
const models = new Map(), root = document.getElementById("root"), texts = {}
const say = (head, buffers = []) => parent.postMessage({...head, buffers}, "*")
const isBinary = v => v instanceof ArrayBuffer || ArrayBuffer.isView(v)
const bytes = v => v instanceof ArrayBuffer ? v.slice(0) : v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength)
const same = (a, b) => a === b
  || !isBinary(a) && !isBinary(b) && typeof a === "object" && JSON.stringify(a) === JSON.stringify(b)
function apart(value, path, found) {  // the value without what is binary, which is pushed to found
  if (isBinary(value)) { found.push([path, bytes(value)]); return null }
  if (Array.isArray(value)) return value.map((v, i) => apart(v, [...path, i], found))
  if (value?.constructor !== Object) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, apart(v, [...path, k], found)]))
}
function together(state, paths = [], buffers = []) {
  paths.forEach((path, i) => {
    const at = path.slice(0, -1).reduce((o, k) => o[k], state)
    at[path.at(-1)] = new DataView(buffers[i])
  })
  return state
}
let told
function problem(error) {
  told ??= document.body.appendChild(Object.assign(document.createElement("div"), {className: "problem"}))
  told.textContent = error?.message ?? String(error)
}
addEventListener("error", e => problem(e.error ?? e.message))
addEventListener("unhandledrejection", e => problem(e.reason))
addEventListener("securitypolicyviolation", e => {
  if (/^https?:/.test(e.blockedURI)) problem(`It wants ${e.blockedURI}, and nothing is loaded from the network here.`)
})
class Model {
  constructor(id, state) { Object.assign(this, {id, state, heard: [], changes: {}, isBusy: false, isWanted: false, n: 0}) }
  get(name) { return this.state[name] }
  set(name, value) {  // another array is a change, even if it is equal: some write into the one that they got
    const given = typeof name === "object" ? name : {[name]: value}
    const moved = Object.entries(given).filter(([n, v]) => this.state[n] !== v)
    for (const [n, v] of moved) this.state[n] = this.changes[n] = v
    for (const [n, v] of moved) this.fire("change:" + n, this, v)
    if (moved.length) this.fire("change", this)
  }
  save_changes() { this.isWanted = true; this.flush() }
  flush() {
    if (this.isBusy || !this.isWanted || !Object.keys(this.changes).length) return
    const found = [], state = apart(this.changes, [], found)
    Object.assign(this, {changes: {}, isBusy: true, isWanted: false})
    say({model: this.id, method: "update", state, buffer_paths: found.map(f => f[0]), n: ++this.n}, found.map(f => f[1]))
  }
  send(content, callbacks, buffers = []) { say({model: this.id, method: "custom", content}, buffers.map(bytes)) }
  on(name, work, context) { for (const n of name.split(" ")) this.heard.push({n, work, context}) }
  off(name, work, context) {
    this.heard = this.heard.filter(h => name && h.n !== name || work && h.work !== work || context && h.context !== context)
  }
  fire(name, ...args) {
    for (const h of this.heard.filter(h => h.n === name)) {
      try { h.work.apply(h.context ?? this, args) } catch (e) { problem(e) }
    }
  }
  take(state) {  // what Python says is so
    const moved = Object.entries(state).filter(([n, v]) => !same(this.state[n], v))
    for (const [n, v] of moved) { this.state[n] = v; delete this.changes[n] }
    for (const [n, v] of moved) this.fire("change:" + n, this, v)
    if (moved.length) this.fire("change", this)
    if (moved.some(([n]) => n === "_esm" || n === "_css")) renew(this)
  }
  widget_manager = {get_model: async id => models.get(id.replace(/^IPY_MODEL_|^anywidget:/, ""))}
}
const host = {
  getModel: async ref => models.get(ref.replace(/^IPY_MODEL_|^anywidget:/, "")),
  async getWidget(ref) {
    const model = await host.getModel(ref)
    return {exports: await begun(model), render: ({el}) => view(model, el)}
  },
}
const invoke = (model, name, msg, {buffers = [], signal = AbortSignal.timeout(3000)} = {}) => new Promise((done, fail) => {
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-")
  const hear = (answer, parts) => { if (answer.id === id) { model.off("msg:custom", hear); done([answer.response, parts]) } }
  signal.addEventListener("abort", () => { model.off("msg:custom", hear); fail(signal.reason) })
  model.on("msg:custom", hear)
  model.send({id, kind: "anywidget-command", name, msg}, null, buffers)
})
const given = model => ({model, host, signal: model.ending.signal, experimental: {invoke: invoke.bind(null, model)}})
function begun(model) {  // its module, loaded and initialized, once
  return model.begun ??= (async () => {
    model.ending = new AbortController()
    model.ends = []
    if (model.get("_css")) {
      model.style ??= document.head.appendChild(document.createElement("style"))
      model.style.textContent = model.get("_css")
    }
    if (!model.get("_esm")) return {}
    const url = URL.createObjectURL(new Blob([texts[model.get("_esm")]], {type: "text/javascript"}))
    const module = await import(url)
    let made = module.default ?? module
    if (typeof made === "function") made = await made()
    if (!made.render && module.render) made = module
    model.ends.push(await made.initialize?.(given(model)))
    return made
  })()
}
async function view(model, el) {
  const made = await begun(model)
  model.ends.push(await made.render?.({...given(model), el}))
}
async function end(model) {
  if (!model.begun) return
  model.ending?.abort()
  for (const last of model.ends ?? []) try { await last?.() } catch (e) { problem(e) }
  model.begun = null
}
async function renew(model) {  // hot: the module has changed
  await end(model)
  model.heard = []
  if (model === shown) show(model)
}
let shown
async function show(model) {
  shown = model
  const el = document.createElement("div")
  root.replaceChildren(el)
  told?.remove()
  told = null
  try { await view(model, el) } catch (e) { problem(e) }
  say({do: "shown"})
  measure()
  setTimeout(measure, 300)
}
addEventListener("message", async ({data: m}) => {
  Object.assign(texts, m.texts)
  if (m.do === "open") {
    const isNew = !models.has(m.root)
    if (isNew) { for (const old of models.values()) await end(old); models.clear() }
    for (const one of m.models) {
      const state = together(one.state, one.buffer_paths, one.buffers), known = models.get(one.model)
      if (!known) models.set(one.model, new Model(one.model, state))
      else { known.isBusy = false; known.take(state); known.flush() }
    }
    if (isNew) for (const model of models.values()) if (model.id !== m.root) begun(model).catch(problem)
    return isNew && show(models.get(m.root))
  }
  if (m.do === "problem") problem(m.text)
  const model = models.get(m.model)
  if (m.do === "done" && model) { model.isBusy = false; model.flush() }
  if (m.do === "flush" || m.do === "done") if ([...models.values()].every(o => !o.isBusy)) say({do: "idle"})
  if (m.method === "update") model?.take(together(m.state, m.buffer_paths, m.buffers))
  if (m.method === "custom") model?.fire("msg:custom", m.content, m.buffers.map(b => new DataView(b)))
})
const measure = () => say({do: "height", height: Math.ceil(document.body.getBoundingClientRect().height)})
new ResizeObserver(measure).observe(document.body)  // which sleeps while the frame is out of sight
const asking = setInterval(() => shown ? clearInterval(asking) : say({do: "ready"}), 150)  // the page may not listen yet
say({do: "ready"})
"""
source_hash = lambda text: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
BOX = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Widget</title><style>{BOX_STYLE}</style></head>
<body><div id="root"></div><script type="module">{BOX_SCRIPT}</script></body></html>"""
# scripts may make code, as plots do; with no origin and no network there is nothing for it to reach
BOX_POLICY = (f"sandbox allow-scripts; default-src 'none'; script-src {source_hash(BOX_SCRIPT)} blob: 'unsafe-eval'; "
    "style-src 'unsafe-inline' blob: data:; img-src data: blob:; font-src data: blob:; media-src data: blob:; "
    "worker-src blob:; connect-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")


@rt("/widgets/box", methods=["GET"])
async def box_get():
    "The page inside a widget's frame."
    return Response(BOX, media_type="text/html", headers={"content-security-policy": BOX_POLICY})


styles.append("""
iframe.widget { display: block; width: 100%; height: 3rem; border: 0; border-radius: var(--radius, .4rem) }
""")
scripts.append("""
(() => {
const boxes = () => [...document.querySelectorAll("iframe.widget")]
const held = new WeakMap(), ready = new WeakSet(), texts = {}, coming = {}, idle = new WeakMap()
let socket, unsent = []
const pack = (head, buffers) => {
  const text = new TextEncoder().encode(JSON.stringify({...head, lengths: buffers.map(b => b.byteLength)}))
  return new Blob([new Uint32Array([text.length]), text, ...buffers])
}
const unpack = data => {
  const length = new DataView(data).getUint32(0, true)
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)))
  let at = 4 + length
  return {...head, buffers: head.lengths.map(n => data.slice(at, at += n))}
}
const send = (head, buffers = []) => {
  const message = pack(head, buffers)
  if (socket?.readyState === 1) return socket.send(message)
  unsent.push(message)
  if (!socket) connect()
}
function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/widgets")
  socket.binaryType = "arraybuffer"
  socket.onopen = () => { unsent.splice(0).forEach(m => socket.send(m)) }
  socket.onmessage = e => heard(unpack(e.data))
  socket.onclose = () => {
    socket = null
    unsent = []
    setTimeout(() => boxes().filter(b => ready.has(b)).forEach(b => send({open: b.dataset.widget})), 800)
  }
}
async function heard(m) {
  if (m.key && m.state) {
    const all = coming[m.key] ??= new Map()
    all.set(m.model, m)
    if (all.size < m.count) return
    delete coming[m.key]
    for (const one of all.values()) await fetched(one.state)
    for (const b of boxes()) if (b.dataset.widget === m.key && ready.has(b)) {
      held.set(b, new Set(all.keys()))
      b.contentWindow.postMessage({do: "open", root: m.root, models: [...all.values()], texts}, "*")
    }
    return
  }
  if (m.method === "update") await fetched(m.state)
  for (const b of boxes()) {
    if (!held.get(b)?.has(m.model) && b.dataset.widget !== m.key) continue
    if (m.problem) b.contentWindow.postMessage({do: "problem", text: m.problem}, "*")
    const isDone = m.problem || m.done !== undefined
    b.contentWindow.postMessage(isDone ? {do: "done", model: m.model} : {...m, texts}, "*")
  }
}
async function fetched(state) {
  const url = state._esm
  if (url && !texts[url]) texts[url] = await (await fetch(url)).text()
}
addEventListener("message", e => {
  const b = boxes().find(b => b.contentWindow === e.source), m = e.data
  if (!b) return
  if (m.do === "ready") { if (!ready.has(b) || !held.has(b)) send({open: b.dataset.widget}); ready.add(b) }
  else if (m.do === "height") b.style.height = Math.min(Math.max(m.height, 24), 4000) + "px"
  else if (m.do === "shown") b.dataset.shown = ""
  else if (m.do === "idle") idle.get(b)?.()
  else if (held.get(b)?.has(m.model)) { const {buffers, ...head} = m; send(head, buffers) }
})
document.addEventListener("htmx:confirm", e => {  // what was drawn last is there before the form is
  const own = [...e.detail.elt.querySelectorAll?.("iframe.widget") ?? []].filter(b => held.has(b))
  if (!own.length || e.detail.elt.tagName !== "FORM") return
  e.preventDefault()
  const still = own.map(b => new Promise(done => { idle.set(b, done); b.contentWindow.postMessage({do: "flush"}, "*") }))
  Promise.race([Promise.all(still), new Promise(done => setTimeout(done, 3000))]).then(() => e.detail.issueRequest(true))
})
})()
""")
