"""Functions become a pipeline: work in steps that a person, the shell, a schedule or the model drives, and that lasts.

    greet = pipeline("Greet")

    @greet.step
    def name(name: str = "World"):
        "Whom shall we greet?"
        return name.strip()

    @greet.step(retry=2, timeout=60)                # also: asks=True (approval), when=lambda name: …, name="…"
    def letter(name, tone: Literal["warm", "cool"] = "warm", progress: Progress = progress): …

    report.step(research)                           # a pipeline as a step
    greet.every("weekday 9:00")                     # or "every 2 hours", "monday 18:00", "0 9 * * 1-5"
    for row in each(rows, fetch, parallel=8): …     # a checkpoint per item; also `async for`

A step's parameter that is named like an earlier step is given that step's value; one annotated with a resource
(Progress, Run, Workspace) is handed it; any other is asked for. A step that asks nothing runs by itself.

A run is a row, each of its steps a row keyed by the step's name. A step's value and its status are written in one
transaction, so a step that is done is never run again; one that was running when the process died is interrupted.
Each run works in a thread of its own, and each attempt at a step in another: one that never ends is given up.
Not covered: a step in C code that holds the GIL, or that ends the process.
"""
import asyncio, contextlib, contextvars, ctypes, functools, hashlib, inspect, json, sys, threading, time as clock
import traceback
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Executor, Future, InvalidStateError, wait as wait_for_any
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from cronsim import CronSim, CronSimError
from .base import *
from .events import broadcaster
from .fields import PLAIN, Field, Json, clip, field_of, hints_of, parameters_of, sayable, value_of
from .store import actor, cause, db, dumps, table
from .values import OTHERS, keep, load, plain_data, unmarked

LINES, LINE = 500, 1000  # of a step's log: the newest lines, and characters of each
GRACE = 0.7              # seconds that a cancelled step may take to end before it is given up
STOPPED = ("failed", "interrupted", "cancelled")  # what Retry goes on from
LONG = 2                 # seconds from which on the end of a run is worth telling other tabs
SCHEMA_OF_STEPS = """
CREATE TABLE IF NOT EXISTS steps (run INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL
  DEFAULT 'waiting', inputs TEXT, is_answered INTEGER NOT NULL DEFAULT 0, is_stale INTEGER NOT NULL DEFAULT 0, value TEXT,
  error TEXT, details TEXT, started TEXT, seconds REAL, logs TEXT, child INTEGER, PRIMARY KEY (run, name));
CREATE INDEX IF NOT EXISTS steps_running ON steps(run) WHERE status = 'running';
CREATE TABLE IF NOT EXISTS items (run INTEGER NOT NULL, step TEXT NOT NULL, call INTEGER NOT NULL, at INTEGER NOT NULL,
  digest TEXT NOT NULL, value TEXT, error TEXT, PRIMARY KEY (run, step, call, at));
"""


@dataclass
class Run:
    "One run of a pipeline: its steps, what they were asked and what they gave."
    title: str
    pipeline: str
    status: Literal["running", "waiting", "done", "failed", "interrupted", "cancelled"] = "running"
    by: str = "person"
    at: datetime | None = None
    is_locked: bool = False
    parent: int | None = None   # the run that this one is a step of
    given: Json = None          # answers known beforehand, by field or step.field
    is_unattended: bool = False  # defaults are taken as answers
    executor: str = ""


runs = table(Run)
db.fleeting["runs"] = {"status"}


class Cancelled(BaseException): "The person cancelled this step."


# ─── what a pipeline is ───

@dataclass
class Step:
    "A function, or another pipeline, as one step: where each of its parameters comes from, and how it is run."
    name: str
    work: Any
    piped: list[str]
    handed: dict[str, Any]
    asked: dict[str, Field]
    asks: bool = False
    when: Callable | None = None
    retry: int = 0
    timeout: float | None = None
    kind: str = ""               # of its value, where its function says: markdown, file, url …

    @property
    def label(self) -> str:
        return self.work.title if isinstance(self.work, Pipeline) else self.name.replace("_", " ").capitalize()
    @property
    def instruction(self) -> str:
        return self.work.description if isinstance(self.work, Pipeline) else inspect.getdoc(self.work) or ""

    def fields(self, values: Mapping[str, Any]) -> dict[str, Field]:
        "What it asks for, with the choices and defaults that follow from earlier values."
        made = {}
        for name, field in self.asked.items():
            made[name] = field = replace(field)
            if field.options: field.offer(call(field.options, values))
            if inspect.isfunction(field.default): field.default = call(field.default, values)
        return made


