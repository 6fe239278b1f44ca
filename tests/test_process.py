"""The process stands (threats D7, D8, D13–D16, D18, D19, D22): two at once, strangers, slow and rude clients, odd
clocks, no file descriptors left, signals."""
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from helpers import SOLOLITH, Server, chapter, environment, p95, patience, wait_for

QUIETLY = {"HX_Request": "true"}
soak = pytest.mark.soak
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
SOONER = "import sys\n(sys.modules.get('sololith.server') or sys.modules['sololith']).HEADER_SECONDS = 3\n"


def read(server: Server, sql: str, *args) -> list[tuple]:
    with sqlite3.connect(server.workspace / "data.db", timeout=5) as connection: return connection.execute(sql, args).fetchall()


def serving(workspace: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*SOLOLITH, str(workspace), "--port", "0", "--no-open", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


# ── D7: two at once

def test_a_second_start_opens_the_first_ones_page_and_kill_9_frees_the_lock(start, workspace):
    first = start()
    first.post("/tasks", {"title": "kept"})
    second = serving(workspace)
    said, complaint = second.communicate(timeout=60)
    assert second.returncode == 0 and "running already" in said, (said, complaint)
    url = said.split()[-1]
    assert url.startswith(f"{first.url}/launch?token=")
    assert first.get(url.removeprefix(first.url), Cookie=None, Sec_Fetch_Site="none").headers["Set-Cookie"], "its link lets a browser in"
    assert first.get("/tasks").status == 200, "and the first one goes on"
    old, cookie = first.port, first.cookie
    first.kill()
    first.restart(login=False, port=old)
    assert first.port == old and "running already" not in "".join(first.output)
    assert "kept" in first.get("/tasks", Cookie=cookie).text, "an open tab goes on"


def test_of_five_started_at_once_one_serves_and_the_others_point_to_it(workspace):
    started = [serving(workspace) for _ in range(5)]
    try:
        lines: list[str] = [process.stdout.readline() for process in started]  # type: ignore[union-attr]
        owners = [p for p, line in zip(started, lines, strict=True) if line.startswith("Sololith is at ")]
        assert len(owners) == 1, lines
        port = re.search(r":(\d+)/launch", lines[started.index(owners[0])])[1]  # type: ignore[index]
        for process, line in zip(started, lines, strict=True):
            if process is owners[0]: continue
            assert "running already" in line and f":{port}/launch?token=" in line, (line, process.stderr.read() if process.poll() else "")  # type: ignore[union-attr]
            assert process.wait(10) == 0
        assert owners[0].poll() is None
    finally:
        for process in started: process.kill()
        for process in started: process.communicate()


def test_the_command_line_writes_through_the_server_that_owns_the_workspace(server):
    server.post("/tasks", {"title": "taken back by the shell"})
    with server.ws() as ws:
        assert server.cli("undo").returncode == 0
        assert json.loads(ws.recv(3))["apps"] == ["tasks"], "so every tab hears of it"
    assert read(server, "SELECT actor, cause FROM journal ORDER BY id DESC LIMIT 1") == [("cli", "sololith undo")]


def test_the_command_lines_address_takes_the_secret_and_no_cookie(server):
    ask = {"verb": "journal", "args": {}}
    for headers in ({}, {"Authorization": "x"}, {"Authorization": "Bearer x"}, {"Authorization": f"Bearer {server.cookie}"}):
        assert server.post("/cli", json_data=ask, **headers).status == 403, headers
    assert server.post("/cli", json_data=ask, Authorization=f"Bearer {server.secret}", Cookie=None).json() == {"result": []}


# ── D8: a stranger on our port

class Stranger:
    "Someone who listens where we would, and notes what is said to it."
    def __init__(self, port: int = 0):
        self.heard, self.socket = b"", socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                client.settimeout(1)
                with contextlib.suppress(OSError): self.heard += client.recv(65536) or b"(a connection)"
                client.close()


def test_a_stranger_on_the_port_gets_nothing_and_we_take_another(start):
    stranger = Stranger()
    try:
        server = start(port=stranger.port)
        assert server.port != stranger.port and server.get("/").status == 200
        for verb in (["journal"], ["open", "--no-open"]): assert server.cli(*verb).returncode == 0
        assert f":{server.port}/" in server.cli("open", "--no-open").stdout
        assert stranger.heard == b""
    finally: stranger.socket.close()


def test_a_stranger_who_takes_the_port_of_a_killed_server_gets_neither_secret_nor_token(start):
    server = start()
    server.post("/tasks", {"title": "one"})
    server.kill()
    stranger = Stranger(server.port)  # .run/url still names this port
    try:
        assert "one" in server.cli("journal").stdout, "the workspace is opened here, as nobody owns it"
        asked = server.cli("open", "--no-open")
        assert asked.returncode == 1 and "not running" in asked.stderr
        server.start(port=server.port)
        assert server.port != stranger.port
        assert server.cli("journal").returncode == 0
        assert stranger.heard == b""
    finally: stranger.socket.close()


# ── D13: clients that do not finish

def connected(server: Server, data: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    client.sendall(data)
    return client


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try: return client.recv(65536) == b"" or is_closed(client)
    except BlockingIOError: return False
    except OSError: return True


@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=soak)])
def test_200_half_sent_headers_are_dropped_and_others_are_served_meanwhile(start, plugin, seconds):
    assert chapter("server").HEADER_SECONDS <= 15
    if seconds == 3: plugin("sooner", SOONER)
    server = start()
    server.get("/tasks")
    files = server.open_files()
    begun = time.monotonic()
    kinds = [b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-A", b"POST /tasks HTTP/1.1\r\nHost: x\r\nX: y\r\n"]
    slow = [connected(server, kinds[n % 5]) for n in range(200)]
    # some are let in once, and dawdle with their second request on the same connection
    slow += [connected(server, f"GET /nav HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n\r\nGET / HT".encode()) for _ in range(10)]
    try:
        took = []
        while time.monotonic() - begun < seconds * 0.8:
            took.append(p95(lambda: server.get("/nav"), 10))
            for client in slow[1::5]:  # they drip, which must not put off the end
                with contextlib.suppress(OSError): client.send(b"E")
            time.sleep(0.3)
        assert sorted(took)[len(took) // 2] < 200 * patience(), took
        wait_for(lambda: all(map(is_closed, slow)), limit=begun + (seconds + 5) * patience() - time.monotonic(), what="all of them to be dropped")
        wait_for(lambda: server.open_files() <= files + 5, limit=5, what="their files to be closed")
    finally:
        for client in slow: client.close()
    assert server.get("/").status == 200 and "Traceback" not in server.log


def test_requests_that_begin_a_body_and_stop_do_not_keep_the_others_waiting(server):
    head = f"POST /tasks HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\nOrigin: {server.url}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ntitle=".encode()
    slow = [connected(server, head) for _ in range(50)]
    try:
        assert server.p95("/nav", 20) < 200 * patience()
        assert server.post("/tasks", {"title": "whole"}).status == 200
    finally:
        for client in slow: client.close()
    wait_for(lambda: server.get("/tasks").text.count("data-row=") == 1, what="only the whole one to be there")
    assert "Traceback" not in server.log, server.log[-2000:]


# ── D14–D16: WebSockets

class Raw:
    "A WebSocket whose frames we write ourselves."
    def __init__(self, server: Server, *lines: str):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = ["GET /ws HTTP/1.1", f"Host: {server.host}", f"Cookie: {server.cookie}", f"Origin: {server.url}", "Upgrade: websocket",
                "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines, "", ""]
        self.socket.sendall("\r\n".join(head).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer: self.buffer += self.socket.recv(65536)
        self.head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        assert b" 101 " in self.head, self.head

    def send(self, payload: bytes, opcode: int = 1, first: int = 0x80, masked: bool = True, length: int | None = None) -> None:
        "One frame; `first` holds FIN and RSV, `length` may lie."
        length = len(payload) if length is None else length
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack("!H", length) if length < 65536 else b"\x7f" + struct.pack("!Q", length)
        size = bytes([size[0] | (0x80 if masked else 0)]) + size[1:]
        self.socket.sendall(bytes([first | opcode]) + size + (bytes(4) if masked else b"") + payload)  # a mask of zeros

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not (more := self.socket.recv(65536)): raise EOFError
            self.buffer += more
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def frame(self) -> tuple[int, bytes]:
        first, size = self.exactly(2)
        if size == 126: size = struct.unpack("!H", self.exactly(2))[0]
        elif size == 127: size = struct.unpack("!Q", self.exactly(8))[0]
        return first & 15, self.exactly(size)

    def closed_with(self) -> int:
        "The code that the server closes with."
        try:
            while (found := self.frame())[0] != 8: pass
        except (EOFError, ConnectionError): return 0
        return struct.unpack("!H", found[1][:2])[0]


RUDE = {
    "unmasked": ({"payload": b"{}", "masked": False}, 1002),
    "RSV1": ({"payload": b"{}", "first": 0xC0}, 1002), "RSV2": ({"payload": b"{}", "first": 0xA0}, 1002), "RSV3": ({"payload": b"{}", "first": 0x90}, 1002),
    "opcode 3": ({"payload": b"{}", "opcode": 3}, 1002), "opcode 11": ({"payload": b"", "opcode": 11}, 1002),
    "not UTF-8": ({"payload": b'"\xff\xfe\xc0\x80"'}, 1007), "half a character": ({"payload": b"\xe2\x82"}, 1007), "a surrogate": ({"payload": b"\xed\xa0\x80"}, 1007),
    "1 GB": ({"payload": b"x", "length": 1 << 30}, 1009), "2^62 bytes": ({"payload": b"x", "length": 1 << 62}, 1009),
    "length with the top bit": ({"payload": b"x", "length": (1 << 63) + 5}, 1009), "continues nothing": ({"payload": b"x", "opcode": 0}, 1002),
    "ping in pieces": ({"payload": b"x", "opcode": 9, "first": 0}, 1002), "long ping": ({"payload": b"x" * 126, "opcode": 9}, 1002),
    "close of 1 byte": ({"payload": b"x", "opcode": 8}, 1002), "close 1005": ({"payload": b"\x03\xed", "opcode": 8}, 1002),
}


@pytest.mark.parametrize("name", RUDE)
def test_a_rude_frame_closes_its_socket_with_the_right_code_and_nothing_else(shared_server, name):
    frame, code = RUDE[name]
    with shared_server.ws() as polite:
        raw, memory = Raw(shared_server), shared_server.memory()
        raw.send(**frame)
        assert raw.closed_with() == code
        polite.send("{}")
        assert "problem" in polite.recv(3)
        assert shared_server.memory() - memory < 20
        raw.socket.close()


MISTAKES = ["[]", "1", "null", "true", '""', "{}", '{"do": 1}', '{"do": null}', '{"do": {}}', '{"HEADERS": "x"}', '{"HEADERS": {"HX-Request": "true"}}', '{"do": "since"}',
            '{"do": "since", "id": "1"}', '{"do": "since", "id": -1}', '{"do": "since", "id": 1e400}', '{"do": "since", "id": 9223372036854775808}', '{"do": "since", "id": NaN}',
            '{"do": "\\ud800"}', '{"do": "__class__"}', "[" * 200_000, '{"a":' * 100_000, "9" * 10_000, '{"do": "since", "id": ' + "9" * 5000 + "}", "", " ", "\x00", "{'do': 1}", '{"do": "' + "x" * 900_000 + '"}']


def test_messages_that_make_no_sense_get_an_error_and_the_socket_stays_open(shared_server):
    logged = len(shared_server.log)
    with shared_server.ws() as ws:
        for message in MISTAKES:
            ws.send(message)
            answer = json.loads(ws.recv(5))
            assert list(answer) == ["problem"] and 5 < len(answer["problem"]) < 300, (message[:50], answer)
        ws.send(b"\x00\x01binary")
        assert "text" in json.loads(ws.recv(3))["problem"]
        ws.send(json.dumps({"do": "since", "id": 0}))
        assert "apps" in json.loads(ws.recv(3)), "and it still works"
    assert shared_server.log[logged:] == ""


def test_10_mb_are_refused_politely_17_mb_close_the_socket(shared_server):
    memory = shared_server.memory()
    with shared_server.ws() as ws:
        ws.send(json.dumps({"do": "since", "id": 0, "text": "x" * 10_000_000}))
        assert "too long" in json.loads(ws.recv(10))["problem"]
        ws.send(["{", *["x" * 1_000_000] * 5, "}"])  # in pieces, too
        assert "too long" in json.loads(ws.recv(10))["problem"]
        ws.send(json.dumps({"do": "since", "id": 0}))
        assert "apps" in json.loads(ws.recv(3)), "the socket stays open"
    for pieces in (1, 17):
        raw = Raw(shared_server)
        with contextlib.suppress(ConnectionError):
            for n in range(pieces): raw.send(b"x" * (17_000_000 // pieces), opcode=0 if n else 1, first=0x80 if n == pieces - 1 else 0)
        assert raw.closed_with() == 1009
        raw.socket.close()
    assert shared_server.memory() - memory < 150, "what was refused is not kept"


def test_a_deflate_bomb_is_not_blown_up(shared_server):
    raw = Raw(shared_server, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert b"sec-websocket-extensions" not in raw.head.lower(), "compression is not even agreed to"
    memory = shared_server.memory()
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeezer.compress(b"x" * 200_000_000) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    raw.send(bomb[:-4], first=0xC0)
    assert raw.closed_with() == 1002
    assert shared_server.memory() - memory < 30
    raw.socket.close()


# ── D18: clocks

def fake_clock(workspace: Path) -> tuple[dict[str, str], Path]:
    "What a process needs to take its time of day from a file (as an offset), and that file."
    library = next((p for p in sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    assert library, "The tests need libfaketime. Run: make system"
    file = workspace.parent / "clock"
    file.write_text("+0")
    return {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}, file


@linux
def test_when_the_clock_jumps_the_order_stays_and_nobody_is_locked_out(start, workspace):
    env, clock = fake_clock(workspace)
    server = start(env=env)
    cookie, stream = server.cookie, server.sse(last_event_id="0", limit=10)
    jumps = ["+0", "-1d", "+365d", "-3h", "-400d", "+0"]
    for n, jump in enumerate(jumps):
        clock.write_text(jump)
        assert server.post("/tasks", {"title": f"step {n}"}, **QUIETLY).status == 200, jump
        assert json.loads(next(stream)["data"])["summary"] == f"added “step {n}”"
        assert server.get("/tasks", Cookie=cookie).status == 200, "the cookie goes on"
        if n in (1, 2):
            link = server.cli("open", "--no-open").stdout.strip().removeprefix(server.url)
            assert server.get(link, Cookie=None, Sec_Fetch_Site="none").status == 200, "and a new link lets in"
    stamps = [at for (at,) in read(server, "SELECT at FROM journal ORDER BY id")]
    assert stamps != sorted(stamps), "the clock did jump"
    page = server.get("/journal").text
    assert [page.index(f"step {n}”") for n in range(6)] == sorted((page.index(f"step {n}”") for n in range(6)), reverse=True), "newest first, by sequence"
    said = server.cli("journal").stdout
    assert [said.index(f"step {n}”") for n in range(6)] == sorted(said.index(f"step {n}”") for n in range(6))
    for n in (5, 4):
        assert server.cli("undo").returncode == 0
        assert read(server, "SELECT summary FROM journal ORDER BY id DESC LIMIT 1") == [(f"undo: added “step {n}”",)], "undo takes the last by sequence"
    stream.close()
    assert server.cli("backup").returncode == 0
    clock.write_text("-30d")  # a start in the past, as after an empty battery
    server.restart()
    assert server.get("/tasks", Cookie=cookie).status == 200
    assert "step 0" in server.get("/tasks").text
    clock.write_text("+0")
    restored = server.cli("restore")
    assert restored.returncode == 0, restored


@linux
def test_launch_links_last_a_minute_whatever_the_time_of_day_does(start, workspace):
    env, clock = fake_clock(workspace)
    server = start(env=env, login=False)
    clock.write_text("+2d")
    server.login()
    link = server.cli("open", "--no-open").stdout.strip().removeprefix(server.url)
    clock.write_text("-2d")
    assert server.get(link, Cookie=None, Sec_Fetch_Site="none").status == 200


@linux
def test_backups_and_times_go_on_through_a_change_to_winter_time(start, workspace):
    env, clock = fake_clock(workspace)
    ambiguous = datetime(2026, 10, 25, 0, 59, 50) - datetime.utcnow()  # UTC: ten seconds before 3 h becomes 2 h in Berlin
    clock.write_text(f"{int(ambiguous / timedelta(seconds=1)):+d}")
    server = start(env=env | {"TZ": "Europe/Berlin"})
    server.post("/tasks", {"title": "before", "due": "2026-10-25"}, **QUIETLY)
    first = server.cli("backup").stdout.strip()
    clock.write_text(f"{int(ambiguous / timedelta(seconds=1)) + 3600:+d}")
    server.post("/tasks", {"title": "after", "due": "2026-10-25"}, **QUIETLY)
    second = server.cli("backup").stdout.strip()
    assert Path(first).exists() and Path(second).exists() and first != second, "the second 02:59 does not overwrite the first"
    assert "added “after”" in server.get("/journal").text.split("added “before”")[0]
    assert read(server, "SELECT title, due FROM tasks ORDER BY id") == [("before", "2026-10-25"), ("after", "2026-10-25")]


# ── D19: no file descriptors left

@linux
def test_150_connections_with_64_descriptors_log_little_and_it_recovers(start):
    server = start(before=["prlimit", "--nofile=64"])
    server.post("/tasks", {"title": "here"})
    logged = len(server.log)
    clients = []
    for _ in range(150):
        with contextlib.suppress(OSError): clients.append(connected(server, b"GET / HTTP/1.1\r\n"))
    time.sleep(2.5)
    assert len(server.log) - logged < 1_000_000, f"{len(server.log) - logged:,} bytes of log"
    begun = time.monotonic()
    for client in clients: client.close()

    def answers() -> bool:
        with contextlib.suppress(OSError): return server.get("/tasks", limit=2).status == 200
        return False
    wait_for(answers, limit=10 * patience(), what="it to answer again")
    assert time.monotonic() - begun < 10 * patience()
    assert server.post("/tasks", {"title": "and writes"}).status == 200
    assert read(server, "SELECT count(*) FROM tasks") == [(2,)]
    assert server.cli("journal").returncode == 0


# ── D22: signals

@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_5_seconds_with_listeners_and_requests_under_way(server, ending):
    server.post("/tasks", {"title": "kept"})
    stream = server.sse(last_event_id="0")
    next(stream)
    half = connected(server, b"GET / HTTP/1.1\r\n")
    with server.ws():
        begun = time.monotonic()
        os.kill(server.pid, ending)
        assert server.process.wait(10) == 0  # type: ignore[union-attr]
        assert time.monotonic() - begun < 5 * patience()
        with pytest.raises(StopIteration): next(stream)  # it ends as a whole answer does
    for thing in (stream, half): thing.close()
    assert not (server.workspace / "data.db-wal").exists(), "the database was closed in order"
    assert "Traceback" not in server.log, server.log[-3000:]
    server.restart()
    assert "kept" in server.get("/tasks").text


def test_it_ends_within_5_seconds_with_a_body_that_does_not_come(server):
    body = connected(server, f"POST /tasks HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\nOrigin: {server.url}\r\nContent-Length: 9\r\n\r\nti".encode())
    server.get("/")
    assert server.stop(5) == 0
    body.close()


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=soak)])
def test_it_resumes_after_being_stopped(server, seconds):
    server.post("/tasks", {"title": "before"})
    stream = server.sse(last_event_id="0", limit=seconds + 20)
    next(stream)
    with server.ws() as ws:
        os.kill(server.pid, signal.SIGSTOP)
        answers: list[int] = []
        waiting = [threading.Thread(target=lambda n=n: answers.append(server.request("POST", "/tasks", f"title=t{n}".encode(), limit=seconds + 20,
                   Content_Type="application/x-www-form-urlencoded", HX_Request="true").status)) for n in range(5)]
        for thread in waiting: thread.start()
        time.sleep(seconds)
        os.kill(server.pid, signal.SIGCONT)
        for thread in waiting: thread.join(15)
        assert answers == [200] * 5
        assert [json.loads(next(stream)["data"])["verb"] for _ in range(5)] == ["insert"] * 5
        if seconds < 20:  # a tab that hears no ping for longer comes back by itself
            assert sorted(json.loads(ws.recv(3))["id"] for _ in range(5)) == [2, 3, 4, 5, 6]
    stream.close()
    assert server.stop(5) == 0
