"""Runs in the browser: a page per pipeline, a page per run with a card per step, the badge of what is at work, schedules.

    /greet                what it does, the form that starts it, its runs         (`?tone=cool` fills the form beforehand)
    /runs, /runs/12       every run; one run: forms, values, logs, revise, rerun, retry, cancel, lock, compare
    /schedules            when which pipeline is run by itself: "weekday 9:00", "every 2 hours", "0 9 * * 1-5"

A run's page asks for what is new since the version that it shows, and puts the cards that have changed in their places,
so what is typed elsewhere stays. Schedules go by the clock on the wall; one that was missed is caught up once.
"""
import asyncio, functools, json, re, sys, time as clock
from dataclasses import MISSING, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from collections.abc import Callable, Mapping
from starlette.responses import Response, StreamingResponse
from .base import *
from .crud import BaseApp, address, alert, complaint, form_again, menu, saving
from .events import changed
from .fields import Field, Help, Json, clip, number, sayable, typed_values
from .forms import Sent, file_link, labelled, link_button, open_inside, picker, read_form
from .pipeline import STOPPED, Earlier, Job, Pipeline, Run, Step, answer_step, answers_in, cancel_run, copy_run, describe
from .pipeline import go_on, jobs, next_time, on_pipeline, on_step, open_run, pipeline_of, retry_run, rows_of_run, runs
from .pipeline import start_run
from .store import actor, db
from .tools import Tool, add_tool
from .ui import head, scripts, styles, when
from .values import csv_of, load, plain_data, rows_of, show, show_as

SENT = ft_hx("progress", value="0", max="1", cls="sent", aria_label="Sent")  # how much of an upload has been
FEW = 12  # steps up to which each that is done shows itself whole
styles.append("""
#steps { gap: .75rem }
.step { display: grid; grid-template-columns: minmax(0, 1fr); gap: .6rem; margin: 0; padding: .9rem 1.25rem;
  > *, h2, .value > * { margin: 0 !important }
  > header { all: unset; display: flex; gap: .6rem; align-items: center; flex-wrap: wrap }
  h2 { font-size: 1rem }
  header button { min-height: 1.9rem; padding: .1rem .4rem; color: var(--dim); font-size: .8125rem }
  .nr { width: 1.5rem; height: 1.5rem; border-radius: 50%; display: grid; place-items: center; font-size: .8rem;
    background: var(--hover); color: var(--dim) }
  &.done .nr { background: var(--soft); color: var(--accent) } &.now { border-color: var(--accent) }
  &.later { background: none; border-style: dashed } &.failed { border-color: var(--bad) }
  &:is(.stale, .now) .value { color: var(--dim); img { opacity: .5 } }
  .tail { display: flex; flex-direction: column-reverse } }
:is(.step, .value) pre { margin: 0; max-height: 26rem; overflow-y: auto }
.value { overflow-x: auto; .table { max-height: 26rem } :is(th, td) { padding: .3rem .6rem }
  .table table { width: max-content; min-width: 100% }
  .table thead { position: sticky; top: 0; background: var(--card) }
  img { max-width: 100%; max-height: 40rem; background: #fff } }
.status-failed, .status-interrupted { color: var(--bad) } progress { margin: 0 } #headers { display: flex; gap: .5rem }
.status-running, .status-waiting { background: var(--soft); color: var(--accent) }
.choices { margin: 0; max-height: 20rem; overflow-y: auto }
.choices label { font-weight: 400; margin: .2rem 0; display: flex; gap: .5rem }
.compare { > * > tr > * { vertical-align: top } > tbody > tr > td { width: 45% } td > small { display: block }
  .differs > th { box-shadow: inset 3px 0 var(--accent) } .chip { display: table } }
.sent { display: none; .htmx-request > & { display: block } }
@media (max-width: 48rem) { #headers .chip span { display: none }
  .step > header { h2 { flex: 1 } .grow { order: 1; flex-basis: 100% } } }
""")
scripts.append("""
document.addEventListener("keydown", e => {
  if (e.key !== "Enter" || !e.target.matches(".step select, .step [type=checkbox]")) return
  e.preventDefault(); e.target.form?.requestSubmit() })
""")


