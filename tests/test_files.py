"""Files: what is outside of files/ cannot be had, an upload gets a name of ours, a table's export runs nothing.

Threats A16, A17, A18 and A21, driven from outside, and what an upload is when it comes back.
"""
import csv
import http.client
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers import SWAPPING, Answer, Server, p95

PAPERS = '''
"Papers: records with a file, and with every kind of text."
from sololith import *

@dataclass
class Shelf:
    name: str

@dataclass
class Paper:
    title: str
    body: Text = ""
    scan: File | None = None
    tags: Tags = field(default_factory=list)
    kind: Literal["plain", "=1+1"] = "plain"
    data: Json = None
    amount: int = 0
    price: Decimal | None = None
    shelf: Shelf | None = None

shelves, papers = crud(Shelf, "shelves"), crud(Paper)
'''
OURS = re.compile(r"[a-z0-9][a-z0-9-]{0,40}-[0-9a-f]{8}\.[a-z0-9]{1,8}")
SECRET = b"what lies outside"


@pytest.fixture(scope="module")
def T(tmp_path_factory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("files") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "papers.py").write_text(PAPERS)
    (workspace.parent / "secret.txt").write_bytes(SECRET)
    with Server(workspace).start() as server:
        (workspace / "files" / "inside.txt").write_text("inside")
        (workspace / "files" / "sub").mkdir()
        (workspace / "files" / "sub" / "inside.txt").write_text("inside")
        yield server


def status_of(raw: bytes) -> int: return int(raw.split()[1])


def newest(server: Server) -> dict: return server.get("/papers/export.json").json()[-1]


def upload(server: Server, name: str, data: bytes) -> tuple[Answer, str]:
    "Send a file as a browser would; the answer, and the name under which it is kept."
    answer = server.post("/papers", {"title": "A paper"}, files={"scan": (name, data)})
    return answer, newest(server)["scan"] or ""


# ─── A16: ways out of files/ ───

WAYS_OUT = ["/..%2f", "/../", "/%2e%2e/", "/%2e%2e%2f", "/..%5c", "/..\\", "\\..\\", "/.%2e/", "/..;/", "/..%00/", "/%252e%252e%252f", "/..%c0%af", "/..%ef%bc%8f",
            "/./../", "//../", "/sub/../../", "/sub/..%2f..%2f", "/....//"]
TARGETS = ["secret.txt", "data.db", ".run/secret", "apps/papers.py", "workspace/data.db"]
OUTRIGHT = ["//etc/passwd", "/%2fetc%2fpasswd", "/etc/passwd", "/\\\\host\\share", "/%5c%5chost%5cshare", "//host/share", "/c:/windows/win.ini", "/c%3a%5cwindows", "/file:///etc/passwd",
            "/%00", "/inside.txt%00", "/inside.txt%00.png", "/%00/etc/passwd", "/~/.ssh", "/.", "/..", "/%2e", "/", "//", "/sub", "/sub/", "/proc/self/environ", "/inside.txt/", "/inside.txt/..", "/%0d%0aSet-Cookie:a=b"]


@pytest.mark.parametrize("base", ["", "/files", "/static", "/static/x", "/static/x/.."])
def test_a16_no_way_of_writing_a_path_leads_out_of_files(T, base):
    ways = [base + way * depth + target for way in WAYS_OUT for depth in (1, 2, 3) for target in TARGETS] + [base + path for path in OUTRIGHT if base + path != "/"]
    answers = {}
    for way in ways:
        path = way if way.startswith("/") else "/" + way
        if base == "" and path in ("//", "/.", "/..", "/%2e"): continue  # some of these are the front page
        raw = T.raw_get(path)
        assert SECRET not in raw and b"root:" not in raw and T.secret.encode() not in raw and b"SQLite" not in raw and b"\r\nset-cookie:" not in raw.lower()
        answers[path] = status_of(raw)
        for _ in range(3):  # a slash too many is sent to the address without it
            if answers[path] != 307: break
            there = re.search(rb"\r\nlocation: http://([^/]+)(\S+)\r\n", raw)
            assert there[1].decode() == T.host
            raw = T.raw_get(there[2].decode())
            answers[path] = status_of(raw)
    assert {path: status for path, status in answers.items() if status != 404} == {} and len(answers) > 200