def call(work: Callable, values: Mapping[str, Any]) -> Any:
    "Call a function with the earlier values that its parameters name."
    return work(**{n: values[n] for n in inspect.signature(work).parameters})


class Pipeline:
    """A named list of steps, with a page at /NAME and in the navigation. Its description is the plugin's docstring, or
    this one."""
    def __init__(self, title: str, description: str = "", name: str = ""):
        self.title, self.own_description, self.steps, self.plugin = title, description, {}, loading.get()
        self.name = name or "_".join(re.findall(r"[a-z0-9]+", title.lower()))
        self.schedule = ""
        if not self.name or self.name in self.plugin.pipelines:
            raise Problem(f"{self.plugin.name} makes two pipelines called {self.name}.",
                fix='Name one: pipeline("…", name="…").')
        self.plugin.pipelines[self.name] = self
        link(title, f"/{self.name}", "pipelines")
        for register in on_pipeline: register(self)

    @property
    def description(self) -> str: return self.own_description or self.plugin.description

    @property
    def asked(self) -> dict[str, Field]:
        "All that it asks for, what its inner pipelines ask for included, by name."
        found: dict[str, Field] = {}
        for step in self.steps.values():
            asked = step.work.asked if isinstance(step.work, Pipeline) else step.asked
            found |= {n: f for n, f in asked.items() if n not in found and n not in step.piped}
        return found

    def step(self, work: Any = None, *, name: str = "", asks: bool = False, when: Callable | None = None,
            retry: int = 0, timeout: float | None = None) -> Any:
        """Make a function (or a pipeline) the next step. `asks`: it waits for a person's approval; `when`: it is skipped
        unless this is true of earlier values; `retry`: how often it is tried again; `timeout`: seconds of one attempt.
        Raises Problem for names that make no sense and for types that cannot be asked for."""
        if work is None:
            return functools.partial(self.step, name=name, asks=asks, when=when, retry=retry, timeout=timeout)
        made = Step(name or getattr(work, "name", "") or work.__name__, work, [], {}, {}, asks, when, retry, timeout)
        if not made.name.isidentifier():  # it becomes part of addresses and of files' names
            raise Problem(f"{clip(made.name)} is not a name for a step.", fix='Name it: step(…, name="…").')
        if made.name in self.steps: raise Problem(f"{self.title} has two steps called {made.name}.", fix="Rename one.")
        if work is self:
            raise Problem(f"{self.title} cannot be a step of itself.", fix="Make the common part a pipeline.")
        if isinstance(work, Pipeline):
            made.piped = [n for n in work.asked if n in self.steps]
        else: self.sort_parameters(made)
        for source in filter(None, (when, *(f.options for f in made.asked.values()),
                *(f.default for f in made.asked.values() if inspect.isfunction(f.default)))):
            for n in inspect.signature(source).parameters:
                if n not in self.steps:
                    raise Problem(f"{made.name} looks at {n}, which is no earlier step.",
                        fix=did_you_mean(n, self.steps))
        self.steps[made.name] = made
        for register in on_step: register(self)
        return work

    def sort_parameters(self, step: Step) -> None:
        hints = hints_of(step.work)
        for p in parameters_of(step.work):
            hint, has_default = hints.get(p.name), p.default is not p.empty
            if p.name in self.steps: step.piped.append(p.name)
            elif isinstance(hint, type) and hint in RESOURCES: step.handed[p.name] = hint
            elif hint is None and not has_default:
                raise Problem(f"{step.name} wants {p.name}, which is no earlier step.",
                    fix=f"{did_you_mean(p.name, self.steps)} To ask for it, say its type: {p.name}: str.")
            else:
                hint = hint or (type(p.default) if type(p.default) in PLAIN else str)
                default = getattr(p.default, "default_factory", p.default)  # a dataclass's field(…), as in a record
                step.asked[p.name] = field_of(p.name, hint, *[default] * has_default)
        if hint := hints.get("return"):
            try: step.kind = field_of("return", hint).kind
            except Problem: pass  # a type that cannot be asked for can still be returned

    def every(self, when: str) -> "Pipeline":
        "Run it at these times, with its defaults; see Schedule. What asks for more then waits for a person."
        next_time(when, datetime.now())
        self.schedule = when
        return self


DAYS = dict(daily="*", day="*", weekday="1-5", weekend="6,0", sunday="0", monday="1", tuesday="2", wednesday="3",
    thursday="4", friday="5", saturday="6")


