"""Notebooks in and out: a notebook's cells and the pipeline that is made of it come to the same; a run becomes a notebook
that runs, and is read back as the file that it came from. What a rule does to the text is looked at where it matters."""
import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from helpers import ROOT, Server, chapter, cli, environment, wait_for
from model_server import ModelServer
from piping import Driven
from piping import rows as rows_in

notebook, base = chapter("notebook"), chapter("base")
Problem = base.Problem


def book(*cells, minor: int = 5, **facts) -> bytes:
    "A notebook: texts are code, texts that begin with M: Markdown, pairs are code and tags."
    made = []
    for cell in cells:
        text, tags = cell if isinstance(cell, tuple) else (cell, None)
        made.append({"cell_type": "markdown" if text.startswith("M:") else "code", "source": text.removeprefix("M:").splitlines(True),
                     "metadata": {"tags": tags} if tags else {}, **({} if text.startswith("M:") else {"outputs": [], "execution_count": None})})
    return json.dumps({"nbformat": 4, "nbformat_minor": minor, "metadata": facts, "cells": made}).encode()


def source_of(*cells, name: str = "trial") -> str: return notebook.pipeline_from(book(*cells), name)[0]
def told_of(*cells) -> str: return "\n".join(notebook.pipeline_from(book(*cells), "trial")[1])


def loaded(source: str, name: str = "trial"):
    "The pipeline of a plugin's text."
    plugin, module = base.Plugin(name), types.ModuleType(f"sololith_apps.{name}")
    sys.modules[module.__name__] = module
    token = base.loading.set(plugin)
    try: exec(compile(source, f"{name}.py", "exec", dont_inherit=True), module.__dict__)
    finally: base.loading.reset(token)
    return next(iter(plugin.pipelines.values()))


def values_of(source: str, home: Path, **asked) -> dict:
    "What the steps give, each value kept and read again before it is piped on, as in a run."
    made, kept, before = loaded(source), {}, base.home.path
    base.home.at(home).make()
    try:
        for step in made.steps.values():
            given = {n: chapter("values").load(kept[n]) for n in step.piped}
            given |= {n: asked.get(n, f.default) for n, f in step.asked.items()}
            value = step.work(**given)
            if inspect.isawaitable(value): value = asyncio.run(value)
            kept[step.name] = chapter("values").keep(value, f"t/{step.name}")
        return {n: chapter("values").load(v) for n, v in kept.items()}
    finally: base.home.at(before)


def executed(*cells) -> tuple[dict, object]:
    "The names that the cells leave when they are run in order, and the value of the last expression."
    names, last = {"__name__": "__main__"}, None
    for text in cells:
        body = ast.parse(text).body
        with contextlib.redirect_stdout(io.StringIO()):
            tail = body.pop() if isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            last = eval(compile(ast.Expression(tail.value), "cell", "eval"), names) if tail else None
    return names, last


# ─── a notebook and its pipeline come to the same

