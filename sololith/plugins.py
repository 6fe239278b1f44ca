"""Plugins: find the files in apps/, load them, reload them when they are saved, keep a broken one from doing harm.

    loader.start(safe=False)         # load every apps/*.py; `safe` loads none
    loader.load("recipes")           # load, or load again; raises Problem and leaves what was live alone

A plugin is executed aside, in a thread with a time limit. Only if that works, no other plugin has its names, and
its tables fit, does it take the old one's place, in one step, between two requests. Otherwise its problem is shown
on a red card, and the version that was live stays live; after a restart that is the last good one from
apps/.versions/. One that was being loaded when the process died, twice, is left out until its file changes. This
does not confine what a plugin may do: it runs as you.
"""
import asyncio, contextlib, gc, hashlib, io, json, keyword, re, sys, threading, traceback
import types
from pathlib import Path
from typing import Any
import watchfiles
from starlette.concurrency import run_in_threadpool
from .base import *
from .chat import now_text
from .events import broadcaster, changed
from .fields import clip
from .forms import Sent, link_button
from .pipeline import describe, end_thread, in_thread
from .store import db
from .ui import broken_links, head

SECONDS = 8          # that a plugin may take to load
OUTPUT = 1_000_000   # characters that it may print meanwhile
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
MODULES = "sololith_apps."
sys.modules.setdefault(MODULES[:-1], types.ModuleType(MODULES[:-1])).__path__ = []  # pickle asks for the package too


