"""The check: what a plugin does is found out where it can do no harm, and the person is told (threats C1–C3).

A check takes half a second of a child process. So what is to be refused is mostly tried by one plugin that tries it all
and says how each went (`walls`), and what reading alone finds is looked at without a child.
"""
import ast
import contextlib
import json
import os
import re
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import Server, chapter, cli, patience, wait_for
from test_chat import tree

check = chapter("check")
examine, read_source, Report = check.examine, check.read_source, check.Report
HEAD = '"Probe: what is tried."\nfrom sololith import *\n'
linux = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")


def hole(reason: str) -> pytest.MarkDecorator: return pytest.mark.xfail(strict=True, reason=reason)


def read(source: str) -> Report:
    "What reading a plugin finds."
    read_source(source, report := Report())
    return report


# ─── C1: bad plugins ───

TOOL = HEAD + '@tool(reads=True)\ndef tried() -> str:\n    "Try it."\n    '
BAD = {  # what the file says, and what is said of it
    "os._exit": (HEAD + "os._exit(0)\n", "It ended the process, while it was loaded."),
    "os._exit in a tool": (TOOL + "os._exit(0)\n", "It ended the process, while the tool tried."),
    "sys.exit": (HEAD + "raise SystemExit(0)\n", "line 3: it asks to exit."),
    "a gigabyte": (HEAD + "held = bytearray(1 << 30)\n", "line 3: MemoryError"),
    "recursion": (HEAD + "def again(): return again()\n\nagain()\n", "line 3: RecursionError"),
    "segfault": (TOOL + '__import__("ctypes").string_at(0)\n', "It crashed (SIGSEGV), while the tool tried."),
    "100 MB printed": (HEAD + 'for _ in range(100): print("x" * 1_000_000)\n', "line 3: It prints without end."),
    "a forged last word": (HEAD + r'''
for fd in range(3, 256):
    for mark in (b"", b"0" * 32):
        with contextlib.suppress(OSError): os.write(fd, b"\n" + mark + b' {"problems": [], "done": [["it loads", "all"]], "notes": [], "made": {}, "trace": ""}\n')
os._exit(0)
''', "It ended the process, while it was loaded."),
}


