"""One truth, live (threats D9, D11, D12): two tabs, double clicks, listeners that come back, listeners that do not read."""
import html
import itertools
import json
import re
import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import Answer, Server, patience, wait_for

QUIETLY = {"HX_Request": "true"}
soak = pytest.mark.soak


def read(server: Server, sql: str, *args) -> list[tuple]:
    with sqlite3.connect(server.workspace / "data.db", timeout=5) as connection: return connection.execute(sql, args).fetchall()


def hidden(answer: Answer, name: str) -> str:
    "The value of a hidden field in a page's form."
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"|value="([^"]*)"[^>]* name="{name}"', answer.text)
    assert found, f"no {name} in {answer}"
    return html.unescape(found[1] or found[2] or "")


def add(server: Server, title: str, **more) -> int:
    "Add a task; its id."
    answer = server.post("/tasks", {"title": title, **more}, **QUIETLY)
    assert answer.status == 200, answer
    entry = json.loads(answer.headers["sololith-changed"])["id"]
    return read(server, "SELECT record_id FROM journal WHERE id=?", entry)[0][0]


# ── D9: the same form twice, the same record in two tabs

def test_ten_posts_of_one_form_at_once_make_one_row(server):
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: server.post("/tasks", {"title": "once", "_key": "k1"}, **QUIETLY), range(10)))
    assert {a.status for a in answers} == {200}
    assert read(server, "SELECT count(*) FROM tasks") == [(1,)]
    assert read(server, "SELECT count(*) FROM journal WHERE app='tasks'") == [(1,)]
    server.restart(kill=True)
    assert server.post("/tasks", {"title": "once", "_key": "k1"}, **QUIETLY).status == 200
    assert read(server, "SELECT count(*) FROM tasks") == [(1,)], "nor after a crash"
    assert server.post("/notes", {"title": "another app", "_key": "k1"}, **QUIETLY).status == 200
    assert read(server, "SELECT count(*) FROM notes") == [(1,)]


def test_a_form_that_was_refused_can_be_sent_again_with_its_key(server):
    assert server.post("/tasks", {"title": "", "_key": "k2"}, **QUIETLY).status == 422
    assert server.post("/tasks", {"title": "now", "_key": "k2"}, **QUIETLY).status == 200
    assert read(server, "SELECT title FROM tasks") == [("now",)]


def test_two_tabs_that_edit_different_fields_of_a_record_are_merged(server):
    record = add(server, "shared", notes="old", priority="low")
    tabs = [server.get(f"/tasks/{record}") for _ in range(2)]
    forms = [{"title": "shared", "notes": "old", "priority": "low", "due": "", "_version": hidden(t, "_version"), "_key": hidden(t, "_key"), "_then": "stay"} for t in tabs]
    assert server.post(f"/tasks/{record}", forms[0] | {"notes": "from the first"}, **QUIETLY).status == 200
    answer = server.post(f"/tasks/{record}", forms[1] | {"title": "from the second", "is_done": "on"}, **QUIETLY)
    assert answer.status == 200, answer
    assert read(server, "SELECT title, notes, is_done FROM tasks") == [("from the second", "from the first", 1)]
    assert "from the first" in answer.text, "the tab sees what it did not know"


def test_two_tabs_that_edit_the_same_field_are_told_and_nothing_is_overwritten(server):
    record = add(server, "shared", notes="old")
    tabs = [server.get(f"/tasks/{record}") for _ in range(2)]
    forms = [{"title": "shared", "notes": "old", "_version": hidden(t, "_version"), "_then": "stay"} for t in tabs]
    assert server.post(f"/tasks/{record}", forms[0] | {"notes": "mine"}, **QUIETLY).status == 200
    answer = server.post(f"/tasks/{record}", forms[1] | {"notes": "no, mine"}, **QUIETLY)
    assert answer.status == 409
    assert "Meanwhile" in answer.text and "mine" in answer.text and "no, mine" in answer.text, "who, what, and what was typed"
    assert read(server, "SELECT notes FROM tasks") == [("mine",)]
    again = server.post(f"/tasks/{record}", forms[1] | {"notes": "no, mine", "_version": hidden(answer, "_version")}, **QUIETLY)
    assert again.status == 200, "having seen it, the person may"
    assert read(server, "SELECT notes FROM tasks") == [("no, mine",)]


def test_a_tab_that_edits_a_record_deleted_meanwhile_is_told(server):
    record = add(server, "short-lived")
    version = hidden(server.get(f"/tasks/{record}"), "_version")
    assert server.post(f"/tasks/{record}/delete", {}, **QUIETLY).status == 200
    answer = server.post(f"/tasks/{record}", {"title": "still here?", "_version": version}, **QUIETLY)
    assert answer.status == 404 and "journal" in answer.text
    assert server.post(f"/tasks/{record}/delete", {}, **QUIETLY).status == 404


