"""Tools: what can be done by name, with no model and no chat: signatures, arguments, records named in words, days in words,
one undo for several, rehearsals, taking back; what plugins and pipelines add; and the same from the shell.

Where logic is dense, a workspace is open in this process (`desk`), with the plugin KITCHEN loaded into it once. All that
runs pipelines or reloads plugins is one server's (`T`), spoken to by `sololith call` as a shell does.
"""
import asyncio
import contextlib
import contextvars
import io
import json
import os
import random
import re
import sys
import time
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import fastjsonschema
import pytest
from helpers import Server, chapter, patience, wait_for
from helpers import read as rows
from piping import Driven, write

pytestmark = pytest.mark.xdist_group("tools")  # one worker, one server, one loaded plugin

tools, crud_, fields_, base, store_, plugins_, events, cli_, runs_ = map(chapter, ("tools", "crud", "fields", "base", "store", "plugins", "events", "cli", "runs"))
db, store, Problem, home = store_.db, store_.store, base.Problem, base.home
KITCHEN = '''
"Kitchen: what the tools are tried on."
import asyncio, sys, time as clock
from sololith import *

class Size(Enum):
    SMALL = "small"
    LARGE = "large"

@dataclass
class Room:
    name: str

@dataclass
class Box:
    title: str
    room: Room
    other: Room | None = None

@dataclass
class Jar:
    "Something with every type of field."
    title: str
    count: Annotated[int, Range(0, 99)] = 1
    weight: float = 0.0
    price: Decimal | None = None
    is_open: bool = False
    is_ripe: bool = False
    best_by: date | None = None
    filled_at: datetime | None = None
    hour: time | None = None
    kind: Literal["jam", "honey", "Pickles"] = "jam"
    level: Literal[1, 2, 3] = 1
    size: Size = Size.SMALL
    story: Text = ""
    page: Markdown = ""
    mail: Email | None = None
    link: Url | None = None
    code: Annotated[str, Pattern(r"[A-Z]{2}[0-9]")] = "AA0"
    picture: File | None = None
    data: Json = None
    tags: Tags = field(default_factory=list)
    room: Room | None = None
    nick: str | None = None
    position: int = 0

@dataclass
class Bill:
    title: str
    amount: int = 0
    is_sent: bool = False
    is_paid: bool = False

class BillsApp(BaseApp):
    record, readonly = Bill, ("is_sent",)
    def prepare_insert(self, data):
        if data["title"] == "forbidden": raise Problem("Such a bill is not taken.", fix="Give another title.")
        return data | {"title": data["title"].capitalize()}
    def prepare_update(self, bill, data):
        if bill.is_paid and data.get("amount", bill.amount) != bill.amount: raise Problem("A paid bill stays as it is.", fix="Untick it first.")
        if data.get("amount", 0) > 100: return data | {"title": "Large: " + bill.title}
        if data.get("amount") == 13: raise KeyError("thirteen")

@dataclass
class Letter:
    title: str
    to: str = ""
    after: str = ""
    switch: bool = False
    limit: int = 0
    is_urgent: bool = False

@dataclass
class Coin:
    title: str
    worth: Decimal | None = None

rooms, boxes, jars, bills, letters, coins = crud(Room), crud(Box), crud(Jar), BillsApp(), crud(Letter), crud(Coin)

stock = pipeline("Stock", "A box for each line.")

@stock.step
def place(into: str): return rooms.insert(name=into).id

@stock.step
def store_all(place, titles: Text):
    for title in titles.split("\\n"): boxes.insert(title=title, room=place)
    return "all stored"

delivery = pipeline("Delivery", "A pipeline with another inside.")
delivery.step(stock)

sleepy = pipeline("Sleepy", "Takes its time.")

@sleepy.step
def nap(progress: Progress, seconds: float = 0.0):
    for _ in range(int(seconds * 50)):
        clock.sleep(.02)
        progress(1, 2)
    return "awake"

@tool
def weather(place: str, days: Annotated[int, Range(1, 7)] = 1) -> str:
    """What the sky will do.

    And this is not told."""
    return f"{place}: {days}"

@tool
async def loud(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()

@tool(reads=True)
def everything(day: date, moment: datetime, hour: time, price: Decimal, words: Tags, data: Json, size: Size, mood: Literal["good", "bad"], mail: Email,
        link: Url, code: Annotated[str, Pattern("[A-Z]+")], is_it: bool, story: Text, ratio: float = 0.5, picture: File | None = None, more: str | None = None):
    return [repr(v) for v in (day, moment, hour, price, words, data, size, mood, mail, link, code, is_it, story, ratio, picture, more)]

@tool
def broken(): raise ValueError("no good")

@tool
async def broken_later(): raise ValueError("no good")

@tool
def unwilling(): raise Problem("Not today.", fix="Come tomorrow.", status=409)

@tool
def leaving(): sys.exit(3)

@tool
async def leaving_later(): sys.exit(3)

@tool
def timed_out(): raise TimeoutError("the socket gave up")

@tool
def slow(): clock.sleep(0.6)

@tool
async def slow_later(): await asyncio.sleep(30)

@tool
def two_rooms(name: str):
    for n in (1, 2): rooms.insert(name=f"{name} {n}")
    return "done"

@tool
def half_a_room(name: str):
    rooms.insert(name=name)
    raise ValueError("and then it broke")

@tool(asks=True)
def send(to: str) -> str:
    with open(home.path / "sent.txt", "a") as file: file.write(to + "\\n")
    return f"sent to {to}"

@tool
def praise(room: Room) -> str: return f"how fine is {rooms[room].name}"

@tool(rehearses=True)
def tidy(name: str): rooms.insert(name=name)

@tool
def gives(what: Literal["none", "dict", "rows", "date", "nan", "object", "knot", "many", "bytes", "record"]):
    knot = []
    knot.append(knot)
    return dict(none=None, dict={"a": 1}, rows=[{"a": 1}, {"a": 2}], date=date(2026, 12, 24), nan=float("nan"), object=object(), knot=knot,
        many=list(range(10_000)), bytes=b"abc", record=rooms(limit=1))[what]
'''


# ─── a workspace in this process

@contextlib.contextmanager
def in_process(folder: Path):
    "A workspace at a folder, open in this process without waiting for the disk; then all is as it was before."
    before, loop, mask = home.path, events.broadcaster.loop, os.umask(0o077)
    live, broken = dict(base.plugins), dict(plugins_.loader.broken)
    events.broadcaster.loop = None
    home.at(folder).make()
    db.open(home.db)
    db.writer.execute("PRAGMA synchronous=OFF")
    try: yield
    finally:
        db.close()
        home.at(before)
        os.umask(mask)
        events.broadcaster.loop = loop
        for old, now in ((live, base.plugins), (broken, plugins_.loader.broken)):
            now.clear()
            now.update(old)
        plugins_.mount()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    "KITCHEN as a live plugin, and a database in which each app has its table."
    folder = tmp_path_factory.mktemp("kitchen")
    with in_process(folder):
        plugins_.loader.load("kitchen", KITCHEN)
        for app in base.all_apps().values(): getattr(app, "table", app) and hasattr(app, "table") and app.table.ready()
        made = base.plugins["kitchen"]
        db.copy_to(folder / "copy.db")
    made.empty = folder / "copy.db"
    return made


class Desk:
    "Calls of tools, each with a cause of its own, in the workspace that is open here."
    def __init__(self, runner: asyncio.Runner): self.runner, self.count, self.why = runner, 0, ""

    def run(self, work): return self.runner.run(work, context=contextvars.copy_context())

    def use(self, tool: str, args: object):
        self.count += 1
        self.why = f"call {self.count}"
        return self.run(tools.use(tools.tool_called(tool), args, self.why))

    def __call__(self, tool: str, /, **args): return self.use(tool, args)

    def refused(self, tool: str, args: object) -> Problem:
        "Why a call is refused; nothing at all has been written."
        before = whole()
        with pytest.raises(Problem) as problem: self.use(tool, args)
        assert whole() == before, "a refused call wrote something"
        return problem.value


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner: yield runner


@pytest.fixture
def desk(kitchen, runner, tmp_path):
    "An empty workspace in which KITCHEN is live."
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "data.db").write_bytes(kitchen.empty.read_bytes())
    with in_process(folder):
        base.plugins["kitchen"] = kitchen
        store_.actor.set("person"), store_.cause.set("")
        yield Desk(runner)


def app(name: str): return base.all_apps()[name]
def whole() -> dict: return {r["name"]: (r["sql"], db.query(f'SELECT rowid AS n, * FROM "{r["name"]}"')) for r in db.query("SELECT name, sql FROM sqlite_master WHERE type='table'") if not r["name"].endswith(("_config", "_idx"))} | {"index": db.query("SELECT * FROM search_idx")}


def kept() -> dict:
    "What the records are, and every word that they are found by."
    db.reader.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab(main, search, instance)")
    found = {name: db.query(f'SELECT * FROM "{name}" ORDER BY id') for name in (*db.numbers, "settings")}
    return found | {"words": db.query("SELECT * FROM temp.words ORDER BY doc, col, offset")}


def entries(where: str = "1", *args) -> list[dict]: return db.entries(where, args, limit=-1)[::-1]
def heads() -> list[str]: return [e["summary"] for e in entries("part_of IS NULL")]
def names(name: str, field: str = "title") -> list[str]: return [r[field] for r in app(name).rows(order_by="position, id" if "position" in app(name).fields else "id")]


TODAY = date.today()
TASKS = [  # in this order their numbers are 1 to 6
    dict(title="Oat milk", priority="high", due=TODAY - timedelta(1)), dict(title="Call the bank", due=TODAY), dict(title="Bank statement", priority="low", is_done=True, due=TODAY - timedelta(9)),
    dict(title="Buy 99 balloons", notes="for the party"), dict(title="Water plants", priority="high", is_done=True, due=TODAY - timedelta(3)), dict(title="Water heater", notes="ask the plumber", due=TODAY + timedelta(2))]


@pytest.fixture
def tasks(desk):
    "Six tasks."
    for task in TASKS: app("tasks").insert(**task)
    return app("tasks")


# ─── from definitions

def test_every_app_ours_or_a_plugins_brings_a_tool_for_all_that_its_pages_can_do(desk):
    made, apps = base.all_tools(), {n: a for n, a in base.all_apps().items() if isinstance(a, crud_.BaseApp) and n != "outside_servers"}  # which programs are run is a person's to say
    assert {"tasks", "notes", "profiles", "memories", "runs", "schedules", "jars", "boxes", "letters"} <= set(apps)
    for name, one in apps.items():
        kinds = {t.kind: t for t in made.values() if t.owner == name}
        free = [f.kind for n, f in one.fields.items() if n not in one.readonly]
        can = {"find", "change", "delete"} | ({"add"} if one.can_add else set()) | ({"toggle"} if "bool" in free else set())
        assert set(kinds) == can | ({"move"} if "position" in one.fields else set()), name
        for kind, t in kinds.items():
            assert (t.name, t.reads, t.rehearses, t.asks, t.is_outward) == (f"{name}_{kind}", kind == "find", True, False, False)
            assert t.about.endswith(".") and (one.title.lower() in t.about or one.noun in t.about or kind == "toggle")


@pytest.mark.parametrize("signature", [
    "tasks_find(text?, due?: date, due_before?: date, due_after?: date, is_done?: true|false, priority?: low|normal|high, profile?)",
    "tasks_add(title, notes?, due?: date, is_done?: true|false, priority?: low|normal|high, profile?)",
    "tasks_change(which: [task], to?: first|last, title?, notes?, due?: date, is_done?: true|false, priority?: low|normal|high, profile?)",
    "tasks_delete(which: [task])", "tasks_toggle(which: [task], switch?: is_done)", "tasks_move(which: task, to?: first|last, after?: task)",
    "jars_add(title, count?: int, weight?: float, price?: decimal, is_open?: true|false, is_ripe?: true|false, best_by?: date, filled_at?: datetime, hour?: time, kind?: jam|honey|Pickles, level?: 1|2|3, "
    "size?: small|large, story?, page?, mail?, link?, code?, picture?: file, data?, tags?: [text], room?, nick?)",
    "jars_find(text?, count?: int, count_before?: int, count_after?: int, weight?: float, weight_before?: float, weight_after?: float, price?: decimal, price_before?: decimal, price_after?: decimal, "
    "is_open?: true|false, is_ripe?: true|false, best_by?: date, best_by_before?: date, best_by_after?: date, filled_at?: datetime, filled_at_before?: datetime, filled_at_after?: datetime, "
    "kind?: jam|honey|Pickles, level?: 1|2|3, size?: small|large, room?)",
    "jars_toggle(which: [jar], switch?: is_open|is_ripe)", "bills_toggle(which: [bill], switch?: is_paid)", "bills_add(title, amount?: int, is_paid?: true|false)", "boxes_add(title, room, other?: room)",
    "weather(place, days?: int)", "undo(count?: int)", "search(text)", "remember(text)", "recall(text)", "journal_find(text?, app?, since?: date)"], ids=lambda s: s.partition("(")[0])
def test_a_tool_says_in_one_line_what_it_takes(desk, signature):
    assert tools.tool_called(signature.partition("(")[0]).signature() == signature


def test_a_description_is_the_first_line_of_the_docstring(desk):
    assert tools.tool_called("weather").about == "What the sky will do."


SAMPLES = dict(text="x", long="x", markdown="x", int=1, float=1.5, decimal="1.50", bool=True, date="2026-12-24", datetime="2026-12-24 18:00", time="18:00", json={"a": [1]}, tags=["a"], email="a@b.de", url="https://a.de", file="x.csv", records=["x", 1], relation="x")


def sample_of(field):
    if field.pattern: return "AB1" if "{2}" in field.pattern else "AB"
    return getattr(next(iter(field.choices.values())), "value", next(iter(field.choices.values()))) if field.choices else SAMPLES[field.kind]