def next_time(when: str, after: datetime) -> datetime:
    "The first moment after another that a schedule names, by the clock on the wall. Raises Problem for what is no schedule."
    text = " ".join(when.lower().split())
    if found := re.fullmatch(r"every (?:(\d{1,4}) )?(minute|hour|day|week)s?", text):
        if int(found[1] or 1): return after + timedelta(**{f"{found[2]}s": int(found[1] or 1)})
    if found := re.fullmatch(rf"(?:every )?({'|'.join(DAYS)})s?(?: at)? (\d\d?):(\d\d)", text):
        text = f"{int(found[3])} {int(found[2])} * * {DAYS[found[1]]}"
    try: return next(CronSim("0 * * * *" if text == "hourly" else text, after))
    except (CronSimError, StopIteration):
        raise Problem(f"“{clip(when)}” names no time.",
            fix="Say weekday 9:00, monday 18:00, every 2 hours, or 0 9 * * 1-5.") from None


pipeline = Pipeline
on_pipeline: list[Callable[[Pipeline], None]] = []  # what later chapters do with each new pipeline
on_step: list[Callable[[Pipeline], None]] = []      # and each time that it has got a step


def pipeline_of(run: dict) -> Pipeline:
    found = all_pipelines().get(run["pipeline"])
    if not found:
        raise Problem(f"There is no pipeline {clip(run['pipeline'])}.",
            fix=did_you_mean(run["pipeline"], all_pipelines()), status=404)
    return found


# ─── what happens to a run ───

jobs: dict[int, "Job"] = {}  # the runs that are at work, by run id
jobs_lock = threading.Lock()
working: ContextVar["Job | None"] = ContextVar("working", default=None)  # the job that this code is a step of


def rows_of_run(run_id: int) -> dict[str, dict]:
    return {row["name"]: row for row in db.query("SELECT * FROM steps WHERE run=? ORDER BY rowid", [run_id])}


def write_step(run_id: int, name: str, **values: Any) -> None:
    "Write some columns of a step's row, under a new version."
    with db.transaction():
        db.execute("INSERT OR IGNORE INTO steps (run, name, version) VALUES (?, ?, 0)", [run_id, name])
        db.execute(f"UPDATE steps SET {', '.join(f'{n}=?' for n in values)}, version=(SELECT max(version) + 1 FROM steps "
            "WHERE run=?) WHERE run=? AND name=?", [*values.values(), run_id, run_id, name])


def set_status(run_id: int, status: str) -> None: db.execute("UPDATE runs SET status=? WHERE id=?", [status, run_id])


def tell(run_id: int, *apps: str, **more: Any) -> None:
    "Tell every tab that a run has moved."
    broadcaster.publish({"apps": [f"run-{run_id}", *apps], **more})


def start_run(made: Pipeline, given: Mapping[str, Any] | None = None, title: str = "", parent: int | None = None,
        is_unattended: bool = False, executor: str = "", goes: bool = True) -> int:
    "Begin a run, with answers known beforehand; its id. With `is_unattended`, defaults are answers too."
    given = dict(given or {})
    named = title or next((clip(v) for v in given.values() if isinstance(v, str) and v.strip()), "")
    row = dict(title=named or f"{made.title}, {datetime.now():%-d %b %H:%M}", pipeline=made.name, by=actor.get(),
        at=datetime.now().isoformat(" ", "seconds"), parent=parent, given=answers_text(given),
        is_unattended=int(is_unattended), executor=executor)
    runs.ready()
    told = f"started “{clip(row['title'], 50)}” of {made.title}"
    run_id = db.change("runs", None, row, "insert", told)["record_id"]
    if goes: go_on(run_id)
    return run_id


def open_run(run_id: int) -> dict:
    "The row of a run that may be changed now. Raises Problem where it is locked or at work."
    row = runs.row(run_id)
    if row["is_locked"]: raise Problem(f"“{row['title']}” is locked.", fix="Unlock it first.", status=409)
    if run_id in jobs: raise Problem(f"“{row['title']}” is at work.", fix="Wait for it, or cancel it.", status=409)
    return row


def answers_text(values: Mapping[str, Any]) -> str:
    "Answers as they are kept: `value_of` makes an Enum of its value again, and of a text the JSON that it is."
    def plain(value: Any) -> Any:
        if isinstance(value, Enum): return value.value
        try: return plain_data(value)
        except TypeError: return dumps(value)
    return dumps({n: plain(v) for n, v in values.items()})


