"""Notebooks: an .ipynb becomes a pipeline that one would have written by hand, and a run becomes an .ipynb.

    source, told = pipeline_from(data, "sales")    # a plugin's text, and what a person has to know, in sentences
    notebook_of(12)                                # a run as a notebook (nbformat 4.5), as a dict
    %load_ext sololith                             # in Jupyter: tasks(), tasks.add(title="Milk"), runs(), ask("…")

In: a cell is a step, markdown the instruction of the step after it. What a cell reads and earlier cells made is piped to it,
what later cells read is what it gives; imports and functions stand above; `input()` and cells tagged `parameters` are asked
for; `%pip` and `!commands` are told, and never run. Out: what registers with Sololith is folded into comments (`#: `), so
that the notebook runs by itself, and comes back as the file that it was, with what was edited in Jupyter.
Not covered: a value under two names that is changed through one of them; what cannot be pickled (open files, generators).
"""
import ast, base64, builtins, inspect, io, itertools, json, re, symtable, sys, time as clock, tokenize
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from collections.abc import Iterable, Mapping
from starlette.responses import Response
from .base import *
from .builder import HIDDEN_BY, bringing, doc, identifier
from .check import HIDDEN_SIGNS, examine, visible
from .cli import app_called, calling, elsewhere, new_plugin_file, verb
from .fields import clip, number, sayable
from .pipeline import Pipeline, Progress, Step, answers_in, describe, pipeline_of, rows_of_run, runs
from .plugins import MODULES, check_name
from .runs import in_menu
from .source import chapters
from .values import load, rows_of, show_rows

MOST_BYTES, DEEPEST = 64 << 20, 120  # of a notebook; of an expression in it
SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.FunctionDef, ast.AsyncFunctionDef,
    ast.ClassDef)
DEFS, IMPORTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), (ast.Import, ast.ImportFrom)
# Methods that change what they are called on, even where their value is used; and those whose value alone counts.
CHANGES = re.compile(r"append(left)?|extend|insert|remove|discard|clear|pop\w*|push\w*|add|add_(?!prefix|suffix)\w+|update|"
    r"setdefault|sort|reverse|(partial_)?fit\w*|train\w*|compile|set_(?!index|axis)\w+|reset|shuffle|seed|step|run|play|move|"
    r"write\w*|put\w*|close|start|stop|learn\w*|send|seek|read\w*")
LOOKS = re.compile(r"head|tail|describe|info|sample|plot\w*|hist|boxplot|show|keys|values|items|copy|sum|mean|value_counts|"
    r"groupby|save\w*|to_\w+|print\w*|display")
CHANGERS = {"next", "setattr", "delattr", "shuffle", "heappush", "heappop", "heapify", "insort"}  # their first argument
MADE = re.compile(r"lambda\b|([\w.]+\.)?(namedtuple|NamedTuple|TypeVar|NewType)\(")  # as good as a definition
DROPPED_MAGICS = {"matplotlib", "load_ext", "reload_ext", "config", "autoreload", "precision", "watermark"}
OPTIONS = re.compile(r"^(-\w+ ?\d*( |$))+")
TIMING = {"time", "timeit", "capture", "prun"}
PLOTS = re.compile(r"\bplt\.(?!style|rc|show|close)|\bsns\.\w*(plot|map|hist|grid)\w*\(|\.(plot|hist|boxplot)\b|\bimshow\(")
NEW_FIGURE = re.compile(r"\bfigure\(|\bsubplots\(")


# ─── reading a notebook ───

class Cell(NamedTuple):
    nr: int
    kind: str
    text: str
    tags: list[str]
    ours: dict[str, Any]
    failed: str  # with what it ended when it was saved


def cells_of(data: bytes) -> list[Cell]:
    "The cells of a notebook of any version. Raises Problem for what is none in Python."
    bad = lambda what: Problem(f"This is no notebook: {what}.", fix="Choose a file that Jupyter saved (.ipynb).")
    if len(data) > MOST_BYTES: raise bad(f"it has more than {MOST_BYTES >> 20} MB (clear its outputs in Jupyter)")
    try: book = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError: raise bad("it is no text") from None
    except (ValueError, RecursionError): raise bad("it is no JSON" if data.strip() else "it is empty") from None
    try:
        cells = book["cells"] if "cells" in book else [c for s in book["worksheets"] for c in s["cells"]]  # in version 3
        made, facts = [cell_of(nr, cell) for nr, cell in enumerate(cells, 1)], book.get("metadata", {})
        spoken = facts.get("kernelspec", {}).get("language") or facts.get("language_info", {}).get("name")
    except (LookupError, TypeError, ValueError, AttributeError): made, spoken = [], ""
    if not made: raise bad("it has no cells, or odd ones")
    if spoken and "python" not in str(spoken).lower():
        raise Problem(f"This notebook is in {clip(spoken, 30)}.", fix="A pipeline is written in Python.")
    return made


def cell_of(nr: int, cell: Mapping) -> Cell:
    kind, text, about = cell["cell_type"], cell.get("source") or cell.get("input") or "", cell.get("metadata", {})
    text = re.sub(r"\r\n?", "\n", sayable(text if isinstance(text, str) else "".join(text)))
    if kind == "heading": kind, text = "markdown", f"{'#' * min(number(cell.get('level')) or 1, 6)} {text}"  # in version 3
    failed = [clip(o.get("ename")) for o in cell.get("outputs", ()) if o["output_type"] in ("error", "pyerr")]
    return Cell(nr, kind, text, about.get("tags", []), dict(about.get("sololith", {})), "".join(failed[:1]))