def test_every_schema_takes_what_the_arguments_are_and_no_more(desk):
    for made in base.all_tools().values():
        schema = made.schema()
        takes = fastjsonschema.compile(schema)
        assert list(schema["properties"]) == list(made.fields) and schema["additionalProperties"] is False
        assert schema["required"] == [n for n, f in made.fields.items() if f.is_required]
        assert not {"format", "pattern"} & {key for kind in schema["properties"].values() for key in kind}, "a model may name days and records by words"
        whole = {n: sample_of(f) for n, f in made.fields.items()}
        takes(whole)
        takes({n: whole[n] for n in schema["required"]})
        for n in schema["required"]:
            with pytest.raises(fastjsonschema.JsonSchemaException): takes({k: v for k, v in whole.items() if k != n})
        with pytest.raises(fastjsonschema.JsonSchemaException): takes(whole | {"nonsense": 1})
        for n, f in made.fields.items():
            if f.kind == "records":
                takes(whole | {n: [1, "Oat milk"]})
                with pytest.raises(fastjsonschema.JsonSchemaException): takes(whole | {n: []})
            if f.kind == "date": takes(whole | {n: "next friday"})
            if f.kind == "relation": takes(whole | {n: 1})
            if f.choices and f.kind == "choice":
                with pytest.raises(fastjsonschema.JsonSchemaException): takes(whole | {n: "none of them"})


def test_what_may_be_empty_can_be_emptied_by_the_schema_too(desk):
    for name, field in (("tasks_change", "due"), ("tasks_change", "profile"), ("boxes_change", "other"), ("jars_change", "price")):
        fastjsonschema.compile(tools.tool_called(name).schema())({"which": ["x"], field: None})


def test_a_schema_says_the_limits_of_a_number_and_what_a_field_is_for(desk):
    assert tools.tool_called("weather").schema()["properties"]["days"] == {"type": "integer", "minimum": 1, "maximum": 7}
    assert tools.tool_called("profiles_add").schema()["properties"]["code"]["description"].startswith("A short sign")
    assert tools.tool_called("jars_find").schema()["properties"]["count_before"] == {"type": ["integer", "null"]}, "a limit of the field is none of what it is compared with"


def test_a_tool_that_is_not_there_gives_the_closest_name(desk):
    for name, fix in (("task_add", "Did you mean tasks_add?"), ("tasks_insert", "Did you mean tasks_"), ("", "There are: "), (None, "There are: "), (["tasks_add"], "tasks_add"), ("x" * 10**6, "There are: ")):
        with pytest.raises(Problem) as problem: tools.tool_called(name)
        assert fix in problem.value.fix and problem.value.status == 404 and len(str(problem.value)) < 700


# ─── adding, and every type of field

JAR = dict(title="Plum", count="3", weight=1.5, price="2.50", is_open="yes", is_ripe=True, best_by="2026-12-24", filled_at="2026-12-24 18:00", hour="07:30", kind="HONEY", level="2", size="large", story="a\nb", page="# x",
    mail="ada@example.org", link="https://example.org", code="XY1", data={"a": [1, None]}, tags="red, sweet", room="cellar", nick="P")


def test_each_type_of_field_is_added_typed_and_comes_back_whole(desk):
    app("rooms").insert(name="Cellar")
    (home.files / "plum.png").write_bytes(b"x")
    done = desk("jars_add", **JAR, picture="@files/plum.png")
    jar = app("jars")[1]
    size = next(f for f in app("jars").fields["size"].choices.values() if f.value == "large")
    assert (jar.title, jar.count, jar.weight, jar.price, jar.is_open, jar.is_ripe, jar.best_by, jar.filled_at) == ("Plum", 3, 1.5, Decimal("2.50"), True, True, date(2026, 12, 24), datetime(2026, 12, 24, 18))
    assert (jar.hour.isoformat(), jar.kind, jar.level, jar.size, jar.story, jar.page, jar.mail, jar.link, jar.code) == ("07:30:00", "honey", 2, size, "a\nb", "# x", "ada@example.org", "https://example.org", "XY1")
    assert (jar.picture, jar.data, jar.tags, jar.room, jar.nick) == ("plum.png", {"a": [1, None]}, ["red", "sweet"], 1, "P")
    assert done.value is None and done.text == "added “Plum” (jars 1)" and [(e["verb"], e["actor"], e["cause"]) for e in done.entries] == [("insert", "model", "call 1")]


def test_what_is_left_out_or_null_has_its_default(desk):
    desk("jars_add", title="Plain")
    desk("jars_add", title="Plain", **{n: None for n in JAR if n != "title"})
    one, two = app("jars").rows()
    assert {n: v for n, v in one.items() if n not in ("id", "position")} == {n: v for n, v in two.items() if n not in ("id", "position")}
    assert (one["count"], one["kind"], one["tags"], one["price"], one["code"], two["position"] > one["position"]) == (1, "jam", "[]", None, "AA0", True)


def test_what_is_left_out_of_a_change_stays_and_what_is_emptied_is_empty(desk):
    app("rooms").insert(name="Cellar")
    desk("jars_add", **JAR)
    before = app("jars").table.row(1)
    done = desk("jars_change", which=["plum"], count=4)
    assert app("jars").table.row(1) == before | {"count": 4} and done.text == "changed “Plum”: count 3 → 4 (jars 1)"
    desk("jars_change", which=["plum"], best_by=None, room=None, price="", nick=None)
    assert app("jars").table.row(1) == before | {"count": 4, "best_by": None, "room": None, "price": None, "nick": None}


def test_a_null_for_what_cannot_be_empty_leaves_it_as_it_is(desk):
    "Small models fill every argument that they were shown, with null where nothing was said."
    app("rooms").insert(name="Cellar")
    desk("jars_add", **JAR)
    before = app("jars").table.row(1)
    desk("jars_change", which=["plum"], count=4, **dict.fromkeys(("is_open", "is_ripe", "kind", "level", "size", "code", "weight", "story", "tags", "title")))
    assert app("jars").table.row(1) == before | {"count": 4}


def test_fields_named_like_a_tools_own_arguments_are_fields(desk):
    desk("letters_add", title="A", to="Ann", after="noon", limit=3, switch=True)
    desk("letters_change", which=[1], to="Bob", after="tea")
    desk("letters_toggle", which=[1], switch="is_urgent")
    one = app("letters")[1]
    assert (one.to, one.after, one.limit, one.switch, one.is_urgent) == ("Bob", "tea", 3, True, True)


def test_a_value_that_is_already_so_changes_nothing_and_writes_nothing(tasks, desk):
    before = whole()
    assert desk("tasks_change", which=[1], priority="high").text == "Nothing had to be changed."
    assert desk("tasks_change", which=[3, 5], is_done=True).text == "Nothing had to be changed."
    assert whole() == before, "several that are so already are no entry either"


@pytest.mark.parametrize("text", ["'; DROP TABLE tasks; --", '") OR 1=1 --', "%", "_", "!", "a' UNION SELECT value FROM settings --", "{{7*7}}", "<script>alert(1)</script>", "\u202ekcab", "🥛", "x" * 10_000, "NULL", "*", '"', "NEAR(a b)", "a AND", "title:x", "^", "(", "-"])
def test_text_that_looks_like_something_else_is_text(tasks, desk, text):
    desk("tasks_add", title=text)
    assert app("tasks")[7].title == text
    for name in ("tasks_find", "search", "recall", "journal_find"): desk(name, text=text)
    assert {r["id"] for r in desk("tasks_find", text="milk").value} == {1}
    desk("tasks_delete", which=[7] if text in ("%", "_", "!", "*", '"', "^", "(", "-") else [text])
    assert names("tasks") == [t["title"] for t in TASKS]


# ─── records, named in words

@pytest.mark.parametrize(("words", "ids"), [
    # by number
    *((w, [1]) for w in ("1", 1, "#1", "# 1", "task 1", "Task 1", "task #1", "the task 1", "no. 1", "No 1")),
    # by name, or a part of it
    *((w, [1]) for w in ("Oat milk", "oat milk", "OAT MILK", " Oat milk ", '"Oat milk"', "“Oat milk”", "oat", "milk", "the oat milk task", "the milk one", "task with the milk")),
    ("balloons", [4]), ("99 balloons", [4]), ("plumber", [6]), ("the task with the plumber", [6]), ("heater", [6]), ("call bank", [2]), ("bank call", [2]), ("statement", [3]),
    # nearly
    ("Oat mlik", [1]), ("Bank statment", [3]), ("Buy 99 baloons", [4]),
    # by what several share
    *((w, [1, 2, 3, 4, 5, 6]) for w in ("all", "everything", "all tasks", "every task", "All of my tasks", "alle", "alles", "every one of the tasks")),
    *((w, [3, 5]) for w in ("done", "all done tasks", "the done ones", "tasks that are done", "finished", "completed", "all completed tasks", "erledigt", "alle erledigten", "fertig")),
    *((w, [1, 2, 4, 6]) for w in ("open", "all open tasks", "not done", "tasks that are not done", "undone", "unfinished", "todo", "pending", "offen", "alle offenen", "nicht done")),
    *((w, [1]) for w in ("overdue", "all overdue tasks", "everything overdue", "overdue, high", "high and overdue", "überfällig", "alle überfälligen")),
    *((w, [1, 5]) for w in ("high", "high priority", "all high priority tasks", "the high ones", "HIGH")), ("low", [3]), ("open high", [1]), ("done and high", [5]), ("not high", [2, 3, 4, 6]), ("done, not high", [3]),
    # by a day, or by being the one that is most so
    *((w, [1]) for w in ("yesterday's", "yesterday's tasks", "Yesterday’s high ones", "all of yesterday's", "due yesterday", "gestern", "yesterday's, not done", "oldest", "the oldest one", "my oldest open task", "älteste")),
    *((w, [2]) for w in ("today's task", "due today", "heute")), *((w, [6]) for w in ("due in 2 days", "the day after tomorrow", "newest", "latest task", "the newest open one", "neuester Task")), ("newest done", [5]), ("oldest done", [3]), ("newest, high", [5]),
    # several
    (["1", "bank statement", 4], [1, 3, 4]), (["done", "oat"], [3, 5, 1]), ([1, "1", "oat milk"], [1])], ids=str)
def test_records_are_named_in_words(tasks, desk, words, ids):
    found = tools.tool_called("tasks_delete").typed({"which": words if isinstance(words, list) else [words]})["which"]
    assert found == ids
    if not isinstance(words, list): assert tools.tool_called("tasks_delete").typed({"which": words})["which"] == ids, "one needs no list"


@pytest.mark.parametrize("words", ["not finished", "not completed", "tasks that are not completed", "nicht erledigt", "nicht fertig", "unerledigt", "not open"])
def test_words_with_a_not_never_name_what_they_deny(tasks, desk, words):
    denied = {1, 2, 4, 6} if "open" in words else {3, 5}
    try: found = set(app("tasks").pick(words))
    except Problem: return
    assert not found & denied, "what is meant is the others"


def test_not_overdue_is_not_overdue(tasks, desk):
    with contextlib.suppress(Problem): assert 1 not in app("tasks").pick("not overdue")


@pytest.mark.parametrize("words", ["not all", "not all tasks", "done not", "all but the done ones", "alle außer den erledigten"])
def test_words_that_leave_some_out_never_name_all(tasks, desk, words):
    assert app("tasks").shared(words) is None
    with pytest.raises(Problem): app("tasks").pick(words)


@pytest.mark.parametrize("words", ["not yesterday's", "not the newest", "Friday meeting", "due", "due soon", "next", "today and tomorrow", "the biggest", "newest balloon", "all but the newest", "week"])
def test_days_and_extremes_with_other_words_are_only_words(tasks, desk, words):
    assert app("tasks").shared(words) is None, "and a task has no size"


def test_the_biggest_is_that_of_the_first_number_among_those_that_the_other_words_leave(desk):
    for n, (count, more) in enumerate([(3, {}), (9, {"is_ripe": True}), (5, {"kind": "honey"}), (2, {"kind": "honey", "best_by": TODAY})], 1): desk("jars_add", title=f"Jar {n}", count=count, **more)
    for words, one in (("biggest", 2), ("the largest jar", 2), ("smallest", 4), ("highest, not ripe", 3), ("biggest jam", 2), ("lowest jam", 1), ("biggest honey", 3), ("kleinste", 4), ("größter", 2), ("biggest of today", 4), ("newest jam", 2)):
        assert app("jars").pick(words) == [one], words
    assert [r["id"] for r in desk("jars_find", text="biggest honey").value] == [3]
    for words in ("biggest Pickles", "tomorrow's biggest"): assert app("jars").pick(words) == []


def test_the_biggest_decimal_is_that_of_the_greatest_value(desk):
    for title, worth in (("Old", "9.50"), ("New", "10.50")): app("coins").insert(title=title, worth=worth)
    assert app("coins").pick("biggest") == [2]


def test_what_has_no_number_is_not_the_smallest(desk):
    for title, worth in (("Lost", None), ("Old", "9.50")): app("coins").insert(title=title, worth=worth)
    assert app("coins").pick("smallest") == [2]


def test_the_biggest_is_looked_for_among_those_that_fit_the_filters(desk):
    for title, count, kind in (("A", 9, "jam"), ("B", 5, "honey"), ("C", 2, "honey")): desk("jars_add", title=title, count=count, kind=kind)
    assert [r["id"] for r in desk("jars_find", text="biggest", kind="honey").value] == [2]


@pytest.mark.parametrize("words", ["überfällige", "alle überfälligen", "überfällige Tasks", "overdue tasks"])
def test_overdue_in_each_of_its_forms(tasks, desk, words): assert app("tasks").pick(words) == [1]


@pytest.mark.parametrize("words", ["erledigt", "erledigte", "erledigten", "alle erledigten", "fertig", "done", "die erledigten"])
def test_done_in_german(tasks, desk, words): assert app("tasks").pick(words) == [3, 5]


def test_overdue_is_what_was_due_before_today_and_is_not_done(tasks, desk, monkeypatch):
    for today, ids in ((TODAY, [1]), (TODAY + timedelta(1), [1, 2]), (TODAY - timedelta(1), []), (TODAY + timedelta(3), [1, 2, 6])):
        set_today(monkeypatch, today)
        assert app("tasks").pick("overdue") == ids, "what is due today is not overdue"


