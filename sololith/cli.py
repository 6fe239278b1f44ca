"""The command line: serve, and everything else that can be done to a workspace, through the running server or alone.

    sololith [WORKSPACE] [--port 5001] [--no-open] [--safe]
    sololith journal --app recipes -n 5          sololith undo
    sololith new crud recipes title servings:int course:starter|main|dessert

A verb is a function: its parameters are the arguments (keyword-only ones the flags), its docstring the help, what
it returns is printed. A `shared` verb is run in the server that owns the workspace (POST /cli with the secret),
else here with the lock held, so there is only ever one writer. Exit status: 0 done, 1 a problem, 2 wrong usage.
"""
import argparse, contextlib, hmac, http.client, inspect, json, os, platform, re, shutil, sys
import tempfile, time as clock, zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from collections.abc import Callable, Generator
from starlette.concurrency import run_in_threadpool
from . import __version__
from .base import *
from .builder import identifier, part_of, source_of
from .check import check_child, examine
from .crud import BaseApp, read_rows
from .events import broadcaster
from .fields import clip
from .models import engine
from .plugins import check_name, firsts, loader
from .server import open_page, owning, serve
from .source import context, whole_source
from .store import Damaged, actor, cause, db


class Verb(NamedTuple):
    work: Callable[..., Any]
    example: str
    is_shared: bool


VERBS: dict[str, Verb] = {}


def verb(example: str, shared: bool = False) -> Callable:
    "Make a function a verb, named like it."
    def add(work: Any) -> Any:
        VERBS[example.split()[0]] = Verb(work, example, shared)
        return work
    return add


def app_called(name: str) -> BaseApp:
    found = all_apps().get(name)
    if not isinstance(found, BaseApp):
        raise Problem(f"There is no app {clip(name)}.", fix=did_you_mean(name, all_apps()))
    return found


@verb("journal --app tasks -n 20", shared=True)
def journal_verb(*, app: str = "", n: int = 50) -> list[dict]:
    "What happened, newest last."
    if app and not db.one("SELECT 1 FROM journal WHERE app=?", [app]): app_called(app)
    return db.entries("part_of IS NULL" + (" AND +app=?" if app else ""), [app] if app else [], limit=n)[::-1]


@verb("undo 12", shared=True)
def undo_verb(entry: int | None = None, *, redo: bool = False) -> dict:
    "Take back a journal entry, by default the newest; or redo what was undone last."
    return db.undo(entry, redo)


@verb("export tasks.csv --app tasks", shared=True)
def export_verb(file: Path, *, app: str = "") -> str:
    "An app as .csv or .json, or the whole workspace as .zip."
    target = Path(file)
    if target.suffix == ".zip" and not app: return snapshot(target)
    if target.suffix not in (".csv", ".json"):
        raise Problem(f"{target.name} has no ending that says what it is to be.",
            fix="Use .csv or .json with --app, or .zip for everything.")
    if not app: raise Problem("Which app?", fix=f"Add --app. {did_you_mean('', all_apps())}")
    pieces = app_called(app).export(target.suffix[1:], {})
    with replacing(target) as part, part.open("w", newline="", encoding="utf-8") as out: out.writelines(pieces)
    return str(target)


@verb("import tasks.csv --app tasks", shared=True)
def import_verb(file: Path, *, app: str) -> dict:
    "Rows of a CSV or JSON file into an app: all or nothing, one undo."
    into = app_called(app)
    names, rows = read_rows(Path(file).read_bytes())
    mapping = into.fitting(names)
    if not mapping:
        raise Problem(f"No column of {Path(file).name} is a field of {app}.",
            fix=f"The fields are: {', '.join(into.fields)}.")
    good, bad = into.checked_rows(rows, mapping)
    if bad:
        told = " ".join(f"Line {line}: {why}" for line, why in bad[:20])
        raise Problem(f"{len(bad):,} of {len(rows):,} rows do not fit; nothing was written. {told}",
            fix="Mend them and try again.")
    return {"imported": len(good), "entry": into.import_rows(good),
        "left_out": [c for c in names if c not in mapping]}