def plain_python(text: str, nr: int, told: list[str], needs: list[str]) -> str:
    "A cell's text without what only IPython knows, which is told. Raises SyntaxError or ValueError for what is no Python."
    if magic := re.match(r"\s*%%(\w+)(.*)\n?", text):
        name, rest = magic[1], text[magic.end():]
        if name in TIMING: text = OPTIONS.sub("", magic[2].strip()) * (name == "timeit") + "\n" + rest
        elif name in ("bash", "sh", "pip", "system", "script", "cmd"):
            needs += [line for line in rest.split("\n") if line.strip() and line[0] != "#"]
            return ""
        else: raise ValueError(f"%%{name} is no Python")
    lines = [*text.split("\n"), ""]
    while True:
        try: compile("\n".join(lines), f"cell {nr}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except (SyntaxError, ValueError) as e:
            at = (getattr(e, "lineno", 0) or 1) - 1
            while re.match(r"\s*[%!].*\\\s*$", lines[at]):  # a command on several lines
                lines[at] = f"{lines[at].rstrip()[:-1].rstrip()} {lines.pop(at + 1).strip()}"
            line = lines[at]
            space, bare = line[:len(line) - len(line.lstrip())], line.strip()
            word, now = "".join(re.findall(r"^%(\w+)", bare)), ""
            if bare.startswith("!") or word in ("pip", "conda", "system", "sx"): needs.append(bare.lstrip("!%"))
            elif word in TIMING: now = OPTIONS.sub("", bare.removeprefix(f"%{word}").lstrip())
            elif word in DROPPED_MAGICS or bare.startswith("?") or bare.endswith("?"): pass
            elif re.match(r"%|[\w, ]+=\s*[%!]", bare):
                told.append(f"Cell {nr}: `{clip(bare)}` works in IPython only: write it in Python.")
                now = f"# {bare}"
            else: raise
            lines[at] = space + (now if now[:1] not in ("", "#") or not space else f"pass  {now}".rstrip())
        else: return "\n".join(lines)


def commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in HIDDEN_SIGNS.sub("", text).strip("\n").split("\n"))


# ─── what code reads, sets and changes ───

class Helper(NamedTuple):
    "A function or class of the notebook: what it reads and changes from outside, and which of its arguments it changes."
    text: str
    reads: set[str]
    alters: set[str]
    places: list[int]
    is_inner: bool = False  # it goes into each step that calls it


class Names(ast.NodeVisitor):
    """What statements read before they set it, set (`sure`: in any case), and alter in place, in the order in which they
    run. `is_look`: the last is an expression that is there to be seen."""
    def __init__(self, nodes: Iterable[ast.AST], helpers: Mapping[str, Helper] = {}, is_look: bool = False):
        self.reads, self.writes, self.sure, self.altered, self.stored = (set[str]() for _ in range(5))
        self.helpers, self.used, self.is_look, self.statement = helpers, set[str](), is_look, None
        for node in nodes: self.visit(node)

    def read(self, *names: str) -> None:
        for n in names:
            if n in self.sure: continue
            self.reads.add(n)
            if n in self.helpers and n not in self.used:
                self.used.add(n)
                self.read(*self.helpers[n].reads)
                self.alter(*self.helpers[n].alters)

    def set(self, name: str) -> None:
        for kind in (self.writes, self.sure, self.stored): kind.add(name)

    def alter(self, *names: str) -> None:
        self.altered |= {*names} - self.sure
        self.writes |= {*names}
        self.read(*names)

    def change(self, node: Any) -> None:
        while isinstance(node, ast.Attribute | ast.Subscript): node = node.value
        if isinstance(node, ast.Name): self.alter(node.id)

    def branches(self, *ways: Iterable[ast.AST]) -> None:
        before, ends = set(self.sure), list[set[str]]()
        for way in ways:
            self.sure = set(before)
            for node in way: self.visit(node)
            ends.append(self.sure)
        self.sure = set.intersection(*ends)

    def visit(self, node: Any) -> None:
        match node:
            case ast.Name(ctx=ast.Store()): self.set(node.id)
            case ast.Name(): self.read(node.id)
            case ast.Assign() | ast.AnnAssign() | ast.NamedExpr() | ast.AugAssign():
                if isinstance(node, ast.AugAssign): self.change(node.target)
                for part in reversed([*ast.iter_child_nodes(node)]): self.visit(part)  # the value stands last
            case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
                self.change(node)
                self.generic_visit(node)
            case ast.For() | ast.AsyncFor():
                self.visit(node.iter)
                self.branches([node.target, *node.body], node.orelse)
            case ast.While() | ast.If():
                self.visit(node.test)
                self.branches(node.body, node.orelse)
            case ast.Try():
                self.branches([*node.body, *node.orelse], *([h.type, *[ast.Name(h.name, ast.Store())] * bool(h.name),
                    *h.body] for h in node.handlers))
                for part in node.finalbody: self.visit(part)
            case ast.Match():
                self.visit(node.subject)
                self.branches(*([c] for c in node.cases), [])
            case ast.Import() | ast.ImportFrom():
                self.sure |= {a.asname or a.name.partition(".")[0] for a in node.names}
            case ast.Expr():
                self.statement = node.value.value if isinstance(node.value, ast.Await) else node.value
                self.visit(node.value)
            case ast.Call():
                self.generic_visit(node)
                self.call(node)
            case ast.AST() if isinstance(node, SCOPES): self.inner(node)
            case ast.AST(): self.generic_visit(node)

    def call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if isinstance(node.func, ast.Attribute):
            in_place = any(k.arg == "inplace" and ast.unparse(k.value) == "True" for k in node.keywords)
            is_for_effect = node is self.statement and not self.is_look and not LOOKS.fullmatch(name)
            if in_place or is_for_effect or CHANGES.fullmatch(name): self.change(node.func.value)
        places = [0] if name in CHANGERS else self.helpers[name].places if name in self.helpers else []
        for at in places:
            if at < len(node.args): self.change(node.args[at])

    def inner(self, node: Any) -> None:
        "What has names of its own: what it reads from outside."
        if name := getattr(node, "name", ""): self.set(name)
        tables = [symtable.symtable(ast.unparse(node), "cell", "exec")]
        for table in tables:
            tables += table.get_children()
            for s in table.get_symbols():
                if s.is_referenced() and (s.is_global() or table.get_type() == "module"): self.read(s.get_name())
                if s.is_declared_global() and s.is_assigned(): self.alter(s.get_name())


def helper_of(text: str, node: Any) -> Helper:
    seen = Names([node])
    function = node.value if isinstance(node, ast.Assign) else node
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef): return Helper(text, seen.reads, seen.altered, [])
    names, inside = [a.arg for a in function.args.args], Names(function.body)
    return Helper(text, seen.reads - {function.name}, seen.altered | inside.altered & seen.reads,
        [at for at, n in enumerate(names) if n in inside.altered])


