"""Nonsense gets an answer (threat D24): every real route with odd methods, addresses, headers and bodies.

Each request is made from its own number, so that a failing one can be sent again: `python -c "import test_fuzz as t;
print(t.Odd(1234, routes).request(server))"`. No 500, no hang, no damage, and what was let in can be shown.
"""
import json
import random
import re
import socket
import time
from urllib.parse import quote_from_bytes, urlencode

import pytest
from helpers import Server, chapter
from test_durability import whole

soak = pytest.mark.soak
LIMIT = 10  # seconds after which an answer is a hang

NASTY = ["", " ", "0", "1", "-1", "3", "2", "on", "off", "yes", "none", "true", "null", "1e400", "-0", "1.5", "nan", "inf", str(2**31), str(2**63 - 1), str(2**63), str(2**64), "9" * 400, "9" * 5000, "٣", "²", "½",
         "x", "é", "日本語", "😀", "e\u0301", "\u202e", "\ufeff", "a\u0000b", "a\r\nb: c", "\x1b[31m", "\x7f", "<script>alert(1)</script>", "'\"><img src=x>", "' OR 1=1 --", '"; DROP TABLE tasks; --', "%", "_", "\\", "*", '"', "NEAR(", "a AND", "^a", "title:",
         "=1+1", "@x", "2026-02-30", "2026-12-24", "0000-00-00", "9999-12-31", "-2026-01-01", "2026-W01-1", "12:00", "25:61", "2026-12-24T18:00+99:99", "http://", "javascript:alert(1)", "a@b.c", "[]", "{}", "[" * 3000, '{"a":' * 3000, "x" * 70_000, ",".join("abc"), "\t", "\n", "a\nb",
         "id", "-id", "title", "-title", "title desc, id", "position", "rowid", "__class__", "../../etc/passwd", "..\\..", "data.db", "con", "tasks", "profiles", "1,2,3", "delete", "change", "import", "list", "page", "stay"]
BYTES = [b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\x00", b"\xe2\x82", b"%ed%a0%80", b"%00", b"%", b"%zz", b"+", b"&&==", b"a=%ff", b";"]
FIELDS = ["title", "notes", "due", "is_done", "priority", "position", "profile", "name", "real_name", "address", "code", "body", "_key", "_version", "_row", "_then", "then", "ids", "all", "query", "action", "field", "value", "file",
          "text", "token", "m.0", "m.1", "id", "after", "before", "columns", "entry", "redo", "theme", "q", "sort", "page", "f.title", "f.profile", "f.is_done", "f.priority", "since", "app", "actor", "part_of", "at", "key"]
METHODS = ["GET"] * 6 + ["POST"] * 8 + ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "XYZZY", "G" * 300]
TYPES = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "y" * 300, "application/json", "text/plain", "", "x", "application/x-www-form-urlencoded; charset=utf-16", "application/json; charset=nonsense"]


def real_routes() -> list[tuple[str, list[str]]]:
    "The path and methods of every route there is, but for the two that never end by themselves."
    import sololith  # noqa: F401 (it registers them)
    found = {(r.path, tuple(sorted(r.methods or ()))) for plugin in chapter("base").plugins.values() for r in plugin.web.router.routes}
    return sorted((path, list(methods)) for path, methods in found if path not in ("/ws", "/events"))


