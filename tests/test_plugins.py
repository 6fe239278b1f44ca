"""A bad plugin harms nothing: threats C1 (what can be stood in one process), C5, C6 and C7, driven from outside."""
import contextlib
import html
import importlib
import json
import os
import re
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ONEFILE, Server, cli, wait_for

GOOD = '''
"Goods: what is in store. This is version {version}."
from sololith import *

@dataclass
class Good:
    title: str

goods = crud(Good)

@rt("/version", methods=["GET"])
async def version(): return Response("version {version}")
'''
BAD = {  # what the file says, and what its red card has to say
    "a syntax error": ('"Bad."\nfrom sololith import *\n\ndef broken(:\n', "line 4", "SyntaxError"),
    "an indentation error": ('"Bad."\ndef broken():\nreturn 1\n', "line 3", "IndentationError"),
    "raise": ('"Bad."\nfrom sololith import *\n\n\nraise ValueError("no good")\n', "line 5", "ValueError: no good"),
    "raise in a function": ('"Bad."\n\ndef inner():\n    return 1 / 0\n\ninner()\n', "line 4", "ZeroDivisionError"),
    "an unknown module": ('"Bad."\nimport nothing_of_that_name\n', "line 2", "nothing_of_that_name"),
    "an unknown name": ('"Bad."\nfrom sololith import *\ncurd(Record)\n', "line 3", "curd"),
    "a Problem": ('"Bad."\nfrom sololith import *\n\nraise Problem("The sky is low.", fix="Wait.")\n', "line 4", "The sky is low."),
    "sys.exit": ('"Bad."\nimport sys\nsys.exit(0)\n', "line 3", "asks to exit"),
    "exit()": ('"Bad."\nraise SystemExit\n', "line 2", "asks to exit"),
    "KeyboardInterrupt": ('"Bad."\nraise KeyboardInterrupt\n', "line 2", "KeyboardInterrupt"),
    "endless recursion": ('"Bad."\ndef again(): return again()\n\nagain()\n', "line 2", "RecursionError"),
    "an error that cannot be said": ('"Bad."\nclass Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd\n', "line 4", "Odd"),
    "a field that cannot be asked for": ('"Bad."\nfrom sololith import *\n\n@dataclass\nclass Odd:\n    title: bytes\n\ncrud(Odd)\n', "line 8", "bytes"),
    "NUL": ('"Bad."\n\0\n', "", "null"),
    "a page of output without end": ('"Bad."\nfor _ in range(100):\n    print("x" * 1_000_000)\n', "line 3", "prints without end"),
    "100 MB of output in small pieces": ('"Bad."\nimport sys\nfor _ in range(1_000_000): sys.stderr.write("x" * 100 + "\\n")\n', "line 3", "prints without end"),
}