# ─── cells → steps ───

class Unit(NamedTuple):
    "Statements that stand on lines of their own, with the comments above them."
    text: str
    nodes: list[Any]

    @property
    def names(self) -> Names: return Names(self.nodes)

    @property
    def name(self) -> str:
        "What a function, a class or an assignment is called."
        node = self.nodes[0]
        return getattr(node, "name", "") or ast.unparse(getattr(node, "targets", [ast.Constant("")])[0])

    @property
    def kind(self) -> str:
        node, imports = self.nodes[0], lambda nodes: all(isinstance(n, IMPORTS) for n in nodes)
        if imports(self.nodes): return "import"
        if len(self.nodes) > 1: return "code"
        if isinstance(node, ast.Try) and imports(node.body): return "import"
        is_named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        return "helper" if isinstance(node, DEFS) or is_named and MADE.match(ast.unparse(node.value)) else "code"

    @property
    def look(self) -> ast.expr | None:
        "The expression that is there to be seen, where it is one."
        node, calls = self.nodes[-1], ("print", "plt.show", "plt.close")
        if len(self.nodes) > 1 or not isinstance(node, ast.Expr) or self.text.rstrip().endswith(";"): return None
        value = node.value
        called = ast.unparse(value.func) if isinstance(value, ast.Call) else ""
        return None if called in calls else value.args[0] if called == "display" and len(value.args) == 1 else value


def units_of(text: str) -> list[Unit]:
    "The statements of a cell, each with its text; those on one line together."
    lines, groups, tree = text.split("\n"), list[list[Any]](), ast.parse(text)
    level, depth = [tree], 0
    while level := [child for n in level for child in ast.iter_child_nodes(n)]: depth += 1
    if depth > DEEPEST: raise RecursionError("it is nested too deeply")
    for node in tree.body:
        if groups and first_line(node) < (groups[-1][-1].end_lineno or 0): groups[-1].append(node)
        else: groups.append([node])
    ends = [*(nodes[-1].end_lineno for nodes in groups[:-1]), len(lines)]
    return [Unit("\n".join(lines[start:end]).rstrip(), nodes) for start, end, nodes in zip([0, *ends], ends, groups,
        strict=False)]


def indented(text: str, by: str = "    ") -> str:
    "A text one level deeper; the lines inside its strings stay."
    kinds = (tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    inside = {n for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in kinds
        for n in range(t.start[0] + 1, t.end[0] + 1)}
    return "\n".join(line if n in inside or not line.strip() else by + line for n, line in enumerate(text.split("\n"), 1))


@dataclass
class Work:
    "What becomes a step: some of a cell's statements."
    nr: int
    units: list[Unit]
    about: str = ""
    fields: dict[str, str] = field(default_factory=dict)  # what is asked for: a parameter's hint and default, by name
    helpers: dict[str, Helper] = field(default_factory=dict)
    comment: str = ""                                     # instead of a step
    name: str = ""
    names: Names = field(default_factory=lambda: Names([]))
    gives: list[str] = field(default_factory=list)
    plots: bool = False

    @property
    def look(self) -> ast.expr | None: return self.units[-1].look if self.units else None

    def see(self) -> None:
        "Find out what it reads and sets."
        self.names = Names([], self.helpers)
        for u in self.units:
            self.names.is_look = u is self.units[-1] and self.look is not None
            for node in u.nodes: self.names.visit(node)
        self.names.reads -= self.fields.keys() | self.helpers.keys()
        for n in self.fields: self.names.set(n)
        texts = [u.text for u in self.units] + [self.helpers[n].text for n in self.names.used]
        self.plots = any(PLOTS.search(t) for t in texts)


def flow(works: list[Work], variables: set[str]) -> None:
    "What each gives: what it sets and a later one reads; from the last to the first."
    live = set[str]()
    for work in reversed(works):
        work.see()
        work.gives = sorted(work.names.writes & live & variables)
        work.names.reads |= {*work.gives} - work.names.sure
        live = live - work.names.sure | work.names.reads & variables


def halves_of(work: Work) -> list[Work]:
    "A cell that gives something and then shows something else, as two: what makes it, and what shows it."
    at = max([0, *(n for n, u in enumerate(work.units, 1) if Names(u.nodes, work.helpers, n == len(work.units)
        and u.look is not None).writes & {*work.gives})])
    rest, look = work.units[at:], work.look
    is_drawn = any(NEW_FIGURE.search(u.text) for u in work.units[:at])  # what is drawn on belongs together
    if is_drawn or not work.gives or not rest or not (look or any(PLOTS.search(u.text) for u in rest)): return [work]
    first = Work(work.nr, work.units[:at], work.about, work.fields, work.helpers)
    root = re.fullmatch(r"(\w+)(\.(head|tail|sample|shape|columns)(\(.*\))?)?", ast.unparse(look)) if look else None
    if root and root[1] in work.gives and len(rest) == 1: return [first]
    return [first, Work(work.nr, rest, helpers=work.helpers)] if first.units or first.fields else [work]


def ask_instead(work: Work, told: list[str]) -> None:
    "Make fields of what a cell asks for by input()."
    prompts = list[str]()
    for at, unit in reversed([*enumerate(work.units)]):
        nodes, text = [*ast.walk(ast.parse(unit.text))], unit.text
        calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func) in ("input", "raw_input")]
        if calls and any(isinstance(n, ast.For | ast.While | ast.AsyncFor) for n in nodes):
            told.append(f"Cell {work.nr} asks by input() in a loop, which a step cannot: make it a field.")
            continue
        for call in calls:
            whole: Any = next((n for n in nodes if isinstance(n, ast.Call) and n.args == [call]
                and ast.unparse(n.func) in ("int", "float", "str")), call)
            said = ast.get_source_segment(unit.text, whole) or ""
            alone = re.fullmatch(rf"\s*(\w+)\s*=\s*{re.escape(said)}\s*", unit.text)
            name = alone[1] if alone else f"answer_{len(work.fields)}".removesuffix("_0")
            text = "" if alone else text.replace(said, name, 1)
            work.fields = {name: ": str" if whole is call else f": {ast.unparse(whole.func)}", **work.fields}
            prompts[:0] = [str(a.value).strip() for a in call.args[:1] if isinstance(a, ast.Constant)]
        if calls: work.units[at:at + 1] = units_of(text)
    work.about = "\n".join(filter(None, [work.about, *prompts]))