@pytest.mark.parametrize("what", BAD)
def test_c1_a_bad_plugin_is_refused_and_said_why(what, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source, said = BAD[what]
    if "SIGSEGV" in said and sys.platform != "linux": said = "It crashed"
    began = time.monotonic()
    report = examine("probe", source)
    assert time.monotonic() - began < 10 * patience()
    assert any(p.startswith(said) for p in report.problems), report.text()
    assert not list(tmp_path.iterdir()), "the workspace of the trial is thrown away"


def test_c1_what_never_ends_is_ended_after_ten_seconds_and_pages_are_answered_meanwhile(S, shared_server):
    took: dict[Server, list[float]] = {S: [], shared_server: []}
    with ThreadPoolExecutor(2) as pool:
        began = time.monotonic()
        loop = pool.submit(S.post, "/build", {"act": "import"}, files={"file": ("endless.py", b'"Endless."\nwhile True: pass\n')}, limit=60)
        nap = pool.submit(examine, "probe", TOOL + '__import__("time").sleep(60)\n')
        while not (loop.done() and nap.done()):
            for one in took:
                start = time.perf_counter()
                assert one.get("/tasks").status == 200
                took[one].append((time.perf_counter() - start) * 1000)
            time.sleep(0.1)
        assert time.monotonic() - began < 13 * patience()
    here, there = (statistics.quantiles(took[one], n=20)[-1] for one in took)
    assert here < max(200, 5 * there), f"p95 {here:.0f} ms, of an idle server {there:.0f} ms; {sorted(took[S])[-5:]}"
    shown = tree(S.get(loop.result().headers["HX-Redirect"])).text
    assert "does not work yet" in shown and "It was not loaded within 8 seconds." in shown and "Install" not in shown
    assert nap.result().problems == ["It did not come to an end within 10 seconds, while the tool tried."]
    assert not [p for p in children(S.pid) if "SOLOLITH_CHECK" in p], "nothing of it goes on"


def children(pid: int) -> list[str]:
    "The environments of a process's children."
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid: found.append((path.parent / "environ").read_text())
    return found


def test_c1_a_plugin_that_says_more_than_anybody_reads_is_refused():
    assert examine("probe", HEAD + 'raise Problem("x" * 5_000_000)\n').problems


@hole("the child keeps the nonce where its plugin finds it (gc, frames), and the descriptor too: what knows of the check can pass it")
def test_c1_a_plugin_that_looks_for_the_nonce_in_memory_is_not_believed():
    forged = HEAD + r'''
asked = next(o for o in __import__("gc").get_objects() if isinstance(o, dict) and "nonce" in o and "source" in o)
for fd in range(3, 256):
    with contextlib.suppress(OSError): os.write(fd, b"\n" + asked["nonce"].encode() + b' {"problems": [], "done": [["it loads", "all"]], "notes": [], "made": {}, "trace": ""}\n')
os._exit(0)
'''
    assert examine("probe", forged).problems


# ─── C2, C3: walls ───

OUTSIDE = {  # what is tried, as a lambda of OUT (a file outside) and AT (a folder outside), and what it leaves if it can
    "read a file": "open(OUT).read()", "list a folder": "os.listdir(AT)", "read through a link": '(os.symlink(OUT, "soft"), open("soft").read())',
    "read who there is": 'open("/etc/passwd").read()', "read the parent's environment": 'open(f"/proc/{os.getppid()}/environ").read()',
    "write a file": 'open(OUT, "w").write("x")', "write beside it": 'open(AT + "/new", "w").write("x")', "write to /tmp": 'open("/tmp/sololith-leak", "w").write("x")',
    "write to shared memory": 'open("/dev/shm/sololith-leak", "w").write("x")', "cut a file": "os.truncate(OUT, 0)", "delete a file": "os.unlink(OUT)",
    "move a file": 'os.rename(OUT, "mine")', "link to a file": 'os.link(OUT, "mine")', "make a folder": 'os.mkdir(AT + "/new")', "make a pipe": 'os.mkfifo(AT + "/new")',
    "go there": "os.chdir(AT) or open('outside.txt').read()",
    "open a socket": "socket.socket()", "send a packet": 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT))',
    "connect": 'socket.create_connection(("127.0.0.1", PORT), 1)', "a socket that is a file": "socket.socket(socket.AF_UNIX)", "look up a name": 'socket.getaddrinfo("example.org", 80)',
    "fetch a page": '__import__("urllib.request", fromlist=["x"]).urlopen(f"http://127.0.0.1:{PORT}/", timeout=2)',
    "fork": "os.fork()", "spawn": 'os.posix_spawn("/bin/sh", ["sh"], {})', "run a program": 'subprocess.run(["/bin/sh", "-c", "exit"])', "become a program": 'os.execv("/bin/sh", ["sh"])',
    "a process of multiprocessing": '__import__("multiprocessing").get_context("fork").Process(target=print).start()',
    "signal the parent": "os.kill(os.getppid(), 0)", "signal by sigqueue": "call(libc.sigqueue, os.getppid(), 0, 0)", "signal by a descriptor": "os.pidfd_open(os.getppid())",
    "signal everybody": "os.kill(-1, 0)", "trace the parent": "call(libc.ptrace, 16, os.getppid(), 0, 0)", "another name space": "call(libc.unshare, 0x10000000)",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))" if sys.platform == "linux" and os.getuid() else "fail()",
}
METADATA = "Landlock does not cover metadata: add chmod, chown, utime and setxattr to DENIED, on paths outside"
PARENT = "a process of one's own user may be set limits and priorities: add prlimit64 (with a pid), setpriority and sched_set… to DENIED"
IPC = "System V memory outlives the child: add shmget, msgget and semget to DENIED"
MORE = {"open it to all": ("os.chmod(OUT, 0o666)", METADATA), "date it": ("os.utime(OUT, (1, 1))", METADATA), "give it away": ("os.chown(OUT, os.getuid(), os.getgid())", METADATA),
    "mark it": ('os.setxattr(OUT, "user.mark", b"1")', METADATA),
    "limit the parent": ("resource.prlimit(os.getppid(), resource.RLIMIT_CORE, resource.prlimit(os.getppid(), resource.RLIMIT_CORE))", PARENT),
    "slow the parent": ("os.setpriority(os.PRIO_PROCESS, os.getppid(), os.getpriority(os.PRIO_PROCESS, os.getppid()))", PARENT),
    "bind the parent": ("os.sched_setaffinity(os.getppid(), os.sched_getaffinity(os.getppid()))", PARENT),
    "put the parent last": ("os.sched_setscheduler(os.getppid(), os.sched_getscheduler(os.getppid()), os.sched_param(0))", PARENT),
    "leave memory behind": ("call(libc.shmctl, call(libc.shmget, 0, 4096, 0o1600), 0, None)", IPC)}