@pytest.fixture(scope="module")
def T(tmp_path_factory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("plugins") / "workspace"
    with Server(workspace).start() as server: yield server


@pytest.fixture
def here(T) -> Iterator[Server]:
    "The module's server; every plugin is taken out of it again."
    yield T
    for path in (T.workspace / "apps").glob("*.py"): path.unlink()
    wait_for(lambda: plugin_names(T) == [] and not cards(T), 15, "an empty apps/")


def save(server: Server, name: str, source: str | bytes) -> float:
    "Save a plugin as an editor does that saves safely; when."
    half = server.workspace / "apps" / f".{name}.part"
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(source if isinstance(source, bytes) else source.encode())
    half.replace(server.workspace / "apps" / f"{name}.py")
    return time.monotonic()


def cards(server: Server) -> dict[str, str]:
    "The red cards: the file's name, and all that the card says."
    found = re.findall(r'<div[^>]*class="card bad"[^>]*>(.*?)Versions</a></div></div>', server.get("/plugins").text, re.S)
    texts = [html.unescape(re.sub(r"<[^>]+>", "\n", card)) for card in found]
    return {text.partition(" has a problem")[0].strip(): text for text in texts}


def plugin_names(server: Server) -> list[str]: return re.findall(r'<div class="card"><h2><a[^>]*>(\w+)</a></h2>', server.get("/plugins").text)


def card(server: Server, file: str, holds: str = "", limit: float = 10) -> str:
    return wait_for(lambda: (text := cards(server).get(file)) and holds in text and text, limit, f"a red card for {file} that says {holds!r}")


@contextlib.contextmanager
def responsive(server: Server, beside: Server, limit: float = 200, path: str = "/tasks"):
    """Ask for a page all the while: 95 of 100 answers come within `limit` ms.

    `beside` is a server that does nothing else, asked in turn: where even that takes long, the machine is what is
    slow, and five times as long is what can be asked for.
    """
    took: dict[Server, list[float]] = {server: [], beside: []}
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.01):
            for one in took:
                start = time.perf_counter()
                assert one.get(path).status == 200
                took[one].append((time.perf_counter() - start) * 1000)

    asking = threading.Thread(target=ask)
    asking.start()
    try: yield
    finally:
        stop.set()
        asking.join(30)
    assert len(took[server]) >= 5 and not asking.is_alive()
    here, there = (statistics.quantiles(took[one], n=20)[-1] for one in (server, beside))
    assert here < max(limit, 5 * there), f"{len(took[server])} requests: p95 {here:.0f} ms, of an idle server {there:.0f} ms; the slowest {sorted(took[server])[-5:]}"


# ─── C1: plugins that do not load ───

def test_c1_each_bad_plugin_gets_a_red_card_with_file_line_and_traceback_and_harms_nothing(here, shared_server):
    with responsive(here, shared_server):
        for what, (source, line, said) in BAD.items():
            name = "bad_" + re.sub(r"\W+", "_", what).lower().strip("_")
            start = save(here, name, source)
            text = card(here, f"{name}.py")
            assert time.monotonic() - start < 10
            assert said in text and line in text, f"{what}: {text}"
            if "NUL" not in what: assert "Traceback" in text and (f'{name}.py", {line}' in text or "Problem" in text), f"{what}: {text}"
            assert here.post("/tasks", {"title": f"After {what}"}).status == 200
    shown = here.get("/").text
    assert shown.count("has a problem") == len(BAD), "the front page shows them too"
    assert re.search(r'aria-hidden="true">!</span>Plugins', shown), "and the navigation marks the page that explains them"
    assert here.process.poll() is None and len(here.log) < 5_000_000
    assert here.output == [line for line in here.output if line.startswith("Sololith is at")], "standard output is for the address only"