class RunsApp(BaseApp):
    "Every run of every pipeline. Runs begin on their pipeline's page, from the shell, or by a schedule."
    record, name, section, can_add = Run, "runs", "pipelines", False
    readonly = ("pipeline", "status", "by", "at")

    def make_tools(self) -> None:
        self.fields = {n: self.fields[n] for n in ("title", *self.readonly)}
        super().make_tools()

    def prepare_insert(self, data: dict) -> None:
        raise Problem("A run is not added by hand.", fix="Start it on its pipeline's page.")

    def prepare_update(self, record: Any, data: dict) -> dict:
        if record.is_locked: raise Problem(f"“{record.title}” is locked.", fix="Unlock it first.", status=409)
        return {"title": data.get("title", record.title)}

    def delete(self, *record_ids: int) -> int:
        for record_id in record_ids: open_run(record_id)
        return super().delete(*record_ids)

    def nothing(self, is_filtered: bool) -> FT:
        return Div(H2("No runs yet"), P("What is started, here or elsewhere, is listed here."), cls="empty card")

    def record_page(self, record_id: int) -> tuple:
        run, live = runs.row(record_id), run_live(record_id)
        return *head(run["title"], run_menu(run)), Div(*live, cls="stack", id="steps")

    def value(self, record: Any, field: Field, *args: Any, **kwargs: Any) -> Any:
        made = all_pipelines().get(record.pipeline)
        if field.name == "pipeline" and made: return A(made.title, href=f"/{made.name}")
        return super().value(record, field, *args, **kwargs)


runs_app = RunsApp()
runs_app.fields["status"].names = {"waiting": "needs you"}
said_status = runs_app.fields["status"].called


# ─── a pipeline's page ───

def add_page(made: Pipeline) -> None:
    "Give a new pipeline its page at /NAME."
    @rt(f"/{made.name}", methods=["GET"])
    async def pipeline_get(req: Request):
        params = dict(req.query_params) | {"f.pipeline": made.name}
        if req.headers.get("hx-target") == "runs-list": return runs_app.listing(params, f"/{made.name}")
        outline = Ol(*[Li(Strong(s.label), f" {s.instruction.partition(chr(10))[0]}") for s in made.steps.values()],
            cls="small")
        steps = Details(Summary(f"{len(made.steps)} steps", cls="small muted"), outline)
        return (*head(made.title), Div(P(made.description, cls="muted"), start_form(made, req.query_params), steps,
            H2("Runs"), Div(runs_app.toolbar(params, f"/{made.name}"), runs_app.listing(params, f"/{made.name}")),
            cls="stack"))

    @rt(f"/{made.name}", methods=["POST"])
    def pipeline_post(form: Sent):
        first = next(iter(made.steps.values()), None)
        if not first: raise Problem(f"{made.title} has no steps.", fix="Give it one: @NAME.step.")
        try: values = answers_of(first.fields({}), form)
        except Problem as e: return form_again(e, start_form(made, form, e))
        title = next((re.sub(r"-[0-9a-f]{8}(?=\.\w+$)", "", clip(v)) for v in values.values() if isinstance(v, str)
            and v.strip()), "")
        try: given = dict(json.loads(str(form.get("_given") or "{}")))
        except (TypeError, ValueError): given = {}  # the address bar and the form are anyone's to change
        given = {n: v for n, v in given.items() if isinstance(v, str) and n in made.asked}
        run_id = start_run(made, given, title=title, goes=False)
        answer_step(run_id, first.name, values)
        return HtmxResponseHeaders(redirect=f"/runs/{run_id}"), ""


on_pipeline.append(add_page)


def start_form(made: Pipeline, values: Any, problem: Problem | None = None) -> FT:
    "The first step's form, or a button where it asks nothing. What is known of later steps is handed on."
    first = next(iter(made.steps.values()), None)
    if not first: return Div(P("It has no steps yet."), cls="card")
    later = {n: values[n] for n in values if n in made.asked and n not in first.asked}
    return asked_form(first, {}, values, problem,
        Input(type="hidden", name="_given", value=values.get("_given") or json.dumps(later)),
        Div(Button("Start", cls="spins"), cls="actions"), cls="card", hx_post=f"/{made.name}", hx_target="this")


def asked_form(step: Step, values: Mapping, typed: Any, problem: Problem | None, *foot: FT, **attrs: Any) -> FT:
    "A step's instruction and fields, with what was typed, known or is the default, and with what is wrong."
    parts, fields = [P(step.instruction)] if step.instruction else [], step.fields(values)
    wrong = problem.fields if problem else {}
    first = next(iter(wrong or fields), "")
    if not wrong: parts.append(complaint(P, problem))
    for n, f in fields.items():
        value = (typed.getlist(n) if f.kind == "tags" and f.choices and hasattr(typed, "getlist") else typed.get(n)
            if n in typed else typed.get(f"_now.{n}", f.blank()))
        kept = value if isinstance(value, str) and f.kind == "file" else ""
        more: dict[str, Any] = {"place": f"{attrs['hx_post']}.{n}"} if f.asked else {}
        parts.append(labelled(f, value, wrong.get(n, ""), id=f"{step.name}-{n}", **more,
            autofocus=n == first, extra=Input(type="hidden", name=f"_now.{n}", value=kept) if kept else None))
    if any(f.kind == "file" for f in fields.values()):
        parts.append(SENT)
    return Form(*parts, *foot, hx_swap="outerHTML", novalidate=True, hx_encoding="multipart/form-data",
        hx_disabled_elt="find button", **attrs)


