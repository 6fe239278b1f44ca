"""Tools: all that can be done here, each by a name and with typed arguments, for the model, the shell and other programs.

    @tool                                           # also: reads=True (changes nothing), asks=True (a person approves)
    def weather(place: str, days: Annotated[int, Range(1, 7)] = 1) -> str:
        "What the sky will do."

    done = await use(tool_called("tasks_add"), {"title": "Oat milk"}, "call 7"); done.text, done.entries

Every app and pipeline brings tools of its own. Arguments are checked by the fields of the function's hints, as a form's
are: unknown names get close matches, records may be named by number or by name, dates by words. What a call changed is
what the journal has under its cause, so every call can be taken back. `rehearse` tells what calls would change.
Not covered: confining what a plugin's tool does. It runs as you.
"""
import asyncio, contextlib, functools, inspect
from dataclasses import dataclass
from typing import Any, NamedTuple
from collections.abc import Callable, Generator
from starlette.concurrency import run_in_threadpool
from .base import *
from .fields import Field, Range, clip, fields_of, typed_values
from .forms import UNSEEN, open_inside, schema_of
from .store import actor, cause, db, dumps
from .values import rows_of

TOOL_SECONDS = 120  # that one call may take


@dataclass
class Tool:
    "A function to be called by name. What cannot be undone `asks`; what is `outward` may send what it is given elsewhere."
    name: str
    work: Callable[..., Any]
    fields: dict[str, Field]
    about: str = ""
    reads: bool = False
    asks: bool = False
    is_outward: bool = False
    owner: str = ""              # the app or pipeline that it belongs to
    kind: str = ""               # what it does to the owner: find, add, change, delete …
    is_usual: bool = True        # the model is told of it from the start, if of its owner at all
    rehearses: bool = False      # all it does is to change records: it can be tried out in a transaction
    tell: Callable[[Any], str] | None = None   # its value as text
    seconds: float = 0           # that a call may take, if not TOOL_SECONDS

    def signature(self) -> str:
        "The tool in a line: tasks_add(title, due?: date, priority?: low|normal|high)"
        parts = []
        for n, f in self.fields.items():
            if n == "limit" and self.kind == "find": continue  # it goes without saying
            kinds = dict(records=f"[{noun_of(f)}]", relation=noun_of(f), bool="true|false", tags="[text]", file="file")
            hint = kinds.get(f.kind) or ("|".join(f.choices) if f.choices else f.kind)
            plain = not f.choices and f.kind in ("text", "long", "markdown", "choice", "url", "email", "json")
            parts.append(f"{n}{'' if f.is_required else '?'}" + ("" if plain or hint == n else f": {hint}"))
        return f"{self.name}({', '.join(parts)})"

    def schema(self) -> dict:
        "Its arguments as JSON Schema. Dates and records are text, as both may be named by words."
        found = schema_of(self.fields)
        for n, f in self.fields.items():
            kind = found["properties"][n]
            for name in ("format", "pattern"): kind.pop(name, None)
            named = [{"type": "string"}, {"type": "integer"}]
            if f.kind == "relation":
                del kind["type"]
                kind["anyOf"] = named + [{"type": "null"}] * f.is_optional
            if f.kind == "records": kind.update(items={"anyOf": named}, minItems=1)
        return found

    def typed(self, args: Any) -> dict[str, Any]:
        "Arguments as the function takes them. Raises Problem (422) that says all that is wrong, and what would do."
        if not isinstance(args, dict): raise Problem(f"The arguments of {self.name} are no object.", fix=self.signature())
        for n in args:
            if n not in self.fields:
                raise Problem(f"{self.name} has no argument {clip(n)}.", fix=did_you_mean(str(n), self.fields), status=422)
        missing = [n for n, f in self.fields.items() if f.is_required and args.get(n) in (None, "", [])]
        if missing: raise Problem(f"{self.name} lacks {', '.join(missing)}.", fix=f"It is {self.signature()}.", status=422)
        given = {n: v for n, v in args.items() if v is not None or self.fields[n].is_optional}  # null: not said
        values = typed_values(self.fields, given)
        for n, f in self.fields.items():
            if f.kind == "file" and values.get(n): values[n] = file_called(values[n])
        return values


def noun_of(field: Field) -> str: return field.record.__name__.lower() if field.record else "record"


