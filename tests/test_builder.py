"""The builder: words or a form become a spec, a spec a file, a file a proposal, and a click a live plugin (C4, C5).

Specs, files and patches are dense logic and are looked at in this process; all else is driven from outside, on one server
with the scripted model. Each test there has a name of its own for what it builds.
"""
import ast
import contextlib
import copy
import functools
import html
import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import ROOT, Server, chapter, cli, patience, wait_for
from model_server import ModelServer
from test_chat import Chat, Element, tree
from test_plugins import cards, plugin_names
from test_tools import in_process

import sololith

base, builder, check, plugins_, source, store, acting = map(chapter, ("base", "builder", "check", "plugins", "source", "store", "acting"))
source_of, spec_of, patched, cleaned, edited, identifier = builder.source_of, builder.spec_of, builder.patched, builder.cleaned, builder.edited, builder.identifier
Problem, db = base.Problem, store.db


def hole(reason: str) -> pytest.MarkDecorator: return pytest.mark.xfail(strict=True, reason=reason)
def app_spec(*fields: dict, name: str = "things", **more) -> dict: return {"kind": "app", "name": name, "fields": list(fields), **more}
def flow_spec(*steps: dict, name: str = "flow") -> dict: return {"kind": "pipeline", "name": name, "steps": list(steps)}
def f(name: str, kind: str = "str", **more) -> dict: return {"name": name, "type": kind, **more}
def s(name: str, kind: str = "code", instruction: str = "Do it.", **more) -> dict: return {"name": name, "kind": kind, "instruction": instruction, **more}
def choice(name: str, *choices: str, **more) -> dict: return f(name, "choice", choices=list(choices), **more)


def assert_checked(source: str, others: dict[str, str] | None = None) -> None:
    report = check.examine((spec_of(source) or {})["name"], source, others)
    assert not report.problems, f"{report.problems}\n{source}"


def assert_loads(source: str) -> None:
    "As far as can be said without a child process: it compiles, and no field that must be given comes after one that need not."
    compile(source, "made.py", "exec")
    made = builder.record_class(ast.parse(source))
    given = [n.value is not None for n in made.body if isinstance(n, ast.AnnAssign)] if made else []
    assert given == sorted(given), f"a field without a default comes after one with a default:\n{source}"


# ─── spec ↔ file ───

ODD = ['low "light"', "it's", "back\\slash", "{brace}", "ümlaut", "a, b", "<b>bold</b>", "50 %", "#1", "日本", "a|b", "new\nline", "tab\tbed", "None", "0", "True", "%s", "$x", "`x`"]
WORDS = ["name", "title", "size", "kind", "light", "notes", "day", "price", "owner", "is_done", "url", "file", "tags", "text", "position", "json", "number", "values", "row", "q", "sort", "page", "ids", "action", "data", "which"]


def any_field(r: random.Random, name: str) -> dict:
    kind = r.choice([*builder.TYPES, "choice", "choice", "str", "int", "str?", "int?", "bool?", "float?", "Task", "Profile"])
    made = f(name, kind)
    if kind == "choice": made["choices"] = r.sample(ODD, r.randint(1, 5))
    if r.random() < .25: made["is_required"] = True
    elif r.random() < .5:
        value = {"int": str(r.randint(0, 99)), "float": str(r.randint(1, 99) / 4), "bool": "True", "choice": r.choice(made.get("choices", ["x"]))}.get(kind)
        if kind in ("str", "text", "markdown"): value = r.choice(ODD)
        if value and value.strip() == value: made["default"] = value
    if r.random() < .3: made["help"] = r.choice(ODD) + "?"
    return made


def any_app(r: random.Random) -> dict:
    return app_spec(*[any_field(r, name) for name in r.sample(WORDS, r.randint(1, 9))], name=r.choice(["plants", "bike_repairs", "news", "boxes", "stories", "x"]),
        record=r.choice(["", "Plant", "BikeRepair", "thing"]), about=r.choice(["", "What grows here", "A log", 'of "odd" \\ things', "I keep it."]))


def any_flow(r: random.Random) -> dict:
    names = r.sample(["rows", "kept", "total", "topic", "letter", "count_of", "page", "answer", "first", "last"], r.randint(1, 6))
    steps = []
    for name in names:
        kind = r.choice(["ask", "file", "fetch", "model", "tool", "code"])
        step = s(name, kind, r.choice(["Do it.", 'Say "hi" to {them}, 50 %.', "Größe?", "It's\ntwo lines."]))
        if kind == "tool": step["tool"] = r.choice(["tasks_add", "notes_add"])
        if kind == "ask" or kind == "model" and r.random() < .4:
            asked = [any_field(r, n) for n in r.sample(["size", "tone", "subject", "day_of_it", "amount_of"], r.randint(1, 3))]
            step["asked"] = [{n: v for n, v in one.items() if n != "is_required"} for one in asked]
        steps.append(step)
    return flow_spec(*steps, name=r.choice(["report", "weekly_letter"]))


def meant(spec: dict) -> dict:
    "What of a spec has to come back, in one form."
    def one(field: dict) -> dict:
        made = {n: v for n, v in field.items() if v not in (None, "", [], False) and n != "default_text"}
        if made.get("type") == "choice" and made.get("default") == made["choices"][0] or made.get("is_required"): made.pop("default", None)
        if made.get("is_required"): made["type"] = made["type"].removesuffix("?")
        return made
    parts = {n: [one(p) | ({"asked": [one(a) for a in p["asked"]]} if p.get("asked") else {}) for p in spec[n]] for n in ("fields", "steps") if n in spec}
    return {n: spec.get(n) for n in ("kind", "name", "record") if n in spec} | parts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [any_app, any_flow])
def test_a_spec_comes_back_out_of_its_file_and_makes_the_same_file_again(kind, seed):
    r = random.Random(seed)
    for _ in range(40):
        spec = kind(r)
        made = source_of(spec)
        assert_loads(made)
        back = spec_of(made)
        assert meant(back) == meant(cleaned(spec)), made
        assert source_of(copy.deepcopy(spec)) == made and source_of(json.loads(json.dumps(spec))) == made, "the same spec, the same file"
        assert source_of(back | {"about": spec.get("about", "")}) == made
        assert patched(made, back) == made
        assert meant(cleaned(cleaned(spec))) == meant(cleaned(spec))


def test_files_out_of_specs_pass_the_check():
    kinds = list(builder.TYPES)
    assert_checked(source_of(app_spec(f("title"), *[f(f"of_{kind}", kind) for kind in kinds], choice("odd", *ODD, default="it's"), f("about", "text", default=ODD[0], help=ODD[2]), f("task", "Task"), f("some", "int?"))))
    assert_checked(source_of(app_spec(*[f(f"of_{kind}", kind, is_required=True) for kind in kinds], choice("odd", *ODD, is_required=True), name="bike_repairs", record="Repair")))
    assert_checked(source_of(flow_spec(s("rows", "file"), s("kept"), s("added", "tool", tool="tasks_add"), s("topic", "ask", asked=[f("subject"), choice("tone", *ODD), f("size", "int")]),
        s("letter", "model", 'Write "this" about {it}, 50 %.', asked=[f("words_of", "int", default="7")]))))


@pytest.mark.parametrize("names", [["id", "date", "day", "time", "datetime", "type", "list", "str", "int", "class", "lambda", "None", "for", "field", "table", "import"],
    ["Größe 2", "a-b", "a b", "A_B", "", "  ", "__", "9 lives", "x" * 100, "x" * 100, "name", "Name", "NAME", "<script>", "日本", 7]], ids=["taken", "odd"])
def test_names_become_names_each_once_and_pass_the_check(names):
    made = source_of(app_spec(*[f(name) for name in names]))
    found = [one["name"] for one in spec_of(made)["fields"]]
    assert len(set(found)) == len(found) == len({str(n) for n in names if str(n).strip()}) and all(n.isidentifier() and identifier(n) in (n, n.rstrip("_")) for n in found)
    assert not {"id", "date", "class", "type", "None", "field"} & set(found)
    assert_checked(made)


@pytest.mark.parametrize("name", ["record", "self"])
def test_a_field_may_be_called_like_a_parameter_of_ours(name): assert_checked(source_of(app_spec(f("title"), f(name))))


@pytest.mark.parametrize("steps", [pytest.param([s("fetch", "fetch")], id="fetch"), pytest.param([s("read_file", "file")], id="read_file"),
    pytest.param([s("ask", "model"), s("more", "model")], id="ask"), pytest.param([s("dict", "ask", asked=[f("a")]), s("both", "ask", asked=[f("a"), f("b")])], id="dict")])
def test_a_step_may_be_called_like_what_it_uses(steps): assert_checked(source_of(flow_spec(*steps)))


@pytest.mark.parametrize("steps", [[s("rows", "file"), s("kept", asked=[f("least", "int")])], [s("kept", asked=[f("least", "int")])]], ids=["after one", "first"])
def test_a_step_of_code_that_asks_for_something_is_still_code(steps): assert [step["kind"] for step in spec_of(source_of(flow_spec(*steps)))["steps"]] == [step["kind"] for step in steps]