@pytest.mark.parametrize("edits", [60, pytest.param(2000, marks=soak)])
def test_many_tabs_that_edit_one_record_at_once_lose_no_edit_unseen(server, edits):
    record = add(server, "busy", notes="0")
    accepted, refused = [], []

    def edit(n: int) -> None:
        version = hidden(server.get(f"/tasks/{record}/edit", **QUIETLY), "_version")
        answer = server.post(f"/tasks/{record}", {"notes": str(n), "_version": version}, **QUIETLY)
        (accepted if answer.status == 200 else refused).append(n)
        assert answer.status in (200, 409), answer
    with ThreadPoolExecutor(4) as pool: list(pool.map(edit, range(1, edits + 1)))
    told = [json.loads(after)["notes"] for (after,) in read(server, "SELECT after FROM journal WHERE verb='update' ORDER BY id")]
    assert sorted(map(int, told)) == sorted(accepted) and len(accepted) + len(refused) == edits
    befores = [json.loads(before)["notes"] for (before,) in read(server, "SELECT before FROM journal WHERE verb='update' ORDER BY id")]
    assert befores == ["0", *told[:-1]], "each began with what the one before had written"


# ── SSE: D11, D12

@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=soak)])
def test_sse_reconnects_with_the_last_id_miss_nothing_and_leave_nothing_open(server, times):
    files, seen, stop = server.open_files(), [], threading.Event()

    def write() -> None:
        for n in itertools.count():
            if stop.is_set(): return
            server.post("/tasks", {"title": f"t{n}"}, **QUIETLY)
            time.sleep(0.002)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(times):
            stream = server.sse(last_event_id=str(seen[-1] if seen else 0))
            for event in itertools.islice(stream, 1 + turn % 3): seen.append(int(event["id"]))
            stream.close()
    finally:
        stop.set()
        writer.join()
    newest = read(server, "SELECT max(id) FROM journal")[0][0]
    stream = server.sse(last_event_id=str(seen[-1]))
    while seen[-1] < newest: seen.append(int(next(stream)["id"]))
    stream.close()
    assert seen == list(range(1, newest + 1)), "missed, or told twice"
    wait_for(lambda: server.open_files() <= files + 5, what=f"{server.open_files()} open files to be {files} again")
    assert "Traceback" not in server.log, server.log[-2000:]


def unread(server: Server, path: str, *lines: str, buffer: int = 2048) -> socket.socket:
    "A client that asks and then does not read, with a small buffer."
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(("127.0.0.1", server.port))
    head = [f"GET {path} HTTP/1.1", f"Host: {server.host}", f"Cookie: {server.cookie}", f"Origin: {server.url}", *lines, "", ""]
    client.sendall("\r\n".join(head).encode())
    return client


def crowd_the_journal(workspace: Path, entries: int, size: int = 3000) -> int:
    "Put that many entries, each of a change of `size`, into the journal of a stopped server; the newest id."
    with sqlite3.connect(workspace / "data.db") as connection:
        connection.executemany("INSERT INTO journal (at, actor, cause, app, verb, record_id, summary, after) VALUES (?,'person','','tasks','update',1,?,?)",
                               (("2026-01-01T00:00:00.000+00:00", f"{n} " + "x" * 190, "y" * size) for n in range(entries)))
        return connection.execute("SELECT max(id) FROM journal").fetchone()[0]


def test_what_happens_during_a_long_catching_up_is_told_once_and_in_order(start, workspace):
    start().stop()
    backlog = crowd_the_journal(workspace, 25_000, size=10)
    server = start()
    client, data = unread(server, "/events", "Last-Event-ID: 0", buffer=1 << 16), b""
    for n in range(60): server.post("/tasks", {"title": f"meanwhile {n}"}, **QUIETLY)  # it is still being told of the past

    def hear(until: int) -> None:
        nonlocal data
        while f"\nid: {until}\n".encode() not in data[-100_000:]: data += client.recv(1 << 20)
    hear(backlog + 60)
    server.post("/tasks", {"title": "afterwards"}, **QUIETLY)
    hear(backlog + 61)
    client.close()
    seen = list(map(int, re.findall(rb"^id: (\d+)$", data, re.M)))
    assert seen == list(range(1, seen[-1] + 1)), "missed, told twice, or out of order"


def test_an_import_is_one_event_and_an_odd_last_id_harms_nothing(server):
    stream = server.sse(last_event_id="0")
    rows = server.workspace.parent / "rows.csv"
    rows.write_text("title\n" + "".join(f"r{n}\n" for n in range(300)))
    assert server.cli("import", str(rows), "--app", "tasks").returncode == 0
    told = json.loads(next(stream)["data"])
    stream.close()
    assert told["verb"] == "import" and told["actor"] == "cli"
    for odd in ("-1", "x", "9" * 19, "9" * 400, "1.5", "", "٣", "\xb2", "\xbd", "0x10"):
        connection, response = server.stream("GET", "/events", Last_Event_ID=odd if odd.isascii() or len(odd.encode("latin-1", "ignore")) else odd.encode().decode("latin-1"))
        assert response.status == 200 and response.readline() == b": Sololith\n", odd
        connection.close()
    assert "Traceback" not in server.log, server.log[-2000:]


