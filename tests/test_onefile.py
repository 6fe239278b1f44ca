"""The one file and the package are two forms of one text: scripts/onefile.py, driven on a small package and on ours."""
import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ONEFILE, ROOT, environment, uv_settings

from scripts import onefile

pytestmark = pytest.mark.package_only  # they compare the two forms themselves

SMALL = {
    "__init__.py": '"""Small: a stand-in."""\n__version__ = "1"\nfrom .base import *\nfrom .store import *\nfrom .apps.notes import *\n'
                   "from .cli import *\n",
    "base.py": '"Base."\nfrom json import *\nimport os, sys\n\nclass Problem(Exception): pass\n',
    "store.py": '"Store."\nimport os\nfrom . import __version__\nfrom .base import Problem, dumps  # both\n\ndef keep(x):\n    return dumps(x)\n',
    "apps/__init__.py": "",
    "apps/notes.py": '"Notes."\nfrom sololith import *\n\nTEMPLATE = """\nfrom sololith import *\nfrom .store import keep\n"""\n'
                     "note = keep({'a': 1})",  # no newline at its end
    "cli.py": "from .store import keep\n\ndef main(): print(keep([__name__, sys.modules['sololith'].note]))\n\nimport sys\n",
    "__main__.py": 'from .cli import main\nif __name__ == "__main__": main()\n',
}
PYPROJECT = '[project]\nname = "sololith"\nrequires-python = ">=3.11"\ndependencies = ["nh3", "apsw>=3.51.3"]\n'


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / "sololith" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder / "sololith"


@pytest.fixture
def small(tmp_path) -> Path: return write(tmp_path, SMALL)


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=60, **options)


# ── on a small package

def test_the_small_package_is_in_order(small): assert onefile.check(small) == []


def test_split_gives_the_modules_back_byte_for_byte(small, tmp_path):
    one, back = tmp_path / "one.py", tmp_path / "back" / "sololith"
    one.write_text(onefile.join(small))
    assert onefile.main(["split", str(one), str(back)]) == 0
    assert {p.relative_to(back).as_posix(): p.read_bytes().decode() for p in back.rglob("*.py")} == SMALL


def test_chapters_come_in_the_order_of_the_contents_page(small):
    bars = [line[6:] for line in onefile.join(small).splitlines() if line.startswith("# ═══ sololith/")]
    assert bars == [f"sololith/{n}" + (onefile.NO_NEWLINE if n == "apps/notes.py" else "") for n in SMALL]


def test_a_line_in_a_string_that_looks_like_an_import_is_left_alone(small):
    text = onefile.join(small)
    assert '"""\nfrom sololith import *\nfrom .store import keep\n"""' in text and "#: from sololith import *\n" in text


def test_the_head_says_what_to_install(small):
    head = onefile.join(small).split(onefile.BAR)[0]
    assert head.startswith("#!/usr/bin/env -S uv run --script\n# /// script\n# requires-python = \">=3.11\"\n")
    assert '#   "apsw>=3.51.3",\n#   "nh3",\n' in head


def test_both_forms_run_alike_and_the_file_is_the_module_sololith(small, tmp_path):
    one = tmp_path / "elsewhere" / "one.py"
    one.parent.mkdir()
    one.write_text(onefile.join(small))
    package, single = run("-m", "sololith", cwd=tmp_path), run(one, cwd=one.parent)
    assert package.stdout == '["sololith.cli", "{\\"a\\": 1}"]\n', package.stderr
    assert single.stdout == '["__main__", "{\\"a\\": 1}"]\n', single.stderr


def test_the_one_file_keeps_the_docstring_of_the_contents_page(small):
    assert ast.get_docstring(ast.parse(onefile.join(small))) == "Small: a stand-in."


def test_a_plugin_finds_the_running_file_and_nothing_runs_twice(small, tmp_path):
    (small / "cli.py").write_text("from .store import keep\ndef main():\n    names = {}\n    exec('from sololith import *', names)\n"
                                  "    print(names['keep'] is keep)\n")
    one = tmp_path / "elsewhere.py"
    one.write_text(onefile.join(small))
    assert run(one, cwd="/").stdout == "True\n"


def test_an_edit_in_the_one_file_comes_back_as_an_edit_of_its_chapter_only(small, tmp_path):
    one = tmp_path / "one.py"
    one.write_text(onefile.join(small).replace("return dumps(x)", "return dumps([x])"))
    old = {p: p.stat().st_mtime_ns for p in small.rglob("*.py")}
    assert onefile.main(["split", str(one), str(small)]) == 0
    assert [p.name for p, at in old.items() if p.stat().st_mtime_ns != at] == ["store.py"]
    assert (small / "store.py").read_text() == SMALL["store.py"].replace("dumps(x)", "dumps([x])")