@verb("backup", shared=True)
def backup_verb() -> str:
    "Everything (database, plugins, files) as one .zip in backups/."
    return snapshot(home.backups / f"{datetime.now():%Y-%m-%dT%H-%M-%S.%f}.zip")


def snapshot(target: Path) -> str:
    "The whole workspace as a zip file."
    try:
        with (replacing(target) as part, tempfile.TemporaryDirectory(dir=home.run) as folder,
                zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive):
            archive.write(db.copy_to(Path(folder) / "copy.db"), "data.db")
            for path in sorted([*home.apps.rglob("*.py"), *home.files.rglob("*")]):
                if path.is_file() and not path.is_symlink() and not path.name.endswith(".part"):
                    archive.write(path, path.relative_to(home.path))
    except OSError as e:
        raise Problem(f"{target} could not be written: {e.strerror}.",
            fix="Free some space, or give another place.", status=507) from e
    return str(target)


@verb("restore backups/2026-11-22T10-00-00.zip", shared=True)
def restore_verb(file: Path | None = None) -> dict:
    "Put a backup (.zip or .db; by default the newest good one) in the workspace's place; what was there is kept aside."
    backups = sorted([*home.backups.glob("*.db"), *home.backups.glob("*.zip")], key=lambda p: -p.stat().st_mtime)
    problem: Problem = Problem("There is no backup.", fix="Give a file.")
    for path in [Path(file)] if file else backups:
        try:
            with tempfile.TemporaryDirectory(dir=home.run) as folder:
                aside = db.restore(unpacked(path, folder) if zipfile.is_zipfile(path) else path)
                put_back(Path(folder), aside.with_name(f"{aside.name}.files"))
        except Problem as e: problem = e
        else:
            broadcaster.publish({"apps": ["plugins", *all_apps()]})
            return {"restored": str(path), "kept": str(aside)}
    raise problem


def unpacked(path: Path, folder: str) -> Path:
    "Unpack a workspace's zip into `folder`; where its database is then. Refuses anything else."
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        for m in members:
            is_ours = re.fullmatch(r"data\.db|apps/(\.versions/\w+/)?[\w.-]+\.py|files/.+", m.filename)
            is_link = (m.external_attr >> 16) & 0o170000 == 0o120000
            if not is_ours or is_link or {"", ".", ".."} & set(m.filename.split("/")):
                raise Problem(f"{path.name} holds {clip(m.filename)}.", fix="No backup does: nothing was written.")
        if len(members) > 100_000 or sum(m.file_size for m in members) > shutil.disk_usage(home.path).free:
            raise Problem(f"{path.name} is too large.", fix="Free some space. Nothing was written.")
        archive.extractall(folder, members)
    return Path(folder) / "data.db"


def put_back(folder: Path, aside: Path) -> None:
    "Put unpacked plugins and files in their places, and what differs there into `aside`."
    for path in [p for part in ("apps", "files") for p in (folder / part).rglob("*") if p.is_file()]:
        target, kept = home.path / path.relative_to(folder), aside / path.relative_to(folder)
        for place in (target, kept): place.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and target.read_bytes() != path.read_bytes(): os.replace(target, kept)
        os.replace(path, target)


@verb("open --rotate", shared=True)
def open_verb(*, rotate: bool = False, no_open: bool = False) -> str:
    "A new launch address for the running system, opened in the browser. --rotate shuts every browser out first."
    if not hasattr(site.state, "guard"): raise Problem("Sololith is not running.", fix="Start it: sololith")
    if rotate:
        site.state.guard.read_secret(rotate=True)
        broadcaster.hang_up()
    return site.state.guard.launch_url()