def test_overdue_is_not_about_a_switch_that_says_something_else(desk):
    "`first switch` stands for done where it is one; being open or private has nothing to do with it."
    desk("jars_add", title="Old", best_by="2020-01-01", is_open=True)
    assert app("jars").pick("overdue") == [1]


def test_choices_and_switches_are_words_as_they_are_written(desk):
    for n, values in enumerate([dict(kind="Pickles"), dict(kind="honey", is_ripe=True), dict(is_open=True)], 1): desk("jars_add", title=f"Jar {n}", **values)
    assert [app("jars").pick(w) for w in ("honey", "ripe", "all ripe jars", "not ripe", "jam", "honey and ripe", "pickles", "Pickles")] == [[2], [2], [2], [1, 3], [3], [2], [1], [1]]


def test_an_ambiguous_name_lists_what_fits_and_picks_nothing(tasks, desk):
    for words, ids in (("bank", "2 “Call the bank”, 3 “Bank statement”"), ("water", "5 “Water plants”, 6 “Water heater”")):
        problem = desk.refused("tasks_delete", {"which": [words]})
        assert str(problem) == f"2 tasks fit “{words}”: {ids}. Say which one."


def test_of_many_that_fit_a_few_are_listed(desk):
    for n in range(60): app("tasks").insert(title=f"Milk run {n}")
    problem = desk.refused("tasks_delete", {"which": ["milk"]})
    assert str(problem).count("“Milk run") == 6 and len(str(problem)) < 400 and re.match("60 tasks fit|50 or more|(More than|At least) 50", problem.what), "and the others are not denied"


@pytest.mark.parametrize("words", ["Zebra", "no such task at all", "", " ", "tasks", "99999", "#99", "task 99", "-1", "0", "1.5", "2" * 40, "²", "٣", "\u0000", "(", '""', "%", "_", "*", "xyzzy plugh"])
def test_words_that_name_nothing_pick_nothing(tasks, desk, words):
    problem = desk.refused("tasks_delete", {"which": [words]})
    assert problem.status in (400, 404, 422) and "Error" not in problem.what


def test_a_number_that_is_gone_is_not_taken_for_a_part_of_a_name(tasks, desk):
    "The third answer of the last minute is not whatever has a 3 in its name."
    app("tasks").delete(4)
    app("tasks").insert(title="Read 4 books")
    for which in (4, [4], "4", ["4"], "#4", "task 4", "no. 4"): assert "There is no task" in desk.refused("tasks_delete", {"which": which}).what
    assert app("tasks").pick("4 books") == [7] and names("tasks")[-1] == "Read 4 books"
    app("tasks").insert(title="2024")
    assert app("tasks").pick("2024") == [8], "but a name may be a number"


def test_a_number_is_not_looked_up_in_what_else_is_kept_of_a_record(desk):
    "Positions, counts and the numbers of others are no names."
    for n in range(1, 8): app("rooms").insert(name=f"Room {'abcdefg'[n - 1]}")
    for title in ("Books", "Tools", "Toys"): app("boxes").insert(title=title, room=7)
    for title in ("A", "B", "C"): app("tasks").insert(title=title)
    app("tasks").delete(1)
    for name, which in (("boxes_delete", 7), ("boxes_delete", "7"), ("boxes_delete", "#7"), ("tasks_delete", 20), ("tasks_delete", "2048"), ("tasks_delete", "1"), ("tasks_delete", "30"), ("tasks_delete", "-3")):
        assert "There is no" in desk.refused(name, {"which": which}).what, "it is the number of a room, or the beginning of a position"


def test_all_that_belong_to_a_record_can_be_named_by_it(desk):
    for name in ("Cellar", "Attic"): app("rooms").insert(name=name)
    for title, room in (("Books", 1), ("Tools", 2), ("Toys", 1)): app("boxes").insert(title=title, room=room)
    assert app("boxes").pick("cellar") == [1, 3] and app("boxes").pick("Attic") == [2]


def test_an_exact_name_wins_over_a_part_and_over_a_shared_word(desk):
    for title in ("Milk", "Oat milk", "done", "all", "high"): desk("tasks_add", title=title)
    assert [app("tasks").pick(w) for w in ("milk", "done", "All", "high")] == [[1], [3], [4], [5]]


def test_two_of_one_name_are_ambiguous_and_their_numbers_are_not(desk):
    for _ in range(2): desk("tasks_add", title="Twin")
    assert "2 tasks fit “Twin”: 1 “Twin”, 2 “Twin”. Say which one." == str(desk.refused("tasks_delete", {"which": "Twin"}))
    desk("tasks_delete", which=2)
    assert [r["id"] for r in app("tasks").rows()] == [1]


def test_where_one_is_meant_several_are_refused(tasks, desk):
    assert "are 2 tasks" in desk.refused("tasks_move", {"which": "done", "to": "first"}).what
    assert "2 tasks fit" in desk.refused("tasks_move", {"which": 1, "after": "bank"}).what
    app("rooms").insert(name="Cellar"), app("rooms").insert(name="Cellar door")
    assert "2 rooms" in desk.refused("boxes_add", {"title": "x", "room": "all"}).what
    desk("boxes_add", title="Exact", room="cellar")
    desk("boxes_add", title="Part", room="door")
    desk("boxes_add", title="Number", room=2)
    assert [r["room"] for r in app("boxes").rows()] == [1, 2, 2]


def test_shared_words_that_fit_nothing_change_nothing(desk):
    desk("tasks_add", title="Only")
    assert desk.refused("tasks_delete", {"which": "all done tasks"}).status == 404


@pytest.mark.parametrize("which", [None, [], "", {}, [[]], [None], [{}], [{"id": 1}], [["1"]], True, [True], 1.5, {"id": 1}])
def test_which_takes_numbers_and_words_only(tasks, desk, which):
    desk.refused("tasks_delete", {"which": which})


# ─── profiles

@pytest.fixture
def two_profiles(desk):
    "Profile 1 is current; each has tasks."
    for name in ("Acme", "Umbra"): app("profiles").insert(name=name)
    for title, profile in (("Acme report", 1), ("Umbra report", 2), ("Same", 1), ("Same", 2), ("Nobody's", None), ("Secret plan", 2)): app("tasks").insert(title=title, profile=profile)
    store["profile"] = 1


def test_the_current_profile_limits_what_is_found_and_is_given_to_what_is_added(two_profiles, desk):
    assert [r["id"] for r in desk("tasks_find").value] == [1, 3] and [r["id"] for r in desk("tasks_find", text="report").value] == [1]
    desk("tasks_add", title="New")
    desk("tasks_add", title="Elsewhere", profile="umbra")
    assert [app("tasks")[i].profile for i in (7, 8)] == [1, 2]
    assert app("tasks").pick("all") == [1, 3, 7] and app("tasks").pick("report") == [1] and app("tasks").pick("same") == [3]
    desk("tasks_delete", which="all")
    assert [r["id"] for r in app("tasks").rows()] == [2, 4, 5, 6, 8], "those of the others are not touched"
    store["profile"] = None
    assert [r["id"] for r in desk("tasks_find").value] == [2, 4, 5, 6, 8]


@pytest.mark.parametrize("words", ["Umbra report", "Secret plan", "secret", "nobody's", "Secrt plan"])
def test_a_record_of_another_profile_is_not_picked_by_name(two_profiles, desk, words):
    assert "There is no task" in desk.refused("tasks_delete", {"which": words}).what


def test_the_newest_and_yesterdays_are_those_of_the_current_profile(two_profiles, desk):
    for i, day in ((1, TODAY), (2, TODAY), (6, TODAY - timedelta(1))): app("tasks").update(id=i, due=day)
    picked = lambda *words: [app("tasks").pick(w) for w in words]
    assert picked("newest", "oldest", "today's", "newest of today", "yesterday's") == [[3], [1], [1], [1], []]
    store["profile"] = 2
    assert picked("newest", "oldest", "today's", "newest of today", "yesterday's") == [[6], [2], [2], [2], [6]]
    store["profile"] = None
    assert picked("newest", "oldest", "today's", "newest of today") == [[6], [1], [1, 2], [2]]


def test_a_record_of_another_profile_can_be_named_by_its_number_and_moved_to_one(two_profiles, desk):
    desk("tasks_change", which=6, profile="Acme")
    assert app("tasks")[6].profile == 1 and app("tasks").pick("secret") == [6]


def test_a_task_is_moved_among_those_of_its_profile(two_profiles, desk):
    desk("tasks_move", which="same", to="first")
    assert [r["id"] for r in desk("tasks_find").value] == [3, 1]
    problem = desk.refused("tasks_move", {"which": 3, "after": 2})
    assert "Error" not in problem.what, "and one of another profile is no place, said in words"


# ─── finding

@pytest.mark.parametrize(("filters", "ids"), [
    (dict(), [1, 2, 3, 4]), (dict(text="plum"), [1, 4]), (dict(text="plu ja"), [1, 4]), (dict(text="honey co"), [2]), (dict(text="zebra"), []), (dict(text=""), [1, 2, 3, 4]), (dict(text="all"), [1, 2, 3, 4]), (dict(text="honey"), [2]),
    (dict(count=5), [2]), (dict(count_before=5), [1, 3, 4]), (dict(count_after=1), [2, 4]), (dict(count_after=1, count_before=5), [4]), (dict(count_before=1), []),
    (dict(weight=0.5), [1]), (dict(weight_before=1), [1, 3, 4]), (dict(weight_after=0.5), [2]),
    (dict(price="10"), [3]), (dict(price="10.00"), [3]), (dict(price_before="9.75"), [2]), (dict(price_after="9.75"), [1, 3]), (dict(price_before=100.5), [1, 2, 3]), (dict(price_after="9.5"), [1, 3]),
    (dict(is_open=True), [2]), (dict(is_open="no"), [1, 3, 4]), (dict(kind="honey"), [2]), (dict(kind="HONEY"), [2]), (dict(level=2), [3]), (dict(level="2"), [3]), (dict(size="large"), [3]),
    (dict(best_by="2026-01-10"), [1]), (dict(best_by_before="2026-01-10"), [2]), (dict(best_by_after="2026-01-10"), [3]), (dict(best_by_before="2026-01-11"), [1, 2]), (dict(best_by_after="2026-01-09"), [1, 3]),
    (dict(filled_at="2026-01-01 12:00"), [1]), (dict(filled_at_before="2026-01-01 12:00"), [2]), (dict(filled_at_after="2026-01-01 12:00"), [3]), (dict(filled_at_after="2026-01-01"), [1, 3]),
    (dict(room="Cellar"), [1, 2]), (dict(room="cell"), [1, 2]), (dict(room=2), [3]), (dict(room="attic", is_open=False), [3]), (dict(room="cellar", is_open=True), [2]),
    (dict(limit=2), [1, 2]), (dict(limit="1", count_before=5), [1]), (dict(kind=None, room=None, count=None, text=None), [1, 2, 3, 4])], ids=str)
def test_find_narrows_by_text_and_by_what_values_are(desk, filters, ids):
    for name in ("Cellar", "Attic"): app("rooms").insert(name=name)
    jars = [dict(title="Plum", count=1, weight=0.5, price="10.50", best_by="2026-01-10", filled_at="2026-01-01 12:00", room=1), dict(title="Comb", count=5, weight=1.5, price="9.50", is_open=True, kind="honey", best_by="2026-01-09", filled_at="2025-12-31 23:59", room=1),
        dict(title="Gherkin", count=1, price="10", kind="Pickles", level=2, size="large", best_by="2026-01-11", filled_at="2026-01-01 12:01", room=2), dict(title="Plum jam", count=2)]
    for jar in jars: app("jars").insert(**jar)
    done = desk("jars_find", **filters)
    assert [r["id"] for r in done.value] == ids and done.entries == []
    assert done.text.startswith(f"{len(ids)} jar" if ids else "No jar fits.") and len(done.text.splitlines()) == len(ids) + 1


def test_find_says_each_record_in_a_line_with_its_number(tasks, desk):
    app("profiles").insert(name="Acme")
    desk("tasks_change", which=1, profile="Acme")
    assert desk("tasks_find", text="oat").text == f"1 task:\ntask 1: Oat milk, due {TODAY - timedelta(1)}, priority high, profile Acme"
    assert desk("tasks_find", is_done=True).text.splitlines() == ["2 tasks:", f"task 3: Bank statement, due {TODAY - timedelta(9)}, done, priority low", f"task 5: Water plants, due {TODAY - timedelta(3)}, done, priority high"]
    assert desk("tasks_find", text="overdue").text.splitlines()[1:] == [desk("tasks_find", text="oat").text.splitlines()[1]]


def test_find_by_a_day_in_words(tasks, desk):
    assert [r["id"] for r in desk("tasks_find", due="today").value] == [2]
    assert [r["id"] for r in desk("tasks_find", due="yesterday").value] == [1] and [r["id"] for r in desk("tasks_find", due="in 2 days").value] == [6]
    assert [r["id"] for r in desk("tasks_find", due_before="today", is_done="no").value] == [1] and [r["id"] for r in desk("tasks_find", due_after="heute").value] == [6]


def test_find_gives_twenty_unless_told_and_two_hundred_at_most(desk):
    with db.transaction():
        for n in range(230): app("notes").insert(title=f"Note {n}")
    assert [len(desk("notes_find", **more).value) for more in ({}, {"limit": 200}, {"limit": 3})] == [20, 200, 3]
    assert desk("notes_find", limit=1).text == "1 note:\nnote 230: Note 229", "the newest first"


def test_search_looks_everywhere(tasks, desk):
    desk("notes_add", title="Bank", body="the PIN is not here")
    assert {line.split(":")[0] for line in desk("search", text="bank").text.splitlines()} == {"task 2", "task 3", "note 1"}
    assert {line.split(":")[0] for line in desk("search", text="what about my water?").text.splitlines()} == {"task 5", "task 6"}, "else what shares a word of its title"
    assert desk("search", text="plumber").text.startswith("task 6: Water heater")
    assert "Nothing has the words “zebra”" in desk("search", text="zebra").text


