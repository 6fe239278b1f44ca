"""What Sololith costs, beside a bare baseline measured in the same run: `make bench`.

Each line: what, ours, the baseline's, the ratio, the budget of design.md section 9, and whether it holds. Exits 1 where a
budget is broken. Times are wall clock on this machine; p95 is over single requests with a connection each.
"""
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import apsw

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("SOLOLITH_HOME", tempfile.mkdtemp())
from helpers import Server, wait_for  # noqa: E402

HELLO = """
import sys, uvicorn
from fasthtml.common import *
app, rt = fast_app(live=False, secret_key='x')
@rt('/')
def get(): return Titled('Hello', P('Hello'))
class S(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print('ready', self.servers[0].sockets[0].getsockname()[1], flush=True)
S(uvicorn.Config(app, host='127.0.0.1', port=0, log_level='error')).run()
"""
rows: list[tuple[str, str, str, str, str, bool]] = []


def report(what: str, ours: float, base: float | None, budget: float, unit: str, most_ratio: float | None = None) -> None:
    ratio = ours / base if base else None
    holds = ours <= budget and (most_ratio is None or ratio is None or ratio <= most_ratio)
    rows.append((what, f"{ours:.2f} {unit}", f"{base:.2f} {unit}" if base else "", f"{ratio:.1f} ×" if ratio else "",
                 (f"{budget:g} {unit}" if budget < 1e9 else "") + (f", {most_ratio:g} ×" if most_ratio else ""), holds))
    print(f"{'ok  ' if holds else 'OVER'} {what:<58} {rows[-1][1]:>12} {rows[-1][2]:>12} {rows[-1][3]:>8}   at most {rows[-1][4]}", flush=True)


def first_page_hello() -> float:
    import http.client
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", HELLO], stdout=subprocess.PIPE, text=True, cwd=tempfile.mkdtemp())
    port = int(process.stdout.readline().split()[1])
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    assert connection.getresponse().read()
    took = time.perf_counter() - start
    process.kill()
    return took


def first_page_ours(workspace: Path) -> float:
    start = time.perf_counter()
    with Server(workspace).start() as server:
        assert server.get("/").status == 200
        return time.perf_counter() - start


def fill(workspace: Path, count: int) -> None:
    "An app with `count` records, made through the API itself."
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "places.py").write_text('''from sololith import *
@dataclass
class Place:
    name: str
    city: str = ""
    state: str = ""
    elevation: int = 0
    kind: Literal["port", "strip", "pad"] = "port"
    is_open: bool = True
    opened: date | None = None
places = crud(Place)
''')
    code = f'''
import random
from sololith import *
home.at({str(workspace)!r}).make(); db.open(home.db); loader.start()
app = all_apps()["places"]; r = random.Random(1)
words = [a + b for a in "bal dor fen gar hol kin lun mar nor pel".split() for b in "ton ville burg mouth ford".split()]
rows = [dict(name=f"{{r.choice(words).title()}} {{n}}", city=r.choice(words).title(), state=r.choice(["AL", "CA", "NY", "TX"]), elevation=r.randint(0, 9000),
             kind=r.choice(["port", "strip", "pad"]), is_open=bool(n % 3), opened=date(1950 + n % 70, 1 + n % 12, 1)) for n in range({count})]
for at in range(0, {count}, 10000): app.import_rows(rows[at:at + 10000])
db.close()
'''
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def writes(folder: Path, count: int = 300) -> tuple[float, float]:
    "Milliseconds of one insert: through the app with journal and search, and bare with the same durability."
    code = f'''
from sololith import *
import apsw, time, json
home.at({str(folder / "w")!r}).make(); db.open(home.db)
@dataclass
class Thing:
    title: str
    count: int = 0
    is_done: bool = False
things = crud(Thing)
for n in range(50): things.insert(title=f"warm {{n}}")
bare = apsw.Connection({str(folder / "bare.db")!r}); bare.execute("PRAGMA journal_mode=WAL").get; bare.execute("PRAGMA synchronous=FULL")
bare.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, title TEXT, count INTEGER, is_done INTEGER)")
ours, base = [], []
for n in range({count}):  # by turns, so that both meet the same disk
    start = time.perf_counter(); things.insert(title=f"thing {{n}}", count=n); ours.append(time.perf_counter() - start)
    start = time.perf_counter(); bare.execute("INSERT INTO t (title, count, is_done) VALUES (?,?,?)", (f"thing {{n}}", n, 0)); base.append(time.perf_counter() - start)
import statistics
print(json.dumps([statistics.median(ours) * 1000, statistics.median(base) * 1000]))
'''
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return tuple(json.loads(out.stdout))


PIPELINES = """
"Bench: pipelines to be measured."
from sololith import *

def chain(made, count):
    for n in range(count):
        parameters = f"s{n - 1}" if n else ""
        made.step(eval(f"lambda {parameters}: {n}"), name=f"s{n}")

ten, many, spin, big = (pipeline(title, name=title.lower()) for title in ("Ten", "Many", "Spin", "Big"))
chain(ten, 10)
chain(many, 500)

@spin.step
def around():
    while True: sum(range(1000))

@big.step
def text(): return "x" * 50_000_000
"""


