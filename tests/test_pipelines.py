"""Pipelines through HTTP, on a real server with plugins in its workspace: what a step is given, what stops a plugin from
being loaded, what a run's page lets a person do, and what a bad step cannot do to all the others.

One server serves all that leaves the others' runs alone; each test looks at runs of its own making.
"""
import csv
import io
import json
import re
import threading
import time
from datetime import datetime
from html import unescape

import pytest
from helpers import Server, p95, patience, wait_for
from piping import HTMX, Driven, begin, rows, sent, write

soak = pytest.mark.soak
WORK = '''
"Pipelines to be tested."
import time as clock
from sololith import *
NOTES = home.path.parent / "notes.txt"       # what was done, a line each

def note(*words):
    with open(NOTES, "a") as file: file.write(" ".join(map(str, words)) + "\\n")

class Size(Enum):
    SMALL = "small"
    LARGE = "large"

# ── the rule

rule = pipeline("Rule")

@rule.step
def word(word: str, times: Annotated[int, Range(1, 5), Help("How often?")] = 2): return word * times

@rule.step
def told(word, progress: Progress, run: Run, place: Workspace, tone: Literal["warm", "cool"] = "warm"):
    "Tell it."
    progress(1, 2, "half")
    return f"{word} {tone} {run.pipeline} {run.title} {place.path.name}"

@rule.step
async def shout(told): return told.upper()

# ── every type that can be asked for

types = pipeline("Types")

@types.step
def asked(size: Size, day: date, at: datetime | None = None, much: Decimal = Decimal("1.50"), data: Json = None,
        words: Tags = (), is_it: bool = False, web: Url | None = None, long: Text = "", ratio: float = 0.5):
    return [repr(size), repr(day), repr(at), repr(much), repr(data), repr(words), is_it, web, long, ratio]

# ── skipped, approved, retried, timed out

maybe = pipeline("Maybe")

@maybe.step
def count(n: int = 0): return n

@maybe.step(when=lambda count: count > 1)
def many(count):
    note("many", count)
    return f"{count} are many"

@maybe.step
def told_of(many, count): return f"{many} of {count}"

careful = pipeline("Careful")

@careful.step
def plan(what: str = "tea"): return f"make {what}"

@careful.step(asks=True)
def deed(plan):
    "This cannot be taken back."
    note("deed", plan)
    return f"did {plan}"

@careful.step
def after(deed): return deed + "!"

again = pipeline("Again")
TRIES = []

@again.step(retry=2)
def flaky(bad: int = 2):
    TRIES.append(1)
    print("try", len(TRIES))
    if len(TRIES) <= bad: raise ValueError(f"no luck {len(TRIES)}")
    return len(TRIES)

slow = pipeline("Slow")

@slow.step(timeout=0.3)
def too_slow(seconds: float = 60):
    while seconds > 0:
        clock.sleep(0.02)
        seconds -= 0.02
    return "in time"

@slow.step
def next_one(too_slow): return too_slow

# ── pipelines as steps

inner = pipeline("Inner", "What is inside.")

@inner.step
def base(start: str): return f"base of {start}"

@inner.step
def choice(base, pick: Literal["a", "b", "fail"]):
    if pick == "fail" and not (home.path / "mended").exists(): raise ValueError("it fails inside")
    note("choice", base, pick)
    return f"{base} {pick}"

outer = pipeline("Outer")

@outer.step
def start(start: str = "rock"):
    note("start", start)
    return start

outer.step(inner)

@outer.step
def result(start, inner): return f"{inner} on {start}"

# ── choices and defaults from what came before

menu = pipeline("Menu")

@menu.step
def dishes(given: Tags = ("soup", "pie")): return list(given)

@menu.step
def dish(dishes, chosen: Annotated[str, Choices(lambda dishes: {d: d.title() for d in dishes})] = lambda dishes: dishes[-1],
        sides: Annotated[list[str], Choices(lambda dishes: dishes)] = ()):
    return f"{chosen} with {sides}"

# ── revise

sums = pipeline("Sums")

@sums.step
def first(a: int = 1):
    note("first", a)
    return a

@sums.step
def second(first, b: int = 10):
    note("second", first, b)
    return first + b

@sums.step
def third(second):
    note("third", second)
    return second * 2

@sums.step
def fourth(third, c: int = 0):
    note("fourth", third, c)
    return third + c

# ── what never ends, or not as it should

spin = pipeline("Spin")

@spin.step
def kind(how: Literal["loop", "sleep", "async", "sorting", "each", "heedless"] = "loop"): return how

@spin.step
def long_one(kind, progress: Progress):
    if kind == "loop":
        while True: pass
    if kind == "sleep": clock.sleep(30)
    if kind == "sorting":
        for _ in progress(range(10**9)): sorted(range(1000))
    if kind == "heedless":
        while True:
            try: clock.sleep(30)
            except BaseException: pass
    if kind == "each": return list(each(range(1000), lambda n: clock.sleep(0.05), parallel=2))
    if kind == "async":
        async def wait(): await asyncio.sleep(60)
        return wait()

bad = pipeline("Bad")

@bad.step
def how(how: str): return how

@bad.step
def misdeed(how):
    if how == "raise": raise ValueError("<b>bold</b> & wrong")
    if how == "problem": raise Problem("It is <i>odd</i>.", fix="Make it even.")
    if how == "exit": raise SystemExit(3)
    if how == "interrupt": raise KeyboardInterrupt
    if how == "cancelled": raise Cancelled
    if how == "generator": return (n for n in range(3))
    if how == "lambda": return lambda: 1
    if how == "print":
        for n in range(100): print(f"{n:04}" + "x" * 1_000_000)
        return "printed"
    if how == "lines":
        for n in range(20_000): print(f"<b>line {n}</b>")
        return "printed"
    if how == "surrogate":
        print("a \\udc80 b")
        return "c \\udc81 d"
    if how == "surrogate error": raise ValueError("e \\udc82 f")
    if how == "deep":
        found = []
        for _ in range(100_000): found = [found]
        return found
    if how == "recursion":
        def f(): f()
        f()
    if how == "ugly": return Ugly()
    if how == "nan": return [float("nan"), float("inf")]
    if how == "html": return "<script>alert(1)</script>"
    if how == "table": return [{"<b>n</b>": "<i>x</i>", "formula": "=1+1"}]
    if how == "big": return "y" * 50_000_000
    if how == "exec": exec("raise RuntimeError('x' * 100_000)")

class Ugly:
    def _repr_html_(self): raise RuntimeError("no picture of me")
    def __str__(self): raise RuntimeError("no words either")

@bad.step
def then(misdeed): return "went on"

nothing = pipeline("Nothing")
plain = pipeline("Plain", "Asks nothing.")

@plain.step
def alone():
    note("alone")
    return 42

busy = pipeline("Busy")

@busy.step
def burn(seconds: float = 3):
    end, n = clock.monotonic() + seconds, 0
    while clock.monotonic() < end: n += sum(range(200))
    return n

# ── many steps

for size in (100, 500):
    chain = pipeline(f"Chain {size}")
    for n in range(size):
        exec(f"def step_{n}({'step_' + str(n - 1) if n else ''}): return {n}")
        chain.step(locals()[f"step_{n}"])

# ── each

def square(n):
    note("square", n)
    clock.sleep((n % 3) / 200)
    return n * n

eaches = pipeline("Eaches")

@eaches.step
def numbers(how: str = "thread"): return how

@eaches.step
def squares(numbers):
    if numbers == "process":
        import concurrent.futures, multiprocessing, math
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            return list(each(range(20), math.sqrt, executor=pool))
    if numbers == "async fn":
        async def later(n):
            await asyncio.sleep(0.01)
            return n * n
        return list(each(range(20), later, parallel=5))
    if numbers == "async for":
        async def collect(): return [v async for v in each(range(20), square, parallel=5)]
        return collect()
    if numbers == "paced":
        began = clock.monotonic()
        list(each(range(6), square, per_second=10))
        return clock.monotonic() - began
    if numbers == "retried":
        seen = {}
        def moody(n):
            seen[n] = seen.get(n, 0) + 1
            if n == 3 and seen[n] < 3: raise ValueError("not yet")
            return n
        return list(each(range(5), moody, retry=2)), seen
    if numbers == "twice": return list(each(range(3), square)), list(each(range(3), square))
    if numbers == "none": return list(each([], square)), list(each([1, 2], lambda n: None))
    if numbers == "width":
        at, most = [0], [0]
        def count(n):
            at[0] += 1
            most[0] = max(most[0], at[0])
            clock.sleep(0.02)
            at[0] -= 1
        list(each(range(20), count, parallel=3))
        return most[0]
    if numbers == "stops":
        for v in each(range(1000), square, parallel=2): return v
    return list(each(range(20), square, parallel=6))

flawed = pipeline("Flawed")

def inspected(n):
    note("inspected", n)
    if n % 4 == 0 and not (home.path / "healed").exists(): raise ValueError(f"<b>{n}</b> is flawed")
    return n

@flawed.step
def inspection():
    work = each(range(10), inspected)
    found = list(work)
    print(len(work.errors), "errors")
    return found

@flawed.step
def total(inspection): return sum(inspection)
'''


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("pipes") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "work.py").write_text(WORK)
    with Server(workspace).start() as server:
        assert server.get("/rule").status == 200, server.get("/plugins").text
        yield server
        assert "Traceback" not in server.log, server.log[-3000:]


