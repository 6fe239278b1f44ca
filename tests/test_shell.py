"""`sololith run`: a pipeline as a Unix filter, with a server and without one, and `new pipeline`, whose scaffold runs.

Processes are started here, since pipes, signals and exit statuses are what it is about; what is only about arguments
goes beside the running server, where a verb takes a quarter of a second."""
import contextlib
import contextvars
import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers import SOLOLITH, Server, chapter, cli, environment, wait_for
from piping import Driven, rows

WORK = '''
"Filters."
import time as clock
from sololith import *

words = pipeline("Words", "Count and turn 100 % of words.")

@words.step
def text(text: Annotated[Text, Help("What to read.")]):
    "Which words?"
    return text

@words.step
def turned(text, how: Literal["upper", "lower"] = "upper", times: Annotated[int, Range(1, 9), Help("How often?")] = 1,
        is_loud: bool = False, on_day: date | None = None):
    "How shall they be turned?"
    print("turning")
    return (text.upper() if how == "upper" else text.lower()) * times + "!" * is_loud + (str(on_day) if on_day else "")

table = pipeline("Rows")

@table.step
def made(kind: str = "dicts", n: int = 3):
    found = [{"n": i, "word": "ä", "none": None, "at": date(2026, 1, 1)} for i in range(n)]
    if kind == "pandas":
        import pandas
        return pandas.DataFrame({"n": [1, None], "w": ["a", None]})
    if kind == "list": return ["a", {"b": 1}, 2, None]
    if kind == "dict": return {"a": [1, date(2026, 1, 1)]}
    if kind == "none": return None
    if kind == "number": return 42
    if kind == "bytes": return b"\\x00\\xffraw"
    if kind == "surrogate": return "a\\udc80b"
    return found

filed = pipeline("Filed")

@filed.step
def copied(source: File) -> File:
    data = (home.files / source).read_bytes()
    return artifact("copy.bin", data[::-1])

fails = pipeline("Fails")

@fails.step
def broken(text: str = "x"):
    print("before it broke")
    if not (home.path / "mended").exists(): raise ValueError(f"cannot {text}")
    return text

asks = pipeline("Asks")

@asks.step
def who(who: str): return who

@asks.step(asks=True)
def sure(who): return f"sure of {who}"

chatty = pipeline("Chatty")

@chatty.step
def talk(n: int = 3000):
    for i in range(n):
        print("line", i)
        if i % 100 == 0: clock.sleep(0.02)
    print("no newline", end="")
    return "talked"

sleeper = pipeline("Sleeper")

@sleeper.step
def sleeps(seconds: float = 60):
    print("asleep", flush=True)
    clock.sleep(seconds)

odd = pipeline("Odd")

@odd.step
def named(json: str = "j", help: str = "h", yes: str = "y", work: str = "w", resume: str = "r"): return [json, work]

outer = pipeline("Outer shell")
outer.step(words)

@outer.step
def final(words, mark: str = "."): return words + mark
'''


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    made = {}
    for name in ("alone", "server"):
        made[name] = tmp_path_factory.mktemp(name) / "workspace"
        (made[name] / "apps").mkdir(parents=True)
        (made[name] / "apps" / "work.py").write_text(WORK)
    with Server(made["server"]).start() as server:
        made["running"] = server
        yield made