def ask_parameters(work: Work) -> None:
    "Make fields of what a cell tagged `parameters` sets."
    left = []
    for unit in work.units:
        node: Any = unit.nodes[0]
        target = getattr(node, "target", (getattr(node, "targets", None) or [None])[0])
        try: value = ast.literal_eval(node.value)
        except (AttributeError, ValueError, TypeError): value = ...
        if value is ... or len(unit.nodes) > 1 or not isinstance(target, ast.Name):
            left.append(unit)
            continue
        hint = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
        hint = hint if hint in ("int", "float", "str", "bool") else "Json" if isinstance(value, list | dict | tuple) \
            else "str | None" if value is None else type(value).__name__
        said = [t.string.lstrip("#: ") for t in tokenize.generate_tokens(io.StringIO(unit.text).readline)
            if t.type == tokenize.COMMENT]
        if said: hint = f"Annotated[{hint}, Help({doc(' '.join(said))})]"
        work.fields[target.id] = f": {hint} = {ast.unparse(node.value)}"
    work.units = left


# ─── steps → a file ───

def docstring_text(text: str) -> str: return re.sub(r"\(data:[^)]{99,}\)", "()", HIDDEN_SIGNS.sub("", text)).strip()


def remark(text: str) -> str: return commented(docstring_text(text))


def docstring(text: str, by: str = "    ") -> str:
    "A text as a docstring, whatever is in it."
    text = docstring_text(text)
    if "\n" not in text and len(text) < 100: return by + doc(text)
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = "\n".join(by + line.rstrip() if line.strip() else "" for line in text.split("\n")).lstrip()
    return f'{by}"""{lines}' + ("\n" + by if lines[-1:] in '"\\' or "\n" in lines else "") + '"""'


def words_of(text: str, most: int = 4) -> str:
    "The first words of a text in Markdown, or of code, as a name."
    line = next((line for line in text.split("\n") if re.search(r"[a-zA-Z]", line)), "")
    words = re.findall(r"[^\W_]+", re.sub(r"\]\([^)]*\)|<[^>]*>|['’]\w\b|https?:\S+", "", line))[:most]
    return identifier(" ".join(words)) if words else ""


def name_work(work: Work, nr: int, taken: set[str], used: set[str]) -> str:
    "Like the one name that it gives, or like the words above it, or like what it shows."
    one = work.gives[0] if len(work.gives) == 1 else work.look.id if isinstance(work.look, ast.Name) else ""
    if one and one not in used and one.isascii() and not one.startswith("_"): return one
    look = ast.unparse(work.look) if work.look is not None and len(work.units) == 1 and not work.plots else ""
    base = words_of(work.about) or words_of(look, 3) or ("plot" if work.plots else "")
    if not base or base in ("value", *HIDDEN_BY): base = f"step_{nr}"
    return next(n for n in itertools.chain([base], (f"{base}_{i}" for i in itertools.count(2))) if n not in taken | used)