def answers_in(text: str | None) -> dict[str, Any]: return json.loads(text or "{}", object_hook=unmarked)


def answer_step(run_id: int, name: str, values: Mapping[str, Any] | None = None, version: int | None = None) -> None:
    """Answer what a step asks, for the first time or anew (without `values`: as it was answered), and go on from there.
    What the steps below gave is kept until they have run again; approvals are asked for anew. `version`: of the row that
    the person saw."""
    steps = pipeline_of(open_run(run_id)).steps
    if name not in steps: raise Problem(f"There is no step {clip(name)}.", fix=did_you_mean(name, steps), status=404)
    with db.transaction():
        rows = rows_of_run(run_id)
        if version is not None and version != (rows[name]["version"] if name in rows else 0):
            raise Problem("This step has moved on meanwhile, perhaps in another tab.", fix="Look at it again.", status=409)
        answers = {} if values is None else dict(inputs=answers_text(values), is_answered=1)
        db.execute("""UPDATE runs SET given=json_remove(given, '$."--yes"') WHERE id=?""", [run_id])
        write_step(run_id, name, status="waiting", error=None, details=None, is_stale=0, child=None, **answers)
        for n in [*steps][[*steps].index(name):]:
            db.execute("DELETE FROM items WHERE run=? AND step=?", [run_id, n])
            if n == name or n not in rows: continue
            write_step(run_id, n, is_stale=1, status="done" if rows[n]["status"] == "done" else "waiting",
                is_answered=rows[n]["is_answered"] and not steps[n].asks)
    go_on(run_id)


def retry_run(run_id: int) -> "Job":
    "Go on where a run failed, was cancelled or was interrupted; what is done, items included, is not done again."
    open_run(run_id)
    with db.transaction():
        is_redone = False  # a step that was done, so that those below it are to be done again
        for name, row in rows_of_run(run_id).items():
            failed = db.one("SELECT 1 FROM items WHERE run=? AND step=? AND error IS NOT NULL", [run_id, name])
            if row["status"] in STOPPED or failed:
                write_step(run_id, name, status="waiting", error=None, details=None)
            elif is_redone: write_step(run_id, name, is_stale=1)
            is_redone = is_redone or bool(failed)
    return go_on(run_id)


def go_on(run_id: int) -> "Job":
    "Run the steps as far as nothing is asked, in the background."
    with jobs_lock:
        open_run(run_id)
        job = jobs[run_id] = Job(run_id)
    listen_to_prints()
    set_status(run_id, "running")
    tell(run_id, "runs", "jobs")
    job.thread.start()
    return job


def cancel_run(run_id: int) -> None:
    "Stop what is at work within a second; a run that waits is put aside."
    if job := jobs.get(run_id): job.cancel()
    elif open_run(run_id)["status"] == "waiting":
        set_status(run_id, "cancelled")
        tell(run_id, "runs")


def copy_run(run_id: int) -> int:
    "A run like this one, with all that it has come to; its id."
    with db.transaction():
        row = runs.row(run_id)
        copied = start_run(pipeline_of(row), answers_in(row["given"]), title=f"{row['title']} (copy)", goes=False)
        set_status(copied, row["status"])
        columns = ", ".join(n for n in db.columns_of("steps") if n not in ("run", "child"))
        db.execute(f"INSERT INTO steps (run, {columns}) SELECT ?, {columns} FROM steps WHERE run=?", [copied, run_id])
        for name, step in rows_of_run(copied).items():
            kind, _, text = (step["value"] or "").partition(":")
            if kind in OTHERS:
                own = f"{kind}:{OTHERS[kind].copy(text, f'runs/{copied}/{name}')}"
                db.execute("UPDATE steps SET value=? WHERE run=? AND name=?", [own, copied, name])
        db.execute("INSERT INTO items SELECT ?, step, call, at, digest, value, error FROM items WHERE run=?",
            [copied, run_id])
        interrupt(copied)
    return copied


def recover() -> None:
    "After a start: the tables, and what was at work when the process ended."
    runs.ready()
    db.execute(f"""{SCHEMA_OF_STEPS}
        CREATE INDEX IF NOT EXISTS runs_pipeline ON runs(pipeline, id);
        CREATE INDEX IF NOT EXISTS runs_status ON runs(status, id);
        CREATE INDEX IF NOT EXISTS runs_waiting ON runs(by) WHERE status = 'waiting'""")
    interrupt()


