"""The files app: every change of a file is in the journal and can be undone; nothing outside of files/ is in reach.

Threats A8, A9, A16, A17, A18, B4 and B5 as far as they are about its pages, driven from outside.
"""
import html
import http.client
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from helpers import SWAPPING, Answer, Server, wait_for

NUMBERS = itertools.count()
SECRET = b"what lies outside"


@pytest.fixture(scope="module")
def T(tmp_path_factory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("filesapp") / "workspace"
    (workspace.parent / "secret.txt").parent.mkdir(exist_ok=True)
    (workspace.parent / "secret.txt").write_bytes(SECRET)
    with Server(workspace).start() as server: yield server


@pytest.fixture
def files(T, request) -> Path:
    "A folder of the test's own in files/, named after it."
    n = next(NUMBERS)
    folder = T.workspace / "files" / f"{re.sub(r'[^a-z0-9]+', '-', request.node.originalname)[5:40]}-{n}"
    folder.mkdir()
    return folder


def put(folder: Path, **texts: str) -> None:
    "put(files, a_txt='text'): files named with a dot for the last underscore."
    for name, text in texts.items(): (folder / ".".join(name.rsplit("_", 1))).write_text(text)


def listed(server: Server, folder: Path | str = "", **params: str) -> list[str]:
    "The paths in a list, in its order."
    inside = folder if isinstance(folder, str) else folder.name
    answer = server.get(f"/files?{urlencode({'in': inside, **params})}")
    assert answer.status == 200, answer
    return [html.unescape(path) for path in re.findall(r'data-row="([^"]*)"', answer.text)]


def names(server: Server, folder: Path, **params: str) -> list[str]:
    return [path.removeprefix(f"{folder.name}/") for path in listed(server, folder, **params)]


def do(server: Server, what: str, *paths: str, **values: str) -> Answer:
    return server.post(f"/file/{what}", [*(("ids", path) for path in paths), *values.items()], HX_Request="true")


def send(server: Server, folder: Path | str, *uploads: tuple[str, bytes]) -> Answer:
    "Send files as the zone does, all in one request."
    edge, inside = "edge-of-it", folder if isinstance(folder, str) else folder.name
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="in"\r\n\r\n{inside}\r\n'.encode()]
    parts += [f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
              for name, data in uploads]
    return server.post("/file/add", b"".join(parts) + f"--{edge}--\r\n".encode(),
                       Content_Type=f"multipart/form-data; boundary={edge}", HX_Request="true")


def undo(server: Server, answer: Answer | None = None, redo: bool = False) -> Answer:
    "Press Undo on the toast of an answer."
    found = answer and re.search(r'"entry": ?(\d+)', html.unescape(answer.text))
    assert found or not answer, answer
    return server.post("/undo", {"entry": found[1]} if found else {"redo": "1"} if redo else {}, HX_Request="true")


def newest(server: Server) -> str:
    "The newest journal entry of the app, as the journal shows it."
    found = re.search(r'id="entry-\d+"[^>]*>(.*?)</li>', server.get("/journal?app=files").text, re.S)
    return html.unescape(found[1]) if found else ""


def tree(folder: Path) -> dict[str, str]:
    "All that lies in a folder, the trash left out."
    return {path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else "/" for path in folder.rglob("*")
            if ".trash" not in path.parts}


# ─── looking ───

def test_a_folder_lists_its_folders_first_then_its_files(T, files):
    put(files, b_txt="bb", A_txt="a", c_txt="ccc")
    (files / "z").mkdir()
    (files / "z" / "deep.txt").write_text("deep")
    assert names(T, files) == ["z", "A.txt", "b.txt", "c.txt"]
    assert names(T, files, sort="-name") == ["z", "c.txt", "b.txt", "A.txt"]
    assert names(T, files, sort="size") == ["z", "A.txt", "b.txt", "c.txt"]
    os.utime(files / "b.txt", (1, 1))
    assert names(T, files, sort="changed")[1] == "b.txt" and names(T, files, sort="nonsense") == ["z", "A.txt", "b.txt", "c.txt"]
    assert files.name in listed(T)
    page = T.get(f"/files?in={files.name}/z").text
    assert '<a href="/files">Files</a>' in page and f'href="/files?in={files.name}"' in page  # the way back
    assert 'href="/files"' in T.get("/").text  # in the navigation


def test_the_search_goes_down_from_here(T, files):
    (files / "2026" / "may").mkdir(parents=True)
    put(files, report_txt="1", other_txt="2")
    put(files / "2026" / "may", Report_of_may_txt="3")
    assert names(T, files, q="report") == ["2026/may/Report_of_may.txt", "report.txt"]
    assert names(T, files, q="may rep") == ["2026/may/Report_of_may.txt"]
    assert names(T, files, q="xyzzy") == [] and "Nothing fits" in T.get(f"/files?in={files.name}&q=xyzzy").text


def test_an_empty_folder_says_how_to_fill_it(T, files):
    page = T.get(f"/files?in={files.name}").text
    assert "This folder is empty" in page and "Drop" in page and "<tbody" not in page


def test_a_long_list_is_shown_in_parts(T, files):
    for n in range(320): (files / f"{n:03}.txt").write_text("")
    assert len(names(T, files)) == 300 and len(names(T, files, most="500")) == 320
    assert "300 of 320" in T.get(f"/files?in={files.name}").text


def test_hidden_files_databases_links_and_pipes_are_neither_listed_nor_reached(T, files):
    put(files, seen_txt="seen")
    for name in (".hidden", "copy.db", "copy.db-wal", "copy.DB", "a\\b", "new\nline"): (files / name).write_text("private")
    (files / ".folder").mkdir()
    (files / ".folder" / "inner.txt").write_text("private")
    (files / "link.txt").symlink_to("seen.txt")
    (files / "out").symlink_to(T.workspace.parent)
    os.mkfifo(files / "pipe")
    (files / os.fsdecode(b"not-\xff-text")).write_text("")
    assert names(T, files) == ["seen.txt"] and names(T, files, q="t") == ["seen.txt"]
    before = tree(T.workspace / "files")
    for name in (".hidden", "copy.db", "copy.db-wal", "link.txt", "out/secret.txt", "pipe", ".folder/inner.txt", "../../secret.txt", "../secret.txt",
                 "seen.txt\0", "a\\b", "nothing.txt", "", "/", "//etc/passwd", "/etc/passwd", "seen.txt/", "./seen.txt", "seen.txt/.."):
        path = f"{files.name}/{name}"
        for answer in (T.get(f"/files?{urlencode({'file': path})}"), T.get(f"/files?{urlencode({'file': name})}") if name else T.get("/files?file=."),
                       do(T, "delete", path), do(T, "move", path, to="/"), T.post("/file/name", {"file": path, "name": "new.txt"})):
            assert answer.status in (400, 404, 409, 422) and SECRET not in answer.body and b"private" not in answer.body, (name, answer)
    for folder in ("out", "../", "..", "/", ".trash", ".folder", "pipe", "seen.txt", "nowhere"):
        for answer in (T.get(f"/files?{urlencode({'in': f'{files.name}/{folder}'})}"), send(T, f"{files.name}/{folder}", ("a.txt", b"a")),
                       T.post("/file/name", {"in": f"{files.name}/{folder}", "name": "new"}), do(T, "move", f"{files.name}/seen.txt", to=f"{files.name}/{folder}")):
            assert answer.status in (404, 409, 422), (folder, answer)
    after = tree(T.workspace / "files")
    assert before == after and (T.workspace.parent / "secret.txt").read_bytes() == SECRET


# ─── adding ───

def test_several_files_are_added_at_once_and_undone_at_once(T, files):
    put(files, report_csv="old")
    answer = send(T, files, ("report.csv", b"a,b\n"), ("Über uns.txt", b"x" * 70_000), ("report.csv", b"c"))
    assert answer.status == 200 and "Added 3 files" in answer.text and 'class="drop"' in answer.text  # the zone, empty again
    assert names(T, files) == ["report (2).csv", "report (3).csv", "report.csv", "Über uns.txt"]
    assert (files / "report.csv").read_text() == "old" and (files / "Über uns.txt").stat().st_size == 70_000
    undone = undo(T, answer)
    assert undone.status == 200 and tree(files) == {"report.csv": "old"}
    assert undo(T, undone).status == 200 and tree(files)["report (3).csv"] == "c"
    assert send(T, files, ("Makefile", b"1"), ("Makefile", b"2")).status == 200 and "Makefile (2)" in names(T, files)


NAMES = ["../../x.py", "..\\..\\x.py", "/etc/cron.d/x", "C:\\x.py", "a" * 300 + ".py", "名" * 300 + ".txt", "CON", "con.txt", "NUL", "COM1.py", "....", ".htaccess", "x%00.py",
         "-rf", "<img src=x onerror=window.canary=1>.html", "$(touch x)", "a;b.txt", " ", "tab\there.txt", "é.py", "x.py."]


def test_a18_an_upload_gets_a_name_that_can_be_kept_anywhere(T, files):
    around = sorted(p for p in T.workspace.parent.rglob("*") if p.name not in ("files", "backups") and "files" not in p.parts and "data.db" not in p.name)
    for n, name in enumerate(NAMES):
        answer = send(T, files, (name, str(n).encode()))
        assert answer.status == (400 if name == " " and not name.strip() and answer.status == 400 else 200), (name, answer)
    kept = names(T, files)
    assert sorted(kept) == sorted(os.listdir(files)) and len(kept) >= len(NAMES) - 1
    for name in kept:
        assert len(name) <= 120 and not re.search(r'[/\\<>:"|?*$;%\x00-\x1f]|^[. -]|[. ]$', name), name
        assert not re.match(r"(con|nul|com1)(\.|$)", name, re.I), name
    assert around == sorted(p for p in T.workspace.parent.rglob("*") if p.name not in ("files", "backups") and "files" not in p.parts and "data.db" not in p.name)


@pytest.mark.parametrize("name", ["data.db", "data.db-wal", "x.db.txt", "X.DB"])
def test_a_database_is_refused_and_nothing_of_the_upload_is_kept(T, files, name):
    answer = send(T, files, ("good.txt", b"good"), (name, b"SQLite format 3"))
    assert answer.status == 422 and "cannot be a name here" in answer.text and tree(files) == {}


def test_an_upload_without_a_file_or_to_no_folder_says_so(T, files):
    assert send(T, files).status == 400 and send(T, f"{files.name}/nowhere", ("a.txt", b"a")).status == 404
    assert tree(files) == {}


def test_a_new_folder_is_made_undone_and_redone(T, files):
    answer = T.post("/file/name", {"in": files.name, "name": " 2026 "}, HX_Request="true")
    assert answer.status == 200 and names(T, files) == ["2026"]
    assert T.post("/file/name", {"in": files.name, "name": "2026"}).status == 409
    undone = undo(T, answer)
    assert names(T, files) == [] and undo(T, undone).status == 200 and names(T, files) == ["2026"]


# ─── renaming, moving, deleting, and back ───

@pytest.mark.parametrize("name", ["", " ", ".hidden", "a/b", "../a", "a\\b", "a\0b", "x" * 121, "名" * 100, "CON", "nul.txt", "copy.db", "copy.db-wal", "line\nbreak"])
def test_a_name_that_cannot_be_is_refused_in_the_form(T, files, name):
    put(files, a_txt="a")
    answer = T.post("/file/name", {"file": f"{files.name}/a.txt", "name": name}, HX_Request="true")
    assert answer.status == 422 and "cannot be a name here" in answer.text and "<form" in answer.text and tree(files) == {"a.txt": "a"}


def test_rename_undo_and_redo(T, files):
    put(files, a_txt="a", taken_txt="t")
    answer = T.post("/file/name", {"file": f"{files.name}/a.txt", "name": "b.txt"}, HX_Request="true")
    assert answer.status == 200 and tree(files) == {"b.txt": "a", "taken.txt": "t"}
    taken = T.post("/file/name", {"file": f"{files.name}/b.txt", "name": "taken.txt"}, HX_Request="true")
    assert taken.status == 409 and "taken.txt is there already" in taken.text and tree(files) == {"b.txt": "a", "taken.txt": "t"}
    assert T.cli("undo").returncode == 0 and tree(files) == {"a.txt": "a", "taken.txt": "t"}  # the shell undoes what the page did
    assert undo(T, redo=True).status == 200 and tree(files) == {"b.txt": "a", "taken.txt": "t"}
    assert "redo: renamed a.txt to b.txt" in T.cli("journal", "--app", "files", "-n", "1").stdout


def test_several_are_moved_at_once_with_one_undo(T, files):
    put(files, a_txt="a", b_txt="b", stay_txt="s")
    (files / "to").mkdir()
    (files / "folder" / "inner").mkdir(parents=True)
    put(files / "folder" / "inner", deep_txt="d")
    before = tree(files)
    paths = [f"{files.name}/{n}" for n in ("a.txt", "b.txt", "folder", "folder/inner/deep.txt")]  # what is inside another goes with it
    answer = do(T, "move", *paths, to=f"{files.name}/to")
    assert answer.status == 200 and names(T, files) == ["to", "stay.txt"]
    assert tree(files / "to") == {"a.txt": "a", "b.txt": "b", "folder": "/", "folder/inner": "/", "folder/inner/deep.txt": "d"}
    assert undo(T, answer).status == 200 and tree(files) == before
    up = do(T, "move", f"{files.name}/to", to="/")
    assert up.status == 200 and (T.workspace / "files" / "to").is_dir() and undo(T, up).status == 200
    assert do(T, "move", *paths, to="").status == 400 and do(T, "move", to="/").status == 400
    assert do(T, "move", f"{files.name}/folder", to=f"{files.name}/folder/inner").status == 409 and tree(files) == before


def test_what_is_deleted_is_in_the_trash_and_comes_back(T, files):
    put(files, a_txt="a", b_txt="b")
    (files / "sub").mkdir()
    put(files / "sub", c_txt="c")
    before = tree(files)
    answer = do(T, "delete", f"{files.name}/a.txt", f"{files.name}/sub", f"{files.name}/sub/c.txt")
    assert answer.status == 200 and "Deleted 2 files" in answer.text and tree(files) == {"b.txt": "b"}
    assert T.get(f"/files/{files.name}/a.txt").status == 404 and T.get("/files?in=.trash").status == 404
    assert undo(T, answer).status == 200 and tree(files) == before
    assert undo(T, redo=True).status == 200 and tree(files) == {"b.txt": "b"}
    assert undo(T).status == 200 and tree(files) == before


def test_an_undo_that_would_overwrite_is_a_conflict_and_changes_nothing(T, files):
    put(files, a_txt="first", b_txt="b")
    answer = do(T, "delete", f"{files.name}/b.txt", f"{files.name}/a.txt")
    put(files, a_txt="second")  # by another program
    told = undo(T, answer)
    assert told.status == 409 and "a.txt is there already" in told.text
    assert tree(files) == {"a.txt": "second"}  # b.txt did not come back alone
    (files / "a.txt").rename(files / "aside.txt")
    assert undo(T, answer).status == 200 and tree(files) == {"a.txt": "first", "b.txt": "b", "aside.txt": "second"}


def test_an_undo_of_what_is_no_longer_there_is_a_conflict(T, files):
    put(files, a_txt="a")
    first = T.post("/file/name", {"file": f"{files.name}/a.txt", "name": "b.txt"}, HX_Request="true")
    second = T.post("/file/name", {"file": f"{files.name}/b.txt", "name": "c.txt"}, HX_Request="true")
    told = undo(T, first)
    assert told.status == 409 and "is not where it was" in told.text and tree(files) == {"c.txt": "a"}
    assert undo(T, second).status == 200 and undo(T, first).status == 200 and tree(files) == {"a.txt": "a"}


def test_a_bulk_change_that_fails_half_way_leaves_all_as_it_was(T, files):
    put(files, a_txt="a", b_txt="b", c_txt="c")
    (files / "to").mkdir()
    put(files / "to", c_txt="taken")
    before, last = tree(files), newest(T)
    answer = do(T, "move", *(f"{files.name}/{n}.txt" for n in "abc"), to=f"{files.name}/to")
    assert answer.status == 409 and "c.txt is there already" in answer.text
    assert tree(files) == before and newest(T) == last


# ─── crashes ───

DYING = '''
"Dying: the process is killed between a move and its commit."
from sololith import *
import signal
inner = db.followers["files"]
def dying(before, after):
    back = inner(before, after)
    if (home.path / "die").exists():
        (home.path / "die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return back
db.followers["files"] = dying
'''


def test_a_kill_between_move_and_commit_loses_nothing_and_the_journal_is_right_again(start, plugin, workspace):
    plugin("dying", DYING)
    T = start()
    files = workspace / "files"
    (files / "sub").mkdir()
    put(files / "sub", a_txt="a")
    def dies(act) -> None:
        (workspace / "die").write_text("")
        with pytest.raises((ConnectionError, http.client.HTTPException)): act()
        T.process.wait(10)
        T.restart()

    dies(lambda: do(T, "delete", "sub/a.txt"))
    assert tree(files) == {"sub": "/", "sub/a.txt": "a"} and "deleted" not in newest(T)  # it was not deleted, and is not said to be

    deleted = do(T, "delete", "sub/a.txt")
    assert tree(files) == {"sub": "/"}
    dies(lambda: undo(T, deleted))
    assert tree(files) == {"sub": "/"}  # it did not come back, and is not said to have
    undone = undo(T, deleted)
    assert undone.status == 200 and tree(files) == {"sub": "/", "sub/a.txt": "a"}
    dies(lambda: undo(T, undone))  # redo: delete it again
    assert tree(files) == {"sub": "/", "sub/a.txt": "a"} and undo(T, undone).status == 200 and tree(files) == {"sub": "/"}
    added = send(T, "", ("new.txt", b"new"))
    dies(lambda: undo(T, added))
    assert (files / "new.txt").read_text() == "new" and "added new.txt" in newest(T)
    assert undo(T, added).status == 200 and not (files / "new.txt").exists()
    dies(lambda: send(T, "", ("late.txt", b"late")))
    assert tree(files) == {"sub": "/"}  # what was deleted, taken back or never said to be added stays so


# ─── what it shows ───

KINDS = {"plain.txt": (b"two\nlines <b>\n", r"<pre[^>]*>two\nlines &lt;b&gt;"), "page.md": (b"# Title\n\n<script>x</script>\n\n- one", r"<h1>Title</h1>"),
         "table.csv": ("name;amount\nZoë;5\n\"a;b\";6\n".encode("cp1252"), r"<th>name</th>.*<td>Zoë</td>.*<td>a;b</td>"), "table.tsv": (b"a\tb\n1\t2\n", r"<th>a</th><th>b</th>.*<td>2</td>"),
         "utf16.csv": ("a,b\n1,ü\n".encode("utf-16"), r"<td>ü</td>"), "data.json": (b'{"a":[1,2]}', r"<pre[^>]*>\{\n (&quot;|\")a(&quot;|\"): \[\n"), "broken.json": (b'{"a":', r"<pre[^>]*>\{(&quot;|\")a(&quot;|\"):</pre>"),
         "deep.json": (b"[" * 100_000, r"<pre[^>]*>\[\["), "broken.csv": (b'a,b\n"1', r"<td>1</td>|<pre"), "empty.csv": (b"", r"<pre"), "empty.txt": (b"", r"<pre"),
         "p.png": (b"\x89PNG", r'<img[^>]*src="/files/[^"]*p\.png"'), "page.html": (b"<p>hi", r'<iframe[^>]*src="/files/[^"]*page\.html\?frame"[^>]*sandbox=""|<iframe[^>]*sandbox=""[^>]*src="/files/[^"]*page\.html\?frame"'),
         "p.svg": (b"<svg/>", r'<iframe[^>]*sandbox=""'), "thing.bin": (b"\0\1\2", r"cannot be shown"), "Makefile": (b"all:\n\tmake", r"<pre[^>]*>all:\n\tmake"), "odd.txt": (b"\xff\xfeno", r"<pre")}


def test_every_kind_of_file_has_a_preview(T, files):
    for name, (data, shown) in KINDS.items():
        (files / name).write_bytes(data)
        answer = T.get(f"/files?{urlencode({'file': f'{files.name}/{name}'})}")
        assert answer.status == 200 and re.search(shown, answer.text, re.S), (name, answer.text[-1500:])
        assert "<script>x" not in answer.text and f'href="/files/{files.name}/{quote(name)}"' in answer.text  # Download


def test_a_large_file_is_shown_in_part(T, files):
    (files / "big.txt").write_text("é line\n" * 100_000)
    (files / "big.csv").write_text("a,b\n" + "1,2\n" * 500)
    text = T.get(f"/files?file={files.name}/big.txt").text
    assert "Only the beginning" in text and len(text) < 250_000 and "Ã" not in text
    table = T.get(f"/files?file={files.name}/big.csv").text
    assert table.count("<td>1</td>") == 200 and "first 200 rows" in table


def test_b5_a_frame_runs_nothing_and_asks_nobody(T, files):
    put(files, page_html="<script>1</script>", pic_svg="<svg/>", text_txt="x")
    for name, kind in (("page.html", "text/html"), ("pic.svg", "image/svg+xml")):
        headers = T.get(f"/files/{files.name}/{name}?frame").headers
        assert headers["Content-Type"].split(";")[0] == kind and headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'")
    assert T.get(f"/files/{files.name}/text.txt?frame").headers["Content-Type"] == "application/octet-stream"


def test_b4_names_are_escaped(T, files):
    name = "\"><img src=x onerror='window.canary=1' data-canary>&amp;"
    (files / name).mkdir()
    (files / name / f"{name}.csv".replace("/", "")).write_text(f"{name},b\n{name},<b data-canary>\n")
    for params in ({"in": files.name}, {"in": f"{files.name}/{name}"}, {"file": f"{files.name}/{name}/{name}.csv"}, {"name": f"{files.name}/{name}"},
                   {"in": files.name, "q": name[:20]}, {"in": files.name, "sort": name, "most": name}, {"in": name}, {"file": name}):
        for htmx in (None, "true"):
            assert not re.search(r"<(img|b)\b[^>]*data-canary", T.get(f"/files?{urlencode(params)}", HX_Request=htmx).text), params
    assert "<img" not in do(T, "delete", f"{files.name}/{name}").text and tree(files) == {}


def test_a17_no_page_shows_what_is_outside_while_files_and_links_are_swapped(T, files, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "inside.txt").write_bytes(SECRET)
    (outside / "only-outside.txt").write_bytes(SECRET)
    (files / "swap").mkdir()
    (files / "swap" / "inside.txt").write_text("inside")
    (files / "swap.txt").write_text("inside")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPING, str(files), str(outside), "0.001"])
    seen = set()
    try:
        for n in range(240):
            params = ({"file": f"{files.name}/swap.txt"}, {"file": f"{files.name}/swap/inside.txt"}, {"in": f"{files.name}/swap"})[n % 3]
            answer = T.get(f"/files?{urlencode(params)}", HX_Request="true", HX_Target="files-list")
            assert SECRET not in answer.body and b"only-outside" not in answer.body and answer.status in (200, 404)
            seen.add((n % 3, answer.status))
            if n % 8 == 0: do(T, "move", f"{files.name}/swap/inside.txt", to=files.name) and do(T, "move", f"{files.name}/inside.txt", to=f"{files.name}/swap")
    finally:
        assert swapper.poll() is None
        swapper.kill()
        swapper.wait()
    assert len(seen) >= 4 and (outside / "inside.txt").read_bytes() == SECRET and sorted(os.listdir(outside)) == ["inside.txt", "only-outside.txt"]