def answers_of(fields: Mapping, form: Any) -> dict[str, Any]:
    "The typed answers of a sent form. Raises Problem (422) with every field that is wrong or missing."
    values = read_form(fields, form)
    for n, f in fields.items():
        if f.kind == "file" and n not in values and form.get(f"_now.{n}"):
            with contextlib.suppress(FileNotFoundError):
                os.close(open_inside(home.files, now := str(form[f"_now.{n}"])))
                values[n] = now
    missing = {n: f"{n} is empty. Choose a file." for n, f in fields.items() if n not in values and f.is_required}
    if missing: raise Problem(" ".join(missing.values()), status=422, fields=missing)
    return {n: values.get(n, f.blank()) for n, f in fields.items()}


# ─── a run's page ───

def act_button(run_id: int, act: str, text: str, step: str = "", **attrs: Any) -> FT:
    "A button that does something with a run, from one of its steps on where that is said."
    return Button(text, hx_post=f"/runs/{run_id}/act", hx_target="#run-live", hx_swap="morph:outerHTML",
        hx_vals=json.dumps({"act": act} | ({"step": step} if step else {})), **attrs)


def run_menu(run: dict) -> FT:
    url = f"/runs/{run['id']}"
    act = functools.partial(act_button, run["id"])
    given = {n: v for row in rows_of_run(run["id"]).values() for n, v in json.loads(row["inputs"] or "{}").items()}
    schedule = address("/schedules/new", dict(pipeline=run["pipeline"], given=json.dumps(given, ensure_ascii=False)))
    return menu("more", "More", Button("Rename", hx_get=f"{url}/rename", hx_target="#dialog-body"),
        act("copy", "Duplicate"), act("unlock", "Unlock") if run["is_locked"] else act("lock", "Lock"),
        A("Compare with…", href=f"{url}/compare"),
        Button("Run on a schedule…", hx_target="#dialog-body", hx_get=schedule),
        A("Export as JSON", href=f"{url}/export.json", download=True), *[draw(run) for draw in in_menu],
        Button("Delete", cls="danger", hx_post=f"{url}/delete", hx_vals='{"then": "list"}', hx_swap="none"))


in_menu: list[Callable[[dict], FT]] = []  # what later chapters offer in a run's menu


def run_live(run_id: int, since: int | None = None) -> list[FT]:
    "The part of a run's page that asks again, and after it the cards of the steps that have moved since a version."
    if run_id not in runs:
        return [Div(P("This run has been deleted."), id="run-live", cls="card bad", hx_trigger=changed("runs"),
            hx_get=f"/runs/{run_id}/live", hx_swap="outerHTML")]
    run, rows, job = runs.row(run_id), rows_of_run(run_id), jobs.get(run_id)
    newest = max((row["version"] for row in rows.values()), default=0)
    made = all_pipelines().get(run["pipeline"])
    steps = list(made.steps.values()) if made else []
    asking = next((s.name for s in steps if rows.get(s.name, NOT_YET)["status"] not in ("done", "skipped")
        or rows[s.name]["is_stale"]), "")
    act = functools.partial(act_button, run_id)
    button = act("cancel", "Cancel", cls="quiet") if job else act("retry",
        "Retry") if run["status"] in STOPPED and not run["is_locked"] else None
    extras = [extra for draw in on_run if made and (extra := draw(run))]
    facts = Div(Span(said_status(run["status"]), cls=f"chip status-{run['status']}"),
        Span("locked", cls="chip") if run["is_locked"] else None,
        A(made.title, href=f"/{made.name}", cls="small") if made else Small(run["pipeline"]),
        Small(f"by {run['by']}, ", when(run["at"]), cls="muted"),
        A("part of another run", href=f"/runs/{run['parent']}", cls="small") if run["parent"] else None,
        Span(cls="grow"), *extras, button, cls="row")
    missing = None if made else P(
        f"The pipeline {run['pipeline']} is not loaded: this run can be read, but not go on.", cls="error")
    # it stays the same element, with the same attributes: what is told while it asks makes it ask once more
    region = Div(facts, missing, Hidden(newest, name="since", id="since"), id="run-live",
        hx_get=f"/runs/{run_id}/live", hx_include="#since", hx_swap="morph:outerHTML",
        hx_trigger=changed(f"run-{run_id}", "runs-missed", "plugins"))
    if not made: steps = [Step(n, None, [], {}, {}) for n in rows]
    cards = []
    for at, step in enumerate(steps):
        row = rows.get(step.name, NOT_YET)
        if since is None or row["version"] > since or row["status"] == "running":
            card = step_card(run, steps, at, rows, step.name == asking)
            if since is not None: card.attrs["hx-swap-oob"] = "morph"
            cards.append(card)
    return [region, *cards]


