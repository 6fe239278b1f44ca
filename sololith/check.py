"""The check: what a plugin does, found out by doing it, where it can do no harm.

    report = examine("recipes", source)     # some two seconds; report.problems, report.done, report.reach

A plugin is parsed, linted and read for what it could reach; then a child process loads it into a workspace that is thrown
away, with the workspace's other plugins, and uses it as a person would: every page and form, records of made-up values
added, changed, deleted and brought back, each tool once, each pipeline from its first step to its last, and the plugin's
own `test_*` functions. The child has no secret, no network, no other program, and may write nothing outside its folder:
on Linux by Landlock and a system call filter, which are applied before the plugin is loaded; limits of processor, memory,
file size and time hold everywhere. Where something of it is not there, the report says so.

Not covered: what a plugin does later, or with other data. It is a trial, not a proof, and the person reads the difference.
"""
import ast, asyncio, builtins, ctypes, inspect, json, os, platform, re, secrets, shutil, signal, struct, subprocess, sys
import tempfile, threading, time as clock
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from collections.abc import Awaitable, Iterable
from .assets import static_folder
from .base import *
from .crud import BaseApp
from .fields import Field, clip
from .models import Ask, engine
from .pipeline import RESOURCES, Pipeline, describe, rows_of_run, start_run
from .plugins import check_name, explained, loader
from .runs import waited
from .store import db
from .tools import use
from .values import csv_of, load, rows_of

CHECK_SECONDS, CHECK_MEMORY, CHECK_FILE = 10, 700 << 20, 32 << 20
# What a plugin may import besides Sololith: what computes, and reaches nothing.
ALLOWED = set("""__future__ abc array ast base64 bisect calendar cmath collections colorsys contextlib copy csv dataclasses
    datetime decimal difflib enum fractions functools graphlib hashlib heapq html io itertools json locale math numbers
    operator pprint random re secrets statistics string struct textwrap time types typing unicodedata urllib.parse uuid
    xml.etree.ElementTree zlib zoneinfo sololith sololith_apps numpy
    pandas polars matplotlib altair plotly anywidget traitlets sklearn
    drawdata wigglystuff mopad itables""".split())
REACH = {"opens files": "open", "goes through folders and files": "Path", "uses the operating system": "os",
    "goes through the workspace's folders": "home", "runs text as code": "exec eval compile",
    "talks to the network": "httpx2", "reads web pages": "fetch", "asks the model": "ask Ask",
    "calls other tools": "use_tool", "goes to the database itself": "db", "reads and writes settings": "store",
    "drives a browser": "Browser", "runs JavaScript in the page": "Js Script", "writes HTML as it is": "NotStr Safe",
    "imports more as it runs": "__import__", "looks names up as it runs": "globals vars getattr",
    "looks into the running system": "sys modules sololith", "may read files and web pages": "pandas polars"}
HIDDEN_SIGNS = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\U000e0000-\U000e0fff]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass
class Report:
    "What a check found. `done`: (what was tried, how it went); `reach`: what it could do beyond its own records."
    problems: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)
    reach: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)   # what could not be tried, or not be kept in
    made: dict[str, Any] = field(default_factory=dict)  # apps and their fields, pipelines and their steps, routes
    trace: str = ""
    seconds: float = 0.0

    def text(self) -> str:
        "The report in lines."
        return "\n".join([*[f"PROBLEM  {p}" for p in self.problems], *[f"ok       {what}{f': {how}' * bool(how)}" for what,
            how in self.done], *[f"reach    it {r}" for r in self.reach], *[f"note     {n}" for n in self.notes]])


def visible(text: str) -> str:
    "A text in which signs that cannot be seen, or turn the writing around, are written out: ⟨U+202E⟩."
    return HIDDEN_SIGNS.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", text)


# ─── reading it ───