def test_a_pipeline_that_asks_for_what_a_tool_needs_passes_the_check():
    assert_checked(source_of(flow_spec(s("wanted", "ask", "What?", asked=[f("title")]), s("added", "tool", "Add it.", tool="tasks_add"))))


def test_choices_may_have_signs_of_any_kind():
    spec = app_spec(f("name"), choice("mood", "🌱 growing", "𝄞", "low"))
    assert spec_of(source_of(spec))["fields"][1]["choices"] == ["🌱 growing", "𝄞", "low"]


def test_a_default_below_zero_comes_back(): assert spec_of(source_of(app_spec(f("name"), f("balance", "int", default="-1"))))["fields"][1].get("default") == "-1"


@pytest.mark.parametrize("default", ["nan", "inf", "-inf"])
def test_a_default_that_is_no_number_is_refused_or_left_out(default):
    with contextlib.suppress(Problem): assert not [n for n in ast.walk(ast.parse(source_of(app_spec(f("name"), f("weight", "float", default=default))))) if isinstance(n, ast.Name) and n.id in ("nan", "inf")]


@pytest.mark.parametrize("kind, default", [("date", "2026-12-24"), ("decimal", "9.99"), ("url", "https://example.org"), ("tags", "red")])
def test_a_default_is_kept_whatever_the_type_or_refused(kind, default):
    with contextlib.suppress(Problem): assert default in source_of(app_spec(f("name"), f("value", kind, default=default)))


@pytest.mark.parametrize("instruction", [r'Say \"hi\".', r"Keep \d and \n as they are.", "End with a \\"])
def test_an_instruction_with_backslashes_reaches_the_model_as_it_is(instruction):
    made = source_of(flow_spec(s("topic", "ask", asked=[f("subject")]), s("poem", "model", instruction)))
    (asked,) = [n for n in ast.walk(ast.parse(made)) if isinstance(n, ast.JoinedStr)]
    assert asked.values[-1].value == f"\n\n{instruction} Use what stands above, and leave no blanks."


def test_a_field_may_be_a_record_of_another_plugin(bench):
    garden = '"Gardens."\nfrom sololith import *\n\n@dataclass\nclass Garden:\n    title: str\n\ngardens = crud(Garden)\n'
    with live(gardens=garden): made = source_of(app_spec(f("name"), f("garden", "garden")))
    assert_checked(made, {"gardens": garden})


def test_a_name_in_german_stays_readable(): assert identifier("Größe") == "groesse" or identifier("Größe") == "grosse"


@pytest.mark.parametrize("spec, said", [(app_spec(f("a", "strr")), "strr is not a type of field. Did you mean str?"), (app_spec(f("a", "wat")), "wat is not a type of field."), (flow_spec(), "The pipeline has no steps."),
    (flow_spec(s("a", "tool", tool="task_add")), "There is no tool task_add. Did you mean tasks_add?")])
def test_a_spec_that_makes_no_sense_is_refused_with_a_sentence(spec, said):
    with pytest.raises(Problem) as e: source_of(spec)
    assert str(e.value).startswith(said)


@pytest.mark.parametrize("page", ["README.md", "AGENTS.md", "docs/apps.md", "docs/pipelines.md"])
def test_the_examples_of_the_documents_are_read_as_specs_and_stay_as_they_are(page):
    found = [block for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S) if spec_of(block)]
    assert found or page == "docs/apps.md"
    for block in found:
        spec = spec_of(block)
        if spec["kind"] == "app" or all(step.get("tool", "tasks_add") in base.all_tools() for step in spec["steps"]): assert patched(block, spec) == block, spec


def test_what_the_examples_say_is_found():
    plants, importing = [spec_of(block) for block in re.findall(r"```python\n(.*?)```", (ROOT / "AGENTS.md").read_text(), re.S)]
    assert plants == {"kind": "app", "name": "plants", "record": "Plant", "about": "what grows here", "fields": [{"name": "name", "type": "str", "is_required": True},
        {"name": "light", "type": "choice", "choices": ["low", "high"], "default": "low"}, {"name": "watered", "type": "date"}, {"name": "pots", "type": "other", "hint": "Annotated[int, Range(1, 50), Help('How many of them.')]", "default_text": "1"}]}
    assert [(step["name"], step["kind"]) for step in importing["steps"]] == [("rows", "file"), ("named", "code"), ("added", "tool")] and importing["steps"][2]["tool"] == "tasks_add"
    letter = spec_of(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[-1]) or {}
    assert letter.get("kind") in ("pipeline", "app")
    assert spec_of('"Only a page."\nfrom sololith import *\n@rt("/x", methods=["GET"])\ndef x(): return 1\n') is None


# ─── patched ───

APP = '''"Plants: what grows here."
# A comment at the top.
from sololith import *

LIGHTS = ("low", "high")   # used by nobody


@dataclass
class Plant:
    "One of your plants."
    # what it is called
    name: str
    city: str
    latin: str = ""            # as botanists say

    light: Literal["low", "high"] = "low"
    # when
    watered: date | None = None
    pots: Annotated[int, Range(1, 50)] = 1
    shelf: Annotated[str,
        Help("Which one.")] = "left"

    def __str__(self): return self.name


@dataclass
class Pot:
    title: str
    name: str = ""


class PlantsApp(BaseApp):
    record = Plant

    def prepare_insert(self, data):
        data["name"] = data["name"].strip()   # hook



plants = PlantsApp()
pots = crud(Pot)


@tool(reads=True)
def thirsty(days: int = 7) -> list[str]:
    "Plants that were not watered."
    return [p.name for p in plants()]


def test_x(): assert True
# the end, without a line after it'''
FLOW = '''"Report: what came in."
from sololith import *

report = pipeline("Report", "Made by hand.")   # mine
RATE = 1.19


@report.step
def rows(file: File):
    "Which file?"
    return read_file(file)          # a table


def helper(row): return float(row["amount"]) * RATE


@report.step
def wanted(least: int = 10, unit: Literal["EUR", "USD"] = "EUR"):
    "From which amount on?"
    # kept as it is
    return dict(least=least, unit=unit)


@report.step
def kept(rows, wanted):
    "Keep the large ones."
    return [row for row in rows if helper(row) >= wanted["least"]]


@report.step
async def letter(kept, ask: Ask) -> Markdown:
    "Have the model write."
    return await ask(f"Write about {kept}.")


print("loaded")
'''


def changed_app(r: random.Random, spec: dict) -> dict:
    "A spec with fields added, taken out and changed, but for what must be given."
    spec = copy.deepcopy(spec)
    free = [one for one in spec["fields"] if not one.get("is_required")]
    for one in r.sample(free, r.randint(0, 2)): spec["fields"].remove(one)
    for one in [one for one in spec["fields"] if not one.get("is_required") and r.random() < .4]:
        at = spec["fields"].index(one)
        spec["fields"][at] = {n: v for n, v in any_field(r, one["name"]).items() if n != "is_required"}
    taken = {one["name"] for one in spec["fields"]}
    for n in range(r.randint(0, 3)):
        if (one := any_field(r, f"new_{n}"))["name"] not in taken: spec["fields"].append({n: v for n, v in one.items() if n != "is_required"})
    return spec


def lines_but(text: str, names: set[str]) -> list[str]:
    "The lines of a file, but for those of some fields of its record, or of some steps with what is between them and before."
    made, lines, tree_ = builder.record_class(ast.parse(text)), text.split("\n"), ast.parse(text)
    cut = {n for node in (made.body if made else []) if isinstance(node, ast.AnnAssign) and node.target.id in names for n in range(node.lineno - 1, node.end_lineno)}
    for node in [] if made else builder.step_functions(tree_):
        if node.name in names: cut |= set(range(node.decorator_list[0].lineno - 1, node.end_lineno))
    return [line for n, line in enumerate(lines) if n not in cut and (made or line.strip())]


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_record_leaves_every_other_line_byte_for_byte(seed):
    r, was = random.Random(seed), spec_of(APP)
    assert patched(APP, was) == APP
    for _ in range(50):
        spec = changed_app(r, was)
        new = patched(APP, spec)
        assert_loads(new)
        assert meant(spec_of(new))["fields"] == sorted(meant(cleaned(spec | {"name": "plants"}))["fields"], key=lambda one: [p["name"] for p in spec_of(new)["fields"]].index(one["name"]))
        old_parts, new_parts = ({one["name"]: one for one in meant(x)["fields"]} for x in (was, spec))
        changed = {n for n in old_parts.keys() | new_parts.keys() if old_parts.get(n) != new_parts.get(n)}
        assert lines_but(new, changed) == lines_but(APP, changed)
        assert patched(new, spec) == new, "once is enough"