def step_function(work: Work, owner: str, where: Mapping[str, tuple[str, bool]], order: list[str]) -> str:
    "A step's function. `where`: which step gave a name last, and whether it gave that alone."
    head, body, params = list[str](), list[str](), list[str]()
    given: dict[str, list[str]] = {}
    for name in sorted(work.names.reads & where.keys()): given.setdefault(where[name][0], []).append(name)
    for step in sorted(given, key=order.index):
        params.append(step)
        names = given[step]
        if not where[names[0]][1]:
            head.append(f"{', '.join(names)} = {', '.join(f'{step}[{doc(n)}]' for n in names)}")
        elif names != [step]: head.append(f"{names[0]} = {step}")
    for name, hint in sorted(work.fields.items(), key=lambda f: " = " in f[1]):
        if name in order: head.append(f"{name} = {name}_")
        params.append((f"{name}_" if name in order else name) + hint)
    for n, helper in work.helpers.items():
        if helper.is_inner and n in work.names.used: body.append(re.sub(r"\bglobal\b", "nonlocal", helper.text.strip("\n")))
    units = [u for u in work.units if not (work.plots and re.match(r"plt\.(show|close)\(", ast.unparse(u.nodes[-1])))]
    is_begun = any(re.match("fig|ax", n) for n in work.names.reads & where.keys())  # once it is read again, it is current
    if work.plots and not is_begun and not any(NEW_FIGURE.search(u.text) for u in units): body.append("plt.figure()")
    end = ""
    if len(work.gives) > 1: end = f"return dict({', '.join(f'{n}={n}' for n in work.gives)})"
    elif work.gives: end = f"return {work.gives[0]}"
    elif work.plots: end = "return plt.gcf()"
    if units and not work.plots: units[-1], end = returned(units[-1], end, bool(work.gives))
    texts = "\n".join([*body, *(re.sub(r";\s*$", "", u.text) for u in units)]).strip("\n")
    inner = indented("\n".join([*head, texts, end]).strip("\n"))
    whole = compile(ast.Module([n for u in units for n in u.nodes], []), "step", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    is_async = bool(whole.co_flags & inspect.CO_COROUTINE)
    about = docstring(work.about) + "\n" if work.about.strip() else ""
    return (f"@{owner}.step\n{'async ' * is_async}def {work.name}({', '.join(params)}):\n{about}"
        f"{inner if inner.strip() else '    pass'}\n")


def returned(unit: Unit, end: str, gives: bool) -> tuple[Unit, str]:
    "The last statement as a return, where it is an expression to be seen or sets what is returned."
    lines, node = unit.text.split("\n"), ast.parse(unit.text).body[-1]
    at = node.lineno - 1
    if not gives and (look := unit.look) is not None:
        if look is not unit.nodes[-1].value: lines[at:node.end_lineno] = [ast.unparse(look)]  # display(…)
        lines[at] = f"return {lines[at]}"
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and end == f"return {ast.unparse(node.targets[0])}":
        lines[at], end = re.sub(r"^\w+\s*=\s*", "return ", lines[at]), ""
    return Unit("\n".join(lines), unit.nodes), end


def pipeline_from(data: bytes, name: str) -> tuple[str, list[str]]:
    """The text of a plugin with a pipeline that does what a notebook does, and what a person has to know of it. Raises
    Problem where there is no notebook in Python, or nothing in it that can be run."""
    cells, told = cells_of(data), list[str]()
    if any("above" in c.ours for c in cells): return as_it_was(cells, told), told
    needs = list[str]()
    title, about, said, found = name.replace("_", " ").capitalize(), "", list[str](), list[Work]()
    for cell in cells:
        if cell.kind == "markdown":
            first, _, rest = cell.text.strip().partition("\n")
            if not about and not said and not found and first.startswith("#"):
                title = clip(re.sub(r"\]\(.*?\)|[]#*`\[]|<.*?>", "", HIDDEN_SIGNS.sub("", first)).strip()) or title
                about = rest.strip() or " "
            else: said.append(cell.text.strip())
        if cell.kind != "code" or not cell.text.strip(): continue
        if "injected-parameters" in cell.tags:
            told.append(f"Cell {cell.nr} holds the parameters of one run, and is left out.")
            continue
        work = Work(cell.nr, [], "\n\n".join(said))
        try:
            text = plain_python(cell.text, cell.nr, told, needs)
            work.units = units_of(text)
            if cell.failed and not any(u.names.stored for u in work.units):
                raise ValueError(f"{cell.failed} in the notebook itself")
            if not work.units and text.startswith("# "): work.comment = text
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            told.append(f"Cell {cell.nr} is kept as a comment: {clip(getattr(e, 'msg', e), 90)}"
                f" (line {getattr(e, 'lineno', 0) or 1}).{' Is it Python 2?' * ('print' in cell.text)}")
            work.units, work.comment = [], commented(cell.text)
        if "parameters" in cell.tags: ask_parameters(work)
        else: ask_instead(work, told)
        if not work.units and not work.fields and not work.comment: continue
        said = []
        found.append(work)
    top, works = sorted_out(found)
    units, asked = [u for w in works for u in w.units], {n for w in works for n in w.fields}
    used = asked | {n.id for u in units for node in u.nodes for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n for text in top[1:] for n in Names(ast.parse(text).body).stored}
    imported = Names(ast.parse(top[0]).body).sure
    variables = ({n for u in units for n in u.names.stored} | asked) - {"_"}
    flow(works, variables)
    works = [part for w in works for part in halves_of(w)]
    flow(works, variables)
    owner = name
    while owner in used | imported: owner += "_pipeline"
    where, order, texts, taken = dict[str, tuple[str, bool]](), list[str](), list[str](), imported | HIDDEN_BY | {owner}
    for work in works:
        if work.comment:
            texts.append("\n".join([*[remark(work.about)] * bool(work.about), work.comment]))
            continue
        work.name = name_work(work, len(order) + 1, used, taken | {*order, *work.helpers})
        texts.append(step_function(work, owner, where, order))
        order.append(work.name)
        where |= {n: (work.name, len(work.gives) == 1) for n in work.gives}
        if work.plots and work.gives:
            told.append(f"Cell {work.nr} plots and gives {', '.join(work.gives)}: the figure is not kept.")
    if said: texts.append(remark("\n\n".join(said)))
    if not order: raise Problem("Nothing in this notebook can be run.", fix=" ".join(told[:3]) or "It needs code.")
    if needs: told.append("It needs what is not done by itself: " + "; ".join(clip(n, 100) for n in dict.fromkeys(needs)))
    about = "\n\n".join(filter(None, [f"{title.rstrip('.')}.", about.strip(), "\n    ".join([
        "It needs (nothing of this is run by itself):", *dict.fromkeys(needs)]) if needs else ""]))
    named = "" if "_".join(re.findall(r"[a-z0-9]+", title.lower())) == name else f", name={doc(name)}"
    if any(w.plots for w in works) or "matplotlib" in top[0]:
        agg = 'import matplotlib\nmatplotlib.use("Agg")  # steps run in threads: no windows\n'
        top[0] = agg + "import matplotlib.pyplot as plt\n" * ("plt" not in imported) + top[0]
    line, is_hidden = f"{owner} = pipeline({doc(title)}{named})", "pipeline" in imported | used
    texts = [f"{docstring(about, '')}\nfrom sololith import *\n{f'{line}{chr(10)}' * is_hidden}{top[0]}".rstrip(), *top[1:],
        *[line] * (not is_hidden), *texts]
    return "\n\n\n".join(t.strip("\n") for t in texts) + "\n", [visible(t) for t in told]


SETTINGS = re.compile(r"\.(use|set\w*|filterwarnings|simplefilter|basicConfig|register\w*|options|rcParams)\b")


def sorted_out(found: list[Work]) -> tuple[list[str], list[Work]]:
    """What stands above the steps (imports; then functions, settings, and constants that they want, in their order), and the
    cells that are left. A function that reads what a step gives, or changes on the way, goes into each that calls it."""
    imports, top, versions = dict[str, None](), list[str](), dict[str, list[Helper]]()
    units = [u for w in found for u in w.units]
    for u in units:
        if u.kind == "helper": versions.setdefault(u.name, []).append(helper_of(u.text, u.nodes[0]))
    every = {n: v[-1] for n, v in versions.items()}
    code = [u for u in units if u.kind == "code"]
    counts = Counter(n for u in code for n in u.names.stored)
    altered = {n for u in code for n in Names(u.nodes, every).altered}
    modules = {n for u in units if u.kind == "import" for n in u.names.sure}
    wanted = {n for v in versions.values() for h in v for n in h.reads}
    def is_constant(u: Unit) -> bool:
        node, name = u.nodes[0], u.name
        if not isinstance(node, ast.Assign) or len(u.nodes) > 1 or name not in wanted: return False
        calls = any(isinstance(n, ast.Call) for n in ast.walk(node.value))
        plain = {*dir(builtins)} - {"open", "input", "print", "exec", "eval", "next"} | ({"re"} if calls else modules)
        return counts[name] == 1 and name not in {*altered, *versions} and not Names([node.value]).reads - plain
    constants = {u.name for u in code if is_constant(u)}
    free = {*counts} - constants | {n for w in found for n in w.fields}
    bound = {n for n, v in versions.items() if len({h.text.strip() for h in v}) > 1 or n in free | modules}
    while more := {n for n, v in versions.items() if n not in bound and any(h.reads & (free | bound) for h in v)}:
        bound |= more
    is_setting = lambda u: SETTINGS.search(u.text) and not u.names.stored and not u.names.reads - modules
    now, works, before = dict[str, Helper](), list[Work](), ""
    for work in found:
        for n in [n for u in work.units if u.kind == "code" for n in u.names.stored]: now.pop(n, None)
        left = [u for u in work.units if u.kind == "code" and u.name not in constants and not is_setting(u)]
        work.about = f"{before}\n\n{work.about}".strip()
        here = Names([n for u in left for n in u.nodes], every).reads
        left = [u for u in work.units if u in left or u.kind == "helper" and u.name in bound & here]
        goes_on, before, is_line = bool(left or work.fields or work.comment), "", False
        for u in work.units:
            text = u.text.strip("\n")
            if u.kind == "import":
                if getattr(u.nodes[0], "module", "") != "__future__": imports[text] = None
                continue
            if u.kind == "helper":
                name = u.name
                now[name] = helper_of(u.text, u.nodes[0])._replace(is_inner=name in bound)
                if name in bound: continue
            if u in left: continue
            if not goes_on and work.about:
                text, work.about = f"{remark(work.about)}\n{text}", ""
            if u.kind == "code" and is_line: top[-1] += f"\n{text}"
            else: top.append(text)
            is_line = u.kind == "code"
        if goes_on: works.append(work)
        else: before = work.about
        work.units, work.helpers = left, {n: h for n, h in now.items() if n not in [u.name for u in left]}
    return ["\n".join(imports), *dict.fromkeys(top)], works


def as_it_was(cells: list[Cell], told: list[str]) -> str:
    "The file that a notebook of ours was made from, with what was edited since."
    lines = list[str]()
    for cell in cells:
        if cell.kind != "code" or not cell.text.strip(): continue
        if "above" not in cell.ours:
            if not cell.ours: told.append(f"Cell {cell.nr} was added by hand, and is left out: make it a step.")
            continue
        text = re.sub(f"(?m)^{FOLDED}", "", cell.text)
        try: functions = [n for n in ast.parse(text).body if isinstance(n, DEFS)]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise Problem(f"Cell {cell.nr} is no Python: {clip(getattr(e, 'msg', e))}.", fix="Mend it in Jupyter.") from e
        if "step" in cell.ours:
            if not functions: continue
            text = "\n".join(text.split("\n")[:functions[0].end_lineno])
        above, below = (min(number(cell.ours.get(side)), 9) for side in ("above", "below"))
        lines += [*[""] * above, text, *[""] * below]
    return "\n".join(lines).rstrip("\n") + "\n"


# ─── runs → notebooks ───

FOLDED = "#: "  # what stands before a line that only the running system understands

# What a step that names it cannot do outside of the running system, and in words.
ABSENT = {n: what for what, names in {"the model": "Ask ask", "the network": "fetch httpx2 requests urllib",
    "the running system": "use_tool db store all_apps all_tools loader new_verb start_run"}.items() for n in names.split()}


def notebook_of(run_id: int) -> dict[str, Any]:
    "A run as a notebook: its instructions, code, answers and values. It runs without us, and `pipeline_from` reads it."
    run, rows = runs.row(run_id), rows_of_run(run_id)
    made, cells = pipeline_of(run), list[dict]()
    source = source_of_pipeline(made)
    lines, body = source.split("\n"), ast.parse(source).body
    known = vars(sys.modules.get(f"{MODULES}{made.plugin.name}", ast))  # what the file's names are
    functions = {n.name: n for n in body if isinstance(n, DEFS)}
    away = set[str]()  # the names of what registers with the running system, and is folded

    def cell(kind: str, text: str, ours: Mapping = {}, **more: Any) -> None:
        extra = {"execution_count": None, "outputs": []} | more if kind == "code" else {}
        cells.append(dict(cell_type=kind, id=f"cell-{len(cells)}", metadata={"sololith": ours} if ours else {},
            source=sayable(text), **extra))

    def part(start: int, end: int) -> tuple[str, dict]:
        "Lines of the file as a cell's text, and the empty ones that stood above and below."
        text = "\n".join(FOLDED * (n in hidden or line.startswith(FOLDED)) + line
            for n, line in enumerate(lines[start:end], start))
        bare = text.lstrip("\n")
        return bare.rstrip("\n"), {"above": len(text) - len(bare), "below": len(bare) - len(bare.rstrip("\n"))}

    hidden = set[int]()
    for node in body:
        names = Names([node])
        if isinstance(node, DEFS):
            hidden |= {n for d in node.decorator_list if re.match(r"\w+\.step\b|tool\b|rt\b|header\b", ast.unparse(d))
                for n in range(d.lineno - 1, d.end_lineno or 0)}
            if not (isinstance(node, ast.ClassDef) and "BaseApp" in names.reads): continue
        elif not (names.reads & {*away, "pipeline", "Pipeline", "crud"} or re.match(
            r"matplotlib\.use\(|from sololith_apps", ast.unparse(node))): continue
        away |= names.stored
        hidden |= {*range(first_line(node), node.end_lineno or 0)}

    told = "" if run["status"] == "done" else f" Status: {run['status']}."
    cell("markdown", f"# {made.title}\n\n{made.description}\n\n*Run {run_id}, “{run['title']}”, of {run['at']}.{told} "
        "To run it, install `sololith`; files are looked for in the workspace: `$SOLOLITH_HOME`, else `~/sololith`.*")
    start, left = 0, dict[str, Step](made.steps)
    for node in body:
        step: Step | None = None
        if isinstance(node, DEFS):
            step = next((s for s in left.values() if is_function_of(s.work, node, bool(made.plugin.path))), None)
        elif (said := re.match(r"(\w+)\.step\((\w+)", ast.unparse(node))) and known.get(said[1]) is made:
            step = next((s for s in left.values() if s.work is known.get(said[2])), None)
        if not step: continue
        end = first_line(node) if isinstance(node, DEFS) else node.end_lineno or 0
        if any(lines[start:end]): cell("code", *part(start, start := end))
        left.pop(step.name)
        row = rows.get(step.name, {"status": "waiting"})
        text, ours = part(start, start := node.end_lineno or 0) if isinstance(node, DEFS) else ("", {})
        words = [f"## {step.label}", step.instruction, f"*A pipeline of its own: run {row['child']}.*" if row.get("child")
            else "", f"**{row['status'].capitalize()}.** {row.get('error') or ''}" if row["status"] != "done" else ""]
        try: value = load(row["value"]) if row.get("value") else None
        except Exception as e:  # its file is gone, or whatever an object's own methods raise
            value = None
            words.append(f"*{describe(e)}*")
        cell("markdown", "\n\n".join(filter(None, words)))
        lacks = lacking(step, functions, away)
        call = call_of(step, answers_in(row.get("inputs")))
        match row["status"]:
            case "done" if lacks:
                try: code = f"# It wants {lacks}, so this is what it gave in the run:\n{step.name} = {literal(value)}"
                except ValueError: code = f"# It wants {lacks}.\n{call}"
                else: code += f"\n{step.name}"
            case "done": code = call
            case "skipped": code = f"{step.name} = None  # it was skipped"
            case _: code = commented(call)
        stream = [dict(output_type="stream", name="stdout", text=row["logs"] + "\n")] if row.get("logs") else []
        shown = [dict(output_type="execute_result", execution_count=len(cells), metadata={}, data=mimes(value,
            step.kind))] if row["status"] == "done" and value is not None else []
        cell("code", f"{text}\n\n{code}".strip("\n"), {"step": step.name} | ours,
            execution_count=len(cells) if shown else None, outputs=stream + shown)
    for step in left.values(): cell("markdown", f"## {step.label}\n\n{step.instruction}\n\n*Its code stands elsewhere.*")
    if any(lines[start:]): cell("code", *part(start, len(lines)))
    return dict(nbformat=4, nbformat_minor=5, cells=cells, metadata=dict(language_info={"name": "python"}, kernelspec=dict(
        name="python3", language="python", display_name="Python 3"), sololith=dict(pipeline=made.name, run=run_id)))


def first_line(node: Any) -> int: return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))]) - 1