def test_what_was_remembered_once_is_recalled_and_not_kept_twice(desk):
    assert desk("remember", text="My cat is called Momo.").text == "added “My cat is called Momo.” (memories 1)"
    assert desk("remember", text=" My cat is called Momo. ").text == "Nothing had to be changed." and len(app("memories").rows()) == 1
    assert desk("recall", text="what is my cat called?").text == "My cat is called Momo." and "Nothing is remembered" in desk("recall", text="dog").text


def test_the_journal_is_looked_up_by_text_app_and_day(desk, monkeypatch):
    desk("tasks_add", title="Oat milk"), desk("notes_add", title="Milk is white")
    assert len(desk("journal_find").value.splitlines()) == 2 and len(desk("journal_find", text="milk").value.splitlines()) == 2
    assert "Milk is white" in desk("journal_find", app="notes").value and "Oat" not in desk("journal_find", app="notes").value
    assert len(desk("journal_find", limit=1).value.splitlines()) == 1 and len(desk("journal_find", since="today").value.splitlines()) == 2
    assert desk("journal_find", since="tomorrow").value == "Nothing like that was changed." == desk("journal_find", text="zebra").value


# ─── days in words

class OfDay(type):
    def __instancecheck__(cls, one): return isinstance(one, date)


def set_today(monkeypatch, today: date) -> None:
    "Let it be another day, for whoever asks."
    made = OfDay("date", (date,), {"today": classmethod(lambda cls: today), "fromisoformat": staticmethod(date.fromisoformat)})
    for module in (fields_, crud_): monkeypatch.setattr(module, "date", made)


TODAYS = [date(2026, 10, 26) + timedelta(n) for n in range(7)] + [date(2024, 2, 26) + timedelta(n) for n in range(7)] + [date(2026, 12, 28) + timedelta(n) for n in range(7)]
DAYS = ["Monday Mon monday montag Montag mon".split(), "Tuesday Tue dienstag".split(), "Wednesday wed Mittwoch".split(), "Thursday thu Donnerstag".split(), "FRIDAY fri freitag".split(), "Saturday sat Samstag".split(), "Sunday sun Sonntag".split()]


@pytest.mark.parametrize("day", range(7), ids=lambda n: DAYS[n][0])
def test_a_weekday_is_the_next_one_and_never_today(monkeypatch, day):
    for today in TODAYS:
        set_today(monkeypatch, today)
        right = next(d for d in (today + timedelta(n) for n in range(1, 8)) if d.weekday() == day)
        for name in DAYS[day]:
            for words in (name, f"on {name}", f"this {name}", f"by {name}", f"am {name}", f"bis {name}", f"due {name},", f"coming {name}", f"kommenden {name}"):
                assert fields_.day_called(words) == right, f"{words} on {today:%A, %Y-%m-%d}"


@pytest.mark.parametrize("day", range(7), ids=lambda n: DAYS[n][0])
def test_a_next_weekday_is_that_of_the_week_after_this_one(monkeypatch, day):
    for today in TODAYS:
        set_today(monkeypatch, today)
        right = today - timedelta(today.weekday()) + timedelta(7 + day)
        for name in DAYS[day]:
            for words in (f"next {name}", f"nächsten {name}", f"Nächster {name}"): assert fields_.day_called(words) == right, f"{words} on {today:%A, %Y-%m-%d}"


@pytest.mark.parametrize(("words", "days"), [(w, n) for n, some in {0: "today,heute,Today,now,tonight,TODAY ,by today", 1: "tomorrow,morgen,Tomorrow,by tomorrow,bis morgen,next day,in a day,in 1 day,in one day,in einem Tag", 2: "übermorgen,in 2 days,in two days,in zwei Tagen,in 2 tagen",
    -1: "yesterday,gestern", 7: "next week,nächste Woche,in a week,in one week,in 1 week,in einer Woche,in 7 days", 14: "in 2 weeks,in two weeks,in zwei Wochen,in 2 Wochen", 10: "in 10 days,in 10 Tagen", 30: "in 30 days"}.items() for w in some.split(",")])
def test_days_from_now(monkeypatch, words, days):
    for today in TODAYS:
        set_today(monkeypatch, today)
        assert fields_.day_called(words) == today + timedelta(days)


@pytest.mark.parametrize("words", ["", " ", "soon", "next", "in", "in days", "in -1 days", "in 3", "in 99999 days", "in two apples", "the", "money", "sunny", "freedom", "monk", "next to", "tomorrow or so", "in 3 years days", "12", "friday 13", "day", "week", "\0", "x" * 10**6, "in " + "9" * 5000 + " days", "next " * 1000])
def test_other_words_are_no_day(words): assert fields_.day_called(words) is None


def test_a_day_may_be_typed_as_ever(monkeypatch):
    set_today(monkeypatch, date(2026, 10, 28))
    field = fields_.field_of("due", date | None)
    assert [fields_.value_of(field, v) for v in ("2026-12-24", "friday", date(2026, 1, 2), datetime(2026, 1, 2, 3), None, "")] == [date(2026, 12, 24), date(2026, 10, 30), date(2026, 1, 2), date(2026, 1, 2), None, None]
    with pytest.raises(Problem, match="due is 'soon', which is not a date. Give a date such as 2026-12-24."): fields_.value_of(field, "soon")


def test_a_call_may_name_a_day_in_words(desk, monkeypatch):
    set_today(monkeypatch, date(2026, 10, 31))  # a Saturday; the clocks went back last week
    desk("tasks_add", title="A", due="tomorrow")
    desk("tasks_add", title="B", due="next monday")
    desk("tasks_change", which=["A"], due="nächste Woche")
    assert [r["due"] for r in app("tasks").rows()] == ["2026-11-07", "2026-11-02"]


# ─── refused, and nothing written

REFUSED = [("tasks_add", {}, "tasks_add lacks title. It is tasks_add(title, "), ("tasks_add", {"title": ""}, "lacks title"), ("tasks_add", {"title": None}, "lacks title"), ("tasks_add", {"title": "   "}, "title is empty"), ("tasks_add", {"titel": "x"}, "tasks_add has no argument titel. Did you mean title?"),
    ("tasks_add", {"title": "x", "position": 3}, "no argument position"), ("tasks_add", {"title": "x", "id": 3}, "no argument id"), ("tasks_add", {"title": "x", "due": "soon"}, "due is 'soon', which is not a date. Give a date such as"), ("tasks_add", {"title": "x", "due": 20261224}, "not a date"),
    ("tasks_add", {"title": "x", "due": "2026-02-30"}, "not a date"), ("tasks_add", {"title": "x", "priority": "urgent"}, "priority is 'urgent'. There are: high, low, normal."), ("tasks_add", {"title": "x", "priority": "hihg"}, "Did you mean high?"), ("tasks_add", {"title": "x", "is_done": "maybe"}, "is not yes or no"),
    ("tasks_add", {"title": "x", "is_done": 2}, "not yes or no"), ("tasks_add", {"title": ["x"]}, "title is"), ("tasks_add", {"title": {"a": 1}}, "title is"), ("tasks_add", {"title": "x", "profile": "Nobody"}, "There is no profile “Nobody”"), ("tasks_add", {"title": "x", "profile": 7}, "There is no profile"),
    ("tasks_add", {"title": "x", "due": "soon", "priority": "urgent"}, "due is 'soon'"), ("tasks_add", {"title": "x", "due": "soon", "priority": "urgent"}, "priority is 'urgent'"), ("tasks_add", "title=x", "are no object. tasks_add(title"), ("tasks_add", ["x"], "no object"), ("tasks_add", None, "no object"), ("tasks_add", 5, "no object"),
    ("tasks_change", {"which": ["1"]}, "not said what to change"), ("tasks_change", {"title": "x"}, "lacks which"), ("tasks_change", {"which": [], "title": "x"}, "lacks which"), ("tasks_change", {"which": ["1"], "title": ""}, "title is empty"), ("tasks_change", {"which": ["1", "Nope"], "is_done": True}, "There is no task “Nope”"),
    ("tasks_change", {"which": ["1", "bank"], "is_done": True}, "2 tasks fit"), ("tasks_change", {"which": ["1"], "position": 5}, "no argument position"), ("tasks_change", {"which": ["1"], "to": "middle"}, "to is 'middle'"), ("tasks_change", {"which": ["1"], "due": "never"}, "not a date"), ("tasks_change", {"whihc": ["1"], "title": "x"}, "Did you mean which?"),
    ("tasks_delete", {}, "lacks which"), ("tasks_delete", {"which": "bank"}, "2 tasks fit"), ("tasks_delete", {"which": ["1", "999"]}, "There is no task"), ("tasks_delete", {"which": "1", "really": True}, "no argument really"), ("tasks_toggle", {"which": ["1"], "switch": "title"}, "switch is 'title'"), ("tasks_toggle", {"which": ["999"]}, "There is no task"),
    ("tasks_move", {"which": "1"}, "not said where to"), ("tasks_move", {"which": "1", "to": "middle"}, "to is 'middle'"), ("tasks_move", {"which": "1", "after": "1"}, "not said where to"), ("tasks_move", {"which": "1", "after": "999"}, "There is no task"), ("tasks_move", {"to": "first"}, "lacks which"),
    ("tasks_find", {"limit": 0}, "limit is 0"), ("tasks_find", {"limit": 201}, "from 1 to 200"), ("tasks_find", {"limit": "many"}, "not a whole number"), ("tasks_find", {"due_befor": "today"}, "Did you mean due_before?"), ("tasks_find", {"is_done": "perhaps"}, "not yes or no"), ("tasks_find", {"profile": "Nobody"}, "There is no profile"), ("tasks_find", {"position": 1}, "no argument"),
    ("boxes_add", {"title": "x"}, "lacks room"), ("boxes_add", {"title": "x", "room": "Nowhere"}, "There is no room"), ("boxes_add", {"title": "x", "room": None}, "lacks room"), ("bills_add", {"title": "x", "is_sent": True}, "no argument is_sent"), ("bills_toggle", {"which": [1], "switch": "is_sent"}, "switch is 'is_sent'"),
    ("bills_add", {"title": "forbidden"}, "Such a bill is not taken. Give another title."), ("undo", {"count": 0}, "count is 0"), ("undo", {"count": 26}, "from 1 to 25"), ("undo", {"count": "all"}, "not a whole number"), ("remember", {}, "lacks text"), ("remember", {"text": "x" * 3000}, "at most 2,000 characters"), ("search", {}, "lacks text"),
    ("weather", {"place": "Ulm", "days": 8}, "from 1 to 7"), ("unwilling", {}, "Not today. Come tomorrow."), ("broken", {}, "broken failed: ValueError: no good."), ("broken_later", {}, "broken_later failed: ValueError: no good."),
    *(("jars_add", {"title": "x", n: v}, says) for n, v, says in [("count", 100, "from 0 to 99"), ("count", "x", "count is 'x'"), ("count", 1.5, "not a whole number"), ("count", True, "not a whole number"), ("count", 10**30, "count is"), ("weight", "nan", "not a number"), ("weight", "heavy", "not a number"), ("price", "dear", "not a number"), ("price", "1e999999999", "not a number"), ("best_by", "x", "not a date"),
        ("filled_at", "x", "not a date and time"), ("hour", "25:00", "not a time"), ("kind", "jelly", "kind is 'jelly'"), ("level", 4, "level is '4'"), ("size", "huge", "size is 'huge'"), ("mail", "x", "not an e-mail address"), ("link", "javascript:alert(1)", "not a web address"), ("code", "aa0", "code is 'aa0'"), ("data", "{", "not JSON"), ("tags", 5, "not a list"), ("room", "x", "There is no room"), ("picture", "x.png", "no file x.png")])]


@pytest.mark.parametrize(("tool", "args", "says"), REFUSED, ids=lambda v: str(v)[:60])
def test_what_is_wrong_is_said_and_nothing_is_written(tasks, desk, tool, args, says):
    problem = desk.refused(tool, args)
    assert says in str(problem) and len(str(problem)) < 1200
    if "Error" not in says: assert "Error" not in str(problem)


def test_all_that_is_wrong_is_said_at_once(desk):
    text = str(desk.refused("jars_add", {"title": "x", "count": 100, "kind": "jelly", "mail": "x", "hour": "noon"}))
    assert all(word in text for word in ("count", "jelly", "mail", "noon"))


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\x00"], ids=["NUL", "half a character", "only NUL"])
def test_characters_that_cannot_be_kept_are_refused_in_every_argument(tasks, desk, text):
    for name, args in (("tasks_add", dict(title=text)), ("tasks_add", dict(title="x", notes=text)), ("tasks_change", dict(which=["1"], title=text)), ("tasks_change", dict(which=[text], title="x")), ("tasks_delete", dict(which=text)), ("tasks_find", dict(text=text)), ("tasks_find", dict(due=text)), ("tasks_move", dict(which=text, to="first")),
            ("jars_add", dict(title="x", picture=text)), ("jars_add", dict(title="x", room=text)), ("search", dict(text=text)), ("remember", dict(text=text)), ("weather", dict(place=text)), ("tasks_add", {"title": "x", text: "y"})):
        problem = desk.refused(name, args)
        assert "Error" not in str(problem), (name, args, str(problem))
        str(problem).encode()


MB = "x" * 1_000_000