@pytest.mark.parametrize("path", ["/files/in\0side.txt", "/files/\0", "/..\0/", "/files/ inside.txt", "/files/\t", "/files/inside.txt\0"])
def test_a16_a_raw_nul_or_blank_in_a_path_is_refused(T, path):
    assert status_of(T.raw_get(path)) in (400, 404)


def test_a16_what_is_in_files_is_given(T):
    for path in ("/files/inside.txt", "/files/sub/inside.txt", "/files/sub%2finside.txt", "/files/%69nside.txt"):
        assert T.get(path).text == "inside", path


def test_a16_links_databases_hidden_and_special_files_are_not_given(T):
    files = T.workspace / "files"
    (files / "link.txt").symlink_to(T.workspace.parent / "secret.txt")
    (files / "inner-link.txt").symlink_to("inside.txt")
    (files / "folder-link").symlink_to(T.workspace.parent)
    (files / "loop").symlink_to("loop")
    os.mkfifo(files / "pipe")
    for name in ("copy.db", "copy.db-wal", "copy.db.part", ".hidden", ".upload.part"): (files / name).write_text("private")
    for name in ("link.txt", "inner-link.txt", "folder-link/secret.txt", "loop", "pipe", "copy.db", "copy.db-wal", "copy.db.part", ".hidden", ".upload.part"):
        assert T.get(f"/files/{name}").status == 404, name


# ─── A17: files that change under our hands ───

@pytest.mark.parametrize("times", [pytest.param(1000, id="short"), pytest.param(10_000, id="long", marks=pytest.mark.soak)])
def test_a17_no_byte_from_outside_while_file_and_link_are_swapped(T, tmp_path, times):
    files, outside = T.workspace / "files", tmp_path / "outside"
    outside.mkdir()
    (outside / "inside.txt").write_bytes(SECRET)
    (files / "swap").mkdir(exist_ok=True)
    (files / "swap" / "inside.txt").write_text("inside")
    (files / "swap.txt").write_text("inside")
    seen: dict[tuple[int, int], int] = {}
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPING, str(files), str(outside), "0.0005"])  # a process: a thread would slow this one
    connection = http.client.HTTPConnection("127.0.0.1", T.port, timeout=10)
    try:
        for n in range(times):
            connection.request("GET", ("/files/swap.txt", "/files/swap/inside.txt")[n % 2], headers=T.headers())
            answer = connection.getresponse()
            body = answer.read()
            assert SECRET not in body and (answer.status, body) in ((200, b"inside"), (404, b"There is no such file.")), (answer.status, body)
            seen[answer.status, n % 2] = seen.get((answer.status, n % 2), 0) + 1
    finally:
        assert swapper.poll() is None
        swapper.kill()
        swapper.wait()
        connection.close()
    assert len(seen) == 4, f"Each place has to be met in both states for this to mean something: {seen}"


# ─── A18: uploads ───

NAMES = ["../../x.py", "..\\..\\x.py", "/etc/cron.d/x", "C:\\x.py", "apps/x.py", "../apps/x.py", "a" * 300, "a" * 300 + ".py", "x." + "y" * 300, "CON", "con.txt", "NUL", "COM1.py", "x.py ", "x.py.", "....", ".htaccess", ".x.py",
         "data.db", "x.html", "名前.txt", "%2e%2e%2fx.py", "x%00.py", "-rf", "a b\tc.txt", "<img src=x onerror=alert(1)>.html", "a;b.txt", "$(touch x)", "x.PY", "é.py"]