SAME = {
    "names are piped": ["a = 2", "b = a * 3", "a + b"],
    "several names": ["a = 1\nb = [2]\nc = 3", "a + c + b[0]"],
    "what is not read later is not given": ["a = 1\ntemp = a + 1\nb = temp * 2", "b"],
    "statements on one line": ["a = 1; b = 2", "a, b"],
    "an augmented assignment": ["n = 1", "n += 4", "n * 2"],
    "in a loop": ["total = 0", "for i in range(5): total += i", "total"],
    "a loop's variable is its own": ["i = 7\nxs = [1, 2]", "out = []\nfor i in xs: out.append(i)", "out"],
    "a loop's variable stays": ["for i in range(3): pass", "i"],
    "set in one branch": ["x = 1\nflag = False", "if flag: x = 2", "x"],
    "set in both branches": ["x = 1\nflag = True", "if flag: x = 2\nelse: x = 3", "x"],
    "a comprehension's names are its own": ["x = 10\nys = [1, 2]", "zs = [x for x in ys]\nws = {k: v for k, v in zip(ys, zs)}", "(x, zs, ws)"],
    "a comprehension reads from outside": ["k = 3", "[x * k for x in range(4) if x < k]"],
    "a generator expression": ["k = 3\nxs = [1, 2]", "sum(x * k for x in xs)"],
    "a lambda's arguments are its own": ["key = 5\nrows = [(2, 'b'), (1, 'a')]", "sorted(rows, key=lambda key: key[0])"],
    "a lambda reads from outside": ["col = 1\nrows = [(2, 'b'), (1, 'c')]", "sorted(rows, key=lambda r: r[col])"],
    "a method that changes": ["items = []", "items.append(1)", "items.append(2)\nitems.append(3)", "items"],
    "a method that changes, for its value": ["stack = [1, 2, 3]", "top = stack.pop()", "(stack, top)"],
    "a method nobody knows of, in the middle": ["class Box:\n    def __init__(self): self.n = 0\n    def grow(self): self.n += 1", "box = Box()", "box.grow()\nbox.grow()\n1", "box.n"],
    "an item is set": ["d = {}", "d['a'] = 1", "d['b'] = d['a'] + 1", "d"],
    "an item goes": ["d = {'a': 1, 'b': 2}", "del d['a']", "d"],
    "an attribute is set": ["class Box: pass", "box = Box()", "box.size = 3", "box.size"],
    "a nested change": ["d = {'a': {'b': []}}", "d['a']['b'].append(5)", "d"],
    "two names, one changed": ["a = [1]\nb = [2]", "a.append(b[0])", "(a, b)"],
    "a function": ["def twice(x):\n    return x * 2", "a = twice(4)", "twice(a)"],
    "a function that reads a step's value": ["k = 10", "def scaled(x): return x * k", "scaled(3)"],
    "a function that calls such a one": ["k = 10", "def scaled(x): return x * k\ndef both(x): return scaled(x) + 1", "both(3)"],
    "such a function after its value changed": ["k = 10", "def scaled(x): return x * k", "k = 20", "scaled(3)"],
    "a function with a global": ["count = 0", "def bump():\n    global count\n    count += 1", "bump()\nbump()", "count"],
    "a function that changes what is outside": ["seen = []", "def see(x): seen.append(x)", "see(1)\nsee(2)", "seen"],
    "a function that changes its argument": ["def put(box, x): box.append(x)", "box = []", "put(box, 3)", "box"],
    "a function that is defined twice": ["def f(): return 1", "a = f()", "def f(): return 2", "b = f()", "(a, b)"],
    "a recursion": ["def fact(n): return 1 if n < 2 else n * fact(n - 1)", "fact(6)"],
    "a constant that a function reads": ["SIZE = 3\nNAMES = ['a', 'b']", "def sized(x): return [x] * SIZE + NAMES", "sized(SIZE)"],
    "a decorator": ["import functools", "@functools.lru_cache\ndef slow(n):\n    # once\n    return n + 1", "slow(2)"],
    "a lambda with a name": ["square = lambda x: x * x", "square(5)"],
    "a class with a base": ["class A:\n    k = 2\n    def f(self): return self.k", "class B(A):\n    k = 3", "B().f()"],
    "a namedtuple": ["from collections import namedtuple\nPoint = namedtuple('Point', 'x y')", "p = Point(1, 2)", "p.x + p.y"],
    "imports below": ["import math", "r = math.sqrt(16)", "from collections import Counter", "Counter('aab')['a'] + r"],
    "one that may be missing": ["try:\n    import no_such_module as json_\nexcept ImportError:\n    import json as json_", "json_.dumps([1])"],
    "a name that is imported, and set": ["from math import pi", "r = 2", "pi = 3", "r * pi"],
    "one in a branch": ["if True:\n    import math\nr = math.floor(2.5)", "import math\nmath.ceil(1.5) + r"],
    "one called time": ["import time", "isinstance(time.time(), float)"],
    "a try": ["try:\n    x = int('z')\nexcept ValueError as e:\n    x = -1", "x"],
    "a with": ["import io\nwith io.StringIO('ab') as f:\n    text = f.read()", "text"],
    "a walrus": ["xs = [1, 2, 3]", "if (n := len(xs)) > 2: big = True", "(n, big)"],
    "a match": ["p = (1, 2)", "match p:\n    case (1, y): z = y", "z"],
    "a star": ["first, *rest = [1, 2, 3]", "rest + [first]"],
    "strings of many lines": ['text = """a\n  b\n    c\n"""', "if text:\n    more = '''x\n y'''", "text + more"],
    "f-strings": ["name = 'Ann'", 'f"""Dear {name},\n  yours"""'],
    "a continued line": ["a = 1 + \\\n    2", "b = (a +\n  4)", "(\n a\n + b\n)"],
    "backslashes and quotes": [r"path = 'C:\\new' + '\"' + '''\"\"\"'''", "path"],
    "a builtin's name": ["list_ = [3]\nsum = 4", "sum + list_[0]"],
    "the pipeline's name": ["trial = 1", "trial + 1"],
    "names that are not ASCII": ["größe = 2", "größe * 2"],
    "a name like one of ours": ["ask = 1\nstep = 2\npipeline = 3\nprogress = 4", "ask + step + pipeline + progress"],
    "nothing shown": ["a = [1]", "print(a)", "a"],
    "shown and given": ["a = [3, 1]\nsorted(a)", "a"],
    "a look at what is given": ["a = [3, 1]\na", "len(a)"],
    "comments": ["# one\na = 1  # two\n# three", "# four\n\na  # five\n# six"],
    "a nested function": ["def outer(x):\n    def inner(y): return x + y\n    return inner(1)", "outer(3)"],
    "in order of reading": ["x = 1", "y = x\nx = 5", "(x, y)"],
    "a shuffle": ["import random\nxs = list(range(5))", "random.Random(1).shuffle(xs)", "xs"],
    "a heap": ["import heapq\nheap = []", "heapq.heappush(heap, 3)\nheapq.heappush(heap, 1)", "heap"],
    "a class that reads a value": ["k = 4", "class T:\n    def f(self): return k", "T().f()"],
    "a default that reads a value": ["k = 4", "def f(x=k): return x", "f()"],
    "a semicolon": ["xs = [2]", "xs.copy();", "xs"],
    "a while": ["n = 0", "while n < 3: n += 1", "n"],
    "a value set late in a loop": ["last = None\nxs = [1, 2]", "for x in xs:\n    if x > 1: last = x", "last"],
    "deleted": ["a = 1\nb = 2", "del a\nb"],
}


@pytest.mark.parametrize("cells", SAME.values(), ids=SAME)
def test_a_pipeline_comes_to_what_the_cells_come_to(cells, tmp_path):
    source = source_of(*cells)
    assert [*values_of(source, tmp_path).values()][-1] == executed(*cells)[1], source


@pytest.mark.parametrize("cells", SAME.values(), ids=SAME)
def test_what_is_made_is_found_right_by_the_linter(cells):
    report = chapter("check").Report()
    chapter("check").read_source(source_of(*cells), report)
    assert not [p for p in report.problems if not re.search("imports no_such|redefinition of unused .pi", p)], source_of(*cells)


def test_the_same_for_tables_and_models(tmp_path):
    pandas = pytest.importorskip("pandas")
    cells = ["import pandas as pd", "df = pd.DataFrame({'a': [1, None, 3], 'b': list('xyz')})\ndf.head()", "df.dropna(inplace=True)", "df['c'] = df['a'] * 2\ndf.describe()",
             "df.loc[0, 'b'] = 'w'", "means = df.groupby('b').mean()\nmeans", "df.sort_values('a', ascending=False)"]
    names, last = executed(*cells)
    values = values_of(source_of(*cells), tmp_path)
    assert [*values.values()][-1].equals(last) and values["means"].equals(names["means"])
    assert len(values["df"]) == 3, "the step keeps what it gave, though a later one changed it"
    assert isinstance(values["df_describe"], pandas.DataFrame) and len(loaded(source_of(*cells)).steps) == 7


