"""Drive a real Sololith from outside: start it, talk HTTP, WebSocket and SSE to it, kill it, look at its process.

    with Server(workspace) as server:
        answer = server.post("/apps/tasks", {"title": "Milk"})
        assert answer.status == 303 and "Milk" in server.get("/apps/tasks").text

All connections go to 127.0.0.1, and the address that the server goes by is only said in the headers, as a browser
does after it has resolved NAME.localhost. A header given as None is left out; `Host=` and the like replace what is
sent otherwise.
"""
import ast
import contextlib
import http.client
import importlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import types
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apsw
import websockets.sync.client

ROOT = Path(__file__).resolve().parent.parent
ONEFILE = Path(os.environ["SOLOLITH_ONEFILE"]).resolve() if os.environ.get("SOLOLITH_ONEFILE") else None
SOLOLITH = [sys.executable, str(ONEFILE)] if ONEFILE else [sys.executable, "-m", "sololith"]
READY = re.compile(r"^Sololith is at (http://([^/\s:]+):(\d+)/launch\?token=(\S+))\s*$")
NOWHERE = "127.0.0.1:9"  # the discard port, where nobody answers
START_LIMIT = 30  # seconds; a busy machine is slow, a hanging one is slower


def chapter(name: str) -> types.ModuleType:
    "The module of a chapter, to reach what is private or to patch it: in the one file, that is the one module."
    import sololith
    return sololith if ONEFILE else importlib.import_module(f"sololith.{name}")


def environment(**changes: str) -> dict[str, str]:
    "For a child process: the form under test on its path, and nothing of the person's who runs the tests."
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SOLOLITH_", "PYTEST_"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling is a third of a start, and the suite has some two thousand
    if not ONEFILE: env["PYTHONPATH"] = str(ROOT)
    env |= {"OLLAMA_HOST": NOWHERE, "HF_ENDPOINT": f"http://{NOWHERE}"}  # no model but those that a test brings
    return {**env, **changes}


class Answer:
    "What came back: status, headers (names in any case), body."
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str: return self.body.decode("utf-8", "replace")
    @property
    def location(self) -> str: return self.headers.get("Location", "")
    def json(self): return json.loads(self.body)
    def __repr__(self) -> str: return f"<Answer {self.status} {self.text[:300]!r}>"