TRIED = OUTSIDE | {what: text for what, (text, _) in MORE.items()}


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    "How each thing went that a plugin tries while it is loaded: (what it found, or its error), and what is outside afterwards."
    at = tmp_path_factory.mktemp("outside")
    (at / "outside.txt").write_text("s3cret outside")
    os.environ["TEST_SECRET"] = "s3cret of the environment"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        names = dict(OUT=str(at / "outside.txt"), AT=str(at), PORT=listener.getsockname()[1])
        source = HEAD + "".join(f"{n} = {value!r}\n" for n, value in names.items()) + '''
socket, subprocess, resource, ctypes = map(__import__, ("socket", "subprocess", "resource", "ctypes"))
libc, said, here = ctypes.CDLL(None, use_errno=True), {}, os.getcwd()

def fail(): raise OSError("not tried")

def call(function, *args):
    if (found := function(*args)) == -1: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found

def attempt(what, work):
    try: said[what] = [True, repr(work())[:200]]
    except BaseException as e: said[what] = [False, f"{type(e).__name__}: {e}"]

''' + "".join(f"attempt({what!r}, lambda: {text})\n" for what, text in TRIED.items()) + '''
os.chdir(here)
attempt("environment", lambda: dict(os.environ))
open("inside.txt", "w").write("x")
raise Problem("said " + json.dumps(said))
'''.replace("json.dumps", '__import__("json").dumps')
        try: report = examine("probe", source)
        finally: del os.environ["TEST_SECRET"]
        found = re.search(r"said (\{.*\})", report.problems[0]) if report.problems else None
        assert found, report.text()
        listener.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            listener.accept()
            pytest.fail("it connected")
    return json.loads(found[1]), at


@linux
@pytest.mark.parametrize("what", [*OUTSIDE, *MORE])
def test_c2_a_plugin_that_is_checked_cannot(what, walls):
    is_done, how = walls[0][what]
    assert not is_done, how
    assert re.search("PermissionError|not permitted|resolution|Invalid cross-device|No such file|not allowed|not tried|ConnectError|Function not implemented", how), how


@linux
def test_c2_what_is_outside_is_as_it_was(walls):
    at = walls[1]
    assert [p.name for p in at.iterdir()] == ["outside.txt"] and (at / "outside.txt").read_text() == "s3cret outside"
    assert not Path("/tmp/sololith-leak").exists() and not Path("/dev/shm/sololith-leak").exists()


def test_c3_no_secret_is_told_to_the_child(walls):
    is_done, told = walls[0]["environment"]
    assert is_done and "s3cret" not in told and "TEST_SECRET" not in told
    assert "s3cret" not in json.dumps(walls[0])


@linux
def test_c2_where_walls_are_missing_the_report_says_so(monkeypatch):
    monkeypatch.setattr(check, "landlock", lambda *args: False)
    monkeypatch.setattr(check.platform, "machine", lambda: "sparc64")
    monkeypatch.setattr("resource.setrlimit", lambda *args: None)
    import ctypes
    class Quiet:
        def __getattr__(self, name): return lambda *args: -1
    monkeypatch.setattr(ctypes, "CDLL", lambda *args, **more: Quiet())
    assert [re.sub(r":.*", "", note) for note in check.confine(Path("."), [])] == ["This Linux has no Landlock", "This machine has no system call filter"]


# ─── reading ───

@pytest.mark.parametrize("line", ["import json, re", "import urllib.parse", "from urllib.parse import quote", "import collections.abc", "import xml.etree.ElementTree as ET",
    "import numpy as np", "from sololith.store import db", "from decimal import Decimal"])
def test_what_computes_may_be_imported(line): assert read(HEAD + line + "\n").problems == []