@pytest.mark.parametrize("seed", range(3))
def test_changed_steps_leave_every_other_line_byte_for_byte(seed):
    r, was = random.Random(seed), spec_of(FLOW)
    assert patched(FLOW, was) == FLOW
    for _ in range(40):
        spec = copy.deepcopy(was)
        changed = set()
        if r.random() < .5:
            spec["steps"][3]["instruction"] = r.choice(["Write it.", 'Say "hi".', "Größe?"])
            changed.add("letter")
        if r.random() < .5:
            spec["steps"][1]["asked"] = [f("least", "int", default=str(r.randint(1, 9))), *([f("since_when", "date")] if r.random() < .5 else [])]
            changed.add("wanted")
        for n in range(r.randint(0, 2)):
            spec["steps"].append(s(f"new_{n}", r.choice(["code", "model", "tool", "file"]), tool="tasks_add"))
            changed.add(f"new_{n}")
        new = patched(FLOW, spec)
        assert_loads(new)
        back = spec_of(new)
        assert [one["name"] for one in back["steps"]] == [one["name"] for one in spec["steps"]]
        assert [(one["instruction"], one["kind"]) for one in back["steps"]] == [(one["instruction"], one["kind"]) for one in spec["steps"]]
        assert lines_but(new, changed) == lines_but(FLOW, changed)
        assert patched(new, spec) == new, "once is enough"


def test_a_step_that_is_added_between_takes_up_what_came_and_gives_it_on():
    spec = spec_of(FLOW)
    spec["steps"].insert(3, s("sorted_ones", instruction="Sort them."))
    new = patched(FLOW, spec)
    assert "def sorted_ones(kept):" in new and "async def letter(sorted_ones, ask: Ask)" in new and "{sorted_ones}" in new and patched(new, spec) == new
    del spec["steps"][3]
    again = patched(new, spec)
    assert "async def letter(kept, ask: Ask)" in again and "sorted_ones" not in again and lines_but(again, {"letter"}) == lines_but(FLOW, {"letter"})


def with_fields(*lines: str, rest: str = "\n\nplants = crud(Plant)\n") -> str: return '"Plants: by hand."\nfrom sololith import *\n\n\n@dataclass\nclass Plant:\n    "One."\n' + "".join(f"    {line}\n" for line in lines) + rest


@pytest.mark.parametrize("file", [with_fields('name: str', 'price: Decimal = Decimal("1.50")', 'made: date = field(default_factory=date.today)', "n: Literal[1, 2] = 1", 'both: str | None = "x"', "low: int = -1"),
    with_fields("name: str  # comment", "", "    # indented comment", "is_on: bool = True"), with_fields("name:str='x'", "n:int=3").replace("name:str='x'", "name:str"),
    pytest.param(with_fields("name: str", 'type: str = ""'), id="type"), pytest.param(with_fields("firstName: str"), id="capitals"),
    pytest.param(with_fields("name: str", "day_: date | None = None"), id="day_"), pytest.param(with_fields("name: str", "time: str = ''", "list: str = ''"), id="time"),
    pytest.param(with_fields("count: int = 0", 'title: str = ""'), id="nothing must be given"), pytest.param(with_fields("name: str", *[f"f{n}: int = {n}" for n in range(30)]), id="31 fields"),
    pytest.param('"X."\nfrom sololith import *\nx = pipeline("X")\n\n@x.step\ndef rows(file: File):\n    "' + "Which file is it? " * 20 + '"\n    return file\n', id="a long docstring"),
    pytest.param('"X."\nfrom sololith import *\nx = pipeline("X")\n\n@x.step\ndef word(word: str):\n    "Which?"\n    return word\n', id="a step that asks for its own name"),
    pytest.param('"X."\nfrom sololith import *\nx = pipeline("X")\n\n@x.step\ndef readRows(file: File):\n    "Which?"\n    return read_file(file)\n', id="a step in capitals")])
def test_a_file_by_hand_with_the_spec_that_it_says_stays_as_it_is(file): assert patched(file, spec_of(file)) == file


@pytest.mark.parametrize("change", [pytest.param(lambda fields: fields[3].update(is_required=True), id="a later one must be given now"),
    pytest.param(lambda fields: fields[0].pop("is_required"), id="the first need not be given now")])
def test_what_must_be_given_comes_first_after_a_change(change):
    file = with_fields("name: str", "city: str", 'light: str = "low"', "watered: date | None = None").replace("    light", "    size: int = 0\n    light")
    spec = spec_of(file)
    change(spec["fields"])
    assert_loads(patched(file, spec))


def test_what_must_be_given_comes_first_where_both_are_added():
    file = with_fields("name: str")
    spec = spec_of(file)
    spec["fields"] += [f("city", is_required=True), f("size", "int")]
    assert_loads(patched(file, spec))


def test_choices_that_are_numbers_stay_numbers():
    file = with_fields("name: str", "stars: Literal[1, 2, 3] = 1")
    spec = spec_of(file)
    spec["fields"][1]["help"] = "How good."
    assert "Literal[1, 2, 3]" in patched(file, spec)


@pytest.mark.parametrize("line, kept", [("low: int = -1", "= -1"), ("made: date = field(default_factory=date.today)", "default_factory=date.today"), ('price: Decimal = Decimal("1.50")', 'Decimal("1.50")')])
def test_a_default_stays_where_only_the_help_changes(line, kept):
    file = with_fields("name: str", line)
    spec = spec_of(file)
    spec["fields"][1]["help"] = "More of it."
    assert kept in patched(file, spec)


@pytest.mark.parametrize("indent", ["\t", "  "])
def test_a_class_keeps_its_indentation(indent):
    file = with_fields("name: str", "size: int = 0").replace("    ", indent)
    spec = spec_of(file)
    spec["fields"].append(f("pots", "int"))
    assert_loads(patched(file, spec))


def test_a_step_keeps_its_instruction_where_another_comes_before_it():
    file = FLOW.replace("Keep the large ones.", "Keep the rows that are large.").replace("def kept(rows, wanted)", "def kept(wanted, rows)")
    spec = spec_of(file)
    del spec["steps"][1]
    spec["steps"].insert(1, s("clean", instruction="Clean them."))
    spec["steps"][2]["instruction"] = "Keep the rows that are large."
    file = file.replace("wanted, rows", "rows").replace(' if helper(row) >= wanted["least"]', "")
    file = file[:file.index("@report.step\ndef wanted")] + file[file.index("@report.step\ndef kept"):]
    new = patched(file, spec)
    assert '"Keep the rows that are large."' in new and "def kept(clean)" in new and patched(new, spec) == new


def test_a_step_that_goes_leaves_a_file_that_loads():
    file = FLOW.replace("def kept(rows, wanted)", "def kept(wanted, rows)")
    spec = spec_of(file)
    del spec["steps"][1]
    assert_loads(patched(file, spec))


def test_a_step_of_one_line_can_ask_for_more():
    file = FLOW + "\n\n@report.step\ndef total(kept, digits: int = 2): return round(len(kept), digits)\n"
    spec = spec_of(file)
    spec["steps"][-1]["asked"].append(f("unit_of", "str"))
    new = patched(file, spec)
    assert_loads(new)
    assert new.count("def total(") == 1


def test_what_the_plan_says_about_it_is_changed_too():
    new = patched(APP, spec_of(APP) | {"about": "What does not grow here"})
    assert new != APP and "not grow here" in new.split("\n")[0] and new.split("\n")[1:] == APP.split("\n")[1:]


@pytest.mark.parametrize("file, kind", [('"A page."\nfrom sololith import *\n', "app"), (APP, "pipeline"), (FLOW, "app")])
def test_a_file_that_is_more_than_a_spec_can_say_is_refused(file, kind):
    with pytest.raises(Problem, match="more than a spec can say"): patched(file, {"kind": kind, "name": "x", "fields": [f("a")], "steps": [s("a")]})


def test_edits_replace_whole_lines_first_and_leave_what_is_not_there():
    text = "    a = 1\nb = 2\n    a = 12\n"
    assert edited(text, [{"search": "b = 2", "replace": "b = 3"}]) == text.replace("b = 2", "b = 3")
    assert edited(text, [{"search": "    a = 1", "replace": "    a = 9"}]) == "    a = 9\nb = 2\n    a = 12\n", "the whole line, not the beginning of another"
    assert edited(text, [{"search": "c", "replace": "d"}, {"search": "  ", "replace": "x"}, {"search": "", "replace": "x"}, {}]) == text
    assert edited(text, [{"search": "b = 2", "replace": ""}]) == "    a = 1\n\n    a = 12\n"
    assert edited(text, [{"search": "b = 2", "replace": "b = 3"}, {"search": "b = 3", "replace": r"b = '\1\n'"}]) == text.replace("b = 2", r"b = '\1\n'"), "one after the other, and as they are"


def test_an_edit_of_a_line_that_is_there_twice_is_left_alone(): assert edited("a\nb\na\n", [{"search": "a", "replace": "x"}]) == "a\nb\na\n"


# ─── what is asked for ───

@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    "A workspace in this process."
    with in_process(tmp_path_factory.mktemp("bench")): yield