def test_a8_a9_asking_changes_nothing_and_changes_are_not_asked_for(T, files):
    put(files, a_txt="a")
    before, last = tree(files), newest(T)
    it = {"ids": f"{files.name}/a.txt", "to": "/", "file": f"{files.name}/a.txt", "name": "b.txt", "in": files.name, "action": "delete"}
    for path in ("add", "delete", "move", "name"):
        assert T.get(f"/file/{path}?{urlencode(it)}").status == 405
        assert T.post(f"/file/{path}?{urlencode(it)}").status in (400, 404, 422)  # what it needs is read from the form
    for params in (it, {"in": files.name}, {"file": it["file"]}, {"name": it["file"]}, {"name": "", "in": files.name}): assert T.get(f"/files?{urlencode(params)}").status == 200
    assert tree(files) == before and newest(T) == last


# ─── in the browser ───

def test_files_are_chosen_or_dropped_by_hand_or_key_and_all_tabs_see_them(page, open_page, tmp_path):
    server = page.server
    page.goto(server.url + "/files")
    assert page.is_visible("text=No files yet")
    other, choosers = open_page(server, "/files"), []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # early: to listen takes the browser a moment
    for name in ("one.txt", "two.csv"): (tmp_path / name).write_text("a,b\n1,2\n")
    page.set_input_files(".drop input[type=file]", [tmp_path / "one.txt", tmp_path / "two.csv"])
    for tab in (page, other): tab.wait_for_selector("tr:has-text('two.csv')")
    assert page.is_visible(".toast:has-text('Added 2 files') button")
    page.keyboard.press("n")
    page.wait_for_timeout(100)
    wait_for(lambda: choosers or page.wait_for_timeout(20))
    (tmp_path / "three.txt").write_text("3")
    choosers[0].set_files(tmp_path / "three.txt")
    other.wait_for_selector("tr:has-text('three.txt')")
    page.evaluate("htmx.trigger('.drop', 'htmx:xhr:progress', {lengthComputable: true, loaded: 30, total: 40})")
    assert page.evaluate("document.querySelector('.drop progress').value") == 0.75
    data = page.evaluate_handle("() => { const d = new DataTransfer(); d.items.add(new File(['4'], 'four.txt')); return d }")
    page.dispatch_event(".drop label", "dragover", {"dataTransfer": data})
    assert page.evaluate("document.querySelector('.drop').classList.contains('over')")
    page.dispatch_event(".drop label", "dragleave", {"dataTransfer": data})
    assert not page.evaluate("document.querySelector('.drop').classList.contains('over')")