def read_source(source: str, report: Report) -> None:
    "Parse and lint; what of it is wrong, and what it could reach, goes into the report."
    try: compile(tree := ast.parse(source), "plugin", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        report.problems.append(f"line {getattr(e, 'lineno', 0) or 1}: {getattr(e, 'msg', None) or clip(e, 120)}.")
        return
    if HIDDEN_SIGNS.search(source):
        report.problems.append("There are signs in it that cannot be seen, or that turn the writing around: "
            + clip(visible(next(line for line in source.split("\n") if HIDDEN_SIGNS.search(line))), 120))
    used = set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Name(name): used.add(name)
            case ast.Attribute(_, name): used |= {name.lstrip("_")} & {"os", "open", "sys", "modules"}
            case ast.Import(found) | ast.ImportFrom(_, found):
                used |= {a.name for a in found}
                for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in found]:
                    if name not in ALLOWED and name.partition(".")[0] not in ALLOWED:
                        report.problems.append(f"line {node.lineno}: it imports {name or 'from beside itself'}, "
                            "which is not among what a checked plugin may.")
    report.reach += [told for told, names in REACH.items() if used.intersection(names.split())]
    report.problems += [f"line {line}: {what}" for line, what in lint(tree)]


def lint(tree: ast.Module) -> list[tuple[int, str]]:
    "What pyflakes finds, apart from names that come from the star import, and what is merely untidy."
    from pyflakes import checker, messages  # 40 ms, so only when something is checked
    found, ours = [], set(vars(sys.modules["sololith"]))
    own, known = set[str](), ours | set(dir(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(name, ast.Store()) | ast.FunctionDef(name) | ast.ClassDef(name): own.add(name)
            case ast.arg(_, ast.Call() as call):  # widget(W, "data"): a text there is no name
                call.args = [a for a in call.args if not isinstance(a, ast.Constant)]
                call.keywords = [k for k in call.keywords if not isinstance(k.value, ast.Constant)]
    for m in checker.Checker(tree).messages:
        name = str(m.message_args[0]) if m.message_args else ""
        if isinstance(m, messages.ImportStarUsage | messages.UndefinedName):
            if name in known: continue
            close = difflib.get_close_matches(name, own, 1, .75) or difflib.get_close_matches(name, known, 1, .75)
            found.append((m.lineno, f"{name} is not defined." + (f" Did you mean {close[0]}?" if close else "")))
        elif isinstance(m, messages.UndefinedLocal | messages.DuplicateArgument | messages.ReturnOutsideFunction
                | messages.ContinueOutsideLoop | messages.YieldOutsideFunction | messages.RedefinedWhileUnused):
            if name not in ours: found.append((m.lineno, f"{m.message % m.message_args}."))
    return found


# ─── confining the child (Linux) ───

# System calls that are refused, by machine: sockets, other programs, other processes, io_uring, mounts, keys, BPF.
# And what changes others' files without opening them, or other processes: modes, owners, times, marks, priorities, memory.
# By machine: its mark, what sets a filter, prlimit64 (only of itself), clone (threads are allowed), clone3 (answered: not
# there), and these.
MACHINES = {
    "x86_64": (0xC000003E, 317, 302, 56, 435,
        "41 42 49 57 58 59 62 101 155 165 200 234 250 272 304 308 310 311 317 321 322 323 424 425 426 427 434 438 29 64 "
        "68 90 91 92 93 94 132 141 144 188 189 190 197 198 199 203 235 240 251 260 261 268 280 314 452"),
    "aarch64": (0xC00000B7, 277, 261, 220, 435,
        "198 200 203 219 221 281 129 117 41 40 130 131 97 265 268 270 271 277 280 282 424 425 426 427 434 438 5 6 7 14 15"
        " 16 30 52 53 54 55 88 119 122 140 180 186 190 194 274 452")}


def confine(folder: Path, readable: Iterable[Path]) -> list[str]:
    "Shut this process in: it may write in `folder`, and read what Python needs. What could not be done, in words."
    import resource
    missing = []
    for kind, limit in (("CPU", CHECK_SECONDS), ("FSIZE", CHECK_FILE), ("NOFILE", 256), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (limit, limit))
    if sys.platform != "linux":
        return ["This system has no Landlock: the check ran without walls, with limits of time and file size only."]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + CHECK_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)   # PR_SET_NO_NEW_PRIVS
    libc.prctl(4, 0, 0, 0, 0)    # PR_SET_DUMPABLE: nobody looks in
    if not landlock(libc, folder, readable): missing.append("This Linux has no Landlock: files outside could be read.")
    if not deny_calls(libc): missing.append("This machine has no system call filter: the network could be reached.")
    return missing


def landlock(libc: Any, folder: Path, readable: Iterable[Path]) -> bool:
    "Files: reading below `readable`, all below `folder`, no others. Source: kernel.org, userspace-api/landlock."
    abi = libc.syscall(444, None, ctypes.c_size_t(0), 1)
    if abi < 1: return False
    handled = (1 << (16 if abi > 4 else 15 if abi > 2 else 14 if abi > 1 else 13)) - 1
    nets, scoped = 3 * (abi > 3), 3 * (abi > 5)
    rules = libc.syscall(444, struct.pack("QQQ", handled, nets, scoped), ctypes.c_size_t(8 + 8 * (abi > 3)
        + 8 * (abi > 5)), 0)
    if rules < 0: return False
    reading = 0b1101  # execute (libraries), read a file, list a folder
    for path, access in [*((p, reading) for p in readable), (folder, handled), (Path("/dev/null"), 0b110)]:
        if not path.exists(): continue
        at = os.open(path, os.O_PATH)
        if not path.is_dir(): access &= 0b111  # of a file: execute, write, read
        libc.syscall(445, rules, 1, struct.pack("=Qi", access, at), 0)
        os.close(at)
    return libc.syscall(446, rules, 0) == 0


def deny_calls(libc: Any) -> bool:
    "Refuse the calls of MACHINES with EPERM, in every thread. Source: kernel.org, userspace-api/seccomp_filter."
    if platform.machine() not in MACHINES: return False
    arch, seccomp, prlimit, clone, clone3, denied = MACHINES[platform.machine()]
    op = lambda code, value, yes=0, no=0: struct.pack("HBBI", code, yes, no, value)
    load, equal, at_least, bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse, allow, kill = 0x50001, 0x7FFF0000, 0x80000000
    steps = [op(load, 4), op(equal, arch, 1, 0), op(answer, kill), op(load, 0), op(at_least, 0x40000000, 0, 1),
        op(answer, kill), op(equal, clone3, 0, 1), op(answer, 0x50026),
        op(equal, clone, 0, 4), op(load, 16), op(bits, 0x10000, 1, 0), op(answer, refuse), op(answer, allow),
        op(equal, prlimit, 0, 4), op(load, 16), op(equal, 0, 1, 0), op(answer, refuse), op(answer, allow)]
    for call in map(int, denied.split()): steps += [op(equal, call, 0, 1), op(answer, refuse)]
    steps.append(op(answer, allow))
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    return libc.syscall(seccomp, 1, 1, program) == 0  # a filter, for all threads


# ─── the child ───

def examine(name: str, source: str, others: dict[str, str] | None = None, before: str = "", table: str = "") -> Report:
    """Check a plugin's text in a child process. `others`: the sources of plugins that are there beside it; `before`: what it
    was, whose tables are there already; `table`: a CSV text that its pipelines are tried on."""
    report, began = Report(), clock.monotonic()
    try: check_name(name)
    except Problem as e: report.problems.append(str(e))
    read_source(source, report)
    if not report.problems:
        here = Path(sys.modules["sololith"].__file__ or "")
        start = ["-m", "sololith"] if here.name == "__init__.py" else [str(here)]
        nonce, (ours, theirs) = secrets.token_hex(16), os.pipe()
        env = {n: v for n, v in os.environ.items() if n in ("PATH", "LANG", "LD_LIBRARY_PATH", "TZ", "PYTHONPATH")} | {
            "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
        if engine.library_path: env["LD_LIBRARY_PATH"] = engine.library_path
        if start[0] == "-m": env["PYTHONPATH"] = str(here.parents[1])
        asked = dict(name=name, source=source, others=others or {}, before=before, table=table, nonce=nonce)
        with tempfile.TemporaryDirectory(prefix="sololith-check-") as folder:
            if start[0] != "-m": shutil.copytree(static_folder(home.path), Path(folder, ".run", "static"))
            child: Any = subprocess.Popen([sys.executable, "-P", *start], cwd=folder,
                env=env | {"SOLOLITH_CHECK": str(theirs), "HOME": folder, "TMPDIR": folder, "SOLOLITH_HOME": folder,
                "MPLCONFIGDIR": folder},
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[theirs],
                start_new_session=True)
            os.close(theirs)
            killer = threading.Timer(CHECK_SECONDS, child.kill)
            killer.start()
            try:
                with contextlib.suppress(BrokenPipeError), child.stdin: child.stdin.write(json.dumps(asked).encode())
                with os.fdopen(ours, "rb") as answers: text = answers.read(4 << 20)
            finally:
                killer.cancel()
                child.kill()
                child.wait()
        read_answer(report, text, nonce, child.returncode, clock.monotonic() - began)
    report.seconds = round(clock.monotonic() - began, 1)
    return report


def read_answer(report: Report, text: bytes, nonce: str, ended: int, seconds: float) -> None:
    "What the child said: the lines up to the last that is whole; without its last word something ended it."
    doing = "it was started"
    for line in text.decode(errors="replace").split("\n"):
        mark, _, rest = line.partition(" ")
        if mark != nonce: continue
        try: said = json.loads(rest)
        except ValueError: break  # it was cut
        if "doing" not in said:
            report.problems += said["problems"]
            report.notes += said["notes"]
            report.done, report.made, report.trace = [tuple(d) for d in said["done"]], said["made"], said["trace"]
            return
        doing = said["doing"]
    if seconds >= CHECK_SECONDS - .2: why = f"It did not come to an end within {CHECK_SECONDS} seconds"
    elif -ended in (signal.SIGXCPU, signal.SIGKILL): why = "It took more processor time or memory than it may have"
    elif ended < 0: why = f"It crashed ({signal.Signals(-ended).name})"
    else: why = "It ended the process"
    report.problems.append(f"{why}, while {doing}.")


def check_child(fd: int) -> None:
    "The child's work: shut itself in, load the plugin, use it, say how that went, and end."
    asked = json.loads(sys.stdin.buffer.read())
    nonce, out, report = asked["nonce"], os.fdopen(fd, "w"), Report()
    def say(**what: Any) -> None: print(nonce, json.dumps(what), file=out, flush=True)
    home.at(Path.cwd()).make()
    root = Path(sys.modules["sololith"].__file__ or "").resolve()
    places = [Path(sys.prefix), Path(sys.base_prefix), root.parent if root.name == "__init__.py" else root,
        *map(Path, ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
            "/dev/urandom", "/sys/devices/system/cpu"))]
    places += [Path(p) for p in sys.path if p.endswith("-packages")]
    report.notes += confine(home.path, places)
    db.open(home.db)
    try: asyncio.run(trial(asked, report, lambda doing: say(doing=doing)))
    except BaseException as e: report.problems.append(f"It ended the check: {describe(e)}")
    say(problems=[p[:20_000] for p in report.problems[:20]], done=report.done, notes=report.notes, made=report.made,
        trace=report.trace)
    out.close()
    os._exit(0)


async def trial(asked: dict, report: Report, doing: Any) -> None:
    "Load a plugin, and use all that it has."
    name = asked["name"]
    for other, source in (asked["others"] | ({name: asked["before"]} if asked["before"] else {})).items():
        with contextlib.suppress(Problem): loader.load(other, source)
    vars(sys.modules["sololith"])["fetch"] = lambda url: "A made-up page.\n\nIt has two paragraphs, and 12 words."
    doing("it was loaded")
    before = set(all_apps()) | set(all_pipelines())
    try: await asyncio.to_thread(loader.load, name, asked["source"])
    except Problem as e:
        report.problems.append(str(e))
        report.trace = e.details
        return
    plugin = plugins[name]
    report.done.append(("it loads", ", ".join([*plugin.apps, *plugin.pipelines, *(t for t in plugin.tools
        if not plugin.tools[t].owner)]) or "it adds nothing to the menu"))
    report.made = dict(apps={n: {f.name: f.kind for f in app.fields.values()} for n, app in plugin.apps.items()},
        pipelines={n: list(made.steps) for n, made in plugin.pipelines.items()}, tools=sorted(plugin.tools),
        routes=sorted({r.path for r in plugin.web.router.routes}), new=sorted({*plugin.apps, *plugin.pipelines} - before))
    import httpx2
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=site), base_url="http://localhost") as web:
        async def step(what: str, work: Awaitable[str]) -> None:
            doing(what)
            try: report.done.append((what, await work))
            except Exception as e:
                if re.search("not permitted|ermission ?[dE]|ConnectError|name resol", f"{type(e).__name__} {e}"):
                    report.notes.append(f"{what}: it reaches outside, which could not be tried here.")
                else:
                    told = e if isinstance(e, Problem) else explained(e, home.apps / f"{name}.py").what
                    report.problems.append(f"{what}: {told}")
        async def page(path: str) -> str:
            answer = await web.get(path)
            if answer.status_code >= 400: raise Problem(f"{path} answers {answer.status_code}.")
            return ""
        for app in plugin.apps.values():
            if isinstance(app, BaseApp): await step(f"the app {app.name}", try_app(app, page))
        for path in sorted({r.path for r in plugin.web.router.routes if "GET" in (r.methods or ()) and "{" not in r.path}):
            if path.strip("/").split("/")[0] not in plugin.apps: await step(f"the page {path}", page(path))
        for made in plugin.pipelines.values(): await step(f"the pipeline {made.name}",
            try_pipeline(made, asked["table"] or sample_table(asked["source"]), report.made.setdefault("values", {})))
        for made in [t for t in plugin.tools.values() if not t.owner]:
            if made.asks: report.notes.append(f"the tool {made.name} asks first, so it was not tried.")
            else: await step(f"the tool {made.name}", try_tool(made))
        module = sys.modules[f"sololith_apps.{name}"]
        for n, test in list(vars(module).items()):
            if n.startswith("test_") and callable(test): await step(n, try_test(test))