def interrupt(run_id: int | None = None) -> None:
    "What is said to be at work, and is not (any more), is interrupted."
    for sql in (
            "UPDATE steps SET status='interrupted', version=version + 1 WHERE status='running' AND run=ifnull(?, run)",
            "UPDATE runs SET status='interrupted' WHERE status='running' AND id=ifnull(?, id)"):
        db.execute(sql, [run_id])


db.openers.append(recover)


def heed_journal(entries: list[dict]) -> None:
    "A run that was renamed, locked or deleted, or brought back by an undo: its page is to show it."
    for run_id in {e["record_id"] for e in entries if e["app"] == "runs" and e["record_id"]}:
        if run_id in jobs and run_id not in runs: jobs[run_id].cancel()
        tell(run_id)


db.listeners.append(heed_journal)


class Earlier(dict):
    "The values of a run's steps by name, read when they are looked at."
    def __init__(self, rows: dict[str, dict]): self.rows = rows
    def __missing__(self, name: str) -> Any:
        kept = self.rows[name]["value"] if name in self.rows else None
        return None if kept is None else load(kept)


class Job:
    "A run at work."
    def __init__(self, run_id: int):
        self.run_id, self.row, self.step = run_id, runs.row(run_id), ""
        self.pipeline = pipeline_of(self.row)
        self.thread = threading.Thread(target=self.work, daemon=True, name=f"run {run_id}")
        self.closing: list[Callable[[], Any]] = []
        self.wish: Future = Future()  # done when it is to be cancelled
        self.began, self.child = clock.monotonic(), None
        self.clear()

    def clear(self) -> None:
        self.lines, self.dropped, self.half, self.has_news, self.calls = deque(maxlen=LINES), 0, "", False, 0
        self.at, self.total, self.what, self.since = 0.0, 0.0, "", clock.monotonic()
        self.loop = self.task = None

    @property
    def is_cancelled(self) -> bool: return self.wish.done()

    # ─── what a step says meanwhile ───

    def log(self, text: str) -> None:
        *lines, self.half = (self.half + text[-LINES * LINE:])[-LINES * LINE:].split("\n")
        self.dropped += max(0, len(self.lines) + len(lines) - LINES)
        self.lines.extend(clip(line, LINE) if len(line) > LINE else line for line in lines)
        self.has_news = True
        self.check()

    def logs(self) -> str:
        told = [f"… {self.dropped:,} lines before"] if self.dropped else []
        return sayable("\n".join([*told, *list(self.lines), *filter(None, [clip(self.half, LINE)])]))

    def report(self, at: float, total: float | None, what: str) -> None:
        self.at, self.total, self.what, self.has_news = at, total or 0, what or self.what, True
        self.check()

    def check(self) -> None:
        "Raise Cancelled in a step that is to end."
        if self.is_cancelled or not db.writer: raise Cancelled  # or the process ends

    # ─── going from step to step ───

    def work(self) -> None:
        actor.set("schedule" if self.row["by"] == "schedule" else "pipeline")
        cause.set(f"run {self.run_id}")
        try:
            status = self.drive()
            set_status(self.run_id, status)
        except Exception:
            if not db.writer: return  # the process ends, and the next one will see an interrupted run
            set_status(self.run_id, "failed")
            raise
        finally: jobs.pop(self.run_id, None)
        parent, said = self.row["parent"], {"waiting": "needs you", "failed": "has failed"}.get(status, f"is {status}")
        told = {"notice": f"“{self.row['title']}” {said}.", "href": f"/runs/{self.run_id}"}
        is_news = clock.monotonic() - self.began > LONG and parent not in jobs
        tell(self.run_id, "runs", "jobs", **told if is_news else {})
        if parent and status in ("done", "failed") and parent not in jobs:
            with contextlib.suppress(Problem): go_on(parent)  # it was locked or deleted meanwhile

    def drive(self) -> str:
        "Perform what is to be done; the run's status then."
        while True:
            rows = rows_of_run(self.run_id)
            for step in self.pipeline.steps.values():
                row = rows.get(step.name, {"status": "", "is_stale": 0})
                if row["status"] in STOPPED: return row["status"]
                if row["status"] not in ("done", "skipped") or row["is_stale"]: break
            else: return "done"
            self.step = step.name
            status = self.perform(step, row, Earlier(rows))
            if self.is_cancelled: return "cancelled"
            if status not in ("done", "skipped"): return status

    def note(self, step: Step, status: str, **values: Any) -> str:
        "Keep and tell how a step stands now."
        write_step(self.run_id, step.name, status=status, **values)
        tell(self.run_id)
        return status

    def perform(self, step: Step, row: dict, values: Earlier) -> str:
        "Run a step if nothing is asked; its status then."
        try:
            if step.when and not call(step.when, values):
                return self.note(step, "skipped", value=None, is_stale=0, seconds=None)
            if isinstance(step.work, Pipeline): return self.descend(step, row, values)
            fields = step.fields(values)
            if (fields or step.asks) and not row.get("is_answered"):
                inputs = self.preset(step, fields)
                if inputs is None: return self.note(step, "waiting")
            else: inputs = answers_in(row.get("inputs"))
            given = {n: value_of(f, inputs[n]) if n in inputs else f.blank() for n, f in fields.items()}
            given |= {n: f.asked.hand(given[n]) for n, f in fields.items() if f.asked}
            given |= {n: values[n] for n in step.piped} | {n: RESOURCES[kind](self) for n, kind in step.handed.items()}
            text = answers_text(inputs)
        except Exception as e: return self.fail(step, e)  # whatever `when`, choices or a kept value raise
        self.clear()
        self.note(step, "running", inputs=text, is_answered=1, is_stale=0, error=None, details=None, logs=None,
            started=datetime.now().isoformat(" ", "milliseconds"), seconds=None)
        began, tried = clock.monotonic(), 0
        facts = lambda: dict(seconds=clock.monotonic() - began, logs=self.logs() or None)
        while True:
            self.calls = 0
            try: value = self.attempt(step, given)
            except BaseException as e:
                if isinstance(e, Cancelled) or tried == step.retry: return self.fail(step, e, **facts())
                tried += 1
                self.lines.append(f"{describe(e)} Trying again ({tried} of {step.retry}) …")
            else: return self.note(step, "done", value=value, **facts())
            wait_for_any([self.wish], min(0.25 * 2 ** tried, 30))

    def preset(self, step: Step, fields: dict[str, Field]) -> dict[str, Any] | None:
        "The answers that were known beforehand; None where a person has to be asked."
        known = answers_in(self.row["given"])
        if step.asks and not known.get("--yes"): return None
        found = {n: known.get(f"{step.name}.{n}", known.get(n)) for n in fields if f"{step.name}.{n}" in known
            or n in known}
        if any(n not in found and (f.is_required or not self.row["is_unattended"]) for n, f in fields.items()):
            return None
        return {n: value_of(f, found[n]) if n in found else f.blank() for n, f in fields.items()}

    def descend(self, step: Step, row: dict, values: Earlier) -> str:
        "Run a pipeline that is a step, as a run of its own below this one."
        child = row.get("child")
        if not child or row["is_stale"]:
            known = answers_in(self.row["given"])
            child = start_run(step.work, known | {n: values[n] for n in step.piped},
                title=f"{self.row['title']}: {step.label}", parent=self.run_id,
                is_unattended=bool(self.row["is_unattended"]), executor=self.row["executor"], goes=False)
        self.note(step, "running", child=child, is_stale=0, error=None)
        if child in jobs: return self.note(step, "waiting")  # until it has ended
        self.child = retry_run(child)
        self.child.thread.join()
        self.child, status = None, runs.row(child)["status"]
        last = next((r["value"] for r in reversed(rows_of_run(child).values()) if r["status"] == "done"), None)
        told = {"done": dict(value=last), "waiting": {}}.get(status, dict(error=f"{step.label} {status}."))
        return self.note(step, status, **told)

    def fail(self, step: Step, error: BaseException, **facts: Any) -> str:
        "Record why a step did not come to its end."
        if isinstance(error, Cancelled): return self.note(step, "cancelled", **facts)
        shown = [line for line in traceback.format_exception(error) if "sololith/pipeline.py" not in line]
        return self.note(step, "failed", error=describe(error), details=sayable("".join(shown[-20:])[-6000:]), **facts)

    # ─── one attempt ───

    def attempt(self, step: Step, given: dict[str, Any]) -> Any:
        "Run a step's function in a thread: its value as it is kept. It is left behind if it does not end in time."
        def body() -> str:
            working.set(self)
            found = step.work(**given)
            if inspect.isawaitable(found): found = asyncio.run(self.awaited(found))
            return keep(found, f"runs/{self.run_id}/{step.name}")
        outcome, thread = in_thread(body)
        ends = clock.monotonic() + (step.timeout or 10**9)
        while not wait_for_any([outcome, self.wish], max(0.01, min(0.25, ends - clock.monotonic())), FIRST_COMPLETED).done:
            if self.has_news:
                self.has_news = False
                db.execute("UPDATE steps SET logs=? WHERE run=? AND name=?",
                    [self.logs() or None, self.run_id, step.name])
                tell(self.run_id)
            if clock.monotonic() > ends:
                self.stop(outcome, thread, TimeoutError)
                raise TimeoutError(f"It took longer than {step.timeout:g} seconds.")
        if not outcome.done():
            self.stop(outcome, thread, Cancelled)
            raise Cancelled
        if error := outcome.exception(): raise error
        return outcome.result()

    async def awaited(self, coroutine: Any) -> Any:
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        try: return await coroutine
        finally:
            while self.closing:  # what its resources have open
                with contextlib.suppress(Exception): await self.closing.pop()()

    def stop(self, outcome: Future, thread: threading.Thread, why: type[BaseException]) -> None:
        """End the attempt: by its loop or its own look at `check`, then by an exception in its thread; if it hears none, it
        goes on unheeded. The exception comes last: CPython may give it to a thread that this one is just starting."""
        if self.loop and self.task and not self.loop.is_closed(): self.loop.call_soon_threadsafe(self.task.cancel)
        thread.join(GRACE / 2)
        end_thread(outcome, thread, why, GRACE / 2)

    def cancel(self) -> None:
        with contextlib.suppress(InvalidStateError): self.wish.set_result(None)
        if self.child: self.child.cancel()


