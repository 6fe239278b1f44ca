"""Runs outlive the process (threats D1 and D2): killed at any instant, ended at every commit, cut off in the middle of many
items, nothing that is done is lost or done again; and schedules, which go by the clock whether or not we ran meanwhile."""
import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from helpers import Server, chapter, environment, patience, wait_for
from piping import HTMX, Driven, begin, rows, sent, write

soak = pytest.mark.soak
WORK = '''
"Work that is killed."
import time as clock
from sololith import *
NOTES = home.path.parent / "notes.txt"

def note(*words):
    "One line, on the disk before we go on: what a step did to the world."
    with open(NOTES, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
        file.flush()
        os.fsync(file.fileno())

five = pipeline("Five")

@five.step
def one(run: Run, start: int = 1):
    note(run.id, "one")
    return start

@five.step
def two(run: Run, one):
    clock.sleep(0.01)
    note(run.id, "two")
    return {"text": "x" * 70_000, "n": one + 1}      # large enough to be an artifact

@five.step
def three(run: Run, two):
    clock.sleep(0.02)
    note(run.id, "three")
    return two["n"] + 1

@five.step
def four(run: Run, three):
    note(run.id, "four")
    return three + 1

@five.step
def end(run: Run, four):
    note(run.id, "end")
    return four + 1

many = pipeline("Many")

def worked(run_id, n):
    clock.sleep(0.004)
    note(run_id, "item", n)
    return n * n

@many.step
def squares(run: Run, count: int = 60):
    return list(each(range(count), functools.partial(worked, run.id), parallel=2))

@many.step
def total(squares): return sum(squares)

import functools

holds = pipeline("Holds")

@holds.step
def held(seconds: float = 60):
    print("holding")
    clock.sleep(seconds)
    return "held"

@holds.step
def then(held): return held

sleepy = pipeline("Sleepy")

@sleepy.step
def naps(seconds: float = 20): return list(each(range(100), lambda n: clock.sleep(seconds), parallel=2))
'''
SCHEDULED = '''
"Scheduled."
from sololith import *
tick = pipeline("Tick").every("every 2 hours")

@tick.step
def counted(by: str = "itself", run: Run = None): return f"{by} {run.by}"

wants = pipeline("Wants")

@wants.step
def needed(what: str): return what
'''


@pytest.fixture
def at_work(start, plugin) -> Server:
    plugin("work", WORK)
    return start()


def notes(server: Server) -> Counter:
    path = server.workspace.parent / "notes.txt"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def done(server: Server) -> dict[tuple[int, str], str]:
    "The steps that are recorded as done, with their values as they are kept."
    found = rows(server.workspace / "data.db", "SELECT run, name, value FROM steps WHERE status='done'")
    return {(r["run"], r["name"]): r["value"] for r in found}


# ─── D1: kill -9