class Shell:
    "`sololith …` in a workspace, in a process of its own."
    def __init__(self, workspace: Path): self.workspace = workspace

    def __call__(self, *args: object, stdin: str | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        found = cli("run", *map(str, args), "--workspace", str(self.workspace), stdin=stdin)
        assert found.returncode == status and "Traceback" not in found.stderr, found
        return found

    def start(self, *args: str, **options) -> subprocess.Popen:
        return subprocess.Popen([*SOLOLITH, "run", *args, "--workspace", str(self.workspace)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=environment(), start_new_session=True, **options)

    def state(self, run: int) -> str: return rows(self.workspace / "data.db", "SELECT status FROM runs WHERE id=?", run)[0]["status"]
    def last(self) -> int: return rows(self.workspace / "data.db", "SELECT max(id) n FROM runs")[0]["n"]


class Beside(Shell):
    "The same beside a server, in this process: what it says to the server is what counts."
    def __call__(self, *args: object, stdin: str | None = None, status: int = 0) -> subprocess.CompletedProcess[str]:
        argv, home = ["run", *map(str, args), "--workspace", str(self.workspace)], chapter("base").home
        out, err, before = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO(), home.path
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((stdin or "").encode())))
            try: found = contextvars.copy_context().run(chapter("cli").main, argv)
            except SystemExit as e: found = e.code
            finally: home.at(before)
        assert found == status, (found, err.getvalue())
        return subprocess.CompletedProcess(argv, status, out.buffer.getvalue().decode(), err.getvalue())


@pytest.fixture
def beside(places) -> Shell: return Beside(places["server"])


@pytest.fixture(params=["alone", "server"])
def shell(request, places) -> Shell: return (Shell if request.param == "alone" else Beside)(places[request.param])


# ─── what goes in and comes out

def test_standard_input_is_the_first_field_and_flags_are_the_others(shell):
    found = shell("words", "--times", "2", "--how", "lower", "--is-loud", "yes", "--on-day", "2026-12-24", stdin="Hello\nWorld\n")
    assert found.stdout == "hello\nworldhello\nworld!2026-12-24\n"
    assert found.stderr == "turning\n", "what it prints is on standard error"


def test_what_is_given_by_a_flag_is_not_read(beside):
    assert beside("words", "--text", "Ab", stdin="ignored").stdout == "AB\n"


def test_the_result_is_the_same_with_and_without_a_server(places):
    for args in (["rows", "--kind", "list"], ["rows", "--kind", "pandas", "--json"], ["hello", "--name", "Ann"]):
        found = [kind(places[name])(*args).stdout for kind, name in ((Shell, "alone"), (Beside, "server"))]
        if "--json" in args: found = [re.sub(r'"run": \d+', "", text) for text in found]
        assert found[0] == found[1] and found[0], args


def test_a_table_is_a_line_of_json_for_each_row(beside):
    lines = beside("rows", "--n", "2").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"n": n, "word": "ä", "none": None, "at": "2026-01-01"} for n in (0, 1)] and "ä" in lines[0]
    def refuse(name: str): raise AssertionError(f"{name} is not JSON")
    assert [json.loads(line, parse_constant=refuse) for line in beside("rows", "--kind", "pandas").stdout.splitlines()] == [{"n": 1.0, "w": "a"}, {"n": None, "w": None}]


@pytest.mark.parametrize(["kind", "out"], [("list", 'a\n{"b": 1}\n2\nnull\n'), ("dict", '{"a": [1, "2026-01-01"]}\n'), ("none", ""), ("number", "42\n"), ("surrogate", "a?b\n")])
def test_every_value_has_a_text(beside, kind, out): assert beside("rows", "--kind", kind).stdout == out


def test_bytes_and_files_come_out_as_they_are(shell, tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(range(256)))
    process = shell.start("filed", "--source", str(source))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == bytes(range(256))[::-1], err
    out, err = (process := shell.start("rows", "--kind", "bytes")).communicate(timeout=60)
    assert process.returncode == 0 and out == b"\x00\xffraw", err


def test_a_file_may_come_from_standard_input(beside):
    assert beside("filed", stdin="abc").stdout == "cba"
    assert "There is no file /no/such" in beside("filed", "--source", "/no/such", status=1).stderr


def test_json_tells_all(beside):
    found = json.loads(beside("rows", "--kind", "number", "--json").stdout)
    assert found == {"run": beside.last(), "status": "done", "error": None, "value": 42}