def source_of_pipeline(made: Pipeline) -> str:
    "The file that makes a pipeline, as it is live."
    if made.plugin.path: return made.plugin.source
    text = next((t for n, t in chapters().items() if n.startswith("apps/") and f"pipeline({doc(made.title)}" in t), "")
    return re.sub(r"(?m)^#: (?=from \S+ import)", "", text) + "\n"


def is_function_of(work: Any, node: Any, has_lines: bool) -> bool:
    code = getattr(work, "__code__", None)
    return bool(code) and work.__name__ == node.name and any(re.match(r"\w+\.step\b", ast.unparse(d)) for d
        in node.decorator_list) and (not has_lines or code.co_firstlineno == first_line(node) + 1)


def lacking(step: Step, functions: Mapping[str, Any], away: set[str]) -> str:
    "What a step wants that a notebook has not, in words; empty where it runs anywhere."
    if isinstance(step.work, Pipeline): return "the running system"
    if step.asks: return "a person's approval"
    for kind in step.handed.values():
        if kind not in (Progress, Workspace): return ABSENT.get(kind.__name__, "the running system")
    seen, todo = set[str](), [step.work.__name__]
    while todo:
        if (name := todo.pop()) in seen: continue
        seen.add(name)
        if name in away: return "the running system"
        if name in ABSENT: return ABSENT[name]
        for n in ast.walk(ast.Module(functions[name].body, [])) if name in functions else ():
            if isinstance(n, ast.Name): todo.append(n.id)
            todo += [a.name.partition(".")[0] for a in getattr(n, "names", ()) if isinstance(a, ast.alias)]
    return ""