def sample(f: Field, n: int = 0) -> Any:
    "A made-up value that fits a field; the n-th of several."
    if f.options: return None
    if f.asked: return f.asked.sample()
    if f.choices and f.kind != "tags": return list(f.choices)[n % len(f.choices)]
    if f.kind in ("int", "float", "decimal"):
        at, high = n + (3 if f.range.low is None else f.range.low), f.range.high
        return at if high is None else min(at, high)
    if f.kind == "relation":
        app: Any = next((a for a in all_apps().values() if getattr(a, "record", None) is f.record), None)
        if not app: return None
        rows = app.rows(limit=1)
        return rows[0]["id"] if rows else app.insert(**samples(app.fields, app.unasked())).id
    made = dict(bool=bool(n % 2), date=(date.today() + timedelta(n)).isoformat(), time="08:30",
        datetime=datetime.now().isoformat(" ", "minutes"), email=f"ada{n}@example.org", url=f"https://example.org/{n}",
        json='{"a": 1}', tags=list(f.choices)[:1] or ["red", "blue"], file="sample.csv")
    if f.kind in made: return made[f.kind]
    text = f"Sample {f.label.lower()}" + f" {n + 1}" * bool(n)
    return text if not f.pattern or re.fullmatch(f.pattern, text) else f.default if isinstance(f.default, str) else None