on_step_card: list[Callable[[int, str], Any]] = []  # what later chapters show of a step, by its run and name
on_run: list[Callable[[dict], Any]] = []  # what later chapters offer beside a run's status
NOT_YET = {"version": 0, "status": "waiting"}  # the row of a step that has none


def step_card(run: dict, steps: list[Step], at: int, rows: dict, is_asking: bool, problem: Problem | None = None,
        typed: Any = None, is_revised: bool = False) -> FT:
    "One step of a run: what it is for, what it asks or gave, how long it took, and what can be done about it."
    step, job = steps[at], jobs.get(run["id"])
    row = rows.get(step.name, NOT_YET)
    url, status, may = f"/runs/{run['id']}", row["status"], not run["is_locked"] and step.work is not None
    act = functools.partial(act_button, run["id"], step=step.name, cls="plain small")
    is_open = may and (is_revised or is_asking and (step.asked or step.asks)
        and (status == "failed" or status == "waiting" and not row.get("is_answered")))
    mark = {"running": "", "done": "✓", "skipped": "–", "failed": "!", "interrupted": "!",
        "cancelled": "×"}.get(status, str(at + 1))
    tools = []
    if may and status in ("done", "skipped", "failed", "cancelled") and not is_open:
        if step.asked:
            tools.append(Button("Revise", cls="plain small", hx_get=f"{url}/steps/{step.name}",
                hx_target=f"#step-{step.name}", hx_swap="outerHTML"))
        tools.append(act("rerun", "Rerun from here"))
    took = f"{row['seconds']:.1f} s" if row.get("seconds") and row["seconds"] >= .05 else ""
    label = "stale" if row.get("is_stale") else said_status(status) if status != "waiting" or is_asking else ""
    told = step.instruction.partition("\n")[0] if not is_open else ""
    parts: list[Any] = [Header(Span(mark, cls="nr", aria_hidden="true",
        aria_busy="true" if status == "running" else None), H2(step.label), Small(told, cls="muted grow"),
        Small(took, cls="muted"), Small(label, cls=f"chip status-{status}") if label and status != "done"
        or row.get("is_stale") else None, *tools)]
    inputs = answers_in(row.get("inputs"))
    if row.get("child"): parts.append(P(A("The run of this step", href=f"/runs/{row['child']}")))
    if row.get("error"):
        parts += [alert(P, row["error"]),
            Details(Summary("Traceback", cls="small"), Pre(row["details"] or "", tabindex="0"),
                id=f"trace-{step.name}")]
    if status == "running" and job: parts.append(progress_bar(job))
    if is_open:
        try:
            parts.append(asked_form(step, Earlier(rows), typed or inputs or answers_in(run["given"]), problem,
                Input(type="hidden", name="_version", value=row["version"]),
                Div(link_button("Leave it", url) if is_revised else None,
                    Button("Approve" if step.asks and not step.asked else "Continue", cls="spins",
                        autofocus=not step.asked), cls="actions"), hx_post=f"{url}/steps/{step.name}",
                hx_target=f"#step-{step.name}"))
        except Exception as e:
            parts.append(alert(P, f"What it asks could not be worked out: {clip(e, 300)}"))
    elif inputs: parts.append(Small(said(inputs), cls="muted"))
    if status == "done" or row.get("is_stale") and row.get("value"):
        content = value_part(run["id"], step, row["value"], is_lazy=True)
        is_whole = len(steps) <= FEW or len(row["value"] or "") < 100 or [*rows][-1] == step.name
        parts.append(content if is_whole else Details(Summary("Value"), content))
    if failed := db.query("SELECT error FROM items WHERE run=? AND step=? AND error IS NOT NULL LIMIT 20",
            [run["id"], step.name]) if status != "waiting" else []:
        count = db.one("SELECT count(*) FROM items WHERE run=? AND step=? AND error IS NOT NULL", [run["id"], step.name])
        parts.append(Details(Summary(f"{count:,} items failed", cls="error"),
            Ul(*[Li(f["error"]) for f in failed], cls="small"),
            act("retry", "Retry the failed items") if may else None, id=f"failed-{step.name}"))
    parts += [part for show_more in on_step_card if (part := show_more(run["id"], step.name))]
    if row.get("logs"):
        parts.append(Details(Summary("Log", cls="small muted"),
            Pre(row["logs"][-20_000:], cls="tail", tabindex="0"), open=status == "running"))
    cls = "now" if is_open or status == "running" else "later" if status in ("waiting", "skipped") else status
    return Section(*parts, id=f"step-{step.name}", cls=f"card step {cls} {'stale' if row.get('is_stale') else ''}",
        aria_label=step.label)


