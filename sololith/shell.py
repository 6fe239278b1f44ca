"""A pipeline, or the model, as a Unix filter: `cat urls.txt | sololith run link_check --parallel 8 | sort`.

Standard input is the first field that is asked for, flags are the others, all made from the type hints; what is left out
has its default. Standard output is the last value: text as it is, a file's content, a line of JSON for each row of a table
or item of a list. Progress and logs go to standard error. Exit status: 0 done, 1 failed, 2 wrong usage, or a step that
needs an answer: give it with --resume. Where a server owns the workspace, the run is the server's, and can be watched there.
`git log | sololith ask "What is new?"` gives the model what is piped in.
"""
import argparse, asyncio, contextlib, json, re, secrets, sys, time as clock
from pathlib import Path
from typing import Any
from collections.abc import Callable
from .base import *
from .chat import approve, begin_turn, calls_of, turns
from .cli import calling, verb
from .fields import KINDS, clip, sayable, value_of
from .models import DEFAULT, current_model, find_model, loop_of_models, models_here
from .pipeline import answers_in, answers_text, cancel_run, go_on, jobs, open_run, pipeline_of, retry_run, rows_of_run
from .pipeline import runs, start_run
from .store import db, store
from .tools import entries_of, tool_called, use
from .values import artifact, load, rows_of


@verb("run.fields", shared=True)
def run_fields(pipeline: str) -> dict:
    "What a pipeline asks for."
    made = pipeline_of({"pipeline": pipeline})
    fields = [dict(name=n, kind=f.kind, help=f.help, noun=KINDS[f.kind].noun, is_required=f.is_required,
        choices=list(f.choices), default="" if f.is_required or callable(f.default) or f.blank() in (None, "", [])
        else str(f.blank())) for n, f in made.asked.items()]
    steps = "\n".join(f"  {step.name}: {step.instruction}" for step in made.steps.values())
    return {"title": made.title, "description": f"{made.description}\n\n{steps}", "fields": fields}


@verb("run.start", shared=True)
def run_start(pipeline: str, given: dict, executor: str, resume: int | None) -> int:
    "Start a run, or go on with one, with these answers; its id."
    made = pipeline_of({"pipeline": pipeline})
    for n, field in made.asked.items():
        if n in given and not field.options: given[n] = value_of(field, given[n])
    if resume is None: return start_run(made, given, is_unattended=True, executor=executor)
    row = open_run(resume)
    if row["pipeline"] != pipeline:
        raise Problem(f"Run {resume} is one of {row['pipeline']}.", fix=f"sololith run {row['pipeline']}")
    db.execute("UPDATE runs SET given=?, is_unattended=1, executor=? WHERE id=?",
        [answers_text(answers_in(row["given"]) | given), executor or row["executor"], resume])
    (retry_run if row["status"] != "waiting" else go_on)(resume)
    return resume


@verb("run.cancel", shared=True)
def run_cancel(run: int) -> None:
    job = jobs.get(run)
    cancel_run(run)
    if job: job.thread.join(2)  # the process may end with us


@verb("run.state", shared=True)
def run_state(run: int, seen: dict[str, int]) -> dict:
    "How a run stands, and the lines of its log after those that were seen."
    job, rows = jobs.get(run), rows_of_run(run)
    new, seen = dict[str, list[str]](), dict(seen)
    for name, row in rows.items():
        here = job if job and job.step == name else None
        if not (text := here.logs() if here else row["logs"]): continue
        lines = text.split("\n")
        if gone := re.fullmatch(r"… ([\d,]+) lines before", lines[0]): lines.pop(0)
        if here and here.half: lines.pop()  # told once it is whole
        dropped = int(gone[1].replace(",", "")) if gone else 0
        new[name], seen[name] = lines[max(0, seen.get(name, 0) - dropped):], dropped + len(lines)
    at = next((r for r in rows.values() if r["status"] not in ("done", "skipped")), None)
    progress = dict(at=job.at, total=job.total, what=job.what) if job else dict(at=0, total=0, what="")
    return progress | {"status": "running" if job else runs.row(run)["status"], "logs": new, "seen": seen,
        "step": job.step if job else at and at["name"], "error": at and at["error"]}


