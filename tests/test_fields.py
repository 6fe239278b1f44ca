"""Every type of field: as text, typed, in SQLite, as a form's input, as JSON Schema; and what wrong input is told."""
import dataclasses
import io
import json
import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from bs4 import BeautifulSoup
from fasthtml.common import to_xml
from helpers import chapter

fields_, forms, base, store = (chapter(name) for name in ("fields", "forms", "base", "store"))
Problem, fields_of, typed, to_sql, from_sql = base.Problem, fields_.fields_of, fields_.value_of, fields_.to_sql, fields_.from_sql
read_form, labelled, control, schema_of, table, db = forms.read_form, forms.labelled, forms.control, forms.schema_of, store.table, store.db
Text, Markdown, Email, Url, File, Json, Tags = (getattr(fields_, n) for n in ("Text", "Markdown", "Email", "Url", "File", "Json", "Tags"))
Range, Pattern, Help = fields_.Range, fields_.Pattern, fields_.Help


class Colour(Enum):
    RED = "red"
    SEA_GREEN = "sea_green"


class Size(IntEnum):
    NONE = 0
    BIG = 2


@dataclass
class Owner:
    name: str


@dataclass
class Everything:
    text: str = ""
    count: int = 0
    weight: float = 0.0
    is_done: bool = False
    day: date | None = None
    moment: datetime | None = None
    hour: time | None = None
    price: Decimal | None = None
    course: Literal["starter", "main", "dessert"] = "main"
    level: Literal[0, 1, 2] = 1
    colour: Colour = Colour.RED
    size: Size = Size.BIG
    story: Text = ""
    page: Markdown = ""
    mail: Email | None = None
    link: Url | None = None
    picture: File | None = None
    data: Json = None
    tags: Tags = field(default_factory=list)
    owner: Owner | None = None