def said(inputs: Mapping[str, Any]) -> str:
    "Answers, in a line."
    return " · ".join(f"{n}: {clip(', '.join(map(str, v)) if isinstance(v, list) else getattr(v, 'told', v), 80)}"
        for n, v in inputs.items())


def progress_bar(job: Job) -> FT:
    "How far a job is, how fast, and how long it will take."
    rate = job.at / max(clock.monotonic() - job.since, 0.001)
    left = timedelta(seconds=round((job.total - job.at) / rate)) if rate and job.total else ""
    facts = [job.what, f"{job.at:,g} of {job.total:,g}" if job.total else f"{job.at:,g}" if job.at else "",
        f"{rate:,.3g} a second" if job.at else "", f"{left} left" if left and job.at < job.total else ""]
    bar = ft_hx("progress", value=str(job.at), max=str(job.total)) if job.total else ft_hx("progress")
    return Div(bar, Small(" · ".join(filter(None, facts)) or "At work …", cls="muted number"))


def value_part(run_id: int, step: Step, kept: str | None, is_lazy: bool = False, params: Mapping = {}) -> FT:
    "What a step gave. A large value is asked for by itself, so that the page is there at once."
    url = f"/runs/{run_id}/value/{step.name}"
    if is_lazy and kept and kept.startswith("file:"):
        return Div(Span("Reading …", cls="muted"), cls="value lazy", id=f"value-{kept[5:17]}", hx_get=url,
            hx_trigger="load", hx_target="this", hx_swap="innerHTML")
    try:
        match value := load(kept) if kept else None:
            case None: content = Span("Done.", cls="muted")
            case str() if step.kind == "file":
                content = P(file_link(value), " ", A("Show", href=address("/files", {"file": value})))
            case str() if step.kind in ("markdown", "url", "email"): content = show_as(step.kind, value)
            case str() if "\n" in value and len(value) <= 20_000: content = Pre(sayable(value), tabindex="0")
            case _: content = show(value, url, params)
    except Exception as e:  # its file is gone, or whatever an object's own methods raise
        content = P(f"It cannot be shown: {describe(e)}", cls="error")
    return Div(content, cls="value")


@rt("/runs/{run_id:int}/live", methods=["GET"])
def live_get(req: Request, run_id: int): return run_live(run_id, number(req.query_params.get("since")))


@rt("/runs/{run_id:int}/value/{name}", methods=["GET"])
def value_get(req: Request, run_id: int, name: str):
    "A step's value for its card; as NAME.csv a table, as NAME.txt a text, to download."
    name, _, ending = name.partition(".")
    row = rows_of_run(run_id).get(name)
    if not row: raise Problem("There is no such value.", status=404)
    made = all_pipelines().get(runs.row(run_id)["pipeline"])
    step = made and made.steps.get(name) or Step(name, None, [], {}, {})
    if not ending: return value_part(run_id, step, row["value"], params=dict(req.query_params)).children
    value = load(row["value"] or "json:null")
    place = {"content-disposition": f'attachment; filename="{name}.{ending}"'}
    if ending == "csv" and (rows := rows_of(value)):
        return StreamingResponse(csv_of(rows), media_type="text/csv", headers=place)
    if ending == "txt":
        return Response(value if isinstance(value, bytes) else sayable(str(value)), media_type="text/plain",
            headers=place)
    raise Problem(f"{name} cannot be had as {clip(ending)}.", fix="Tables come as .csv, all else as .txt.", status=404)


@rt("/runs/{run_id:int}/steps/{name}", methods=["GET"])
def revise_get(run_id: int, name: str): return revised(run_id, name)


def revised(run_id: int, name: str, problem: Problem | None = None, typed: Any = None) -> FT:
    "A step's card with its form open."
    run = runs.row(run_id)
    steps = pipeline_of(run).steps
    if name not in steps: raise Problem(f"There is no step {clip(name)}.", fix=did_you_mean(name, steps), status=404)
    return step_card(run, [*steps.values()], [*steps].index(name), rows_of_run(run_id), False, problem, typed, True)