def test_numpy_arrays_are_changed_in_place(tmp_path):
    pytest.importorskip("numpy")
    cells = ["import numpy as np\na = np.zeros(3)", "a[1] = 5", "a += 1", "a.sort()", "a.tolist()"]
    assert [*values_of(source_of(*cells), tmp_path).values()][-1] == executed(*cells)[1]


# ─── what it looks like

def test_it_is_what_one_would_have_written_by_hand():
    made = source_of("M:# Sales\n\nWhat we sold.", "import csv\n\ndef total(rows):\n    return sum(rows)", "M:## Read the rows", "rows = [1, 2]  # in euros\nrows", "M:Add *them* up.",
                     "# all of them\nsum_ = total(rows)\nmean = sum_ / len(rows)", "M:Show it.", "round(mean, 1), sum_", name="sold")
    assert made == '''"""Sales.

What we sold.
"""
from sololith import *
import csv


def total(rows):
    return sum(rows)


sold = pipeline("Sales", name="sold")


@sold.step
def rows():
    "## Read the rows"
    return [1, 2]  # in euros


@sold.step
def add_them_up(rows):
    "Add *them* up."
    # all of them
    sum_ = total(rows)
    mean = sum_ / len(rows)
    return dict(mean=mean, sum_=sum_)


@sold.step
def show_it(add_them_up):
    "Show it."
    mean, sum_ = add_them_up["mean"], add_them_up["sum_"]
    return round(mean, 1), sum_
'''


def test_a_step_is_named_after_what_it_gives_then_after_its_words_then_by_number():
    steps = [*loaded(source_of("M:Load the file", "df = [1]", "M:### Clean it *well*, [please](http://x.example)", "df.append(2)", "df.append(3)\nprint(df)", "len(df)", "for x in df: print(x)")).steps]
    assert steps == ["df", "clean_it_well_please", "step_3", "len_df", "step_5"]


def test_markdown_above_functions_stands_above_them_and_other_markdown_waits_for_its_step():
    made = source_of("M:Helpers for it", "def f(): return 1", "M:One", "M:Two", "f()")
    assert '# Helpers for it\ndef f()' in made and next(iter(loaded(made).steps.values())).instruction == "One\n\nTwo"


def test_no_markdown_is_lost():
    made = source_of("M:# Title", "M:Above what is no Python", "%%R\nx", "M:Above a step", "1", "M:At\nthe end")
    assert "# Above what is no Python\n# %%R" in made and '"Above a step"' in made and made.endswith("# At\n# the end\n")


def test_a_cell_of_imports_and_definitions_is_no_step():
    assert len(loaded(source_of("import math\nfrom json import dumps", "def f(): return 1\nclass A: pass", "f()")).steps) == 1


# ─── plots

def test_a_cell_that_plots_gives_its_figure(tmp_path):
    pytest.importorskip("matplotlib")
    made = source_of("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.rcParams['figure.dpi'] = 50", "xs = [1, 2]", "plt.plot(xs)\nplt.title('One');", "plt.plot(xs)\nplt.show()", "fig, ax = plt.subplots()\nax.plot(xs)")
    assert 'import matplotlib\nmatplotlib.use("Agg")' in made and "plt.show" not in made and "%matplotlib" not in made
    values = [*values_of(made, tmp_path).values()]
    assert values[0] == [1, 2] and all(v.png.startswith(b"\x89PNG") for v in values[1:]) and len(values) == 4


def test_a_figure_that_is_drawn_on_in_several_cells_stays_one(tmp_path):
    pytest.importorskip("matplotlib")
    cells = ["import matplotlib.pyplot as plt", "fig, ax = plt.subplots()\nax.plot([1, 2])", "ax.plot([2, 1])", "fig"]
    made, told = notebook.pipeline_from(book(*cells), "trial")
    values = [*values_of(made, tmp_path).values()]
    assert "plt.figure()" not in made and len(values) == 3 and values[2].png.startswith(b"\x89PNG") and "the figure is not kept" in told[0]


# ─── what is asked for

def test_cells_tagged_parameters_become_fields(tmp_path):
    made = source_of(("n = 5  # how many\nname = 'a'\nrate: float = 1\nis_on = True\nnothing = None\nmore = [1, 2]\nlate = n + 1", ["parameters"]), "[name * n, rate, is_on, nothing, more, late]")
    fields = loaded(made).asked
    assert {n: (f.kind, f.default) for n, f in fields.items() if n != "nothing"} == {"n": ("int", 5), "name": ("text", "a"), "rate": ("float", 1),
                                                                                  "is_on": ("bool", True), "more": ("json", [1, 2])}
    assert fields["n"].help == "how many" and fields["nothing"].is_optional
    assert [*values_of(made, tmp_path, n=2).values()][-1] == ["aa", 1, True, None, [1, 2], 3]


def test_input_becomes_a_field_with_its_prompt_as_the_instruction(tmp_path):
    made = source_of("M:Tell us", "name = input('Your name? ')\nage = int(input(\"How old? \"))\nsize = float(input())", "print(name)\nheight = 2 * int(input('Height?'))\n[name, age, size, height]")
    steps = loaded(made).steps
    first = next(iter(steps.values()))
    assert {n: f.kind for n, f in loaded(made).asked.items()} == {"name": "text", "age": "int", "size": "float", "answer": "int"}
    assert first.instruction == "Tell us\nYour name?\nHow old?"
    assert [*values_of(made, tmp_path, name="Ann", age=3, size=1.5, answer=4).values()][-1] == ["Ann", 3, 1.5, 8]


def test_input_in_a_loop_is_told():
    assert "asks by input() in a loop" in told_of("while True:\n    if input('more?') == 'n': break", "1")


# ─── what is not Python