@verb("run.value", shared=True)
def run_value(run: int) -> dict:
    "The last value of a run: as text for standard output, or the file that it is in."
    made, rows = pipeline_of(runs.row(run)), rows_of_run(run)
    last = next((s for s in reversed(made.steps.values()) if s.name in rows and rows[s.name]["status"] == "done"), None)
    value = load(rows[last.name]["value"]) if last else None
    if last and last.kind == "file" and isinstance(value, str): return {"file": str(home.files / value), "value": value}
    if isinstance(value, bytes):
        return {"file": str(home.files / artifact(f"{last and last.name}.bin", value)), "value": None}
    as_json = lambda v: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str)
    if (table := rows_of(value)) is not None: value = table.dicts()
    lines = map(as_json, value) if isinstance(value, list | tuple) else [] if value is None else [as_json(value)]
    return {"text": sayable("".join(f"{line}\n" for line in lines)),
        "value": json.loads(sayable(json.dumps(value, ensure_ascii=False, default=str)))}


@verb("run link_check --parallel 8 < urls.txt")
def run_verb(pipeline: str, rest: list[str]) -> int:
    """Run a pipeline as a filter: standard input is the first field, flags are the others, standard output is the last
    value. `sololith run PIPELINE --help` lists its flags."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--workspace")
    folder, rest = early.parse_known_args(rest)
    if folder.workspace: home.at(folder.workspace)
    with calling("run") as call:
        spec = call("run.fields", {"pipeline": pipeline})
        args = vars(flags_of(pipeline, spec).parse_args(rest))
        as_json, executor, resume, is_approved = (args.pop(n) for n in ("json", "executor", "resume", "yes"))
        given = {n: v for n, v in args.items() if v is not None} | ({"--yes": True} if is_approved else {})
        first = next(iter(spec["fields"]), None)
        if first and first["name"] not in given and resume is None and (data := piped_in()):
            given[first["name"]] = artifact("stdin.txt",
                data) if first["kind"] == "file" else data.decode(errors="replace").rstrip("\n")
        for field in spec["fields"]:
            if field["kind"] == "file" and args.get(field["name"]):
                path = Path(args[field["name"]])
                if not path.is_file():
                    raise Problem(f"There is no file {path}.", fix=f"Give --{field['name']} another.", status=422)
                given[field["name"]] = artifact(path.name, path.read_bytes())
        run = call("run.start", dict(pipeline=pipeline, given=given, executor=executor or "", resume=resume))
        try: state = watch_run(call, run)
        except KeyboardInterrupt:
            call("run.cancel", {"run": run})
            raise
        found = call("run.value", {"run": run}) if state["status"] == "done" else {}
        if as_json:
            print(json.dumps({"run": run, "status": state["status"], "error": state["error"],
                "value": found.get("value")}))
        elif "file" in found: sys.stdout.buffer.write(Path(found["file"]).read_bytes())
        else: sys.stdout.write(found.get("text", ""))
        sys.stdout.flush()
        if state["status"] == "done": return 0
        again = f"sololith run {pipeline} --resume {run}"
        if state["status"] == "waiting":
            print(
                f"sololith: step {state['step']} needs an answer. Go on with its flags, or --yes to approve: {again}",
                file=sys.stderr)
            return 2
        print(f"sololith: step {state['step']} {state['status']}: {state['error'] or ''} Try again: {again}",
            file=sys.stderr)
        return 1


def flags_of(pipeline: str, spec: dict) -> argparse.ArgumentParser:
    "The parser of a pipeline's flags."
    parser = argparse.ArgumentParser(f"sololith run {pipeline}", description=spec["description"],
        formatter_class=argparse.RawDescriptionHelpFormatter, conflict_handler="resolve", allow_abbrev=False,
        epilog="Standard input is the first of these that is not given.")
    for field in spec["fields"]:
        facts = field["noun"] + (f": {', '.join(field['choices'])}" if field["choices"] else "")
        told = "needed" if field["is_required"] else f"default {field['default']}" if field["default"] else "optional"
        parser.add_argument(f"--{field['name'].replace('_', '-')}", dest=field["name"],
            metavar=field["kind"].upper(), choices=field["choices"] if field["kind"] == "choice"
            and field["choices"] else None, help=f"{field['help']} ({facts}; {told})".strip().replace("%", "%%"))
    parser.add_argument("--resume", type=int, metavar="RUN", help="go on with this run, with what it has come to")
    parser.add_argument("--yes", action="store_true", help="approve every step that asks for approval")
    parser.add_argument("--executor", help="where each() does its work: dask://HOST:PORT")
    parser.add_argument("--json", action="store_true", help="print the run's number, status and value as JSON")
    return parser


def piped_in() -> bytes:
    "What stands in standard input, if something does; a terminal is not waited for."
    if sys.stdin is None or sys.stdin.isatty(): return b""
    return sys.stdin.buffer.read()


def watch_run(call: Callable[[str, dict], Any], run: int) -> dict:
    "Tell on standard error how a run goes on, until it does not; its state then."
    seen, pause, is_terminal = dict[str, int](), 0.01, sys.stderr.isatty()
    while True:
        state = call("run.state", {"run": run, "seen": seen})
        seen = state["seen"]
        for lines in state["logs"].values():
            for line in lines: print(line, file=sys.stderr)
        if state["status"] != "running": break
        if is_terminal and state["total"]:
            print(f"\r{state['step']}: {state['at']:,g} of {state['total']:,g} {state['what']}\033[K", end="",
                file=sys.stderr, flush=True)
        clock.sleep(pause := min(0.25, pause * 1.5))
    if is_terminal: print("\r\033[K", end="", file=sys.stderr)
    return state


# ─── tools ───

@verb("tools --about tasks", shared=True)
def tools_verb(*, about: str = "") -> list[dict]:
    "All that the model can do, and `sololith call` too; --about: what has these words."
    found = [dict(tool=made.name, signature=made.signature(), about=made.about, asks=made.asks, schema=made.schema())
        for made in all_tools().values()]
    return [t for t in found if all(w in f"{t['signature']} {t['about']}".lower() for w in about.lower().split())]


@verb("tool.use", shared=True)
def tool_use(name: str, given: dict, is_approved: bool) -> dict:
    "Call a tool with arguments as they are typed; what it gave, and the journal entries of what it changed."
    made = tool_called(name)
    if made.asks and not is_approved:
        raise Problem(f"{name} cannot be undone.", fix="Add --yes if you mean it.", status=409)
    for n, f in made.fields.items():
        with contextlib.suppress(ValueError, RecursionError):
            if f.kind in ("tags", "records") and str(given.get(n, ""))[:1] == "[": given[n] = json.loads(given[n])
    done = on_models_loop(use(made, given, f"sololith call {secrets.token_hex(4)}", "cli"))
    value = done.value if done.value is not None else done.entries or None
    return {"text": sayable(done.text), "value": json.loads(sayable(json.dumps(value, ensure_ascii=False, default=str)))}


@verb('call tasks_add title="Oat milk" due=tomorrow')
def call_verb(name: str, rest: list[str]) -> int:
    """Call a tool, as the model would: KEY=VALUE for each argument, a list with commas or as JSON. `sololith tools` lists
    them. --json prints what it gave as JSON; --yes approves what cannot be undone."""
    parser = argparse.ArgumentParser(f"sololith call {name}", allow_abbrev=False)
    parser.add_argument("pairs", nargs="*", metavar="KEY=VALUE")
    for flag in ("--json", "--yes"): parser.add_argument(flag, action="store_true")
    parser.add_argument("--workspace")
    args = parser.parse_args(rest)
    if args.workspace: home.at(args.workspace)
    given: dict[str, Any] = {}
    for pair in args.pairs:
        key, sign, value = pair.partition("=")
        if not sign: raise Problem(f"{clip(pair)} is no argument.", fix="Say KEY=VALUE.", status=422)
        given[key.replace("-", "_")] = value
    with calling("call") as call: done = call("tool.use", dict(name=name, given=given, is_approved=args.yes))
    print(json.dumps(done["value"], ensure_ascii=False) if args.json else done["text"])
    return 0


# ─── the model ───

def on_models_loop(work: Any) -> Any: return asyncio.run_coroutine_threadsafe(work, loop_of_models()).result()


@verb("ask.start", shared=True)
def ask_start(text: str, conversation: int, attached: str) -> dict:
    "Say something; the message that the answer becomes, and its conversation."
    given = [("standard input", attached)] if attached else []
    message = on_models_loop(begin_turn(conversation, text, given=given))
    return db.first("SELECT id AS message, conversation FROM messages WHERE id=?", [message])


@verb("ask.state", shared=True)
def ask_state(message: int, conversation: int, seen: int) -> dict:
    "How an answer stands, with the text after the characters that were seen, and the calls of its turn."
    calls = [dict(id=m["id"], call=m["content"], status=m["status"], told=m["facts"].get("problem")
        or m["facts"].get("told"),
        hash=m["facts"].get("hash"), why=m["facts"].get("why"))
        for m in calls_of(conversation, message)]
    if (turn := turns.get(conversation)) and turn.message == message:
        text = "" if turn.is_acting else turn.text
        return {"text": text[seen:], "note": turn.note, "status": "running", "problem": "", "calls": calls}
    row = db.first("SELECT content, status, facts FROM messages WHERE id=?", [message])
    return {"text": row["content"][seen:], "note": "", "status": row["status"], "calls": calls,
        "problem": json.loads(row["facts"]).get("problem")}


@verb("ask.approve", shared=True)
def ask_approve(conversation: int, call: int, hash: str) -> str:
    "Run a call that waits, as it was shown: what came of it."
    on_models_loop(approve(conversation, call, hash))
    return "; ".join(e["summary"] for e in entries_of(f"message {call}")) or "done"


@verb("ask.stop", shared=True)
def ask_stop(conversation: int) -> None:
    if turn := turns.get(conversation): loop_of_models().call_soon_threadsafe(turn.task.cancel)


@verb('ask "What did I do today?"')
def ask_verb(question: str, *, conversation: int = 0, yes: bool = False) -> int:
    """Ask the model, or say what it is to do; its answer comes as it is written, its calls stand on standard error. What is
    piped in is attached. What it wants approved is asked for, or, with --yes, approved. --conversation goes on with one."""
    attached = piped_in().decode(errors="replace")
    with calling("ask") as call:
        begun = call("ask.start", dict(text=question, conversation=conversation, attached=attached))
        said, noted, told = "", "", set[int]()
        try:
            while True:
                state = call("ask.state", {**begun, "seen": len(said)})
                said += state["text"]
                sys.stdout.write(state["text"])
                sys.stdout.flush()
                if state["note"] != noted and sys.stderr.isatty():
                    print(f"\r{state['note']}\033[K", end="\r", file=sys.stderr)
                noted = state["note"]
                for c in state["calls"]:
                    if c["id"] in told or c["status"] == "running": continue
                    told.add(c["id"])
                    print(f"{c['call']}  {c['status']}: {clip(c['told'], 300)}", file=sys.stderr)
                if state["status"] != "running": break
                clock.sleep(.05)
            print()
            for c in state["calls"]:
                if c["status"] != "waiting": continue
                if not yes and sys.stdin.isatty():
                    print(f"{c['call']}\n{c['why']} Do it? [y/N] ", end="", file=sys.stderr, flush=True)
                if yes or sys.stdin.isatty() and sys.stdin.readline().strip().lower() in ("y", "yes"):
                    print(call("ask.approve", dict(conversation=begun["conversation"], call=c["id"], hash=c["hash"])))
                else: print("It waits for your click in the chat, or say it again with --yes.", file=sys.stderr)
        except KeyboardInterrupt:
            call("ask.stop", {"conversation": begun["conversation"]})
            raise
        if state["status"] == "done":
            print(f"(conversation {begun['conversation']})", file=sys.stderr)
            return 0
        print(f"sololith: {state['problem'] or state['status']}", file=sys.stderr)
        return 1


@verb("model.list", shared=True)
def model_list(name: str) -> list[dict]:
    "The models that are here, and which of them is in use."
    now, here = on_models_loop(current_model()), on_models_loop(models_here())
    return [dict(what=i, found=f"{size / 1e9:.1f} GB", fix="in use" if now and now.id == i else "") for i, size in here]


@verb("model.use", shared=True)
def model_use(name: str) -> str:
    store["model"] = chosen = on_models_loop(find_model(name))
    return chosen


@verb("model get qwen2.5-coder-1.5b")
def model_verb(kind: Literal["list", "get", "use"], name: str = "", *, as_json: bool = False) -> Any:
    "The models that are here; get one of the catalogue (or ollama:NAME); use one."
    if kind == "get": return run_verb("get_a_model", ["--model", name or DEFAULT.name, *["--json"] * as_json])
    with calling("model") as call: return call(f"model.{kind}", {"name": name})