IMPATIENT = "import sys\n(sys.modules.get('sololith.server') or sys.modules['sololith']).STALLED = 3\n"  # instead of 15


@pytest.mark.parametrize("limit", ["shortened", pytest.param("as it is", marks=soak)])
def test_50_sse_clients_that_do_not_read_cost_little_and_are_dropped(start, workspace, plugin, limit):
    start().stop()
    if limit == "shortened": plugin("impatient", IMPATIENT)
    newest = crowd_the_journal(workspace, 10_000)  # 4 MB to each, more than its socket's buffers hold: 200 MB in all
    server = start()
    server.get("/tasks")
    files, before = server.open_files(), server.memory()
    clients = [unread(server, "/events", "Last-Event-ID: 0") for _ in range(50)]
    try:
        begun, most = time.monotonic(), 0.0
        for n in range(270):  # what is live goes on meanwhile: more than waits for one of them
            assert server.request("POST", "/tasks", b"title=t", limit=100, Content_Type="application/x-www-form-urlencoded", **QUIETLY).status == 200
            if n % 20 == 0: most = max(most, server.memory())
        assert server.p95("/tasks", 20) < 400 * patience()
        stream = server.sse(last_event_id=str(newest + 260))
        assert [int(next(stream)["id"]) for _ in range(10)] == list(range(newest + 261, newest + 271)), "who reads is served"
        stream.close()
        wait_for(lambda: server.open_files() <= files + 5, limit=begun + 40 * patience() - time.monotonic(), what=f"the 50 to be dropped: {server.open_files()} open files, {files} before")
        most = max(most, server.memory())
        assert most - before <= 50, f"{most - before:.0f} MB more"
    finally:
        for client in clients: client.close()
    assert "Traceback" not in server.log and "never retrieved" not in server.log, server.log[-2000:]


# ── WebSocket

def events(ws, limit: float = 3):
    "What comes, as data, until nothing has come for a while."
    while True:
        try: yield json.loads(ws.recv(limit))
        except TimeoutError: return


def test_a_change_by_the_command_line_or_another_client_reaches_every_tab(server):
    record = add(server, "seen")
    with server.ws() as one, server.ws() as two:
        assert server.post(f"/tasks/{record}", {"title": "seen again"}, **QUIETLY).status == 200
        newest = read(server, "SELECT max(id) FROM journal")[0][0]
        for tab in (one, two): assert json.loads(tab.recv(3)) == {"id": newest, "apps": ["tasks"]}
        assert server.cli("undo").returncode == 0
        for tab in (one, two): assert json.loads(tab.recv(3)) == {"id": newest + 1, "apps": ["tasks"]}
        assert "seen again" not in server.get("/tasks").text


def test_a_tab_that_comes_back_catches_up_with_since(server):
    add(server, "before")
    seen = read(server, "SELECT max(id) FROM journal")[0][0]
    with server.ws() as ws:
        ws.send(json.dumps({"do": "since", "id": seen}))
        assert json.loads(ws.recv(3)) == {"id": seen, "apps": []}
    server.post("/notes", {"title": "while it was away"}, **QUIETLY)
    server.restart(kill=True)
    with server.ws() as ws:
        ws.send(json.dumps({"do": "since", "id": seen}))
        assert json.loads(ws.recv(3)) == {"id": seen + 1, "apps": ["notes"]}


def test_events_of_one_writer_come_in_order_and_none_is_missed_by_tabs_that_come_and_go(server):
    with server.ws() as ws:
        for n in range(40):
            add(server, f"t{n}")
            if n % 10 == 0:
                with server.ws(): pass
        ids = [json.loads(ws.recv(3))["id"] for _ in range(40)]
    assert ids == sorted(ids) and len(set(ids)) == 40


def test_a_tab_that_does_not_read_is_dropped_and_not_left_deaf(start, plugin):
    plugin("impatient", IMPATIENT)
    server = start()
    server.get("/tasks")
    time.sleep(0.3)  # the backup at the start has its files open
    files = server.open_files()
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    stalled = unread(server, "/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    with server.ws() as ws:
        assert b" 101 " in stalled.recv(64)
        wide = "since-" + "x" * 30
        for _ in range(3):  # it is asked for answers that it does not read, more than any socket's buffer holds
            ws.send(json.dumps({"do": wide}))
            assert "problem" in json.loads(ws.recv(3))
        mask, message = b"\x01\x02\x03\x04", json.dumps({"do": "y" * 40}).encode()
        frame = bytes([0x81, 0x80 | len(message)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(message))
        stalled.settimeout(2)
        sent = 0
        try:
            while sent < 40_000_000: sent += stalled.send(frame * 2000)
        except (TimeoutError, ConnectionError): pass
        begun = time.monotonic()
        add(server, "for whoever reads")
        assert json.loads(ws.recv(3 * patience()))["apps"] == ["tasks"], "the others are not kept waiting"
        wait_for(lambda: server.open_files() <= files + 1, limit=15 * patience(), what="the stalled one to be dropped")
        assert time.monotonic() - begun < 15 * patience()
    stalled.close()