class Odd:
    "Request number `number`."
    def __init__(self, number: int, routes: list[tuple[str, list[str]]]):
        self.chance, self.lies = random.Random(number), False
        self.path, self.methods = self.chance.choice(routes)

    def value(self) -> bytes:
        return self.chance.choice(BYTES) if self.chance.random() < 0.1 else self.chance.choice(NASTY).encode("utf-8", "surrogatepass")

    def pairs(self, most: int) -> list[tuple[str, bytes]]:
        return [(self.chance.choice(FIELDS), self.value()) for _ in range(self.chance.randrange(most))]

    def target(self) -> bytes:
        chance = self.chance
        def filled(found: re.Match) -> str:
            if chance.random() < 0.6: return str(chance.choice((1, 2, 3))) if ":int" in found[0] else chance.choice(("app.css", "csv", "json", "x.txt", "1"))
            return quote_from_bytes(self.value()[:3000], safe="" if chance.random() < 0.8 else "/.")
        path = re.sub(r"\{[^}]*\}", filled, self.path).encode()
        if chance.random() < 0.1: path += chance.choice((b"/", b"//", b"/..", b"/.", b"%2f", b"%00", b";x", b"#f", b"/%2e%2e/%2e%2e/etc/passwd"))
        if chance.random() < 0.5: path += b"?" + (urlencode(self.pairs(5)).encode() if chance.random() < 0.8 else quote_from_bytes(self.value(), safe="=&;%?").encode())
        return path[:60_000]

    def body(self, kind: str) -> bytes:
        chance, pairs = self.chance, self.pairs(9)
        if chance.random() < 0.08: return bytes(chance.randrange(256) for _ in range(chance.randrange(400)))
        if kind.startswith("multipart") and chance.random() < 0.9:
            edge = b"--x"
            parts = [edge + b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + (b'; filename="' + chance.choice((b"a.txt", b"", b"../x.py", b"\xff", b"x" * 400)) + b'"' if chance.random() < 0.3 else b"") + b"\r\n\r\n" + value for name, value in pairs]
            whole_ = b"\r\n".join([*parts, edge + b"--\r\n"])
            return whole_ if chance.random() < 0.6 else whole_[:chance.randrange(len(whole_))] if chance.random() < 0.5 else whole_.replace(b"\r\n", chance.choice((b"\n", b"\r", b"", b"\r\n\r\n")))
        if "json" in kind: return chance.choice((json.dumps({n: v.decode("latin-1") for n, v in pairs}).encode(), b"[" * 50_000, b'{"a":' * 20_000, b"[]", b"null", b"1", b'"\\ud800"', b"{", b"\xff", b'{"verb": "journal", "args": {"n": "x"}}', b"NaN", b"9" * 6000))
        return urlencode(pairs).encode() if chance.random() < 0.85 else self.value()

    def request(self, server: Server) -> bytes:
        chance = self.chance
        method = chance.choice(METHODS) if chance.random() < 0.4 else chance.choice(self.methods)
        head = [f"{method} ".encode() + self.target() + b" HTTP/1.1", f"Host: {server.host}".encode(), f"Cookie: {server.cookie}".encode(), b"Connection: close"]
        if method not in ("GET", "HEAD") or chance.random() < 0.1: head.append(f"Origin: {server.url}".encode())
        if chance.random() < 0.5: head.append(b"HX-Request: true")
        if chance.random() < 0.2: head.append(b"HX-Target: " + chance.choice((b"tasks-list", b"journal-list", b"x\xff", b"")))
        for name in ("Accept", "Accept-Language", "Range", "If-None-Match", "If-Modified-Since", "X-Forwarded-Host", "X-HTTP-Method-Override", "Expect", "HX-Current-URL", "HX-Prompt", "Accept-Encoding", "User-Agent", "Authorization", "Upgrade"):
            if chance.random() < 0.03: head.append(name.encode() + b": " + re.sub(rb"[\r\n\0]", b"", self.value())[:2000])
        body = b""
        if method not in ("GET", "HEAD") or chance.random() < 0.1:
            kind = chance.choice(TYPES) if chance.random() < 0.6 else TYPES[chance.randrange(2)]
            body = self.body(kind)
            if kind or chance.random() < 0.5: head.append(b"Content-Type: " + kind.encode())
            length = str(len(body)) if chance.random() < 0.92 else chance.choice(("-1", "x", "", "9" * 30, str(len(body) + 5), "0", f"{len(body)}, {len(body)}", "+5", "0x10", "٣", "²"))
            if chance.random() < 0.05: head, body = [*head, b"Transfer-Encoding: " + chance.choice((b"chunked", b"gzip", b"chunked, chunked"))], chance.choice((b"5\r\nabc", b"zz\r\n", b"3\r\na=b\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx", b"0\r\n\r\n")); self.lies = True
            else:
                head.append(b"Content-Length: " + length.encode())
                self.lies = length != str(len(body))
        return b"\r\n".join(head) + b"\r\n\r\n" + body


def answered(server: Server, data: bytes, lies: bool) -> tuple[int, bytes]:
    "The status (0: hung up without a word) and the answer. Who lies about the length hangs up after what there is."
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as connection:
        received, end = b"", time.monotonic() + LIMIT
        try:
            connection.sendall(data)
            if lies:
                connection.settimeout(0.3)  # a proper refusal comes at once
                end = time.monotonic() + 0.3
            while chunk := connection.recv(1 << 20):
                received += chunk
                if time.monotonic() > end: raise TimeoutError
        except TimeoutError:
            if not lies and not received: raise
        except ConnectionError: pass
    found = re.match(rb"HTTP/1\.1 (\d+)", received)
    return int(found[1]) if found else 0, received


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=soak)])
def test_whatever_is_asked_is_answered_without_a_500_or_a_hang(start, workspace, count):
    server, routes, seen = start(), real_routes(), {}
    assert len(routes) > 30
    for name in ("Ada", "Bo"): server.post("/profiles", {"name": name})
    for n in range(4): server.post("/tasks", {"title": f"t{n}", "profile": "1"}), server.post("/notes", {"title": f"n{n}"})
    wrong: list[str] = []
    for number in range(count):
        odd = Odd(number, routes)
        data = odd.request(server)
        try: status, _ = answered(server, data, odd.lies)
        except TimeoutError: status = -1
        seen[status] = seen.get(status, 0) + 1
        if status in (-1, 500) or status == 0 and not odd.lies: wrong.append(f"{number}: {status} {data[:300]!r}")
        assert server.process.poll() is None, f"{number} ended the server: {data[:2000]!r}"  # type: ignore[union-attr]
    details = re.findall(r"^\w*(?:Error|Exception|Warning)\w*:.*|^[\w.]+(?:Error|Exception).*", server.log, re.M)
    assert not wrong, f"{len(wrong)} of {count}; statuses {seen}\n" + "\n".join(wrong[:12]) + "\n" + "\n".join(sorted(set(details))[:20])
    assert seen.get(200, 0) > count / 20 and sum(v for k, v in seen.items() if 400 <= k < 500) > count / 5, seen
    assert "Traceback" not in server.log, "\n".join(sorted(set(details))) + server.log[-3000:]
    for path in ("/", "/tasks", "/notes", "/profiles", "/journal", "/plugins", "/tasks/export.csv", "/tasks/export.json", "/notes/export.csv", "/profiles/export.json"):
        assert server.get(path).status == 200, f"{path}: what was let in cannot be shown"
    server.stop()
    tables = whole(workspace / "data.db")
    server.restart()
    for app in ("tasks", "notes", "profiles"):
        for record in list(tables[app])[-30:]: assert server.get(f"/{app}/{record}").status == 200, (app, record)


def test_a_stream_of_events_answers_odd_requests_too(shared_server):
    for method in ("POST", "PUT", "HEAD", "OPTIONS"):
        status, _ = answered(shared_server, f"{method} /events HTTP/1.1\r\nHost: {shared_server.host}\r\nCookie: {shared_server.cookie}\r\nOrigin: {shared_server.url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(), True)
        assert status in (200, 405) if method == "HEAD" else status == 405, method