def pipeline_budgets(workspace: Path) -> None:
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "benched.py").write_text(PIPELINES)
    with Server(workspace).start() as server:
        database = apsw.Connection(str(workspace / "data.db"), flags=apsw.SQLITE_OPEN_READWRITE)
        database.set_busy_timeout(20_000)

        def per_step(name: str) -> float:
            run = int(server.post(f"/{name}", {}).headers["HX-Redirect"].rpartition("/")[2])
            wait_for(lambda: database.execute("SELECT status FROM runs WHERE id=?", [run]).get == "done", 60)
            times = list(database.execute("SELECT started FROM steps WHERE run=? ORDER BY started", [run]))
            began, ended = (datetime.fromisoformat(times[n][0]) for n in (0, -1))
            return (ended - began).total_seconds() * 1000 / (len(times) - 1)

        report("a step that does nothing, checkpoint included", statistics.median(per_step("ten") for _ in range(5)), None, 10, "ms")
        with database:
            for n in range(100_000):
                database.execute("INSERT INTO runs (title, pipeline, status, by, at, is_locked, is_unattended, executor) VALUES (?,?,?,?,?,0,0,'')",
                                 [f"Old run {n}", "many" if n % 3 else "ten", "failed" if n % 50 == 0 else "done", "person", "2026-01-01 10:00:00"])
            for n in range(10_000):
                for step in range(10): database.execute("INSERT INTO steps (run, name, version, status, value) VALUES (?,?,1,'done','json:1')", [n + 100, f"s{step}"])
        report("the same, with 100,000 runs and 100,000 steps kept", statistics.median(per_step("ten") for _ in range(5)), None, 10, "ms")
        report("a step in a run of 500", per_step("many"), None, 10, "ms")
        run = database.execute("SELECT max(id) FROM runs").get
        report("page of a run of 500 steps", server.p95(f"/runs/{run}", 20), None, 300, "ms")
        for what, path in (("first page", "/ten"), ("filtered by status", "/ten?f.status=failed"), ("last page", "/ten?page=600"), ("all pipelines", "/runs")):
            report(f"runs page among 100,000: {what}", server.p95(path, 40), None, 60, "ms")
        run = int(server.post("/big", {}).headers["HX-Redirect"].rpartition("/")[2])
        wait_for(lambda: database.execute("SELECT status FROM runs WHERE id=?", [run]).get == "done", 60)
        report("page of a run with a value of 50 MB", server.p95(f"/runs/{run}", 20), None, 100, "ms")
        for _ in range(4): server.post("/spin", {})
        time.sleep(0.5)
        report("any page while four CPU-bound steps run", server.p95("/tasks", 60), None, 100, "ms")


def main() -> int:
    if "pipelines" in sys.argv: return pipeline_budgets(Path(tempfile.mkdtemp()) / "p") or 0
    folder = Path(tempfile.mkdtemp(prefix="sololith-bench-"))
    first_page_ours(folder / "first")  # compiles the modules, makes the workspace
    ours = statistics.median(first_page_ours(folder / "first") for _ in range(5))
    base = statistics.median(first_page_hello() for _ in range(5))
    report("process start → first page served", ours, base, 1.0, "s", 2)

    with Server(folder / "first").start() as server:
        time.sleep(1)
        report("memory at rest", server.memory(), None, 90, "MB")
        html = server.get("/").text
        parts = [html, *(server.get(path).text for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', html)), server.get("/activity", HX_Request="true").text]
        report("first page, everything included, gzipped", sum(len(gzip.compress(p.encode())) for p in parts) / 1024, None, 150, "KB")
        report("first page, requests", len(parts) + 1, None, 8, "")  # and the WebSocket

    report("one CRUD write, journal and all, durable", *writes(folder), 1e9, "ms", 3)

    big = folder / "big"
    fill(big, 100_000)
    with Server(big).start() as server:
        for what, query in (("first page", ""), ("last page", "?page=2000"), ("sorted by a number", "?sort=-elevation"), ("sorted by a text", "?sort=city"),
                            ("search, rare", "?q=balton+777"), ("search, common, sorted", "?q=bal&sort=-opened"), ("search + filter + sort", "?q=mar&f.kind=pad&f.is_open=yes&sort=name")):
            assert server.get(f"/places{query}").status == 200
            report(f"list of 50 among 100,000: {what}", server.p95(f"/places{query}", 40), None, 60, "ms")
        stop = threading.Event()
        worker = threading.Thread(target=lambda: [server.cli("export", str(folder / "out.csv"), "--app", "places") for _ in range(3) if not stop.is_set()])
        worker.start()
        report("any page while an export of 100,000 works", server.p95("/tasks", 60), None, 100, "ms")
        stop.set()
        worker.join()
        csv = "name,city,state,elevation\n" + "".join(f"New {n},Town {n},CA,{n}\n" for n in range(20_000))
        (folder / "in.csv").write_text(csv)
        worker = threading.Thread(target=lambda: server.cli("import", str(folder / "in.csv"), "--app", "places"))
        worker.start()
        time.sleep(1)
        report("any page while an import of 20,000 works", server.p95("/tasks", 60), None, 100, "ms")
        worker.join()

    with Server(folder / "first").start() as server:
        times = []
        for n in range(10):
            (server.workspace / "apps" / "hot.py").write_text(f"from sololith import *\n@rt('/hot', methods=['GET'])\ndef hot(): return P('version {n}')\n")
            start = time.perf_counter()
            wait_for(lambda n=n: f"version {n}" in server.get("/hot").text, 5)
            times.append((time.perf_counter() - start) * 1000)
        report("save a plugin file → it is live (slowest of 10)", max(times), None, 500, "ms")
    pipeline_budgets(folder / "pipelines")
    over = [row[0] for row in rows if not row[5]]
    print(f"\n{len(rows) - len(over)} of {len(rows)} budgets hold" + (f"; over: {', '.join(over)}" if over else ""))
    return 1 if over else 0


if __name__ == "__main__": raise SystemExit(main())