def listing(workspace: Path) -> set[str]:
    "All that there is around the workspace, but for what the server itself writes as it works, and files/."
    found = (path.relative_to(workspace.parent).as_posix() for path in workspace.parent.rglob("*"))
    return {path for path in found if not path.startswith(("workspace/data.db", "workspace/backups", "workspace/files/", "workspace/.run", "workspace.log"))}


def test_a18_an_upload_is_kept_under_a_name_of_ours_and_never_in_apps(T):
    before, kept = listing(T.workspace), set()
    for n, name in enumerate(NAMES):
        data = f"upload {n}".encode()
        answer, stored = upload(T, name, data)
        assert answer.status == 200 and OURS.fullmatch(stored) and stored not in kept, (name, stored)
        assert (T.workspace / "files" / stored).read_bytes() == data
        kept.add(stored)
    assert listing(T.workspace) == before
    assert not [p for p in (T.workspace / "files").rglob("*.part") if p.name != ".upload.part" and not p.name.startswith("copy")]


@pytest.mark.parametrize("disposition", ['form-data; name="scan"; filename="a"; filename="../../x.py"', "form-data; name=\"scan\"; filename*=UTF-8''..%2f..%2fx.py",
                                         'form-data; name="scan"; filename="x\r\n y.py"', 'form-data; name="scan"; filename="\\"../x.py"', 'form-data; name="../scan"; filename="x.py"',
                                         'form-data; name="scan"; filename="../../\0x.py"'])
def test_a18_odd_upload_headers_put_nothing_elsewhere(T, disposition):
    before = listing(T.workspace)
    body = f'--edge\r\nContent-Disposition: form-data; name="title"\r\n\r\nOdd\r\n--edge\r\nContent-Disposition: {disposition}\r\n\r\nodd\r\n--edge--\r\n'.encode()
    assert T.post("/papers", body, Content_Type="multipart/form-data; boundary=edge").status in (200, 400, 422)
    assert listing(T.workspace) == before
    assert all(OURS.fullmatch(p.name) for p in (T.workspace / "files").glob("*x*.py"))


def test_a18_a_file_where_text_belongs_is_refused_and_not_kept(T):
    before = set((T.workspace / "files").iterdir())
    answer = T.post("/papers", {}, files={"title": ("x.py", b"text")})
    assert answer.status == 422 and set((T.workspace / "files").iterdir()) == before


# ─── an upload comes back ───

def test_a_stored_upload_comes_back_byte_for_byte(T):
    data = bytes(range(256)) * 12_000  # 3 MB, more than one block, and more than is spooled in memory
    answer, stored = upload(T, "Scan of May.bin", data)
    assert stored.startswith("scan-of-may-") and stored.endswith(".bin") and f"“{newest(T)['title']}”" in answer.text
    back = T.get(f"/files/{stored}")
    assert back.status == 200 and back.body == data and back.headers["Content-Length"] == str(len(data))
    paper = newest(T)["id"]
    assert f'href="/files/{stored}"' in T.get(f"/papers/{paper}").text
    assert T.post(f"/papers/{paper}", {"title": "Renamed"}).status == 200 and newest(T)["scan"] == stored  # a form without a new file keeps it
    assert T.post(f"/papers/{paper}/delete").status == 200 and T.post("/undo").status == 200
    assert newest(T)["scan"] == stored and T.get(f"/files/{stored}").body == data
    server_restarted = T.restart()
    assert server_restarted.get(f"/files/{stored}").body == data