@pytest.mark.parametrize(("tool", "args"), [("tasks_change", dict(which=[MB], title="x")), ("tasks_delete", dict(which=[MB])), ("tasks_delete", dict(which=MB)), ("tasks_delete", dict(which=["word " * 200_000])), ("tasks_delete", dict(which=["1 " * 500_000])), ("tasks_move", dict(which=MB, to="first")), ("tasks_find", dict(text=MB)), ("tasks_find", dict(text="word " * 200_000)), ("search", dict(text=MB)),
    ("search", dict(text="word " * 200_000)), ("recall", dict(text="word%d " * 100_000)), ("recall", dict(text=" ".join(f"word{n}" for n in range(100_000)))), ("journal_find", dict(text=MB)), ("tasks_add", dict(title="x", priority=MB)), ("tasks_add", dict(title="x", due=MB)), ("tasks_add", dict(title="x", due="in " + "9" * 1_000_000 + " days")),
    ("tasks_add", dict(title="x", profile=MB)), ("jars_add", dict(title="x", count="9" * 1_000_000)), ("jars_add", dict(title="x", price="9" * 1_000_000)), ("jars_add", dict(title="x", mail=MB)), ("jars_add", dict(title="x", picture=MB)), ("tasks_add", {MB: "x"}), ("tasks_delete", dict(which=["no such"] * 100_000)), ("undo", dict(count="9" * 1_000_000)), ("tasks_add", {f"a{n}": n for n in range(100_000)}),
    ("weather", dict(place="x", days=10**4000))], ids=lambda v: str(v)[:50])
def test_a_megabyte_of_arguments_is_refused_or_finds_nothing_within_seconds(tasks, desk, tool, args):
    began, before = time.monotonic(), whole()
    try: said = desk.use(tool, args).text
    except Problem as problem: said = str(problem)
    assert whole() == before and time.monotonic() - began < 4 * patience() and len(said) < 2000
    assert "Error" not in said, "what SQLite cannot take is no answer"


def test_a_megabyte_of_text_is_kept_as_a_form_would_keep_it_and_told_in_a_line(desk):
    done = desk("notes_add", title="Long", body=MB)
    assert app("notes")[1].body == MB and len(done.text) < 100
    assert len(desk("notes_find").text) < 200
    desk("notes_change", which="long", body="short")
    tools.take_back(desk.why)
    assert app("notes")[1].body == MB


def test_json_that_is_nested_too_deeply_is_refused(desk):
    deep: list = []
    for _ in range(100_000): deep = [deep]
    desk.refused("jars_add", {"title": "x", "data": deep})
    desk.refused("jars_add", {"title": "x", "data": "[" * 100_000})


# ─── one definition: an app's own rules hold for its tools

def test_an_apps_hooks_change_and_refuse_what_its_tools_write(desk):
    desk("bills_add", title="water")
    assert names("bills") == ["Water"]
    desk("bills_change", which="water", amount=500)
    assert names("bills") == ["Large: Water"]
    desk("bills_toggle", which=1, switch="is_paid")
    assert "A paid bill stays as it is. Untick it first." == str(desk.refused("bills_change", {"which": [1], "amount": 1}))
    assert app("bills")[1].amount == 500


def test_several_are_changed_all_or_none(desk):
    for n in range(3): desk("bills_add", title=f"bill {n}")
    desk("bills_toggle", which=3, switch="is_paid")
    before = whole()
    assert "A paid bill" in str(desk.refused("bills_change", {"which": "all", "amount": 5})), "the third refuses"
    assert "KeyError" in str(desk.refused("bills_change", {"which": ["1", "2"], "amount": 13}))
    assert whole() == before and [r["amount"] for r in app("bills").rows()] == [0, 0, 0]


def test_the_first_switch_that_may_be_changed_is_the_one_that_is_toggled(desk):
    desk("bills_add", title="x")
    desk("bills_toggle", which=[1])
    assert (app("bills")[1].is_sent, app("bills")[1].is_paid) == (False, True), "is_sent is read-only"


def test_a_toggle_turns_each_the_other_way(tasks, desk):
    done = desk("tasks_toggle", which=["1", "3"])
    assert [app("tasks")[i].is_done for i in (1, 3)] == [True, False] and done.text.startswith("toggled 2 tasks") and len(done.entries) == 1
    desk("jars_add", title="x")
    desk("jars_toggle", which=1, switch="is_ripe")
    desk("jars_toggle", which=1)
    assert (app("jars")[1].is_open, app("jars")[1].is_ripe) == (True, True)


def test_a_record_that_others_need_is_not_deleted_and_one_that_they_only_name_is(desk):
    for name in ("Cellar", "Attic"): desk("rooms_add", name=name)
    desk("boxes_add", title="Books", room="cellar", other="attic")
    assert "1 of Boxes belong to it, such as “Books”. Delete or move them first." == str(desk.refused("rooms_delete", {"which": "cellar"}))
    assert "belong to it" in str(desk.refused("rooms_delete", {"which": "all"})), "and the other stays too"
    before = kept()
    done = desk("rooms_delete", which="attic")
    assert app("boxes")[1].other is None and names("rooms", "name") == ["Cellar"] and len(done.entries) == 1
    tools.take_back(desk.why)
    assert kept() == before


def test_first_last_and_after(tasks, desk):
    def order() -> str: return "".join(str(r["id"]) for r in tasks.rows(order_by="position, id"))
    for args, right in ((dict(which="heater", to="first"), "612345"), (dict(which=6, to="last"), "123456"), (dict(which=1, after="statement"), "231456"), (dict(which=2, after=6), "314562"), (dict(which=2, after=3), "321456"), (dict(which=3, to="first"), "321456"), (dict(which=6, to="last"), "321456"), (dict(which=1, after=2), "321456")):
        desk("tasks_move", **args)
        assert order() == right, args
    desk("tasks_change", which=5, to="first", priority="low")
    assert order() == "532146" and tasks[5].priority == "low"


def test_several_that_are_put_first_or_last_keep_their_order(tasks, desk):
    desk("tasks_change", which=[2, 4], to="last")
    assert [r["id"] for r in tasks.rows(order_by="position, id")] == [1, 3, 5, 6, 2, 4]
    desk("tasks_change", which=[5, 4], to="first")
    assert [r["id"] for r in tasks.rows(order_by="position, id")] == [5, 4, 1, 3, 6, 2]


def test_a_hundred_moves_to_the_same_place_can_be_taken_back(tasks, desk):
    before, whys = kept(), []
    for n in range(100):
        desk("tasks_move", which=1 + n % 6, after=1 + (n + 1) % 6)
        whys.append(desk.why)
    assert sorted(r["id"] for r in tasks.rows()) == [1, 2, 3, 4, 5, 6] and len({r["position"] for r in tasks.rows()}) == 6
    for why in reversed(whys):
        with contextlib.suppress(Problem): tools.take_back(why)  # one that was there already
    assert kept() == before


def test_the_only_task_can_be_put_anywhere(desk):
    desk("tasks_add", title="Only")
    assert desk("tasks_move", which=1, to="last").text == desk("tasks_move", which=1, to="first").text == "Nothing had to be changed."


# ─── several at once

@pytest.mark.parametrize(("tool", "args", "count"), [("tasks_change", dict(priority="low"), 5), ("tasks_change", dict(due="tomorrow", is_done=True), 6), ("tasks_toggle", {}, 6), ("tasks_delete", {}, 6), ("tasks_change", dict(to="first"), 1)], ids=str)
def test_several_at_once_are_one_entry_one_line_and_one_undo(tasks, desk, tool, args, count):
    before, journal = kept(), heads()
    done = desk(tool, which="all", **args)
    assert len(done.entries) == 1 and heads()[len(journal):] == [done.entries[0]["summary"]] and len(done.text.splitlines()) == 1
    assert len(entries("part_of=?", done.entries[0]["id"])) >= count and "6 tasks" in done.text
    assert {e["cause"] for e in entries("id > ?", len(journal))} == {desk.why} and {e["actor"] for e in entries("id > ?", len(journal))} == {"model"}
    db.undo(done.entries[0]["id"])
    assert kept() == before


def test_a_hundred_deleted_rows_come_back_whole(desk):
    "B8."
    app("profiles").insert(name="Acme"), app("rooms").insert(name="Cellar")
    with db.transaction():
        for n in range(100): app("tasks").insert(title=f"Task {n}", notes=f"note\n{n}", due=TODAY + timedelta(n), is_done=n % 3 == 0, priority=("low", "normal", "high")[n % 3], profile=1 if n % 2 else None)
        for n in range(100): app("jars").insert(**JAR | {"title": f"Jar {n}", "room": 1})
    before = kept()
    for name in ("tasks", "jars"):
        done = desk(f"{name}_delete", which="all")
        assert app(name).count() == 0 and len(done.entries) == 1
    desk("undo", count=2)
    assert kept() == before
    desk("tasks_delete", which="all")
    tools.take_back(desk.why)
    assert kept() == before


# ─── rehearsal

def test_a_rehearsal_tells_what_would_change_and_changes_nothing_at_all(tasks, desk, monkeypatch):
    heard, before, listeners = [], whole(), []
    monkeypatch.setattr(db, "listeners", [*db.listeners, heard.append])
    monkeypatch.setattr(events.broadcaster, "publish", listeners.append)
    found = tools.rehearse([("tasks_add", dict(title="New", due="tomorrow")), ("tasks_change", dict(which="new", priority="high")), ("tasks_toggle", dict(which=["oat", "call"])), ("tasks_delete", dict(which="done")), ("tasks_delete", dict(which="new")), ("tasks_move", dict(which=6, to="first")), ("undo", dict(count=1)), ("remember", dict(text="x"))])
    assert [[e["summary"] for e in one if e["part_of"] is None] for one in found] == [["added “New”"], ["changed “New”: priority normal → high"], ["toggled 2 tasks: is_done"], ["deleted 4 tasks"], ["deleted “New”"], ["moved Water heater"], ["undo: moved Water heater"], ["added “x”"]]
    assert [len(one) for one in found] == [1, 1, 3, 5, 1, 1, 1, 1], "with all parts"
    assert {e["actor"] for one in found for e in one} == {"model"} and json.loads(found[0][0]["after"])["title"] == "New"
    assert whole() == before and heard == [] and listeners == [], "nobody was told"
    assert desk("tasks_add", title="Really").entries[0]["record_id"] == 7 and len(heard) == 1


def test_a_rehearsal_in_a_workspace_without_any_table_makes_none(kitchen, tmp_path):
    with in_process(tmp_path / "bare"):
        base.plugins["kitchen"] = kitchen
        before = whole()
        found = tools.rehearse([("jars_add", dict(title="New")), ("jars_change", dict(which="New", count=3)), ("tasks_add", dict(title="x"))])
        assert [len(one) for one in found] == [1, 1, 1] and whole() == before
        assert app("jars").count() == 0 and app("jars").insert(title="Then").id == 1 and app("jars").pick("then") == [1]
        assert db.search("then") == [("jars", 1)]


def test_a_rehearsal_tells_why_a_call_would_be_refused_and_goes_on(tasks, desk):
    before = whole()
    found = tools.rehearse([("tasks_add", {}), ("no_such", {}), ("tasks_delete", dict(which="bank")), ("tasks_add", "x"), ("bills_add", dict(title="forbidden")), ("undo", dict(count=25)), ("tasks_add", dict(title="Good")), ("tasks_change", dict(which=["good", "nope"], title="x")), ("tasks_delete", dict(which="good"))])
    assert [isinstance(one, Problem) for one in found] == [True, True, True, True, True, False, False, True, False], found
    assert "2 tasks fit" in str(found[2]) and whole() == before


def test_a_rehearsal_stands_what_breaks_in_an_app(desk):
    desk("bills_add", title="x")
    before = whole()
    found = tools.rehearse([("bills_change", dict(which=[1], amount=13)), ("bills_add", dict(title="after"))])
    assert isinstance(found[0], Problem) and "KeyError" in str(found[0]) and len(found[1]) == 1 and whole() == before


def test_a_rehearsal_stands_a_megabyte(tasks, desk):
    before = whole()
    found = tools.rehearse([("tasks_delete", dict(which=["word " * 200_000])), ("tasks_find", dict(text=MB)), ("tasks_add", dict(title="x"))])
    assert len(found) == 3 and len(found[2]) == 1 and whole() == before


def test_what_is_more_than_a_change_of_records_is_left_out_of_a_rehearsal(desk):
    before = whole()
    assert tools.rehearse([("send", dict(to="Ann")), ("two_rooms", dict(name="x")), ("broken", {}), ("weather", dict(place="Ulm"))]) == [[], [], [], []]
    assert whole() == before and not (home.path / "sent.txt").exists()
    assert isinstance(tools.rehearse([("weather", {})])[0], Problem), "its arguments are looked at all the same"


def test_a_plugins_own_tool_may_say_that_it_can_be_rehearsed(desk):
    before = whole()
    found = tools.rehearse([("tidy", dict(name="Cellar")), ("boxes_add", dict(title="Books", room="cellar"))])
    assert [len(one) for one in found] == [1, 1] and whole() == before


def test_a_rehearsal_leaves_the_actor_the_cause_and_the_files_as_they_are(tasks, desk):
    (home.files / "a.txt").write_text("a")
    change_files = chapter("files").change_files
    change_files([("a.txt", "b.txt")], "moved a.txt")
    before, actor = whole(), store_.actor.get()
    found = tools.rehearse([("undo", {}), ("tasks_delete", dict(which="all"))])
    assert [len(one) for one in found] == [2, 7]
    assert sorted(p.name for p in home.files.iterdir() if not p.name.startswith(".")) == ["b.txt"] and (home.files / "b.txt").read_text() == "a"
    assert whole() == before and store_.cause.get() == ""
    assert store_.actor.get() == actor, "what is done next is not done by the model"


# ─── taking back

def test_all_that_a_call_changed_is_taken_back_newest_first_and_redone_when_asked_again(desk):
    before = kept()
    desk("two_rooms", name="Room")
    why, after = desk.why, kept()
    for _ in range(5):
        new = tools.take_back(why)
        assert kept() == before and [e["summary"] for e in new] == ["undo: added “Room 2”", "undo: added “Room 1”"], "newest first"
        new = tools.take_back(why)
        assert kept() == after and [e["summary"] for e in new] == ["redo: added “Room 1”", "redo: added “Room 2”"], "in the order in which it was done"