@contextlib.contextmanager
def live(**sources: str):
    "Plugins that are live meanwhile."
    for name, text in sources.items(): plugins_.loader.load(name, text)
    try: yield
    finally:
        for name in sources: plugins_.loader.unload(name)


def asked(text: str, proposal: str = "", status: str = "ready") -> str | None:
    "Which plugin a message wants to be built: its name, '' for a new one, None for none. `proposal`: what the last call made."
    path = []
    db.execute("DELETE FROM proposals")
    if proposal:
        path = [{"id": 5, "role": "call", "content": json.dumps({"tool": "build", "args": {}})}]
        db.execute("INSERT INTO proposals(at,plugin,wish,why,status) VALUES ('',?,'','message 5',?)", [proposal, status])
    found = builder.build_request(text, path, acting.wish_of(text).is_talk)
    if found: assert found["tool"] == "build" and found["args"]["what"] == text
    return found["args"].get("plugin", "") if found else None


PLANTS = '"Plants: what grows here."\nfrom sololith import *\n\n\n@dataclass\nclass Plant:\n    "One of your plants."\n    name: str\n    light: Literal["low", "high"] = "low"\n\n\nplants = crud(Plant)\n'


@pytest.mark.parametrize("text", ["make me an app for my plants: name, light (low or high)", "Build a tracker for my runs", "I need an app to track my plants", "create a pipeline that reads a CSV", "I want a database of my records",
    "mach mir eine App für meine Pflanzen", "erstelle eine Datenbank für Bücher", "write me a workflow that sorts", "please design an application for recipes", "I would like an app for birds", "set up a log book for the boat",
    "Could you build me a small app where I keep my wines?", "can you make an app for my wines?", "bau mir einen Tracker für Läufe", "ich brauche eine App für Rezepte", "now make another app, for my wines",
    pytest.param("I'd like an app for birds"), pytest.param("new app: wines with name and year")])
def test_words_that_ask_for_something_new_are_a_build(bench, text):
    assert asked(text) == ""
    with live(plants=PLANTS): assert asked(text.replace("plants", "herbs")) == "" and asked(text.replace("plants", "herbs"), "birds") == ""


@pytest.mark.parametrize("text", ["add a task: write the app", "make a note about the app", "make a task for the app", "create a note on workflows", "do I need an app for this?", "what is an app?", "how do I make an app?", "what would I need an app for?",
    "make me a sandwich", "run the pipeline hello", "delete the app task", "open the app tasks", "I want a nap", "thanks", "add a task: make the pipeline run",
    *[pytest.param(text) for text in ("add a task: build an app for the club", "remind me to make an app for my plants", "make a note: I need an app for plants", "add a task to create an app")]])
def test_words_that_ask_for_something_else_are_none(bench, text): assert asked(text) is None


@pytest.mark.parametrize("text, new", [("add a fern to my plants", None), ("add fern, moss and ivy to plants", None), ("delete the fern from my plants", None), ("mark the fern as watered", None), ("show me my plants", None),
    ("how many plants are there?", None), ("make a note about the plants app", None), ("add a field for pot size to my plants", "plants"), ("add a column pot_size", "plants"), ("remove the notes field from plants", "plants"),
    ("rename the light field to brightness", "plants"), ("fix the plants app", "plants"),
    pytest.param("add a task: add a column to plants", None), pytest.param("add a task: fix the shelf of the plants", None),
    pytest.param("remember that Ann can also come on Sunday", None), pytest.param("add a step to hello", None)])
def test_records_are_added_to_an_app_that_is_installed_and_fields_are_built(bench, text, new):
    with live(plants=PLANTS): assert asked(text) == new and asked(text, "plants", "installed") == new


@pytest.mark.parametrize("text, new", [("add the wing span", "birds"), ("also the place where I saw it", "birds"), ("make the place a choice: garden or forest", "birds"), ("rename the colour field to plumage", "birds"), ("please drop the colour", "birds"),
    ("add a fern to my plants", None), ("add a task: buy seed", None), ("install it", None), ("thanks", None), ("what does it do?", None), ("make me an app for wines", ""), ("add a field for pot size to my plants", "plants"),
    pytest.param('the place may be "meadow", too', "birds"), pytest.param("without the notes", "birds")])
def test_what_is_said_after_a_plan_is_about_the_plan(bench, text, new):
    with live(plants=PLANTS): assert asked(text, "birds") == new


def test_what_is_said_after_a_plan_that_is_gone_is_about_nothing(bench):
    for status in ("declined", "replaced", "failed"): assert asked("also the wing span", "birds", status) is None


def test_a_plugin_that_is_broken_is_mended_when_that_is_asked_for(bench):
    broken = plugins_.loader.broken
    try:
        with live(plants=PLANTS):
            broken["herbs"] = base.Plugin("herbs")
            assert [asked(text) for text in ("Fix the plugin herbs.", "fix it", "repariere herbs", "what is a fix?")] == ["herbs", "herbs", "herbs", None]
            broken["my_plants"] = base.Plugin("my_plants")
            assert [asked(text) for text in ("Fix the plugin my_plants.", "fix my plants", "fix it")] == ["my_plants", "my_plants", None]
    finally: broken.clear()


# ─── from outside ───

class Lab(Chat):
    "A person who has things built by a model that says what it is told to."
    since = read = 0        # what was in the journal, and read of the log, before this test
    is_forgiven = False     # whether the log may have a traceback

    def do(self, text: str, *answers: str | dict, c: int = 0) -> int:
        "Say something, to which the model answers so; the conversation, once it is done."
        for one in answers: self.model.says(one if isinstance(one, str) else json.dumps(one))
        self.asked = len(self.model.chats)
        c = self.begin(text, c)
        self.wait(c, 30 * patience())
        assert len(self.model.chats) - self.asked == len(answers), [r["body"]["messages"][-1] for r in self.model.chats[self.asked:]]
        return c

    def proposals(self) -> list[dict]: return self.rows("SELECT * FROM proposals ORDER BY id")
    def newest(self) -> dict: return self.proposals()[-1]
    def proposal(self, key: int) -> dict: return self.rows("SELECT * FROM proposals WHERE id=?", key)[0]
    def part(self, key: int = 0) -> Element: return tree(self.get(f"/build/{key or self.newest()['id']}/part"))
    def hash(self, key: int = 0) -> str:
        return next((json.loads(b["hx-vals"])["hash"] for b in self.part(key).all("button") if "install" in b["hx-vals"]), "")

    def act(self, key: int, **data) -> object: return self.post(f"/build/{key}", data)
    def install(self, key: int = 0, given: str | None = None, **headers):
        key = key or self.newest()["id"]
        return self.post(f"/build/{key}", {"act": "install", "hash": self.hash(key) if given is None else given}, **headers)

    def form(self, kind: str, called: str, *rows: dict, key: int = 0, about: str = "", record: str = ""):
        "Send the plan's form, as the page does."
        data = [("act", "spec"), ("kind", kind), ("called", called), ("about", about), ("record", record)]
        for row in rows: data += [(n, row.get(n, {"type": "str" if kind == "app" else "code"}.get(n, ""))) for n in (("name", "type", "choices", "default", "required", "help", "hint", "default_text") if kind == "app" else ("name", "type", "help", "choices"))]
        return self.post(f"/build/{key}" if key else "/build", data)

    def made(self, called: str, *rows: dict, kind: str = "app") -> int:
        "A proposal by the form that waits for a click."
        answer = self.form(kind, called, *(rows or [{"name": "title", "required": "yes"}]))
        assert answer.status == 200, answer
        return int(answer.headers["HX-Redirect"].removeprefix("/build/"))

    def installed(self, called: str, *rows: dict) -> int:
        key = self.made(called, *rows)
        assert self.install(key).status == 200
        return key

    def shown_form(self, key: int) -> list[tuple[str, str]]:
        "The plan's form as a browser would send it unchanged."
        (form,) = [x for x in self.part(key).all("form") if x.all(value="spec")]
        def value(e: Element) -> str:
            if e.tag == "select": return next((o["value"] for o in e.all("option") if "selected" in o.attrs), e.all("option")[0]["value"])
            return e.text if e.tag == "textarea" else e["value"]
        return [(e["name"], value(e)) for e in form.all() if e["name"]]

    def imported(self, name: str, data: bytes | str):
        return self.post("/build", {"act": "import"}, files={"file": (name, data.encode() if isinstance(data, str) else data)})

    def file(self, name: str): return self.server.workspace / "apps" / f"{name}.py"
    def is_live(self, name: str) -> bool: return self.get(f"/{name}").status == 200
    def entries(self, name: str) -> list[dict]: return [e for e in self.journal(f"app='plugins' AND id > {self.since}") if re.search(rf"\b{name}\b", e["summary"])]
    def undo(self, entry: int): return self.post("/undo", {"entry": str(entry)})

    def settle(self) -> None:
        "Wait until the watcher has seen what is in apps/ now: what comes and goes before that, it never sees (see below)."
        self.file("canary").write_text(f"'Canary {(n := time.monotonic_ns())}.'\n")
        wait_for(lambda: f"Canary {n}." in self.get("/plugins").text, 10)
        assert self.post("/plugins/canary", {"act": "remove"}).status == 200

    def page(self, name: str) -> str: return html.unescape(re.sub(r"<[^>]+>", " ", self.get(f"/plugins/{name}").text))


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory):
    with ModelServer(context=16384) as model, Server(tmp_path_factory.mktemp("builder") / "workspace").start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"}) as server: yield Lab(server, model)