ALL = fields_of(Everything)
BIG = 2**63 - 1
# field, as typed in, as typed value, as SQLite keeps it
VALUES: list[tuple[str, str, Any, Any]] = [
    ("text", " Soup ", "Soup", "Soup"),
    ("text", "Ääkköset 日本語 🥣 e\u0301 \u202eabc", "Ääkköset 日本語 🥣 e\u0301 \u202eabc", "Ääkköset 日本語 🥣 e\u0301 \u202eabc"),
    ("text", "Robert'); DROP TABLE everythings;--", "Robert'); DROP TABLE everythings;--", "Robert'); DROP TABLE everythings;--"),
    ("text", "7", "7", "7"),
    ("count", "12", 12, 12), ("count", " -3 ", -3, -3), ("count", str(BIG), BIG, BIG), ("count", str(-BIG), -BIG, -BIG),
    ("weight", "2.5", 2.5, 2.5), ("weight", "1e300", 1e300, 1e300), ("weight", "3", 3.0, 3.0), ("weight", "-0.0", 0.0, 0.0),
    ("is_done", "yes", True, 1), ("is_done", "on", True, 1), ("is_done", "TRUE", True, 1), ("is_done", "no", False, 0), ("is_done", "off", False, 0), ("is_done", "", False, 0),
    ("day", "2026-12-24", date(2026, 12, 24), "2026-12-24"), ("day", "0001-01-01", date(1, 1, 1), "0001-01-01"), ("day", "2028-02-29", date(2028, 2, 29), "2028-02-29"),
    ("moment", "2026-12-24 18:00", datetime(2026, 12, 24, 18), "2026-12-24 18:00:00"), ("moment", "2026-12-24T18:00:59", datetime(2026, 12, 24, 18, 0, 59), "2026-12-24 18:00:59"),
    ("hour", "18:00", time(18), "18:00:00"), ("hour", "23:59:58", time(23, 59, 58), "23:59:58"),
    ("price", "19.90", Decimal("19.90"), "19.90"), ("price", "-0.1", Decimal("-0.1"), "-0.1"), ("price", "123456789012345678901234567890.12", Decimal("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
    ("course", "dessert", "dessert", "dessert"), ("course", "Dessert", "dessert", "dessert"),
    ("level", "0", 0, 0), ("level", "2", 2, 2),
    ("colour", "sea_green", Colour.SEA_GREEN, "sea_green"), ("size", "0", Size.NONE, 0), ("size", "2", Size.BIG, 2),
    ("story", "one\r\ntwo\n\n three ", "one\ntwo\n\n three ", "one\ntwo\n\n three "),
    ("page", "# Title\n\n* a", "# Title\n\n* a", "# Title\n\n* a"),
    ("mail", "ada@example.org", "ada@example.org", "ada@example.org"),
    ("link", "https://example.org/a?b=c#d", "https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
    ("picture", "cat-1a2b.png", "cat-1a2b.png", "cat-1a2b.png"),
    ("data", '{"a": [1, null, "ö"]}', {"a": [1, None, "ö"]}, '{"a": [1, null, "ö"]}'), ("data", "[]", [], "[]"), ("data", "false", False, "false"), ("data", "0", 0, "0"),
    ("tags", "red, blue,, red , ö", ["red", "blue", "ö"], '["red", "blue", "ö"]'), ("tags", "one\ntwo", ["one", "two"], '["one", "two"]'),
    ("owner", "3", 3, 3),
]


@pytest.fixture(scope="module")
def everythings(tmp_path_factory):
    db.open(tmp_path_factory.mktemp("fields") / "data.db")
    yield table(Everything)
    db.close()


def test_the_table_of_values_has_every_kind_of_field():
    assert {f.kind for f in ALL.values()} == set(fields_.KINDS) - {"records"}  # which is of tools alone: see test_tools.py
    assert {name for name, *_ in VALUES} == set(ALL)


@pytest.mark.parametrize("name,text,value,raw", VALUES, ids=[f"{n}-{t[:12]!a}" for n, t, _, _ in VALUES])
def test_text_becomes_typed_becomes_sqlite_and_back(everythings, name, text, value, raw):
    f = ALL[name]
    found = typed(f, text)
    assert found == value and type(found) is type(value)
    assert to_sql(f, found) == raw and type(to_sql(f, found)) is type(raw)
    again = from_sql(f, to_sql(f, found))
    assert again == value and type(again) is type(value)
    assert typed(f, value) == value, "a value that is typed already stays as it is"
    # and through the file itself
    record = everythings.insert(**{name: text})
    kept = getattr(everythings[record.id], name)
    assert kept == value and type(kept) is type(value)
    assert everythings(where=f'"{name}" IS ?', where_args=[raw])[-1].id == record.id


@pytest.mark.parametrize("name,text,value,raw", VALUES, ids=[f"{n}-{t[:12]!a}" for n, t, _, _ in VALUES])
def test_what_a_form_shows_can_be_sent_back_unchanged(name, text, value, raw):
    f = ALL[name]
    soup = BeautifulSoup(to_xml(labelled(f, value)), "html.parser")
    given = soup.find(attrs={"name": name})
    match given.name:
        case "textarea": sent = given.get_text().removeprefix("\n")
        case "select": sent = given.find("option", selected=True)["value"]
        case _ if given["type"] == "checkbox": sent = "on" if given.has_attr("checked") else ""
        case _ if given["type"] == "file": return
        case _: sent = given["value"]
    assert read_form({name: f}, {name: sent}) == {name: value}


WRONG = [
    ("day", "soon", "day is 'soon', which is not a date. Give a date such as 2026-12-24."),
    ("day", "2026-02-30", "day is '2026-02-30', which is not a date. Give a date such as 2026-12-24."),
    ("day", "24.12.2026", "day is '24.12.2026', which is not a date. Give a date such as 2026-12-24."),
    ("moment", "noon", "moment is 'noon', which is not a date and time. Give a date and time such as 2026-12-24 18:00."),
    ("hour", "25:00", "hour is '25:00', which is not a time. Give a time such as 18:00."),
    ("count", "1.5", "count is '1.5', which is not a whole number. Give a whole number such as 3."),
    ("count", "many", "count is 'many', which is not a whole number. Give a whole number such as 3."),
    ("count", str(2**63), f"count is '{2**63}', which is not a whole number. Give a whole number such as 3."),
    ("weight", "heavy", "weight is 'heavy', which is not a number. Give a number such as 2.5."),
    ("weight", "NaN", "weight is 'NaN', which is not a number. Give a number such as 2.5."),
    ("weight", "-inf", "weight is '-inf', which is not a number. Give a number such as 2.5."),
    ("weight", "1e999", "weight is '1e999', which is not a number. Give a number such as 2.5."),
    ("price", "NaN", "price is 'NaN', which is not a number. Give a number such as 19.90."),
    ("price", "sNaN", "price is 'sNaN', which is not a number. Give a number such as 19.90."),
    ("price", "Infinity", "price is 'Infinity', which is not a number. Give a number such as 19.90."),
    ("price", "1,5", "price is '1,5', which is not a number. Give a number such as 19.90."),
    ("is_done", "maybe", "is_done is 'maybe', which is not yes or no. Give yes or no."),
    ("course", "mains", "course is 'mains'. Did you mean main?"),
    ("course", "xyz", "course is 'xyz'. There are: dessert, main, starter."),
    ("level", "7", "level is '7'. There are: 0, 1, 2."),
    ("colour", "RED!", "colour is 'RED!'. There are: red, sea_green."),
    ("mail", "ada", "mail is 'ada', which is not an e-mail address. Give an address such as ada@example.org."),
    ("mail", "a b@c.de", "mail is 'a b@c.de', which is not an e-mail address. Give an address such as ada@example.org."),
    ("link", "example", "link is 'example', which is not a web address. Give an address such as https://example.org."),
    ("link", "javascript:alert(1)", "link is 'javascript:alert(1)', which is not a web address. Give an address such as https://example.org."),
    ("link", "http://[", "link is 'http://[', which is not a web address. Give an address such as https://example.org."),
    ("data", "{a: 1}", "data is '{a: 1}', which is not JSON. Give JSON such as {\"a\": 1}."),
    ("data", "NaN", "data is 'NaN', which is not JSON. Give JSON such as {\"a\": 1}."),
    ("owner", "Nobody", "owner is 'Nobody', which is not one of the records. Give the number or the exact name of one."),
    ("owner", "²", "owner is '²', which is not one of the records. Give the number or the exact name of one."),
]


@pytest.mark.parametrize("name,text,sentence", WRONG, ids=[f"{n}-{t[:12]!a}" for n, t, _ in WRONG])
def test_wrong_text_gets_a_sentence_that_says_what_to_do(name, text, sentence):
    with pytest.raises(Problem) as caught: typed(ALL[name], text)
    assert str(caught.value) == sentence


STRANGE = [None, True, 0, -1, 1.5, float("nan"), float("inf"), 2**64, -2**70, 10**400, "", " ", "x" * 100_000, "9" * 6000, "9e999999999", "\ud800", "a\udfffb", "a\0b", "\x1b[31m",
           [], ["a"], [["a"]], {}, {"a": float("nan")}, {"a": "\ud800"}, ["\ud800"], ["a\0"], '"\\ud800"', "[" * 100_000, b"bytes", object, Decimal("NaN"), Decimal("1e999999999"), date.max, datetime.max, time.max, Colour.RED, Size.BIG, object()]


@pytest.mark.parametrize("name", list(ALL))
def test_any_value_is_either_kept_or_refused_in_a_sentence(everythings, name):
    "Nothing else may come of it: no other exception, no hang, and what is taken comes back as it was taken."
    kept = 0
    for value in STRANGE:
        try: record = everythings.insert(**{name: value})
        except Problem as e:
            assert re.fullmatch(rf"{name} (is|contains|came) .+\. [A-Z].+[.?]", str(e), re.S), str(e)
            assert len(str(e)) < 300, "the value is cut short"
            continue
        kept += 1
        again = getattr(everythings[record.id], name)
        assert again == typed(ALL[name], value) or isinstance(again, list) and again == list(value)
        to_xml(base.FT("div", (labelled(ALL[name], again),), {})).encode()  # it can be drawn, and sent
    assert kept, "not all of these are wrong"


def test_a_number_that_would_fill_the_page_is_refused():
    "Decimal('1e999999999') is 13 characters to type, and a gigabyte to write out with its thousands."
    for text in ("1e999999999", "-1e400000", "1e-999999999"):
        with pytest.raises(Problem, match="which is not a number"): typed(ALL["price"], text)
    assert typed(ALL["price"], "1e30") == Decimal("1e30")


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "a\0b"])
def test_characters_that_cannot_be_kept_are_refused(text):
    for name in ("text", "story", "page", "mail", "picture", "tags", "data", "course", "day", "owner"):
        with pytest.raises(Problem, match=f"^{name} contains a character that cannot be kept. Take it out.$"): typed(ALL[name], text)


def test_emoji_and_control_characters_are_kept():
    "Only lone halves of a surrogate pair and NUL are refused; a tab, an emoji or an escape is text like any other."
    for text in ("👩‍👩‍👧‍👦", "a\tb", "a\x1b[0mb", "\u2028", "\ufeffx", "\ufdd0"): assert typed(ALL["story"], text) == text


# ─── optional, required, defaults

@dataclass
class Person:
    name: str
    age: int
    nick: str | None = None
    height: float | None = None
    is_here: bool = field(default=False)
    colour: Colour | None = None
    tags: Tags = field(default_factory=lambda: ["new"])


PERSON = fields_of(Person)


def test_a_required_field_that_is_empty_says_what_to_give():
    with pytest.raises(Problem, match=r"^name is empty\. Give a value\.$"): typed(PERSON["name"], "  ")
    with pytest.raises(Problem, match=r"^age is empty\. Give a whole number such as 3\.$"): typed(PERSON["age"], "")
    with pytest.raises(Problem, match=r"^age is empty\."): typed(PERSON["age"], None)
    assert [n for n, f in PERSON.items() if f.is_required] == ["name", "age"]


def test_empty_is_none_where_none_is_allowed_and_the_default_elsewhere():
    assert typed(PERSON["nick"], "") is None and typed(PERSON["height"], " ") is None and typed(PERSON["colour"], "") is None
    assert typed(ALL["course"], "") == "main" and typed(ALL["count"], "") == 0 and typed(ALL["text"], "") == "" and typed(ALL["colour"], "") is Colour.RED
    assert typed(PERSON["tags"], "") == ["new"]
    assert PERSON["tags"].blank() is not PERSON["tags"].blank(), "each record gets a list of its own"


def test_zero_and_no_are_not_empty():
    assert typed(PERSON["age"], "0") == 0 and typed(PERSON["age"], 0) == 0 and typed(PERSON["height"], 0.0) == 0.0
    assert typed(ALL["is_done"], 0) is False and typed(ALL["level"], 0) == 0


def test_every_way_to_say_optional_is_the_same():
    import typing
    for hint in (int | None, typing.Optional[int], Annotated[int | None, Help("h")], Annotated[int, Help("h")] | None, None | int):  # noqa: UP045
        found = fields_.field_of("n", hint)
        assert (found.kind, found.is_optional, typed(found, "")) == ("int", True, None), hint
    assert fields_.field_of("n", Annotated[Text | None, Help("h")]).kind == "long"


def test_a_form_reports_every_wrong_field_at_once():
    with pytest.raises(Problem) as caught: read_form(PERSON, {"name": "", "age": "old", "height": "tall", "nick": "Al"})
    assert caught.value.status == 422 and set(caught.value.fields) == {"name", "age", "height"}
    assert caught.value.fields["age"] == "age is 'old', which is not a whole number. Give a whole number such as 3."


def test_a_field_that_was_not_sent_is_left_out_and_a_switch_is_off():
    assert read_form(PERSON, {"name": "Ada"}) == {"name": "Ada", "is_here": False}
    assert read_form(PERSON, {"is_here": "on"}, only=["is_here"]) == {"is_here": True}


# ─── what refines a type

@dataclass
class Refined:
    servings: Annotated[int, Range(1, 12)] = 2
    heat: Annotated[float, Range(low=0)] = 0.0
    share: Annotated[Decimal, Range(high=100)] = Decimal(0)
    code: Annotated[str, Pattern(r"[A-Z]{3}|x")] = ""
    plate: Annotated[str, Pattern(r"[A-Z]{3}"), Help("Three capital letters.")] = ""
    both: Annotated[int | None, Range(1, 5), Help("One to five.")] = None
    day: Annotated[date | None, Range(date(2026, 1, 1), date(2026, 12, 31))] = None


REFINED = fields_of(Refined)


@pytest.mark.parametrize("name,text,sentence", [
    ("servings", "13", "servings is 13. Give a value from 1 to 12."), ("servings", "0", "servings is 0. Give a value from 1 to 12."),
    ("heat", "-0.5", "heat is -0.5. Give a value of at least 0."), ("share", "100.01", "share is 100.01. Give a value of at most 100."),
    ("code", "abc", "code is 'abc'. It has to match [A-Z]{3}|x."), ("code", "xABC", "code is 'xABC'. It has to match [A-Z]{3}|x."), ("code", "ABCD", "code is 'ABCD'. It has to match [A-Z]{3}|x."),
    ("plate", "abc", "plate is 'abc'. Three capital letters."), ("both", "6", "both is 6. Give a value from 1 to 5."),
    ("day", "2027-01-01", "day is 2027-01-01. Give a value from 2026-01-01 to 2026-12-31.")])
def test_range_and_pattern_refuse_in_a_sentence(name, text, sentence):
    with pytest.raises(Problem) as caught: typed(REFINED[name], text)
    assert str(caught.value) == sentence


def test_range_includes_both_ends_and_pattern_means_the_whole_text():
    assert typed(REFINED["servings"], "1") == 1 and typed(REFINED["servings"], "12") == 12 and typed(REFINED["heat"], "0") == 0.0
    assert typed(REFINED["code"], "x") == "x" and typed(REFINED["code"], "ABC") == "ABC"
    assert typed(REFINED["both"], "") is None, "an optional one may still be empty"
    assert typed(REFINED["day"], "2026-12-31") == date(2026, 12, 31)


def test_help_range_and_pattern_are_in_the_form():
    soup = BeautifulSoup(to_xml(base.FT("div", tuple(labelled(f, None) for f in REFINED.values()), {})), "html.parser")
    servings, heat, code, plate = (soup.find("input", attrs={"name": n}) for n in ("servings", "heat", "code", "plate"))
    assert (servings["type"], servings["min"], servings["max"], servings["step"]) == ("number", "1", "12", "1")
    assert heat["min"] == "0" and not heat.has_attr("max") and heat["step"] == "any"
    assert code["pattern"] == "[A-Z]{3}|x"
    assert soup.find(id=plate["aria-describedby"]).get_text() == "Three capital letters."


@pytest.mark.parametrize("hint", [set, bytes, complex, int | str, tuple[int, int], type, list[int] | dict | None])
def test_a_hint_that_cannot_be_asked_for_is_refused_with_what_can(hint):
    with pytest.raises(Problem, match=r"^thing is annotated with .+, which cannot be asked for\. Use str, int"): fields_.field_of("thing", hint)


def test_a_function_is_fields_too():
    def greet(name, times: int = 1, tone: Literal["warm", "cool"] = "warm"): ...
    found = fields_of(greet)
    assert {n: (f.kind, f.is_required) for n, f in found.items()} == {"name": ("text", True), "times": ("int", False), "tone": ("choice", False)}


def test_a_class_used_before_it_is_defined_is_named():
    @dataclass
    class Early:
        later: "Later"  # noqa: F821  # ty: ignore[unresolved-reference]
    with pytest.raises(Problem, match=r"^Early uses Later before it is defined\. Define it above\.$"): fields_of(Early)


def test_what_no_longer_fits_is_given_as_it_is():
    "A file that something else wrote into must stay readable."
    for name in ("day", "moment", "hour", "price", "data", "tags", "course", "count", "weight", "colour"):
        assert from_sql(ALL[name], "garbage") == "garbage", name
        assert from_sql(ALL[name], 12345) is not None, name


# ─── moments keep their seconds, and a zone is understood

def test_seconds_are_shown_in_the_form_so_that_saving_does_not_lose_them():
    for name, value in (("moment", datetime(2026, 12, 24, 18, 0, 30)), ("hour", time(6, 7, 8))):
        shown = BeautifulSoup(to_xml(control(ALL[name], value)), "html.parser").input["value"]
        assert typed(ALL[name], shown) == value
    assert BeautifulSoup(to_xml(control(ALL["moment"], datetime(2026, 12, 24, 18))), "html.parser").input["value"] == "2026-12-24T18:00"


def test_a_moment_with_a_zone_is_kept_as_local_time():
    "A datetime-local input shows nothing for a text with a zone, so that the next save would empty the field."
    moment = datetime(2026, 12, 24, 18, tzinfo=timezone(timedelta(hours=3)))
    local = moment.astimezone().replace(tzinfo=None)
    assert typed(ALL["moment"], "2026-12-24T18:00+03:00") == local == typed(ALL["moment"], moment)


# ─── as HTML

@pytest.mark.parametrize("name", list(ALL))
def test_each_input_has_a_label_of_its_own(name):
    soup = BeautifulSoup(to_xml(labelled(ALL[name], ALL[name].blank())), "html.parser")
    label, given = soup.find("label"), soup.find(attrs={"name": name})
    assert label["for"] == given["id"] and label.get_text(" ", strip=True).startswith(ALL[name].label)
    assert ("optional" in label.get_text()) == ALL[name].is_optional
    twice = BeautifulSoup(to_xml(labelled(ALL[name], None)), "html.parser").find(attrs={"name": name})["id"]
    assert twice != given["id"], "a form in the page and the same in a dialog share no id"


def test_labels_are_words():
    assert ALL["is_done"].label == "Done" and fields_.field_of("cook_by", date).label == "Cook by"


def test_error_and_help_are_tied_to_the_input():
    field_ = REFINED["plate"]
    soup = BeautifulSoup(to_xml(labelled(field_, "abc", "plate is 'abc'. Three capital letters.")), "html.parser")
    given = soup.find("input")
    described = [soup.find(id=i) for i in given["aria-describedby"].split()]
    assert [d.get_text() for d in described] == ["Three capital letters.", "plate is 'abc'. Three capital letters."]
    assert given["aria-invalid"] == "true" and described[1]["role"] == "alert" and given["value"] == "abc"
    fine = BeautifulSoup(to_xml(labelled(PERSON["name"], "x")), "html.parser").find("input")
    assert not fine.has_attr("aria-invalid") and not fine.has_attr("aria-describedby") and fine.has_attr("required")


@pytest.mark.parametrize("name,text", [("count", "many"), ("day", "soon"), ("data", "{a: 1}"), ("story", "</textarea><b>x"), ("text", '"><script>alert(1)</script>'), ("tags", "a,b,"), ("price", "1,5"), ("is_done", "on")])
def test_what_was_typed_is_kept_after_an_error(name, text):
    soup = BeautifulSoup(to_xml(labelled(ALL[name], text, "wrong")), "html.parser")
    assert not soup.find("script") and not soup.find("b")
    given = soup.find(attrs={"name": name})
    if name == "is_done": assert given.has_attr("checked")
    else: assert (given.get_text().removeprefix("\n") if given.name == "textarea" else given["value"]) == text


def test_a_textarea_keeps_its_first_empty_line():
    "HTML drops one newline right after <textarea>."
    html = to_xml(control(ALL["story"], "\nfirst line is empty"))
    assert ">\n\nfirst" in html


def test_choices_offer_a_blank_only_where_nothing_is_chosen():
    def options(f, value): return [o["value"] for o in BeautifulSoup(to_xml(control(f, value)), "html.parser").find_all("option")]
    assert options(ALL["course"], "main") == ["starter", "main", "dessert"]
    assert options(PERSON["colour"], None) == ["", "red", "sea_green"]
    assert options(ALL["size"], Size.NONE) == ["0", "2"], "0 is a choice, not nothing"
    chosen = BeautifulSoup(to_xml(control(ALL["colour"], Colour.SEA_GREEN)), "html.parser").find("option", selected=True)
    assert (chosen["value"], chosen.get_text()) == ("sea_green", "sea green")


def test_a_relation_is_a_select_of_names():
    soup = BeautifulSoup(to_xml(control(ALL["owner"], 2, [(1, "Ada"), (2, "Böb <b>")])), "html.parser")
    assert [(o["value"], o.get_text()) for o in soup.find_all("option")] == [("", ""), ("1", "Ada"), ("2", "Böb <b>")]
    assert soup.find("option", selected=True)["value"] == "2"


@pytest.mark.parametrize("name,kind", [("count", "number"), ("weight", "number"), ("price", "number"), ("day", "date"), ("moment", "datetime-local"), ("hour", "time"), ("mail", "email"), ("link", "url"), ("picture", "file"), ("is_done", "checkbox"), ("text", "text")])
def test_inputs_have_the_type_that_brings_up_the_right_keyboard(name, kind):
    assert BeautifulSoup(to_xml(control(ALL[name], None)), "html.parser").input["type"] == kind


# ─── as JSON Schema

def fits(schema: dict, value: Any) -> bool:
    "JSON Schema 2020-12, as much of it as schema_of uses; anything else in a schema is an error of this test."
    used = set(schema) - {"type", "enum", "format", "items", "minimum", "maximum", "pattern", "description", "properties", "required", "additionalProperties"}
    assert not used, f"This test does not know {used}."
    kinds = schema.get("type", [])
    is_kind = {"null": value is None, "boolean": isinstance(value, bool), "integer": isinstance(value, int) and not isinstance(value, bool),
               "number": isinstance(value, (int, float)) and not isinstance(value, bool), "string": isinstance(value, str), "array": isinstance(value, list), "object": isinstance(value, dict)}
    if kinds and not any(is_kind[k] for k in ([kinds] if isinstance(kinds, str) else kinds)): return False
    if "enum" in schema and not any(value == c and type(value) is type(c) for c in schema["enum"]): return False
    if is_kind["number"] and not schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf): return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value): return False
    if isinstance(value, list): return all(fits(schema.get("items", {}), v) for v in value)
    if isinstance(value, dict) and "properties" in schema:
        return set(schema["required"]) <= set(value) <= set(schema["properties"]) and all(fits(schema["properties"][n], v) for n, v in value.items())
    return True