def test_inner_pipelines_are_asked_too(beside): assert beside("outer_shell", "--text", "a", "--how", "upper", "--mark", "?").stdout == "A?\n"


def test_every_line_that_is_printed_is_told_once(shell):
    lines = shell("chatty").stderr.splitlines()
    told = [line for line in lines if re.fullmatch(r"line \d+", line)]
    assert len(told) == len(set(told)) and told[-1] == "line 2999" and lines.count("no newline") == 1
    assert told == sorted(told, key=lambda line: int(line[5:])) and len(told) > 1000


def test_names_of_our_own_flags_do_no_harm(beside):
    assert beside("odd", "--work", "5").stdout == "j\n5\n"
    assert beside.workspace.exists() and not Path("5").exists()


# ─── help and wrong usage

def test_help_comes_from_hints_and_docstrings(beside):
    text = beside("words", "--help").stdout
    for part in ("Count and turn 100 % of words.", "text: Which words?", "turned: How shall they be turned?", "--text LONG", "What to read.", "needed", "--how", "upper, lower",
                 "--times INT", "How often?", "a whole number; default 1", "--is-loud", "--on-day", "optional", "--resume RUN", "--json", "Standard input is the first"):
        assert part in text, part
    assert "PIPELINE" in cli("run", "--help").stdout.upper()


@pytest.mark.parametrize("args", [("words", "--text", "a", "--how", "sideways"), ("words", "--text", "a", "--tims", "2"), ("words", "--text"), ("words", "extra"), ()], ids=str)
def test_wrong_usage_is_exit_2(beside, args):
    found = beside(*args, status=2)
    assert "usage:" in found.stderr and not found.stdout


@pytest.mark.parametrize(["args", "said"], [(("words", "--text", "a", "--times", "x"), "times is 'x', which is not a whole number."), (("words", "--text", "a", "--times", "99"), "from 1 to 9"),
    (("wrods",), "There is no pipeline wrods. Did you mean words?"), (("words", "--resume", "999999"), "999999")])
def test_what_cannot_be_done_is_said_in_a_line(beside, args, said):
    found = beside(*args, status=1)
    assert said in found.stderr and len(found.stderr.splitlines()) == 1


# ─── failing, waiting, going on

def test_a_failed_step_is_exit_1_and_resume_goes_on(shell):
    (shell.workspace / "mended").unlink(missing_ok=True)
    found = shell("fails", stdin="fly", status=1)
    assert not found.stdout and "before it broke" in found.stderr
    again = re.search(r"sololith: step broken failed: ValueError: cannot fly Try again: sololith run fails --resume (\d+)", found.stderr)
    assert again, found.stderr
    (shell.workspace / "mended").touch()
    assert shell("fails", "--resume", again[1]).stdout == "fly\n"
    told = json.loads(shell("fails", "--resume", again[1], "--json").stdout)
    assert told["status"] == "done" and told["value"] == "fly"
    (shell.workspace / "mended").unlink()


def test_a_step_that_needs_an_answer_is_exit_2_and_resume_gives_it(shell):
    found = shell("asks", status=2)
    run = shell.last()
    assert f"step who needs an answer. Go on with its flags, or --yes to approve: sololith run asks --resume {run}" in found.stderr
    assert shell("asks", "--resume", run, "--who", "Ann", status=2).stderr.count("step sure needs") == 1
    assert shell.state(run) == "waiting"
    assert shell("asks", "--resume", run, "--yes").stdout == "sure of Ann\n" and shell.last() == run
    assert shell("asks", "--who", "Bo", "--yes").stdout == "sure of Bo\n"


def test_resume_is_for_a_run_of_that_pipeline(beside):
    beside("rows")
    assert "is one of rows" in beside("words", "--resume", beside.last(), status=1).stderr