@pytest.mark.parametrize(["cell", "kept"], [("%%time\nx = 2", "return 2"), ("%time x = 2", "return 2"), ("%%capture out\nx = 2", "return 2"), ("%timeit -n 10 x = 2", "return 2"), ("%%timeit -n 3 y = 1\nx = y + 1", "y = 1"),
    ("%load_ext autoreload\n%autoreload 2\n%config X.y = 1\nx = 2", "return 2"), ("x = 2\n?x\nx?\nlist??", "return 2"), ("!pip install foo\nx = 2", "return 2"), ("if True:\n    !ls\n    x = 2", "    x = 2"),
    ("text = '''\n%not magic\n!nor this\n'''\n%matplotlib inline\nx = 2", "%not magic\n!nor this")])
def test_magics_that_are_not_needed_go_and_the_code_stays(cell, kept, tmp_path):
    made = source_of(cell, "x")
    assert kept in made and [*values_of(made, tmp_path).values()][-1] == 2, made


@pytest.mark.parametrize(["cell", "need"], [("!pip install foo", "pip install foo"), ("%pip install -q foo bar", "pip install -q foo bar"), ("!wget http://x.example/a.csv", "wget http://x.example/a.csv"),
    ("!wget \\\n  -q \\\n  x.csv", "wget -q x.csv"), ("%%bash\n# comment\nls -l\nrm -rf /", "rm -rf /"), ("%conda install foo", "conda install foo"), ("%%sh\necho hi", "echo hi")])
def test_commands_are_told_and_never_run(cell, need, tmp_path):
    made, told = notebook.pipeline_from(book("x = 1", cell, "x"), "trial")
    assert f"    {need}" in ast.get_docstring(ast.parse(made)) and need in "\n".join(told)
    assert [*values_of(made, tmp_path).values()] == [1] * 2 and "subprocess" not in made and "system" not in made


@pytest.mark.parametrize(["cell", "said"], [("%%R\nx <- 1", "%%R"), ("%%html\n<b>x</b>", "%%html"), ("%%javascript\nalert(1)", "%%javascript"), ("%%writefile a.py\nx = 1", "%%writefile"), ("files = !ls", "`files = !ls` works in IPython only"),
    ("%run other.py", "%run other.py"), ("print 'hello'", "Is it Python 2?"), ("exec 'a'", "is kept as a comment: Missing parentheses"), ("break", "outside loop"), ("yield 1", "outside function"), ("return 1", "outside function"), ("nonlocal x", "nonlocal"), ("def f(:", "is kept as a comment")])
def test_what_cannot_be_kept_is_told_and_stays_as_a_comment(cell, said):
    made, told = notebook.pipeline_from(book("x = 1", cell, "x"), "trial")
    assert said in "\n".join(told) and "Cell 2" in "\n".join(told)
    assert f"# {cell.splitlines()[0]}" in made and ast.parse(made)


def test_a_cell_that_failed_when_it_was_saved_is_a_comment():
    failing = json.loads(book("x = 1", "1 / 0", "y = 1 / 0", "x"))
    for cell in failing["cells"][1:3]: cell["outputs"] = [{"output_type": "error", "ename": "ZeroDivisionError", "evalue": "", "traceback": []}]
    made, told = notebook.pipeline_from(json.dumps(failing).encode(), "trial")
    assert "# 1 / 0" in made and "ZeroDivisionError" in told[0] and "y = 1 / 0" in made, "what sets something may work here"


def test_top_level_await_makes_an_async_step(tmp_path):
    made = source_of("import asyncio", "await asyncio.sleep(0)\nx = 4", "async def f(): return 5\ny = await f()", "x + y")
    assert made.count("async def") == 3 and [*values_of(made, tmp_path).values()][-1] == 9


def test_display_of_one_thing_is_shown(tmp_path): assert [*values_of(source_of("x = 3", "display(x)"), tmp_path).values()] == [3, 3]


# ─── versions and bad input

def test_a_notebook_of_version_3_is_read(tmp_path):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "old"}, "worksheets": [{"cells": [{"cell_type": "heading", "level": 1, "source": ["Old one"]},
        {"cell_type": "markdown", "source": ["Words"]}, {"cell_type": "code", "language": "python", "input": ["x = 2\n", "x"], "outputs": []}, {"cell_type": "code", "input": "x + 1", "outputs": []}]}]}
    made, _ = notebook.pipeline_from(json.dumps(old).encode(), "trial")
    assert 'pipeline("Old one"' in made and [*values_of(made, tmp_path).values()] == [2, 3]


BAD = {"empty": (b"", "it is empty"), "blank": (b" \n", "it is empty"), "binary": (b"\xff\xfe\x00\x01", "it is no text"), "text": (b"hello", "it is no JSON"), "cut": (book("x = 1")[:40], "it is no JSON"),
       "a list": (b"[]", "it has no cells"), "a number": (b"3", "it has no cells"), "null": (b"null", "it has no cells"), "no cells": (b"{}", "it has no cells"), "odd cells": (b'{"cells": [1]}', "it has no cells"), "odd sheets": (b'{"worksheets": 3}', "it has no cells"),
       "deep": (b'{"cells":' + b"[" * 100_000, "it is no JSON"), "nothing in it": (book(), "it has no cells"), "only words": (book("M:Hello"), "Nothing in this notebook can be run"),
       "only what is no Python": (book("%%R\nx"), "Nothing in this notebook can be run"), "R": (book("x <- 1", kernelspec={"name": "ir", "language": "R"}), "This notebook is in R."),
       "Julia": (book("x = 1", language_info={"name": "julia"}), "This notebook is in julia.")}


@pytest.mark.parametrize(["data", "said"], BAD.values(), ids=BAD)
def test_what_is_no_notebook_is_refused_in_a_sentence(data, said):
    with pytest.raises(Problem) as e: notebook.pipeline_from(data, "trial")
    assert said in str(e.value) and e.value.fix


@pytest.mark.parametrize("cell", [{"cell_type": "code"}, {"cell_type": None, "source": None}, {"cell_type": "code", "source": 5, "metadata": []}, {"cell_type": "code", "source": ["x = ", 1], "metadata": {"tags": "parameters", "sololith": 3}, "outputs": {}},
    {"cell_type": "heading", "source": "a", "level": "x"}, {"cell_type": "code", "source": "x", "outputs": [3]}, {"cell_type": "raw", "source": "raw"}], ids=str)