class Server:
    "One `sololith` process on a workspace. `start` logs in through the launch URL unless told not to."

    def __init__(self, workspace: Path):
        self.workspace = Path(workspace)
        self.process: subprocess.Popen | None = None
        self.port, self.name, self.launch_url, self.cookie = 0, "", "", ""
        self.args: tuple[str, ...] = ()
        self.env: dict[str, str] = {}
        self.output: list[str] = []  # lines of standard output
        self.log_file = self.workspace.parent / f"{self.workspace.name}.log"

    # ── its life

    def start(self, *args: str, env: dict[str, str] | None = None, port: int = 0, login: bool = True,
              before: Iterable[str] = ()) -> "Server":
        "Start and wait until it is ready. `before` is put before the command (prlimit, unshare, strace …)."
        self.args, self.env = args, env or {}
        command = [*before, *SOLOLITH, str(self.workspace), "--port", str(port), "--no-open", *args]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
                                            env=environment(**self.env), start_new_session=True, cwd=self.workspace.parent)
        ready = threading.Event()
        threading.Thread(target=self._read, args=(self.process, ready), daemon=True).start()
        deadline = time.monotonic() + START_LIMIT
        while not ready.wait(0.02):
            if self.process.poll() is not None:
                time.sleep(0.1)  # let the reader see the last line
                if ready.is_set(): break
                raise AssertionError(f"Sololith stopped at its start with {self.process.returncode}:\n{self.log[-4000:]}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Sololith was not ready in {START_LIMIT} s:\n{self.log[-4000:]}")
        if login: self.login()
        return self

    def _read(self, process: subprocess.Popen, ready: threading.Event) -> None:
        assert process.stdout
        for line in process.stdout:
            self.output.append(line)
            if found := READY.match(line):
                self.launch_url, self.name, self.port = found[1], found[2], int(found[3])
                ready.set()

    def login(self) -> str:
        "Use up the launch URL; the cookie is sent from now on."
        answer = self.get("/" + self.launch_url.split("/", 3)[3], Cookie=None, Sec_Fetch_Site="none")
        assert answer.status == 200, answer
        found = re.match(r"(\w+=[^;]+)", answer.headers.get("Set-Cookie", ""))
        assert found, f"The launch page sets no cookie: {answer.headers}"
        self.cookie = found[1]
        return self.cookie

    def stop(self, limit: float = 10) -> int:
        "SIGTERM, as a person's Ctrl-C or the system would; its exit status."
        if not self.process: return 0
        with contextlib.suppress(ProcessLookupError): self.process.terminate()
        try: return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"Sololith did not stop within {limit} s of SIGTERM:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        "kill -9, its children included."
        if not self.process: return
        with contextlib.suppress(ProcessLookupError, PermissionError): os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def restart(self, *args: str, kill: bool = False, **options) -> "Server":
        "Stop (or kill) and start again on the same port, keeping the cookie: what an open tab lives through."
        self.kill() if kill else self.stop()
        options = {"port": self.port, "login": not self.cookie, "env": self.env, **options}
        return self.start(*(args or self.args), **options)

    def __enter__(self) -> "Server": return self if self.process else self.start()
    def __exit__(self, *_) -> None: self.kill()

    # ── its address

    @property
    def host(self) -> str: return f"{self.name}:{self.port}"
    @property
    def url(self) -> str: return f"http://{self.host}"
    @property
    def secret(self) -> str: return (self.workspace / ".run" / "secret").read_text().strip()
    @property
    def log(self) -> str: return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    # ── talking to it

    def headers(self, method: str = "GET", **changes: str | None) -> dict[str, str]:
        "What a browser on our own page would send, with changes. Content_Type is Content-Type."
        base = {"Host": self.host, "Cookie": self.cookie or None, "Sec-Fetch-Site": "same-origin",
                "Origin": None if method in ("GET", "HEAD") else self.url}
        lower = {key.lower(): key for key in base}
        for key, value in changes.items():
            key = key.replace("_", "-")
            base[lower.get(key.lower(), key)] = value
        return {key: value for key, value in base.items() if value is not None}

    def stream(self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, limit: float = 30,
               **headers: str | None) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        "Send a request, with the path as it is; (connection, response) to read from. The caller closes both."
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers(method, **headers).items(): connection.putheader(key, value)
        if isinstance(body, bytes): connection.putheader("Content-Length", str(len(body)))
        elif body is not None: connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(body, encode_chunked=body is not None and not isinstance(body, bytes))
        return connection, connection.getresponse()

    def request(self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers) -> Answer:
        connection, response = self.stream(method, path, body, **headers)
        try: return Answer(response.status, response.headers, response.read())
        finally: connection.close()

    def get(self, path: str = "/", **headers: str | None) -> Answer: return self.request("GET", path, **headers)

    def post(self, path: str, data: dict | list | bytes | str | None = None, *, json_data=None,
             files: dict[str, tuple[str, bytes]] | None = None, method: str = "POST", **headers: str | None) -> Answer:
        "A form (a list of pairs repeats a field), a form with files {field: (file name, bytes)}, JSON, or raw bytes."
        kind = "application/x-www-form-urlencoded"
        if json_data is not None: kind, body = "application/json", json.dumps(json_data).encode()
        elif files is not None: kind, body = _multipart(data if isinstance(data, dict) else {}, files)
        elif isinstance(data, bytes): body = data
        elif isinstance(data, str): body = data.encode()
        else: body = urllib.parse.urlencode(data or {}, doseq=True).encode()
        given = {key.lower() for key in headers}
        if "content_type" not in given: headers["Content_Type"] = kind
        return self.request(method, path, body, **headers)

    def raw(self, data: bytes, limit: float = 10) -> bytes:
        "Write bytes to the port and read until it closes, or nothing has come for `limit` seconds."
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit) as connection:
            connection.sendall(data)
            received = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while chunk := connection.recv(65536): received += chunk
            return received

    def raw_get(self, path: str, *lines: str) -> bytes:
        "A GET whose head we write ourselves: HOST and COOKIE are sent unless `lines` has them."
        given = [line.split(":")[0].lower() for line in lines]
        head = [f"GET {path} HTTP/1.1", *lines, "Connection: close"]
        if "host" not in given: head.append(f"Host: {self.host}")
        if "cookie" not in given: head.append(f"Cookie: {self.cookie}")
        return self.raw("\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape"))

    def ws(self, path: str = "/ws", **headers: str | None) -> websockets.sync.client.ClientConnection:
        "A WebSocket as our page opens it; it is a context manager. Host, Origin and Cookie can be replaced."
        sent = self.headers("WEBSOCKET", Sec_Fetch_Site=None, **headers)  # browsers send none with a handshake
        host, origin = sent.pop("Host"), sent.pop("Origin", None)
        return websockets.sync.client.connect(
            f"ws://{host}{path}", sock=socket.create_connection(("127.0.0.1", self.port), timeout=10), origin=origin,
            additional_headers=sent, proxy=None, open_timeout=10, close_timeout=2, max_size=None)

    def sse(self, path: str = "/events", last_event_id: str | None = None, limit: float = 10) -> Iterator[dict[str, str]]:
        "The events of a stream, each as {event, id, data}. Close the generator to hang up."
        connection, response = self.stream("GET", path, limit=limit, Accept="text/event-stream", Last_Event_ID=last_event_id)
        try:
            assert response.status == 200, (response.status, response.read())
            event: dict[str, str] = {}
            while line := response.readline().decode():
                line = line.rstrip("\n")
                if not line and event:
                    yield event
                    event = {}
                elif line and not line.startswith(":"):
                    key, _, value = line.partition(":")
                    value = value.removeprefix(" ")
                    event[key] = f"{event[key]}\n{value}" if key in event else value
        finally: connection.close()

    def cli(self, verb: str, *args: str, stdin: str | None = None, limit: float = 60) -> subprocess.CompletedProcess[str]:
        "`sololith VERB … --workspace WORKSPACE` in a process of its own."
        return cli(verb, *args, "--workspace", str(self.workspace), stdin=stdin, limit=limit)

    # ── looking at its process

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def memory(self) -> float:
        "MB of memory in use (RSS)."
        if sys.platform == "linux":
            return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[0]) / 1024
        return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.pid)])) / 1024

    def open_files(self) -> int: return len(os.listdir(f"/proc/{self.pid}/fd"))

    def p95(self, path: str = "/", times: int = 40, **headers) -> float:
        "Milliseconds within which 95 of 100 GETs of `path` are answered, connection included."
        return p95(lambda: self.get(path, **headers), times)