def samples(fields: Any, less: Iterable[str] = (), n: int = 0) -> dict[str, Any]:
    "Made-up values for fields; where none can be thought of, the default is left."
    found = {name: sample(f, n) for name, f in fields.items() if name not in less}
    return {name: value for name, value in found.items() if value is not None}


async def try_app(app: BaseApp, page: Any) -> str:
    "Every page and form of an app, and the life of two records."
    less = {*app.unasked(), *app.readonly}
    await page(app.url)
    ids = []
    for n in range(2):
        made = await asyncio.to_thread(app.insert, **samples(app.fields, less, n))
        ids.append(made.id)
        for path in (f"{app.url}/{made.id}", f"{app.url}/{made.id}/edit"): await page(path)
    if app.can_add: await page(f"{app.url}/new")
    for query in ("?q=sample", f"?sort={app.columns()[0]}", "/export.csv", "/export.json"): await page(app.url + query)
    for n, value in samples(app.fields, less, 1).items(): await asyncio.to_thread(app.update, id=ids[0], **{n: value})
    for kind, args in (("find", {}), ("delete", {"which": [str(ids[0])]})):
        if made := all_tools().get(f"{app.name}_{kind}"): await use(made, args, f"check {app.name} {kind}", "person")
    if ids[0] in app: await asyncio.to_thread(app.delete, ids[0])
    await asyncio.to_thread(db.undo)
    if ids[0] not in app: raise Problem("What was deleted did not come back by Undo.")
    await page(app.url)
    return f"its pages; {len(ids)} records added, changed, deleted, brought back"