def test_odd_cells_do_no_harm(cell):
    good = json.loads(book("x = 1", "x"))
    good["cells"].insert(0, cell)
    with contextlib.suppress(Problem): ast.parse(notebook.pipeline_from(json.dumps(good).encode(), "trial")[0])


@pytest.mark.parametrize("n", [90, 150, 900, 1000, 90_000])
def test_what_is_nested_too_deeply_is_told(n):
    for cell in (f"x = {'+'.join(['1'] * n)}", f"x = {'[' * n}{']' * n}", f"x = {'-' * n}1", f"f{'(1)' * n}", f"x{'.a' * n}"):
        made, told = notebook.pipeline_from(book("y = 1", cell, "y"), "trial")
        assert bool(told) == (n > 100), told


NASTY = ['"""', "'''", '"', "\\", '\\"""', 'ends in "', "ends in \\", '"""\nimport os; os.system("x")\n"""', "a\x00b", "\ud800", "\u202e\u200b", "{x} %s", "a\r\nb\rc", "tab\there", "# " * 50, "é 中文 🎉", '"' * 7, "\\N{BULLET} \\x41 \\u12",
         "x\n    indented\n  less", "\n\n", "![](data:image/png;base64," + "A" * 500 + ")", "\f\v\x1b"]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_whatever_markdown_says_stays_text(text, tmp_path):
    cells = [{"cell_type": "markdown", "source": f"# {text}"}, {"cell_type": "markdown", "source": text}, {"cell_type": "code", "source": "x = 1\nx"}, {"cell_type": "markdown", "source": f"One\n{text}"}, {"cell_type": "code", "source": "def f(): return 1"},
             {"cell_type": "markdown", "source": f"Two {text}"}, {"cell_type": "code", "source": f"x + 1  # {re.sub(r'[^ -~]', '', text)}"}]
    made, _ = notebook.pipeline_from(json.dumps({"cells": cells}).encode(), "trial")
    assert [*values_of(made, tmp_path).values()] == [1, 2] and "os.system" not in [ast.unparse(n) for n in ast.walk(ast.parse(made)) if isinstance(n, ast.Call)]
    report = chapter("check").Report()
    chapter("check").read_source(made, report)
    assert not report.problems
    steps = [*loaded(made).steps.values()]
    plain = " ".join(re.sub(r"[\x00-\x1f\u202e\u200b\ud800]|\(data:.*?\)", " ", text).split())
    if plain and text != "\ud800": assert plain.split()[-1][:20] in steps[1].instruction


@pytest.mark.parametrize("text", ["x = '\u202e'", "x = 1\x0c\ny = 2", "\x0b", "x = '\x00'", "class", "\t x = 1", "x = 1\n\ty = 2", "€ = 1", "x = '\ud800'"], ids=repr)
def test_odd_code_is_told_or_kept(text):
    with contextlib.suppress(Problem): ast.parse(notebook.pipeline_from(json.dumps({"cells": [{"cell_type": "code", "source": "a = 1"}, {"cell_type": "code", "source": text}]}).encode(), "trial")[0])


# ─── from the shell and in the browser

FLOW = '''
"Flow: a table, a picture, a letter."
from sololith import *
import math

# how many there are
MOST = 3
flow = pipeline("Flow")


def root(x): return math.sqrt(x)


@flow.step
def rows(n: Annotated[int, Range(1, 9)] = 2, day: date = date(2026, 1, 2), word: str = "it's \\\\ \\"odd\\""):
    """How many?

    It is asked. "Well" \\\\ so.
    """
    print("made <b>", n)
    return [{"n": i, "<b>": f"{word}{day}"} for i in range(min(n, MOST))]
@flow.step(name="sizes")
def sizes_of(rows, progress: Progress): return [root(row["n"]) for row in progress(rows)]


@flow.step
async def letter(rows, ask: Ask, tone: Literal["warm", "cool"] = "warm") -> Markdown:
    "Write it."
    return f"**Dear** {tone} {len(rows)}"


@flow.step(when=lambda rows: len(rows) > 100)
def never(rows): return 1

@flow.step
async def later(sizes):
    await asyncio.sleep(0)
    return dict(sizes=sizes)

@flow.step(asks=True)
def noted(letter, later):
    "Add it."
    return use_tool("notes_add", {"title": "from a run", "text": letter}) and "added"


outer = pipeline("Flow around")
outer.step(flow)
outer.every("weekday 9:00")


@outer.step
def ended(flow): return f"{flow}!"


fails = pipeline("Flow fails")

@fails.step
def works(): return {"a": [1, None, 2.5, date(2026, 1, 1)]}

@fails.step
def broken(works): raise ValueError("<b>no</b>")

@fails.step
def unreached(broken): return 1


def test_root(): assert root(4) == 2
'''.lstrip()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("notebooks") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "flows.py").write_text(FLOW)
    with Server(workspace).start() as server: yield server


@contextlib.contextmanager
def within(workspace: Path):
    "In this process as if it were one of that workspace, whose server is asked."
    before = base.home.path
    base.home.at(workspace)
    try: yield
    finally: base.home.at(before)


def begun(server: Server, name: str, /, **given) -> int:
    "The number of a run that has come as far as it comes."
    with within(server.workspace): run = chapter("cli").elsewhere("run.start", dict(pipeline=name, given=given, executor="", resume=None))
    return Driven(server, run).until("done", "failed", "waiting").id


@pytest.fixture(scope="module")
def runs(running) -> dict[str, int]:
    "A run of each kind."
    (running.workspace / "files" / "t.csv").write_text("name,amount\nA,1\nB, 2\n")
    yes = {"--yes": True}
    return {"flow": begun(running, "flow", n=3, **yes), "outer": begun(running, "flow_around", **yes), "fails": begun(running, "flow_fails"), "hello": begun(running, "hello", name="Ann"),
            "csv": begun(running, "csv_clean", file="t.csv"), "waits": begun(running, "flow")}