class Loader:
    "What is in apps/, what of it is live, and why the rest is not."
    def __init__(self) -> None:
        self.broken: dict[str, Plugin] = {}  # plugins with a problem; an older version of them may be live
        self.files: dict[str, tuple[int, int]] = {}  # what of them was seen last
        self.turn = threading.Lock()

    def start(self, safe: bool = False) -> None:
        "Load all plugins, at the start. None of their problems stops the others, or us."
        mount()
        self.count_crashes()
        names = self.changed_files()
        for name in [] if safe else names: self.attempt(name)

    def attempt(self, name: str) -> None:
        "Load a plugin; where that fails and nothing of it is live, load its last good version instead."
        try: self.load(name)
        except Problem as e:
            shown = f"{clip(name, 255)}.py"  # a file's name may be bytes that are no text
            broken = self.broken[name] = Plugin(name, home.apps / shown)
            broken.error, broken.description = str(e), e.details
            on_loop(mount)
            if name not in plugins and (versions := self.versions(name)):
                try: self.load(name, versions[-1].read_text())
                except Problem: pass  # the card shows the newer problem
            broadcaster.publish({"apps": ["plugins"], "problem": f"{shown}: {e.what}"})

    def load(self, name: str, source: str | None = None) -> None:
        "Load apps/NAME.py, or another text in its place, and put it live. Raises Problem with `details`."
        with self.turn:
            path, is_file = home.apps / f"{name}.py", source is None
            check_name(name)
            if source is None:
                try: source = path.read_text()
                except (OSError, UnicodeDecodeError) as e:
                    raise Problem(f"{path.name} cannot be read: {e}.", fix="Save it as UTF-8 text.") from e
            text = f"{name} {digest(source)}"
            if self.crashes().get(text, 0) >= 2:
                raise Problem(f"{path.name} ended Sololith twice while it was loaded.",
                    fix="It is left out until you change it.")
            if (live := plugins.get(name)) and live.source == source and name not in self.broken: return
            plugin = Plugin(name, path)
            plugin.source = source
            marker, said, old_module = home.run / "loading", Said(), sys.modules.get(MODULES + name)
            marker.write_text(text)
            try:
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said): limited(self.execute, plugin)
            except BaseException as e:
                sys.modules.pop(MODULES + name, None)
                if old_module: sys.modules[MODULES + name] = old_module
                raise explained(e, path) from e
            finally: marker.unlink(missing_ok=True)
            if is_file:
                self.keep(name, source)
                self.broken.pop(name, None)
            on_loop(lambda: (plugins.update({name: plugin}), mount()))
            broadcaster.publish({"apps": ["plugins", *plugin.apps]})
            if live: gc.collect()  # what was live is full of cycles, which would lie about by the dozen

    def execute(self, plugin: Plugin) -> None:
        module = sys.modules[MODULES + plugin.name] = types.ModuleType(MODULES + plugin.name)
        module.__file__ = str(plugin.path)
        loading.set(plugin)
        exec(compile(plugin.source, str(plugin.path), "exec", dont_inherit=True), module.__dict__)
        plugin.description = (module.__doc__ or "").strip()
        self.check(plugin)  # before its tables are made: what is refused changes nothing
        for app in plugin.apps.values(): app.table.ready()

    def check(self, plugin: Plugin) -> None:
        "Refuse what another plugin has already: the first part of a path, and a tool's name, belong to one plugin."
        for first in firsts(plugin):
            if "{" in first:
                raise Problem(f"/{first} would answer for other plugins.",
                    fix="Begin the path with a word, such as the plugin's name.")
        names = lambda p: {f"/{first}" for first in firsts(p)} | {f"a tool {name}" for name in p.tools}
        for other in plugins.values():
            if other.name != plugin.name and (both := names(plugin) & names(other)):
                theirs = other.path.name if other.path else "Sololith itself"
                raise Problem(f"{plugin.path and plugin.path.name} and {theirs} both want {min(both)}.",
                    fix="Rename one: crud(Record, 'other_name'), @tool(name='other_name'), or another path.")

    def unload(self, name: str) -> None:
        self.broken.pop(name, None)
        gone = plugins.get(name)
        on_loop(lambda: (plugins.pop(name, None), mount()))
        sys.modules.pop(MODULES + name, None)
        broadcaster.publish({"apps": ["plugins", *(gone.apps if gone else ())]})

    # ─── versions and crashes ───

    def versions(self, name: str) -> list[Path]: return sorted((home.apps / ".versions" / name).glob("*.py"))

    def write(self, name: str, source: str | None, told: str = "") -> dict:
        "Make a text a plugin's file (None: take the file away); the journal entry, whose undo takes that back."
        check_name(name)
        was, verb = text_of_plugin(name), "remove" if source is None else "install"
        told = told or f"{'removed' if source is None else 'installed' if was is None else 'changed'} {name}"
        return db.change("plugins", None, dict(name=name, source=source, was=was, at=now_text()), verb, told)

    def keep(self, name: str, source: str) -> None:
        "Keep every text of a plugin that worked, numbered; one that was written by hand among its versions, too."
        last = db.first("SELECT source FROM plugins WHERE name=? ORDER BY id DESC", [name])
        was = last and last["source"]
        if was != source:
            db.execute("INSERT INTO plugins (name, source, was, at) VALUES (?,?,?,?)", [name, source, was, now_text()])
        kept = self.versions(name)
        if kept and kept[-1].stem.endswith(digest(source)): return
        folder = home.apps / ".versions" / name
        folder.mkdir(parents=True, exist_ok=True)
        number_ = int(kept[-1].stem.split("-")[0]) + 1 if kept else 1
        with replacing(folder / f"{number_:05}-{digest(source)}.py") as part: part.write_text(source)

    def crashes(self) -> dict[str, int]:
        "How often a text of a plugin has ended us."
        try: return json.loads((home.run / "crashes").read_text())
        except (OSError, ValueError): return {}

    def count_crashes(self) -> None:
        "A marker that is still there means that the process ended while that plugin was being loaded."
        marker, crashes = home.run / "loading", self.crashes()
        if not marker.exists(): return
        text = marker.read_text()
        (home.run / "crashes").write_text(json.dumps(crashes | {text: crashes.get(text, 0) + 1}))
        marker.unlink()

    async def watch(self) -> None:
        "Load what is saved, unload what is deleted, for as long as the server runs."
        async for _ in watchfiles.awatch(home.apps, recursive=False, step=50, debounce=200, rust_timeout=1000,
                yield_on_timeout=True):
            for name in self.changed_files():
                if (home.apps / f"{name}.py").exists(): await run_in_threadpool(self.attempt, name)
                else: await run_in_threadpool(self.unload, name)

    def changed_files(self) -> list[str]:
        """The plugins whose files are new, changed or gone since this was asked last. The watcher only says when to ask,
        at least once a second, so what it misses is found all the same."""
        before, self.files = self.files, {}
        for path in home.apps.glob("[!.]*.py"):
            try: facts = path.stat()
            except OSError: self.files[path.stem] = (0, 0)
            else: self.files[path.stem] = (facts.st_ctime_ns, facts.st_ino)
        gone = {n for n, p in plugins.items() if p.path and n not in self.files}  # it may have come and gone meanwhile
        return sorted({n for n in before.keys() | self.files.keys() if before.get(n) != self.files.get(n)} | gone)


loader = Loader()


# ─── the files, through the journal ───

db.openers.append(lambda: db.execute("CREATE TABLE IF NOT EXISTS plugins (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, "
    "source TEXT, was TEXT, at TEXT)"))


def text_of_plugin(name: str) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError): return (home.apps / f"{name}.py").read_text()


def follow_plugins(before: dict | None, after: dict | None) -> Any:
    row = after or before or {}
    now, new = (row["was"], row["source"]) if after else (row["source"], row["was"])
    path = home.apps / f"{row['name']}.py"
    if text_of_plugin(row["name"]) != now:
        raise Problem(f"{path.name} has changed since.", fix="See its versions on the page Plugins.", status=409)
    def put(source: str | None) -> None:
        if source is None: return path.unlink(missing_ok=True)
        with replacing(path) as part: part.write_text(source)
    put(new)
    return lambda: put(now)


db.followers["plugins"] = follow_plugins


def mount() -> None:
    "Make the routes of all that is live the site's, ours first."
    (broken_links.add if loader.broken else broken_links.discard)("/plugins")
    site.router.routes = [route for plugin in plugins.values() for route in plugin.web.router.routes]


