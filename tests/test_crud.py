"""A dataclass as an app, over HTTP: list, forms, bulk, relations, history, import and export, hooks, profiles.

One server for the file. `dishes()` gives a test an app of its own (the plugin below makes forty of them), so that no
test sees another one's records.
"""
import csv
import io
import itertools
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup
from helpers import Answer, Server, wait_for

pytestmark = pytest.mark.xdist_group("crud")  # one worker, one server

KITCHEN = '''
"Kitchen: what the tests cook."
from sololith import *

@dataclass
class Dish:
    "Something to eat."
    title: str
    servings: Annotated[int, Range(1, 12), Help("For how many.")] = 2
    course: Literal["starter", "main", "dessert", "none"] = "main"
    is_cooked: bool = False
    cook_by: date | None = None
    price: Decimal | None = None
    notes: Text = ""
    tags: Tags = field(default_factory=list)

for n in range(60): crud(Dish, f"dishes{n}")

@dataclass
class Everything:
    title: str
    count: int = 0
    weight: float = 0.0
    is_done: bool = False
    day: date | None = None
    moment: datetime | None = None
    hour: time | None = None
    price: Decimal | None = None
    course: Literal["a", "b"] = "a"
    level: Literal[1, 2] = 1
    story: Text = ""
    page: Markdown = ""
    mail: Email | None = None
    link: Url | None = None
    data: Json = None
    tags: Tags = field(default_factory=list)
    name: str | None = None
    owner: "Author | None" = None

@dataclass
class Author:
    name: str
    mail: Email | None = None

@dataclass
class Book:
    title: str
    author: Author
    editor: Author | None = None

crud(Author)
crud(Book)
for n in range(4): crud(Everything, f"everything{n}")

@dataclass
class Stage:
    name: str
    position: int = 0

for n in range(4): crud(Stage, f"stages{n}")

@dataclass
class Photo:
    title: str
    picture: File | None = None

crud(Photo)

@dataclass
class Visit:
    title: str
    profile: Profile | None = None

crud(Visit)

@dataclass
class Loose:
    title: str = ""
    n: int = 0

crud(Loose, "loose")

@dataclass
class Card:
    title: str
    def __ft__(self): return Div(B(self.title.upper()), cls="drawn")

crud(Card)

@dataclass
class Bill:
    title: str
    amount: int = 0
    is_paid: bool = False

class BillsApp(BaseApp):
    record = Bill
    def prepare_insert(self, data):
        if data["title"] == "forbidden": raise Problem("Such a bill is not taken.", fix="Give another title.")
        return data | {"title": data["title"].strip().capitalize()}
    def prepare_update(self, bill, data):
        if bill.is_paid and "amount" in data and data["amount"] != bill.amount: raise Problem("A paid bill stays as it is.", fix="Untick it first.", status=422, fields={"amount": "A paid bill stays as it is. Untick it first."})
        if data.get("amount", 0) > 100: data["title"] = "Large: " + bill.title
    def render_item(self, bill): return P(f"{bill.title}: {bill.amount} €", cls="own-row")
    def register_routes(self, rt):
        super().register_routes(rt)
        @rt("/bills/sum", methods=["GET"])
        async def bills_sum(req: Request): return P(f"Sum: {sum(b.amount for b in self())}", id="sum")

bills = BillsApp()
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("crud") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "kitchen.py").write_text(KITCHEN)
    with Server(workspace).start() as server:
        assert "Kitchen" in server.get("/plugins").text and "has a problem" not in server.get("/plugins").text, server.get("/plugins").text
        yield server
        assert "Traceback" not in server.log, server.log[-4000:]


class App:
    "One app on the server, as a browser with htmx uses it."
    def __init__(self, server: Server, name: str): self.server, self.name = server, name

    def get(self, path: str = "", **params) -> Answer: return self.server.get(f"/{self.name}{path}" + (f"?{urlencode(params)}" if params else ""))
    def soup(self, path: str = "", **params) -> BeautifulSoup: return BeautifulSoup(self.get(path, **params).text, "html.parser")
    def part(self, path: str, **params) -> BeautifulSoup: return BeautifulSoup(self.server.get(f"/{self.name}{path}?{urlencode(params)}", HX_Request="true").text, "html.parser")
    def post(self, path: str = "", data=None, **options) -> Answer: return self.server.post(f"/{self.name}{path}", data, HX_Request="true", **options)
    def records(self) -> list[dict]: return self.get("/export.json").json()
    def add(self, **values) -> int:
        answer = self.post("", values)
        assert answer.status == 200, answer
        return max(r["id"] for r in self.records())
    def record(self, record_id: int) -> dict: return next(r for r in self.records() if r["id"] == record_id)
    def titles(self, **params) -> list[str]: return [a.get_text() for a in self.soup(**params).select("tbody a.title")]
    def undo(self, answer: Answer | None = None) -> Answer: return self.server.post("/undo", {"entry": undo_of(answer)} if answer else {}, HX_Request="true")
    def version(self, record_id: int) -> str: return self.soup(f"/{record_id}").find("input", attrs={"name": "_version"})["value"]
    def save(self, record_id: int, version: str | None = None, **values) -> Answer:
        "The whole form of the record's page, with some fields changed."
        form = self.soup(f"/{record_id}").find("form", attrs={"hx-post": f"/{self.name}/{record_id}"})
        sent = filled(form) | values
        if version is not None: sent["_version"] = version
        return self.post(f"/{record_id}", {k: v for k, v in sent.items() if v is not None})


def filled(form) -> dict[str, str]:
    "What a browser would send of a form as it is."
    sent = {}
    for given in form.find_all(["input", "textarea", "select"]):
        if not given.get("name") or given.get("type") == "checkbox" and not given.has_attr("checked") or given.get("type") == "file": continue
        if given.name == "textarea": sent[given["name"]] = re.sub(r"\A\n", "", given.get_text())
        elif given.name == "select": sent[given["name"]] = (given.find("option", selected=True) or given.find("option"))["value"]
        else: sent[given["name"]] = given.get("value", "on")
    return sent


def undo_of(answer: Answer) -> int:
    "The entry that the toast's Undo takes back."
    found = BeautifulSoup(answer.text, "html.parser").find("button", attrs={"hx-post": "/undo"})
    assert found, answer
    return json.loads(found["hx-vals"])["entry"]


def toast_of(answer: Answer) -> str: return BeautifulSoup(answer.text, "html.parser").select_one(".toast span").get_text()


free = itertools.count()


@pytest.fixture
def dishes(server) -> App:
    "An app without records, for one test."
    return App(server, f"dishes{next(free)}")


@pytest.fixture
def nothing(server) -> App:
    "An app into which nothing may come."
    yield (app := App(server, "dishes57"))
    assert app.records() == []


# ─── the list

def test_an_empty_app_says_what_to_do(dishes):
    page = dishes.soup()
    assert page.h1.get_text() == dishes.name.capitalize() and "Something to eat." in page.get_text()
    empty = page.select_one(".empty")
    assert "yet" in empty.h2.get_text() and empty.find("button", attrs={"hx-get": f"/{dishes.name}/new"}) and empty.find("a", href=f"/{dishes.name}/import")


def test_the_list_is_paged_by_fifty(dishes):
    import_text(dishes, "title\n" + "\n".join(f"Dish {n:03}" for n in range(120)))
    first, last = dishes.soup(sort="title"), dishes.soup(sort="title", page="3")
    assert len(first.select("tbody tr")) == 50 and first.select_one(".pager span").get_text() == "1–50 of 120" and last.select_one(".pager span").get_text() == "101–120 of 120"
    assert dishes.titles(sort="title", page="2")[0] == "Dish 050" and dishes.titles(sort="title", page="3")[-1] == "Dish 119"
    assert [a.get_text() for a in first.select(".pager a")] == ["Next"] and [a.get_text() for a in last.select(".pager a")] == ["Previous"]
    assert "page=2" in first.select_one(".pager a")["href"] and "sort=title" in first.select_one(".pager a")["href"]
    for odd in ("0", "-1", "99", "x", "²", "9" * 400, "1.5", ""): assert dishes.soup(page=odd).select(".pager"), odd
    assert len(dishes.titles(page="99")) == 20, "past the end is the end"


def test_search_filter_and_sort_combine(dishes):
    for title, course, cooked, servings in (("Leek soup", "starter", "on", 4), ("Crème brûlée", "dessert", "", 2), ("Leek tart", "main", "", 6), ("Nothing", "none", "on", 1)):
        dishes.add(title=title, course=course, servings=servings, **({"is_cooked": cooked} if cooked else {}))
    assert sorted(dishes.titles(q="leek")) == ["Leek soup", "Leek tart"] and dishes.titles(q="creme") == ["Crème brûlée"] and dishes.titles(q="le so") == ["Leek soup"]
    assert dishes.titles(**{"f.course": "dessert"}) == ["Crème brûlée"] and dishes.titles(**{"q": "leek", "f.course": "main"}) == ["Leek tart"]
    assert sorted(dishes.titles(**{"f.is_cooked": "yes"})) == ["Leek soup", "Nothing"] and sorted(dishes.titles(**{"f.is_cooked": "no"})) == ["Crème brûlée", "Leek tart"]
    assert dishes.titles(**{"f.course": "none"}) == ["Nothing"], "“none” can be a choice"
    assert dishes.titles(sort="servings") == ["Nothing", "Crème brûlée", "Leek soup", "Leek tart"] and dishes.titles(sort="-servings")[0] == "Leek tart"
    assert dishes.titles(q="leek", sort="-title") == ["Leek tart", "Leek soup"]
    assert dishes.titles() == ["Nothing", "Leek tart", "Crème brûlée", "Leek soup"], "the newest first"
    page = dishes.soup(q="leek", sort="-servings", **{"f.course": "main"})
    assert page.find("input", attrs={"name": "q"})["value"] == "leek" and page.find("select", attrs={"name": "f.course"}).find("option", selected=True)["value"] == "main"
    assert page.find("th", attrs={"aria-sort": "descending"}).get_text(strip=True).startswith("Servings")


def test_nothing_found_offers_everything(dishes):
    dishes.add(title="Soup")
    page = dishes.soup(q="xyz")
    assert "Nothing fits" in page.get_text() and page.select_one(".empty a")["href"] == f"/{dishes.name}"


@pytest.mark.parametrize("params", [{"sort": "nothing"}, {"sort": "title; DROP TABLE x"}, {"sort": "-"}, {"sort": "--title"}, {"f.servings": "many"}, {"f.course": "x"}, {"f.nothing": "1"}, {"f.is_cooked": "maybe"}, {"q": '"*("'}, {"q": "x" * 5000}, {"q": "\x00"}, {"f.cook_by": "soon"}, {"page": "-5", "sort": "id"}, {"f.servings": "9" * 30}, {"\udc80": "x"}])
def test_an_address_that_makes_no_sense_still_gives_the_list(server, params):
    app = App(server, "dishes59")
    if not app.records(): app.add(title="Soup")
    answer = server.get(f"/{app.name}?{urlencode({k.encode('utf-8', 'surrogateescape'): v for k, v in params.items()})}")
    assert answer.status == 200 and "Dishes59" in answer.text


def test_columns_are_chosen_and_stay_chosen(dishes):
    dishes.add(title="Soup", notes="with leek")
    heads = lambda: [th.get_text(strip=True) for th in dishes.soup().select("thead th a")]
    assert heads() == ["Title", "Servings", "Course", "Cooked", "Cook by", "Price", "Tags"]
    before = newest(dishes.server)
    assert dishes.post("/columns", [("columns", "title"), ("columns", "notes"), ("columns", "nothing")]).status == 200
    assert heads() == ["Title", "Notes"] and newest(dishes.server) == before, "how a page looks is not in the journal"
    dishes.post("/columns", [])
    assert len(heads()) == 7, "none chosen: the usual ones"


def test_the_live_part_of_the_list_is_asked_for_alone(dishes):
    dishes.add(title="Soup")
    part = dishes.server.get(f"/{dishes.name}?q=soup", HX_Request="true", HX_Target=f"{dishes.name}-list").text
    assert "<html" not in part and 'type="search"' not in part and "Soup" in part
    live = BeautifulSoup(part, "html.parser").find(id=f"{dishes.name}-list")
    assert f"changed-{dishes.name}" in live["hx-trigger"] and "q=soup" in live["hx-get"]


def newest(server: Server) -> str:
    "The journal's newest entry, as its page has it."
    return BeautifulSoup(server.get("/journal").text, "html.parser").select_one("#journal-list li")["id"]


# ─── add, edit, toggle, delete

def test_add_and_undo(dishes):
    answer = dishes.post("", {"title": " Soup ", "servings": "4", "course": "starter", "is_cooked": "on", "cook_by": "2026-12-24", "price": "3.50", "notes": "a\r\nb", "tags": "hot, ö"})
    assert answer.status == 200 and toast_of(answer) == "Added “Soup”"
    assert dishes.records() == [{"id": 1, "title": "Soup", "servings": 4, "course": "starter", "is_cooked": True, "cook_by": "2026-12-24", "price": "3.50", "notes": "a\nb", "tags": ["hot", "ö"]}]
    assert toast_of(dishes.undo(answer)) == "Undone: added “Soup”" and dishes.records() == []


@pytest.mark.parametrize("field,text,sentence", [
    ("cook_by", "soon", "cook_by is 'soon', which is not a date. Give a date such as 2026-12-24."), ("servings", "13", "servings is 13. Give a value from 1 to 12."), ("servings", "many", "servings is 'many', which is not a whole number. Give a whole number such as 3."),
    ("title", "", "title is empty. Give a value."), ("course", "soup", "course is 'soup'. There are: dessert, main, none, starter."), ("price", "1e999999999", "price is '1e999999999', which is not a number. Give a number such as 19.90."), ("price", "1,5", "price is '1,5', which is not a number. Give a number such as 19.90."), ("title", "a\0b", "title contains a character that cannot be kept. Take it out."), ("notes", "<b>\0", "notes contains a character that cannot be kept. Take it out.")])
def test_wrong_input_gets_a_sentence_and_the_form_keeps_what_was_typed(nothing, field, text, sentence):
    dishes = nothing
    typed = {"title": "Soup <b>", "servings": "7", "course": "dessert", "cook_by": "2026-01-02", "price": "2.50", "notes": "two\nlines", "tags": "a, b", "is_cooked": "on", "_key": "k1"} | {field: text}
    answer = dishes.post("", typed)
    assert answer.status == 422 and dishes.records() == []
    form = BeautifulSoup(answer.text, "html.parser").form
    shown = filled(form)
    assert {k: shown[k] for k in typed if k not in ("course", "_key")} == {k: v for k, v in typed.items() if k not in ("course", "_key")} and shown["_key"] == "k1"
    assert shown["course"] == (typed["course"] if field != "course" else ""), "an impossible choice is not replaced by another one unseen"
    wrong = form.find(attrs={"name": field})
    assert wrong["aria-invalid"] == "true" and sentence in [form.find(id=i).get_text() for i in wrong["aria-describedby"].split()]
    assert len(form.select(".error")) == 1, "only that field is wrong"


def test_the_same_form_sent_again_adds_once(dishes):
    "A double click, or ten requests at once with one key."
    with ThreadPoolExecutor(10) as pool: answers = list(pool.map(lambda _: dishes.post("", {"title": "Soup", "_key": "abc"}), range(10)))
    assert [a.status for a in answers] == [200] * 10 and len(dishes.records()) == 1
    assert dishes.post("", {"title": "Soup", "_key": "abd"}).status == 200 and len(dishes.records()) == 2


def test_the_form_of_a_new_record_begins_with_the_defaults(dishes):
    form = dishes.soup("/new").find("form", attrs={"hx-post": f"/{dishes.name}"})
    assert {n: v for n, v in filled(form).items() if n[0] != "_"} == {"title": "", "servings": "2", "course": "main", "cook_by": "", "price": "", "notes": "", "tags": ""}
    assert dishes.soup("/new", title="Soup", servings="4").find("input", attrs={"name": "servings"})["value"] == "4"
    answer = dishes.post("", {"title": "Pie", "_then": "page"})
    assert answer.headers["HX-Redirect"] == f"/{dishes.name}/1"


def test_a_record_page_saves_what_was_changed_and_nothing_else(dishes):
    record_id = dishes.add(title="Soup", servings=4, notes="\n first\n", tags="a,b", is_cooked="on", cook_by="2026-12-24", price="1.50")
    before, entry = dishes.record(record_id), newest(dishes.server)
    assert dishes.save(record_id).status == 200 and newest(dishes.server) == entry and dishes.record(record_id) == before, "saving an unchanged form changes nothing"
    answer = dishes.save(record_id, servings="5", is_cooked=None)
    assert toast_of(answer) == "Saved “Soup”" and dishes.record(record_id) == before | {"servings": 5, "is_cooked": False}
    dishes.undo(answer)
    assert dishes.record(record_id) == before


def test_a_page_of_every_kind_of_field_is_saved_unchanged(server):
    app = App(server, "everything0")
    author = App(server, "authors").add(name="Ada of everything")
    values = {"title": "x", "count": "-3", "weight": "1e-7", "is_done": "on", "day": "2026-12-24", "moment": "2026-12-24T18:00:30", "hour": "06:07:08", "price": "0.10", "course": "b", "level": "2", "story": "\n\na\n", "page": "# a", "mail": "a@b.cd", "link": "https://example.org", "data": '{"a": "ö"}', "tags": "x, y", "name": "", "owner": str(author)}
    record_id = app.add(**values)
    before, entry = app.record(record_id), newest(server)
    assert before["moment"] == "2026-12-24 18:00:30" and before["data"] == {"a": "ö"} and before["owner"] == author and before["name"] is None
    assert app.save(record_id).status == 200
    assert app.record(record_id) == before and newest(server) == entry


@pytest.mark.parametrize("data", ['"text"', '"5"', "5", "null", '""', '"{}"', "[]", "true"])
def test_a_json_field_that_holds_a_plain_value_is_saved_unchanged(server, data):
    app = App(server, "everything1")
    record_id = app.add(title="x", data=data)
    before = app.record(record_id)
    assert before["data"] == json.loads(data)
    assert app.save(record_id, title="y").status == 200 and app.record(record_id) == before | {"title": "y"}


def test_a_wrong_edit_keeps_what_was_typed_and_the_record_as_it_was(dishes):
    record_id = dishes.add(title="Soup", servings=4)
    answer = dishes.save(record_id, servings="many", title="Stew")
    shown = filled(BeautifulSoup(answer.text, "html.parser").form)
    assert answer.status == 422 and (shown["servings"], shown["title"]) == ("many", "Stew") and dishes.record(record_id)["title"] == "Soup"
    assert "servings is 'many', which is not a whole number" in answer.text


def test_a_row_is_edited_in_place(dishes):
    record_id = dishes.add(title="Soup", servings=4, notes="kept", is_cooked="on")
    row = dishes.part(f"/{record_id}/edit")
    form_id = row.form["id"]
    sent = {i["name"]: i.get("value", "") for i in row.form.find_all("input")} | {e["name"]: e.get("value", "") for e in row.find_all(["input", "select"], attrs={"form": form_id}) if e.get("type") != "checkbox"} | {"course": "main"}
    wrong = dishes.post(f"/{record_id}", sent | {"servings": "99"})
    assert wrong.status == 422 and "servings is 99. Give a value from 1 to 12." in wrong.text and BeautifulSoup(wrong.text, "html.parser").find("input", attrs={"name": "servings"})["value"] == "99"
    answer = dishes.post(f"/{record_id}", sent | {"servings": "9", "is_cooked": ""})
    assert answer.status == 200 and f'id="{dishes.name}-{record_id}"' in answer.text
    assert {k: dishes.record(record_id)[k] for k in ("title", "servings", "notes", "is_cooked")} == {"title": "Soup", "servings": 9, "notes": "kept", "is_cooked": False}
    assert "Soup" in dishes.soup(f"/{record_id}/row").get_text()


def test_a_switch_in_the_list_toggles(dishes):
    record_id = dishes.add(title="Soup")
    answer = dishes.post(f"/{record_id}/toggle", {"field": "is_cooked", "value": "on"})
    assert answer.status == 200 and dishes.record(record_id)["is_cooked"] is True
    dishes.undo(answer)
    assert dishes.record(record_id)["is_cooked"] is False
    for field, value, sentence in (("servings", "on", "has no such switch"), ("nothing", "on", "There are: is_cooked."), ("is_cooked", "maybe", "is_cooked is 'maybe', which is not yes or no.")):
        wrong = dishes.post(f"/{record_id}/toggle", {"field": field, "value": value})
        assert wrong.status == 400 and sentence in toast_of(wrong), wrong


def test_delete_offers_undo_which_brings_everything_back(dishes):
    record_id = dishes.add(title="Soup", servings=4, tags="a")
    before = dishes.records()
    answer = dishes.post(f"/{record_id}/delete")
    assert toast_of(answer) == "Deleted “Soup”" and dishes.records() == []
    gone = dishes.get(f"/{record_id}")
    assert gone.status == 404 and "It may have been deleted: see the journal." in gone.text
    dishes.undo(answer)
    assert dishes.records() == before
    assert dishes.post(f"/{record_id}/delete", {"then": "list"}).headers["HX-Redirect"] == f"/{dishes.name}"


@pytest.mark.parametrize("method,path", [("GET", "/99"), ("GET", "/99/edit"), ("GET", "/99/row"), ("POST", "/99"), ("POST", "/99/delete"), ("POST", "/99/toggle"), ("GET", "/" + "9" * 30), ("POST", "/" + "9" * 30), ("POST", "/" + "9" * 30 + "/delete"), ("GET", "/" + "9" * 5000 + "/edit"), ("GET", "/" + "9" * 30 + "/history")])
def test_a_record_that_is_not_there_is_said_so(server, method, path):
    answer = server.request(method, f"/dishes59{path}", b"field=is_cooked&value=on&title=x" if method == "POST" else None, Content_Type="application/x-www-form-urlencoded")
    assert answer.status in (404, 414) or path.endswith("history") and answer.status == 200, answer
    if answer.status == 404: assert "There is no " in answer.text


# ─── order of one's own

@pytest.fixture
def stages(server, request) -> App:
    app = App(server, f"stages{int(request.node.name[-1])}")
    for name in "abcd": app.add(name=name)
    return app


def names_of(app: App) -> str: return "".join(app.titles())


def test_rows_move_and_undo_moves_them_back_0(stages):
    assert names_of(stages) == "abcd"
    a, b, c, d = (r["id"] for r in sorted(stages.records(), key=lambda r: r["position"]))
    answer = stages.post("/move", {"id": d, "after": a, "before": b})
    assert names_of(stages) == "adbc" and toast_of(answer) == "Moved"
    stages.undo(answer)
    assert names_of(stages) == "abcd"
    stages.post("/move", {"id": c, "after": "", "before": a})
    assert names_of(stages) == "cabd"
    stages.post("/move", {"id": c, "after": d, "before": ""})
    assert names_of(stages) == "abdc"


def test_moving_into_the_same_gap_never_runs_out_of_room_1(stages):
    ids = [r["id"] for r in sorted(stages.records(), key=lambda r: r["position"])]
    expected = list("abcd")
    order = dict(zip(ids, "abcd", strict=False))
    for n in range(13):  # 1024 is halved ten times; always the last one between the first two
        now = sorted(ids, key=lambda i: expected.index(order[i]))
        answer = stages.post("/move", {"id": now[-1], "after": now[0], "before": now[1]})
        assert answer.status == 200
        expected.insert(1, expected.pop())
        assert names_of(stages) == "".join(expected), n
    stages.undo(answer)
    expected.append(expected.pop(1))
    assert names_of(stages) == "".join(expected)


def test_a_move_to_nowhere_offers_no_undo_of_something_else_2(stages):
    a = stages.records()[0]["id"]
    answer = stages.post("/move", {"id": a})
    assert answer.status in (200, 400) and "Undo" not in answer.text and names_of(stages) == "abcd"
    for data in ({"id": 99, "after": a}, {"id": a, "after": 99}, {"id": "x", "before": a}, {}):
        assert "Undo" not in stages.post("/move", data).text and names_of(stages) == "abcd", data
    assert stages.post("/move", {"id": a, "after": a, "before": ""}).status < 500


def test_an_app_without_an_order_says_so(dishes):
    dishes.add(title="a")
    answer = dishes.post("/move", {"id": 1, "after": "", "before": 1})
    assert answer.status == 400 and "have no order of their own. Add a field `position: int = 0`." in toast_of(answer)


# ─── several at once

def test_selected_records_are_changed_as_one_undo(dishes):
    for n in range(5): dishes.add(title=f"d{n}")
    answer = dishes.post("/bulk", [("ids", 1), ("ids", 3), ("ids", 3), ("ids", 77), ("field", "servings"), ("value", "9"), ("action", "change")])
    assert answer.status == 200 and [r["servings"] for r in dishes.records()] == [9, 2, 9, 2, 2] and toast_of(answer).startswith("Changed 2 of")
    entry = BeautifulSoup(dishes.server.get(f"/journal?app={dishes.name}").text, "html.parser").select_one("#journal-list li").get_text()
    assert f"changed 2 {dishes.name}: servings → 9" in entry
    dishes.undo(answer)
    assert [r["servings"] for r in dishes.records()] == [2] * 5
    for field, value, kept in (("is_cooked", "on", True), ("is_cooked", None, False), ("cook_by", "2026-12-24", "2026-12-24"), ("cook_by", "", None), ("tags", "x, y", ["x", "y"]), ("course", "dessert", "dessert"), ("notes", "", "")):
        assert dishes.post("/bulk", [("ids", 2), ("field", field), *([("value", value)] if value is not None else []), ("action", "change")]).status == 200
        assert dishes.record(2)[field] == kept


def test_selected_records_are_deleted_as_one_undo(dishes):
    for n in range(5): dishes.add(title=f"d{n}")
    before = dishes.records()
    answer = dishes.post("/bulk", [("ids", 2), ("ids", 4), ("action", "delete")])
    assert [r["id"] for r in dishes.records()] == [1, 3, 5] and toast_of(answer).startswith("Deleted 2 of")
    dishes.undo(answer)
    assert dishes.records() == before


def test_all_matching_means_all_that_the_filter_shows_on_every_page(dishes):
    import_text(dishes, "title,course\n" + "".join(f"soup {n},{'starter' if n % 2 else 'main'}\n" for n in range(160)))
    page = dishes.soup(q="soup", **{"f.course": "starter"})
    bar = page.find("form", id="bulk")
    assert "all 80" in bar.get_text() and "f.course=starter" in bar.find("input", attrs={"name": "query"})["value"]
    before = dishes.records()
    answer = dishes.post("/bulk", {"all": "1", "query": bar.find("input", attrs={"name": "query"})["value"], "field": "servings", "value": "7", "action": "change", "ids": "1"})
    assert toast_of(answer).startswith("Changed 80 of") and all((r["servings"] == 7) == (r["course"] == "starter") for r in dishes.records())
    dishes.undo(answer)
    assert dishes.records() == before
    answer = dishes.post("/bulk", {"all": "1", "query": bar.find("input", attrs={"name": "query"})["value"], "action": "delete"})
    assert len(dishes.records()) == 80 and {r["course"] for r in dishes.records()} == {"main"}
    dishes.undo(answer)
    assert dishes.records() == before


@pytest.mark.parametrize("data,sentence", [
    ([("ids", 1), ("field", "servings"), ("value", "many"), ("action", "change")], "servings is 'many', which is not a whole number."), ([("ids", 1), ("field", "servings"), ("value", "99"), ("action", "change")], "servings is 99. Give a value from 1 to 12."),
    ([("ids", 1), ("field", "title"), ("value", ""), ("action", "change")], "title is empty."), ([("ids", 1), ("field", "tilte"), ("value", "x"), ("action", "change")], "Did you mean title?"), ([("ids", 1), ("value", "x"), ("action", "change")], "have no field"),
    ([("action", "delete")], "Nothing is selected. Tick the records first."), ([("ids", "x"), ("action", "delete")], "Nothing is selected."), ([("ids", 1)], "Choose Delete, or a field to change."), ([("ids", 1), ("action", "explode")], "Choose Delete, or a field to change."), ([("ids", "9" * 40), ("action", "delete")], "Nothing is selected.")])
def test_a_bulk_change_that_makes_no_sense_changes_nothing(server, data, sentence):
    app = App(server, "dishes58")
    if not app.records(): app.add(title="Soup")
    before, entry = app.records(), newest(server)
    answer = app.post("/bulk", data)
    assert answer.status in (400, 422) and sentence in toast_of(answer), answer
    assert app.records() == before and newest(server) == entry


def test_a_file_field_cannot_break_a_bulk_change(server):
    photos = App(server, "photos")
    record_id = photos.add(title="Cat")
    answer = photos.post("/bulk", [("ids", record_id), ("field", "picture"), ("value", ""), ("action", "change")])
    assert answer.status < 500


def test_the_input_for_a_bulk_change_fits_the_field(dishes):
    dishes.add(title="a")
    assert dishes.soup("/bulk", field="course").select_one("select[name=value]") and dishes.soup("/bulk", field="servings").select_one("input[type=number][name=value]")
    assert dishes.get("/bulk", field="nothing").text.strip() == ""


# ─── relations

def test_relations_are_linked_both_ways(server):
    authors, books = App(server, "authors"), App(server, "books")
    ada, bob = authors.add(name="Ada <3"), authors.add(name="Bob")
    notes, letters = books.add(title="Notes of A", author=ada, editor=bob), books.add(title="Letters", author=str(bob))
    page = books.soup(f"/{notes}")
    select = page.find("select", attrs={"name": "author"})
    assert select.find("option", selected=True).get_text() == "Ada <3" and [o["value"] for o in select.find_all("option")][0] == ""
    listed = books.soup(q="notes of").select_one("tbody")
    assert listed.find("a", href=f"/authors/{ada}").get_text() == "Ada <3" and listed.find("a", href=f"/authors/{bob}")
    back = authors.soup(f"/{bob}")
    assert back.find("a", href=f"/books/{letters}").get_text() == "Letters" and back.find("a", href=f"/books/{notes}"), "as author, and as editor"
    assert not authors.soup(f"/{ada}").find("a", href=f"/books/{letters}")
    assert books.titles(**{"f.author": str(bob)}) == ["Letters"] and books.titles(**{"f.editor": "none"}) == ["Letters"]
    assert books.add(title="By name", author="Bob") and books.record(max(r["id"] for r in books.records()))["author"] == bob


@pytest.mark.parametrize("author", ["999", "Nobody", "0", "-1", "9" * 30, "x" * 50_000, "#", "²"])
def test_a_relation_to_nothing_is_refused(server, author):
    books = App(server, "books")
    before = books.records()
    answer = books.post("", {"title": "Lost", "author": author})
    assert answer.status == 422 and "which is not one of the records. Give the number or the exact name of one." in BeautifulSoup(answer.text, "html.parser").get_text()
    assert books.records() == before


def test_deleting_a_referred_record_empties_optional_links_in_the_same_undo(server):
    authors, books = App(server, "authors"), App(server, "books")
    main, editor = authors.add(name="Main"), authors.add(name="Editor")
    book = books.add(title="Edited", author=main, editor=editor)
    refused = authors.post(f"/{main}/delete")
    assert refused.status == 409 and "1 of Books belong to it, such as “Edited”. Delete or move them first." in toast_of(refused)
    answer = authors.post(f"/{editor}/delete")
    assert answer.status == 200 and books.record(book)["editor"] is None and editor not in [r["id"] for r in authors.records()]
    authors.undo(answer)
    assert books.record(book)["editor"] == editor and authors.record(editor)["name"] == "Editor"
    both = authors.post("/bulk", [("ids", editor), ("ids", main), ("action", "delete")])
    assert both.status == 409 and books.record(book)["editor"] == editor, "all or nothing"


def test_with_many_records_a_relation_is_searched_for(server):
    authors, books = App(server, "authors"), App(server, "books")
    import_text(authors, "name\n" + "\n".join(f"Writer {n:03}" for n in range(210)))
    form = books.soup("/new").find("form", attrs={"hx-post": "/books"})
    given = form.find("input", attrs={"name": "author"})
    assert given["list"] == "author-options" and given["hx-get"] == "/authors/options"
    options = [o["value"] for o in authors.part("/options", author="writer 17").find_all("option")]
    assert len(options) == 10 and re.fullmatch(r"Writer 170 #\d+", sorted(options)[0])
    book = books.add(title="Searched", author=options[0])
    shown = books.soup(f"/{book}").find("input", attrs={"name": "author"})["value"]
    assert shown == options[0] and books.save(book).status == 200 and f"{books.record(book)['author']}" == options[0].rpartition("#")[2]


# ─── history and conflicts

def test_a_record_has_its_history_with_undo(dishes):
    record_id = dishes.add(title="Soup", servings=4)
    dishes.save(record_id, servings="5", notes="more")
    items = dishes.part(f"/{record_id}/history").select("li")
    assert len(items) == 2 and "servings 4 → 5" in items[0].get_text() and f"person · {dishes.name}" in items[0].get_text() and items[0].find("time")["datetime"]
    difference = {row.th.get_text(): [td.get_text() for td in row.find_all("td")] for row in items[0].select("table tr")}
    assert difference == {"servings": ["4", "5"], "notes": ["", "more"]}
    entry = json.loads(items[0].find("button", attrs={"hx-post": "/undo"})["hx-vals"])["entry"]
    dishes.server.post("/undo", {"entry": entry})
    assert dishes.record(record_id)["servings"] == 4
    items = dishes.part(f"/{record_id}/history").select("li")
    assert "undone by" in items[1].get_text() and items[0].find("button").get_text() == "Redo"


def test_two_tabs_that_edit_different_fields_both_win(dishes):
    record_id = dishes.add(title="Soup", servings=4)
    version, sent = dishes.version(record_id), filled(dishes.soup(f"/{record_id}").find("form", attrs={"hx-post": f"/{dishes.name}/{record_id}"}))
    assert dishes.save(record_id, servings="5").status == 200
    assert dishes.post(f"/{record_id}", sent | {"title": "Stew", "_version": version}).status == 200
    assert (dishes.record(record_id)["title"], dishes.record(record_id)["servings"]) == ("Stew", 5)


def test_two_tabs_that_edit_one_field_are_told_and_nothing_is_overwritten(dishes):
    record_id = dishes.add(title="Soup", servings=4)
    sent = filled(dishes.soup(f"/{record_id}").find("form", attrs={"hx-post": f"/{dishes.name}/{record_id}"}))
    dishes.save(record_id, servings="5")
    answer = dishes.post(f"/{record_id}", sent | {"servings": "6"})
    assert answer.status == 409 and dishes.record(record_id)["servings"] == 5
    form = BeautifulSoup(answer.text, "html.parser").form
    assert "Meanwhile person changed servings from 4 to 5. Save again to put yours in its place." in form.get_text() and filled(form)["servings"] == "6"
    assert dishes.post(f"/{record_id}", filled(form)).status == 200 and dishes.record(record_id)["servings"] == 6


def test_an_undo_that_conflicts_is_told(dishes):
    record_id = dishes.add(title="Soup", servings=4)
    first = dishes.save(record_id, servings="5")
    dishes.save(record_id, servings="6")
    answer = dishes.undo(first)
    assert answer.status == 409 and "“Soup” has changed since: servings is 6, not 5. Undo the later change" in toast_of(answer) and dishes.record(record_id)["servings"] == 6
    for entry in ("0", "99999", "9" * 17): assert dishes.server.post("/undo", {"entry": entry}).status in (404, 409)


# ─── in

def preview(app: App, text: str | bytes, name: str = "rows.csv") -> tuple[Answer, BeautifulSoup]:
    answer = app.post("/import", {}, files={"file": (name, text.encode() if isinstance(text, str) else text)})
    return answer, BeautifulSoup(answer.text, "html.parser")


def import_text(app: App, text: str | bytes, **changes: str) -> Answer:
    "Preview, then import, with columns mapped as `changes` says."
    answer, page = preview(app, text)
    assert answer.status == 200, answer
    return app.post("/import", filled(page.form) | changes | {"action": "import"})


def test_a_csv_is_previewed_before_anything_is_written(dishes):
    answer, page = preview(dishes, "Title,SERVINGS,Cook by,Done,odd\nSoup,4,2026-12-24,yes,1\nStew,,,no,2\n")
    assert answer.status == 200 and dishes.records() == []
    chosen = {s["aria-label"]: (s.find("option", selected=True) or s.find("option"))["value"] for s in page.select("select")}
    assert chosen == {"Field for Title": "title", "Field for SERVINGS": "servings", "Field for Cook by": "cook_by", "Field for Done": "", "Field for odd": ""}
    assert [[td.get_text() for td in tr.find_all("td")] for tr in page.select("tbody tr")] == [["Soup", "4", "2026-12-24", "yes", "1"], ["Stew", "", "", "no", "2"]]
    assert "All 2 rows fit." in page.get_text() and not page.find("button", attrs={"name": "action"}).has_attr("disabled")
    done = dishes.post("/import", filled(page.form) | {"m.3": "is_cooked", "action": "import"})
    assert "2 dishes" in done.text and [(r["title"], r["servings"], r["cook_by"], r["is_cooked"]) for r in dishes.records()] == [("Soup", 4, "2026-12-24", True), ("Stew", 2, None, False)]
    dishes.undo(done)
    assert dishes.records() == []


def test_every_bad_row_is_told_with_its_line_and_nothing_is_imported(dishes):
    text = 'title,servings,cook_by\nSoup,4,\n"two\nlines",many,soon\n,3,\nStew,99,2026-01-01,extra\nPie,2,2026-02-30\n'
    answer, page = preview(dishes, text)
    rows = {tr.td.get_text(): tr.find_all("td")[1].get_text() for tr in page.select("table")[1].select("tbody tr")}
    assert rows == {"4": "servings is 'many', which is not a whole number. Give a whole number such as 3. cook_by is 'soon', which is not a date. Give a date such as 2026-12-24.", "5": "title is empty. Give a value.",
                    "6": "It has more cells than the first line has names. Put quotes around cells with commas.", "7": "cook_by is '2026-02-30', which is not a date. Give a date such as 2026-12-24."}
    assert "4 of 5 rows do not fit." in page.get_text() and page.find("button", attrs={"name": "action"}).has_attr("disabled")
    assert "4 of 5 rows do not fit" in dishes.post("/import", filled(page.form) | {"action": "import"}).text and dishes.records() == [], "a browser that sends it all the same gets nowhere"
    left_out = dishes.post("/import", filled(page.form) | {"m.2": ""})
    assert "soon" not in [td.get_text() for td in BeautifulSoup(left_out.text, "html.parser").select("table")[1].select("td")] and "3 of 5" in left_out.text


def test_a_required_field_without_a_column_is_named(dishes):
    answer, page = preview(dishes, "servings\n4\n")
    assert "Title must be filled" in page.get_text() and page.find("button", attrs={"name": "action"}).has_attr("disabled")
    assert dishes.post("/import", filled(page.form) | {"action": "import"}).status == 200 and dishes.records() == []


def test_a_table_of_which_no_column_fits_imports_nothing(server):
    "An app in which nothing is required would get empty records."
    app = App(server, "loose")
    before = app.records()
    answer, page = preview(app, "a,b\n1,2\n3,4\n")
    assert page.find("button", attrs={"name": "action"}).has_attr("disabled")
    app.post("/import", filled(page.form) | {"action": "import"})
    assert app.records() == before


def test_json_comes_in_too_typed_or_as_text(dishes):
    items = [{"title": "Soup", "servings": 4, "tags": ["a", "b"], "is_cooked": True, "price": 1.5}, {"title": "Stew", "servings": "3", "cook_by": None, "id": 77}]
    import_text(dishes, json.dumps(items))
    assert [(r["title"], r["servings"], r["tags"], r["is_cooked"], r["price"], r["cook_by"]) for r in dishes.records()] == [("Soup", 4, ["a", "b"], True, "1.5", None), ("Stew", 3, [], False, None, None)]
    assert [r["id"] for r in dishes.records()] == [1, 2], "ids are ours"
    answer, page = preview(dishes, json.dumps([{"title": ["a"]}, {"title": {"b": 1}}, {"title": "ok", "servings": 2.5}, {"title": "\ud800"}, {"title": "x", "tags": {"a": 1}}, {"title": "y", "cook_by": 5}, {"title": None}, {"title": "z", "price": "NaN"}]))
    reasons = [tr.find_all("td")[1].get_text() for tr in page.select("table")[1].select("tbody tr")]
    assert answer.status == 200 and len(reasons) == 8 and all(re.search(r"\. (Give|Take) ", r) for r in reasons), reasons


@pytest.mark.parametrize("text,sentence", [("", "There is nothing to import."), ("   \n ", "There is nothing to import."), ("title", "has no rows under its first line"), ("title\n\n\n", "has no rows under its first line"), ("[1, 2]", "not a list of objects"), ("[", "not whole JSON"), ('[{"title": "a"}', "not whole JSON"),
                                           ("[]", "not a list of objects"), ('title\n"open', "CSV is broken"), ("[" * 100_000, "not whole JSON"), ('{"title": "a"}', "JSON"), (b"\x00\x01\x02", "no rows"), (b"PK\x03\x04" + b"\x00" * 500, "no rows")])
def test_what_is_no_table_is_refused_in_a_sentence(nothing, text, sentence):
    dishes = nothing
    answer, page = preview(dishes, text)
    assert answer.status == 422 and sentence in page.select_one(".error").get_text() and dishes.records() == []
    assert page.find("input", attrs={"type": "file"}), "the form is there again"


def test_spreadsheets_from_everywhere_are_read(server):
    for n, data in enumerate((b"title;servings\nSuppe;4\n", b"title\tservings\r\nSuppe\t4\r\n", b"\xef\xbb\xbftitle,servings\nSuppe,4\n", "title;servings\nSüppe;4\n".encode("cp1252"), b'"title","servings"\n"Suppe","4"\n', b"title|servings\nSuppe|4", b'title;servings\n"Suppe, heiss; gut";4\n', "title,servings\nSuppe,4\n".encode("utf-16"))):
        app = App(server, f"dishes{next(free)}")
        import_text(app, data)
        assert [r["servings"] for r in app.records()] == [4], (n, data)
        assert app.records()[0]["title"] in ("Suppe", "Süppe", "Suppe, heiss; gut")


def test_quotes_that_first_come_late_are_read(dishes):
    "csv.Sniffer guesses from the beginning how quotes are doubled, and is wrong where there are none yet."
    text = "title,notes\n" + "".join(f'Dish {n},"plain, {"text " * 50}"\n' for n in range(100)) + '"The ""best"" soup",\'single\'\n'
    import_text(dishes, text)
    last = dishes.records()[-1]
    assert len(text) > 25_000 and len(dishes.records()) == 101 and (last["title"], last["notes"]) == ('The "best" soup', "'single'")


def test_pasted_rows_are_imported_and_a_relation_is_found_by_name(server):
    authors, books = App(server, "authors"), App(server, "books")
    authors.add(name="Unique Name")
    answer = books.post("/import", {"text": "title,author\nBy unique,unique name\nBy none,Nobody At All\n"})
    page = BeautifulSoup(answer.text, "html.parser")
    assert "Line" in page.get_text() and "author is 'Nobody At All', which is not one of the records." in page.get_text() and "1 of 2 rows do not fit" in page.get_text()


@pytest.mark.parametrize("token", ["../../secret", "abc", "", "x" * 500, "\0"])
def test_a_preview_that_is_gone_is_said_so(nothing, token):
    answer = nothing.post("/import", {"token": token, "action": "import"})
    said = BeautifulSoup(answer.text, "html.parser").select_one(".error").get_text()
    assert answer.status == 422 and said == ("This preview is gone. Choose the file again." if token else "There is nothing to import. Choose a file, or paste some rows.")


# ─── out

def test_csv_is_safe_for_spreadsheets_and_comes_back_as_it_was(server):
    out, back = App(server, "everything2"), App(server, "everything3")
    author = App(server, "authors").add(name="=Exported")
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "'quoted", "''=2", "=cmd|' /C calc'!A0", "plain, \"quoted\"", "ö 日本 🥣", "-", "'", "#5", "a #7"]
    for title in evil: out.add(title=title, name=title, story="\tx\n=2", tags="=a, b")
    out.add(title="all", count="-3", weight="-1.5", is_done="on", day="2026-12-24", moment="2026-12-24T18:00:30", hour="06:07", price="-0.10", course="b", level="2", story="a\nb,\"c\"", page="# a", mail="a@b.cd", link="https://example.org", data='{"a": [1, "ö"]}', owner=str(author))
    answer = out.get("/export.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="everything2.csv"' and answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    numbers = {"count", "weight", "price"}
    assert all(not value.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for name, value in row.items() if name not in numbers), "A21"
    assert rows[0]["title"] == "'=1+1" and rows[-1]["is_done"] == "yes" and rows[-1]["owner"].endswith(f"#{author}")
    import_text(back, answer.body)
    strip = lambda records: [{k: v for k, v in r.items() if k != "id"} for r in records]
    assert strip(back.records()) == strip(out.records())
    App(server, "everything3").post("/bulk", {"all": "1", "action": "delete"})
    import_text(back, out.get("/export.json").body)
    assert strip(back.records()) == strip(out.records())


def test_export_gives_what_the_list_shows(dishes):
    for n in range(3): dishes.add(title=f"soup {n}", course="starter" if n else "main")
    dishes.add(title="tart")
    assert [r["title"] for r in dishes.get("/export.json", q="soup", **{"f.course": "starter"}).json()] == ["soup 1", "soup 2"]
    assert dishes.get("/export.csv", q="nothing").text == "id,title,servings,course,is_cooked,cook_by,price,notes,tags\r\n" and dishes.get("/export.json", q="nothing").json() == []
    assert dishes.get("/export.xml").status == 404 and "Use csv or json." in dishes.get("/export.xml").text


def test_export_streams(dishes):
    "In pieces, so that a hundred thousand records need no memory."
    import_text(dishes, "title,notes\n" + "".join(f"Dish {n},{'x' * 200}\n" for n in range(1100)))
    for kind in ("csv", "json"):
        connection, response = dishes.server.stream("GET", f"/{dishes.name}/export.{kind}")
        try:
            assert response.headers["Transfer-Encoding"] == "chunked" and "Content-Length" not in response.headers
            body = response.read()
        finally: connection.close()
        rows = json.loads(body) if kind == "json" else list(csv.DictReader(io.StringIO(body.decode())))
        assert [int(r["id"]) for r in rows] == list(range(1, 1101))


def test_an_import_is_one_entry_and_one_undo(dishes):
    answer = import_text(dishes, "title\n" + "\n".join(f"d{n}" for n in range(30)))
    journal = BeautifulSoup(dishes.server.get(f"/journal?app={dishes.name}").text, "html.parser").select("#journal-list li")
    assert len(journal) == 1 and f"imported 30 {dishes.name}" in journal[0].get_text()
    dishes.undo(answer)
    assert dishes.records() == []


# ─── hooks

def test_prepare_insert_changes_or_refuses(server):
    bills = App(server, "bills")
    record_id = bills.add(title="rent", amount=50)
    assert bills.record(record_id)["title"] == "Rent"
    answer = bills.post("", {"title": "forbidden", "amount": "7"})
    form = BeautifulSoup(answer.text, "html.parser").form
    assert answer.status == 422 and "Such a bill is not taken. Give another title." in form.get_text() and filled(form)["amount"] == "7" and len(bills.records()) == 1


def test_prepare_update_changes_or_refuses_wherever_a_change_comes_from(server):
    bills = App(server, "bills")
    record_id = bills.add(title="phone", amount=20)
    bills.save(record_id, amount="150")
    assert bills.record(record_id)["title"] == "Large: Phone"
    bills.post(f"/{record_id}/toggle", {"field": "is_paid", "value": "on"})
    answer = bills.save(record_id, amount="10")
    assert answer.status == 422 and BeautifulSoup(answer.text, "html.parser").find(attrs={"name": "amount"})["aria-invalid"] == "true" and bills.record(record_id)["amount"] == 150
    bulk = bills.post("/bulk", [("ids", record_id), ("field", "amount"), ("value", "1"), ("action", "change")])
    assert bulk.status == 422 and "A paid bill stays as it is." in toast_of(bulk) and bills.record(record_id)["amount"] == 150


def test_an_import_that_a_hook_refuses_is_all_or_nothing(server):
    bills = App(server, "bills")
    before = bills.records()
    answer = import_text(bills, "title\nwater\nforbidden\ngas\n")
    assert answer.status == 422 and "Such a bill is not taken." in answer.text and bills.records() == before


def test_render_item_and_register_routes(server):
    bills = App(server, "bills")
    record_id = bills.add(title="row", amount=3)
    row = bills.soup().find(id=f"bills-{record_id}")
    assert row.select_one("td p.own-row").get_text() == "Row: 3 €" and row.find("button", attrs={"hx-post": f"/bills/{record_id}/delete"})
    total = sum(r["amount"] for r in bills.records())
    assert bills.soup("/sum").find(id="sum").get_text() == f"Sum: {total}" and "<nav" in bills.get("/sum").text, "in the shell"


def test_a_record_draws_itself_with_ft(server):
    cards = App(server, "cards")
    record_id = cards.add(title="<ace>")
    assert cards.soup().select_one(f"#cards-{record_id} .drawn b").get_text() == "<ACE>" and cards.soup(f"/{record_id}").select_one(".drawn b").get_text() == "<ACE>"
    assert "<ace>" not in cards.get().text.replace("&lt;ace&gt;", "")


def test_markup_in_values_stays_text_everywhere(dishes):
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)> " hx-get="/x" {{7*7}}'
    record_id = dishes.add(title=evil, notes=evil, tags=evil)
    dishes.save(record_id, notes=evil + "!")
    for path in ("", f"/{record_id}", f"/{record_id}/edit", f"/{record_id}/row", f"/{record_id}/history", f"/new?title={urlencode({'': evil})[1:]}", f"?q={urlencode({'': evil})[1:]}"):
        page = dishes.soup(path)
        assert not page.find_all("img", src="x") and not any("alert(1)" in s.get_text() for s in page.find_all("script")) and not page.find_all(attrs={"hx-get": "/x"}), path
    for path in ("/journal", "/palette?q=script", "/activity"): assert "<script>alert(1)" not in dishes.server.get(path).text
    answer, page = preview(dishes, f'title,"{evil.replace(chr(34), chr(34) * 2)}"\n"{evil.replace(chr(34), chr(34) * 2)}",x\n')
    assert answer.status == 200 and not page.find("script") and not page.find("img")


# ─── files

def test_a_file_is_kept_and_served_and_kept_when_the_form_is_saved_without_one(server):
    photos = App(server, "photos")
    assert photos.post("", {"title": "Cat"}, files={"picture": ("../My Cat.PNG", b"\x89PNG cat")}).status == 200
    record = photos.records()[-1]
    assert re.fullmatch(r"my-cat-[0-9a-f]{8}\.png", record["picture"])
    served = server.get(f"/files/{record['picture']}")
    assert served.body == b"\x89PNG cat" and served.headers["Content-Type"] == "image/png"
    assert photos.save(record["id"], title="Tom").status == 200 and photos.record(record["id"])["picture"] == record["picture"]
    assert record["picture"] in photos.get(f"/{record['id']}").text
    wrong = photos.post("", {"picture": "x"}, files={"title": ("a.txt", b"hello")})
    assert wrong.status == 422 and "title came as a file. Give text." in wrong.text


# ─── the profile

@pytest.fixture
def profiles(server):
    app = App(server, "profiles")
    ids = [app.add(name=n) for n in ("Home", "Work")]
    yield app, *ids
    app.post("/current", {"profile": ""})


def test_the_current_profile_scopes_what_belongs_to_it(server, profiles):
    app, at_home, at_work = profiles
    visits = App(server, "visits")
    none = visits.add(title="of nobody")
    assert app.post("/current", {"profile": at_work}).status == 200
    work = visits.add(title="office")
    import_text(visits, "title\nimported\n")
    app.post("/current", {"profile": at_home})
    visits.add(title="garden")
    assert visits.titles() == ["garden"] and [r["title"] for r in visits.records()] == ["garden"] and visits.titles(q="office") == []
    assert visits.soup("/new").find(attrs={"name": "profile"}) is None, "it is the current one"
    assert visits.post("/bulk", {"all": "1", "action": "delete"}).status == 200
    app.post("/current", {"profile": at_work})
    assert visits.titles() == ["imported", "office"] and {r["profile"] for r in visits.records()} == {at_work}
    app.post("/current", {"profile": ""})
    assert {none, work} <= {r["id"] for r in visits.records()} and "garden" not in visits.titles(), "what was deleted at home was only what is at home"


def test_a_profile_that_is_gone_leaves_everything_in_view(server, profiles):
    app, _, at_work = profiles
    visits = App(server, "visits")
    app.post("/current", {"profile": at_work})
    visit = visits.add(title="orphan")
    answer = app.post(f"/{at_work}/delete")
    assert visits.record(visit)["profile"] is None
    app.undo(answer)
    assert visits.record(visit)["profile"] == at_work, "and all of it comes back"
    assert app.post("/current", {"profile": "99999"}).status == 404 and app.post("/current", {"profile": "x"}).status == 404


def test_taking_back_the_profile_one_is_in_leaves_the_lists_working(server):
    app, visits = App(server, "profiles"), App(server, "visits")
    answer = app.post("", {"name": "Short-lived"})
    app.post("/current", {"profile": max(r["id"] for r in app.records())})
    try:
        app.undo(answer)
        assert visits.get().status == 200 and visits.post("", {"title": "still"}).status == 200
    finally: app.post("/current", {"profile": ""})
    assert "still" in visits.titles()


# ─── several drivers at once

def test_parallel_writes_through_the_server_are_all_kept(dishes):
    with ThreadPoolExecutor(16) as pool: answers = list(pool.map(lambda n: dishes.post("", {"title": f"p{n}"}), range(64)))
    assert {a.status for a in answers} == {200} and sorted(r["title"] for r in dishes.records()) == sorted(f"p{n}" for n in range(64))


def test_a_long_import_does_not_hold_up_the_pages(dishes):
    text = "title,notes\n" + "".join(f"Dish {n},note\n" for n in range(1200))
    answer, page = preview(dishes, text)
    importing = threading.Thread(target=lambda: dishes.post("/import", filled(page.form) | {"action": "import"}))
    importing.start()
    slowest = 0.0
    while importing.is_alive():
        began = time.perf_counter()
        assert dishes.server.get("/notes").status == 200
        slowest = max(slowest, time.perf_counter() - began)
    importing.join()
    assert len(dishes.records()) == 1200 and slowest < 1.5, slowest


def test_a_change_is_heard_by_another_tab(dishes):
    with dishes.server.ws() as tab:
        dishes.add(title="Soup")
        heard = wait_for(lambda: next((e for e in [json.loads(tab.recv(5))] if dishes.name in e.get("apps", ())), None), what="the event")
    assert heard["id"] > 0