def test_a_notebook_from_the_shell_becomes_a_pipeline_that_runs(tmp_path):
    file, workspace = tmp_path / "My Sales 2020.ipynb", tmp_path / "w"
    file.write_bytes(book("M:# Sales", ("n = 3", ["parameters"]), "!pip install foo", "xs = [x * n for x in range(4)]", "sum(xs)"))
    found = cli("notebook", "import", str(file), "--workspace", str(workspace))
    assert found.returncode == 0 and f"{workspace}/apps/my_sales_2020.py" in found.stdout, found
    for part in ("pip install foo", "ok       it loads: my_sales_2020", "all 3 steps"): assert part in found.stdout
    assert cli("run", "my_sales_2020", "--n", "2", "--workspace", str(workspace)).stdout == "12\n"
    again = cli("notebook", "import", str(file), "--workspace", str(workspace))
    assert again.returncode == 1 and "exists" in again.stderr
    told = json.loads(cli("notebook", "import", str(file), "--name", "other", "--json", "--workspace", str(workspace)).stdout)
    assert told["file"].endswith("other.py") and not told["problems"] and "pip install foo" in told["told"][0]


@pytest.mark.parametrize(["name", "data", "flags", "said"], [("absent.ipynb", None, [], "There is no file"), ("x.ipynb", b"", [], "it is empty"), ("x.ipynb", b"\0\1", [], "it is no"), ("x.ipynb", book("1"), ["--name", "a b"], "is not a name"),
    ("x.ipynb", book("1"), ["--name", "hello"], "Sololith's own"), ("x.ipynb", book("1"), ["--name", "../x"], "is not a name"), ("x.ipynb", book("%%R\nx"), [], "Nothing in this notebook")])
def test_a_bad_file_is_a_sentence_and_nothing_is_written(name, data, flags, said, tmp_path):
    file, workspace = tmp_path / name, tmp_path / "w"
    if data is not None: file.write_bytes(data)
    with within(workspace), pytest.raises(Problem, match=re.escape(said)): notebook.notebook_verb("import", str(file), name=flags[1] if flags else "")
    assert not list(tmp_path.rglob("*.py"))


def test_a_notebook_of_a_modules_name_gets_another():
    assert notebook.plugin_name("json") == "json_notebook" and notebook.plugin_name("Größe 1") == "grosse_1"


def test_a_notebook_in_the_browser_is_a_proposal_like_any_other(running):
    assert ".py,.ipynb" in running.get("/build").text
    answer = running.post("/build", {"act": "import"}, files={"file": ("Brought in.ipynb", book("M:# In", "!pip install foo", "x = 2", "x * 2"))}, HX_Request="true")
    place = answer.headers["HX-Redirect"]
    page = running.get(place).text
    assert "pip install foo" in page and "brought_in" in page and "all 2 steps" in page
    assert not (running.workspace / "apps" / "brought_in.py").exists(), "nothing is there before the person says so"
    digest = re.search(r"hash&quot;: &quot;(\w+)|hash\W+(\w{20,})", page)
    done = running.post(place, {"act": "install", "hash": digest[1] or digest[2]}, HX_Request="true")
    assert done.status == 200, done
    wait_for(lambda: (running.workspace / "apps" / "brought_in.py").exists(), 5)
    wait_for(lambda: "brought_in" in running.get("/").text, 5)
    assert Driven(running, begun(running, "brought_in")).values() == {"x": 2, "x_2": 4}


@pytest.mark.parametrize(["name", "data", "said"], [("x.ipynb", b"{}", "it has no cells"), ("x.IPYNB", b"\xff", "it is no text"), ("x.py", b"\xff", "This is no text")])
def test_a_bad_file_in_the_browser_is_a_sentence(running, name, data, said):
    answer = running.post("/build", {"act": "import"}, files={"file": (name, data)}, HX_Request="true")
    assert said in answer.text and answer.status < 500 and "HX-Redirect" not in answer.headers


# ─── a run becomes a notebook

CELL = {"code": {"cell_type", "id", "metadata", "source", "execution_count", "outputs"}, "markdown": {"cell_type", "id", "metadata", "source"}}


def assert_valid(made: dict) -> None:
    "nbformat 4.5, as far as it matters here."
    assert made["nbformat"] == 4 and made["nbformat_minor"] == 5 and made["metadata"]["kernelspec"]["name"] == "python3"
    ids = [c["id"] for c in made["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", i, re.A) for i in ids)
    for cell in made["cells"]:
        assert set(cell) == CELL[cell["cell_type"]] and isinstance(cell["source"], str)
        for out in cell.get("outputs", ()):
            if out["output_type"] == "stream": assert set(out) == {"output_type", "name", "text"}
            else:
                assert set(out) == {"output_type", "execution_count", "metadata", "data"} and out["execution_count"] == cell["execution_count"]
                assert all(isinstance(v, str) for v in out["data"].values()) and "text/plain" in out["data"]
    with contextlib.suppress(ImportError):
        import nbformat
        nbformat.validate(made)


def of_run(server: Server, run: int) -> dict:
    answer = server.get(f"/runs/{run}/export.ipynb")
    assert answer.status == 200 and "attachment" in answer.headers["Content-Disposition"], answer
    return answer.json()


def code_in(made: dict) -> list[str]: return [c["source"] for c in made["cells"] if c["cell_type"] == "code"]
def step_cell(made: dict, step: str) -> dict: return next(c for c in made["cells"] if c["metadata"].get("sololith", {}).get("step") == step)