def file_called(name: str) -> str:
    "The name of a file in files/, as it is named in a talk: @files/x.csv. Raises Problem where there is none."
    name = name.removeprefix("@").removeprefix("files/")
    try: os.close(open_inside(home.files, name))
    except FileNotFoundError:
        there = (p.relative_to(home.files) for p in home.files.rglob("*") if p.is_file() and not p.is_symlink())
        files = [p.as_posix() for p in there if not any(map(UNSEEN.search, p.parts))]
        raise Problem(f"There is no file {clip(name)}.", fix=did_you_mean(name, files), status=404) from None
    return name


def tool(work: Any = None, *, name: str = "", reads: bool = False, asks: bool = False, **more: Any) -> Any:
    """Make a typed, documented function a tool. `reads`: it changes nothing; `asks`: a person has to approve each call,
    which is for all that cannot be undone. Raises Problem for hints that cannot be asked for."""
    if work is None: return functools.partial(tool, name=name, reads=reads, asks=asks, **more)
    about, fields = (inspect.getdoc(work) or "").partition("\n")[0], fields_of(work)
    for f in fields.values():
        if f.record: f.find = functools.partial(picked, f.record)
    add_tool(Tool(name or work.__name__, work, fields, about, reads, asks, **more))
    return work


def picked(record: type, text: str) -> int:
    "The number of the one record of a class that words name. Raises Problem."
    app: Any = next((a for a in all_apps().values() if getattr(a, "record", None) is record), None)
    if not app: raise Problem(f"{record.__name__} is not an app.", fix=f"Call crud({record.__name__}) first.")
    return app.pick_one(text)


def add_tool(made: Tool) -> None:
    "What has an owner may be made again by it. Raises Problem for a name that is none, or is taken."
    tools = loading.get().tools
    if not re.fullmatch(r"\w{1,80}", made.name, re.A):
        raise Problem(f"{clip(made.name)} is not a name for a tool.", fix="Use letters, digits and _.")
    if (old := tools.get(made.name)) and not (made.owner and made.owner == old.owner):
        raise Problem(f"{loading.get().name} makes two tools called {made.name}.", fix="Rename one.")
    tools[made.name] = made


def tool_called(name: Any) -> Tool:
    "Raises Problem with the closest names where there is none."
    found = all_tools().get(name) if isinstance(name, str) else None
    if not found:
        raise Problem(f"There is no tool {clip(name)}.", fix=did_you_mean(str(name)[:60], all_tools()), status=404)
    return found


# ─── calling ───

class Done(NamedTuple):
    "What a call gave, as it is and as text, and what it changed: its journal entries, parts of others left out."
    value: Any
    text: str
    entries: list[dict]


async def use(made: Tool, args: Any, why: str, who: str = "model") -> Done:
    """Call a tool, as `who`, with `why` as the cause of all that it changes: what was done. Raises Problem for wrong
    arguments, before anything is done, and for whatever goes wrong in it."""
    actor.set(who)
    cause.set(why)
    seconds = made.seconds or TOOL_SECONDS
    try:
        async with asyncio.timeout(seconds):
            with plainly_failing(made.name):
                values = await run_in_threadpool(made.typed, args)
                found = await made.work(**values) if inspect.iscoroutinefunction(made.work) else await run_in_threadpool(
                    lambda: made.work(**values))
                if inspect.isawaitable(found): found = await found
    except TimeoutError:
        raise Problem(f"{made.name} took longer than {seconds:g} seconds.", fix="See the journal.") from None
    entries = entries_of(why)
    return Done(found, told(made, found, entries), entries)


def use_tool(name: str, given: Any) -> Any:
    """Call a tool from a step, with a record (a dict, or its first argument) or with each of several, which is one entry in
    the journal: what it gives, else what it was given. Columns that it has no argument for are left out. Raises Problem."""
    made, plain = tool_called(name), lambda text: re.sub(r"\W|_", "", str(text).lower()).removeprefix("is")
    if isinstance(given, list | tuple):
        if not made.rehearses or not given: return [use_tool(name, one) for one in given]
        with db.group(made.owner or name, "update", f"{name.replace('_', ' ')}: {len(given):,}"):
            return [use_tool(name, one) for one in given]
    args = given if isinstance(given, dict) else {next(iter(made.fields), ""): given}
    args = {n: value for column, value in args.items() for n in made.fields if plain(n) == plain(column)}
    found = made.work(**made.typed(args))
    if inspect.isawaitable(found): found = asyncio.run(found)  # a step has a thread of its own
    return args if found is None else found