@rt("/runs/{run_id:int}/steps/{name}", methods=["POST"])
def answer_post(run_id: int, name: str, form: Sent):
    "Answer a step, for the first time or anew."
    step = pipeline_of(runs.row(run_id)).steps.get(name)
    if not step: raise Problem(f"There is no step {clip(name)}.", status=404)
    try:
        values = answers_of(step.fields(Earlier(rows_of_run(run_id))), form)
        answer_step(run_id, name, values, number(form.get("_version")))
    except Problem as e:
        if e.status == 409: raise
        return form_again(e, revised(run_id, name, e, form))
    region, *cards = run_live(run_id, 0)
    region.attrs["hx-swap-oob"] = "morph"
    for card in cards:
        if card.attrs["id"] == f"step-{name}": del card.attrs["hx-swap-oob"]  # this one takes the place of the form
    return region, *cards


@rt("/runs/{run_id:int}/act", methods=["POST"])
def act_post(run_id: int, form: Sent):
    match act := str(form.get("act")):
        case "cancel": cancel_run(run_id)
        case "retry": retry_run(run_id)
        case "rerun": answer_step(run_id, str(form.get("step")))
        case "lock" | "unlock":
            runs.update(id=run_id, is_locked=act == "lock")
            return HtmxResponseHeaders(refresh="true"), ""
        case "copy": return HtmxResponseHeaders(redirect=f"/runs/{copy_run(run_id)}"), ""
        case _: raise Problem(f"There is no {clip(act)} to do with a run.", status=404)
    return run_live(run_id, 0)


def can_rename(app: BaseApp) -> None:
    "Let a record be given another title in a dialog at /NAME/ID/rename."
    @rt(f"{app.url}/{{record_id:int}}/rename", methods=["GET"])
    async def rename_get(record_id: int):
        return Form(H2("Rename"), labelled(app.fields["title"], app.table.row(record_id)["title"], autofocus=True), saving(),
            hx_post=f"{app.url}/{record_id}/rename", hx_swap="none")

    @rt(f"{app.url}/{{record_id:int}}/rename", methods=["POST"])
    async def rename_post(record_id: int, form: Sent):
        app.update(id=record_id, **read_form(app.fields, form, ["title"]))
        return HtmxResponseHeaders(refresh="true"), ""


can_rename(runs_app)


@rt("/runs/{run_id:int}/export.json", methods=["GET"])
def run_export(run_id: int):
    "A run as JSON: its answers, values, errors and times."
    run, rows = runs.row(run_id), rows_of_run(run_id)
    def told(kept: str | None) -> Any:
        try:
            value = load(kept) if kept else None
            if (table := rows_of(value)) is not None: return [{n: str(v) for n, v in r.items()} for r in table.dicts()]
            try: return json.loads(json.dumps(plain_data(value), allow_nan=False))
            except (TypeError, ValueError): return str(value)
        except Exception as e: return describe(e)  # its file is gone, or whatever an object's own methods raise
    steps = [{n: row[n] for n in ("name", "status", "started", "seconds", "error", "logs")}
        | {"inputs": json.loads(row["inputs"] or "{}"), "value": told(row["value"])} for row in rows.values()]
    text = json.dumps({**run, "given": answers_in(run["given"]), "steps": steps}, ensure_ascii=False, indent=1)
    return Response(sayable(text), media_type="application/json",
        headers={"content-disposition": f'attachment; filename="run-{run["id"]}.json"'})


@rt("/runs/{run_id:int}/compare", methods=["GET"])
async def compare_get(req: Request, run_id: int):
    "Two runs of a pipeline side by side: what each step was asked and gave."
    other = number(req.query_params.get("to"))
    run, made = runs.row(run_id), pipeline_of(runs.row(run_id))
    choices = runs.rows("pipeline=? AND id!=?", [made.name, run_id], "id desc", limit=100)
    titles = [("", "Compare with…"), *((r["id"], f"{r['title']} (no. {r['id']})") for r in choices)]
    pick = Form(picker(titles, other, name="to", aria_label="Compare with", data_submits=True), method="get", cls="bar")
    parts: list[Any] = [pick if choices else P("There is no other run of this pipeline.", cls="muted")]
    if other:
        sides, lines = [rows_of_run(run_id), rows_of_run(other)], []
        for step in made.steps.values():
            rows = [side.get(step.name, {}) for side in sides]
            differs = any(rows[0].get(n) != rows[1].get(n) for n in ("inputs", "value", "error"))
            lines.append(Tr(Th(step.label, Small("differs", cls="chip") if differs else None, scope="row"),
                *[Td(Small(said(answers_in(row.get("inputs"))), cls="muted"),
                    P(row["error"], cls="error") if row.get("error") else value_part(i, step, row["value"], True)
                    if row.get("value") else Span("—", cls="muted"))
                    for i, row in zip((run_id, other), rows, strict=True)], cls="differs" if differs else ""))
        heads = [Th(A(runs.row(i)["title"], href=f"/runs/{i}")) for i in (run_id, other)]
        parts.append(Div(Table(Thead(Tr(Th(""), *heads)), Tbody(*lines), cls="compare"), cls="table"))
    return *head(f"Compare {run['title']}", link_button("Back", f"/runs/{run_id}")), *parts


