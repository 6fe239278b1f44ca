"""The system's own source: as one text, as a prompt that fits a window, and looked up by words.

    context(budget=32_000)                   # the source, the workspace's plugins and the API page, in so many tokens
    find_source("how is a record deleted?")  # [(chapter, line, signature, docstring)], best first

The whole is the one file, whichever form runs. A question about the system is looked up in its functions' names and
docstrings (SQLite's full text index), and the model answers from what was found, with chapter and line.
"""
import ast, functools, re, runpy, sys
from pathlib import Path
from typing import NamedTuple
import apsw
from .base import *
from .chat import on_request
from .fields import clip
from .store import COMMON
from .tools import tool

# What a model is told of how a plugin is written. It runs as it stands, but for the web page.
API = '''from sololith import *   # is all a plugin imports; its docstring is its description
@dataclass
class Plant:                       # an app: pages, form, search, undo, and the tools plants_find, plants_add …
    name: str                      # str, int, float, bool, date, datetime, time, Decimal, Text, Markdown, Email, Url,
    light: Literal["low", "high"] = "low"     # File, Json, Tags, another record class, or any of them | None
    watered: date | None = None
    tags: Tags = field(default_factory=list)
plants = crud(Plant)               # plants() all, plants[1], plants("light=?", ["low"]), plants.insert(name="Fern"),
                                   # plants.update(id=1, name="Moss"), plants.delete(1)
class PlantsApp(BaseApp):          # instead of crud(Plant), where hooks are wanted
    record = Plant
    def prepare_insert(self, data): data["name"] = data["name"].strip()    # change it, or raise Problem("What.", fix="Do.")
    def prepare_update(self, record, data): ...
report = pipeline("Report")        # a pipeline, at /report
@report.step
def rows(file: File):              # what is annotated is asked for; a name of an earlier step takes up its value
    "Which file?"                  # the docstring is the instruction
    return read_file(file)         # a CSV or JSON table: a list of dicts, numbers as numbers; else the text
@report.step
def total(rows, column: str = "amount"):
    "Add up a column."
    return sum(float(row[column] or 0) for row in rows)
@report.step
async def letter(total, ask: Ask) -> Markdown:
    "Have the model write."
    return await ask(f"Write a line about {total}.")
@report.step(asks=True)            # waits for the person's approval
def added(rows):
    "Add them."
    return use_tool("plants_add", rows)     # a tool, with a dict or each of a list
# in a step: fetch(url) is the readable text of a web page
@tool                              # a tool for the model; @tool(asks=True): the person approves each call
def shout(text: str) -> str:
    "Say it loudly."
    return text.upper()
@rt("/wall", methods=["GET"])      # a page
def wall(): return H1("Plants")
'''
BAR = re.compile(r"^# ═══ (sololith/\S+\.py)$", re.M)
# What is left out first where there is less room, down to its docstring: the built-in apps, then what a plugin has least to
# do with. What is not named here stays to the last.
DROPPED = ("apps/", "outside", "notebook", "browser", "widgets", "assets", "guard", "server", "shell", "models", "check",
    "builder", "source", "chat", "acting", "cli", "plugins", "memory", "files", "values", "ui", "events", "runs",
    "tools", "store", "forms", "pipeline", "crud", "fields")


def whole_source() -> str:
    "The framework as one file: this file, if it is that; else joined from the chapters. Raises Problem where it cannot be."
    here = Path(sys.modules["sololith"].__file__ or "")
    if here.name != "__init__.py": return here.read_text()
    for script in (here.parent / "scripts/onefile.py", here.parents[1] / "scripts/onefile.py"):
        if script.exists(): return runpy.run_path(str(script))["join"](here.parent)
    raise Problem("scripts/onefile.py is not installed.", fix="Use a wheel or a clone of Sololith.")