def top_to_bottom(made: dict) -> dict:
    "Run a notebook's code as Jupyter would."
    names: dict = {"__name__": "__main__"}
    async def run() -> None:
        for text in code_in(made):
            found = eval(compile(text, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
            if inspect.isawaitable(found): await found
    asyncio.run(run())
    return names


def test_every_run_is_a_valid_notebook_that_runs_from_top_to_bottom(running, runs):
    with within(running.workspace):  # where its files are, as $SOLOLITH_HOME says
        for run in runs.values():
            made = of_run(running, run)
            assert_valid(made)
            top_to_bottom(made)
            assert str(running.workspace) not in json.dumps(made), "no path of this machine"


def test_a_run_that_is_run_again_comes_to_the_same(running, runs):
    names = top_to_bottom(of_run(running, runs["flow"]))
    values = Driven(running, runs["flow"]).values()
    assert names["sizes"] == values["sizes"] and names["letter"] == values["letter"] and names["later"] == values["later"] and names["never"] is None


def test_a_notebook_tells_instructions_answers_and_outputs(running, runs):
    made = of_run(running, runs["flow"])
    told = "\n".join(c["source"] for c in made["cells"] if c["cell_type"] == "markdown")
    for part in ("# Flow\n", "Flow: a table, a picture, a letter.", "## Rows\n\nHow many?\n\nIt is asked.", "## Sizes", "**Skipped.**"): assert part in told
    rows_cell = step_cell(made, "rows")
    assert '''rows = rows(n=3, day=date.fromisoformat("2026-01-02"), word='it\\'s \\\\ "odd"')\nrows''' in rows_cell["source"]
    stream, result = rows_cell["outputs"]
    assert stream["text"] == "made <b> 3\n" and "<th>&lt;b&gt;</th>" in result["data"]["text/html"] and "'n': 0" in result["data"]["text/plain"]
    assert "sizes = sizes_of(rows, progress=progress)" in step_cell(made, "sizes")["source"]
    assert "later = await later(sizes)" in step_cell(made, "later")["source"]
    assert step_cell(made, "letter")["outputs"][0]["data"]["text/markdown"] == "**Dear** warm 3"


def test_what_a_notebook_cannot_do_takes_what_the_run_gave(running, runs):
    made = of_run(running, runs["flow"])
    assert "# It wants the model, so this is what it gave in the run:\nletter = '**Dear** warm 3'" in step_cell(made, "letter")["source"]
    assert "# It wants a person's approval, so" in step_cell(made, "noted")["source"] and "noted = 'added'" in step_cell(made, "noted")["source"]


def test_what_failed_or_waits_is_marked_and_not_called(running, runs):
    made = of_run(running, runs["fails"])
    assert "**Failed.** ValueError: <b>no</b>" in "\n".join(c["source"] for c in made["cells"])
    assert "# broken = broken(works)" in step_cell(made, "broken")["source"] and "**Waiting.**" in json.dumps(made)
    assert "# noted = noted(letter, later)" in step_cell(of_run(running, runs["waits"]), "noted")["source"]


def test_a_pipeline_as_a_step_is_told_in_words(running, runs):
    made = of_run(running, runs["outer"])
    assert "A pipeline of its own: run" in json.dumps(made) and "flow = 'added'" in "\n".join(code_in(made))


def test_answers_are_written_as_python_says_them():
    from datetime import date, datetime, time
    from decimal import Decimal
    for value in (None, True, 1, -1.5, "it's \\ \"\n", [1, ["a"]], {"a": {"b": None}}, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4), time(5, 6), Decimal("1.50"), Path("a/b")):
        assert eval(notebook.literal(value)) == value
    assert eval(notebook.literal(float("inf"))) == float("inf")
    with pytest.raises(ValueError): notebook.literal({1})


def test_pictures_and_tables_have_their_mime_types():
    picture = chapter("values").Picture(b"\x89PNG")
    assert notebook.mimes(picture) == {"text/plain": "<picture>", "image/png": "iVBORw=="}
    class Odd:
        def _repr_html_(self): raise ValueError("no")
        def __repr__(self): return "odd\ud800"
    assert notebook.mimes(Odd())["text/plain"] == "odd?"
    class Rich:
        def _repr_mimebundle_(self): return {"text/html": "<i>", "application/vnd.jupyter.widget-view+json": {}}, {}
        def _repr_svg_(self): return "<svg/>"
    assert set(notebook.mimes(Rich())) == {"text/plain", "text/html", "image/svg+xml"}
    if pandas := pytest.importorskip("pandas"): assert "<table" in notebook.mimes(pandas.DataFrame({"a": [1]}))["text/html"]


def test_the_menu_of_a_run_has_it_and_the_shell_too(running, runs, tmp_path):
    assert f'href="/runs/{runs["flow"]}/export.ipynb"' in running.get(f"/runs/{runs['flow']}").text
    printed = running.cli("notebook", "export", str(runs["flow"]))
    assert json.loads(printed.stdout)["cells"] == of_run(running, runs["flow"])["cells"]
    with within(running.workspace): assert notebook.notebook_verb("export", str(runs["flow"]), o=str(tmp_path / "x.ipynb")) == str(tmp_path / "x.ipynb")
    assert json.loads((tmp_path / "x.ipynb").read_text())["nbformat"] == 4


@pytest.mark.parametrize(["run", "said"], [("999", "There is no run 999"), ("x", "x is no run"), ("-1", "is no run"), ("²", "is no run"), ("1.5", "is no run")])
def test_a_run_that_is_not_there_is_a_sentence(running, run, said):
    with within(running.workspace), pytest.raises(Problem, match=said): notebook.notebook_verb("export", run)
    assert running.get("/runs/999/export.ipynb").status == 404


# ─── and back

def test_a_notebook_of_a_run_comes_back_as_the_file_that_it_was(running, runs):
    files = {"flow": FLOW, "outer": FLOW, "fails": FLOW, "waits": FLOW, "hello": (ROOT / "sololith/apps/hello.py").read_text(), "csv": (ROOT / "sololith/apps/csv_clean.py").read_text()}
    for name, file in files.items():
        made, told = notebook.pipeline_from(json.dumps(of_run(running, runs[name])).encode(), "again")
        assert made == file and not told, name


DOCS = [b for page in ("pipelines", "models", "tools", "building") for b in re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.S) if ".step" in b]
BUILT_IN = [(ROOT / f"sololith/apps/{n}.py").read_text() for n in ("hello", "csv_clean", "link_check", "models")]