def call_of(step: Step, answers: Mapping[str, Any]) -> str:
    "The call of a step's function with what it was given, and a line that shows what it gives."
    if isinstance(step.work, Pipeline): return f"{step.name} = ..."
    given, is_plain = list[str](), True
    for n in inspect.signature(step.work).parameters:
        value = n if n in step.piped else {Progress: "progress", Workspace: "home"}.get(step.handed.get(n), "")
        if n in answers: value = literal(answers[n])
        is_plain = is_plain and n in step.piped
        if value: given.append(value if is_plain else f"{n}={value}")
    wait = "await " * inspect.iscoroutinefunction(step.work)
    return f"{step.name} = {wait}{step.work.__name__}({', '.join(given)})\n{step.name}"


def literal(value: Any) -> str:
    "Plain data as Python says it. Raises ValueError for what is none."
    match value:
        case float() if value - value != 0: return f'float("{value}")'
        case None | bool() | int() | float() | str(): return repr(value)
        case list(): return f"[{', '.join(map(literal, value))}]"
        case dict(): return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
        case date() | time(): return f'{type(value).__name__}.fromisoformat("{value.isoformat()}")'
        case Decimal() | Path(): return f"{'Path' if isinstance(value, Path) else 'Decimal'}({str(value)!r})"
    raise ValueError(f"{type(value).__name__} cannot be written down")


def mimes(value: Any, kind: str = "") -> dict[str, Any]:
    "A value in the MIME types that Jupyter shows."
    made: dict[str, Any] = {}
    try:
        made["text/plain"] = "<picture>" if hasattr(value, "png") else sayable(repr(value)[:20_000])
        if kind == "markdown" and isinstance(value, str): made["text/markdown"] = sayable(value)
        found = value._repr_mimebundle_() if hasattr(value, "_repr_mimebundle_") else {}
        made |= {k: v for k, v in ((found[0] if isinstance(found, tuple) else found) or {}).items() if "widget" not in k}
        for name, mime in (("html", "text/html"), ("svg", "image/svg+xml"), ("png", "image/png"), ("jpeg", "image/jpeg"),
                ("markdown", "text/markdown"), ("latex", "text/latex")):
            draw = getattr(value, f"_repr_{name}_", None) if not isinstance(value, type) else None
            if mime not in made and callable(draw) and (found := draw()) is not None: made[mime] = found
        if "text/html" not in made and (table := rows_of(value)) is not None:
            made["text/html"] = sayable(to_xml(show_rows(table, "", {}), indent=False))
    except Exception as e: made.setdefault("text/plain", describe(e))  # whatever an object's own methods raise
    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in made.items()}