def test_a_call_with_several_changes_of_one_record_is_taken_back_and_redone(desk):
    @tools.tool(name="test_several")
    def several():
        one = app("rooms").insert(name="A")
        app("rooms").update(id=one.id, name="B")
        app("rooms").update(id=one.id, name="C")
        app("rooms").delete(one.id)
        app("rooms").insert(name="D")
    try:
        before = kept()
        desk("test_several")
        after = kept()
        for _ in range(3):
            tools.take_back(desk.why)
            assert kept() == before
            tools.take_back(desk.why)
            assert kept() == after
    finally: del base.system.tools["test_several"]


def test_what_is_left_of_a_call_that_broke_half_way_can_be_taken_back(desk):
    with pytest.raises(Problem, match="and then it broke"): desk("half_a_room", name="Half")
    assert names("rooms", "name") == ["Half"]
    tools.take_back(desk.why)
    assert names("rooms", "name") == []


def test_a_call_that_is_partly_undone_is_undone_in_the_rest(desk):
    before = kept()
    done = desk("two_rooms", name="Room")
    db.undo(done.entries[1]["id"])
    assert [e["summary"] for e in tools.take_back(desk.why)] == ["undo: added “Room 1”"] and kept() == before


def test_where_a_record_has_changed_since_nothing_is_taken_back(desk):
    desk("two_rooms", name="Room")
    why = desk.why
    desk("rooms_change", which="Room 1", name="Kitchen")
    before = whole()
    with pytest.raises(Problem) as conflict: tools.take_back(why)
    assert conflict.value.status == 409 and "Kitchen" in str(conflict.value) and "entry 3" in conflict.value.fix
    assert whole() == before, "not even the second room, which could have been"
    tools.take_back(desk.why)
    tools.take_back(why)
    assert names("rooms", "name") == []


def test_a_redo_that_conflicts_changes_nothing(desk):
    desk("rooms_add", name="Cellar")
    desk("rooms_change", which=1, name="Attic")
    why = desk.why
    tools.take_back(why)
    desk("rooms_change", which=1, name="Hall")
    before = whole()
    with pytest.raises(Problem) as conflict: tools.take_back(why)
    assert conflict.value.status == 409 and whole() == before


@pytest.mark.parametrize("why", ["", "call 99", "call 9'; --", "%"])
def test_where_nothing_was_changed_nothing_is_taken_back(desk, why):
    desk("rooms_add", name="Cellar")
    app("rooms").insert(name="By a person")
    before = whole()
    with pytest.raises(Problem) as problem: tools.take_back(why)
    assert problem.value.status == 404 and whole() == before


def test_an_undo_by_tool_can_be_taken_back_and_redone_as_often_as_one_likes(desk):
    "Its changes depend on each other: first added, then renamed."
    desk("rooms_add", name="Cellar")
    desk("rooms_change", which=1, name="Attic")
    full = kept()
    desk("undo", count=2)
    empty = kept()
    assert names("rooms", "name") == []
    for _ in range(3):
        tools.take_back(desk.why)
        assert kept() == full
        tools.take_back(desk.why)
        assert kept() == empty


def test_the_tool_undo_takes_back_the_last_changes_groups_whole_and_settings_left_alone(tasks, desk):
    start = kept()
    desk("tasks_delete", which="done")
    store["theme"] = "dark"
    desk("tasks_change", which="open", priority="low")
    desk("notes_add", title="A")
    store["theme"] = "light"
    done = desk("undo", count=3)
    assert [e["summary"] for e in done.entries] == ["undo: added “A”", "undo: changed 4 tasks: priority → low", "undo: deleted 2 tasks"] and done.text.splitlines()[0] == "undo: added “A” (notes 1)"
    now = kept()
    assert now.pop("settings") and {n: v for n, v in now.items() if n != "settings"} == {n: v for n, v in start.items() if n != "settings"} and store["theme"] == "light"
    assert len(desk("undo", count=25).entries) == 6, "what is undone is not undone again: the six tasks, which are older"
    assert "nothing to undo" in desk.refused("undo", {}).what
    assert app("tasks").count() == 0 and store["theme"] == "light"


def test_the_tool_undo_takes_back_what_a_person_did_and_a_redo(desk):
    app("tasks").insert(title="By hand")
    assert desk("undo").entries[0]["actor"] == "model" and app("tasks").count() == 0
    db.undo(redo=True)
    assert app("tasks").count() == 1
    desk("undo")
    assert app("tasks").count() == 0


def test_an_undo_that_conflicts_undoes_none_of_its_count(desk):
    "Something that is not taken back lies between: what was done to the files is on the disk, and was undone by hand there."
    (home.files / "a.txt").write_text("a")
    chapter("files").change_files([("a.txt", "b.txt")], "moved a.txt")
    (home.files / "b.txt").unlink()
    desk("tasks_add", title="A")
    before = whole()
    assert desk.refused("undo", {"count": 2}).status == 409 and whole() == before and names("tasks") == ["A"]


def test_the_current_profile_is_deleted_and_comes_back_as_the_current_one(two_profiles, desk):
    before = kept()
    done = desk("profiles_delete", which="acme")
    assert store["profile"] is None and [r["profile"] for r in app("tasks").rows()] == [None, 2, None, 2, None, 2] and len(done.entries) == 2
    tools.take_back(desk.why)
    assert kept() == before and store["profile"] == 1
    tools.take_back(desk.why)
    assert store["profile"] is None and names("profiles", "name") == ["Umbra"]


def test_the_journal_says_by_whom_and_why_and_nothing_of_it_is_left_behind(desk):
    done = desk.run(tools.use(tools.tool_called("rooms_add"), {"name": "Hall"}, "turn 7", "mcp"))
    assert [(e["actor"], e["cause"]) for e in done.entries] == [("mcp", "turn 7")] and tools.entries_of("turn 7") == done.entries
    app("rooms").insert(name="By hand")
    assert (entries()[-1]["actor"], entries()[-1]["cause"]) == ("person", "")


# ─── what plugins add

def test_a_plugins_tools_are_called_with_typed_arguments(desk):
    assert desk("weather", place="Ulm").text == "Ulm: 1" and desk("weather", place="Ulm", days="3").value == "Ulm: 3" and desk("loud", text="hi").text == "HI"
    (home.files / "sub").mkdir()
    (home.files / "sub" / "x.csv").write_text("a")
    given = dict(day="2026-12-24", moment="2026-12-24T18:00", hour="18:00", price="19.90", words="a, b", data='{"a": 1}', size="LARGE", mood="good", mail="a@b.de", link="https://a.de", code="AB", is_it="no", story=" a\nb ", picture="@files/sub/x.csv")
    assert desk("everything", **given).value == ["datetime.date(2026, 12, 24)", "datetime.datetime(2026, 12, 24, 18, 0)", "datetime.time(18, 0)", "Decimal('19.90')", "['a', 'b']", "{'a': 1}", "<Size.LARGE: 'large'>", "'good'", "'a@b.de'", "'https://a.de'", "'AB'", "False", "' a\\nb '", "0.5", "'sub/x.csv'", "None"]


@pytest.mark.parametrize(("name", "fix"), [("x.cvs", "Did you mean x.csv?"), ("@files/x.cvs", "Did you mean x.csv?"), ("x.csvv", "Did you mean x.csv?"), ("../data.db", ""), ("@files/../data.db", ""), ("/etc/passwd", ""), ("a\\b", ""), ("", None), ("sub", ""), ("data.db", ""), (".trash/old.csv", ""), ("link.csv", ""), ("x" * 5000, "")])
def test_a_file_is_one_of_ours_or_the_closest_name_is_said(desk, name, fix):
    (home.files / "x.csv").write_text("a")
    (home.files / "sub").mkdir()
    (home.files / ".trash").mkdir()
    (home.files / ".trash" / "old.csv").write_text("deleted")
    (home.files / "link.csv").symlink_to("/etc/passwd")
    made = tools.tool_called("jars_add")
    if fix is None: assert made.typed({"title": "x", "picture": name})["picture"] is None
    else:
        problem = desk.refused("jars_add", {"title": "x", "picture": name})
        assert problem.status in (404, 422) and fix in problem.fix and "trash" not in problem.fix, "what was deleted is not offered"
    assert made.typed({"title": "x", "picture": "@files/x.csv"})["picture"] == "x.csv" == made.typed({"title": "x", "picture": "x.csv"})["picture"]


@pytest.mark.parametrize(("what", "text"), [("none", "Nothing had to be changed."), ("dict", '{"a":1}'), ("rows", '{"a":1}\n{"a":2}'), ("date", "2026-12-24"), ("nan", "nan"), ("object", "<object"), ("knot", ""), ("many", "0\n1\n2"), ("bytes", "b'abc'"), ("record", "")])
def test_whatever_a_tool_gives_is_told_as_text(desk, what, text):
    app("rooms").insert(name="Cellar")
    told = desk("gives", what=what).text
    assert text in told and len(told) < 5000


def test_of_many_changes_the_first_fifty_are_told(desk):
    @tools.tool(name="test_many")
    def many():
        for n in range(60): app("rooms").insert(name=f"Room {n}")
    try: lines = desk("test_many").text.splitlines()
    finally: del base.system.tools["test_many"]
    assert len(lines) == 51 and lines[-1] == "and 10 more changes"


def test_a_tool_tells_what_it_changed_and_then_what_it_gave(desk):
    assert desk("two_rooms", name="Room").text == "added “Room 1” (rooms 1)\nadded “Room 2” (rooms 2)\ndone"
    assert desk("rooms_delete", which="all").text == "deleted 2 rooms", "an app's own tool tells only that"


@pytest.mark.parametrize("name", ["slow", "slow_later"])
def test_a_tool_that_takes_too_long_is_given_up(desk, monkeypatch, name):
    monkeypatch.setattr(tools, "TOOL_SECONDS", 0.2)
    began = time.monotonic()
    problem = desk.refused(name, {})
    assert problem.what == f"{name} took longer than 0.2 seconds." and time.monotonic() - began < 0.55 * patience()
    assert desk("weather", place="Ulm").text == "Ulm: 1"


def test_a_timeout_of_the_tools_own_is_not_ours(desk):
    assert "the socket gave up" in str(desk.refused("timed_out", {}))


def test_a_tool_that_exits_ends_nothing_but_itself(start, plugin):
    plugin("kitchen", KITCHEN)
    shell = Shell(start())
    for name in ("leaving", "leaving_later"):
        assert f"{name} failed: SystemExit" in shell.call(name, status=1)
        assert shell.server.process.poll() is None and shell.server.get("/tasks").status == 200 and shell.call("weather", place="Ulm") == "Ulm: 1"


def test_a_record_class_as_an_argument_takes_a_number_or_a_name(desk):
    app("rooms").insert(name="Cellar"), app("rooms").insert(name="Attic")
    assert desk("praise", room=2).text == "how fine is Attic"
    assert desk("praise", room="cellar").text == "how fine is Cellar"
    assert "There is no room" in desk.refused("praise", {"room": "Zebra"}).what and "There is no room" in desk.refused("praise", {"room": 99}).what


HEAD = '"A plugin."\nfrom sololith import *\n\n'
CRUD = "@dataclass\nclass Thing:\n    title: str\n\ncrud(Thing)\n"
PIPE = 'brew = pipeline("Brew")\n\n@brew.step\ndef cup(cup: str = "tea"): return cup\n\n'
def tool_source(name: str) -> str: return f"@tool\ndef {name}(): return 1\n\n"


def load(name: str, source: str) -> Problem | None:
    "Load a plugin here; why it is refused."
    live = dict(base.all_tools())
    try: plugins_.loader.load(name, HEAD + source)
    except Problem as problem:
        assert base.all_tools() == live, "what is refused adds no tool"
        return problem


@pytest.mark.parametrize("source", [tool_source("fly") * 2, CRUD + tool_source("things_add"), tool_source("things_add") + CRUD, PIPE + tool_source("brew_run"), tool_source("brew_run") + PIPE, tool_source("brew_fill") + PIPE], ids=["two tools", "an app, then a tool", "a tool, then an app", "a pipeline, then a tool", "a tool, then a pipeline", "and another of its tools"])
def test_one_plugin_has_each_tool_once(desk, source):
    problem = load("one", source)
    assert problem and "two tools called" in str(problem) and "Rename one" in str(problem)


@pytest.mark.parametrize("name", ["undo", "search", "remember", "tasks_add", "hello_run", "weather", "jars_find", "journal_find"])
def test_no_plugin_takes_the_name_of_a_tool_that_is_there(desk, name):
    before = base.all_tools()[name]
    problem = load("thief", tool_source(name))
    assert base.all_tools()[name] is before and problem and name in str(problem)
    theirs = "kitchen" if name in ("weather", "jars_find") else "Sololith"
    assert theirs in str(problem) and problem.fix, "it says whose it is, and what to do"


def test_a_plugin_may_be_loaded_again_with_its_own_names_and_its_old_tools_go(desk):
    assert load("own", tool_source("fly") + CRUD + PIPE) is None and {"fly", "things_add", "brew_run"} <= set(base.all_tools())
    assert load("own", tool_source("fly") + tool_source("swim") + CRUD) is None
    assert {"fly", "swim", "things_add"} <= set(base.all_tools()) and "brew_run" not in base.all_tools()
    plugins_.loader.unload("own")
    assert not {"fly", "swim", "things_add"} & set(base.all_tools())
    with pytest.raises(Problem, match="There is no tool fly"): tools.tool_called("fly")


@pytest.mark.parametrize(("source", "says"), [("@tool\ndef bad(data: bytes): pass\n", "data is annotated with bytes, which cannot be asked for"), ("@tool\ndef bad(x: set[int]): pass\n", "x is annotated with"), ("@tool\ndef bad(x: Nowhere): pass\n", "Nowhere"), ("@tool(name='Bad name')\ndef bad(): pass\n", "Bad name is not a name for a tool"),
    ("@tool\ndef bad(*args): pass\n", "args"), ("@tool\ndef bad(**more): pass\n", "more"), ("@tool\ndef bad(x, /): pass\n", "x")], ids=lambda s: s.replace("\n", " ")[:45])
def test_a_tool_that_cannot_be_asked_for_is_refused_with_what_is_wrong(desk, source, says):
    problem = load("bad", source)
    assert problem and says in str(problem) and problem.fix and re.search(r"line \d", str(problem))