@pytest.fixture(scope="module")
def gates(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("gates") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    with Server(workspace).start() as server: yield server


@pytest.fixture
def notes(running):
    "The lines that steps noted since the test began."
    path = running.workspace.parent / "notes.txt"
    before = len(path.read_text().splitlines()) if path.exists() else 0
    return lambda: path.read_text().splitlines()[before:] if path.exists() else []


# ─── where a parameter comes from

def test_a_parameter_is_piped_handed_or_asked_for(running):
    page = running.get("/rule").text
    assert 'name="word"' in page and 'name="times"' in page and "How often?" in page, "what is asked is a field"
    assert 'name="progress"' not in page and 'name="run"' not in page
    run = begin(running, "rule", word="ha", times="3").until("waiting")
    form = run.card("told")
    assert 'name="tone"' in form and 'name="word"' not in form and "Tell it." in form, "what came before is not asked for"
    run.answer("told", tone="cool").until("done")
    assert run.values() == {"word": "hahaha", "told": "hahaha cool rule ha workspace", "shout": "HAHAHA COOL RULE HA WORKSPACE"}


def test_an_answer_keeps_its_type_whatever_it_is(running):
    run = begin(running, "types", size="large", day="2026-12-24", at="2026-12-24T18:00", much="2.10", data='"text"', words="a, b",
                is_it="on", web="https://example.org", long="two\nlines", ratio="0.25").until("done")
    assert run["asked"]["value"] == ["<Size.LARGE: 'large'>", "datetime.date(2026, 12, 24)", "datetime.datetime(2026, 12, 24, 18, 0)",
        "Decimal('2.10')", "'text'", "['a', 'b']", True, "https://example.org", "two\nlines", 0.25]
    form = running.get(f"{run.url}/steps/asked", **HTMX).text
    assert 'value="2026-12-24"' in form and 'value="large" selected' in form and 'value="2.10"' in form, "and revising shows it"
    run.do("rerun", step="asked").until("done")
    assert run["asked"]["value"][0] == "<Size.LARGE: 'large'>" and run["asked"]["value"][4] == "'text'"


def test_a_json_answer_may_hold_anything(running):
    data = {"$": 1, "a": [1, None, {"$": ["date", "x"]}], "s": ""}
    run = begin(running, "types", size="small", day="2026-01-01", data=json.dumps(data)).until("done")
    assert run["asked"]["value"][4] == repr(data)


def test_what_the_address_says_fills_the_form_and_later_steps(running):
    page = running.get("/rule?word=hey&tone=cool").text
    assert 'value="hey"' in page
    given = unescape(re.search(r"""name="_given" value=["'](.*?)["']>""", page)[1])
    assert json.loads(given) == {"tone": "cool"}
    run = begin(running, "rule", word="hey", times="1", _given=given).until("done")
    assert run["told"]["value"].startswith("hey cool")
    again = sent(running, "rule", word="", _given=given)
    assert again.status == 422 and "cool" in again.text, "and is not lost when the form comes back"


@pytest.mark.parametrize("given", ["{", "[1]", "7", '"x"', "null", '{"tone": {"$": ["date", "no"]}}', '{"tone": {"$": 1}}'])
def test_what_is_handed_on_may_be_nonsense(running, given):
    answer = sent(running, "rule", word="x", _given=given)
    assert answer.status < 500, answer
    if answer.status == 200: assert running.get(answer.headers["HX-Redirect"]).status == 200


# ─── what is refused when it is loaded

FAULTS = {
    "an unknown name": ("@p.step\ndef b(aa): return 1", 8, "b wants aa, which is no earlier step.", "Did you mean a?"),
    "a name without a close match": ("@p.step\ndef b(zebra): return 1", 8, "b wants zebra", "There are: a. To ask for it, say its type: zebra: str."),
    "a later name": ("@p.step\ndef b(c): return 1\n@p.step\ndef c(a): return 1", 8, "b wants c", ""),
    "its own name": ("@p.step\ndef b(b): return 1", 8, "b wants b", ""),
    "a duplicate": ("@p.step\ndef a(): return 1", 8, "P has two steps called a.", "Rename one."),
    "what cannot be asked for": ("@p.step\ndef b(x: bytes): return 1", 8, "x is annotated with bytes, which cannot be asked for.", "Use str"),
    "a union": ("@p.step\ndef b(x: int | str): return 1", 8, "cannot be asked for", ""),
    "*args": ("@p.step\ndef b(*args): return 1", 8, "b takes *args.", "Name each"),
    "**kwargs": ("@p.step\ndef b(**more): return 1", 8, "b takes *more.", "Name each"),
    "a parameter without a name": ("@p.step\ndef b(x: str, /): return 1", 8, "b takes", "Name each"),
    "itself": ("p.step(p)", 8, "P cannot be a step of itself.", ""),
    "a name not defined": ("@p.step\ndef b(x: \"Recipy\"): return 1", 8, "b uses Recipy before it is defined.", "Define it above."),
    "a condition on nothing": ("@p.step(when=lambda aa: aa)\ndef b(a): return 1", 8, "b looks at aa, which is no earlier step.", "Did you mean a?"),
    "choices of nothing": ("@p.step\ndef b(x: Annotated[str, Choices(lambda c: [c])]): return 1", 8, "b looks at c", ""),
    "a default of nothing": ("@p.step\ndef b(x: str = lambda c: c): return 1", 8, "b looks at c", ""),
    "a name that is a path": ("@p.step(name='../../x')\ndef b(a): return 1", 8, "../../x", ""),
    "a function without a name": ("p.step(lambda a: a)", 8, "<lambda>", ""),
    "no time at all": ("p.every('now and then')", 8, "“now and then” names no time.", "Say weekday 9:00"),
    "two pipelines of a name": ("pipeline('P')", 8, "makes two pipelines called p", ""),
}


@pytest.fixture(scope="module")
def faults(gates):
    "The page of all plugins that were refused; each of FAULTS is one."
    for n, (source, *_) in enumerate(FAULTS.values()):
        name = "p" if source == "pipeline('P')" else f"faulty_{n}"
        (gates.workspace / "apps" / f"faulty_{n}.py").write_text(
            f'"Faulty."\nfrom sololith import *\np = pipeline("P", name="{name}")\n\n@p.step\ndef a(): return 1\n\n{source}\n')
    wait_for(lambda: gates.get("/plugins").text.count(" has a problem") >= len(FAULTS), 20)
    yield unescape(gates.get("/plugins").text)
    for n in range(len(FAULTS)): (gates.workspace / "apps" / f"faulty_{n}.py").unlink()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_pipeline_that_makes_no_sense_is_not_loaded_and_its_card_says_where(faults, gates, fault):
    n, (_, line, what, fix) = list(FAULTS).index(fault), FAULTS[fault]
    said = re.search(rf"faulty_{n}.py has a problem</h2><p>(.*?)</p>", faults)[1]
    assert said.startswith(f"line {line}: ") and what in said and fix in said, said
    assert gates.get(f"/faulty_{n}").status == 404


def test_a_pipeline_whose_path_is_taken_is_not_loaded(running):
    (running.workspace / "apps" / "thief.py").write_text('"T."\nfrom sololith import *\np = pipeline("Runs")\n')
    try: wait_for(lambda: "both want /runs" in running.get("/plugins").text, what="the card")
    finally: (running.workspace / "apps" / "thief.py").unlink()


# ─── when, asks, retry, timeout

def test_a_step_is_skipped_unless_its_condition_holds(running, notes):
    run = begin(running, "maybe", n="1").until("done")
    assert run.statuses() == {"count": "done", "many": "skipped", "told_of": "done"}
    assert run["told_of"]["value"] == "None of 1" and not notes() and "skipped" in run.card("many")
    run.answer("count", n="5").until("done")
    assert run.values() == {"count": 5, "many": "5 are many", "told_of": "5 are many of 5"} and notes() == ["many 5"]
    run.answer("count", n="0").until("done")
    assert run.statuses()["many"] == "skipped" and run.values() == {"count": 0, "many": None, "told_of": "None of 0"}


def test_a_step_that_asks_waits_for_approval_and_asks_anew_when_its_ground_changes(running, notes):
    run = begin(running, "careful", what="tea").until("waiting")
    assert not notes() and "Approve" in run.card("deed") and "This cannot be taken back." in run.card("deed")
    run.answer("deed").until("done")
    assert notes() == ["deed make tea"] and run["after"]["value"] == "did make tea!"
    run.answer("plan", what="war").until("waiting")
    assert notes() == ["deed make tea"] and "Approve" in run.card("deed"), "yes to tea is not yes to war"
    run.answer("deed").until("done")
    assert notes()[-1] == "deed make war"


def test_a_step_is_tried_again_as_often_as_it_says(running):
    run = begin(running, "again", bad="2").until("done")
    assert run["flaky"]["value"] == 3 and run["flaky"]["logs"].count("Trying again") == 2
    assert "no luck 1" in run["flaky"]["logs"] and "try 3" in run["flaky"]["logs"]


def test_a_step_that_keeps_failing_fails_in_the_end(running):
    run = begin(running, "again", bad="999").until("failed")
    assert "ValueError: no luck" in run["flaky"]["error"] and "Trying again (2 of 2)" in run["flaky"]["logs"]


def test_waiting_for_another_try_can_be_cancelled(running):
    run = begin(running, "again", bad="999")
    time.sleep(0.2)
    run.do("cancel").ends_within(1)
    assert run.until("cancelled").statuses() == {"flaky": "cancelled"}


def test_a_step_that_takes_longer_than_it_may_fails_and_the_rest_waits(running):
    run = begin(running, "slow").until("failed")
    assert run["too_slow"]["error"] == "It took longer than 0.3 seconds." and "next_one" not in run.statuses()
    run.answer("too_slow", seconds="0").until("done")
    assert run["next_one"]["value"] == "in time"


# ─── pipelines as steps

def test_a_pipeline_as_a_step_waits_inside_and_the_outer_one_goes_on_by_itself(running, notes):
    run = begin(running, "outer", start="sand").until("waiting")
    child = Driven(running, run.raw()["inner"]["child"]).until("waiting")
    assert child.url in run.card("inner") and run.url in child.page(), "each leads to the other"
    assert child["base"]["value"] == "base of sand", "what the outer one knows is not asked for again"
    child.answer("choice", pick="b").until("done")
    run.until("done")
    assert run.values() == {"start": "sand", "inner": "base of sand b", "result": "base of sand b on sand"}
    assert notes() == ["start sand", "choice base of sand b"], "and nothing was done twice"


def test_a_pipeline_that_fails_inside_fails_outside_and_goes_on_where_it_failed(running, notes):
    run = begin(running, "outer", start="mud").until("waiting")
    child = Driven(running, run.raw()["inner"]["child"])
    child.answer("choice", pick="fail").until("failed")
    run.until("failed")
    assert "Inner failed." in run["inner"]["error"] and "it fails inside" in child["choice"]["error"]
    (running.workspace / "mended").touch()
    run.do("retry").until("done")
    assert run["result"]["value"] == "base of mud fail on mud" and child.until("done")
    assert notes() == ["start mud", "choice base of mud fail"]
    (running.workspace / "mended").unlink()


def test_rerunning_a_pipeline_step_runs_all_of_it_again(running, notes):
    run = begin(running, "outer", start="clay").until("waiting")
    old = Driven(running, run.raw()["inner"]["child"]).answer("choice", pick="a")
    run.until("done").do("rerun", step="inner").until("waiting")
    new = Driven(running, run.raw()["inner"]["child"])
    assert new.id != old.id
    new.answer("choice", pick="b").until("done")
    run.until("done")
    assert run["result"]["value"] == "base of clay b on clay" and notes() == ["start clay", "choice base of clay a", "choice base of clay b"]


def test_revising_before_a_pipeline_step_runs_it_anew(running):
    run = begin(running, "outer", start="ice").until("waiting")
    Driven(running, run.raw()["inner"]["child"]).answer("choice", pick="a")
    run.until("done").answer("start", start="fire").until("waiting")
    Driven(running, run.raw()["inner"]["child"]).answer("choice", pick="a")
    run.until("done")
    assert run["result"]["value"] == "base of fire a on fire"


def test_cancelling_the_outer_run_cancels_what_works_inside(start, plugin):
    plugin("nest", '''
"Nest."
import time as clock
from sololith import *
deep = pipeline("Deep")
@deep.step
def works():
    while True: clock.sleep(0.01)
shell = pipeline("Shell")
shell.step(deep)
''')
    server = start()
    run = begin(server, "shell")
    child = Driven(server, wait_for(lambda: run.raw().get("deep", {}).get("child")))
    time.sleep(0.1)
    run.do("cancel").ends_within(1)
    assert run.until("cancelled").statuses() == {"deep": "cancelled"} and child.until("cancelled")
    run.do("retry")
    time.sleep(0.3)
    assert child.state() == "running", "and Retry goes on inside"
    child.do("cancel").ends_within(1)
    run.until("cancelled")


# ─── choices and defaults that follow from earlier values

def test_choices_and_defaults_follow_from_earlier_values(running):
    run = begin(running, "menu", given="fish, cake, tea").until("waiting")
    form = run.card("dish")
    assert re.findall(r'<option value="(\w+)"( selected)?>(\w+)<', form) == [("fish", "", "Fish"), ("cake", "", "Cake"), ("tea", " selected", "Tea")]
    wrong = run.send("dish", chosen="pie", sides=["fish"])
    assert wrong.status == 422 and "chosen is 'pie'" in unescape(wrong.text) and 'value="fish" checked' in wrong.text
    assert run.send("dish", chosen="cake", sides=["pie"]).status == 422, "nor can a list hold what is not offered"
    run.answer("dish", chosen="cake", sides=["fish", "tea"]).until("done")
    assert run["dish"]["value"] == "cake with ['fish', 'tea']"
    run.answer("dishes", given="pie").until("failed")
    assert "chosen is 'cake'" in run["dish"]["error"], "an answer that is no longer offered is not taken"
    assert 'value="pie"' in run.card("dish"), "it is asked for anew"
    run.answer("dish", chosen="pie").until("done")


# ─── starting and answering

def test_wrong_input_is_answered_with_422_and_what_was_typed(running):
    before = rows(running.workspace / "data.db", "SELECT count(*) n FROM runs")[0]["n"]
    answer = sent(running, "rule", word="<b>typed</b>", times="9")
    assert answer.status == 422 and "times is 9." in answer.text and "from 1 to 5" in answer.text
    assert "&lt;b&gt;typed&lt;/b&gt;" in answer.text and 'value="9"' in answer.text and "<b>typed" not in answer.text
    assert sent(running, "rule", word="").status == 422
    assert rows(running.workspace / "data.db", "SELECT count(*) n FROM runs")[0]["n"] == before, "and no run is begun"
    run = begin(running, "sums", a="1").until("waiting")
    wrong = run.send("second", b="ten")
    assert wrong.status == 422 and 'value="ten"' in wrong.text and "b is 'ten'" in unescape(wrong.text)
    assert run.state() == "waiting" and run.answer("second", b="3").until("waiting")


def test_the_second_of_two_tabs_gets_409_and_no_values_are_mixed(running, notes):
    run = begin(running, "sums", a="1").until("waiting")
    version, answers = run.version("second"), []
    both = [threading.Thread(target=lambda b=b: answers.append((run.send("second", version, b=b).status, b))) for b in ("100", "200")]
    for tab in both: tab.start()
    for tab in both: tab.join()
    assert sorted(status for status, _ in answers) == [200, 409], answers
    won = next(int(b) for status, b in answers if status == 200)
    run.until("waiting")
    assert run["second"]["value"] == 1 + won and run["third"]["value"] == 2 * (1 + won) and len(notes()) == 3


def test_two_runs_at_once_do_not_know_of_each_other(running):
    runs = [begin(running, "sums", a=str(n)) for n in range(6)]
    for n, run in enumerate(runs): run.until("waiting").answer("second", b=str(n * 100))
    for n, run in enumerate(runs):
        run.until("waiting").answer("fourth", c="0").until("done")
        assert run.values() == {"first": n, "second": n * 101, "third": n * 202, "fourth": n * 202}


def finished(running) -> Driven:
    run = begin(running, "sums", a="1").until("waiting").answer("second", b="10").until("waiting")
    return run.answer("fourth", c="5").until("done")


def test_revising_marks_later_steps_stale_and_redoes_them_in_order(running, notes):
    run = finished(running)
    assert run.values() == {"first": 1, "second": 11, "third": 22, "fourth": 27}
    before = len(notes())
    run.answer("first", a="2").until("done")
    assert run.values() == {"first": 2, "second": 12, "third": 24, "fourth": 29}, "with the answers they had"
    assert notes()[before:] == ["first 2", "second 2 10", "third 12", "fourth 24 5"]
    assert not any(row["is_stale"] for row in run.raw().values())


def test_what_is_stale_is_shown_as_it_was_until_it_is_redone(running):
    run = begin(running, "spin", how="sleep")
    time.sleep(0.2)
    run.do("cancel").until("cancelled")
    run = begin(running, "careful", what="tea").until("waiting").answer("deed").until("done")
    run.answer("plan", what="war").until("waiting")
    after = run.card("after")
    assert "stale" in after and "did make tea!" in after
    assert run.raw()["after"]["is_stale"] == 1


def test_rerun_from_here_repeats_that_step_and_those_below(running, notes):
    run = finished(running)
    before = len(notes())
    run.do("rerun", step="third").until("done")
    assert notes()[before:] == ["third 11", "fourth 22 5"]
    assert run.act("rerun", step="thrid").status == 404 and "Did you mean third" in run.act("rerun", step="thrid").text


def test_a_step_that_is_done_is_never_run_again(running, notes):
    run = finished(running)
    before = len(notes())
    assert run.act("retry").status == 200
    run.until("done")
    assert notes()[before:] == []


# ─── cancel

@pytest.mark.parametrize("how", ["loop", "sleep", "async", "sorting", "each", "heedless"])
def test_a_step_is_cancelled_within_a_second(running, how):
    run = begin(running, "spin", how=how)
    wait_for(lambda: run.statuses().get("long_one") == "running")
    time.sleep(0.1)
    run.do("cancel").ends_within(1.2 if how == "heedless" else 1)
    assert run.until("cancelled").statuses() == {"kind": "done", "long_one": "cancelled"}
    assert "Retry" in run.page()


def test_a_run_that_waits_is_put_aside_by_cancel_and_comes_back_by_retry(running):
    run = begin(running, "sums", a="1").until("waiting").do("cancel")
    assert run.state() == "cancelled"
    run.do("retry").until("waiting").answer("second", b="1").until("waiting")


# ─── lock, rename, duplicate, delete, undo, compare, export

def test_a_locked_run_refuses_everything(running, notes):
    run = finished(running).do("lock")
    before, version = run.export(), str(run.raw()["first"]["version"])
    assert "locked" in run.page() and "Revise" not in run.page() and "Rerun" not in run.page()
    assert run.send("first", version, a="9").status == 409
    for act in ({"act": "rerun", "step": "first"}, {"act": "retry"}, {"act": "cancel"}):
        assert running.post(f"{run.url}/act", act, **HTMX).status == 409, act
    assert running.post(f"{run.url}/rename", {"title": "no"}, **HTMX).status == 409
    assert running.post(f"{run.url}/delete", {}, **HTMX).status == 409
    assert running.post(run.url, {"title": "no"}, **HTMX).status >= 400
    refused = running.cli("run", "sums", "--resume", str(run.id), "--a", "9")
    assert refused.returncode == 1 and "is locked" in refused.stderr
    assert run.export() == before
    run.do("unlock").do("rerun", step="fourth").until("done")


def test_a_run_is_renamed(running):
    run = finished(running)
    assert 'value="Sums, ' in running.get(f"{run.url}/rename", **HTMX).text
    assert running.post(f"{run.url}/rename", {"title": "<b>Mine</b>"}, **HTMX).status == 200
    assert "<h1>&lt;b&gt;Mine&lt;/b&gt;</h1>" in run.page()


def test_a_duplicate_has_all_that_the_run_has_come_to_and_goes_its_own_way(running, notes):
    run = begin(running, "sums", a="3").until("waiting")
    copied = run.act("copy")
    other = Driven(running, int(copied.headers["HX-Redirect"].rpartition("/")[2]))
    assert other.values() == run.values() and "(copy)" in other.page() and other.state() == "waiting"
    other.answer("second", b="1").until("waiting")
    run.answer("second", b="2").until("waiting")
    assert (run["third"]["value"], other["third"]["value"]) == (10, 8)
    assert notes().count("first 3") == 1


def test_a_duplicate_of_a_run_at_work_can_go_on_by_itself(running):
    run = begin(running, "spin", how="sleep")
    wait_for(lambda: run.statuses().get("long_one") == "running")
    other = Driven(running, int(run.act("copy").headers["HX-Redirect"].rpartition("/")[2]))
    assert other.until("interrupted").statuses() == {"kind": "done", "long_one": "interrupted"}
    other.do("retry")
    wait_for(lambda: other.state() == "running")
    for each_ in (run, other): each_.do("cancel").until("cancelled")


def undo(server: Server, run: Driven) -> None:
    entry = rows(server.workspace / "data.db", "SELECT max(id) n FROM journal WHERE app='runs' AND record_id=?", run.id)[0]["n"]
    answer = server.post("/undo", {"entry": entry}, **HTMX)
    assert answer.status == 200, answer


def test_a_deleted_run_comes_back_with_its_values(running):
    run = finished(running)
    before = run.export()
    assert running.post(f"{run.url}/delete", {"then": "list"}, **HTMX).status == 200
    assert running.get(run.url).status == 404 and "This run has been deleted." in running.get(f"{run.url}/live", **HTMX).text
    undo(running, run)
    assert run.export() == before and run.answer("second", b="0").until("done")["fourth"]["value"] == 7


def test_a_run_at_work_is_not_deleted(running):
    run = begin(running, "spin", how="sleep")
    wait_for(lambda: run.state() == "running")
    assert running.post(f"{run.url}/delete", {}, **HTMX).status == 409
    run.do("cancel").until("cancelled")


def test_undoing_the_start_of_a_run_ends_its_work(running):
    run = begin(running, "spin", how="loop")
    wait_for(lambda: run.statuses().get("long_one") == "running")
    undo(running, run)
    wait_for(lambda: "at work" not in running.get("/headers", **HTMX).text, 5, "the end of its work")
    assert running.get(run.url).status == 404


def test_two_runs_are_compared_step_by_step(running):
    one, other = finished(running), finished(running)
    other.answer("second", b="20").until("done")
    page = running.get(f"{one.url}/compare").text
    assert f'<option value="{other.id}">' in page
    page = running.get(f"{one.url}/compare?to={other.id}").text
    assert page.count("differs</small>") == 3 and ">22<" in page and ">42<" in page and "b: 20" in page
    assert running.get(f"{one.url}/compare?to=999999").status == 404


def test_the_export_tells_all_of_a_run(running):
    run = begin(running, "bad", how="table").until("done")
    answer = running.get(f"{run.url}/export.json")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="run-{run.id}.json"'
    told = answer.json()
    assert told["pipeline"] == "bad" and told["steps"][0]["inputs"] == {"how": "table"}
    assert told["steps"][1]["value"] == [{"<b>n</b>": "<i>x</i>", "formula": "=1+1"}]


def test_the_export_is_json_whatever_a_step_gave(running):
    def refuse(name: str): raise AssertionError(f"{name} is not JSON")
    for how in ("nan", "surrogate", "ugly"):
        run = begin(running, "bad", how=how).until("done")
        json.loads(running.get(f"{run.url}/export.json").body, parse_constant=refuse)


def test_a_value_is_downloaded_as_csv_or_text(running):
    run = begin(running, "bad", how="table").until("done")
    answer = running.get(f"{run.url}/value/misdeed.csv")
    assert list(csv.reader(io.StringIO(answer.text))) == [["<b>n</b>", "formula"], ["<i>x</i>", "'=1+1"]]
    assert "attachment" in answer.headers["Content-Disposition"]
    assert running.get(f"{run.url}/value/then.txt").text == "went on"
    assert running.get(f"{run.url}/value/then.csv").status == 404 and running.get(f"{run.url}/value/never").status == 404


# ─── the lists

def test_runs_are_searched_and_filtered(running):
    begin(running, "rule", word="zanzibar").until("waiting")
    begin(running, "rule", word="ouagadougou").until("waiting")
    assert "zanzibar" in running.get("/runs?q=zanzi").text and "ouagadougou" not in running.get("/runs?q=zanzi").text
    found = running.get("/rule?q=ouaga").text
    assert "ouagadougou" in found and ">zanzibar<" not in found
    assert "zanzibar" not in running.get("/hello").text.split("<h2>Runs</h2>")[1], "a pipeline's page lists its own"
    assert "zanzibar" not in running.get("/runs?f.status=done").text and "zanzibar" in running.get("/runs?f.status=waiting").text
    part = running.get("/rule?q=zanzi", HX_Request="true", HX_Target="runs-list").text
    assert "zanzibar" in part and "<nav" not in part


def test_a_run_is_not_added_by_hand(running):
    assert running.post("/runs", {"title": "x", "pipeline": "rule"}, **HTMX).status >= 400


def test_nothing_is_changed_by_looking(running):
    run = finished(running)
    begin(running, "bad", how="raise").until("failed")
    database = running.workspace / "data.db"
    state = lambda: [rows(database, f"SELECT * FROM {t} ORDER BY rowid") for t in ("runs", "steps", "items", "journal", "schedules")]
    before = state()
    for path in ("/runs", "/rule", "/rule?word=x&tone=y", "/nothing", "/schedules", "/schedules/new?pipeline=rule&given={}", run.url, f"{run.url}/live", f"{run.url}/live?since=3",
                 f"{run.url}/steps/first", f"{run.url}/rename", f"{run.url}/compare", f"{run.url}/compare?to=1", f"{run.url}/export.json", f"{run.url}/value/first",
                 f"{run.url}/value/first.txt", f"{run.url}/act", f"{run.url}/delete", f"{run.url}/steps/first?a=77"):
        assert running.get(path).status in (200, 404, 405), path
    assert state() == before


# ─── bad steps

def misdeed(running, how: str, status: str = "failed") -> Driven: return begin(running, "bad", how=how).until(status)


def test_an_error_is_shown_escaped_with_its_traceback(running):
    run = misdeed(running, "raise")
    html = run.card("misdeed")
    assert "ValueError: &lt;b&gt;bold&lt;/b&gt; &amp; wrong" in html and "<b>bold" not in html
    assert "work.py" in html and "def misdeed" not in html and "sololith/pipeline.py" not in html, "the traceback is of the person's own code"
    assert "It is &lt;i&gt;odd&lt;/i&gt;. Make it even." in misdeed(running, "problem").card("misdeed")
    assert 'aria-label="Then"' in run.page() and "Rerun from here" in html


@pytest.mark.parametrize(["how", "said"], [("exit", "It asks to exit, which a step cannot do."), ("interrupt", "KeyboardInterrupt"), ("cancelled", ""),
    ("generator", "The value is a generator, which cannot be kept"), ("lambda", "The value is a function, which cannot be kept"),
    ("deep", "which cannot be kept"), ("recursion", "RecursionError"), ("surrogate error", "ValueError: e"), ("exec", "RuntimeError: xxx")])
def test_a_bad_step_fails_with_a_clear_card_and_everything_else_goes_on(running, how, said):
    run = begin(running, "bad", how=how).until("failed", "cancelled")
    assert said in unescape(run.card("misdeed")) and len(run["misdeed"]["error"] or "") <= 500
    assert "then" not in run.statuses()
    begin(running, "plain").until("done")


def test_a_value_that_cannot_be_shown_says_so_and_the_page_stands(running):
    run = misdeed(running, "ugly", "done")
    page = run.page()
    assert "no picture of me" in page and "went on" in page
    assert running.get(f"{run.url}/compare").status == 200


def test_text_that_is_no_unicode_is_logged_kept_and_shown(running):
    run = misdeed(running, "surrogate", "done")
    assert running.get(run.url).status == 200 and "a ? b" in run.page() and "c ? d" in run.page()


def test_a_step_that_prints_100_mb_keeps_its_newest_lines(running):
    memory = running.memory()
    run = misdeed(running, "print", "done")
    logs = run["misdeed"]["logs"]
    assert "x" * 900 in logs and len(logs) < 600_000 and running.memory() < memory + 150
    run = misdeed(running, "lines", "done")
    lines = run["misdeed"]["logs"].split("\n")
    assert lines[0] == "… 19,500 lines before" and lines[-1] == "<b>line 19999</b>" and len(lines) == 501
    html = run.card("misdeed")
    assert "&lt;b&gt;line 19999" in html and "<b>line" not in html and len(html) < 60_000


@pytest.mark.parametrize("how", ["html", "table"])
def test_a_value_with_html_is_escaped(running, how):
    run = misdeed(running, how, "done")
    page = run.page()
    assert "<script>alert" not in page and "<i>x</i>" not in page and "<b>n</b>" not in page
    assert "&lt;" in run.card("misdeed")


def test_names_with_html_are_escaped(running, workspace):
    name = "<img src=x onerror=alert(1)>"
    run = begin(running, "rule", word=name).until("waiting")
    for page in (run.page(), running.get("/runs").text, running.get("/rule").text, running.get(f"{run.url}/compare").text,
                 running.get(f"{run.url}/live", **HTMX).text, running.get(f"/runs/{run.id + 10**6}").text, running.get(f"{run.url}/steps/%3Cb%3Ex").text):
        assert "<img" not in page and "<b>x" not in page
    assert run.act("<b>x</b>").status == 404 and "<b>" not in run.act("<b>x</b>").text


def test_a_pipeline_without_steps_says_so(running):
    assert "It has no steps yet." in running.get("/nothing").text
    assert sent(running, "nothing").status == 400


def test_a_pipeline_that_asks_nothing_runs_by_a_click(running, notes):
    assert "Start" in running.get("/plain").text
    assert begin(running, "plain").until("done")["alone"]["value"] == 42 and notes() == ["alone"]


# ─── plugins that change while their runs work

GATE = '''
"Gate."
import time as clock
from sololith import *
gate = pipeline("Gate")

@gate.step
def before(n: int = 1): return n

@gate.step
def hold(before):
    while not (home.path / "open").exists(): clock.sleep(0.01)
    return "VERSION"

@gate.step
def after(hold): return [hold, "VERSION"]
'''


@pytest.fixture
def gate(gates):
    path = gates.workspace / "apps" / "gate.py"
    def put(version: str) -> None:
        path.write_text(GATE.replace("VERSION", version))
        wait_for(lambda: version in (gates.workspace / "apps" / ".versions" / "gate").exists() * "".join(
            p.read_text() for p in sorted((gates.workspace / "apps" / ".versions" / "gate").glob("*.py"))[-1:]) and gates.get("/gate").status == 200)
    (gates.workspace / "open").unlink(missing_ok=True)
    put(f"old{time.time_ns()}")
    gates.put, gates.plugin_file = put, path
    yield gates
    (gates.workspace / "open").touch()


def test_a_plugin_may_be_reloaded_while_its_run_works(gate):
    run = begin(gate, "gate")
    wait_for(lambda: run.statuses().get("hold") == "running")
    gate.put("new")
    (gate.workspace / "open").touch()
    run.until("done")
    assert run["hold"]["value"].startswith("old") and run["after"]["value"][0] == run["hold"]["value"]
    run.do("rerun", step="hold").until("done")
    assert run["after"]["value"] == ["new", "new"]


def test_a_plugin_may_be_removed_while_its_run_works(gate):
    run = begin(gate, "gate")
    wait_for(lambda: run.statuses().get("hold") == "running")
    gate.plugin_file.unlink()
    wait_for(lambda: gate.get("/gate").status == 404)
    assert "is not loaded" in run.page()
    (gate.workspace / "open").touch()
    wait_for(lambda: run.state() != "running")
    page = run.page()
    assert "is not loaded" in page and "old" in page, "it can still be read"
    assert run.act("rerun", step="hold").status == 404 and gate.get(f"{run.url}/value/hold").status == 200
    assert gate.get(f"{run.url}/export.json").status == 200 and gate.get("/runs").status == 200
    gate.put("back")
    run.do("rerun", step="hold").until("done")
    assert run["after"]["value"] == ["back", "back"]


def test_steps_that_a_new_version_adds_are_run_and_no_others(gate):
    (gate.workspace / "open").touch()
    run = begin(gate, "gate").until("done")
    old = run["hold"]["value"]
    gate.plugin_file.write_text(GATE.replace("VERSION", "two") + "\n@gate.step\ndef last(after): return [*after, 'last']\n")
    wait_for(lambda: "4 steps" in gate.get("/gate").text)
    run.do("retry").until("done")
    assert run["last"]["value"] == [old, old, "last"]


# ─── large and many

def test_a_50_mb_value_stays_usable_and_a_changed_artifact_is_refused(running):
    run = misdeed(running, "big", "done")
    assert p95(run.page, 10) < 300 * patience() and len(run.page()) < 200_000
    kept = run.raw()["misdeed"]["value"]
    assert kept.startswith("file:") and len(kept) < 300, "the value is a file, not a row"
    _, digest, name = kept.split(":")
    file = running.workspace / "files" / name
    assert file.stat().st_size > 50_000_000 and file.is_relative_to(running.workspace / "files" / "runs" / str(run.id))
    assert running.get(f"{run.url}/value/misdeed", **HTMX).text.count("y") < 30_000, "and only its beginning is shown"
    assert len(running.get(f"{run.url}/value/misdeed.txt").body) == 50_000_000
    with file.open("r+b") as changed: changed.write(b"X")
    refused = running.get(f"{run.url}/value/misdeed", **HTMX)
    assert refused.status == 200 and "is gone, or is not what was kept" in refused.text
    run.do("rerun", step="then").until("failed")
    assert "is not what was kept" in run["then"]["error"]
    run.do("rerun", step="misdeed").until("done")
    assert run["then"]["value"] == "went on"


def seconds_a_step(running, size: int) -> float:
    run = begin(running, f"chain_{size}").until("done", limit=60)
    raw = run.raw().values()
    started = sorted(datetime.fromisoformat(row["started"]) for row in raw)
    return (started[-1] - started[0]).total_seconds() / (len(started) - 1)


def test_a_step_costs_no_more_than_10_ms(running):
    assert min(seconds_a_step(running, 100) for _ in range(2)) < 0.010 * patience()


def test_a_run_of_500_steps_is_shown_in_reasonable_time(running):
    assert seconds_a_step(running, 500) < 0.020 * patience()
    run = Driven(running, rows(running.workspace / "data.db", "SELECT max(id) n FROM runs WHERE pipeline='chain_500'")[0]["n"])
    assert run["step_499"]["value"] == 499
    assert p95(run.page, 5) < 500 * patience()
    assert p95(lambda: running.get(f"{run.url}/live?since=1000000", **HTMX), 10) < 60 * patience(), "asking for news is cheap"


def fill(server: Server, count: int) -> None:
    "So many runs, as though each had been started and done."
    write(server.workspace / "data.db", f"""
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO runs (title, pipeline, status, by, at, is_locked, is_unattended, executor, given)
        SELECT 'Run ' || i, CASE i % 3 WHEN 0 THEN 'hello' ELSE 'chain_100' END, 'done', 'person', '2026-01-01 00:00:00', 0, 0, '', '{{}}' FROM n""")
    write(server.workspace / "data.db", """INSERT INTO steps (run, name, version, status, value)
        SELECT id, 'step_0', 1, 'done', 'json:0' FROM runs WHERE title LIKE 'Run %'""")


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=soak)])
def test_with_many_runs_in_the_table_lists_and_steps_are_as_quick(start, plugin, count):
    plugin("work", WORK)
    server = start()
    run = begin(server, "plain").until("done")
    fill(server, count)
    assert seconds_a_step(server, 100) < 0.010 * patience()
    for path in ("/runs", "/runs?page=20", "/runs?f.status=done", "/runs?f.status=waiting", "/hello", run.url, "/headers"):
        assert min(server.p95(path, 20) for _ in range(2)) < 60 * patience(), path  # the better of two: others work here, too