@pytest.fixture
def L(shared_lab):
    "The server that all tests share, with nothing scripted and no plugin."
    shared_lab.model.forget()
    shared_lab.is_forgiven = False
    shared_lab.since = (shared_lab.rows("SELECT max(id) AS id FROM journal")[0]["id"] or 0)
    yield shared_lab
    for p in shared_lab.rows("SELECT id FROM proposals WHERE status IN ('ready', 'refused')"): shared_lab.act(p["id"], act="decline")
    for path in (shared_lab.server.workspace / "apps").glob("*.py"): shared_lab.post(f"/plugins/{path.stem}", {"act": "remove"})
    said, shared_lab.read = shared_lab.server.log[shared_lab.read:], len(shared_lab.server.log)
    assert shared_lab.is_forgiven or "Traceback" not in said, said[-3000:]
    wait_for(lambda: plugin_names(shared_lab.server) == [] and not cards(shared_lab.server), 10, "an empty apps/")


def plan(name: str, record: str, *fields: dict, about: str = "What grows here") -> dict: return {"name": name, "record": record, "about": about, "fields": list(fields)}


def test_a_wish_becomes_a_plan_then_a_file_by_one_click_and_undo_takes_it_away(L):
    c = L.do("make me an app for my ferns: name, light (low or high)", plan("ferns", "Fern", f("name"), choice("light", "low", "high")))
    p = L.newest()
    assert (p["plugin"], p["status"], p["base"]) == ("ferns", "ready", None) and "ferns is ready" in L.last(c)["content"]
    assert p["source"] == '"Ferns: what grows here."\nfrom sololith import *\n\n\n@dataclass\nclass Fern:\n    "One of your ferns."\n    name: str\n    light: Literal["low", "high"] = "low"\n\n\nferns = crud(Fern)\n'
    asked_ = L.model.chats[-1]["body"]
    assert asked_["messages"][-1]["content"] == "make me an app for my ferns: name, light (low or high)" and asked_["format"]["required"] == ["name", "record", "about", "fields"]
    assert not L.file("ferns").exists() and not L.is_live("ferns"), "nothing is there before the click"
    card = L.listed(c).one("div", id=f"proposal-{p['id']}")
    assert "waits for you" in card.text and "2 records added, changed, deleted, brought back" in card.text and "reaches nothing but its own records" in card.text and '+    light: Literal["low", "high"]' in card.text
    answer = L.install()
    assert answer.status == 200 and "Installed ferns" in answer.text and "plugins" in answer.headers["Sololith-Changed"]
    assert L.is_live("ferns") and L.file("ferns").read_text() == p["source"] and "installed" in L.part(p["id"]).text
    (entry,) = L.entries("ferns")
    assert (entry["summary"], entry["actor"], entry["verb"]) == ("installed ferns", "person", "install") and entry["cause"] == p["why"]
    assert f"#said-{p['why'].removeprefix('message ')}" in L.server.get(f"/why/{entry['id']}").location
    c = L.do("add a fern to my ferns: sword fern", json.dumps({"tool": "ferns_add", "args": {"name": "Sword fern", "light": "high"}}), c=c)
    assert L.rows("SELECT name, light FROM ferns") == [{"name": "Sword fern", "light": "high"}], "its tools are there at once, and a record is not a plan"
    assert len(L.proposals()) == p["id"]
    L.settle()
    assert L.undo(entry["id"]).status == 200 and not L.file("ferns").exists()
    wait_for(lambda: not L.is_live("ferns"), 5)
    assert L.post("/undo", {"redo": "1"}).status == 200 and L.file("ferns").read_text() == p["source"]
    wait_for(lambda: L.is_live("ferns"), 5)
    assert "Sword fern" in L.get("/ferns").text, "its records are as they were"


def test_what_is_said_next_changes_the_plan_and_later_the_app(L):
    c = L.do("make me an app for my herbs", plan("herbs", "Herb", f("name"), choice("light", "low", "high")))
    first = L.newest()
    c = L.do("also the pot size, and the light may be half shade", {"add": [f("pot_size", "int")], "remove": [], "change": [choice("light", "low", "half shade", "high")]}, c=c)
    second = L.newest()
    assert second["plugin"] == "herbs" and "pot_size: int = 0" in second["source"] and '"half shade"' in second["source"] and second["base"] is None
    assert L.proposal(first["id"])["status"] == "replaced"
    assert L.install(first["id"], L.hash(second["id"])).status == 409 and L.install(first["id"], "").status == 409 and not L.file("herbs").exists(), "what was replaced cannot be installed"
    assert L.install().status == 200 and L.is_live("herbs")
    L.post("/herbs", {"name": "Basil", "pot_size": "12"})
    by_hand = L.file("herbs").read_text().replace("    name: str", "    # the common name\n    name: str") + "\n\ndef helper(): return 1\n"
    L.file("herbs").write_text(by_hand)
    wait_for(lambda: "by hand" in L.page("herbs"), 5)
    c = L.do("add a field for when I sowed it to my herbs", {"add": [f("sown", "date")], "remove": [], "change": []}, c=c)
    third = L.newest()
    assert third["base"] == by_hand and third["source"] == by_hand.replace("    pot_size: int = 0\n", "    pot_size: int = 0\n    sown: date | None = None\n"), "what was written by hand stays"
    assert "+    sown: date | None = None" in L.part().text and "-    " not in L.part().one("pre").text
    assert L.install().status == 200 and "Basil" in L.get("/herbs").text and "Sown" in L.get("/herbs/new").text
    assert [e["summary"] for e in L.entries("herbs")] == ["installed herbs", "changed herbs"]


def test_what_was_written_by_hand_since_a_plan_was_made_stays_in_the_next_one(L):
    L.installed("herbs", {"name": "name", "required": "yes"})
    L.do("add a column size to herbs", {"add": [f("size", "int")], "remove": [], "change": []})
    L.file("herbs").write_text(L.file("herbs").read_text() + "\n\ndef mine(): return 1\n")
    L.do("add a column height to herbs", {"add": [f("height", "int")], "remove": [], "change": []})
    assert "height: int" in L.newest()["source"] and "def mine()" in L.newest()["source"]


def test_c4_only_what_was_shown_is_installed_once_and_only_by_the_persons_own_click(L):
    key = L.made("goods")
    given = L.hash(key)
    other = L.made("wares")
    for wrong in ("", "x", given[:-1], given.upper(), given + "0", L.hash(other)): assert L.install(key, wrong).status == 409, wrong
    secret = {"Authorization": f"Bearer {L.server.secret}"}
    assert L.install(key, given, **secret).status == 403 and L.install(key, given, Cookie=None, **secret).status == 403, "other programs have the secret"
    assert L.server.post(f"/build/{key}", {"act": "install", "hash": given}, Origin="http://evil.example", Sec_Fetch_Site="cross-site").status == 403
    assert L.server.post(f"/build/{key}", {"act": "install", "hash": given}, Cookie=None).status in (401, 403)
    for path in (f"/build/{key}?act=install&hash={given}", f"/build/{key}/part?act=install&hash={given}"): L.get(path)
    assert L.server.post(f"/build/{key}?act=install&hash={given}", {}).status in (400, 404), "from the form only"
    assert not L.file("goods").exists() and not L.entries("goods")
    with ThreadPoolExecutor(4) as pool: done = [a.status for a in pool.map(lambda _: L.install(key, given), range(4))]
    assert sorted(done) == [200, 409, 409, 409] and len(L.entries("goods")) == 1
    assert L.install(key, given).status == 409 and L.act(key, act="decline").status == 409
    for act in ("spec", "code", "wat"): assert L.act(key, act=act, source="x = 1\n").status == 409


def test_c4_a_file_that_has_changed_since_it_was_shown_is_not_written_over(L):
    key = L.made("goods")
    L.file("goods").write_text("'By hand.'\n")
    assert L.install(key).status == 409 and L.file("goods").read_text() == "'By hand.'\n"
    L.file("goods").unlink()
    wait_for(lambda: 'href="/plugins/goods"' not in L.get("/plugins").text, 5)
    assert L.install(key).status == 200
    c = L.do("add a column pot_size to goods", {"add": [f("pot_size", "int")], "remove": [], "change": []})
    assert "is ready" in L.last(c)["content"]
    before = L.file("goods").read_text()
    L.file("goods").write_text(before + "# mine\n")
    answer = L.install()
    assert answer.status == 409 and "has changed since" in answer.text and L.file("goods").read_text() == before + "# mine\n"
    L.settle()
    L.file("goods").unlink()
    assert L.install().status == 409 and not L.file("goods").exists()