def cli(*args: str, stdin: str | None = None, limit: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    "The command line as it is, without a workspace of its own choosing."
    return subprocess.run([*SOLOLITH, *args], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                          capture_output=True, text=True, timeout=limit, env=environment(**env))


def p95(action: Callable[[], object], times: int = 40) -> float:
    "Milliseconds within which 95 of 100 calls are done."
    took = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        took.append((time.perf_counter() - start) * 1000)
    return statistics.quantiles(took, n=20)[-1]


def patience() -> float:
    "How much longer things take now than on a machine that has nothing else to do: limits in seconds are meant for that."
    return max(1, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_for(condition: Callable[[], object], limit: float = 10, what: str = "it"):
    "What `condition` gives, as soon as that is true."
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, f"Waited {limit} s in vain for {what}."
        time.sleep(0.02)
    return found


def _multipart(fields: dict, files: dict[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    edge, parts = f"----sololith{os.urandom(8).hex()}", []
    for key, value in fields.items():
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode())
    for key, (name, data) in files.items():
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="{key}"; filename="{name}"\r\n'
                     "Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n")
    return f"multipart/form-data; boundary={edge}", b"".join(parts) + f"--{edge}--\r\n".encode()


def chromium(*args: str) -> dict:
    "How Playwright is to launch the browser. The headless shell, where it is installed, takes half of what Chromium takes."
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, "The tests need chromium. Run: make system"
    return {"executable_path": path, "args": [*args, *["--no-sandbox"] * (os.getuid() == 0)]}  # it refuses to sandbox for root


def uv_settings():
    "pip's index settings in uv's words, so that both take packages from the same place, wherever that is."
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    said = {}
    for scope in ("global.", "install.", ":env:."):           # in pip's order: the later one wins
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(scope): said[key.removeprefix(scope)] = ast.literal_eval(value).split()
    names = {"index-url": ("UV_DEFAULT_INDEX", " "), "extra-index-url": ("UV_INDEX", " "),
             "find-links": ("UV_FIND_LINKS", ","), "no-index": ("UV_NO_INDEX", " "),
             "trusted-host": ("UV_INSECURE_HOST", " "), "cert": ("SSL_CERT_FILE", " ")}
    settings = {name: join.join(said[key]) for key, (name, join) in names.items() if key in said}
    # pip looks for a version in all its indexes, uv stops at the first that has the package
    return settings | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


SWAPPING = """
import os, sys, time
files, outside, pause = sys.argv[1:]
os.chdir(files)
while os.getppid() != 1:
    open(".new", "w").write("inside")
    os.replace(".new", "swap.txt")
    os.rename("swap", "swap.real")
    os.symlink(outside, "swap")
    os.symlink(outside + "/inside.txt", ".new")
    os.replace(".new", "swap.txt")
    time.sleep(float(pause))
    os.unlink("swap")
    os.rename("swap.real", "swap")
    time.sleep(float(pause))
"""  # in turn, a file and a link to one outside in the same place; and the same with a folder


def read(database: Path, sql: str, *args) -> list[dict]:
    "Rows as SQLite gives them to a process of its own; a killed server's WAL is recovered by this."
    connection = apsw.Connection(str(database))
    try:
        connection.set_busy_timeout(10_000)
        cursor = connection.execute(sql, args)
        return [dict(zip([c[0] for c in cursor.get_description()], row, strict=True)) for row in cursor]
    finally: connection.close()