@header
def jobs_badge():
    "What is at work, and what was begun by itself and now needs the person."
    needing = db.one("SELECT count(*) FROM runs WHERE status='waiting' AND by != 'person'")
    facts = ((len(jobs), "at work", "running"), (needing, "needs you" if needing == 1 else "need you", "waiting"))
    return Span(*[A(n, Span(f" {text}"), aria_label=f"{n} {text}", href=f"/runs?f.status={status}",
        cls=f"chip status-{status}") for n, text, status in facts if n], cls="row")


# ─── tools ───

RUN_SECONDS = 60  # that a tool waits for a run; after that it goes on by itself


def add_tools(made: Pipeline) -> None:
    "What can be done with a pipeline by name: run it with its defaults, or start, fill, revise and look at a run."
    asked = {n: tool_field(f) for n, f in made.asked.items()}
    free = {n: replace(f, default=None, is_optional=True) for n, f in asked.items()}
    of_run = Field("run", "int", MISSING, help="the number of the run")
    step = Field("step", "text", MISSING, help=f"one of {', '.join(made.steps)}")
    def add(kind: str, work: Callable, fields: dict[str, Field], about: str, is_usual: bool = False) -> None:
        add_tool(Tool(f"{made.name}_{kind}", work, fields, about, kind == "status", owner=made.name, kind=kind,
            is_usual=is_usual, is_outward=kind != "status"))

    async def run_tool(**given: Any) -> str: return await waited(start_run(made, said_only(given), is_unattended=True))
    async def start_tool(**given: Any) -> str: return await waited(start_run(made, said_only(given)))

    async def fill_tool(run: int, **given: Any) -> str:
        row = run_of(made, run)
        at = waiting_in(rows_of_run(run))
        if row["status"] != "waiting" or not at:
            raise Problem(f"Run {run} asks nothing.", fix="Look at its status.", status=409)
        answer_step(run, at, filled(made, run, at, given))
        return await waited(run)

    async def revise_tool(run: int, step: str, **given: Any) -> str:
        run_of(made, run)
        answer_step(run, step, filled(made, run, step, given))
        return await waited(run)

    def status_tool(run: int) -> str:
        run_of(made, run)
        return run_text(run, 300)

    add("run", run_tool, free, f"{made.description.partition(chr(10))[0]} What is left out has its default.", True)
    add("start", start_tool, free, f"Begin a run of {made.title}; it waits where it asks what is not given.")
    add("fill", fill_tool, {"run": of_run} | free, f"Answer the step at which a run of {made.title} waits.")
    add("revise", revise_tool, {"run": of_run, "step": step} | free, f"Answer a step of a run of {made.title} anew.")
    add("status", status_tool, {"run": of_run}, f"How a run of {made.title} stands.")


on_step.append(add_tools)


def tool_field(field: Field) -> Field:
    "A field that is asked for in a step as a tool's: choices that follow from earlier steps are checked by the step."
    if field.options:
        field = replace(field, options=None, kind="tags" if field.kind == "tags" else "text")
    return replace(field, default=None if callable(field.default) else field.default)


def waiting_in(rows: dict[str, dict]) -> str: return next((n for n, row in rows.items() if row["status"] == "waiting"), "")
def said_only(given: dict) -> dict: return {n: v for n, v in given.items() if v is not None}


def run_of(made: Pipeline, run_id: int) -> dict:
    row = runs.row(run_id)
    if row["pipeline"] != made.name:
        raise Problem(f"Run {run_id} is one of {row['pipeline']}.", fix=f"Use the tools of {row['pipeline']}.")
    return row


def filled(made: Pipeline, run_id: int, name: str, given: dict) -> dict[str, Any]:
    "The answers to a step, out of what is given and what it was answered or has as its default. Raises Problem (422)."
    if name not in made.steps:
        raise Problem(f"There is no step {clip(name)}.", fix=did_you_mean(name, made.steps), status=404)
    if made.steps[name].asks:
        raise Problem(f"Step {name} waits for a person's approval.", fix=f"It is given at /runs/{run_id}.", status=409)
    rows = rows_of_run(run_id)
    fields, before = made.steps[name].fields(Earlier(rows)), answers_in(rows.get(name, {}).get("inputs"))
    values = before | {n: v for n, v in said_only(given).items() if n in fields}
    if missing := [n for n, f in fields.items() if f.is_required and n not in values]:
        raise Problem(f"Step {name} asks for {', '.join(missing)}.", fix="Give it.", status=422)
    return typed_values(fields, values) | {n: f.blank() for n, f in fields.items() if n not in values}