@rt("/cli", methods=["POST"])
async def cli_post(req: Request):
    "A verb, for the command line: only with the secret, never with a browser's cookie."
    if not hmac.compare_digest(req.headers.get("authorization", "").encode(),
            f"Bearer {site.state.guard.secret}".encode()):
        raise Problem("This is for the command line.", status=403)
    try: given = await req.json()
    except ValueError: given = None
    given = given if isinstance(given, dict) else {}
    found = VERBS.get(str(given.get("verb")))
    if not found or not found.is_shared or not isinstance(given.get("args"), dict):
        raise Problem("There is no such verb.", status=404)
    try: return JSONResponse({"result": await run_in_threadpool(perform, given["verb"], given["args"])})
    except OSError as e: raise no_file(e) from e


def no_file(e: OSError) -> Problem: return Problem(f"{e.strerror}: {e.filename}.", fix="Give another file.")


def perform(name: str, args: dict) -> Any:
    "Run a verb here."
    actor.set("cli")
    cause.set(f"sololith {name}")
    return VERBS[name].work(**args)


# ─── from the shell ───

def elsewhere(name: str, args: dict) -> Any:
    "Run a verb in the server that owns the workspace."
    for _ in range(100):  # it may be starting
        if (home.run / "url").exists(): break
        clock.sleep(0.1)
    try:
        connection = http.client.HTTPConnection((home.run / "url").read_text().removeprefix("http://"), timeout=600)
        connection.request("POST", "/cli", json.dumps({"verb": name, "args": args}),
            {"Authorization": f"Bearer {(home.run / 'secret').read_text()}", "Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise Problem(f"The running Sololith does not answer: {e}.", fix="Stop it and try again.") from e
    if "problem" in answer: raise Problem(answer["problem"], fix=answer["fix"])
    return answer["result"]


@contextlib.contextmanager
def calling(name: str) -> Generator[Callable[[str, dict], Any], None, None]:
    "What runs a shared verb where the workspace is open: in its server, or here, with the lock held."
    with owning() as is_ours:
        if not is_ours: return (yield elsewhere)
        try: db.open(home.db)
        except Damaged:
            if name != "restore": raise
        loader.start()
        try: yield perform
        finally: db.close()


@verb("new crud recipes title servings:int course:starter|main|dessert")
def new_verb(kind: Literal["crud", "pipeline"] | None = None, name: str | None = None,
        parts: list[str] = []) -> str:  # noqa: B006
    """Write a plugin that runs; what is not said is asked for. For crud a part is FIELD or FIELD:TYPE, for a pipeline STEP,
    STEP:FIELD or STEP:FIELD:TYPE, with a type of str, int, float, bool, date, datetime, time, decimal, text, markdown,
    email, url, file, json or tags, the name of a record class, or choices a|b; int? may be empty."""
    if name is None:
        if not sys.stdin.isatty(): raise Problem("It is not said what to make.", fix="Say: sololith new crud NAME FIELD …")
        kind, name, parts = asked_at_the_terminal(kind)
    path = new_plugin_file(name)
    spec: dict[str, Any] = dict(kind="app" if kind == "crud" else "pipeline", name=name, about="")
    if kind == "crud": spec["fields"] = [part_of(part) for part in parts or ["title"]]
    else:
        steps: dict[str, dict] = {}
        for part in parts or ["question:text:text", "answer"]:
            step, _, field = part.partition(":")
            made = steps.setdefault(step, dict(name=step, instruction="", asked=[]))
            if field: made["asked"].append(part_of(field))
        spec["steps"] = list(steps.values())
    names = [p["name"] for p in spec.get("fields", ())] + [n for s in spec.get("steps", ()) for n in (s["name"], *(f["name"]
        for f in s["asked"] if f["name"] != s["name"]))]
    for n in names:
        if identifier(n) != n or names.count(n) > 1:
            raise Problem(f"{clip(n)} is not a name for a field.",
                fix="Use small letters, digits and _, each name once; a date is better called due or day.")
    home.apps.mkdir(parents=True, exist_ok=True)
    path.write_text(source_of(spec))
    return str(path)


def new_plugin_file(name: str) -> Path:
    "Where a new plugin is to be written. Raises Problem for a name that is none, or is taken."
    check_name(name)
    path = home.apps / f"{name}.py"
    if name in firsts(system): raise Problem(f"/{name} is Sololith's own.", fix="Choose another name.")
    if path.exists(): raise Problem(f"{path} exists.", fix="Choose another name, or edit that file.")
    return path


def asked_at_the_terminal(kind: str | None) -> tuple[Any, str, list[str]]:
    "What `sololith new` makes, asked of the person who types."
    kind = kind or input("An app or a pipeline? [app] ").strip().lower() or "crud"
    kind, name, parts = "pipeline" if kind.startswith("p") else "crud", input("Its name: ").strip(), []
    print("Its steps, one a line, such as  topic:subject  or  verses:" if kind == "pipeline" else
        "Its fields, one a line, such as  title  or  servings:int  or  course:starter|main", "An empty line ends it.",
        sep="\n")
    while part := input("  ").strip(): parts.append(part)
    return kind, name, parts


@verb("check apps/recipes.py")
def check_verb(file: Path, *, as_json: bool = False) -> Any:
    """Try a plugin out where it can do no harm: what it makes, does, and could reach, beside the workspace's other plugins.
    Raises Problem where it has one."""
    path, others = Path(file), {}
    if not path.is_file(): raise Problem(f"There is no file {path}.", status=404)
    try:
        source = path.read_text()
        others = {p.stem: p.read_text() for p in home.apps.glob("[!.]*.py") if p.stem != path.stem}
    except UnicodeDecodeError as e: raise Problem(f"A file cannot be read: {e}.", fix="Save it as UTF-8 text.") from e
    report = examine(path.stem, source, others)
    if report.problems: raise Problem(report.problems[0], fix="\n".join(report.problems[1:]) or "Mend it, and check again.")
    return {"plugin": path.stem} | report.made | asdict(report) if as_json else report.text()


@verb("doctor")
def doctor_verb() -> list[dict]:
    "What is installed, found and missing, and how to get it."
    import apsw
    browser = next(filter(shutil.which, ("chromium", "google-chrome", "firefox")), "the system's own")
    can_write = os.access(home.path if home.path.exists() else home.path.parent, os.W_OK)
    found = dict(sololith=__version__, python=platform.python_version(), sqlite=apsw.sqlite_lib_version(),
        workspace=str(home.path), browser=browser, backups=str(len(list(home.backups.glob("*.*")))))
    return [*(dict(what=n, found=v, fix="It cannot be written to." if n == "workspace" and not can_write else "")
        for n, v in found.items()), *(check() for check in checks)]


checks: list[Callable[[], dict]] = []  # what later chapters look for


@verb("onefile > sololith.py")
def onefile_verb() -> str:
    "The whole framework as one file: this file, if it is that; else joined from the chapters."
    return whole_source()


@verb("context --budget 32000 | head")
def context_verb(*, budget: int = 0) -> str:
    """The framework, the workspace's plugins and the API page as one prompt, with its token count. --budget N leaves out,
    down to their docstrings, the built-in apps, then the chapters that a plugin has least to do with, until it fits."""
    return context(budget)


def shown(data: Any) -> str:
    "A verb's data for a person: a line an item."
    match data:
        case []: return "Nothing yet."
        case {"summary": _}: return shown([data])
        case [{"summary": _}, *_]:
            return "\n".join(
                f"{e['id']:>6}  {datetime.fromisoformat(e['at']).astimezone():%Y-%m-%d %H:%M:%S}  {e['actor']:<8} "
                f"{e['app']:<12} {e['summary']}" + (f"  (undone by {e['undone_by']})" if e["undone_by"] else "")
                for e in data)
        case [{"signature": _}, *_]:
            return "\n".join(f"{r['signature']}\n    {r['about']}{' It asks for approval.' * r['asks']}" for r in data)
        case [{"found": _}, *_]: return "\n".join(f"{r['what']:<10} {r['found']}  {r['fix']}" for r in data)
        case dict(): return "\n".join(f"{k}: {v}" for k, v in data.items())
    return str(data)


@verb("serve ~/sololith --no-open")
def serve_verb(folder: str = "", *, port: int = 5001, no_open: bool = False, safe: bool = False,
        get_model: bool = False) -> str | int:
    """Start the system on the workspace FOLDER and open it in the browser; --safe loads no plugins, --get-model fetches a
    language model where there is none. This is what happens without a verb. Where it runs already, its page is opened."""
    status = serve(port, not no_open, safe, get_model)
    if status != 3: return status
    url = elsewhere("open", {})
    if not no_open: open_page(url)
    return f"Sololith is running already. It is at {url}"


def arguments() -> argparse.ArgumentParser:
    "The parser of all verbs, from their signatures."
    parser = argparse.ArgumentParser("sololith",
        description="One system for one person on one machine. `sololith VERB --help` tells more of a verb.",
        epilog="example: sololith ~/sololith --port 5001")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (work, example, _) in VERBS.items():
        if "." in name: continue  # what other verbs are made of
        sub = verbs.add_parser(name, help=(work.__doc__ or "").partition(". ")[0].rstrip("."),
            description=work.__doc__, epilog=f"example: sololith {example}")
        sub.add_argument("--workspace", help="the folder (default: $SOLOLITH_HOME or ~/sololith)")
        sub.add_argument("--json", action="store_true", help="print data as JSON")
        for p in inspect.signature(work).parameters.values():
            if p.name == "as_json": continue  # it is told
            flag = f"{'--' if len(p.name) > 1 else '-'}{p.name.replace('_', '-')}"
            needed, hint = p.default is p.empty, p.annotation
            given: Any = dict(default=None if needed else p.default, type=int if hint in (int, int | None) else str)
            if hint is bool: sub.add_argument(flag, action="store_true")
            elif p.kind is p.KEYWORD_ONLY: sub.add_argument(flag, required=needed, **given)
            elif p.name == "rest": sub.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
            else:
                sub.add_argument(p.name, nargs="*" if hint == list[str] else None if needed else "?",
                    choices=[a for h in (hint, *getattr(hint, "__args__", ())) for a in getattr(h, "__args__", ())
                        if isinstance(a, str)] if p.name == "kind" else None, **given)
    return parser


def main(argv: list[str] | None = None) -> int:
    "The command line; its exit status."
    if fd := os.environ.pop("SOLOLITH_CHECK", ""): check_child(int(fd))  # the child of a check
    # Nix sets it for us; our children must not inherit it (a browser), but for the engine
    engine.library_path = os.environ.pop("LD_LIBRARY_PATH", "")
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in (*VERBS, "-h", "--help", "--version"): argv = ["serve", *argv]
    args = vars(arguments().parse_args(argv))
    name, as_json, folder = args.pop("verb"), args.pop("json"), args.pop("workspace")
    if folder := args.get("folder") or folder: home.at(folder)
    if "as_json" in inspect.signature(VERBS[name].work).parameters: args["as_json"] = as_json
    if args.get("file"): args["file"] = str(Path(args["file"]).expanduser().absolute())  # the server stands elsewhere
    try:
        if VERBS[name].is_shared:
            with calling(name) as call: result = call(name, args)
        else: result = VERBS[name].work(**args)
        if name == "open" and not args["no_open"]: open_page(result)
        text = json.dumps(result, ensure_ascii=False) if as_json else shown(result)
        if not isinstance(result, int): print(text, end="" if text.endswith("\n") else "\n", flush=True)
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has enough
        return 0
    except (Problem, OSError) as e:
        p = no_file(e) if isinstance(e, OSError) else e
        print(json.dumps({"problem": p.what, "fix": p.fix}) if as_json else f"sololith: {p}", file=sys.stderr)
        return 1
    except KeyboardInterrupt: return 130