def test_the_list_is_worked_by_keys(page, page_errors):
    server = page.server
    for name in ("a.txt", "b.txt"): (server.workspace / "files" / name).write_text(name)
    (server.workspace / "files" / "sub").mkdir()
    page.goto(server.url + "/files")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.wait_for_selector("#dialog[open] input[name=name]")
    page.fill("#dialog input[name=name]", "b.txt")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog .error:has-text('b.txt is there already')")
    page.fill("#dialog input[name=name]", "c.txt")
    page.keyboard.press("Enter")
    page.wait_for_selector("tr:has-text('c.txt')")
    page.wait_for_selector("#dialog", state="hidden")
    page.locator("[data-row='b.txt']").focus()
    page.keyboard.press("Delete")
    page.wait_for_selector("[data-row='b.txt']", state="detached")
    page.keyboard.press("z")
    page.wait_for_selector("[data-row='b.txt']")
    page.locator("[data-row='b.txt']").focus()
    page.keyboard.press("x")
    page.locator("[data-row='c.txt']").focus()
    page.keyboard.press("x")
    page.select_option("#bulk select[name=to]", "sub")
    page.wait_for_selector("[data-row='c.txt']", state="detached")
    assert sorted(os.listdir(server.workspace / "files" / "sub")) == ["b.txt", "c.txt"]
    page.locator("[data-row='sub']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-row='sub/b.txt']")
    page.locator("[data-row='sub/b.txt']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("pre:has-text('b.txt')")
    page.click("main [aria-label='Delete b.txt']")
    page.wait_for_url("**/files?in=sub")
    assert page.locator("[data-row]").count() == 1
    assert len(page_errors) == 1 and "409" in page_errors[0]  # the name that was taken
    page_errors.clear()


WEBSOCKET = """<!doctype html><p id=here>uploaded</p><script>new WebSocket("ws://HOST/ws?b5")</script><img src="http://HOST/files/canary.png"><link rel=stylesheet href="http://HOST/files/canary.css">
<img src=x onerror='new WebSocket("ws://HOST/ws?b5")'><iframe src="javascript:new WebSocket('ws://HOST/ws?b5')"></iframe><style>#here { color: rgb(1, 2, 3) }</style>
<form action="http://HOST/file/delete" method=post><input name=ids value=page.html></form><script>document.forms[0].submit()</script>"""


def test_b5_an_uploaded_page_that_opens_a_websocket_to_us_is_blocked(page, page_errors):
    server = page.server
    for name, source in (("page.html", WEBSOCKET), ("pic.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><circle r="40" cx="45" cy="45"/><script>new WebSocket("ws://HOST/ws?b5")</script></svg>')):
        send(server, "", (name, source.replace("HOST", server.host).encode()))
        page.goto(server.url + "/files")
        sockets, asked = [], []
        page.on("websocket", lambda ws, sockets=sockets: sockets.append(ws.url) if "b5" in ws.url else None)
        page.on("response", lambda r, asked=asked: asked.append(r.url) if "canary" in r.url or r.request.method == "POST" else None)
        page.click(f"a:has-text('{name}')")
        frame = page.frame_locator("iframe.foreign")
        frame.locator("#here, circle").first.wait_for()
        if name == "page.html": assert frame.locator("#here").evaluate("e => getComputedStyle(e).color") == "rgb(1, 2, 3)"  # its own style counts
        time.sleep(0.3)
        assert sockets == [] and asked == []
        direct = page.goto(f"{server.url}/files/{name}?frame")  # and so it is as a page of its own
        assert direct.status == 200
        time.sleep(0.2)
        assert sockets == [] and asked == []
    assert wait_for(lambda: page_errors) and all("sandbox" in e or "Content Security Policy" in e or "console" in e for e in page_errors), page_errors
    page_errors.clear()