class Made(Ask):
    "A model that is not there: an answer that fits what is asked for."
    async def is_ready(self) -> bool: return True
    async def answer(self, messages: list[dict], schema: dict | None, limit: int) -> str:
        return json.dumps(fitting(schema)) if schema else "A made-up answer."
    async def on_loop(self, work: Any) -> Any: return await work


class MadePage:
    "A page, and a browser, that is not there: whatever is done with it comes to something."
    url, profile, is_visible, per_second = "https://example.org/", "default", False, 0.0
    def __init__(self, job: Any = None): pass
    def __getattr__(self, name: str) -> Any:
        made = dict(open=self, tab=self, tables=[[{"column 1": "1", "column 2": "2"}]] * 20, has=False, links=[{"text": "A",
            "url": self.url}], visit={"title": "A page", "status": 200, "size": 100, "links": []}, download="sample.csv",
            screenshot="sample.csv", pdf="sample.csv")
        async def do(*_: Any, **__: Any) -> Any: return made.get(name, "A made-up page.")
        return do


def fitting(schema: Any) -> Any:
    "A value that fits a JSON Schema of the simple kind."
    if enum := schema.get("enum"): return enum[0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object": return {n: fitting(s) for n, s in schema.get("properties", {}).items()}
    if kind == "array": return [fitting(schema.get("items", {}))] * max(1, schema.get("minItems", 0))
    dates = {"date": "2026-01-31", "date-time": "2026-01-31 12:00", "time": "12:00", "email": "ada@example.org",
        "uri": "https://example.org"}
    return {"integer": schema.get("minimum", 3), "number": schema.get("minimum", 3), "boolean": True, "null": None}.get(
        str(kind), dates.get(schema.get("format", ""), "made-up"))


def columns_in(source: str) -> list[str]:
    "The columns of a table that a text of code names: row[“name”], row.get(“name”), a default of a column."
    return re.findall(r"""(?:\[|get\(|\bcolumn\w*: str = )["'](\w[\w ]*)["']""", source)


def sample_table(source: str) -> str:
    "A CSV file with columns that a pipeline may want: those of the apps that it adds to, and those that it names."
    columns: dict[str, list] = {}
    for name, app in all_apps().items():
        if isinstance(app, BaseApp) and f"{name}_add" in source:
            columns |= {n: [sample(f, i) for i in range(3)] for n, f in app.fields.items() if n not in app.unasked()}
    named = columns_in(source)
    for n in named or ([] if columns else ["name", "amount", "day"]):
        is_date = re.search("date|day|when|due", n, re.I)
        is_text = re.search("name|title|text|city|kind|type|categ|status|who", n, re.I)
        columns.setdefault(n, [f"2026-01-{i + 1:02}" if is_date else f"Sample {i}" if is_text else str(i + 1)
            for i in range(3)])
    table: Any = rows_of([{n: values[i] for n, values in columns.items()} for i in range(3)])
    return "".join(csv_of(table))


async def try_pipeline(made: Pipeline, table: str, values: dict[str, str]) -> str:
    "A run of a pipeline on a table, with made-up answers, from its first step to its last; what kind of value each gives."
    RESOURCES[Ask] = Made
    RESOURCES.update({kind: MadePage for kind in RESOURCES if kind.__name__ == "Browser"})
    (home.files / "sample.csv").write_text(table)
    given: dict[str, Any] = {"--yes": True}
    open_ = {n: f for n, f in made.asked.items() if f.kind == "file" or not callable(f.default) and f.blank() in (None,
        "", 0)}
    run = await asyncio.to_thread(start_run, made, given | samples(open_), "check", None, True)
    await waited(run)
    steps = rows_of_run(run)
    values |= {n: type(load(row["value"])).__name__ for n, row in steps.items() if row["value"]}
    for row in steps.values():
        if row["status"] == "failed": raise Problem(f"step {row['name']}: {row['error']}")
        if row["status"] == "waiting": raise Problem(f"step {row['name']} waits, for what could not be made up.")
    return f"all {len(steps)} steps: {', '.join(steps)}"


async def try_tool(made: Any) -> str:
    found = await use(made, samples({n: f for n, f in made.fields.items() if f.is_required}), f"check {made.name}", "person")
    return clip(found.text, 80)


async def try_test(test: Any) -> str:
    if needs := [p for p in inspect.signature(test).parameters.values() if p.default is p.empty]:
        raise Problem(f"it wants {needs[0].name}, and tests of a plugin take nothing.")
    if inspect.iscoroutinefunction(test): await test()
    else: await asyncio.to_thread(test)
    return ""