def in_thread(work: Callable, *args: Any) -> tuple[Future, threading.Thread]:
    "Call a function in a thread of its own, for which the end of the process does not wait: its outcome, and the thread."
    outcome: Future = Future()
    outcome.set_running_or_notify_cancel()
    def body() -> None:
        try: outcome.set_result(work(*args))
        except BaseException as e: outcome.set_exception(e)  # SystemExit too: it must not end us
    thread = threading.Thread(target=contextvars.copy_context().run, args=(body,), daemon=True)
    thread.start()
    return outcome, thread


def end_thread(outcome: Future, thread: threading.Thread, why: type[BaseException], seconds: float) -> None:
    "Raise an exception in a thread that is not at its end, and wait for it, but not for long."
    if not outcome.done():  # one that comes after that is nobody's to catch
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(why))
    thread.join(seconds)


def describe(error: BaseException) -> str:
    "What went wrong, in a line."
    match error:
        case Problem() | TimeoutError() if str(error): return sayable(str(error))
        case SystemExit(): return "It asks to exit, which a step cannot do."
    return clip(traceback.format_exception_only(error)[-1].strip(), 500)


class Heard:
    "Standard output or error: what a step prints goes to its log."
    def __init__(self, real: Any): self.real = real
    def __getattr__(self, name: str) -> Any: return getattr(self.real, name)
    def write(self, text: str) -> int:
        if job := working.get(): job.log(text)
        else: self.real.write(text)
        return len(text)