def test_split_writes_nowhere_but_into_the_package(small):
    for name in ("sololith/../x.py", "/etc/x.py", "other/x.py", "sololith/x.txt"):
        with pytest.raises(onefile.Refused): onefile.split(f"\n# ═══ {name}\nx = 1\n")
    with pytest.raises(onefile.Refused): onefile.split("x = 1\n")


NOTES = SMALL["apps/notes.py"]
MUTATIONS = {  # what is wrong: (the file, its text, where it is reported, words of the report)
    "an import of a chapter below": ("base.py", "from .store import keep\n", "base.py:1", "is not above"),
    "an import of itself": ("store.py", "from .store import keep\n", "store.py:1", "is not above"),
    "an import of no chapter": ("store.py", "from .nothing import x\n", "store.py:1", "there is no chapter"),
    "an import below code": ("store.py", '"S."\nx = 1\nfrom .base import Problem\n', "store.py:3", "Put it at the top"),
    "an import in a function": ("store.py", "def f():\n    from .base import Problem\n", "store.py:2", "Put it at the top"),
    "an import in an if": ("store.py", "if True:\n    from .base import Problem\n", "store.py:2", "Put it at the top"),
    "an import on two lines": ("store.py", "from .base import (Problem,\n   dumps)\n", "store.py:1", "one line"),
    "an import in brackets": ("store.py", "from .base import (Problem)\n", "store.py:1", "one line"),
    "an import continued": ("store.py", "from .base import Problem, \\\n   dumps\n", "store.py:1", "one line"),
    "an import and more on its line": ("store.py", "from .base import Problem; x = 1\n", "store.py:1", "one line"),
    "an aliased import": ("store.py", "from .base import Problem as P\n", "store.py:1", "an alias"),
    "a chapter imported below a name of the contents page": ("store.py", "from . import __version__, base\n", "store.py:1",
                                                             "import names from a chapter"),
    "a chapter imported as a module": ("store.py", "from . import base\n", "store.py:1", "import names from a chapter"),
    "the framework imported by name": ("store.py", "import sololith\n", "store.py:1", "relatively"),
    "a chapter imported by its full name": ("store.py", "from sololith.base import Problem\n", "store.py:1", "relatively"),
    "the plugins' line in a chapter": ("store.py", "from sololith import *\n", "store.py:1", "built-in apps"),
    "the plugins' line with names": ("apps/notes.py", "from sololith import keep\n", "apps/notes.py:1", "relatively"),
    "a star import outside base": ("store.py", "from json import *\n", "store.py:1", "base.py"),
    "a __future__ import": ("store.py", "from __future__ import annotations\n", "store.py:1", "__future__"),
    "a function defined twice": ("cli.py", "def keep(): pass\n", "cli.py:1", "keep is something else at sololith/store.py:6"),
    "a class defined twice": ("store.py", "class Problem: pass\n", "store.py:1", "Problem is something else"),
    "a variable defined twice": ("cli.py", "x = 1\nfor note in []: pass\n", "cli.py:2", "note is something else"),
    "a private name defined twice": ("cli.py", "_a = 1\n", "cli.py:1", "_a is something else"),
    "a definition that others import": ("cli.py", "def os(): pass\n", "cli.py:1", "os is something else"),
    "one name from two places": ("cli.py", "from os import path as sys\n", "cli.py:1", "sys is something else"),
    "__all__ in a chapter": ("store.py", "__all__ = []\n", "store.py:1", "__all__ would rule"),
    "a builtin that others use": ("cli.py", "def print(*x): pass\n", "cli.py:1", "print is something else to sololith/base.py"),
    "a star name that others use": ("cli.py", "def dumps(x): pass\n", "cli.py:1", "dumps is something else to sololith/store.py"),
    "a chapter that is not in the contents": ("lost.py", "x = 1\n", "lost.py:1", "no chapter"),
    "a chapter that is not there": ("__init__.py", "from .gone import *\n", "__init__.py:1", "there is no sololith/gone.py"),
    "a chapter that is there twice": ("__init__.py", "from .base import *\nfrom .base import *\n", "__init__.py:2", "twice"),
    "names in the contents": ("__init__.py", SMALL["__init__.py"].replace("base import *", "base import Problem"),
                              "__init__.py:3", "imports *"),
    "code below the contents": ("__init__.py", SMALL["__init__.py"] + "x = note\n", "__init__.py:7", "before the chapters"),
    "a line like a bar": ("store.py", 's = """\n# ═══ sololith/x.py\n"""\n', "store.py:2", "cannot begin with"),
    "a line like a fold": ("store.py", "#: from .base import Problem\n", "store.py:1", "cannot begin with"),
    "a Windows line end": ("store.py", b"x = 1\r\n", "store.py:1", "end of line"),
    "a form feed": ("store.py", b"x = 1\n\x0cy = 2\n", "store.py:2", "end of line"),
    "a byte order mark": ("store.py", b"\xef\xbb\xbfx = 1\n", "store.py:1", "not Python"),
    "bytes that are not UTF-8": ("store.py", b"# \xff\n", "store.py:1", "UTF-8"),
    "a syntax error": ("store.py", "x = 1\ndef (:\n", "store.py:2", "not Python"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_check_finds(what, tmp_path, capsys):
    name, text, where, words = MUTATIONS[what]
    extra = {"base.py": SMALL["base.py"] + "def say(): print(_a)\n_a = 2\n"}
    assert onefile.check(write(tmp_path, {**SMALL, **extra})) == []
    package = write(tmp_path, {name: text})
    assert onefile.main(["check", str(package)]) == 1
    found = capsys.readouterr().err
    assert any(line.startswith(f"sololith/{where}: ") and words in line for line in found.splitlines()), found


@pytest.mark.parametrize("what", ["a line like a bar", "a line like a fold", "a form feed"])
def test_join_refuses_what_it_could_not_undo_or_gives_it_back(what, tmp_path):
    name, text, *_ = MUTATIONS[what]
    package = write(tmp_path, {**SMALL, name: text})
    try: joined = onefile.join(package)
    except onefile.Refused: return
    assert {c.name: c.text for c in onefile.split(joined)}[f"sololith/{name}"].encode() == (package / name).read_bytes()


def test_an_unknown_verb_shows_the_manual(capsys):
    assert onefile.main([]) == onefile.main(["split"]) == onefile.main(["jion"]) == 2
    assert "scripts/onefile.py check" in capsys.readouterr().err


# ── tokens

def test_tokens_are_those_of_cl100k(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("counting went to the network"))
    assert onefile.count("hello world") == 2
    assert onefile.count("tiktoken is great!") == 6
    assert onefile.count("お誕生日おめでとう") == 9
    assert onefile.count("<|endoftext|>") == 7  # text, not a control token


def test_the_budget_fails_above_the_cap(small, monkeypatch, capsys):
    assert onefile.main(["budget", str(small)]) == 0
    said = capsys.readouterr().out
    assert all(f"sololith/{name}" in said for name in SMALL) and "the one file" in said
    monkeypatch.setattr(onefile, "CAP", 100)
    assert onefile.main(["budget", str(small)]) == 1
    assert "above the cap" in capsys.readouterr().err


# ── on ours

def test_our_chapters_are_in_order(): assert onefile.check() == []


def test_our_chapters_come_back_byte_for_byte():
    parts = onefile.split(onefile.join())
    assert len(parts) == len(list((ROOT / "sololith").rglob("*.py")))
    for part in parts: assert (ROOT / part.name).read_bytes() == part.text.encode(), part.name


def test_we_are_within_the_budget():
    total = onefile.count(onefile.join())
    assert 1000 < total <= onefile.CAP, f"{total:,} tokens"


def test_sololith_onefile_prints_the_one_file():
    package = run("-m", "sololith", "onefile", env=environment(), cwd="/")
    assert package.stdout == onefile.join(), package.stderr


def test_the_one_file_prints_itself(tmp_path):
    path = tmp_path / "sololith.py"
    path.write_text(onefile.join())
    assert run(path, "onefile", env=environment(PYTHONPATH=""), cwd="/").stdout == path.read_text()


def test_the_one_file_can_be_imported_as_sololith(tmp_path, monkeypatch):
    assert not ONEFILE
    path = tmp_path / "sololith.py"
    path.write_text(onefile.join())
    program = ("import importlib.util, sys\n"
               "spec = importlib.util.spec_from_file_location('sololith', sys.argv[1])\n"
               "sys.modules['sololith'] = module = importlib.util.module_from_spec(spec)\n"
               "spec.loader.exec_module(module)\n"
               "import sololith; print(sololith is module, sololith.__version__)\n")
    said = run("-c", program, path, env=environment(PYTHONPATH="", SOLOLITH_HOME=str(tmp_path / "w")), cwd=tmp_path)
    assert said.stdout.startswith("True 0."), said.stderr


@pytest.mark.package_only
def test_uv_runs_the_one_file_with_what_its_head_names(tmp_path):
    file = tmp_path / "sololith.py"
    file.write_text(onefile.join())
    env = os.environ | uv_settings() | {"UV_CACHE_DIR": str(tmp_path / "cache")}
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    done = subprocess.run([uv, "run", "--no-project", "--python", sys.executable, file, "--version"], env=env, capture_output=True, text=True, timeout=100)
    assert f'__version__ = "{done.stdout.strip()}"' in file.read_text(), done.stderr