def plain(value: Any) -> Any:
    "A typed value as a tool call would write it in JSON."
    value = getattr(value, "value", value)
    return value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)


@pytest.mark.parametrize("name,text,value,raw", VALUES, ids=[f"{n}-{t[:12]!a}" for n, t, _, _ in VALUES])
def test_every_right_value_fits_the_schema_and_comes_back_from_it(name, text, value, raw):
    schema = schema_of(ALL)
    assert json.loads(json.dumps(schema)) == schema
    call = json.loads(json.dumps({name: plain(value)}))
    assert fits(schema, call), schema["properties"][name]
    assert typed(ALL[name], call[name]) == value


@pytest.mark.parametrize("name,value", [("count", "3"), ("count", 1.5), ("weight", "x"), ("is_done", "yes"), ("is_done", None), ("day", 20261224), ("course", "soup"), ("course", None), ("level", "1"), ("level", 3), ("colour", "blue"), ("size", 1), ("tags", "a"), ("tags", [1]), ("owner", "Ada"), ("text", 1), ("nothing", 1)])
def test_wrong_values_do_not_fit_the_schema(name, value): assert not fits(schema_of(ALL), {name: value})


def test_optional_fields_take_null_and_required_ones_are_listed():
    schema = schema_of(PERSON, "A person.")
    assert schema["required"] == ["name", "age"] and schema["additionalProperties"] is False and schema["description"] == "A person."
    assert fits(schema, {"name": "Ada", "age": 36, "nick": None, "height": None, "colour": None, "tags": []})
    assert not fits(schema, {"name": "Ada"}) and not fits(schema, {"name": None, "age": 1})