@pytest.mark.parametrize("line, name", [("import os", "os"), ("import os.path", "os.path"), ("from os import path", "os"), ("import json, sys", "sys"), ("import subprocess as s", "subprocess"), ("import socket", "socket"),
    ("import urllib.request", "urllib.request"), ("import asyncio", "asyncio"), ("import threading", "threading"), ("import ctypes", "ctypes"), ("import importlib", "importlib"), ("import requests", "requests"),
    ("from . import beside", "from beside itself"), ("def f():\n    import pathlib", "pathlib")])
def test_what_reaches_outside_may_not_be_imported(line, name):
    (problem,) = read(HEAD + line + "\n").problems
    assert problem == f"line {HEAD.count(chr(10)) + 1 + line.count(chr(10))}: it imports {name}, which is not among what a checked plugin may."


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\u200f", "\u00ad", "\ufeff", "\u061c", "\u3164", "\U000e0041", "\x08", "\x1b"])
def test_signs_that_cannot_be_seen_are_a_problem_and_are_shown(sign):
    source = f'{HEAD}ok = "a{sign}b"  # nothing else\n'
    assert f"a⟨U+{ord(sign):04X}⟩b" in " ".join(read(source).problems)
    assert sign not in check.visible(source) and check.visible(HEAD) == HEAD


@pytest.mark.parametrize("sign", ["\r", "\x0c", "\x0b", "\x1c"])
def test_signs_that_end_a_line_elsewhere_are_a_problem_too(sign): assert read(f'{HEAD}a = 1{sign}\nb = 2\n').problems


def test_ordinary_writing_of_any_language_is_no_problem():
    for text in ("Größe, été, naïve", "植物の水やり", "Растения", "עציצים", "🌱 and ✔", "a\tb"): assert read(f'{HEAD}said = "{text}"\n').problems == [], text


NO_ARGS = "lint asks for message_args[0] where pyflakes' message has no arguments: IndexError out of examine"


@pytest.mark.parametrize("line, said", [("@dataclas\nclass A: pass", "line 3: dataclas is not defined. Did you mean dataclass?"), ("crudd(1)", "line 3: crudd is not defined. Did you mean crud?"),
    ("prnt(1)", "line 3: prnt is not defined. Did you mean print?"), ("qqqzzz()", "line 3: qqqzzz is not defined."), ("def f(): return g()", "line 3: g is not defined."),
    ("def f():\n    x += 1\n    return x", "line 4: x is not defined."), ("def f(a, a): pass", "line 3: duplicate argument 'a' in function definition"),
    pytest.param("return 1", "line 3: 'return' outside function"), pytest.param("yield 1", "line 3: 'yield' outside function"), ("def f(): pass\ndef f(): pass", "line 4: redefinition of unused 'f' from line 3."), ("def broken(:", "line 3: invalid syntax"), ("x = (", "line 3: '(' was never closed.")])
def test_what_cannot_work_is_found_by_reading_with_its_line(line, said):
    problems = read(f"{HEAD}{line}\n").problems
    assert any(p.startswith(said) for p in problems), problems


def test_names_of_sololith_may_be_used_and_given_a_meaning_of_ones_own():
    assert read(HEAD + "def home(): return date.today()\n\ndef fetch(): return Literal\n\nfor n in range(3): print(n, crud, Path)\nimport json\n").problems == []


@pytest.mark.parametrize("line, told", [("open('x')", "opens files"), ("os.getcwd()", "uses the operating system"), ("Path('.')", "goes through folders and files"), ("fetch('https://x')", "reads web pages"), ("eval('1')", "runs text as code"),
    ("use_tool('tasks_add', {})", "calls other tools"), ("db.query('x')", "goes to the database itself"), ("store['x'] = 1", "reads and writes settings"), ("Script('x')", "runs JavaScript in the page"), ("NotStr('x')", "writes HTML as it is")])
def test_what_a_plugin_reaches_is_told(line, told): assert read(f"{HEAD}def f():\n    {line}\n").reach == [told]


def test_a_plugin_that_keeps_to_its_records_reaches_nothing(): assert read(HEAD + "@dataclass\nclass A:\n    title: str\na = crud(A)\n").reach == []


@pytest.mark.parametrize("line", ['__import__("os").system("true")', 'contextlib.os.system("true")', "import sololith as s\ns.os.remove('x')", "from sololith import os as o\no.remove('x')", "import io\nio.open('x')",
    "import random\nrandom._os.remove('x')", "import pandas as pd\npd.read_csv('https://example.org')", 'globals()["o" + "s"].remove("x")'])