@pytest.mark.parametrize("source", [*DOCS, *BUILT_IN, FLOW.replace("# how many", "#: how many"), "\n\n" + FLOW.replace("\n\n\n", "\n\n\n\n# x\n\n")], ids=range(len(DOCS) + len(BUILT_IN) + 2))
def test_pipeline_to_notebook_to_pipeline_gives_the_same_source(source, monkeypatch):
    if "sololith_apps" in source: pytest.skip("it wants another plugin")
    made = loaded(source, "around")
    made.plugin.source, made.plugin.path = source, Path("around.py")
    row = {"id": 1, "title": "t", "at": "now", "status": "waiting", "pipeline": made.name}
    for module, name, value in ((notebook, "runs", types.SimpleNamespace(row=lambda i: row)), (notebook, "rows_of_run", lambda i: {}), (notebook, "pipeline_of", lambda r: made)):
        monkeypatch.setattr(module, name, value)
    book_ = notebook.notebook_of(1)
    assert_valid(book_)
    assert notebook.pipeline_from(json.dumps(book_).encode(), "x")[0] == source


def test_what_was_edited_in_jupyter_counts(running, runs):
    made = of_run(running, runs["flow"])
    cell = step_cell(made, "sizes")
    cell["source"] = cell["source"].replace("root(row", "2 * root(row").replace('#: @flow.step(name="sizes")', '#: @flow.step(name="sizes", retry=1)') + "\nprint(sizes)"
    made["cells"].append({"cell_type": "code", "metadata": {}, "source": "sizes[0]", "outputs": []})
    source, told = notebook.pipeline_from(json.dumps(made).encode(), "again")
    assert source == FLOW.replace("root(row", "2 * root(row").replace('@flow.step(name="sizes")', '@flow.step(name="sizes", retry=1)') and "added by hand" in told[0]
    cell["source"] = "def ("
    with pytest.raises(Problem, match="is no Python"): notebook.pipeline_from(json.dumps(made).encode(), "again")


def test_an_imported_notebook_comes_back_too(running):
    "notebook → pipeline → run → notebook → pipeline"
    first = source_of("M:# Round", "xs = [1, 2]", "M:Add", "sum(xs)", name="round_trip")
    (running.workspace / "apps" / "round_trip.py").write_text(first)
    wait_for(lambda: "round_trip" in running.get("/").text, 5)
    made = of_run(running, begun(running, "round_trip"))
    assert notebook.pipeline_from(json.dumps(made).encode(), "x")[0] == first and top_to_bottom(made)["sum_xs" if "sum_xs" in first else "add"] == 3


@pytest.mark.package_only  # the kernel imports sololith by its name
@pytest.mark.skipif(not all(map(importlib.util.find_spec, ("nbconvert", "ipykernel"))), reason="nbconvert and ipykernel are not installed")
def test_nbconvert_executes_it(running, runs, tmp_path):
    for name in ("flow", "fails", "hello"):
        (file := tmp_path / f"{name}.ipynb").write_text(json.dumps(of_run(running, runs[name])))
        done = subprocess.run([sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done", str(file)], capture_output=True, text=True, timeout=110,
                              env=environment(SOLOLITH_HOME=str(running.workspace), HOME=str(tmp_path), PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"))
        assert done.returncode == 0, done.stderr


# ─── in Jupyter

class Shell:
    "What IPython gives an extension."
    def __init__(self): self.names = {}
    def push(self, names): self.names |= names


@pytest.fixture
def shell(running):
    import sololith
    made = Shell()
    with within(running.workspace):
        sololith.load_ipython_extension(made)
        yield made.names


def plain(found) -> list[dict]: return found if isinstance(found, list) else found.to_dict("records")


def test_apps_can_be_read_and_changed_from_jupyter(shell, running):
    assert {"tasks", "notes", "runs", "ask"} <= set(shell)
    shell["tasks"].add(title="From Jupyter")
    found = plain(shell["tasks"](title="From Jupyter"))
    assert len(found) == 1 and shell["tasks"][found[0]["id"]]["title"] == "From Jupyter"
    assert "From Jupyter" in running.get("/tasks").text
    entry = rows_in(running.workspace / "data.db", "SELECT actor FROM journal WHERE app='tasks' ORDER BY id DESC")[0]
    assert entry["actor"] == "cli" and "tasks" in repr(shell["tasks"])


def test_records_are_a_table_where_pandas_is_loaded(shell, monkeypatch):
    pandas = pytest.importorskip("pandas")
    assert isinstance(shell["runs"](), pandas.DataFrame)
    monkeypatch.delitem(sys.modules, "pandas")
    assert isinstance(shell["runs"](), list)


def test_what_cannot_be_done_is_a_sentence(shell):
    for wrong in (lambda: shell["tasks"].add(titel="x"), lambda: shell["tasks"][99999], lambda: shell["tasks"].fly(), lambda: shell["ask"]("hello?")):
        with pytest.raises(Problem) as e: wrong()
        assert e.value._render_traceback_() == [str(e.value)]
    assert not hasattr(shell["tasks"], "_repr_html_")


def test_the_model_answers_in_jupyter(start, workspace, capsys):
    with ModelServer() as model:
        start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"})
        model.says("Two tasks, and a walk.")
        with within(workspace): assert notebook.ask_afar("What is there to do?") == "Two tasks, and a walk."
    assert capsys.readouterr().out.startswith("Two tasks, and a walk.")


def test_without_a_running_system_it_says_so(tmp_path):
    import sololith
    for _ in range(2):
        with within(tmp_path), pytest.raises(Problem, match="Sololith is not running. Start it: sololith"): sololith.load_ipython_extension(Shell())
        (tmp_path / ".run").mkdir(exist_ok=True)
        (tmp_path / ".run" / "url").write_text("http://127.0.0.1:9")  # it has ended without a word
        (tmp_path / ".run" / "secret").write_text("x")