def on_loop(step: Any) -> None:
    "Do something between two requests: on the server's loop, if it runs and we are on another thread."
    loop = broadcaster.loop
    try: here = asyncio.get_running_loop()
    except RuntimeError: here = None
    if not loop or not loop.is_running() or here is loop: step()
    else:
        done = threading.Event()
        loop.call_soon_threadsafe(lambda: (step(), done.set()))
        done.wait(5)


class Said(io.TextIOBase):
    "What a plugin prints while it is loaded: to standard error, as standard output is for data, and not without end."
    left = OUTPUT

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise Problem("It prints without end.", fix="Print in a handler, not at the top of the file.")
        return sys.__stderr__.write(text) if sys.__stderr__ else 0


def limited(work: Any, *args: Any) -> None:
    "Run `work` in a thread, for SECONDS at most; raises what it raised. An endless loop is ended from outside."
    outcome, thread = in_thread(work, *args)
    thread.join(SECONDS)
    if thread.is_alive():
        end_thread(outcome, thread, TimeoutError, 0.5)
        raise TimeoutError
    if error := outcome.exception(): raise error


def explained(error: BaseException, path: Path) -> Problem:
    "A plugin's failure as a Problem with the line in its file; the traceback is in `details`."
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    match error:
        case TimeoutError():
            line, what = None, f"It was not loaded within {SECONDS} seconds."
            fix = "Do long work in a handler or a pipeline, not at the top of the file."
        case SystemExit(): what, fix = "it asks to exit.", "Take sys.exit() out."
        case Problem(): what, fix = error.what, error.fix
        case _:
            what = f"{describe(error)}."
            fix = "Mend the file and save it: it is loaded again at once."
    shown = traceback.format_exception(error)
    return Problem(f"line {line}: {what}" if line else what, fix,
        details="".join(shown)[-6000:])


def check_name(name: str) -> None:
    "Refuse what is no name for a plugin."
    if not NAME.fullmatch(name) or name in sys.stdlib_module_names or name == "sololith" or keyword.iskeyword(name):
        raise Problem(f"{clip(name)} is not a name for a plugin.",
            fix="Use small letters, digits and _, and not the name of a Python module.")


def digest(source: str) -> str: return hashlib.sha256(source.encode()).hexdigest()[:12]
def firsts(plugin: Plugin) -> set[str]: return {r.path.strip("/").partition("/")[0] for r in plugin.web.router.routes}


# ─── the page ───

EXAMPLE = '''"Recipes: what we cook."
from sololith import *

@dataclass
class Recipe:
    title: str
    servings: int = 2
    course: Literal["starter", "main", "dessert"] = "main"
    is_cooked: bool = False

recipes = crud(Recipe)'''


def sending_button(text: str, url: str, cls: str = "quiet", confirm: str | None = None, **values: Any) -> FT:
    "A button that sends values, once for a double click, and where `confirm` asks first."
    return Button(text, cls=cls, hx_post=url, hx_vals=json.dumps(values), hx_confirm=confirm, hx_swap="none",
        hx_trigger=None if confirm else "click throttle:600ms")


def broken_cards() -> list[FT]:
    "A red card for each plugin with a problem."
    return [Div(H2(f"{p.path and p.path.name} has a problem"), P(p.error),
        P("Its last good version is live meanwhile.") if p.name in plugins else None,
        Details(Summary("Traceback"), Pre(p.description), id=f"trace-{p.name}") if p.description else None,
        Div(sending_button("Fix it with the model", f"/plugins/{clip(p.name)}", act="fix"),
            sending_button("Load it again", "/plugins", name=p.name),
            link_button("Versions", f"/plugins/{clip(p.name)}"), cls="row"), cls="card bad", role="alert")
        for p in loader.broken.values()]


@rt("/plugins", methods=["GET"])
async def plugins_get(req: Request):
    cards = [Div(H2(A(p.name, href=f"/plugins/{p.name}")), P(p.description, cls="muted") if p.description else None,
        P(*[A(a.title, href=f"/{a.name}", cls="chip") for a in p.apps.values()]), Small(str(p.path), cls="muted"),
        cls="card") for p in plugins.values() if p.path]
    example = Div(H2("Write an app" if cards else "No plugins yet"),
        P("Save this as ", Code(f"{home.apps}/recipes.py"), ": the app is there at once, in every open page."),
        Pre(EXAMPLE), cls="card")
    return *head("Plugins", link_button("New app", "/build?kind=app", "")), Div(*broken_cards(), *cards, example,
        cls="stack", id="plugin-list", hx_get="/plugins", hx_select="#plugin-list", hx_trigger=changed("plugins"),
        hx_swap="morph:outerHTML")


@rt("/plugins", methods=["POST"])
def plugins_load(form: Sent):
    name = str(form.get("name", ""))
    (home.run / "crashes").unlink(missing_ok=True)
    if name not in loader.broken: raise Problem(f"{name[:40]} has no problem.", fix="Nothing is to be done.")
    loader.attempt(name)
    return ""


link("Plugins", "/plugins")