@contextlib.contextmanager
def plainly_failing(name: str) -> Generator[None]:
    "Whatever a plugin's function raises, as a Problem."
    try: yield
    except Problem: raise
    except (Exception, SystemExit) as e:
        raise Problem(f"{name} failed: {type(e).__name__}: {clip(e, 200)}.", fix="Try it another way.") from e


def entries_of(why: str) -> list[dict]:
    "What was changed for a cause, and by the runs that were begun for it, in order."
    return db.entries("""part_of IS NULL AND cause != '' AND cause IN (WITH RECURSIVE causes(why) AS (VALUES (?) UNION
        SELECT 'run ' || record_id FROM causes JOIN journal ON cause = why AND cause != '' WHERE +app = 'runs' AND
        verb = 'insert') SELECT why FROM causes)""", [why], limit=-1)[::-1]


def told(made: Tool, value: Any, entries: list[dict]) -> str:
    "What a call did, as text: what it changed, then its value."
    parts = [clip(e["summary"], 300) + (f" ({e['app']} {e['record_id']})" if e["record_id"] else "")
        for e in entries[:50]] + [f"and {len(entries) - 50:,} more changes"] * (len(entries) > 50)
    if value is not None and (made.reads or not entries or not made.rehearses):
        parts.append(made.tell(value) if made.tell else text_of_value(value))
    return "\n".join(filter(None, parts)) or "Nothing had to be changed."


def text_of_value(value: Any) -> str:
    if isinstance(value, str): return value
    if (table := rows_of(value)) is not None: value = table.dicts()
    def line(one: Any) -> str:
        try: return one if isinstance(one, str) else dumps(one)
        except (TypeError, ValueError, RecursionError): return str(one)
    return "\n".join(map(line, value[:50])) if isinstance(value, list | tuple) and value else line(value)


class TakenBack(Exception): "Ends a transaction of which nothing is to stay."


def rehearse(calls: list[tuple[str, Any]]) -> list[list[dict] | Problem]:
    """What calls would change, one after the other: their journal entries with all parts, or why one would be refused.
    Nothing of it happens. What is not only a change of records is left out, and would change nothing here."""
    found: list[list[dict] | Problem] = []
    who = actor.set("model")
    try:
        with db.transaction():
            for name, args in calls:
                before = db.last_id()
                try:
                    with db.transaction(), plainly_failing(name):
                        values = (made := tool_called(name)).typed(args)
                        if made.rehearses: made.work(**values)
                    found.append(db.entries("id > ?", [before], limit=-1)[::-1])
                except Problem as e: found.append(e)
            raise TakenBack
    except TakenBack: return found
    finally: actor.reset(who)


# ─── back, and forth again ───

def newest_of(entry: dict) -> dict:
    "The last of the undos and redos of an entry, or itself."
    while entry["undone_by"]: entry = db.entries("id=?", [entry["undone_by"]])[0]
    return entry


def is_standing(entry: dict) -> bool:
    "Whether what an entry says is so now: it was not undone, or redone since."
    return (newest_of(entry)["verb"] == "undo") == (entry["verb"] == "undo")


def take_back(why: str) -> list[dict]:
    """Undo all that was changed for a cause, newest first; if all of it is undone, redo it. The new entries.
    Raises Problem (409) where a record has changed since; then nothing is undone."""
    entries = entries_of(why)
    standing = [e for e in entries if is_standing(e)]
    if not entries: raise Problem("Nothing was changed by this.", fix="See the journal.", status=404)
    with db.transaction(): return [db.undo(newest_of(e)["id"]) for e in reversed(standing)] or [
        db.undo(newest_of(e)["id"]) for e in entries]


@tool(kind="undo", rehearses=True)
def undo(count: Annotated[int, Range(1, 25)] = 1) -> None:
    "Take back the last changes, whoever made them."
    last = db.entries("undone_by IS NULL AND part_of IS NULL AND verb != 'undo' AND app != 'settings'", limit=count)
    if not last: raise Problem("There is nothing to undo.", fix="See the journal.", status=404)
    with db.transaction():
        for entry in last: db.undo(entry["id"])