def test_what_is_reached_by_a_detour_is_told_too(line): assert read(f"{HEAD}{line}\n").reach != []


# ─── trying ───

GOOD = '''"Plants: what grows here."
from sololith import *

@dataclass
class Plant:
    "One of your plants."
    name: str
    light: Literal["low", "high"] = "low"
    pots: Annotated[int, Range(1, 50)] = 1
    watered: date | None = None
    price: Decimal | None = None
    is_dry: bool = False
    tags: Tags = field(default_factory=list)
    photo: File | None = None
    task: Task | None = None
    seen: datetime | None = None

class PlantsApp(BaseApp):
    record = Plant

    def prepare_insert(self, data):
        if data["name"].lower() == "triffid": raise Problem("Triffids walk away.", fix="Choose another plant.")

plants = PlantsApp()

@tool(reads=True)
def thirsty(days: int = 7) -> list[str]:
    "Plants that were not watered for so many days."
    return [p.name for p in plants()]

@tool
def shout(text: str) -> str:
    "Say it loudly."
    return text.upper()

@tool(asks=True)
def launch(what: str) -> str:
    "Launch it."
    raise RuntimeError("It was tried all the same.")

@rt("/plants_wall", methods=["GET"])
def plants_wall(): return Title("Wall"), H1("Plants")

@rt("/plants_wall/{n}", methods=["GET"])
def plant_on_wall(n: int): raise RuntimeError("Nobody knows which n.")

def test_triffids_are_refused():
    try: plants.insert(name="Triffid")
    except Problem: return
    raise AssertionError("it was added")

async def test_it_may_wait(): assert plants.fields
'''
PIPELINE = '''"Flow: all kinds of steps."
from sololith import *

flow = pipeline("Flow")

@flow.step
def wanted(subject: str, count: Annotated[int, Range(2, 5)], tone: Literal["warm", "cool"], day: date | None = None):
    "What, and how?"
    assert 2 <= count <= 5 and tone == "warm"
    return f"{count} {subject}"

@flow.step
def rows(file: File):
    "Which file?"
    return read_file(file)

@flow.step
def named(rows, column: str = "title"):
    "Keep the rows that have a name."
    return [row for row in rows if row[column]]

@flow.step
async def letter(named, wanted, ask: Ask) -> Markdown:
    "Have the model write."
    return await ask(f"Write about {wanted} and {named}.")

@flow.step
async def judged(letter, ask: Ask):
    "Have the model judge."
    return (await ask(f"How good is {letter}?", dict(type="object", properties=dict(grade=dict(type="integer", minimum=1)))))

@flow.step(asks=True)
def added(named):
    "Add them as tasks."
    return use_tool("tasks_add", [{"title": row["title"]} for row in named])

@flow.step
def counted(added):
    "How many are there?"
    assert len(all_apps()["tasks"]()) == len(added) == 3
    return len(added)
'''


@pytest.fixture(scope="module")
def good() -> Report: return examine("plants", GOOD)


def test_a_good_app_is_used_as_a_person_would_and_has_no_problem(good):
    assert good.problems == [] and good.trace == ""
    done = dict(good.done)
    assert list(done) == ["it loads", "the app plants", "the page /plants_wall", "the tool thirsty", "the tool shout", "test_triffids_are_refused", "test_it_may_wait"]
    assert done["it loads"] == "plants, thirsty, shout, launch" and done["the app plants"] == "its pages; 2 records added, changed, deleted, brought back"
    assert not done["the page /plants_wall"] + done["test_triffids_are_refused"] and done["the tool shout"].startswith(("SAMPLE TEXT", "deleted"))
    assert good.notes == ["the tool launch asks first, so it was not tried."]
    assert good.made["apps"]["plants"]["light"] == "choice" and good.made["new"] == ["plants"] and "/plants_wall" in good.made["routes"] and "plants_add" in good.made["tools"]
    assert 0 < good.seconds < 10


def test_of_a_tool_it_is_told_what_it_did_and_no_more(good): assert dict(good.done)["the tool shout"] == "SAMPLE TEXT"