@pytest.mark.parametrize("source", ["@dataclass\nclass Übung:\n    title: str\n\ncrud(Übung)\n", CRUD.replace("crud(Thing)", 'crud(Thing, "My things")'), CRUD.replace("crud(Thing)", 'crud(Thing, "Stuff")'), CRUD.replace("crud(Thing)", 'crud(Thing, "9lives")'), CRUD.replace("crud(Thing)", f'crud(Thing, "{"x" * 60}")'), 'p = pipeline("2 steps")\n@p.step\ndef a(): return 1\n'],
    ids=["a letter that is not ASCII", "a space", "a capital", "a digit", "60 letters", "a pipeline with a digit"])
def test_whatever_an_app_is_called_it_loads_and_its_tools_have_names_that_can_be_called(desk, source):
    before = set(base.all_tools())
    assert load("named", source) is None
    new = set(base.all_tools()) - before
    assert len(new) >= 4 and all(re.fullmatch(r"\w{1,80}", name) for name in new)


def test_a_tool_may_have_another_name_than_its_function(desk):
    assert load("named", "@tool(name='soar', reads=True)\ndef fly(high: int = 1) -> int:\n    'Fly.'\n    return high\nassert fly() == 1\n") is None
    assert desk("soar", high="3").value == 3 and tools.tool_called("soar").reads and "fly" not in base.all_tools()


# ─── the shell, and a running server

BREWERY = '''
"Brewery: pipelines, and tools that are asked for."
from sololith import *

brew = pipeline("Brew", "Something hot.")

@brew.step
def cup(cup: str = "tea", size: Literal["small", "large"] = "small"):
    "Which cup?"
    return f"{size} {cup}"

@brew.step
def sugar(cup, spoons: Annotated[int, Range(0, 5)] = 1, day: date | None = None):
    "How sweet?"
    return f"{cup}, {spoons}" + (f", {day}" if day else "")

post = pipeline("Post", "A letter.")

@post.step
def text(text: str): return text

@post.step(name="sending", asks=True)
def sent(text):
    "It cannot be taken back."
    with open(home.path / "sent.txt", "a") as file: file.write(text + "\\n")
    return "sent"

agree = pipeline("Agree", "Asks for something called yes.")

@agree.step
def question(yes: bool = False): return yes

@agree.step(name="signing", asks=True)
def signed(question):
    with open(home.path / "sent.txt", "a") as file: file.write("signed\\n")

boom = pipeline("Boom", "Fails.")

@boom.step
def first(n: int): return n

@boom.step
def second(first): raise ValueError(f"no good: {first}")

measure = pipeline("Measure", "How long a file is.")

@measure.step
def length(file: File): return len((home.files / file).read_bytes())

pick = pipeline("Pick", "Choices that follow from a value.")

@pick.step
def words(text: str): return text.split()

@pick.step
def chosen(words, one: Annotated[str, Choices(lambda words: words)]): return one

@tool(asks=True)
def fire(rocket: str) -> str:
    "Cannot be undone."
    with open(home.path / "sent.txt", "a") as file: file.write(f"fired {rocket}\\n")
    return f"fired {rocket}"

@tool(reads=True)
def sum_up(numbers: Tags) -> dict: return {"sum": sum(map(int, numbers))}
'''


class Shell:
    "`sololith …` on one workspace, in this process: what it printed; its exit status has to be `status`."
    def __init__(self, server: Server): self.server, self.workspace = server, server.workspace

    def __call__(self, *args: object, status: int | None = 0) -> str:
        out, err, before, mask = io.StringIO(), io.StringIO(), home.path, os.umask(0o077)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try: found = contextvars.copy_context().run(cli_.main, [*map(str, args), "--workspace", str(self.workspace)])
                except SystemExit as e: found = e.code
        finally:
            home.at(before)
            os.umask(mask)
        if status is None: return out.getvalue() + err.getvalue()
        assert found == status, (found, out.getvalue(), err.getvalue())
        assert (status == 0) == bool(out.getvalue()) and (status != 0) == bool(err.getvalue()), "data on standard output, errors on standard error"
        return (err if status else out).getvalue().strip()

    def call(self, tool: str, *pairs: str, status: int = 0, **args: object) -> str: return self("call", tool, *pairs, *(f"{n}={v}" for n, v in args.items()), status=status)
    def json(self, tool: str, **args: object): return json.loads(self.call(tool, "--json", **args))
    def tools(self) -> dict[str, dict]: return {t["tool"]: t for t in json.loads(self("tools", "--json"))}
    def sql(self, sql: str, *args) -> list[dict]: return rows(self.workspace / "data.db", sql, *args)
    def unsent(self) -> None: (self.workspace / "sent.txt").unlink(missing_ok=True)
    def sent(self) -> list[str]: return path.read_text().splitlines() if (path := self.workspace / "sent.txt").exists() else []


@pytest.fixture(scope="module")
def T(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("tools") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "brewery.py").write_text(BREWERY)
    with Server(workspace).start() as server:
        yield Shell(server)
        assert "Traceback" not in server.log, server.log[-4000:]


def run_of(text: str) -> int: return int(re.search(r"Run (\d+)", text)[1])


def test_the_shell_lists_every_tool_with_what_it_takes(T):
    text, found = T("tools"), T.tools()
    assert "tasks_add(title, notes?, due?: date" in text and "    Add a task." in text and "    Cannot be undone. It asks for approval." in text
    assert {"tasks_find", "notes_delete", "brew_run", "fire", "undo", "search", "recall"} <= set(found) and found["fire"]["asks"] and not found["undo"]["asks"]
    assert found["tasks_add"]["schema"]["required"] == ["title"] and set(found["tasks_add"]) == {"tool", "signature", "about", "asks", "schema"}
    assert {t["tool"] for t in json.loads(T("tools", "--about", "task due", "--json"))} == {"tasks_find", "tasks_add", "tasks_change"}
    assert T("tools", "--about", "no such words") == "Nothing yet."


def test_the_shell_calls_a_tool_and_says_what_it_did_and_the_journal_knows(T):
    assert re.fullmatch(r"added “Oat milk” \(tasks \d+\)", T.call("tasks_add", title="Oat milk", due="tomorrow"))
    row = T.sql("SELECT * FROM tasks WHERE title='Oat milk'")[0]
    entry = T.sql("SELECT * FROM journal ORDER BY id DESC LIMIT 1")[0]
    assert row["due"] == (date.today() + timedelta(1)).isoformat() and entry["actor"] == "cli" and re.fullmatch(r"sololith call \w+", entry["cause"])
    assert T.call("tasks_find", text="oat") == f"1 task:\ntask {row['id']}: Oat milk, due {row['due']}"
    assert T.call("tasks_change", which=row["id"], is_done="yes").startswith("changed “Oat milk”: is_done no → yes")
    assert T.json("tasks_find", text="oat")[0]["is_done"] == 1 and T.json("tasks_delete", which="Oat milk")[0]["summary"] == "deleted “Oat milk”"
    assert "undo: deleted “Oat milk”" in T("undo") and T.sql("SELECT id FROM tasks WHERE title='Oat milk'") == [{"id": row["id"]}]
    assert T.call("tasks_delete", which="Oat milk").startswith("deleted")


def test_the_shell_takes_lists_with_commas_or_as_json_and_keys_with_dashes(T):
    T.call("notes_add", title="[not a list")
    for title in ("List A", "List B", "List, C"): T.call("notes_add", f"title={title}")
    assert T.call("notes_delete", 'which=["List A", "List B"]') == "deleted 2 notes"
    assert T.call("notes_delete", 'which=["List, C"]').startswith("deleted “List, C”") and T.call("notes_delete", which="[not a list").startswith("deleted")
    assert T.json("sum_up", numbers="1, 2,3") == {"sum": 6} == T.json("sum_up", numbers='["1", "2", "3"]')
    T.call("tasks_add", "title=Dashes", "is-done=yes")
    assert T.call("tasks_delete", which="dashes").startswith("deleted") and T.call("notes_add", "title=a=b").startswith("added “a=b”")
    T.call("notes_delete", which="a=b")


@pytest.mark.parametrize("title", ["[urgent]", "[x] done", "[1", "[]", "[[wiki link]]", "[1, 2]"])
def test_a_text_in_brackets_is_text(T, title):
    assert T.call("notes_add", title=title, body="brackets").startswith("added “" + title)
    T.call("notes_delete", which=T.sql("SELECT id FROM notes WHERE body='brackets'")[0]["id"])


@pytest.mark.parametrize(("args", "says"), [(("task_add", "title=x"), "There is no tool task_add. Did you mean tasks_add?"), (("tasks_add",), "tasks_add lacks title. It is tasks_add(title"), (("tasks_add", "titel=x"), "Did you mean title?"), (("tasks_add", "title=x", "due=soon"), "due is 'soon', which is not a date."), (("tasks_add", "title"), "title is no argument. Say KEY=VALUE."), (("tasks_delete", "which=zebra"), "There is no task “zebra”"), (("brew_status", "run=9999"), "There is no run 9999"), (("brew_status", "run=x"), "not a whole number")])
def test_the_shell_says_what_is_wrong_and_nothing_is_written(T, args, says):
    before = T.sql("SELECT count(*) AS n FROM journal")
    assert says in T("call", *args, status=1) and T.sql("SELECT count(*) AS n FROM journal") == before


def test_what_cannot_be_undone_needs_yes(T):
    T.unsent()
    assert T.call("fire", rocket="one", status=1) == "sololith: fire cannot be undone. Add --yes if you mean it." and T.sent() == []
    assert T.call("fire", rocket="one", yes="true", status=1) and T.sent() == [], "an argument is no approval"
    assert T.call("fire", "--yes", rocket="two") == "fired two" and T.sent() == ["fired two"]
    T.unsent()


def test_a_shell_without_a_server_calls_tools_too(tmp_path):
    from helpers import cli
    (tmp_path / "w" / "apps").mkdir(parents=True)
    (tmp_path / "w" / "apps" / "brewery.py").write_text(BREWERY)
    added = cli("call", "tasks_add", "title=Alone", "--workspace", str(tmp_path / "w"))
    assert (added.returncode, added.stdout, added.stderr) == (0, "added “Alone” (tasks 1)\n", "")
    ran = cli("call", "brew_run", "spoons=3", "--workspace", str(tmp_path / "w"))
    assert ran.returncode == 0 and "small tea, 3" in ran.stdout and "is done" in ran.stdout
    wrong = cli("call", "tasks_add", "title=[x]", "due=soon", "--json", "--workspace", str(tmp_path / "w"))
    assert wrong.returncode == 1 and wrong.stdout == "" and "which is not a date" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_saved_plugins_tools_are_there_at_once_and_go_with_it(T):
    path = T.workspace / "apps" / "comes.py"
    def save(source: str) -> None:
        path.with_name(".comes.part").write_text(source)
        path.with_name(".comes.part").replace(path)
    save(HEAD + tool_source("fly") + CRUD)
    wait_for(lambda: {"fly", "things_add"} <= set(T.tools()), 15, "new tools")
    assert T.call("fly") == "1" and T.call("things_add", title="x").startswith("added")
    save(HEAD + tool_source("swim") + CRUD)
    wait_for(lambda: "swim" in T.tools() and "fly" not in T.tools(), 15, "its newer tools")
    save(HEAD + "@tool\ndef dive(x: bytes): pass\n")
    wait_for(lambda: "comes.py has a problem" in T.server.get("/plugins").text, 15, "a red card")
    assert "x is annotated with bytes, which cannot be asked for" in T.server.get("/plugins").text and "swim" in T.tools(), "the version that was good stays"
    path.unlink()
    wait_for(lambda: "swim" not in T.tools() and "things_add" not in T.tools(), 15, "their end")
    assert "There is no tool swim" in T.call("swim", status=1)


# ─── pipelines as tools

def test_each_pipeline_brings_run_start_fill_revise_and_status(T):
    found = T.tools()
    assert [found[f"brew_{kind}"]["signature"] for kind in ("run", "start", "fill", "revise", "status")] == [
        "brew_run(cup?, size?: small|large, spoons?: int, day?: date)", "brew_start(cup?, size?: small|large, spoons?: int, day?: date)", "brew_fill(run: int, cup?, size?: small|large, spoons?: int, day?: date)",
        "brew_revise(run: int, step, cup?, size?: small|large, spoons?: int, day?: date)", "brew_status(run: int)"]
    assert found["brew_run"]["about"].startswith("Something hot.") and {f"{p}_{k}" for p in ("post", "hello", "csv_clean", "link_check", "pick") for k in ("run", "start", "fill", "revise", "status")} <= set(found)
    assert found["brew_revise"]["schema"]["properties"]["step"]["description"] == "one of cup, sugar"


def test_a_pipeline_is_run_with_its_defaults_and_with_what_is_given(T):
    text = T.call("brew_run")
    assert re.match(r"started “Brew, .+” of Brew \(runs (\d+)\)\nRun \1, “Brew, .+” of brew, is done.\n", text) and "step sugar (done)" in text and "small tea, 1" in text
    text = T.call("brew_run", cup="cocoa", size="LARGE", spoons=0, day="tomorrow")
    assert f"large cocoa, 0, {date.today() + timedelta(1)}" in text
    row = T.sql("SELECT * FROM runs WHERE id=?", run_of(text))[0]
    assert (row["by"], row["pipeline"], row["title"]) == ("cli", "brew", "cocoa")


def test_a_pipeline_is_started_filled_revised_and_looked_at(T):
    text = T.call("brew_start", cup="coffee")
    run = run_of(text)
    assert f"is waiting, at /runs/{run}." in text and "It asks for (cup?, size?: small|large): Which cup?" in text, text
    text = T.call("brew_fill", run=run, cup="coffee", size="large")
    assert "large coffee" in text and "It asks for (spoons?: int, day?: date): How sweet?" in text
    text = T.call("brew_fill", run=run, spoons=2)
    assert "large coffee, 2" in text and "is done" in text
    assert "asks nothing" in T.call("brew_fill", run=run, spoons=3, status=1)
    text = T.call("brew_revise", run=run, step="cup", cup="milk")
    assert "large milk, 2" in text and "is done" in text, "what is not said stays as it was answered"
    assert T.call("brew_status", run=run) == text
    assert "There is no step cap. Did you mean cup?" in T.call("brew_revise", run=run, step="cap", cup="x", status=1)
    assert "spoons is 9" in T.call("brew_revise", run=run, step="sugar", spoons=9, status=1) and "large milk, 2" in T.call("brew_status", run=run)
    assert f"Run {run} is one of brew. Use the tools of brew." in T.call("post_status", run=run, status=1)