def test_what_refines_a_type_is_in_the_schema():
    schema = schema_of(REFINED)
    assert schema["properties"]["servings"] == {"type": "integer", "minimum": 1, "maximum": 12}
    assert schema["properties"]["plate"]["description"] == "Three capital letters."
    assert fits(schema, {"code": "ABC"}) and fits(schema, {"code": "x"}) and not fits(schema, {"code": "xABC"}) and not fits(schema, {"heat": -1})
    assert json.dumps(schema), "a range of dates too"


def test_a_relation_in_the_schema_says_whose_id_it_is():
    assert schema_of(ALL)["properties"]["owner"] == {"type": ["integer", "null"], "description": "the id of a owner"} or \
        schema_of(ALL)["properties"]["owner"] == {"type": ["integer", "null"], "description": "the id of an owner"}


def test_schemas_are_flat():
    "Small models fill in flat schemas only: no references, no nesting below a list of texts."
    text = json.dumps(schema_of(ALL) | {"more": schema_of(REFINED)})
    assert not re.search(r'"(\$ref|\$defs|anyOf|oneOf|allOf)"', text)


# ─── uploads

@pytest.mark.parametrize("given", ["../../x.py", "a" * 300 + ".PNG", "CON", "NUL.txt", "ä ö.JPEG", "x/y\\z.tar.gz", ".hidden", "", "a\r\nb.pdf", "💥.💥", "data.db"])
def test_an_upload_gets_a_name_of_ours(tmp_path, given):
    from starlette.datastructures import UploadFile
    before = base.home.path
    base.home.at(tmp_path).make()
    try:
        name = forms.save_upload(UploadFile(io.BytesIO(b"hello"), filename=given))
        assert re.fullmatch(r"[a-z0-9-]{1,49}\.[a-z0-9]{1,8}", name)
        assert [p.name for p in base.home.files.iterdir()] == [name] and (base.home.files / name).read_bytes() == b"hello"
        assert forms.save_upload(UploadFile(io.BytesIO(b"again"), filename=given)) != name, "nothing is overwritten"
    finally: base.home.at(before)


def test_a_record_class_and_its_fields_are_in_the_same_order():
    assert list(ALL) == [f.name for f in dataclasses.fields(Everything)]