async def waited(run_id: int) -> str:
    "How a run stands once it has ended, waits, or has worked for a while."
    ends = clock.monotonic() + RUN_SECONDS
    while run_id in jobs and clock.monotonic() < ends: await asyncio.sleep(.02)
    return run_text(run_id, 300)


def run_text(run_id: int, length: int = 10**9) -> str:
    "A run as text: how it stands, what its steps were asked and gave, and what it asks for now."
    run, told = runs.row(run_id), []
    made = all_pipelines().get(run["pipeline"])
    for row in rows_of_run(run_id).values():
        value = load(row["value"]) if row["value"] else row["error"] or ""
        told.append(f"step {row['name']} ({row['status']}) was given {row['inputs'] or 'nothing'}: {clip(value, length)}")
        step = made and made.steps.get(row["name"])
        if row["status"] == "waiting" and step and run["status"] == "waiting":
            fields = step.fields(Earlier(rows_of_run(run_id)))
            asked = Tool("", print, fields).signature() if fields else "a person's approval"
            told.append(f"It asks for {asked}: {step.instruction}")
    status = said_status(run["status"]) if run["status"] != "waiting" else f"waiting, at /runs/{run_id}"
    return f"Run {run_id}, “{run['title']}” of {run['pipeline']}, is {status}.\n" + "\n".join(told)


# ─── schedules ───

@dataclass
class Schedule:
    "When a pipeline is run by itself. What it asks is answered as given, else by its defaults, else it waits for you."
    pipeline: str
    when: Annotated[str, Help("weekday 9:00, monday 18:00, daily 7:30, hourly, every 2 hours, or cron: 0 9 * * 1-5")]
    is_on: bool = True
    given: Annotated[Json, Help('Answers known beforehand, such as {"name": "Ada"}.')] = None
    next_at: datetime | None = None
    in_code: str = ""


class SchedulesApp(BaseApp):
    record = Schedule
    readonly = ("next_at", "in_code")
    section = "pipelines"

    def columns(self) -> list[str]: return ["pipeline", "when", "next_at", "is_on"]

    def options(self, field: Field) -> list[tuple[Any, str]] | None:
        if field.name != "pipeline": return super().options(field)
        return [(name, made.title) for name, made in all_pipelines().items()]

    def prepare_insert(self, data: dict) -> dict:
        made = pipeline_of({"pipeline": ""} | data)
        if not isinstance(data.get("given") or {}, dict):
            raise Problem("given is no answers.", fix='Give them by name, such as {"tone": "cool"}.', status=422)
        for n in data.get("given") or {}:
            if n.rpartition(".")[2] not in made.asked:
                raise Problem(f"{made.title} does not ask for {clip(n)}.", fix=did_you_mean(n, made.asked), status=422)
        return data | {"next_at": next_time(str(data.get("when")), datetime.now())}

    def prepare_update(self, record: Any, data: dict) -> dict:
        return self.prepare_insert({"pipeline": record.pipeline, "when": record.when} | data)


schedules = SchedulesApp()
db.fleeting["schedules"] = {"next_at"}


def run_due() -> None:
    "Start what is due, each once, however often it was missed; keep what pipelines say of themselves in the table."
    for made in all_pipelines().values():
        own = schedules.rows("pipeline=? AND in_code!=''", [made.name])
        if made.schedule and not own: schedules.insert(pipeline=made.name, when=made.schedule, in_code=made.schedule)
        elif made.schedule and own[0]["in_code"] != made.schedule:
            schedules.update(id=own[0]["id"], when=made.schedule, in_code=made.schedule)
    actor.set("schedule")
    now = datetime.now()
    for row in schedules.rows("is_on AND next_at <= ?", [now.isoformat(" ", "seconds")]):
        made = all_pipelines().get(row["pipeline"])
        if not made or any(j.row["by"] == "schedule" and j.row["pipeline"] == made.name
                for j in list(jobs.values())):
            continue
        put_off = lambda to, row=row: db.execute("UPDATE schedules SET next_at=? WHERE id=?",
            [to.isoformat(" ", "seconds"), row["id"]])
        try:
            with db.transaction():
                put_off(next_time(row["when"], now))
                run_id = start_run(made, json.loads(row["given"] or "null"), is_unattended=True, goes=False)
            go_on(run_id)
        except (Problem, TypeError, ValueError) as e:  # the others are due all the same
            put_off(now + timedelta(hours=1))
            print(f"The schedule of {made.name} could not be kept: {e}", file=sys.stderr)