def test_the_server_answers_while_four_steps_burn(running):
    runs = [begin(running, "busy", seconds="3") for _ in range(4)]
    time.sleep(0.2)
    took = p95(lambda: running.get("/tasks"), 30)
    assert took < 100 * patience(), f"{took:.0f} ms"
    for run in runs: run.do("cancel")
    for run in runs: run.until("cancelled", "done")


# ─── each

@pytest.mark.parametrize(["how", "value"], [("thread", [n * n for n in range(20)]), ("async fn", [n * n for n in range(20)]),
    ("async for", [n * n for n in range(20)]), ("process", [n**0.5 for n in range(20)]), ("stops", 0), ("width", 3)])
def test_each_gives_its_values_in_order_however_it_works(running, how, value):
    assert begin(running, "eaches", how=how).until("done")["squares"]["value"] == value


def test_each_tries_an_item_again(running):
    value = begin(running, "eaches", how="retried").until("done")["squares"]["value"]
    assert "[0, 1, 2, 3, 4]" in str(value) and "3: 3" in str(value) and "2: 1" in str(value)


def test_each_begins_no_more_a_second_than_it_may(running):
    assert 0.45 < begin(running, "eaches", how="paced").until("done")["squares"]["value"] < 1.5 * patience()


def test_each_may_be_used_twice_in_a_step_and_on_nothing(running, notes):
    assert begin(running, "eaches", how="twice").until("done")["squares"]["value"] == "([0, 1, 4], [0, 1, 4])"
    assert len(notes()) == 6
    assert begin(running, "eaches", how="none").until("done")["squares"]["value"] == "([], [None, None])"


def test_items_that_fail_are_left_out_told_and_tried_again_without_redoing_the_others(running, notes):
    (running.workspace / "healed").unlink(missing_ok=True)
    run = begin(running, "flawed").until("done")
    assert run.values() == {"inspection": [1, 2, 3, 5, 6, 7, 9], "total": 33} and "3 errors" in run["inspection"]["logs"]
    html = run.card("inspection")
    assert "3 items failed" in html and "4: ValueError: &lt;b&gt;4&lt;/b&gt; is flawed" in html and "Retry the failed items" in html
    run.do("retry").until("done")
    assert sorted(notes()[10:]) == ["inspected 0", "inspected 4", "inspected 8"]
    (running.workspace / "healed").touch()
    run.do("retry").until("done")
    assert run["inspection"]["value"] == list(range(10)) and "items failed" not in run.page()
    assert run["total"]["value"] == 45, "what was made of the items is made anew"
    assert sorted(notes()[13:]) == ["inspected 0", "inspected 4", "inspected 8"]
    run.do("retry").until("done")
    assert len(notes()) == 16, "nothing is left to do"
    run.do("rerun", step="inspection").until("done")
    assert len(notes()) == 26, "but rerun means all of it"