def notebook_text(run_id: int) -> str:
    "A run as the text of a notebook, with no path of this machine in it."
    text = json.dumps(notebook_of(run_id), ensure_ascii=False, indent=1, default=str)
    return sayable(text).replace(str(home.path), "~/sololith") + "\n"


@rt("/runs/{run_id:int}/export.ipynb", methods=["GET"])
def run_notebook(run_id: int):
    return Response(notebook_text(run_id), media_type="application/x-ipynb+json",
        headers={"content-disposition": f'attachment; filename="run-{run_id}.ipynb"'})


in_menu.append(lambda run: A("Export as a notebook", href=f"/runs/{run['id']}/export.ipynb", download=True))
bringing[".ipynb"] = pipeline_from


# ─── from the shell ───

@verb("notebook.export", shared=True)
def notebook_export(run: int) -> str: return notebook_text(run)


@verb("notebook import analysis.ipynb --name sales")
def notebook_verb(kind: Literal["import", "export"], what: str, *, name: str = "", o: str = "",  # noqa: F722
        as_json: bool = False) -> Any:
    """Notebooks in and out: `import FILE.ipynb` makes a pipeline of one, tries it out, and tells what is left to do;
    `export RUN` makes one of a run, to standard output or to -o FILE."""
    if kind == "export":
        if not what.isdecimal(): raise Problem(f"{clip(what)} is no run.", fix="Give its number: notebook export 12")
        with calling("notebook") as call: text = call("notebook.export", {"run": int(what)})
        if not o: return json.loads(text) if as_json else text
        with replacing(Path(o).expanduser()) as half: half.write_text(text)
        return o
    path = Path(what).expanduser()
    if not path.is_file(): raise Problem(f"There is no file {path}.", fix="Give a notebook (.ipynb).", status=404)
    name = name or plugin_name(path.stem)
    target = new_plugin_file(name)
    source, told = pipeline_from(path.read_bytes(), name)
    report = examine(name, source, {p.stem: p.read_text(errors="replace") for p in home.apps.glob("[!.]*.py")})
    home.apps.mkdir(parents=True, exist_ok=True)
    with replacing(target) as half: half.write_text(source)
    if as_json: return {"file": str(target), "told": told, "problems": report.problems, "notes": report.notes}
    return "\n".join([str(target), *told, *report.text().split("\n")])


def plugin_name(text: str) -> str:
    "A name for a plugin out of a file's."
    name = identifier(text)
    try: check_name(name)
    except Problem: name = f"{name.strip('_')}_notebook"
    return name


# ─── in Jupyter ───

class Afar:
    """An app of the running system: `tasks()` its records (a DataFrame where pandas is loaded), `tasks(is_done=False)` some,
    `tasks[1]` one, `tasks.add(title="Milk")` what its tools do."""
    def __init__(self, name: str): self.app = name
    def __repr__(self) -> str: return f"<the app {self.app} of Sololith>"

    def rows(self, where: Mapping[str, Any]) -> list[dict]:
        return [r for r in afar("notebook.rows", app=self.app) if all(r.get(n) == v for n, v in where.items())]

    def __call__(self, **where: Any) -> Any:
        return sys.modules["pandas"].DataFrame(self.rows(where)) if "pandas" in sys.modules else self.rows(where)

    def __getitem__(self, record_id: int) -> dict:
        for found in self.rows({"id": record_id}): return found
        raise Problem(f"{self.app} has no record {record_id}.", fix=f"See {self.app}().")

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"): raise AttributeError(kind)  # what IPython looks for in everything
        def use_it(yes: bool = False, **given: Any) -> Any:
            given = {n: v if isinstance(v, int | float | list | None) else str(v) for n, v in given.items()}
            done = afar("tool.use", name=f"{self.app}_{kind}", given=given, is_approved=yes)
            return done["text"] if "summary" in str(done["value"]) else done["value"]
        return use_it


def afar(verb_name: str, **args: Any) -> Any:
    "A verb of the running system. Raises Problem where none runs."
    try:
        if (home.run / "url").exists(): return elsewhere(verb_name, args)
    except Problem as e:
        if not isinstance(e.__cause__, ConnectionRefusedError): raise
    raise Problem("Sololith is not running.", fix="Start it: sololith. For another workspace set SOLOLITH_HOME first.")


@verb("notebook.rows", shared=True)
def notebook_rows(app: str) -> list[dict]: return json.loads("".join(app_called(app).export("json", {})))


@verb("notebook.apps", shared=True)
def notebook_apps() -> list[str]: return list(all_apps())


def ask_afar(question: str, conversation: int = 0) -> str:
    "Ask the model of the running system; its answer, which is also printed as it comes."
    begun, said = afar("ask.start", text=question, conversation=conversation, attached=""), ""
    while True:
        state = afar("ask.state", **begun, seen=len(said))
        said += state["text"]
        print(state["text"], end="", flush=True)
        if state["status"] != "running": break
        clock.sleep(.1)
    for c in state["calls"]: print(f"\n{c['call']}  {c['status']}: {clip(c['told'], 300)}")
    if state["status"] != "done": raise Problem(state["problem"] or f"The answer is {state['status']}.", fix="See the chat.")
    return said


def load_ipython_extension(ipython: Any) -> None:
    "%load_ext sololith: a callable for each app, `runs` among them, and ask(), which talk to the running system."
    ipython.push({n: Afar(n) for n in afar("notebook.apps")} | {"ask": ask_afar})


Problem._render_traceback_ = lambda self: [str(self)]  # ty: ignore[missing-attribute]  # a sentence, in IPython too