def test_undo_right_after_a_click_takes_the_app_away_too(L):
    for name in ("quick", "quicker"):
        L.installed(name)
        assert L.undo(L.entries(name)[-1]["id"]).status == 200 and not L.file(name).exists()
    try: wait_for(lambda: not any(map(L.is_live, ("quick", "quicker"))), 3)
    finally:  # seen while it is there, and then gone
        for name in ("quick", "quicker"):
            L.file(name).write_text("'Here.'\n")
            wait_for(lambda: "Here." in L.page(name), 10)  # noqa: B023


def test_c4_undo_leaves_what_was_written_by_hand_since(L):
    L.installed("goods")
    (entry,) = L.entries("goods")
    L.file("goods").write_text(L.file("goods").read_text() + "# mine\n")
    assert L.undo(entry["id"]).status == 409 and L.file("goods").read_text().endswith("# mine\n")


def test_c5_names_that_are_others_or_lead_elsewhere_become_names_of_ones_own(L):
    for said, name in (("../x", "x"), ("os", "my_os"), ("tasks", "my_tasks")):
        p = L.proposal(L.made(said))
        assert p["plugin"] == name and p["status"] == "ready", (said, p["plugin"], p["status"], p["report"])
    L.installed("goods")
    assert L.proposal(L.made("goods"))["plugin"] == "my_goods", "nor is one's own written over"
    for said, refused in (("os.py", "is not a name for a plugin"), ("tasks.py", "Sololith"), ("plugins.py", "Sololith")):
        answer = L.imported(said, PLANTS)
        p = L.newest()
        assert answer.status == 200 and p["status"] == "refused" and refused in p["report"] and L.hash() == "", said
        assert L.install(p["id"], builder.hash_of_proposal(p)).status == 409, "not even by a hash that was worked out"
    c = L.do("make me an app for my tasks at work", plan("tasks", "Task", f("title")))
    assert L.newest()["plugin"] == "my_tasks" and "is ready" in L.last(c)["content"]
    for name in ("..%2fx", "%2e%2e/x", "os", "tasks", "nothing", "goods.py"):
        for method, path in (("GET", ""), ("GET", "/export.py"), ("POST", "")):
            found = L.server.request(method, f"/plugins/{name}{path}", b"act=remove" if method == "POST" else None, Content_Type="application/x-www-form-urlencoded")
            assert found.status in (303, 404, 405), (name, method, path, found)
    assert sorted(p.name for p in L.server.workspace.glob("*.py")) == [] and [p.stem for p in (L.server.workspace / "apps").glob("*.py")] == ["goods"]


@pytest.mark.parametrize("said, name", [("/etc/passwd", "etc_passwd"), ("sololith", "my_sololith"), ("json", "my_json"), ("import", "import_"), ("plugins", "my_plugins"), ("build", "my_build"), ("hello", "my_hello"), ("", "value"), ("..", "value"), ("a\0b", "a_b")])
def test_c5_whatever_is_said_a_name_is_free_and_a_name(bench, said, name):
    assert builder.free_name(cleaned(app_spec(name=said))["name"]) == name
    plugins_.check_name(name)


def test_an_app_is_made_by_the_form_and_its_plan_changed_in_the_card(L):
    key = L.made("boxes", {"name": "Title", "required": "yes"}, {"name": "size", "type": "int", "default": "3", "help": "In litres."}, {"name": "place", "type": "choice", "choices": "attic, cellar"}, {"name": ""}, {"name": "date", "type": "date"})
    p = L.proposal(key)
    assert p["source"].partition("class Box:\n")[2] == '    "One of your boxes."\n    title: str\n    size: Annotated[int, Help("In litres.")] = 3\n    place: Literal["attic", "cellar"] = "attic"\n    day: date | None = None\n\n\nboxes = crud(Box)\n'
    unchanged = L.shown_form(key)
    assert L.post(f"/build/{key}", unchanged).status == 200 and L.proposal(key)["source"] == p["source"], "the form sent as it is shown changes nothing"
    was = L.hash(key)
    said = [(n, "garage" if (n, v) == ("name", "place") else v) for n, v in unchanged]
    assert "it works" in L.post(f"/build/{key}", said).text
    now = L.proposal(key)["source"]
    assert "garage: Literal" in now and "place" not in now and L.hash(key) != was
    assert L.install(key, was).status == 409, "what was shown before is not what is there"
    assert L.install(key).status == 200 and L.is_live("boxes")
    answer = L.form("app", "boxes", {"name": "a", "type": "wat"})
    assert answer.status == 400 and "wat is not a type of field" in answer.text
    answer = L.form("pipeline", "flow")
    assert answer.status == 400 and "no steps" in answer.text


def test_a_choice_with_a_comma_stays_one_when_the_plan_is_sent_as_it_is(L):
    L.do("make me an app for my roses", plan("roses", "Rose", f("name"), choice("colour", "red", "white, cream")))
    p = L.newest()
    assert L.post(f"/build/{p['id']}", L.shown_form(p["id"])).status == 200 and L.newest()["source"] == p["source"]


def test_a_pipeline_is_made_by_the_form_and_runs(L):
    key = L.made("greeting", {"name": "who", "type": "ask", "help": "Whom?", "choices": "title, tone:warm|cool, size:int"}, {"name": "words", "type": "code", "help": "Say it."}, kind="pipeline")
    p = L.proposal(key)
    assert p["status"] == "ready" and '@greeting.step\ndef who(title: str = "", tone: Literal["warm", "cool"] = "warm", size: int = 0):' in p["source"], p
    assert L.post(f"/build/{key}", L.shown_form(key)).status == 200 and L.newest()["source"] == p["source"]
    assert L.install(key).status == 200 and L.is_live("greeting")


def test_the_code_is_edited_in_the_card_and_checked_again(L):
    key = L.made("goods")
    good = L.proposal(key)["source"]
    answer = L.act(key, act="code", source=good.replace("crud(", "curd(").replace("\n", "\r\n"))
    p = L.proposal(key)
    assert "curd is not defined. Did you mean crud?" in answer.text and p["status"] == "refused" and "\r" not in p["source"] and L.hash(key) == ""
    assert L.install(key, builder.hash_of_proposal(p)).status == 409
    L.act(key, act="code", source="def broken(:\n")
    assert "does not work yet" in L.part(key).text and L.part(key).all("textarea")[0].text == "def broken(:\n", "and can be mended there"
    L.act(key, act="code", source=good + "\n\n@tool(reads=True)\ndef wares() -> int:\n    'How many.'\n    return len(goods()) + len(os.listdir('.'))\n")
    assert "it uses the operating system" in " ".join(L.part(key).text.split()).lower().replace("it  ", "it "), "what it reaches is said"
    assert L.install(key).status == 200 and "def wares" in L.file("goods").read_text()


def test_a_file_from_elsewhere_is_looked_at_and_shown_before_it_is_installed(L):
    assert L.imported("my plants.py", PLANTS).status == 200
    p = L.newest()
    assert (p["plugin"], p["status"]) == ("my_plants", "ready") and "imported my plants.py" in p["wish"] and L.install().status == 200 and L.is_live("plants")
    proof = L.server.workspace.parent / "ran"
    L.imported("bad.py", f'"Bad."\nfrom sololith import *\nopen({str(proof)!r}, "w").write("ran")\nname = "a\u202eb"  # <b>\n')
    shown = L.part()
    assert "does not work yet" in shown.text and "⟨U+202E⟩" in shown.one("pre").text and "\u202e" not in shown.one("pre").text and not shown.all("b") and "It opens files." in shown.text and not proof.exists()
    L.imported("bad.py", f'"Bad."\nfrom sololith import *\nopen({str(proof)!r}, "w").write("ran")\n')
    assert "does not work yet" in L.part().text and not proof.exists() and not L.file("bad").exists()
    for answer, said in ((L.post("/build", {"act": "import"}), "No file was chosen."), (L.imported("x.py", b"\xff\xfe\x00"), "This is no text."), (L.imported("", b"x"), "No file was chosen.")): assert answer.status == 400 and said in answer.text, answer


@pytest.mark.parametrize("data", [PLANTS.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + PLANTS.encode()], ids=["CRLF", "BOM"])
def test_a_file_that_was_saved_on_windows_can_be_brought(L, data):
    L.is_forgiven = True
    L.imported("plants.py", data)
    assert L.newest()["status"] == "ready"


def test_a_plan_that_is_discarded_is_gone(L):
    key = L.made("goods")
    given = L.hash(key)
    assert L.act(key, act="decline").status == 204 and "declined" in L.part(key).text and L.hash(key) == ""
    assert L.install(key, given).status == 409 and L.act(key, act="code", source="x = 1").status == 409 and not L.file("goods").exists()
    assert L.get("/build/99999").status == 404 and L.install(99999, given).status == 404