@functools.cache
def chapters() -> dict[str, str]:
    "The text of each chapter by its name, such as crud.py, in order."
    parts = BAR.split(whole_source())
    return {name.removeprefix("sololith/"): text.strip("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def tokens_of(text: str) -> int: return round(len(text) / 3.77)  # of cl100k, about: so many characters each has our source


def manual_of(text: str) -> str: return f'"""{ast.get_docstring(ast.parse(text), clean=False) or ""}"""'


def context(budget: int = 0) -> str:
    "The source, the workspace's plugins and the API page as one prompt; within a budget less of it: see DROPPED."
    kept, dropped = dict(chapters()), list[str]()
    plugins_ = {p.name: p.read_text() for p in sorted(home.apps.glob("[!.]*.py"))}
    def joined() -> str:
        return "\n".join([*(f"# ═══ sololith/{n}\n{text}\n" for n, text in kept.items()),
            *(f"# ═══ apps/{n} (in the workspace)\n{text}" for n, text in plugins_.items()),
            f"# ═══ what a plugin is written with\n{API}"])
    if budget:
        total = tokens_of(joined()) + 180  # with the line on top
        for name in [n for d in DROPPED for n in kept if n.startswith(d)]:
            if total <= budget: break
            whole, kept[name] = kept[name], manual_of(kept[name])
            total += tokens_of(kept[name]) - tokens_of(whole)
            dropped.append(name)
        if total > budget: raise Problem(f"That needs {total:,} tokens at least.", fix="Give a larger budget.")
    text = joined()
    told = f" Of {', '.join(dropped)} only the docstring is here." if dropped else ""
    return f"# Sololith, {tokens_of(text):,} tokens.{told}\n{text}"


class Place(NamedTuple):
    "Where something of the source stands."
    chapter: str
    line: int
    signature: str
    about: str
    text: str


@functools.cache
def index_of_source() -> apsw.Connection:
    "Every chapter, class and function of the source that has a docstring, in a full text index of the fields of a Place."
    index = apsw.Connection(":memory:")
    index.execute("CREATE VIRTUAL TABLE s USING fts5(chapter UNINDEXED, line UNINDEXED, signature UNINDEXED, about, text, "
        "name, tokenize='porter unicode61')")
    for chapter, text in chapters().items():
        tree, lines = ast.parse(text), text.split("\n")
        found = [Place(chapter, 1, chapter.removesuffix(".py"), ast.get_docstring(tree) or "", "")]
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef): continue
            if about := ast.get_docstring(node):
                found.append(Place(chapter, node.lineno, lines[node.lineno - 1].strip().rstrip(":"), about,
                    "\n".join(lines[node.lineno - 1:node.end_lineno])))
        index.executemany("INSERT INTO s VALUES (?,?,?,?,?,?)", [(*p, re.sub("[_.]", " ", p.signature)) for p in found])
    return index


def find_source(question: str, limit: int = 5) -> list[Place]:
    "The places in the source that a question is about, best first: by names, then docstrings, then the lines themselves."
    less = COMMON | {*"sololith does work works source code function chapter module".split()}
    words = " OR ".join(f'"{w}"*' for w in re.findall(r"[^\W_]{3,}", question.lower()) if w not in less)
    if not words: return []
    return [Place(*row[:5]) for row in index_of_source().execute("SELECT * FROM s WHERE s MATCH ? "
        "ORDER BY bm25(s, 0, 0, 0, 3, 1, 6) LIMIT ?", [words, limit])]


@tool(name="source", reads=True, kind="source", is_usual=False)
def source_tool(question: str) -> str:
    "Look up how Sololith itself works: the functions of its source that a question is about, with chapter and line."
    found = find_source(question)
    if not found: raise Problem("Nothing in the source has these words.", fix="Ask with the words of the docs.", status=404)
    return "\n".join(f"{p.chapter}:{p.line} {p.signature}: {clip(p.about, 400)}" for p in found) + "\n\n" + "\n".join(
        f"# {p.chapter}:{p.line}\n{p.text[:900]}" for p in found[:2] if p.text)


SOURCE_SAID = re.compile(r"\b(?:sololith|source|chapter|module|framework|under the hood|quelltext|implemented)\b", re.I)
QUESTION = re.compile(r"^\W*(?:how|where|what|which|why|who|explain|show me|wie|wo|was|warum|erkläre?)\b", re.I)
on_request.append(lambda text, path, is_talk: {"tool": "source", "args": {"question": text}} if SOURCE_SAID.search(text)
    and QUESTION.search(text) else None)