def test_choices_that_follow_from_a_value_are_checked_by_the_step(T):
    run = run_of(T.call("pick_start", text="red green blue"))
    assert "It asks for (one: red|green|blue)" in T.call("pick_status", run=run), "what was given is answered already"
    problem = T.call("pick_fill", run=run, one="gren", status=1)
    assert "one is 'gren'. Did you mean green?" in problem
    assert "chosen asks for one" in T.call("pick_fill", run=run, status=1)
    assert "chosen (done)" in T.call("pick_fill", run=run, one="green") and "blue" in T.call("pick_run", text="red blue", one="blue").splitlines()[-1]


def test_a_file_for_a_pipeline_is_one_of_ours(T):
    (T.workspace / "files" / "sales 2026.csv").write_text("a,b\n1,2\n")
    assert "(done)" in T.call("measure_run", file="@files/sales 2026.csv") and T.call("measure_run", file="sales 2026.csv").endswith(": 8")
    assert "There is no file sales 2025.csv. Did you mean sales 2026.csv?" in T.call("measure_run", file="@files/sales 2025.csv", status=1)
    assert "There is no file" in T.call("measure_run", file="../data.db", status=1)
    assert "waiting" in T.call("measure_run"), "without a file it asks for one"


def test_a_step_that_fails_tells_its_error(T):
    text = T.call("boom_run", n=3)
    assert ", is failed.\n" in text and "ValueError: no good: 3" in text and "step second (failed)" in text
    assert "n is 'x'" in T.call("boom_run", n="x", status=1)


def test_a_step_that_asks_stops_for_a_person_and_no_tool_approves_it(T):
    T.unsent()
    text = T.call("post_run", text="Dear Ann")
    run = run_of(text)
    assert "is waiting" in text and "It asks for a person's approval: It cannot be taken back." in text and T.sent() == []
    for name, args in (("post_fill", {}), ("post_fill", dict(text="Dear Bob")), ("post_revise", dict(step="sending")), ("post_revise", dict(step="sending", text="x")), ("post_fill", dict(yes="true"))):
        T.call(name, run=run, status=1, **args)
        assert T.sent() == [], f"{name} {args} approved it"
    Driven(T.server, run).answer("sending")
    wait_for(lambda: T.sent() == ["Dear Ann"], what="what the person approved")
    T.unsent()
    T("run", "post", "--text", "Dear Eve", "--yes")
    assert T.sent() == ["Dear Eve"]
    T.unsent()
    approved = T.sql("SELECT max(id) AS id FROM runs")[0]["id"]
    assert "waiting" in T.call("post_revise", run=approved, step="text", text="Dear Mallory") and T.sent() == [], "what was approved beforehand was another letter"
    assert "waiting" in T.call("post_revise", run=run, step="text", text="Dear Bob") and T.sent() == [], "what comes after a revision is asked for anew"


def test_an_answer_that_is_called_yes_approves_nothing(T):
    T.unsent()
    for name in ("agree_run", "agree_start"):
        text = T.call(name, yes="true")
        if "It asks for (yes" in text: text = T.call("agree_fill", run=run_of(text), yes="true")
        assert "a person's approval" in text and T.sent() == [], "the answer was to a question, not to that"


def test_a_schedule_that_a_tool_made_approves_nothing(T):
    T.unsent()
    T("call", "schedules_add", "pipeline=post", "when=every 2 hours", 'given={"text": "By itself", "yes": true}', status=None)
    if not T.sql("SELECT id FROM schedules WHERE pipeline='post'"): return  # it is refused, which is as good
    write(T.workspace / "data.db", "UPDATE schedules SET next_at='2026-01-01 00:00:00' WHERE pipeline='post'")
    wait_for(lambda: T.sql("SELECT id FROM runs WHERE title='By itself'"), what="the schedule")
    run = T.sql("SELECT id FROM runs WHERE title='By itself'")[0]["id"]
    wait_for(lambda: T.sql("SELECT status FROM runs WHERE id=?", run)[0]["status"] != "running", what="its end")
    sent, status = T.sent(), T.sql("SELECT status FROM runs WHERE id=?", run)[0]["status"]
    T.call("schedules_delete", which="post")
    T.unsent()
    assert (sent, status) == ([], "waiting")


@pytest.mark.parametrize("tool", ["stock_run", "delivery_run"])
def test_what_a_pipeline_did_in_a_call_is_the_calls_and_is_taken_back_with_it(desk, monkeypatch, tool):
    for stream in ("stdout", "stderr"): monkeypatch.setattr(sys, stream, getattr(sys, stream))  # a run listens to them
    before = kept()
    done = desk(tool, titles="One\nTwo", into="attic")
    assert "all stored" in done.text and names("rooms", "name") == ["attic"] and names("boxes") == ["One", "Two"]
    assert [e["summary"] for e in done.entries if e["app"] != "runs"] == ["added “attic”", "added “One”", "added “Two”"], "the journal leads from the call to all that it changed"
    after = kept()
    for _ in range(2):
        tools.take_back(desk.why)
        assert kept() == before
        tools.take_back(desk.why)
        assert kept() == after


def test_a_run_that_takes_longer_than_a_tool_waits_goes_on_by_itself(desk, monkeypatch):
    for stream in ("stdout", "stderr"): monkeypatch.setattr(sys, stream, getattr(sys, stream))
    monkeypatch.setattr(runs_, "RUN_SECONDS", 0.1)
    text = desk("sleepy_run", seconds=0.5).text
    assert "is running" in text and "step nap (running)" in text
    run = int(re.search(r"\(runs (\d+)\)", text)[1])
    with pytest.raises(Problem, match=f"Run {run} asks nothing"): desk("sleepy_fill", run=run, seconds=1)
    with pytest.raises(Problem, match="is at work"): desk("sleepy_revise", run=run, step="nap", seconds=1)
    with pytest.raises(Problem, match="is at work"): desk("runs_delete", which=run)
    wait_for(lambda: "is done" in desk("sleepy_status", run=run).text, what="its end")
    assert "step nap (done)" in desk("sleepy_status", run=run).text and "awake" in desk("sleepy_status", run=run).text


def test_the_built_in_pipelines_are_run_by_name(T):
    assert "Dear Ann," in T.call("hello_run", name="Ann") and "Ann.," in T.call("hello_run", name="Ann", tone="cool")
    (T.workspace / "files" / "notes to keep.csv").write_text("Title,Body\nFrom a table,x\n From a table too ,N/A\n")
    text = T.call("csv_clean_run", file="@files/notes to keep.csv", into="notes")
    assert "is done" in text and [r["title"] for r in T.sql("SELECT title FROM notes WHERE title LIKE 'From a table%' ORDER BY id")] == ["From a table", "From a table too"]
    assert T.call("notes_delete", which="from a table").startswith("deleted") and T.call("notes_delete", which="from a table too").startswith("deleted")
    text = T.call("csv_clean_run", file="notes to keep.csv", into="nots")
    assert "is failed" in text and "into is 'nots'. Did you mean notes?" in text
    text = T.call("csv_clean_revise", run=run_of(text), step="result", into="file")
    assert "is done" in text and "artifacts/clean-" in text


def test_a_locked_run_and_one_at_work_are_not_filled(T):
    run = run_of(T.call("brew_start", cup="x"))
    assert T.server.post(f"/runs/{run}/act", {"act": "lock"}, HX_Request="true").status == 200
    assert "is locked" in T.call("brew_fill", run=run, cup="y", status=1) and "is locked" in T.call("brew_revise", run=run, step="cup", cup="y", status=1) and "is locked" in T.call("runs_delete", which=run, status=1)
    T.server.post(f"/runs/{run}/act", {"act": "unlock"}, HX_Request="true")
    assert "waiting" in T.call("brew_fill", run=run, cup="y")


def test_a_run_is_found_renamed_and_deleted_by_name(T):
    run = run_of(T.call("brew_run", cup="Rare brew"))
    assert "Rare brew" in T.call("runs_find", text="rare", status=0) and f"run {run}:" in T.call("runs_find", text="rare brew")
    T.call("runs_change", which="rare brew", title="Renamed brew")
    assert T.call("runs_delete", which="Renamed brew").startswith("deleted") and "There is no run" in T.call("brew_status", run=run, status=1)
    assert "runs_add" not in T.tools() and "status" not in T.tools()["runs_change"]["schema"]["properties"]


# ─── the property: whatever is done can be taken back

WORDS = ["Oat", "milk", "bank", "plants", "report", "Cellar", "x"]
NAMED = ["all", "done", "open", "high", "overdue", "not done", "oat", "milk", "bank", "1", "2", "3", "#4", "5", "77", "zebra", "everything", "report x", "", "low", "ripe"]


def some_call(chance: random.Random) -> tuple[str, object]:
    "A call as a model may make it: good, wrong, or beside the point."
    title = lambda: " ".join(chance.sample(WORDS, 2))
    which = lambda: chance.choice(NAMED) if chance.random() < 0.6 else chance.sample(NAMED, chance.randint(1, 3))
    values = lambda: dict(chance.sample([("due", chance.choice(["today", "tomorrow", "friday", "", None, "soon"])), ("priority", chance.choice(["low", "high", "urgent"])), ("is_done", chance.choice([True, "no", "maybe"])), ("title", title()), ("notes", title()), ("profile", chance.choice(["Acme", "Umbra", None]))], chance.randint(1, 2)))
    return chance.choice([
        lambda: ("tasks_add", {"title": title()} | values()), lambda: ("tasks_change", {"which": which()} | values()), lambda: ("tasks_change", {"which": which(), "to": chance.choice(["first", "last"])}),
        lambda: ("tasks_delete", {"which": which()}), lambda: ("tasks_toggle", {"which": which()}), lambda: ("tasks_move", {"which": which(), "to": chance.choice(["first", "last"])}),
        lambda: ("tasks_move", {"which": str(chance.randint(1, 9)), "after": str(chance.randint(1, 9))}), lambda: ("tasks_find", {"text": title()}), lambda: ("undo", {"count": chance.randint(1, 4)}),
        lambda: ("rooms_add", {"name": title()}), lambda: ("rooms_delete", {"which": which()}), lambda: ("boxes_add", {"title": title(), "room": which(), "other": which()}), lambda: ("boxes_change", {"which": which(), "other": chance.choice([None, "1", "cellar"])}),
        lambda: ("profiles_delete", {"which": chance.choice(["Acme", "umbra", "all"])}), lambda: ("bills_add", {"title": chance.choice(["forbidden", title()])}), lambda: ("bills_change", {"which": which(), "amount": chance.choice([1, 13, 500])}), lambda: ("bills_toggle", {"which": which()}),
        lambda: ("jars_add", {"title": title(), "tags": "a, b", "data": {"a": 1}, "price": "1.50"}), lambda: ("jars_change", {"which": which(), "size": "large", "price": None}), lambda: ("jars_toggle", {"which": which(), "switch": "is_ripe"}),
        lambda: ("two_rooms", {"name": title()}), lambda: ("half_a_room", {"name": title()}), lambda: ("remember", {"text": title()}), lambda: ("tasks_" + chance.choice(["ad", "update"]), {}), lambda: ("tasks_add", chance.choice([{}, None, [], {"titel": "x"}, {"title": ["x"]}]))])()


async def sequences(seeds: range) -> tuple[int, int]:
    "Random calls, each sequence then taken back call by call; how many calls were made, and how many changed something."
    begun, made, changing = kept(), 0, 0
    for seed in seeds:
        chance, whys = random.Random(seed), []
        for n in range(chance.randint(3, 8)):
            name, args = some_call(chance)
            why = f"{seed}.{n} {name} {args}"
            try: await asyncio.create_task(tools.use(tools.tool_called(name), args, why))
            except Problem: pass
            made += 1
            if tools.entries_of(why): whys.append(why)
            if whys and chance.random() < 0.2:  # a click on Undo, and another: where it cannot be done, nothing is
                before, why = kept(), chance.choice(whys)
                if all(tools.newest_of(e)["id"] == e["id"] for e in tools.entries_of(why)):
                    try: tools.take_back(why)
                    except Problem as problem: assert problem.status == 409, problem
                    else: tools.take_back(why)
                    assert kept() == before, f"sequence {seed}: undo and redo of {why}"
        changing += len(whys)
        for why in reversed(whys): tools.take_back(why)
        assert kept() == begun, f"sequence {seed}: {whys}"
    return made, changing


def seeded(desk) -> None:
    "What there is before."
    for name in ("Acme", "Umbra"): app("profiles").insert(name=name)
    for task in TASKS: app("tasks").insert(**task | {"profile": 1 if task["title"] < "C" else None})
    for name in ("Cellar", "Attic"): app("rooms").insert(name=name)
    app("boxes").insert(title="Books", room=1, other=2)
    for title in ("Oat bill", "Bank bill"): app("bills").insert(title=title)
    app("jars").insert(**JAR | {"room": 2})
    store["profile"] = 1
    store["profile"] = None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [250, pytest.param(1000, marks=pytest.mark.soak)])
def test_random_sequences_of_calls_and_undos_end_where_they_began(desk, count):
    seeded(desk)
    made, changing = desk.run(sequences(range(count)))
    assert made > 5 * count and changing > 2 * count, (made, changing)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(2, 102))  # each begins anew, for an undo takes the longer the longer the journal is
def test_fifty_thousand_random_sequences_end_where_they_began(desk, block):
    seeded(desk)
    desk.run(sequences(range(block * 500, block * 500 + 500)))