@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=soak)])
def test_kill_9_at_any_instant_loses_no_done_step_and_repeats_none(at_work, kills):
    server, chance, kept = at_work, random.Random(7), dict[tuple[int, str], str]()
    before = Counter[str]()
    for turn in range(kills):
        stop = threading.Event()
        def load(turn: int = turn, stop: threading.Event = stop) -> None:
            with contextlib.suppress(Exception):  # whatever http.client makes of a killed server
                while not stop.is_set():
                    sent(server, "five", start=str(turn))
                    sent(server, "many", count="12")
                    time.sleep(0.05)
        loader = threading.Thread(target=load, daemon=True)
        loader.start()
        time.sleep(chance.uniform(0, 0.3))
        server.kill()
        stop.set()
        loader.join(10)
        assert rows(server.workspace / "data.db", "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        now = done(server)
        assert kept.items() <= now.items(), "a value is lost or another one"
        after = notes(server)
        for run, name in kept:
            assert after[f"{run} {name}"] == before[f"{run} {name}"], f"{name} of run {run} was done and ran again"
        kept, before = now, after
        server.restart(env={})
        statuses = {r["status"] for r in rows(server.workspace / "data.db", "SELECT DISTINCT status FROM runs UNION SELECT DISTINCT status FROM steps")}
        assert "running" not in statuses
        for r in rows(server.workspace / "data.db", "SELECT id FROM runs WHERE status='interrupted' ORDER BY random() LIMIT 3"):
            Driven(server, r["id"]).do("retry")
    for r in rows(server.workspace / "data.db", "SELECT id FROM runs WHERE status='interrupted'"):
        assert "Retry" in server.get(f"/runs/{r['id']}/live", **HTMX).text
        Driven(server, r["id"]).do("retry")
    left = "SELECT status FROM runs WHERE status NOT IN ('done', 'waiting')"  # waiting: killed before its first answer
    wait_for(lambda: not rows(server.workspace / "data.db", left), 60 * patience())
    kept = done(server)
    for r in rows(server.workspace / "data.db", "SELECT id, pipeline FROM runs WHERE status='done'"):
        value = {name: kept[r["id"], name].removeprefix("json:") for name in (("one", "end") if r["pipeline"] == "five" else ("total",))}
        if r["pipeline"] == "five": assert int(value["end"]) == int(value["one"]) + 4
        else: assert int(value["total"]) == sum(n * n for n in range(12))
    assert len(done(server)) > kills, "there was hardly any load"
    for line, times in notes(server).items():
        if " item " in line: assert times <= 1 + kills and times <= 3, line
    assert "Traceback" not in server.log


def test_an_interrupted_step_says_so_and_goes_on_where_it_was(at_work):
    run = begin(at_work, "holds", seconds="60")
    wait_for(lambda: run["held"]["logs"])
    at_work.restart(kill=True)
    html = run.card("held")
    assert run.state() == "interrupted" and "interrupted" in html and "Retry" in run.page()
    assert run["held"]["logs"] == "holding", "what it printed is still there"
    run.answer("held", seconds="0").until("done") if "Revise" in html else run.do("retry")
    assert run.until("done", "running")


def test_a_run_that_waits_waits_after_a_restart(at_work):
    run = begin(at_work, "hello", name="Ann").until("waiting")
    at_work.restart(kill=True)
    assert run.state() == "waiting" and run["name"]["value"] == "Ann"
    run.answer("greeting", tone="cool").until("done")
    assert notes(at_work) == {}


def test_what_was_done_of_many_items_is_not_done_again_after_kill_9(at_work):
    run = begin(at_work, "many", count="200")
    wait_for(lambda: len(notes(at_work)) > 60)
    at_work.restart(kill=True)
    kept = rows(at_work.workspace / "data.db", "SELECT at, value FROM items WHERE run=? AND error IS NULL", run.id)
    assert len(kept) > 40
    run.do("retry").until("done")
    assert run["total"]["value"] == sum(n * n for n in range(200))
    told = notes(at_work)
    assert all(told[f"{run.id} item {r['at']}"] == 1 for r in kept), "what was kept is not done again"
    assert sum(told.values()) - 200 <= 2, "and of the rest only what was being done just then"


def test_cancel_and_retry_of_many_items_goes_on_where_it_was(at_work):
    run = begin(at_work, "many", count="200")
    wait_for(lambda: len(notes(at_work)) > 60)
    run.do("cancel").ends_within(1)
    time.sleep(0.1)
    run.until("cancelled").do("retry").until("done")
    assert run["total"]["value"] == sum(n * n for n in range(200)) and sum(notes(at_work).values()) - 200 <= 2


def test_sigterm_ends_us_quickly_whatever_is_at_work(at_work):
    for name, form in (("holds", {"seconds": "60"}), ("sleepy", {"seconds": "60"})):
        run = begin(at_work, name, **form)
        wait_for(lambda run=run: run.state() == "running")
    time.sleep(0.3)
    began = time.monotonic()
    at_work.stop(15)
    assert time.monotonic() - began < 5 * patience()
    at_work.restart()
    assert run.state() == "interrupted"


def test_an_artifact_that_was_half_written_when_we_died_is_not_taken(at_work):
    run = begin(at_work, "five", start="1").until("done")
    _, digest, name = run.raw()["two"]["value"].split(":")
    (at_work.workspace / "files" / name).with_name(f".{Path(name).name}.part").write_bytes(b"half")
    at_work.restart(kill=True)
    assert run.do("rerun", step="two").until("done")["end"]["value"] == 5


# ─── D2: the end of the process at every commit

ENGINE = '''
import contextlib, os, shutil, sys, time as clock
from pathlib import Path
from sololith import *

def work(where, last):
    "Begin the run, or go on with it; end at the commit with this number."
    home.at(where).make()
    db.open(home.db)
    loader.start()
    count, within = 0, db.transaction
    @contextlib.contextmanager
    def counted():
        nonlocal count
        with within(): yield
        if db.depth: return
        count += 1
        if count == last: os._exit(9)
    db.transaction = counted
    run_id = next((r["id"] for r in runs.rows("pipeline='five'")), None)
    if run_id is None: run_id = start_run(all_pipelines()["five"], {"start": 1}, is_unattended=True)
    else: retry_run(run_id)
    while run_id in jobs: clock.sleep(0.002)
    os._exit(0)

def child(where, last):
    if not (pid := os.fork()):
        try: work(where, last)
        finally: os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

folder, status, n = Path(sys.argv[1]), 9, 0
while status == 9:
    n += 1
    where = folder / str(n) / "w"
    shutil.copytree(folder / "plugins", where / "apps")
    status = child(where, n)
    shutil.copytree(folder / str(n), folder / f"{n}.cut")
    print(n, status, child(where, 10**9))
'''


@pytest.mark.package_only
def test_ended_at_any_commit_a_run_records_each_step_once_and_goes_on(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "work.py").write_text(WORK)
    ran = subprocess.run([sys.executable, "-c", ENGINE, str(tmp_path)], capture_output=True, text=True, timeout=100, env=environment())
    ends = [tuple(map(int, line.split())) for line in ran.stdout.splitlines()]
    assert 12 <= len(ends) < 40 and [e[1:] for e in ends] == [(9, 0)] * (len(ends) - 1) + [(0, 0)], ran
    told = lambda folder: Counter((folder / "notes.txt").read_text().splitlines()) if (folder / "notes.txt").exists() else Counter()
    seen = set()
    for n in range(1, len(ends) + 1):
        cut, whole = tmp_path / f"{n}.cut", tmp_path / str(n)
        recorded = [r["name"] for r in rows(cut / "w" / "data.db", "SELECT name FROM steps WHERE status='done'")] if n > 1 else []
        seen.add(tuple(recorded))
        database = whole / "w" / "data.db"
        assert rows(database, "SELECT count(*) n, count(DISTINCT name) names FROM steps") == [{"n": 5, "names": 5}]
        assert rows(database, "SELECT DISTINCT status FROM steps UNION SELECT status FROM runs") == [{"status": "done"}], n
        assert rows(database, "SELECT value FROM steps WHERE name='end'") == [{"value": "json:5"}]
        for step in recorded: assert told(cut)[f"1 {step}"] == told(whole)[f"1 {step}"] == 1, f"commit {n}: {step} was done and ran again"
        assert sum(told(whole).values()) <= 6, "only what was at work may have been begun twice"
    assert len(seen) == 6, "it was cut before, between and after all five"


# ─── schedules

@pytest.mark.parametrize(["text", "after", "then"], [
    ("every 2 hours", "2026-03-02 10:30", "2026-03-02 12:30"), ("every hour", "2026-03-02 10:30", "2026-03-02 11:30"), ("hourly", "2026-03-02 10:30", "2026-03-02 11:00"),
    ("every 15 minutes", "2026-03-02 10:30", "2026-03-02 10:45"), ("every minute", "2026-03-02 10:30", "2026-03-02 10:31"), ("every 3 days", "2026-03-02 10:30", "2026-03-05 10:30"),
    ("every week", "2026-03-02 10:30", "2026-03-09 10:30"), ("weekday 9:00", "2026-03-06 10:30", "2026-03-09 09:00"), ("weekdays at 9:00", "2026-03-06 08:30", "2026-03-06 09:00"),
    ("every weekday at 09:05", "2026-03-02 10:30", "2026-03-03 09:05"), ("weekend 10:00", "2026-03-02 10:30", "2026-03-07 10:00"), ("monday 18:00", "2026-03-02 18:00", "2026-03-09 18:00"),
    ("Mondays 18:00", "2026-03-02 10:30", "2026-03-02 18:00"), ("sunday 0:00", "2026-03-02 10:30", "2026-03-08 00:00"), ("daily 7:30", "2026-03-02 10:30", "2026-03-03 07:30"),
    ("every day at 7:30", "2026-03-02 07:29", "2026-03-02 07:30"), ("  DAILY   7:30 ", "2026-12-31 10:30", "2027-01-01 07:30"), ("0 9 * * 1-5", "2026-03-06 10:30", "2026-03-09 09:00"),
    ("*/10 * * * *", "2026-03-02 10:30", "2026-03-02 10:40"), ("0 0 29 2 *", "2026-03-02 10:30", "2028-02-29 00:00"), ("30 8 1 * *", "2026-03-02 10:30", "2026-04-01 08:30")])
def test_a_schedule_names_the_next_time(text, after, then):
    assert chapter("pipeline").next_time(text, datetime.fromisoformat(after)) == datetime.fromisoformat(then)


@pytest.mark.parametrize("text", ["", "now", "every", "every 0 hours", "every -1 hours", "every 99999 hours", "daily", "daily 25:00", "daily 9", "9:00", "someday 9:00", "monday 9:60",
    "* * *", "* * * * * * *", "0 9 * * 9", "0 0 30 2 *", "every 2 fortnights", "<b>9:00</b>", "tomorrow 9:00", "every 1.5 hours", "\0", "every ² hours"])
def test_what_names_no_time_is_refused(text):
    with pytest.raises(chapter("base").Problem, match="names no time"): chapter("pipeline").next_time(text, datetime(2026, 3, 2))


@pytest.fixture(scope="module")
def clockwork(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("clockwork") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    with Server(workspace).start() as server: yield server


@pytest.fixture
def scheduled(clockwork) -> Server:
    (clockwork.workspace / "apps" / "scheduled.py").write_text(SCHEDULED)
    for table in ("schedules", "runs", "steps"): write(clockwork.workspace / "data.db", f"DELETE FROM {table}")
    wait_for(lambda: [r for r in schedule(clockwork) if r["when"] == "every 2 hours"], what="the schedule in code")
    return clockwork


def schedule(server: Server, pipeline: str = "tick") -> list[dict]: return rows(server.workspace / "data.db", "SELECT * FROM schedules WHERE pipeline=?", pipeline)
def started(server: Server, pipeline: str = "tick") -> list[dict]: return rows(server.workspace / "data.db", "SELECT * FROM runs WHERE pipeline=?", pipeline)


def be_due(server: Server, pipeline: str = "tick", ago: timedelta = timedelta(days=10)) -> None:
    write(server.workspace / "data.db", "UPDATE schedules SET next_at=? WHERE pipeline=?", (datetime.now() - ago).isoformat(" ", "seconds"), pipeline)


def test_a_schedule_in_code_is_kept_in_the_table_once(scheduled):
    scheduled.restart()
    time.sleep(1.2)
    kept = schedule(scheduled)
    assert len(kept) == 1 and kept[0]["when"] == "every 2 hours" and datetime.fromisoformat(kept[0]["next_at"]) > datetime.now() + timedelta(hours=1)
    assert not started(scheduled), "and it does not begin before its time"
    (scheduled.workspace / "apps" / "scheduled.py").write_text(SCHEDULED.replace("every 2 hours", "daily 9:00"))
    wait_for(lambda: schedule(scheduled)[0]["when"] == "daily 9:00", what="the new time")
    assert len(schedule(scheduled)) == 1 and datetime.fromisoformat(schedule(scheduled)[0]["next_at"]).hour == 9
    page = scheduled.get("/schedules").text
    assert "tick" in page and "daily 9:00" in page


def test_what_was_missed_is_caught_up_once(scheduled):
    scheduled.stop()
    be_due(scheduled)
    scheduled.restart()
    run = Driven(scheduled, wait_for(lambda: started(scheduled))[0]["id"]).until("done")
    assert run["counted"]["value"] == "itself schedule"
    time.sleep(2.2)
    assert len(started(scheduled)) == 1
    due = datetime.fromisoformat(schedule(scheduled)[0]["next_at"])
    assert datetime.now() < due < datetime.now() + timedelta(hours=2, seconds=5)
    entry = rows(scheduled.workspace / "data.db", "SELECT actor FROM journal WHERE app='runs' AND verb='insert' ORDER BY id DESC LIMIT 1")
    assert entry == [{"actor": "schedule"}]


def test_a_scheduled_run_that_asks_waits_and_the_badge_says_so(scheduled):
    assert scheduled.post("/schedules", {"pipeline": "wants", "when": "daily 9:00", "is_on": "on"}, **HTMX).status == 200
    assert "need" not in scheduled.get("/headers", **HTMX).text
    be_due(scheduled, "wants")
    run = Driven(scheduled, wait_for(lambda: started(scheduled, "wants"))[0]["id"]).until("waiting")
    badge = scheduled.get("/headers", **HTMX).text
    assert "1 needs you" in badge and "f.status=waiting" in badge
    run.answer("needed", what="it").until("done")
    assert "needs you" not in scheduled.get("/headers", **HTMX).text


def test_a_schedule_gives_the_answers_it_was_given(scheduled):
    assert scheduled.post("/schedules", {"pipeline": "wants", "when": "daily 9:00", "is_on": "on", "given": '{"what": "tea"}'}, **HTMX).status == 200
    be_due(scheduled, "wants")
    run = Driven(scheduled, wait_for(lambda: started(scheduled, "wants"))[0]["id"]).until("done")
    assert run["needed"]["value"] == "tea"


def test_a_schedule_that_is_off_does_nothing(scheduled):
    write(scheduled.workspace / "data.db", "UPDATE schedules SET is_on=0")
    be_due(scheduled)
    time.sleep(2.2)
    assert not started(scheduled)


@pytest.mark.parametrize("form", [{"pipeline": "wants", "when": "soon"}, {"pipeline": "wnats", "when": "daily 9:00"}, {"pipeline": "wants", "when": "daily 9:00", "given": "[1]"},
    {"pipeline": "wants", "when": "daily 9:00", "given": "{"}, {"pipeline": "", "when": "daily 9:00"}])
def test_a_schedule_that_makes_no_sense_is_refused(scheduled, form):
    answer = scheduled.post("/schedules", form, **HTMX)
    assert 400 <= answer.status < 500 and not schedule(scheduled, "wants")
    if form["when"] == "soon": assert "names no time" in answer.text
    if form["pipeline"] == "wnats": assert "Did you mean wants" in answer.text


def test_one_bad_schedule_does_not_stop_the_others(scheduled):
    for pipeline, when, given in (("tick", "nonsense", "null"), ("gone", "daily 9:00", "null"), ("wants", "daily 9:00", "[1]")):
        write(scheduled.workspace / "data.db", "INSERT INTO schedules (pipeline, \"when\", is_on, given, in_code, next_at) VALUES (?, ?, 1, ?, 'x', '2020-01-01 00:00:00')", pipeline, when, given)
    assert scheduled.post("/schedules", {"pipeline": "wants", "when": "daily 9:00", "is_on": "on", "given": '{"what": "tea"}'}, **HTMX).status == 200
    write(scheduled.workspace / "data.db", "UPDATE schedules SET next_at='2021-01-01 00:00:00' WHERE given LIKE '%tea%'")
    assert wait_for(lambda: [r for r in started(scheduled, "wants") if "tea" in r["given"]], 5)
    time.sleep(1.2)
    assert scheduled.log.count("could not be kept") == 2 and "could not be looked at" not in scheduled.log, "each is told of once"


def test_the_engine_is_told_of_by_one_line_in_the_journal(at_work):
    begin(at_work, "five", start="1").until("done")
    told = rows(at_work.workspace / "data.db", "SELECT actor, summary FROM journal WHERE app='runs'")
    assert len(told) == 1 and told[0]["actor"] == "person" and "of Five" in told[0]["summary"]
    assert json.loads(rows(at_work.workspace / "data.db", "SELECT given FROM runs")[0]["given"]) == {}