def test_every_version_is_shown_and_can_be_rolled_back_to_removed_undone_and_exported(L):
    L.installed("jars", {"name": "title", "required": "yes"})
    one = L.file("jars").read_text()
    L.post("/jars", {"title": "Kept"})
    L.do("add a column size to jars", {"add": [f("size", "int")], "remove": [], "change": []})
    assert L.install().status == 200
    two = L.file("jars").read_text()
    L.file("jars").write_text(three := two + "# by hand\n")
    wait_for(lambda: "by hand" in L.page("jars"), 5)
    page = L.page("jars")
    assert page.count("The difference") == 3 and page.count("Roll back to this") == 2 and page.count("is live") == 1 and page.count("by person") == 2 and page.count("why?") == 1
    assert "+    size: int = 0" in page and "+# by hand" in page
    export = L.server.get("/plugins/jars/export.py")
    assert export.text == three and 'filename="jars.py"' in export.headers["Content-Disposition"]
    versions = [r["id"] for r in L.rows("SELECT id FROM plugins WHERE name='jars' ORDER BY id")]
    for wrong in ("0", "x", "", str(versions[-1] + 9)): assert L.post("/plugins/jars", {"act": "back", "version": wrong}).status in (400, 404), wrong
    assert L.post("/plugins/jars", {"act": "back", "version": versions[0]}, Authorization=f"Bearer {L.server.secret}").status == 403 and L.file("jars").read_text() == three
    answer = L.post("/plugins/jars", {"act": "back", "version": versions[0]})
    assert answer.status == 200 and "Rolled back jars" in answer.text and L.file("jars").read_text() == one and "Size" not in L.get("/jars/new").text
    back = L.entries("jars")[-1]
    assert L.undo(back["id"]).status == 200 and L.file("jars").read_text() == three
    assert L.post("/plugins/jars", {"act": "remove"}, Authorization=f"Bearer {L.server.secret}").status == 403
    answer = L.post("/plugins/jars", {"act": "remove"})
    assert answer.headers["HX-Redirect"] == "/plugins" and not L.file("jars").exists() and not L.is_live("jars") and "removed" in L.page("jars") and L.server.get("/plugins/jars/export.py").status == 404
    assert L.post("/plugins/jars", {"act": "remove"}).status == 404
    assert L.undo(L.entries("jars")[-1]["id"]).status == 200 and L.file("jars").read_text() == three
    wait_for(lambda: L.is_live("jars"), 5)
    assert "Kept" in L.get("/jars").text
    assert L.post("/plugins/jars", {"act": "wat"}).status == 404 and L.post("/plugins/jars", {"act": "fix"}).status == 400


MOSS = PLANTS.replace("plants", "moss").replace("Plants", "Moss").replace("class Plant", "class Moss").replace("crud(Plant)", 'crud(Moss, "moss")')
BROKEN = MOSS.replace("crud(Moss", "crud(Quartz")


def broken(L, source: str) -> None:
    L.file("moss").write_text(source)
    wait_for(lambda: "moss.py has a problem" in L.get("/plugins").text, 5)


def test_a_broken_plugin_is_mended_with_few_edits_and_a_click(L):
    broken(L, BROKEN)
    for wrong, right in (("Quartz", "Quarz"), ("Quartz", "Moss")): L.model.says(json.dumps({"edits": [{"search": f'moss = crud({wrong}, "moss")', "replace": f'moss = crud({right}, "moss")'}]}))
    answer = L.post("/plugins/moss", {"act": "fix"})
    assert answer.status == 200 and "The model looks at moss.py" in answer.text
    wait_for(lambda: L.newest()["plugin"] == "moss" and L.newest()["status"] != "working", 20)
    p = L.newest()
    said = [r["body"]["messages"][-1]["content"] for r in L.model.chats]
    assert (p["status"], p["source"], p["wish"]) == ("ready", MOSS, "Fix the plugin moss.") and L.file("moss").read_text() == BROKEN, p
    assert "Quartz is not defined" in said[0] and "This did not help" in said[1] and "Quarz" in said[1]
    assert 'moss = crud(Quartz, \\"moss\\")' in json.dumps(L.model.chats[0]["body"]["format"]), "only lines that are there can be named"
    assert L.install().status == 200 and L.is_live("moss") and "has a problem" not in L.get("/plugins").text
    (entry,) = L.entries("moss")
    assert entry["cause"].startswith("message ")


def test_a_name_that_is_spelt_wrong_is_mended_without_the_model(L):
    broken(L, MOSS.replace("crud(", "curd(").replace("name: str", "name: strr"))
    L.do("Fix the plugin moss.")
    assert (L.newest()["status"], L.newest()["source"]) == ("ready", MOSS)


SONGS = '"Songs."\nfrom sololith import *\n\n\n@dataclass\nclass Song:\n    "A song."\n    title: str\n    key: str = "C"\n\n\nsongs = crud(Song)\n'
OWED = '"Owed."\nfrom sololith import *\n\nowed = pipeline("Owed")\n\n\n@owed.step\ndef worked(hours: float = 2.0):\n    "How long?"\n    return hours\n\n\n@owed.step(asks=True)\ndef total(worked):\n    "Reckon."\n    return worked * 60\n'


@pytest.mark.parametrize(("right", "wrong", "put"), [(SONGS, "class Song:", "class Song"), (SONGS, "class Song:", "class Song  # mine"), (SONGS, "    key:", "      key:"), (SONGS, "crud(", "crd("),
    (OWED, "total(worked)", "total(work)"), (OWED, "asks=True", "ask=True"), (OWED, "* 60", "* math.floor(60.5)")])
def test_what_an_error_names_exactly_is_mended_by_rule(right, wrong, put):
    broken = right.replace(wrong, put)
    said = check.examine(builder.spec_of(right)["name"], broken)
    assert said.problems or "math" in put
    problem = " ".join(said.problems) or "math is not defined."
    mended = builder.mended_by_rule(broken, problem)
    assert not check.examine(builder.spec_of(right)["name"], mended).problems, mended
    assert len(set(mended.splitlines()) - set(right.splitlines())) <= 2


def test_a_rule_leaves_alone_what_no_error_names():
    for problem in ("line 900: expected ':'", "line 0: unexpected indent", "It ended the process.", "line 3: invalid syntax", ""): assert builder.mended_by_rule(SONGS, problem) == SONGS


def test_a_column_of_numbers_comes_as_numbers_and_nothing_else_does(bench):
    (base.home.files / "kinds.csv").write_text("n,price,zip,phone,city,gap,mixed\n1,2.50,01067,+49 30,Leeds,3,4\n-2,3,80331,+49 40,York,,x\n")
    rows = builder.read_file("kinds.csv")
    assert rows == [dict(n=1, price=2.5, zip="01067", phone="+49 30", city="Leeds", gap=3, mixed="4"), dict(n=-2, price=3.0, zip="80331", phone="+49 40", city="York", gap=None, mixed="x")]
    (base.home.files / "kinds.json").write_text('[{"a": "1", "b": true, "c": [1]}, {"a": "2"}]')
    assert builder.read_file("kinds.json") == [{"a": 1, "b": True, "c": [1]}, {"a": 2}]


def test_a_table_that_a_wish_speaks_of_is_what_its_pipeline_is_tried_on(bench):
    (base.home.files / "orders-2026.csv").write_text("order,total\n7,12.5\n8,30\n")
    assert builder.table_spoken_of("read a CSV of orders and add up the total") == [dict(order=7, total=12.5), dict(order=8, total=30.0)]
    assert builder.table_spoken_of("read a CSV of visitors") == []
    source = source_of(flow_spec(s("rows", "file"), s("total"), name="adding")).replace("    return rows\n", '    return sum(r["total"] for r in rows)\n')
    report = builder.checked("", source, "read a CSV of orders")
    assert not report.problems and report.made["values"] == {"rows": "list", "total": "float"}
    assert "'amount'" in builder.checked("", source.replace('"total"]', '"amount"]'), "read a CSV of orders").problems[0]


def test_a_plugin_that_the_model_cannot_mend_stays_and_that_is_said(L):
    broken(L, BROKEN)
    line = 'moss = crud(Quartz, "moss")'
    c = L.do("Fix the plugin moss.", *[{"edits": [{"search": line, "replace": f"{line}  # hm"}]}] * 2, {"edits": [{"search": "no such line", "replace": "x"}]})
    assert "could not mend it" in L.last(c)["content"] and L.newest()["status"] == "failed" and L.file("moss").read_text() == BROKEN
    assert L.newest()["note"].startswith("The model could not mend it: line 12: ") and "Quartz" in L.newest()["note"], L.newest()


