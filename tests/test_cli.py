"""The command line: every verb, through the running server and alone; how it answers, and how it fails.

Most tests call `main` in this process: for them a verb alone opens the workspace itself, and a verb beside a server
goes to that over loopback, as in a shell. What is about a process (exit status, pipes, two at once) starts processes.
"""
import contextlib
import contextvars
import csv
import fcntl
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import pytest
from helpers import ONEFILE, READY, ROOT, SOLOLITH, Server, chapter, cli, environment, wait_for

pytestmark = pytest.mark.xdist_group("cli")  # one worker, one server

cli_, base, plugins_ = chapter("cli"), chapter("base"), chapter("plugins")
SHOP = '''
"Shop."
from sololith import *

@dataclass
class Thing:
    title: str
    count: Annotated[int, Range(0, 99)] = 1
    is_sold: bool = False
    day: date | None = None

crud(Thing)
'''
VERBS = ["serve", "open", "new", "check", "journal", "undo", "export", "import", "backup", "restore", "onefile", "context", "doctor", "run", "ask", "tools", "call", "model", "mcp", "notebook"]


class Cli:
    "`sololith …` on one workspace, in this process: what it printed; its exit status has to be `status`."
    def __init__(self, workspace: Path, server: Server | None = None): self.workspace, self.server = workspace, server

    def __call__(self, *args: object, status: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        argv = [str(a) for a in args] + ["--workspace", str(self.workspace)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try: found = contextvars.copy_context().run(cli_.main, argv)
            except SystemExit as e: found = e.code
        assert found == status, (found, out.getvalue(), err.getvalue())
        assert (status == 0) == bool(out.getvalue()) and (status != 0) == bool(err.getvalue()), "data on standard output, errors on standard error"
        return out.getvalue() if status == 0 else err.getvalue()

    def json(self, *args: object): return json.loads(self(*args, "--json"))

    def things(self) -> list[dict]:
        file = self.workspace.parent / "things.json"
        self("export", file, "--app", "things")
        return json.loads(file.read_text())


def workspace_with_a_plugin(path: Path) -> Path:
    (path / "apps").mkdir(parents=True)
    (path / "apps" / "shop.py").write_text(SHOP)
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Server(workspace_with_a_plugin(tmp_path_factory.mktemp("cli") / "workspace")).start() as server:
        yield server
        assert "Traceback" not in server.log, server.log[-3000:]


@pytest.fixture(autouse=True)
def as_it_was():
    "What `main` changes in this process: the workspace, the umask, the plugins that are loaded."
    path, umask, live, broken, loop = base.home.path, os.umask(0o022), dict(base.plugins), dict(plugins_.loader.broken), chapter("events").broadcaster.loop
    os.umask(umask)
    chapter("events").broadcaster.loop = None
    yield
    base.home.at(path)
    os.umask(umask)
    chapter("events").broadcaster.loop = loop
    for old, now in ((live, base.plugins), (broken, plugins_.loader.broken)):
        now.clear()
        now.update(old)


@pytest.fixture(params=["alone", "server"])
def sololith(request, tmp_path) -> Cli:
    if request.param == "alone": return Cli(workspace_with_a_plugin(tmp_path / "workspace"))
    server = request.getfixturevalue("running")
    return Cli(server.workspace, server)


@pytest.fixture
def alone(tmp_path) -> Cli: return Cli(workspace_with_a_plugin(tmp_path / "workspace"))


# ─── how it answers

@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(alone, verb):
    text = alone(verb, "--help")
    example = re.search(r"^example: sololith (.+)$", text, re.M)
    assert example and (example[1].startswith(verb) or verb == "serve") and "--workspace" in text and "--json" in text
    assert len(text.splitlines()) > 6 and re.search(r"\n\n[A-Z][^\n]+", text), "and says what it does"


def test_the_help_lists_every_verb(alone):
    text = alone("--help")
    assert set(VERBS) == set(re.findall(r"^    (\w+) ", text, re.M)) and "example: sololith" in text


@pytest.mark.parametrize("args", [("journal", "-n", "many"), ("journal", "extra"), ("undo", "x"), ("import", "a.csv"), ("import",), ("new", "pipelin", "x"), ("export",), ("check",), ("doctor", "--nothing"), ("backup", "x", "y"), ("serve", "--port", "abc")])
def test_wrong_usage_is_status_2(alone, args):
    text = alone(*args, status=2)
    assert text.startswith("usage: sololith") and "error: " in text
    assert not (alone.workspace / "data.db").exists(), "nothing was done"


def test_exit_status_and_streams_of_a_real_process(running):
    fine, problem, usage = running.cli("journal", "-n", "1", "--json"), running.cli("undo", "99999999"), running.cli("journal", "-n", "many")
    assert (fine.returncode, problem.returncode, usage.returncode) == (0, 1, 2)
    assert isinstance(json.loads(fine.stdout), list) and fine.stderr == "" and problem.stdout == usage.stdout == ""
    assert problem.stderr == "sololith: There is no journal entry 99999999. See `sololith journal`.\n"


def test_a_problem_as_json(alone):
    assert json.loads(alone("undo", "77", "--json", status=1)) == {"problem": "There is no journal entry 77.", "fix": "See `sololith journal`."}


def test_version_is_said():
    found = cli("--version")
    assert found.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", found.stdout)


def test_a_reader_that_has_enough_is_no_error(running):
    for args in (["context"], ["journal", "-n", "100000", "--json"]):
        process = subprocess.Popen([*SOLOLITH, *args, "--workspace", str(running.workspace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        assert process.stdout and process.stderr
        process.stdout.close()  # as `| true` does
        assert (process.stderr.read(), process.wait(20)) == (b"", 0), args
        process.stderr.close()


# ─── import and export

def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_come_in_and_go_out_as_one_undo(sololith, tmp_path):
    before = sololith.things()
    told = sololith.json("import", write(tmp_path / "a.csv", "Title,Sold,Odd,count\nSoap,yes,x,3\nBrush,no,y,\n"), "--app", "things")
    assert (told["imported"], told["left_out"]) == (2, ["Odd"])
    new = sololith.things()[len(before):]
    assert [(r["title"], r["is_sold"], r["count"]) for r in new] == [("Soap", True, 3), ("Brush", False, 1)]
    out = tmp_path / "out.csv"
    assert sololith("export", out, "--app", "things").strip() == str(out)
    assert [r["title"] for r in csv.DictReader(out.open(newline=""))][-2:] == ["Soap", "Brush"]
    entry = sololith.json("journal", "--app", "things", "-n", "1")[0]
    assert (entry["id"], entry["verb"], entry["actor"], entry["cause"], entry["summary"]) == (told["entry"], "import", "cli", "sololith import", "imported 2 things")
    undone = sololith.json("undo")
    assert undone["summary"] == "undo: imported 2 things" and sololith.things() == before
    assert "redo: imported 2 things" in sololith("undo", "--redo") and len(sololith.things()) == len(before) + 2
    assert f"Entry {undone['id']} is undone already" in sololith("undo", undone["id"], status=1)
    assert sololith.json("undo")["verb"] == "undo" and sololith.things() == before
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("text,sentence", [
    ("title,count,day\nSoap,1,\nBrush,many,soon\n,1,\n", "2 of 3 rows do not fit; nothing was written. Line 3: count is 'many', which is not a whole number. Give a whole number such as 3. day is 'soon', which is not a date. Give a date such as 2026-12-24. Line 4: title is empty. Give a value. Mend them and try again."),
    ("a,b\n1,2\n", "No column of in.csv is a field of things. The fields are: title, count, is_sold, day."), ("", "This CSV has no rows under its first line. Its first line names the columns."),
    ("count\n1\n", "1 of 1 rows do not fit; nothing was written. Line 2: title is missing."), ("title,count\nSoap,100\n", "Line 2: count is 100. Give a value from 0 to 99."), ("[1]", "This JSON is not a list of objects.")])
def test_rows_that_do_not_fit_are_told_and_nothing_is_written(sololith, tmp_path, text, sentence):
    before = sololith.things()
    assert sentence in sololith("import", write(tmp_path / "in.csv", text), "--app", "things", status=1)
    assert sololith.things() == before


def test_files_and_apps_that_are_not_there_are_said_so(sololith, tmp_path):
    rows = write(tmp_path / "a.csv", "title\nx\n")
    for args, sentence in ((("import", tmp_path / "none.csv", "--app", "things"), "none.csv"), (("import", tmp_path, "--app", "things"), str(tmp_path)), (("import", rows, "--app", "thing"), "There is no app thing. Did you mean things?"),
                           (("export", tmp_path / "a.txt", "--app", "things"), "a.txt has no ending that says what it is to be. Use .csv or .json with --app, or .zip for everything."), (("export", tmp_path / "b.csv"), "Which app? Add --app."),
                           (("export", tmp_path / "no" / "b.csv", "--app", "things"), "b.csv"), (("export", tmp_path / "no" / "b.zip"), "b.zip"), (("export", tmp_path / "b.json", "--app", "nothing at all"), "There is no app nothing at all."),
                           (("journal", "--app", "thing"), "There is no app thing. Did you mean things?"), (("restore", tmp_path / "none.zip"), "none.zip"), (("restore", rows), "a.csv is damaged")):
        said = sololith(*args, status=1)
        assert sentence in said and re.fullmatch(r"sololith: .+[.:] [A-Z`].+[.?]\n", said), said
        assert "went wrong in Sololith" not in said
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".json" and p.name != "workspace") == ["a.csv"]


def test_a_relative_path_is_relative_to_the_shell_and_not_to_the_server(sololith, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sololith("export", "here.csv", "--app", "things")
    assert (tmp_path / "here.csv").exists()


# ─── journal and undo

def test_the_journal_is_printed_newest_last(sololith, tmp_path):
    for title in ("First", "Second"): sololith("import", write(tmp_path / "a.csv", f"title\n{title}\n"), "--app", "things")
    lines = sololith("journal", "-n", "2").splitlines()
    assert len(lines) == 2 and all(re.match(r" *\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  cli +things +imported 1 things", line) for line in lines)
    first, second = sololith.json("journal", "-n", "2")
    assert first["id"] < second["id"] and second["undone_by"] is None
    sololith("undo", second["id"])
    assert re.search(rf"^ *{second['id']}  .*\(undone by \d+\)$", sololith("journal", "-n", "2"), re.M)
    assert f"Entry {second['id']} is undone already" in sololith("undo", second["id"], status=1)


def test_a_workspace_in_which_nothing_happened_says_so(alone):
    assert alone("journal").strip() and alone.json("journal") == [] and "There is nothing to undo." in alone("undo", status=1) and "There is nothing to redo." in alone("undo", "--redo", status=1)


@pytest.mark.parametrize("entry", ["0", "99999999999999999999999999", "-3"])
def test_an_entry_that_cannot_be_is_said_so(sololith, entry):
    before = sololith.json("journal", "-n", "1")
    assert f"There is no journal entry {entry}." in sololith("undo", entry, status=1)
    assert sololith.json("journal", "-n", "1") == before


def test_any_number_of_entries_can_be_asked_for(sololith):
    assert sololith.json("journal", "-n", "0") == [] and isinstance(sololith.json("journal", "-n", "1000000"), list)
    assert re.match(r"sololith: .+\. .+\.$", sololith("journal", "-n", "9" * 30, status=1))


# ─── backup and restore

def test_a_backup_holds_everything_and_restore_brings_it_back(sololith, tmp_path):
    workspace = sololith.workspace
    (workspace / "files").mkdir(exist_ok=True)
    (workspace / "files" / "cat.txt").write_text("meow")
    sololith("import", write(tmp_path / "a.csv", "title\nKept\n"), "--app", "things")
    kept = sololith.things()
    made = Path(sololith("backup").strip())
    assert made.parent == workspace / "backups" and made.suffix == ".zip"
    with zipfile.ZipFile(made) as archive: assert {"data.db", "apps/shop.py", "files/cat.txt"} <= set(archive.namelist()) and not any("secret" in n or ".run" in n for n in archive.namelist())
    sololith("import", write(tmp_path / "b.csv", "title\nLost\n"), "--app", "things")
    (workspace / "files" / "cat.txt").unlink()
    told = sololith.json("restore", made)
    assert told["restored"] == str(made) and sololith.things() == kept and (workspace / "files" / "cat.txt").read_text() == "meow"
    with contextlib.closing(sqlite3.connect(told["kept"])) as aside: assert "Lost" in [r[0] for r in aside.execute("SELECT title FROM things")]
    whole = tmp_path / "all.zip"
    sololith("export", whole)
    assert zipfile.is_zipfile(whole)
    if sololith.server: assert sololith.server.get("/things").status == 200, "the server goes on"


def test_restore_loses_no_newer_plugin(alone, tmp_path):
    "What was there is kept aside: a plugin that was edited after the backup, too."
    made = alone("backup").strip()
    plugin = alone.workspace / "apps" / "shop.py"
    newer = SHOP + "\n# my evening's work, not even loaded once\n"
    plugin.write_text(newer)
    alone("restore", made)
    assert plugin.read_text() == SHOP
    assert newer in [p.read_text() for p in alone.workspace.rglob("*") if p.is_file() and "shop" in p.name], "the newer text is nowhere"


def test_restore_without_a_file_takes_the_newest_good_one(alone, tmp_path):
    alone("import", write(tmp_path / "a.csv", "title\nKept\n"), "--app", "things")
    made = Path(alone("backup").strip())
    broken = alone.workspace / "backups" / "2099-01-01T00-00-00.db"
    broken.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    os.utime(made, (time.time() - 60, time.time() - 60))
    assert alone.json("restore")["restored"] == str(made) and [r["title"] for r in alone.things()] == ["Kept"]


def test_restore_mends_a_damaged_workspace_and_keeps_the_damaged_file(alone, tmp_path):
    alone("import", write(tmp_path / "a.csv", "title\nKept\n"), "--app", "things")
    made = alone("backup").strip()
    file = alone.workspace / "data.db"
    file.write_bytes(b"x" * 16 + file.read_bytes()[16:])
    broken = file.read_bytes()
    assert "data.db is damaged" in (said := alone("journal", status=1)) and "`sololith restore`" in said
    told = alone.json("restore")
    assert told["restored"] == made and [r["title"] for r in alone.things()] == ["Kept"] and Path(told["kept"]).read_bytes() == broken


def bad_zip(path: Path, member: str = "", data: bytes = b"x", mode: int = 0o100644, database: bytes | None = b"no database") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        if database is not None: archive.writestr("data.db", database)
        if member:
            info = zipfile.ZipInfo(member)
            info.external_attr = mode << 16
            archive.writestr(info, data)
    return path


def test_a20_a_zip_of_100_001_members_is_refused_and_nothing_is_written(alone, tmp_path):
    before = alone("journal", "--json")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for n in range(100_001): archive.writestr(f"files/{n}", b"")
    assert "many.zip is too large." in alone("restore", tmp_path / "many.zip", status=1)
    assert alone("journal", "--json") == before and not [p for p in (alone.workspace / "files").iterdir() if p.name.isdigit()]


@pytest.mark.parametrize("member,mode,database", [
    ("../evil.py", 0o100644, b""), ("/etc/evil", 0o100644, b""), ("files/../../evil.py", 0o100644, b""), ("apps/x/evil.py", 0o100644, b""), (".run/secret", 0o100644, b""), ("files/link", 0o120777, b""), ("apps/evil.sh", 0o100755, b""),
    ("data.db-wal", 0o100644, b""), ("files/fine.txt", 0o100644, None), ("apps/shop.py", 0o100644, b"damaged"), ("files/fine.txt", 0o100644, b"damaged")])
def test_a_zip_that_is_no_backup_is_refused_and_nothing_is_written(alone, tmp_path, member, mode, database):
    alone("journal")
    good = Path(alone("backup").strip())
    if database == b"":
        with zipfile.ZipFile(good) as archive: database = archive.read("data.db")
    before = {p.relative_to(alone.workspace): p.read_bytes() for p in alone.workspace.rglob("*") if p.is_file() and ".run" not in p.parts and "data.db" not in p.name}
    said = alone("restore", bad_zip(tmp_path / "bad.zip", member, b"evil", mode, database), status=1)
    assert re.match(r"sololith: .+\. [A-Z].+\.$", said)
    assert {p.relative_to(alone.workspace): p.read_bytes() for p in alone.workspace.rglob("*") if p.is_file() and ".run" not in p.parts and "data.db" not in p.name} == before
    assert not (tmp_path / "evil.py").exists() and alone("journal")


# ─── new and check

TYPES = {"str": "text", "int": "int", "float": "float", "bool": "bool", "date": "date", "datetime": "datetime", "time": "time", "decimal": "decimal", "text": "long", "markdown": "markdown", "email": "email", "url": "url", "file": "file", "json": "json", "tags": "tags", "Profile": "relation", "low|high": "choice", "Decimal": "decimal", "Url": "url"}


@pytest.mark.parametrize("kind", [k if k in ("str", "bool", "tags", "Profile", "low|high") else pytest.param(k, marks=pytest.mark.soak) for k in TYPES])
def test_a_new_app_with_any_type_first_or_alone_loads(alone, kind):
    for n, fields in enumerate(([f"it:{kind}", "title"], [f"it:{kind}"])):
        path = alone("new", "crud", f"gadgets{n}s", *fields).strip()
        assert alone.json("check", path)["apps"][f"gadgets{n}s"]["it"] == TYPES[kind]


def test_a_new_app_with_every_type_in_any_order_loads(alone):
    names = {f"it{n}": kind for n, kind in enumerate(TYPES)}
    for n, order in enumerate((list(names), list(names)[::-1])):
        path = alone("new", "crud", f"gadgets{n}s", *(f"{name}:{names[name]}" for name in order)).strip()
        assert alone.json("check", path)["apps"][f"gadgets{n}s"] == {name: TYPES[names[name]] for name in order}


@pytest.mark.parametrize("name,record", [("recipes", "Recipe"), ("to_dos", "ToDo"), ("categories", "Category"), ("boxes", "Box"), ("classes", "Class"), ("dishes", "Dish"), ("news_items", "NewsItem"), ("sheep", "Sheep"), ("buses", ""), ("houses", "House"), ("addresses", "Address"), ("movies", "")])
def test_a_new_app_is_called_as_asked(alone, name, record):
    path = Path(alone("new", "crud", name).strip())
    assert path == alone.workspace / "apps" / f"{name}.py"
    told = alone.json("check", path)
    assert list(told["apps"]) == [name] and f"/{name}" in told["routes"]
    if record: assert f"class {record}:" in path.read_text()


def test_a_new_app_comes_alive_in_the_running_server(running):
    alive = Cli(running.workspace, running)
    alive("new", "crud", "gizmos", "title", "price:decimal", "state:new|used")
    wait_for(lambda: running.get("/gizmos").status == 200, what="the new app")
    assert running.post("/gizmos", {"title": "Lamp", "price": "9.90", "state": "used"}, HX_Request="true").status == 200
    assert [(r["title"], r["price"], r["state"]) for r in running.get("/gizmos/export.json").json()] == [("Lamp", "9.90", "used")]
    assert "exists. Choose another name, or edit that file." in alive("new", "crud", "gizmos", status=1)


@pytest.mark.parametrize("args,sentence", [
    (["Recipes"], "is not a name for a plugin"), (["../x"], "is not a name for a plugin"), (["os"], "not the name of a Python module"), (["class"], "is not a name for a plugin"), (["sololith"], "is not a name for a plugin"), (["a b"], "is not a name for a plugin"), (["1x"], "is not a name for a plugin"), ([""], "is not a name for a plugin"),
    (["tasks"], "tasks"), (["journal"], "journal"), (["plugins"], "plugins"), (["files"], "files"), (["shop"], "exists"),
    (["things2", "Title"], "is not a name for a field"), (["things2", "class"], "class is not a name for a field"), (["things2", "id"], "id is not a name for a field"), (["things2", "date:date"], "date is not a name for a field"), (["things2", "import:int"], "import is not a name for a field"), (["things2", "title", "str", "n:int"], "str is not a name for a field"),
    (["things2", "field", "x:tags"], "field is not a name for a field"), (["things2", "a:strr"], "strr is not a type of field. Did you mean str?"), (["things2", "a:list"], "list is not a type of field."), (["things2", "title", "title:int"], "title"), (["things2", "x:"], "") ])
def test_a_new_app_that_would_not_load_is_refused(alone, args, sentence):
    "Or else it loads: what is written never fails."
    before = sorted((alone.workspace / "apps").glob("*"))
    if sentence:
        said = alone("new", "crud", *args, status=1)
        assert sentence in said and re.match(r"sololith: .+\. .+\.$", said) and sorted((alone.workspace / "apps").glob("*")) == before
    else: assert alone.json("check", alone("new", "crud", *args).strip())["apps"]


@pytest.mark.parametrize("choices", ["low|high", "a b|c-d", "it's|\"so\"", "ä|日本", "1|2", "|", "a|", "None|True", "x" * 300 + "|y"])
def test_choices_of_any_kind_load(alone, choices):
    said = cli_.main(["new", "crud", "gadgets", "title", f"state:{choices}", "--workspace", str(alone.workspace)])
    if said == 0: assert alone.json("check", alone.workspace / "apps" / "gadgets.py")["apps"]["gadgets"]["state"] == "choice"
    else: assert not (alone.workspace / "apps" / "gadgets.py").exists()


def test_check_says_what_a_plugin_makes_or_what_is_wrong(alone, tmp_path):
    file = alone.workspace / "apps" / "shop.py"
    told = alone.json("check", file)
    assert {n: told[n] for n in ("plugin", "apps", "pipelines", "routes")} == {"plugin": "shop", "apps": {"things": {"title": "text", "count": "int", "is_sold": "bool", "day": "date"}}, "pipelines": {}, "routes": told["routes"]}
    for name, source, sentence in (("broken", '"x"\ndef f(:\n', "line 2: "), ("raising", "\n\n1/0\n", "line 3: ZeroDivisionError: division by zero."), ("exits", "import sys\nsys.exit(0)\n", "which is not among what a checked plugin may"), ("Bad-Name", "x = 1\n", "is not a name for a plugin"), ("os", "x = 1\n", "not the name of a Python module"),
                                   ("taker", SHOP.replace("class Thing", "class Task").replace("crud(Thing)", "crud(Task)"), "both want /tasks"), ("wrong", SHOP.replace("count: Annotated[int, Range(0, 99)]", "count: set"), "count is annotated with set, which cannot be asked for."), ("late", SHOP.replace("date | None", "dat | None"), "dat")):
        said = alone("check", write(tmp_path / f"{name}.py", source), status=1)
        assert said.startswith("sololith: ") and sentence in said, said
    assert "There is no file" in alone("check", tmp_path / "none.py", status=1)
    assert not (alone.workspace / "data.db").exists() and [p.name for p in (alone.workspace / "apps").iterdir()] == ["shop.py"], "the workspace was not touched"


# ─── the whole

def test_onefile_prints_one_file_that_runs(tmp_path):
    found = cli("onefile")
    file = write(tmp_path / "sololith.py", found.stdout)
    assert found.returncode == 0 and "# ═══ sololith/store.py" in found.stdout
    compile(found.stdout, str(file), "exec")
    if ONEFILE: assert found.stdout == ONEFILE.read_text()
    else: assert found.stdout == subprocess.run([*SOLOLITH[:1], str(ROOT / "scripts/onefile.py"), "join"], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_context_is_the_source_and_your_plugins(alone):
    text = alone("context")
    assert text.count("class BaseApp") == 1 and "# ═══ apps/shop.py (in the workspace)" in text and "class Thing" in text and text.startswith("# Sololith, ")


def test_doctor_tells_what_is_there(alone):
    rows = {row["what"]: row for row in alone.json("doctor")}
    assert {"sololith", "python", "sqlite", "workspace", "backups"} <= set(rows) and rows["workspace"]["found"] == str(alone.workspace) and all(set(r) == {"what", "found", "fix"} for r in rows.values())
    assert re.search(r"^sqlite +3\.", alone("doctor"), re.M)


# ─── serve and open

def test_a_second_sololith_prints_the_first_ones_address(running):
    second = subprocess.run([*SOLOLITH, str(running.workspace), "--no-open"], capture_output=True, text=True, timeout=30, env=environment())
    assert second.returncode == 0 and second.stderr == ""
    url = re.fullmatch(r"Sololith is running already\. It is at (http://\S+/launch\?token=\S+)\n", second.stdout)
    assert url and url[1].startswith(running.url) and running.process and running.process.poll() is None
    assert running.get("/" + url[1].split("/", 3)[3], Cookie=None, Sec_Fetch_Site="none").headers["Set-Cookie"].startswith(running.cookie.partition("=")[0])


def test_open_gives_a_new_launch_address_or_says_that_nothing_runs(running, alone):
    beside = Cli(running.workspace, running)
    first, second = (beside("open", "--no-open").strip() for _ in range(2))
    assert first != second and first.startswith(f"{running.url}/launch?token=")
    assert alone("open", "--no-open", status=1) == "sololith: Sololith is not running. Start it: sololith\n"


def test_serve_prints_one_line_and_ends_on_a_signal(start):
    server = start()
    assert len(server.output) == 1 and READY.match(server.output[0])
    beside = Cli(server.workspace, server)
    cookie = server.cookie
    old = server.secret
    beside("open", "--rotate", "--no-open")
    assert server.secret != old and server.get("/", Cookie=cookie).status == 401 and beside("journal"), "the command line goes on with the new secret"
    assert server.stop() == 0 and not server.log.strip()
    assert beside("journal"), "alone again"


def test_a_verb_waits_for_a_server_that_is_starting(running, tmp_path):
    "The lock is held before the address is written. Here the test holds it, and the address is another server's."
    run = tmp_path / "workspace" / ".run"
    run.mkdir(parents=True)
    with (run / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (run / "secret").write_text(running.secret)
        later = threading.Timer(0.5, lambda: (run / "url").write_text(f"http://127.0.0.1:{running.port}"))
        later.start()
        began = time.monotonic()
        assert isinstance(Cli(run.parent).json("journal", "-n", "1"), list) and time.monotonic() - began >= 0.5
        later.join()


def test_a_workspace_that_cannot_be_made_is_said_so(tmp_path):
    write(tmp_path / "file", "x")
    said = Cli(tmp_path / "file" / "inside")("journal", status=1)
    assert re.fullmatch(r"sololith: The workspace .+ cannot be written to: .+\. Give another folder, or make this one writable\.\n", said)


def test_the_command_line_needs_the_secret(running):
    "A browser's cookie is not enough, and a wrong secret says so."
    body = {"verb": "journal", "args": {}}
    assert running.post("/cli", json_data=body).status == 403
    assert running.post("/cli", json_data=body, Authorization="Bearer nonsense").status in (401, 403)
    assert running.post("/cli", json_data=body, Authorization=f"Bearer {running.secret}", Cookie=None).json()["result"] is not None
    for odd in ({"verb": "serve", "args": {}}, {"verb": "new", "args": {}}, {"verb": "nothing", "args": {}}, {"verb": "journal"}, [], 1, {"verb": ["a"], "args": {}}):
        assert running.post("/cli", json_data=odd, Authorization=f"Bearer {running.secret}").status in (400, 404), odd
    assert running.post("/cli", b"\xff{", Authorization=f"Bearer {running.secret}").status == 404


def test_alone_leaves_nothing_behind_that_stops_the_next_one(alone):
    alone("journal")
    alone("undo", status=1)
    assert alone("journal") and not (alone.workspace / ".run" / "url").exists()
    shutil.rmtree(alone.workspace / ".run")
    assert alone("journal")