def listen_to_prints() -> None:
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), Heard): setattr(sys, name, Heard(getattr(sys, name)))


class Progress:
    """How far a step is, for whoever watches: `progress(3, 10, "pages")`, or `for x in progress(xs)`. A step that says so
    can be cancelled there."""
    def __call__(self, at: Any, total: float | None = None, what: str = "") -> Any:
        if isinstance(at, Iterable): return self.over(at, total, what)
        if job := working.get(): job.report(at, total, what)

    def over(self, items: Iterable, total: float | None, what: str) -> Iterator:
        total = total or (len(items) if isinstance(items, Sized) else None)
        for n, item in enumerate(items):
            self(n, total, what)
            yield item
            self(n + 1, total, what)


progress = Progress()
# what a parameter so annotated is handed
RESOURCES: dict[type, Callable[[Job], Any]] = {Progress: lambda job: progress, Run: lambda job: runs[job.run_id],
    Workspace: lambda job: home}


# ─── many items ───

@dataclass
class each:
    """Do the same with many items, a checkpoint for each: what was done before a crash, a cancel or a retry is not done
    again. Gives the values in order, as they come, with `for` or `async for`; an item that fails is left out, kept in
    `errors` and on the step's card, and tried again by Retry. `fn` may be async. `parallel`: how many at once; `retry`:
    how often an item is tried again; `per_second`: at most so many begin; `executor`: any concurrent.futures.Executor,
    or "dask://HOST:PORT" (by default the run's own, else threads)."""
    items: Iterable
    fn: Callable
    parallel: int | None = None
    retry: int = 0
    per_second: float = 0
    executor: Executor | str | None = None

    def __post_init__(self) -> None: self.items, self.errors = list(self.items), []

    def __iter__(self) -> Iterator[Any]:
        job, items, self.errors = working.get(), list(self.items), []
        place = (job.run_id, job.step, job.calls) if job else None
        if job: job.calls += 1
        given: Any = self.executor or (job and job.row["executor"]) or None
        self.executor = given
        width = self.parallel or (4 if given is None else 64)
        pool: Any = executor_at(given) if isinstance(given, str) else given
        digests = {at: hashlib.sha256(repr(item).encode(errors="replace")).hexdigest()[:16]
            for at, item in enumerate(items)}
        kept = db.query("SELECT at, digest, value FROM items WHERE run=? AND step=? AND call=? AND error IS NULL",
            place) if place else []
        ready = {row["at"]: row["value"] for row in kept if row["digest"] == digests.get(row["at"])}
        todo, tried = deque(at for at in digests if at not in ready), Counter[int]()
        working_on: dict[Future, int] = {}
        may_begin, give = 0.0, 0
        try:
            while give < len(items):
                while todo and len(working_on) < width and clock.monotonic() >= may_begin:
                    at = todo.popleft()
                    working_on[self.submit(pool, items[at])] = at
                    if self.per_second: may_begin = max(clock.monotonic(), may_begin) + 1 / self.per_second
                progress(give + len(ready), len(items))
                if give in ready:
                    if (value := ready.pop(give)) is not None: yield load(value)
                    give += 1
                    continue
                if not working_on:
                    clock.sleep(max(0, min(0.2, may_begin - clock.monotonic())))
                    continue
                rows = []
                for future in wait_for_any(working_on, 0.2, FIRST_COMPLETED).done:
                    at, error, value = working_on.pop(future), future.exception(), None
                    if error and tried[at] < self.retry:
                        tried[at] += 1
                        todo.append(at)
                        continue
                    if error: self.errors.append((items[at], error))
                    else:
                        value = keep(future.result(),
                            f"runs/{job.run_id}/{job.step}-{at}" if job else f"artifacts/each-{at}")
                    ready[at] = value
                    rows.append((at, digests[at], value, error and f"{clip(items[at], 100)}: {describe(error)}"))
                if place and rows:
                    with db.transaction():
                        for row in rows:
                            db.execute("INSERT OR REPLACE INTO items VALUES (?,?,?,?,?,?,?)", [*place, *row])
            failed = len(self.errors)
            progress(give, give, f"{failed:,} failed" if failed else "")
            if failed and failed == give:
                raise Problem(f"Each of {failed:,} items failed, the first with: {describe(self.errors[0][1])}",
                    fix="Mend what they have in common, then retry.")
        finally:
            for future in working_on: future.cancel()
            if isinstance(given, str): pool.client.close()

    def submit(self, pool: Any, item: Any) -> Future:
        "Threads of ours know which step they work for; other executors are sent the function alone."
        work = functools.partial(run_async, self.fn) if inspect.iscoroutinefunction(self.fn) else self.fn
        if isinstance(self.executor, str): return pool.submit(lambda item: work(item), item)  # pickled by value
        return pool.submit(work, item) if pool else in_thread(work, item)[0]

    async def __aiter__(self) -> AsyncIterator[Any]:
        items, end = iter(self), object()
        while (value := await asyncio.to_thread(next, items, end)) is not end: yield value


def run_async(fn: Callable, item: Any) -> Any: return asyncio.run(fn(item))


def executor_at(address: str) -> Any:
    "The executor of a Dask cluster at dask://HOST:PORT. Functions of plugins are sent to its workers as they are."
    try:
        import cloudpickle
        from distributed import Client
    except ImportError as e: raise Problem("Dask is not installed.", fix="Run: pip install 'sololith[dask]'") from e
    scheme, _, place = address.partition("://")
    if scheme != "dask" or ":" not in place:
        raise Problem(f"{clip(address)} is no executor.", fix="Give dask://HOST:PORT.")
    for name, module in list(sys.modules.items()):
        if name.startswith(("sololith_apps.", "sololith.apps.")): cloudpickle.register_pickle_by_value(module)
    try: client: Any = Client(f"tcp://{place}", timeout=10, set_as_default=False)
    except OSError as e:
        raise Problem(f"No Dask cluster answers at {place}.", fix="Start it, or leave --executor out.") from e
    pool = client.get_executor()
    pool.client = client
    return pool