def test_nothing_in_an_upload_may_run(T):
    for name, kind, shown in (("a.html", "application/octet-stream", "attachment"), ("a.svg", "application/octet-stream", "attachment"), ("a.xhtml", "application/octet-stream", "attachment"),
                              ("a.js", "application/octet-stream", "attachment"), ("a.xml", "application/octet-stream", "attachment"), ("a.txt", "application/octet-stream", "attachment"),
                              ("a.png", "image/png", "inline"), ("a.pdf", "application/pdf", "inline")):
        _, stored = upload(T, name, b"<script>window.canary = 1</script>")
        headers = T.get(f"/files/{stored}").headers
        assert headers["Content-Type"].split(";")[0] == kind and headers["Content-Disposition"].startswith(shown), name
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_a_file_name_cannot_write_a_header(T):
    assert T.get("/files/a%0d%0aSet-Cookie:%20a=b").status == 404
    name = 'a"; Set-Cookie: a=b; filename="é\'.html'
    (T.workspace / "files" / name).write_text("inside")
    answer = T.get(f"/files/{quote(name)}")
    assert answer.text == "inside" and "Set-Cookie" not in answer.headers and "\"" not in answer.headers["Content-Disposition"]


def test_an_answer_on_a_kept_connection_is_not_late(T):
    "Headers and body are written apart: with Nagle's algorithm the second waits 40 ms for the first's receipt."
    connection = http.client.HTTPConnection("127.0.0.1", T.port, timeout=10)
    def ask() -> None:
        connection.request("GET", "/files/inside.txt", headers=T.headers())
        connection.getresponse().read()
    took = sorted(p95(ask, 5) for _ in range(7))
    connection.close()
    assert took[0] < 30, took  # ms; the best of several, for machines that are busy


def test_an_empty_file_and_an_empty_file_field(T):
    _, stored = upload(T, "empty.txt", b"")
    assert T.get(f"/files/{stored}").body == b""
    assert T.post("/papers", {"title": "None"}, files={"scan": ("", b"")}).status == 200 and newest(T)["scan"] is None


# ─── A21: formulas in an export ───

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", '=HYPERLINK("http://127.0.0.1:1","x")', "=cmd|' /C calc'!A0", "-", "+"]


def cells(text: str) -> list[dict]: return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def formulas(T) -> list[dict]:
    "Rows of an export, of records that hold formulas wherever text can be."
    shelf = T.post("/shelves", {"name": "=1+1"})
    assert shelf.status == 200
    for at, formula in enumerate(FORMULAS):
        data = {"title": f"{formula} ", "body": formula, "tags": formula, "kind": "=1+1", "amount": "-5", "price": "-19.90", "shelf": "1", "data": json.dumps({"a": formula} if at else -1)}
        assert T.post("/papers", data).status == 200, formula
    return cells(T.get("/papers/export.csv?q=&f.kind=%3D1%2B1").text)


def test_a21_no_cell_of_an_export_begins_like_a_formula(formulas):
    assert len(formulas) == len(FORMULAS)
    numbers = ("amount", "price")
    assert not [(n, v) for row in formulas for n, v in row.items() if n not in numbers and v.startswith(("=", "+", "-", "@", "\t", "\r"))]
    for row, formula in zip(formulas, FORMULAS, strict=True):
        assert row["body"] == f"'{formula}" and row["title"] == f"'{formula.strip()}" and row["kind"] == "'=1+1" and row["shelf"] == "'=1+1 #1"
        assert row["amount"] == "-5" and row["price"] == "-19.90"  # numbers stay numbers


def test_a21_the_command_line_exports_the_same(T, formulas, tmp_path):
    assert T.cli("export", str(tmp_path / "papers.csv"), "--app", "papers").returncode == 0
    rows = cells((tmp_path / "papers.csv").read_bytes().decode())
    assert [row for row in rows if row["kind"] == "'=1+1"] == formulas


def test_a21_what_was_exported_can_be_imported_as_it_was(T, formulas, tmp_path):
    file = tmp_path / "papers.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, formulas[0])
        writer.writeheader()
        writer.writerows(formulas)
    done = T.cli("import", str(file), "--app", "papers")
    assert done.returncode == 0, done.stderr
    bodies = [paper["body"] for paper in T.get("/papers/export.json").json()]
    assert bodies[-len(FORMULAS):] == FORMULAS


def test_a21_json_keeps_what_was_written(T, formulas):
    assert {p["body"] for p in T.get("/papers/export.json").json()} >= set(FORMULAS)