def test_the_report_says_it_in_lines(good):
    lines = good.text().splitlines()
    assert lines[0] == "ok       it loads: plants, thirsty, shout, launch" and "ok       the page /plants_wall" in lines and lines[-1].startswith("note     the tool launch asks")
    assert Report(problems=["A."], done=[("b", "c"), ("d", "")], reach=["opens files"], notes=["E."]).text() == "PROBLEM  A.\nok       b: c\nok       d\nreach    it opens files\nnote     E."


def test_a_good_pipeline_goes_through_with_what_is_made_up_for_it():
    report = examine("flow", PIPELINE)
    assert report.problems == [] and dict(report.done)["the pipeline flow"] == "all 7 steps: wanted, rows, named, letter, judged, added, counted", report.text()
    assert report.made["pipelines"] == {"flow": ["wanted", "rows", "named", "letter", "judged", "added", "counted"]} and set(report.reach) == {"asks the model", "calls other tools"}


def test_each_thing_that_fails_is_said_with_its_line_and_the_rest_is_tried_all_the_same():
    report = examine("plants", HEAD + '''
@dataclass
class Plant:
    name: str

class PlantsApp(BaseApp):
    record = Plant
    def prepare_update(self, record, data): data["nome"].strip()

plants = PlantsApp()
sums = pipeline("Sums")

@sums.step
def first(n: int): return n

@sums.step
def second(first): return first / 0

@rt("/wall", methods=["GET"])
def wall(): return H1(1 / 0)

@rt("/gone", methods=["GET"])
def gone(): return Response("gone", status_code=500)

@tool(reads=True)
def failing() -> str:
    "Fail."
    raise ValueError("no such thing")

def test_good(): assert 1 + 1 == 2
def test_bad(): assert 1 + 1 == 3, "sums"
async def test_worse(): raise Problem("It is worse.", fix="Do better.")
def test_wanting(tmp_path): pass
''')
    told = "\n".join(report.problems)
    for said in ("the app plants: line 10: KeyError: 'nome'", "the pipeline sums: step second: ", "ZeroDivisionError", "the page /wall: line 22: ZeroDivisionError: division by zero.", "the page /gone: /gone answers 500.",
            "the tool failing: failing failed: ValueError: no such thing", "test_bad: line 33: AssertionError: sums.", "test_worse: It is worse. Do better.", "test_wanting: it wants tmp_path, and tests of a plugin take nothing."): assert said in told, told
    assert len(report.problems) == 8 and ("test_good", "") in report.done


def test_a_tool_that_reaches_the_network_is_a_note_and_no_problem():
    report = examine("news", HEAD + '@tool(reads=True)\ndef news() -> str:\n    "Read the news."\n    import httpx2\n    return httpx2.get("https://example.org").text\n'.replace("import httpx2\n    return httpx2", "return __import__('httpx2')"))
    assert report.problems == [] and any("reaches outside" in note for note in report.notes), report.text()


def test_a_page_that_is_fetched_is_made_up():
    report = examine("news", HEAD + '@tool(reads=True)\ndef news() -> str:\n    "Read the news."\n    return fetch("https://example.org")\n')
    assert report.problems == [] and report.reach == ["reads web pages"] and dict(report.done)["the tool news"].startswith("A made-up page."), report.text()


def test_a_step_that_reads_a_page_goes_on_with_one_that_is_made_up():
    report = examine("news", HEAD + 'news = pipeline("News")\n\n@news.step\ndef page(url: Url):\n    "Which page?"\n    return fetch(url)\n\n@news.step\ndef words(page):\n    "Count."\n    return len(page.split())\n')
    assert report.problems == [] and dict(report.done)["the pipeline news"] == "all 2 steps: page, words", report.text()


PLANT = HEAD + '@dataclass\nclass Plant:\n    name: str\n    pots: {}\nplants = crud(Plant)\n'


def test_a_type_that_does_not_fit_the_live_table_is_found():
    report = examine("plants", PLANT.format("date | None = None"), before=PLANT.format("int = 0"))
    assert report.problems and report.problems[0].startswith("plants.pots is kept as INTEGER, and the new type wants TEXT DATE."), report.text()


GARDEN = HEAD + '@dataclass\nclass Garden:\n    title: str\ngardens = crud(Garden)\n'