def test_a_step_that_no_spec_can_say_is_written_as_code_and_tried_until_it_works(L):
    steps = {"name": "totals", "about": "Sums", "steps": [s("rows", "file", "Which file?"), s("total", "code", "Add up the amounts.")]}
    bad = "```python\ndef total(rows):\n    return sum(row['amount'].strip() for row in rows)\n```"
    good = "Here it is:\n```python\ndef total(rows):\n    \"Add up the amounts.\"\n    return sum(float(row['amount']) for row in rows)\n```\nGood luck."
    c = L.do("make me a pipeline that reads a CSV and adds up the amounts", steps, bad, good)
    p = L.newest()
    assert p["status"] == "ready" and "    return sum(float(row['amount']) for row in rows)" in p["source"] and "totals is ready" in L.last(c)["content"]
    assert "That fails: the pipeline totals: step total: " in L.model.chats[-1]["body"]["messages"][-1]["content"]
    assert spec_of(p["source"])["steps"][1] == {"name": "total", "kind": "code", "instruction": "Add up the amounts."}


@pytest.mark.parametrize("answer", ["I would love to.", "[]", '"app"', '{"name": "wines", "record": "Wi', "", "{" * 3000])
def test_an_answer_that_is_no_whole_plan_is_a_clear_error_and_nothing_is_made(L, answer):
    c = L.do("make me an app for my wines", answer)
    p = L.newest()
    assert p["status"] == "failed" and p["note"] == "The model gave no whole plan. Say it again, in other words, or fill in the form." and p["note"] in L.last(c)["content"]
    assert L.install(p["id"], builder.hash_of_proposal(p)).status == 409 and not list((L.server.workspace / "apps").glob("*.py"))


NO_PLAN = "an object that is not in the form of the rule is taken for a plan: hold it against the rule (fastjsonschema), and say “no whole plan”"
@pytest.mark.parametrize("answer", ["{}", '{"plan": "none"}'])
def test_an_object_that_is_no_plan_is_no_whole_plan_either(L, answer):
    c = L.do("make me an app for my wines", answer)
    assert "The model gave no whole plan." in L.last(c)["content"] and L.newest()["status"] == "failed"


def test_a_change_that_is_none_is_said_in_words_and_not_as_a_python_error(L):
    L.installed("goods")
    said = [L.last(L.do("add a column size to goods", answer))["content"] for answer in ('{"change": [{"type": "int"}]}', '{"add": 5}', '{"add": ["size"]}')]
    assert not re.search("KeyError|TypeError|AttributeError", " ".join(said)), said


def test_the_page_takes_words_and_shows_what_comes_of_it(L):
    assert L.post("/build", {"act": "say", "what": "  ", "kind": "app"}).status == 400
    L.model.says(json.dumps(plan("wines", "Wine", f("name"))), delay=.5)
    answer = L.post("/build", {"act": "say", "what": "wines: name", "kind": "app"})
    key = int(answer.headers["HX-Redirect"].removeprefix("/build/"))
    assert "at work" in L.part(key).text and "Thinking of a plan" in L.part(key).text and "wines: name" in L.get(f"/build/{key}").text
    wait_for(lambda: "waits for you" in L.part(key).text, 10)
    assert L.install(key).status == 200 and L.is_live("wines")


def test_without_a_model_the_form_works_and_the_page_says_how_to_get_one(shared_server):
    lab = Lab(shared_server, None)
    page = tree(shared_server.get("/build"))
    assert "With a model you could say it in words." in page.text and page.one("main").all("a", href="/models") and not page.all("textarea", name="what")
    for path in ("/build", "/build?kind=pipeline"): assert len(tree(shared_server.get(path)).one("main").all("tr")) == 6
    answer = lab.post("/build", {"act": "say", "what": "an app for plants", "kind": "app"})
    assert 400 <= answer.status < 500 and "model" in answer.text
    key = lab.made("modelless")
    assert lab.proposals()[-1]["status"] == "ready" and lab.hash(key)
    assert lab.act(key, act="decline").status == 204


def test_a_build_that_the_server_did_not_survive_is_said_to_be_interrupted(start):
    with ModelServer(context=16384) as model:
        server = start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"})
        lab = Lab(server, model)
        model.says(json.dumps(plan("wines", "Wine", f("name"))), stalls_after=0)
        lab.post("/build", {"act": "say", "what": "wines: name", "kind": "app"})
        wait_for(lambda: lab.newest()["status"] == "working" and model.running, 5)
        server.restart(kill=True)
        assert lab.newest()["status"] == "failed" and "It was interrupted." in lab.part(1).text and lab.hash(1) == ""


# ─── the shell, and the system itself ───

def test_sololith_new_alone_says_what_to_say_where_nobody_can_be_asked(tmp_path):
    done = cli("new", "--workspace", str(tmp_path / "workspace"))
    assert done.returncode == 1 and done.stderr.strip() == "sololith: It is not said what to make. Say: sololith new crud NAME FIELD …" and not done.stdout, done


@functools.cache
def whole_context() -> str: return sololith.context()


@pytest.mark.parametrize("budget", [0, 10_500, 32_000, 120_000])
def test_the_context_is_within_the_budget_and_says_how_large_it_is(bench, budget):
    text = sololith.context(budget) if budget else whole_context()
    first, rest = text.split("\n", 1)
    count = int(re.match(r"# Sololith, ([\d,]+) tokens\.", first)[1].replace(",", ""))
    assert abs(count - source.tokens_of(rest)) <= 1 and builder.API in rest
    names = re.findall(r"(?m)^# ═══ sololith/(\S+)$", rest)
    assert names == list(source.chapters()), "each chapter is there, in order, if only by its docstring"
    left_out = re.search(r"Of (.*) only the docstring is here", first)
    assert bool(left_out) == bool(budget)
    if budget:
        dropped = left_out[1].split(", ")
        assert source.tokens_of(text) <= budget and dropped[0].startswith("apps/") and set(dropped) < set(names)
        for name in dropped[1:3] + dropped[-1:]: assert source.chapters()[name] not in text
        assert all(source.chapters()[name] in text for name in names if name not in dropped)
    else: assert all(part in text for part in source.chapters().values())


def test_a_context_has_the_plugins_and_the_shell_prints_it(bench, tmp_path):
    apps = tmp_path / "workspace" / "apps"
    apps.mkdir(parents=True)
    (apps / "plants.py").write_text(PLANTS)
    at = ("--workspace", str(tmp_path / "workspace"))
    done = cli("context", "--budget", "32000", *at)
    assert done.returncode == 0 and PLANTS in done.stdout and source.tokens_of(done.stdout) <= 32000
    for budget in (1, 500, -7):
        with pytest.raises(Problem, match=r"^That needs [\d,]+ tokens at least\. Give a larger budget\.$"): sololith.context(budget)


def test_the_first_line_is_within_the_budget_too(bench):
    with pytest.raises(Problem) as e: sololith.context(100)
    least = int(re.search(r"[\d,]+", str(e.value))[0].replace(",", ""))
    with contextlib.suppress(Problem): assert source.tokens_of(sololith.context(least)) <= least


@pytest.mark.parametrize("question, place", [("how does undo work in sololith?", "store.py"), ("how is a record deleted in the source?", "crud.py"), ("how does sololith load a plugin?", "plugins.py"), ("where is a plugin checked in a child process?", "check.py"),
    ("how is a spec made into a file?", "builder.py"), ("how are schedules run in sololith?", "runs.py"), ("how does the guard check the cookie?", "guard.py"), ("where are files saved when they are uploaded?", "files.py"),
    ("how is Markdown made into HTML?", "ui.py"), ("how does memory recall what was remembered?", "memory.py"), ("how does the source make a backup?", "store.py"), ("which function finds the context for a budget?", "source.py"),
    pytest.param("what does the module store do?", "store.py"),
    pytest.param("how does a run resume after a crash?", "runs.py", marks=hole("no docstring there has these words: resume, crash"))])
def test_a_question_about_the_system_leads_to_the_place(question, place):
    found = sololith.find_source(question)
    assert any(place in p.chapter for p in found), [(p.chapter, p.line, p.signature) for p in found]
    for p in found: assert p.signature.rstrip(":") in source.chapters()[p.chapter].split("\n")[p.line - 1] or p.line == 1


def test_a_question_without_words_finds_nothing():
    for question in ("", "?", "how does sololith work?", '"', "a b", "*", "zzzqqq"): assert sololith.find_source(question) == []


def test_the_chat_answers_from_the_source_with_chapter_and_line(L):
    c = L.do("how does undo work in sololith?", "Each entry of the journal says what was there before.")
    text = L.last(c)["content"]
    places = re.search(r"^Each entry of the journal says what was there before\.\n\nIt stands in ((?:`[\w/]+\.py:\d+`(?:, )?)+)\.$", text)
    assert places, text
    for chapter_, line in re.findall(r"`([\w/]+\.py):(\d+)`", places[1]): assert int(line) <= source.chapters()[chapter_].count("\n") + 1
    told = json.dumps(L.sent())
    assert "def undo(self, entry_id" in told or "undo" in told.lower() and ".py:" in told
    c = L.do("how does frobnication work in sololith?", c=c)
    assert "Nothing in the source has these words" in L.last(c)["content"]