def test_c1_an_endless_loop_is_rejected_within_ten_seconds_and_ended(here, shared_server):
    with responsive(here, shared_server):
        start = save(here, "endless", '"Endless."\nwhile True: pass\n')
        text = card(here, "endless.py", limit=12)
        assert time.monotonic() - start < 10 and "seconds" in text
    def cpu() -> int: return sum(map(int, Path(f"/proc/{here.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    if sys.platform == "linux":
        wait_for(lambda: (before := cpu(), time.sleep(0.3), cpu() - before)[2] < 10, 5, "the loop to end")  # ticks of 10 ms: idle again
    save(here, "goods", GOOD.format(version=1))
    wait_for(lambda: here.get("/version").text == "version 1", what="the next plugin to load as ever")


def test_c1_the_last_good_version_stays_live_also_after_a_restart(start, workspace):
    server = start()
    save(server, "goods", GOOD.format(version=1))
    wait_for(lambda: server.get("/version").text == "version 1")
    assert server.post("/goods", {"title": "Kept"}).status == 200
    for what in ("a syntax error", "raise", "sys.exit", "a page of output without end"):
        save(server, "goods", BAD[what][0])
        text = card(server, "goods.py", BAD[what][2])
        assert "last good version is live" in text, what
        assert server.get("/version").text == "version 1" and "Kept" in server.get("/goods").text
        assert server.post("/goods", {"title": f"While there is {what}"}).status == 200
    for kill in (False, True):
        server.restart(kill=kill)
        assert "last good version is live" in card(server, "goods.py", "prints without end")
        assert server.get("/version").text == "version 1" and "Kept" in server.get("/goods").text
        assert server.post("/goods", {"title": "After a restart"}).status == 200
    save(server, "goods", GOOD.format(version=2))
    wait_for(lambda: server.get("/version").text == "version 2")
    assert cards(server) == {} and "Kept" in server.get("/goods").text
    assert [p.name.partition("-")[0] for p in sorted((workspace / "apps" / ".versions" / "goods").iterdir())] == ["00001", "00002"]


def test_c1_a_second_bad_version_shows_its_own_problem(here):
    save(here, "twice", BAD["raise"][0])
    card(here, "twice.py", "no good")
    save(here, "twice", BAD["sys.exit"][0])
    assert "no good" not in card(here, "twice.py", "asks to exit")


def test_a_deleted_plugin_is_unloaded_whole_and_its_records_are_kept(here):
    save(here, "goods", GOOD.format(version=1))
    wait_for(lambda: here.get("/version").status == 200)
    here.post("/goods", {"title": "Still there"})
    assert 'href="/goods"' in here.get("/nav").text
    (here.workspace / "apps" / "goods.py").unlink()
    wait_for(lambda: here.get("/version").status == 404)
    assert here.get("/goods").status == 404 and here.post("/goods", {"title": "No"}).status == 404
    assert 'href="/goods"' not in here.get("/").text and "goods" not in plugin_names(here)
    save(here, "goods", GOOD.format(version=1))
    wait_for(lambda: here.get("/goods").status == 200)
    assert "Still there" in here.get("/goods").text


def test_the_card_of_a_deleted_plugin_goes_with_it(here):
    save(here, "bad", BAD["raise"][0])
    card(here, "bad.py")
    (here.workspace / "apps" / "bad.py").unlink()
    wait_for(lambda: cards(here) == {})
    assert "has a problem" not in here.get("/").text


def test_a_plugin_that_is_renamed_moves(here):
    save(here, "goods", GOOD.format(version=1))
    wait_for(lambda: here.get("/version").status == 200)
    (here.workspace / "apps" / "goods.py").rename(here.workspace / "apps" / "wares.py")
    wait_for(lambda: plugin_names(here) == ["wares"] and not cards(here))
    assert here.get("/version").status == 200


@pytest.mark.parametrize("source", [b"\xff\xfe\x00bad", "\ufeff\"Good.\"\n".encode(), b"x = 1\r\ny = 2\r\n", b""], ids=["no UTF-8", "a byte order mark", "CRLF", "nothing"])
def test_odd_bytes_in_a_plugin_are_a_card_or_a_plugin(here, source):
    save(here, "odd", source)
    wait_for(lambda: "odd.py" in cards(here) or "odd" in plugin_names(here))
    assert here.get("/").status == 200


def test_a_plugin_sees_the_names_that_the_chapters_give(here):
    "A star import finds ours, not those of the same name that a chapter has from elsewhere."
    import sololith
    wrong = []
    for chapter in () if ONEFILE else ("base", "fields", "store", "events", "forms", "ui", "guard", "crud", "files", "values", "pipeline", "runs", "shell", "plugins", "server", "cli"):
        module = importlib.import_module(f"sololith.{chapter}")
        wrong += [f"{chapter}.{n}" for n, value in vars(module).items() if not n.startswith("_") and getattr(value, "__module__", "") == module.__name__ and getattr(sololith, n, None) is not value]
        if chapter == "fields": wrong += [n for n in ("File", "Text", "Markdown", "Email", "Url", "Json", "Tags", "Range", "Pattern", "Help") if getattr(sololith, n) is not getattr(module, n)]
    assert not wrong
    kinds = ["Text", "Markdown", "Email | None", "Url | None", "File | None", "Json", "Tags", "date | None", "datetime | None", "time | None", "Decimal | None", "bool", "int", "float",
             'Literal["a", "b"]', "Annotated[int, Range(1, 12)]", 'Annotated[str, Pattern("a+"), Help("As.")]']
    fields = "\n".join(f"    f{n}: {kind} = None" for n, kind in enumerate(kinds))
    save(here, "every", f'"Every."\nfrom sololith import *\n\n@dataclass\nclass Every:\n    title: str\n{fields}\n\nevery = crud(Every)\n')
    wait_for(lambda: "every" in plugin_names(here) or cards(here))
    assert cards(here) == {}
    address = re.search(r'<h2><a[^>]*>every</a></h2>.*?href="(/\w+)"', here.get("/plugins").text, re.S)[1]
    assert here.get(f"{address}/new").status == 200


# ─── live ───

def test_a_saved_plugin_is_live_in_an_open_page_within_500_ms(here, open_page):
    page = open_page(here, "/tasks")
    page.wait_for_selector("#nav")
    page.keyboard.press("n")
    page.fill("#dialog [name=title]", "Half a word")
    took = []
    for n in range(5):
        page.wait_for_selector('#nav a[href="/goods"]', state="detached")
        began = save(here, "goods", GOOD.format(version=n))
        page.wait_for_selector('#nav a[href="/goods"]', state="attached")
        took.append((time.monotonic() - began) * 1000)
        (here.workspace / "apps" / "goods.py").unlink()
    assert statistics.median(took) < 500, took
    assert page.input_value("#dialog [name=title]") == "Half a word", "what was being typed stayed"


def test_an_open_page_shows_the_red_card_by_itself(here, open_page):
    page = open_page(here, "/plugins")
    save(here, "bad", BAD["raise"][0])
    page.wait_for_selector(".card.bad >> text=bad.py has a problem")
    page.wait_for_selector("#toasts >> text=bad.py")
    save(here, "bad", '"Fine again."\n')
    page.wait_for_selector(".card.bad", state="detached")


# ─── C5: what is not theirs ───

CLAIMS = ["/", "/tasks", "/tasks/export.csv", "/plugins", "/journal", "/events", "/ws", "/cli", "/files/{name:path}", "/static/x/app.js", "/undo", "/nav", "/palette", "/ui/theme", "/activity", "/profiles/current",
          "/{name}", "/{path:path}", "/{a}/{b}", "/x{path:path}", "//tasks"]


def test_c5_a_plugin_cannot_have_a_route_of_the_system(here):
    for n, path in enumerate(CLAIMS):
        save(here, f"claim{n}", f'"Claim."\nfrom sololith import *\n@rt("{path}", methods=["GET", "POST", "PUT"])\nasync def mine(req: Request): return Response("stolen")\n')
        text = card(here, f"claim{n}.py")
        assert f"claim{n}" not in plugin_names(here), path
        if "{" not in path.split("/")[1]: assert f"claim{n}.py" in text and "Sololith itself" in text, text
        for asked in ("/", "/tasks", "/journal", "/launch", "/anything", "/x1"):
            for method in ("GET", "PUT"): assert "stolen" not in here.request(method, asked).text, (path, method, asked)


def test_c5_a_websocket_or_a_mount_of_the_system_is_not_theirs_either(here):
    for n, route in enumerate(('WebSocketRoute("/ws", mine)', 'Mount("/tasks", routes=[Route("/x", mine)])', 'WebSocketRoute("/events", mine)', 'Mount("/", routes=[Route("/tasks", mine)])')):
        save(here, f"claim{n}", '"Claim."\nfrom sololith import *\nfrom starlette.routing import Mount, Route, WebSocketRoute\nasync def mine(req): return Response("stolen")\n'
                                f'found = {route}\nfound.methods = ["GET"]\nloading.get().web.router.routes.append(found)\n')
        assert "Sololith itself" in card(here, f"claim{n}.py")
    with here.ws() as ws:
        ws.send('{"do": "since", "id": 0}')
        assert "apps" in json.loads(ws.recv(timeout=5))


def test_c5_a_refused_plugin_has_changed_no_table_and_no_app(here):
    def schema() -> list:
        with contextlib.closing(sqlite3.connect(f"file:{here.workspace / 'data.db'}?mode=ro", uri=True)) as db:
            return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    here.post("/tasks", {"title": "Mine"})
    before = schema()
    save(here, "tasks", '"Tasks, other ones."\nfrom sololith import *\n@dataclass\nclass Task:\n    name: str = ""\n    stolen: str = ""\ntasks = crud(Task)\n')
    assert "Sololith itself" in card(here, "tasks.py")
    save(here, "odd", '"Odd."\nfrom sololith import *\n@dataclass\nclass Odd:\n    name: str\ncrud(Odd, "odds")\ncrud(Odd, "journal")\n')
    assert "Sololith itself" in card(here, "odd.py")
    assert schema() == before
    assert "Mine" in here.get("/tasks").text and here.get("/tasks/new").text.count("Stolen") == 0 and here.get("/odds").status == 404


def test_c5_of_two_plugins_that_want_one_name_the_second_is_refused_and_both_are_named(here):
    save(here, "first", GOOD.format(version="first"))
    wait_for(lambda: here.get("/version").text == "version first")
    here.post("/goods", {"title": "Of the first"})
    save(here, "second", GOOD.format(version="second"))
    text = card(here, "second.py")
    assert "first.py" in text and "second.py" in text and ("/goods" in text or "/version" in text)
    assert here.get("/version").text == "version first" and "Of the first" in here.get("/goods").text
    (here.workspace / "apps" / "first.py").unlink()
    wait_for(lambda: here.get("/version").status == 404)
    save(here, "second", GOOD.format(version="second again"))
    wait_for(lambda: here.get("/version").text == "version second again")  # now that the name is free
    assert cards(here) == {}


def test_c5_two_apps_of_one_name_in_one_file_are_refused(here):
    save(here, "double", '"Double."\nfrom sololith import *\n@dataclass\nclass Good:\n    title: str\ncrud(Good)\ncrud(Good)\n')
    assert "two apps" in card(here, "double.py") and here.get("/goods").status == 404


def test_c5_a_name_that_is_no_name_for_a_plugin_is_refused(here):
    proof = here.workspace.parent / "ran"
    for name in ("os", "json", "sololith", "sys", "Upper", "with-dash", "1st", "with space", "a.b", "é", "x" * 60, "__init__", "_hidden", "con'tent"):
        save(here, name, f'"No."\nopen({str(proof)!r}, "w").write("ran")\n')
        assert "not a name" in card(here, f"{name}.py"), name
    assert not proof.exists() and plugin_names(here) == []


def test_c5_a_name_that_leads_elsewhere_is_refused_wherever_names_are_taken(here, tmp_path):
    outside = here.workspace / "outside.py"
    outside.write_text('"Outside."\nfrom sololith import *\n@rt("/outside", methods=["GET"])\nasync def outside(): return Response("loaded")\n')
    for name in ("../outside", "../x", "os", "..", "/etc/x", ".", "", "a/b", "%2e%2e/outside", "outside\0"):
        assert here.post("/plugins", {"name": name}).status in (400, 404, 422), name
        assert here.get("/outside").status == 404
    for name in ("../x", "os", "sololith", "a/b", "Upper", "json", ".."):
        done = cli("new", "crud", name, "--workspace", str(tmp_path / "workspace"))
        assert done.returncode == 1 and "not a name" in done.stderr, name
    assert not (tmp_path / "x.py").exists() and not list((tmp_path / "workspace").rglob("*.py"))


def test_a_file_name_that_is_no_text_is_a_card_and_not_a_broken_page(start, workspace):
    (workspace / "apps").mkdir(parents=True)
    try: (workspace / "apps" / os.fsdecode(b"\xff\xfe.py")).write_text('"Odd."\n')
    except OSError: pytest.skip("this file system keeps names as text only")
    server = start()
    assert server.get("/").status == 200 and server.get("/plugins").status == 200 and "has a problem" in server.get("/").text


# ─── C6: crashes at the start ───

CRASH = '"Crash."\nimport os\nos._exit({status})\n'


def test_c6_a_plugin_that_ends_the_start_twice_is_left_out_and_safe_starts_at_once(start, workspace):
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "crash.py").write_text(CRASH.format(status=7))
    (workspace / "apps" / "goods.py").write_text(GOOD.format(version=1))
    safe = start("--safe")
    assert safe.get("/").status == 200 and safe.get("/goods").status == 404 and plugin_names(safe) == [] and cards(safe) == {}
    safe.stop()
    for _ in range(2):
        with pytest.raises(AssertionError, match="stopped at its start with 7"): start(login=False)
    server = start()
    assert "twice" in card(server, "crash.py") and server.get("/version").text == "version 1"
    server.restart()
    assert "twice" in card(server, "crash.py"), "it stays left out"
    save(server, "crash", '"Mended."\n')
    wait_for(lambda: "crash" in plugin_names(server) and not cards(server))
    server.restart()
    assert "crash" in plugin_names(server)


def test_c6_the_last_good_version_is_live_after_a_plugin_was_left_out(start, workspace):
    server = start()
    save(server, "goods", GOOD.format(version=1))
    wait_for(lambda: server.get("/version").text == "version 1")
    save(server, "goods", CRASH.format(status=0))  # it ends the running server: once
    assert server.process.wait(10) == 0
    with pytest.raises(AssertionError, match="stopped at its start"): server.start(login=False, port=server.port)  # and at the start: twice
    server.start()
    text = card(server, "goods.py", "twice")
    assert server.get("/version").text == "version 1" and "last good version is live" in text


def test_safe_loads_no_plugin_that_is_there_or_that_is_broken(start, workspace):
    (workspace / "apps").mkdir(parents=True)
    proof = workspace / "ran"
    (workspace / "apps" / "loud.py").write_text(f'"Loud."\nopen({str(proof)!r}, "w").write("ran")\n')
    (workspace / "apps" / "bad.py").write_text(BAD["a syntax error"][0])
    server = start("--safe")
    assert server.get("/").status == 200 and not proof.exists() and plugin_names(server) == [] and cards(server) == {}
    assert server.post("/tasks", {"title": "Works"}).status == 200


# ─── C7: hot reload ───

RELOADED = '''
"Reloaded: version {n}."
from sololith import *
from starlette.routing import Mount, Route, WebSocketRoute

@dataclass
class Wheel:
    title: str
    notes: Text = ""
    is_round: bool = False

wheels = crud(Wheel)
ballast = bytearray(1_000_000)
link("Turning {n}", "/turning")

@header
def turning(): return Span("turn {n}")

@rt("/turning", methods=["GET"])
async def version(): return Response("turn {n}")

@rt("/routes", methods=["GET"])
async def routes(): return Response(str(len(site.router.routes)))
'''


@pytest.mark.parametrize("times", [pytest.param(20, id="short"), pytest.param(200, id="long", marks=pytest.mark.soak)])
def test_c7_hot_reload_leaves_routes_descriptors_and_memory_flat(here, shared_server, times):
    def turn(n: int) -> None:
        save(here, "reloaded", RELOADED.format(n=n))
        wait_for(lambda: here.get("/turning").text == f"turn {n}", what=f"turn {n}")

    def state() -> tuple[int, int, float]: return int(here.get("/routes").text), here.open_files(), here.memory()

    def chips() -> int: return here.get("/").text.count("<span>turn ")

    for n in range(8): turn(n)  # caches fill, allocators settle
    routes, files, memory = state()
    with responsive(here, shared_server):
        for n in range(100, 100 + times): turn(n)
    assert here.get("/nav", HX_Request="true").text.count("Turning") == 1 and chips() == 1
    wait_for(lambda: here.open_files() <= files + 2, 10, f"the {files} open files of before")  # a connection may still be closing
    after = state()
    assert after[0] == routes
    # a megabyte of ballast is in each version: kept ones would show. Versions are kept on disk, not in memory.
    assert after[2] - memory < min(times / 2, 12), f"{memory:.1f} → {after[2]:.1f} MB after {times} reloads"