def test_the_other_plugins_of_the_workspace_are_there_and_keep_what_is_theirs():
    others = {"gardens": GARDEN, "broken": HEAD + "1 / 0\n", "plants_old": PLANT.format("int = 0").replace("crud(Plant)", 'crud(Plant, "old")')}
    report = examine("plants", HEAD + "from sololith_apps.gardens import Garden, gardens\n\n@dataclass\nclass Plant:\n    name: str\n    garden: Garden | None = None\nplants = crud(Plant)\n\n"
        'def test_beside(): assert "old" in all_apps() and gardens.insert(title="Rose garden").id == 2 - (not gardens("id=1"))\n', others)
    assert report.problems == [] and report.made["new"] == ["plants"], report.text()
    report = examine("yards", GARDEN, others)
    assert "yards.py and gardens.py both want /gardens" in report.problems[0]


# ─── in the shell ───

def test_sololith_check_tells_and_exits_with_1_where_there_is_a_problem(tmp_path):
    apps = tmp_path / "workspace" / "apps"
    apps.mkdir(parents=True)
    (apps / "gardens.py").write_text(GARDEN)
    (tmp_path / "plants.py").write_text(PLANT.format("int = 0") + 'def test_beside(): assert "gardens" in all_apps()\n')
    (tmp_path / "yards.py").write_text(PLANT.format("integer = 0").replace("crud(", "curd("))
    at = ("--workspace", str(tmp_path / "workspace"))
    done = cli("check", str(tmp_path / "plants.py"), *at)
    assert done.returncode == 0 and done.stdout.splitlines() == ["ok       it loads: plants", "ok       the app plants: its pages; 2 records added, changed, deleted, brought back", "ok       test_beside"], done
    done = cli("check", "--json", str(tmp_path / "plants.py"), *at)
    found = json.loads(done.stdout)
    assert found["plugin"] == "plants" and found["apps"] == {"plants": {"name": "text", "pots": "int"}} and found["problems"] == [] and ["test_beside", ""] in found["done"]
    done = cli("check", str(tmp_path / "yards.py"), *at)
    assert done.returncode == 1 and done.stdout == "" and "line 6: integer is not defined." in done.stderr and "line 7: curd is not defined. Did you mean crud?" in done.stderr, done
    done = cli("check", str(tmp_path / "nowhere.py"), *at)
    assert done.returncode == 1 and "There is no file" in done.stderr
    assert sorted(p.name for p in apps.iterdir()) == ["gardens.py"], "the workspace is as it was"


# ─── on a server ───

@pytest.fixture(scope="module")
def S(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("check") / "workspace").start() as server: yield server


def test_c3_a_checked_plugin_sees_nothing_of_the_server_it_is_checked_by(S):
    secret = S.secret
    source = HEAD + f'''
def looked(f):
    try: return str(f())
    except Exception as e: return type(e).__name__

raise Problem(" ".join(map(looked, (lambda: open({str(S.workspace / ".run" / "secret")!r}).read(), lambda: open({str(S.workspace / "data.db")!r}, "rb").read(), lambda: os.listdir({str(S.workspace)!r}),
    lambda: os.kill({S.pid}, 15), lambda: sorted(os.environ), lambda: len(all_apps()["tasks"]())))))
'''
    assert S.post("/tasks", {"title": "Only on the server"}).status == 200
    answer = S.post("/build", {"act": "import"}, files={"file": ("looks.py", source.encode())})
    shown = tree(S.get(answer.headers["HX-Redirect"])).text
    said = re.search(r"line \d+: ((?:\w+Error ){4}.*)", shown)
    assert said and said[1].startswith("PermissionError PermissionError PermissionError PermissionError") and secret not in shown and "OLLAMA_HOST" not in shown and " 0" in said[1], shown
    assert S.process.poll() is None and S.get("/looks").status == 404 and not (S.workspace / "apps" / "looks.py").exists()
    wait_for(lambda: not children(S.pid), 5, "its children to end")


def test_a_source_is_read_in_the_same_way_whatever_its_size():
    assert ast.parse(GOOD) and read(GOOD * 1 + "".join(f"def f{n}(): return {n}\n" for n in range(2000))).problems == []
    assert read("(" * 5000 + ")" * 5000).problems and read("x = " + "-" * 100_000 + "1\n").problems and read("\0").problems