def test_a_run_from_the_shell_can_be_watched_and_answered_in_the_browser(places):
    server = places["running"]
    Beside(places["server"])("asks", "--who", "Cy", status=2)
    run = Driven(server, Beside(places["server"]).last())
    assert "by cli" in run.page() and "needs you" in server.get("/headers", HX_Request="true").text
    assert run.answer("sure").until("done")["sure"]["value"] == "sure of Cy"


# ─── pipes and signals

def test_a_broken_pipe_ends_quietly(shell):
    command = f"{' '.join(SOLOLITH)} run rows --n 20000 --workspace {shell.workspace} | head -n 1"
    found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, env=environment(), stdin=subprocess.DEVNULL)
    assert found.returncode == 0 and not found.stderr and json.loads(found.stdout)["n"] == 0, found


def test_filters_can_be_chained(beside):
    run = f"{' '.join(SOLOLITH)} run"
    where = f"--workspace {beside.workspace}"
    found = subprocess.run(["bash", "-o", "pipefail", "-c", f"echo 'b a' | {run} words {where} | {run} words --how lower {where} 2>&1 | grep b"], capture_output=True, text=True,
                           timeout=60, env=environment())
    assert found.stdout == "b a\n" and found.returncode == 0, found


def test_ctrl_c_cancels_the_run_and_is_exit_130(shell):
    process = shell.start("sleeper")
    try:
        assert process.stderr.readline() == b"asleep\n"
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 130 and b"Traceback" not in err, err
        assert time.monotonic() - began < 5
    finally: process.kill()
    wait_for(lambda: shell.state(shell.last()) == "cancelled", 3, "the run to be cancelled")


@pytest.mark.soak
def test_two_runs_alone_take_turns(places):
    "Without a server a run owns the workspace; the other one says so rather than write beside it."
    shell = Shell(places["alone"])
    first = shell.start("sleeper", "--seconds", "2")
    try:
        assert first.stderr.readline() == b"asleep\n"
        second = cli("run", "rows", "--workspace", str(shell.workspace), limit=60)
        assert second.returncode in (0, 1) and "Traceback" not in second.stderr
        assert first.wait(30) == 0
    finally: first.kill()


# ─── new pipeline

@pytest.mark.parametrize("parts", [(), ("ask:text:text", "work", "show"), ("a:n:int", "a:x:float", "b:choice:low|high", "c"), ("a:day:date", "a:maybe:int?", "b:done:bool", "b:words:tags", "b:data:json"),
    ("a:link:url", "a:mail:email"), ("a:f:file",)], ids=str)
def test_a_new_pipeline_loads_and_runs(tmp_path, parts):
    workspace, home = tmp_path / "w", chapter("base").home
    before = home.path
    home.at(workspace)
    try: made = Path(chapter("cli").new_verb("pipeline", "fresh", list(parts)))
    finally: home.at(before)
    found = cli("run", "fresh", "--json", "--workspace", str(workspace))
    assert found.returncode == 0 and json.loads(found.stdout)["status"] == "done", (found, made.read_text())


@pytest.mark.parametrize("args", [("fresh", "class"), ("fresh", "a:b:nonsense"), ("fresh", "A b"), ("Fresh", "a"), ("runs", "a"), ("fresh", "a:a b"), ("fresh", "../x"), ("fresh", "a:x", "b:a"), ("hello", "a")], ids=str)
def test_a_new_pipeline_that_makes_no_sense_is_refused(tmp_path, args):
    home = chapter("base").home
    before = home.path
    home.at(tmp_path / "w")
    try:
        with pytest.raises(chapter("base").Problem): chapter("cli").new_verb("pipeline", args[0], list(args[1:]))
        assert not (tmp_path / "w" / "apps").exists() or not list((tmp_path / "w" / "apps").glob("*.py"))
    finally: home.at(before)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_jq_reads_what_comes_out(beside):
    found = subprocess.run(["jq", "-c", ".w"], input=beside("rows", "--kind", "pandas").stdout, capture_output=True, text=True)
    assert found.stdout == '"a"\nnull\n'
