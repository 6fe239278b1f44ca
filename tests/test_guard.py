"""Nobody else gets in: threats A1 to A15, driven from outside.

T is the server on port P, E a page on another port of this machine, CK a valid cookie. What gets through is counted by
the handlers of a plugin, `probe`, which also lists the routes that the running app really has.
"""
import ast
import concurrent.futures
import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
import urllib.parse
from pathlib import Path

import pytest
import websockets.exceptions
from helpers import ROOT, Server, chapter, chromium, cli, read, wait_for
from model_server import ModelServer

PROBE = '''
"Probe: counts what gets through, and tells which routes there are."
from sololith import *
module_url("export default {}")
db.execute("INSERT OR IGNORE INTO frames (id, run, step, text, picture) VALUES (1, 1, 'x', 'x', x'ffd8ff')")
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

@dataclass
class Thing:
    title: str
    paper: File | None = None
    is_done: bool = False

things, hits = crud(Thing), []

def hit(req): hits.append(f"{req.scope.get('method', 'WS')} {req.url.path} {req.query_params.get('by', '')}")

@rt("/probe/hit", methods=["GET", "POST", "PUT"])
async def probe_hit(req: Request):
    hit(req)
    return Response("got in")

@rt("/probe/json", methods=["POST"])
async def probe_json(req: Request):
    hit(req)
    return JSONResponse(await req.json())

@rt("/probe/hits", methods=["GET"])
async def probe_hits(): return JSONResponse(hits)

@rt("/probe/clear", methods=["POST"])
async def probe_clear():
    hits.clear()
    return Response("")

@rt("/probe/out", methods=["GET"])
async def probe_out(req: Request): return P(A("Out", href=req.query_params.get("to", "/"), id="out"))

def walked(routes, before=""):
    for route in routes:
        path = before + getattr(route, "path", "?")
        if getattr(route, "routes", None): yield from walked(route.routes, path)
        elif isinstance(route, WebSocketRoute): yield {"path": path, "methods": ["WEBSOCKET"]}
        else: yield {"path": path, "methods": sorted(getattr(route, "methods", None) or ["GET"])}

@rt("/probe/routes", methods=["GET"])
async def probe_routes(): return JSONResponse(list(walked(site.router.routes)))

async def plain(req):
    hit(req)
    return Response("got in")

async def socket(ws):
    hit(ws)
    await ws.accept()
    await ws.send_text("got in")
    await ws.close()

async def events(req):
    hit(req)
    return StreamingResponse(iter(["data: got in\\n\\n"]), media_type="text/event-stream")

more = [WebSocketRoute("/probe/ws", socket), Route("/probe/events", events, methods=["GET"]),
        Mount("/probe/mount", routes=[Route("/inner", plain, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)])]
for route in more: route.methods = getattr(route, "methods", None) or ["ws"]
loading.get().web.router.routes += more
'''
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]


@pytest.fixture(scope="module")
def T(tmp_path_factory):
    "One server for this module, with the probe, a record and an upload, so that every route has something to show."
    workspace = tmp_path_factory.mktemp("guard") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "probe.py").write_text(PROBE)
    with ModelServer() as model, Server(workspace).start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"}) as server:
        for app, name in (("tasks", "title"), ("notes", "title"), ("profiles", "name"), ("memories", "text")):
            for n in range(9): assert server.post(f"/{app}", {name: f"Number {n + 1}"}).status == 200
        for n in range(9): assert server.post("/things", {"title": f"Thing {n + 1}"}, files={"paper": ("a.txt", b"paper")}).status == 200
        for n in range(9):
            assert server.post("/hello", {"name": f"Number {n + 1}"}).status == 200
            assert server.post("/schedules", {"pipeline": "hello", "when": "monday 9:00"}).status == 200
            assert server.post("/outside_servers", {"name": f"server_{n + 1}", "command": "true"}).status == 200  # off
        wait_for(lambda: server.get("/runs").text.count("status-waiting") >= 9, what="nine runs that wait")
        assert server.post("/build", {"act": "spec", "kind": "app", "called": "herbs", "name": "name"}).status == 200
        assert server.post("/chat", {"text": "Hello", "c": "0"}).status == 200
        wait_for(lambda: "Retry" in server.get("/chat/list?c=1").text, what="an answer")
        model.says('{"tool": "notes_add", "args": {"title": "Number 10"}}')
        assert server.post("/chat", {"text": "Add a note: Number 10", "c": "1"}).status == 200
        wait_for(lambda: "/notes/10" in server.get("/chat/list?c=1").text, what="a note")
        yield server


@pytest.fixture(scope="module")
def E():
    "Another server of this machine. Any host name, any path: the page in `E.page`; what it was asked is in `E.asked`."
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found.asked.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(found.page.encode())
        do_POST = do_PUT = do_OPTIONS = do_GET
        def log_message(self, *_): pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = types.SimpleNamespace(port=server.server_port, page="<!doctype html><title>E</title>", asked=[])
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    "Chromium as in conftest.py, for which evil.test is a name of this machine."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium("--host-resolver-rules=MAP evil.test 127.0.0.1"))
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser, T):
    "A page in a browser that is logged in at T, under both of T's names."
    name, _, value = T.cookie.partition("=")
    with contextlib.closing(browser.new_context()) as context:
        context.add_cookies([{"name": name, "value": value, "domain": domain, "path": "/", "httpOnly": True, "sameSite": "Strict"}
                             for domain in (T.name, "127.0.0.1")])
        context.set_default_timeout(10_000)
        yield context.new_page()


def hits(server: Server) -> list[str]: return server.get("/probe/hits").json()


@pytest.fixture
def no_hits(T):
    T.post("/probe/clear")
    yield
    assert hits(T) == []


# ─── every route that there is ───

FILL = {"{record_id:int}": "1", "{run_id:int}": "1", "export.{kind}": "export.csv", "/ui/{name}": "/ui/theme",
        "{conversation:int}": "1", "{message:int}": "4", "/value/{name}": "/value/name", "{entry:int}": "1", "/steps/{name}": "/steps/name", "{key:int}": "1",
        "/plugins/{name}": "/plugins/probe", "{frame:int}": "1", "{digest}": hashlib.sha256(b"export default {}").hexdigest()[:24]}


def made_by_the_model(server: Server) -> int:
    "A journal entry that a turn of the chat has caused."
    return read(server.workspace / "data.db", "SELECT min(id) AS id FROM journal WHERE cause LIKE 'message %'")[0]["id"]


def routes(server: Server) -> list[dict]:
    "Every route of the running app, with a concrete address. A parameter nobody knows how to fill fails the test."
    found = server.get("/probe/routes").json()
    known = {"/why/{entry:int}": f"/why/{made_by_the_model(server)}"} | FILL | {"/files/{name:path}": "/files/" + next((server.workspace / "files").glob("a-*.txt")).name,
                    "/static/{version}/{name}": re.search(r'/static/\w+/app\.css', server.get("/").text)[0]}
    for route in found:
        route["url"] = route["path"]
        for template, value in known.items(): route["url"] = route["url"].replace(template, value)
        assert "{" not in route["url"], f"{route['path']} is a new route: say in FILL what its parameters may be."
    return found


def test_the_walk_sees_system_plugin_mounted_and_websocket_routes(T):
    found = {(r["path"], m) for r in routes(T) for m in r["methods"]}
    assert {("/", "GET"), ("/ws", "WEBSOCKET"), ("/events", "GET"), ("/cli", "POST"), ("/tasks/{record_id:int}/delete", "POST"),
            ("/things", "POST"), ("/probe/ws", "WEBSOCKET"), ("/probe/mount/inner", "GET"), ("/probe/mount/ws", "WEBSOCKET")} <= found
    assert len(found) > 70


def test_the_walk_sees_every_route_that_the_source_declares(T):
    calls = [call for file in (ROOT / "sololith").rglob("*.py") for function in ast.walk(ast.parse(file.read_text())) for call in getattr(function, "decorator_list", ())]
    declared = {call.args[0].value for call in calls if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "rt" and isinstance(call.args[0], ast.Constant)}
    assert len(declared) > 10 and declared <= {r["path"] for r in routes(T)}


def refusal(server: Server, path: str, **headers: str | None) -> int:
    "The status with which a WebSocket is refused; fails when it is accepted."
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        with server.ws(path, **headers): pass
    return caught.value.response.status_code


# ─── A1, A2, A3: the address ───

def test_a1_only_our_own_host_is_answered(T, no_hits):
    port = T.port
    foreign = ["evil.com", "127.0.0.1", f"127.0.0.1:{port}.evil", f"localhost.:{port}", f"localhost:{port}", f"0.0.0.0:{port}",
               f"[::1]:{port}", f"x{T.host}", f"{T.host}.", f"{T.name}.:{port}", T.name, f"{T.name}:{port + 1}", f"evil@{T.host}", "",
               f"{T.host},evil.com", f"{T.host} evil.com", f"127.1:{port}", f"2130706433:{port}"]
    answers = {host: T.raw_get("/probe/hit", f"Host: {host}").split(b"\r\n")[0] for host in foreign}
    answers["two"] = T.raw_get("/probe/hit", f"Host: {T.host}", f"Host: {T.host}").split(b"\r\n")[0]
    answers["two, one evil"] = T.raw_get("/probe/hit", f"Host: {T.host}", "Host: evil.com").split(b"\r\n")[0]
    answers["none"] = T.raw(f"GET /probe/hit HTTP/1.1\r\nCookie: {T.cookie}\r\nConnection: close\r\n\r\n".encode()).split(b"\r\n")[0]
    answers["none, HTTP/1.0"] = T.raw(f"GET /probe/hit HTTP/1.0\r\nCookie: {T.cookie}\r\n\r\n".encode()).split(b"\r\n")[0]
    answers["in the address"] = T.raw(f"GET http://evil.com/probe/hit HTTP/1.1\r\nHost: evil.com\r\nCookie: {T.cookie}\r\nConnection: close\r\n\r\n".encode()).split(b"\r\n")[0]
    wrong = {host: line for host, line in answers.items() if line.split(b" ")[1] not in (b"421", b"400")}
    assert not wrong


def test_a1_both_of_our_own_names_are_answered(T):
    for host in (T.host, f"127.0.0.1:{T.port}"): assert T.get("/probe/routes", Host=host).status == 200


def test_a2_a_name_that_was_made_to_point_here_gets_421(T, visitor, no_hits):
    name, _, value = T.cookie.partition("=")
    visitor.context.add_cookies([{"name": name, "value": value, "domain": "evil.test", "path": "/"}])
    assert visitor.goto(f"http://evil.test:{T.port}/probe/hit").status == 421
    assert visitor.goto(f"{T.url}/probe/hits").status == 200  # and the right name, in the same browser, is let in


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a3_it_listens_on_loopback_only(T):
    fds = Path(f"/proc/{T.pid}/fd")
    ours = set()
    for fd in fds.iterdir():
        with contextlib.suppress(OSError): ours.add(os.readlink(fd))
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, _, state, inode = (line.split()[at] for at in (1, 2, 3, 9))
            if f"socket:[{inode}]" in ours and (state == "0A" or table.startswith("udp")): listening.append((table, *local.split(":")))
    assert listening == [("tcp", "0100007F", f"{T.port:04X}")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0x0"])
def test_a3_another_host_to_listen_on_is_refused(host, tmp_path):
    for given in (["--host", host], [f"--host={host}"]):
        done = cli(str(tmp_path / "workspace"), *given, "--port", "0", "--no-open", limit=20)
        assert done.returncode == 2 and "Sololith is at" not in done.stdout


# ─── A4, A5: without the cookie, or from elsewhere ───

@pytest.mark.parametrize("cookie", [None, "sololith_{port}=", "sololith_{port}=guessed", "sololith_{other}={value}", "session={value}"])
def test_a4_no_route_answers_without_the_cookie(T, no_hits, cookie):
    value = T.cookie.partition("=")[2]
    given = cookie and cookie.format(port=T.port, other=T.port + 1, value=value)
    got_in, seen = [], 0
    for route in routes(T):
        if route["methods"] == ["WEBSOCKET"]:
            if refusal(T, route["url"], Cookie=given) != 403: got_in.append(route["path"])
            continue
        for method in METHODS if cookie is None else route["methods"]:
            answer = T.request(method, route["url"], b"" if method in ("POST", "PUT", "PATCH") else None, Cookie=given, Origin=T.url)
            seen += 1
            if answer.status not in (401, 403): got_in.append((method, route["path"], answer.status))
    assert not got_in and seen > 60


def test_a4_what_is_no_route_does_not_answer_without_the_cookie_either(T):
    for path in ("/nothing", "/files/", "/static/", "/probe/mount", "/favicon.ico", "/launch/", "/launch/x", "//launch", "/LAUNCH", "/%6Caunch/.."):
        assert T.get(path, Cookie=None).status in (401, 403), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"): assert T.request(method, "/launch", b"", Cookie=None).status in (401, 403)


def test_a4_a_wrong_bearer_does_not_stand_for_the_cookie(T, no_hits):
    for given in ("", "Bearer", "Bearer ", "Bearer x", f"Basic {T.secret}", f"Bearer {T.secret}x", f"bearer  {T.secret}", f"Bearer {T.cookie.partition('=')[2]}"):
        assert T.get("/probe/hit", Cookie=None, Authorization=given).status in (401, 403), given
    assert T.raw_get("/probe/hit", "Cookie: a=b", f"Authorization: Bearer {T.secret}", "Authorization: Bearer x").split()[1] == b"403"


def test_a5_a_websocket_needs_our_origin_and_the_cookie(T, no_hits):
    sockets = [r["url"] for r in routes(T) if r["methods"] == ["WEBSOCKET"]]
    assert len(sockets) >= 3
    for path in sockets:
        for origin in (None, "http://127.0.0.1:1", "null", f"http://{T.name}", f"https://{T.host}", f"http://{T.host}.evil.test", "file://", f"{T.url}/"):
            assert refusal(T, path, Origin=origin) == 403, (path, origin)
        for site in ("same-origin", "none", "cross-site"): assert refusal(T, path, Origin=None, sec_fetch_site=site) == 403, (path, site)
        assert refusal(T, path, Cookie=None) == 403 and refusal(T, path, Host="evil.test") == 403
        assert refusal(T, path, Origin=f"http://127.0.0.1:{T.port}") == 403  # ours, but not the one that this is asked under


def test_a5_a_websocket_of_our_own_page_is_accepted(T):
    with T.ws("/probe/ws") as ws: assert ws.recv(timeout=5) == "got in"


# ─── A6, A7, A10: other pages in the person's own browser ───

ATTACK = """<!doctype html><title>E</title><script>
const wait = ms => new Promise(r => setTimeout(() => r("late"), ms))
async function attack(t) {
  const url = by => t + "/probe/hit?by=" + by, told = {}, all = []
  const note = (by, trying) => all.push(Promise.race([trying, wait(2000)]).then(v => { told[by] = "" + v }, e => { told[by] = "failed" }))
  const send = (by, options) => note(by, fetch(url(by), {credentials: "include", ...options}).then(r => r.text()))
  const put = (by, tag, key, value, more = {}) => note(by, new Promise(r => {
    const el = Object.assign(document.createElement(tag), more); el.onload = () => r("loaded"); el.onerror = () => r("failed"); el[key] = value; document.body.append(el) }))
  const submit = (by, method, enctype, sandbox) => put(by, "iframe", "srcdoc", `<form action="${t}/probe/hit?by=${by}" method=${method} enctype="${enctype}"><input name=by value=${by}></form><script>document.forms[0].submit()<` + "/script>", sandbox ? {sandbox} : {})
  send("fetch", {}); send("fetch-opaque", {mode: "no-cors"}); send("post-opaque", {mode: "no-cors", method: "POST", body: "a=1"})
  send("post-json-as-text", {mode: "no-cors", method: "POST", headers: {"Content-Type": "text/plain"}, body: '{"a": 1}'})
  send("put", {method: "PUT", headers: {"X-Own": "1"}}); send("keepalive", {mode: "no-cors", keepalive: true, method: "POST", body: "a=1"})
  note("beacon", Promise.resolve(navigator.sendBeacon(url("beacon"), "a=1")))
  put("image", "img", "src", url("image")); put("script", "script", "src", url("script")); put("frame", "iframe", "src", url("frame")); put("style", "link", "href", url("style"), {rel: "stylesheet"})
  submit("form-get", "get", "application/x-www-form-urlencoded"); submit("form-post", "post", "application/x-www-form-urlencoded"); submit("form-text", "post", "text/plain")
  submit("form-sandboxed", "post", "text/plain", "allow-forms allow-scripts")
  note("events", new Promise(r => { const e = new EventSource(t + "/probe/events?by=events", {withCredentials: true}); e.onopen = () => r("open"); e.onerror = () => { e.close(); r("failed") } }))
  for (const path of ["/ws", "/probe/ws", "/probe/mount/ws"]) note("socket " + path, new Promise(r => { const w = new WebSocket(t.replace("http", "ws") + path); w.onopen = () => r("open"); w.onclose = () => r("failed") }))
  await Promise.all(all); return told
}
</script><body>"""
SENT = {"fetch", "fetch-opaque", "post-opaque", "post-json-as-text", "keepalive", "beacon", "image", "script", "frame", "style", "form-get", "form-post", "form-text"}
FRAMED = {"frame", "form-get", "form-post", "form-text"}  # whose status Chromium tells


def test_a6_a7_no_other_page_in_a_logged_in_browser_reaches_a_handler(T, E, visitor, no_hits):
    E.page, answered = ATTACK, {}
    visitor.on("request", lambda r: answered.setdefault(r.url))  # of what Chromium itself hides from E, no status is told
    visitor.on("response", lambda r: answered.update({r.url: r.status}))
    # The last one is the strongest: it shares T's host name, so that T's cookie is sent with all of it.
    both = (T.url, f"http://127.0.0.1:{T.port}")
    for where, targets in ((f"127.0.0.1:{E.port}", both[1:]), (f"localhost:{E.port}", both[:1]), (f"x.localhost:{E.port}", both[1:]), (f"evil.test:{E.port}", both[:1]), (f"{T.name}:{E.port}", both)):
        for target in targets:
            answered.clear()
            visitor.goto(f"http://{where}/")
            told = visitor.evaluate("t => attack(t)", target)
            of = lambda: {url.partition("by=")[2]: status for url, status in answered.items() if url.startswith(f"{target}/probe/hit")}  # noqa: B023
            with contextlib.suppress(AssertionError): wait_for(lambda: visitor.wait_for_timeout(20) or FRAMED <= {by for by, status in of().items() if status}, 5)  # noqa: B023
            visitor.wait_for_timeout(200)  # for the sandboxed form, of which Playwright does not tell
            of_T = of()
            assert set(of_T) >= SENT, f"The attack from {where} did not send {SENT - set(of_T)}."
            assert set(of_T.values()) <= {401, 403, None} and {of_T[by] for by in FRAMED} == {403}, of_T
            assert not [by for by, what in told.items() if what in ("open", "got in")] and told["socket /ws"] == "failed", told
            assert hits(T) == [], f"From {where} to {target}"


def test_a6_the_same_attack_from_our_own_page_does_reach_the_handlers(T, visitor):
    "That the counters count: without this, the test above could pass with a broken attack."
    T.post("/probe/clear")
    visitor.goto(T.url)
    script = ATTACK.partition("<script>")[2].partition("</script><body>")[0]
    told = visitor.evaluate(f"t => {{ {script}; return attack(t) }}", T.url)
    assert told["fetch"] == "got in" and told["socket /probe/ws"] == told["events"] == "open", told
    assert {h.split(" ")[-1] for h in hits(T)} >= {"fetch", "post-opaque", "post-json-as-text", "put", "beacon", "events"}


def test_a6_a7_all_of_the_attack_is_sent(E, visitor):
    "Another server, which lets everything in, gets every request of it, that of the sandboxed form with Origin: null."
    E.page = ATTACK
    visitor.goto(f"http://evil.test:{E.port}/")
    E.asked.clear()
    visitor.evaluate("t => attack(t)", f"http://127.0.0.1:{E.port}")
    got = lambda: {path.partition("by=")[2]: headers for path, headers in E.asked if "by=" in path}
    wait_for(lambda: visitor.wait_for_timeout(20) or set(got()) >= {*SENT, "form-sandboxed", "events"}, 5, "all of the attack")
    assert got()["form-sandboxed"]["Origin"] == "null"


def test_a6_a_link_on_another_page_does_not_open_a_page_that_acts(T, E, visitor, no_hits):
    E.page = f'<!doctype html><a href="{T.url}/probe/hit">Go</a>'
    visitor.goto(f"http://evil.test:{E.port}/")
    with visitor.expect_response(f"{T.url}/probe/hit") as answer: visitor.click("a")
    assert answer.value.status in (401, 403)


@pytest.mark.parametrize("headers", [
    dict(Origin="null"), dict(Origin="null", Sec_Fetch_Site=None), dict(Origin="http://127.0.0.1:1", Sec_Fetch_Site=None),
    dict(Origin=None, Sec_Fetch_Site=None), dict(Origin=None, Sec_Fetch_Site="same-site"), dict(Origin=None, Sec_Fetch_Site="cross-site"),
    dict(Sec_Fetch_Site="cross-site"), dict(Sec_Fetch_Site="same-site"), dict(Sec_Fetch_Site="nonsense"), dict(Origin="https://{host}"),
    dict(Origin="http://{name}"), dict(Origin="http://{host}.evil.test"), dict(Origin="http://127.0.0.1:{port}"), dict(Origin="file://")])
def test_a7_a_change_from_another_or_no_origin_is_403(T, no_hits, headers):
    filled = {k: v and v.format(host=T.host, name=T.name, port=T.port) for k, v in headers.items()}
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/json"):
        assert T.post("/probe/json", b'{"a": 1}', Content_Type=kind, **filled).status == 403
    assert T.post("/tasks/1/delete", **filled).status == 403 and T.get("/tasks/1").status == 200


def test_a7_two_origins_are_403(T, no_hits):
    head = f"POST /probe/hit HTTP/1.1\r\nHost: {T.host}\r\nCookie: {T.cookie}\r\nContent-Length: 0\r\nConnection: close\r\n"
    assert T.raw(f"{head}Origin: {T.url}\r\n\r\n".encode()).split()[1] == b"200"
    T.post("/probe/clear")
    assert T.raw(f"{head}Origin: {T.url}\r\nOrigin: http://evil.test\r\n\r\n".encode()).split()[1] == b"403"
    assert T.raw(f"{head}Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n\r\n".encode()).split()[1] == b"403"


def test_a10_another_page_gets_no_cors_header_no_script_and_no_frame(T, E, visitor, no_hits):
    asks = {"Origin": f"http://127.0.0.1:{E.port}", "Sec_Fetch_Site": "same-site", "Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-own"}
    for route in routes(T):
        if route["methods"] == ["WEBSOCKET"]: continue
        for answer in (T.request("OPTIONS", route["url"], **asks), T.request("OPTIONS", route["url"]),
                       *([T.get(route["url"], Origin=asks["Origin"], Sec_Fetch_Site="cross-site")] if "GET" in route["methods"] else [])):
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")], route
        assert T.request("OPTIONS", route["url"], **asks).status == 403
    script = re.search(r'src="(/static/[^"]+)"', T.get("/").text)[1]
    assert T.get(script, Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="script").status == 403
    E.page, answered = f'<!doctype html><script src="{T.url}{script}"></script><iframe src="{T.url}/tasks"></iframe>', {}
    visitor.on("request", lambda r: answered.setdefault(r.url))
    visitor.on("response", lambda r: answered.update({r.url: r.status}))
    visitor.goto(f"http://{T.name}:{E.port}/", wait_until="load")
    assert T.url + script in answered and answered[f"{T.url}/tasks"] == 403
    assert visitor.evaluate("typeof htmx") == "undefined" and "Number 1" not in visitor.frames[1].content()


def test_a10_every_page_forbids_to_be_framed_and_to_run_what_is_inline(T):
    for path in ("/", "/tasks", "/tasks/1", "/nothing", "/probe/hit", "/events?"):
        answer = T.get(path) if path != "/events?" else T.get("/events", Cookie=None)
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "unsafe" not in policy, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


# ─── A8, A9, A15: what a request may change ───

def dump(server: Server) -> str:
    "A hash of every row in the database and of every file beside it that is not the database's own."
    told = hashlib.sha256()
    with contextlib.closing(sqlite3.connect(f"file:{server.workspace / 'data.db'}?mode=ro", uri=True)) as db:
        for name, kind in db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall():
            told.update(f"{name} {kind}".encode())
            if kind and kind.startswith("CREATE TABLE"):
                for row in db.execute(f'SELECT * FROM "{name}"'): told.update(repr(row).encode())
    for path in sorted(server.workspace.rglob("*")):
        inside = path.relative_to(server.workspace).as_posix()
        if inside.startswith(("data.db", "backups")): continue  # the backup at the start is made when it is made
        told.update(inside.encode() + (path.read_bytes() if path.is_file() else b""))
    return told.hexdigest()


def test_a8_no_get_changes_anything(T):
    wait_for(lambda: list((T.workspace / "backups").glob("*.db")), what="the backup at the start")
    before, seen = dump(T), 0
    for route in routes(T):
        if "GET" not in route["methods"] or route["url"] == "/mcp": continue  # which takes no cookie: see test_mcp.py
        for query in ("", "?title=x&name=x&id=1&entry=1&value=dark&field=is_done&q=Number&sort=-title&page=2&action=delete&ids=1&then=list"):
            for extra in ({}, {"HX_Request": "true"}):
                connection, response = T.stream("GET", route["url"] + query, **extra)
                try: status = response.status
                finally:  # the event streams have no end
                    if not response.headers.get("Content-Type", "").startswith("text/event-stream") or "probe" in route["url"]: response.read()
                    connection.close()
                assert status == (303 if "/why/" in route["url"] else 200), f"{route['url']} answers {status}: this walk has not gone through it. Say in FILL what it takes."
                seen += 1
        T.request("HEAD", route["url"])
    assert dump(T) == before and seen > 100


def test_a8_the_dump_notices_a_change(T):
    before = dump(T)
    assert T.post("/ui/theme", {"value": "dark"}).status == 200
    assert dump(T) != before
    T.post("/ui/theme", {"value": "system"})


def test_a9_no_change_can_be_asked_for_with_a_get(T):
    before, seen = dump(T), 0
    ways = routes(T)
    readable = {r["url"] for r in ways if "GET" in r["methods"]}
    for route in ways:
        if route["url"] in readable or route["methods"] == ["WEBSOCKET"]: continue
        for query in ("", "?title=x&id=1&entry=1&value=on&field=is_done&action=delete&ids=1&name=x&profile=1&verb=undo"):
            for method in ("GET", "HEAD"):
                assert T.request(method, route["url"] + query).status == 405, route
                seen += 1
    assert dump(T) == before and seen > 60


def test_a9_a_get_whose_arguments_look_like_a_form_adds_nothing(T):
    assert T.get("/tasks?title=Sneaked+in&_key=1").status == 200 and T.get("/tasks/new?title=Sneaked+in").status == 200
    assert "Sneaked in" not in T.get("/tasks").text
    for name, value in (("X-HTTP-Method-Override", "POST"), ("X-HTTP-Method", "DELETE"), ("X-Method-Override", "POST")):
        T.get("/tasks?title=Sneaked+in&_method=POST", **{name: value})
    assert "Sneaked in" not in T.get("/tasks").text


def other_places(name: str, value: str, cookie: str) -> tuple[str, dict[str, str]]:
    "The same argument in query, header and cookie, where it must not count."
    return f"?{name}={value}", {name: value, "Cookie": f"{cookie}; {name}={value}"}


def test_a15_a_change_takes_its_arguments_from_the_form_only(T):
    def title(n: int) -> str: return re.search(r'name="title"[^>]*value="([^"]*)"|value="([^"]*)"[^>]*name="title"', T.get(f"/things/{n}").text)[0]
    query, sent = other_places("id", "9", T.cookie)
    nine = title(9)
    assert T.post(f"/things/3{query}", {"id": "3", "title": "Three it is"}, **sent).status == 200
    assert "Three it is" in title(3) and title(9) == nine

    query, sent = other_places("title", "Nine", T.cookie)
    assert T.post(f"/things/3{query}", {"title": "Three still"}, **sent).status == 200
    assert "Three still" in title(3)
    assert T.post(f"/things{query}", {}, **sent).status == 422  # a title elsewhere is no title

    query, sent = other_places("ids", "9", T.cookie)
    assert T.post(f"/things/bulk{query}&action=delete", {"ids": "4", "action": "delete"}, **sent).status == 200
    assert T.get("/things/4").status == 404 and T.get("/things/9").status == 200
    assert T.post("/undo").status == 200

    query, sent = other_places("field", "title", T.cookie)
    assert T.post(f"/things/5/toggle{query}&value=x", {"field": "is_done", "value": "on"}, **sent).status == 200
    assert "Thing 5" in title(5)


def test_a15_undo_takes_its_entry_from_the_form_only(T):
    def newest(): return T.cli("journal", "-n", "1", "--json").stdout
    def entry() -> int: return json.loads(newest())[0]["id"]
    T.post("/notes/3", {"title": "Changed three"})
    three = entry()
    T.post("/notes/9", {"title": "Changed nine"})
    nine = entry()
    query, sent = other_places("entry", str(nine), T.cookie)
    assert T.post(f"/undo{query}", {"entry": str(three)}, **sent).status == 200
    assert "Changed three" not in T.get("/notes/3").text.partition("History")[0] and "Changed nine" in T.get("/notes/9").text
    before = entry()
    query, sent = other_places("name", "theme", T.cookie)
    assert T.post(f"/ui/nothing{query}&value=dark", {"value": "dark"}, **sent).status == 404 and entry() == before


# ─── A11, A12: the launch address ───

def token_of(launch_url: str) -> str: return urllib.parse.parse_qs(urllib.parse.urlsplit(launch_url).query)["token"][0]


def fresh(server: Server) -> str:
    "A new launch address, as `sololith open` prints it; its path."
    done = server.cli("open", "--no-open")
    assert done.returncode == 0, done.stderr
    return "/" + done.stdout.strip().split("/", 3)[3]


def launch(server: Server, path: str, **headers: str | None) -> int: return server.get(path, Cookie=None, Sec_Fetch_Site="none", **headers).status


def test_a11_a_launch_address_lets_in_once(T):
    path = fresh(T)
    assert launch(T, path) == 200 and launch(T, path) == 403
    assert launch(T, "/" + T.launch_url.split("/", 3)[3]) == 403  # the one that this test's server began with


def test_a11_of_many_at_once_one_gets_in(T):
    path = fresh(T)
    with concurrent.futures.ThreadPoolExecutor(16) as pool: answers = list(pool.map(lambda _: launch(T, path), range(32)))
    assert sorted(answers) == [200, *[403] * 31]


def test_a11_a_thousand_guesses_are_403_and_the_right_one_still_works(T):
    path = fresh(T)
    token = token_of(path)
    guesses = [f"/launch?token={token[:-1]}{c}" for c in "!.~"] + ["/launch", "/launch?token=", "/launch?token", f"/launch?token=&token={token}", f"/launch?Token={token}",
               f"/launch?token={token}%00", f"/launch?token=%E2%82%AC{token}", f"/launch?token={token.swapcase()}"]
    guesses += [f"/launch?token={os.urandom(24).hex()[:32]}" for _ in range(1000 - len(guesses))]
    assert token.swapcase() != token
    with concurrent.futures.ThreadPoolExecutor(8) as pool: answers = list(pool.map(lambda guess: launch(T, guess), guesses))
    # an empty token before the right one is not a token at all to parse_qs, so that one takes it: the token was known
    taken = answers[guesses.index(f"/launch?token=&token={token}")]
    assert answers.count(403) >= 999 and taken in (200, 403)
    assert launch(T, path) == (200 if taken == 403 else 403)


def test_a11_a_launch_address_is_good_for_a_minute_and_no_longer(tmp_path, monkeypatch):
    "In this process, with a clock of ours: the soak test below really waits."
    guard_chapter, now = chapter("guard"), [1000.0]
    monkeypatch.setattr(guard_chapter, "clock", types.SimpleNamespace(monotonic=lambda: now[0]))
    old, mask = chapter("base").home.path, os.umask(0o077)
    try:
        chapter("base").home.at(tmp_path / "workspace").make()
        guard = guard_chapter.Guard(None, 4242)
    finally:
        chapter("base").home.at(old)
        os.umask(mask)

    def status(url: str) -> int:
        sent: list[dict] = []
        async def send(message: dict) -> None: sent.append(message)
        scope = {"type": "http", "method": "GET", "path": "/launch", "query_string": url.partition("?")[2].encode(), "headers": [(b"host", guard.name.encode())]}
        _run(guard(scope, None, send))
        return sent[0]["status"]

    young, old_one = guard.launch_url(), guard.launch_url()
    now[0] += 59
    assert status(young) == 200
    now[0] += 2  # 61 s
    assert status(old_one) == 403


def _run(coroutine) -> None:
    "Run a coroutine that never waits; the browser's thread of this module cannot run asyncio.run."
    with pytest.raises(StopIteration): coroutine.send(None)


@pytest.mark.soak
def test_a11_after_61_seconds_a_launch_address_is_dead(T):
    import time
    path = fresh(T)
    time.sleep(61)
    assert launch(T, path) == 403


def test_a12_the_launch_token_is_in_no_log_argument_file_referer_or_address_bar(start, E, browser, tmp_path, workspace):
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "probe.py").write_text(PROBE)
    server = start(login=False)
    watching = tmp_path / "watching"
    # a browser, as far as `sololith open` knows: it writes down its arguments and what `ps` shows while it runs
    watching.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/args"\nps -eo args > "{tmp_path}/ps"\n')
    watching.chmod(0o700)
    done = cli("open", "--workspace", str(workspace), BROWSER=str(watching))
    assert done.returncode == 0, done.stderr
    opened = done.stdout.strip()
    given = wait_for(lambda: (tmp_path / "ps").exists() and (tmp_path / "ps").stat().st_size and (tmp_path / "args").read_text(), what="the browser")
    shown = (tmp_path / "ps").read_text()
    assert given.startswith("file://") and token_of(opened) not in given and token_of(opened) not in shown
    file = Path(urllib.parse.unquote(given.strip().removeprefix("file://")))
    assert token_of(opened) in file.read_text() and file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700

    E.page = "<!doctype html><title>E</title>"
    E.asked.clear()
    with contextlib.closing(browser.new_context()) as context:
        page, asked = context.new_page(), []
        page.on("request", lambda r: asked.append((r.url, r.headers.get("referer", ""))))
        page.goto(file.as_uri())  # the whole way: file → launch page → cookie → home
        page.wait_for_url(f"{server.url}/")
        page.goto(f"{server.url}/probe/out?to=http://127.0.0.1:{E.port}/from-us")
        page.click("#out")
        page.wait_for_url("**/from-us")
        page.go_back()
        page.go_back()
        assert page.url == f"{server.url}/" and page.title() == "Home · Sololith"
        secrets = [token_of(opened), token_of(server.launch_url), server.secret, context.cookies(server.url)[0]["value"]]
        assert not [r for r in asked if r[1]], "a page of ours sent a Referer"
    headers = next(headers for path, headers in E.asked if path == "/from-us")
    assert "Referer" not in headers
    server.get("/" + opened.split("/", 3)[3], Cookie=None)      # spent: what is said of it must not repeat it
    answer = server.get(f"/launch?token={secrets[0]}x", Cookie=None)
    assert not [s for s in secrets if s in answer.text]
    server.raw(b"GET /launch?token=" + secrets[0].encode() + b" HTTP/9.9\r\n\r\n")
    server.stop()
    assert not [s for s in secrets if s in server.log]
    assert not [s for s in secrets if s in "".join(server.output).replace(server.launch_url, "", 1)]
    kept = [p for p in workspace.rglob("*") if p.is_file() and workspace / ".run" not in p.parents]
    assert not [(p, s) for p in kept for s in secrets if s.encode() in p.read_bytes()] and kept
    cookie = secrets[3].encode()
    assert not [p for p in (workspace / ".run").iterdir() if p.is_file() and cookie in p.read_bytes()]


# ─── A13, A14: restarts, rotation, other users ───

def test_a13_an_open_tab_outlives_a_restart_but_not_a_rotation(page, page_errors):
    server = page.server
    page.goto(f"{server.url}/tasks")
    server.restart()
    page.wait_for_function("document.querySelector('#banner').checkVisibility() === false")
    page.keyboard.press("n")
    page.fill("#dialog [name=title]", "Written after the restart")
    page.click("#dialog button:text('Add task')")
    page.wait_for_selector("#tasks-list :text('Written after the restart')")
    server.post("/tasks", {"title": "From another tab"})
    page.wait_for_selector("#tasks-list :text('From another tab')")  # live again

    old = server.secret
    done = server.cli("open", "--rotate", "--no-open")
    assert done.returncode == 0 and server.secret != old
    page.wait_for_selector("#banner:text('sololith open')", state="visible")  # the tab is told, and hears nothing more
    assert server.get("/").status == 401 and server.get("/", Cookie=None, Authorization=f"Bearer {old}").status == 401
    assert refusal(server, "/ws") == 403
    answer = page.goto(f"{server.url}/tasks")
    assert answer.status == 401 and "sololith open" in page.inner_text("body") and "Written after" not in page.content()
    page.goto(done.stdout.strip())
    page.wait_for_url(f"{server.url}/")
    page.wait_for_selector("h1")
    assert page.goto(f"{server.url}/tasks").status == 200
    page_errors.clear()  # the lost socket and the 401 are on the console, rightly


def test_a13_a_rotation_ends_sockets_and_streams_that_were_open(start):
    server = start()
    with server.ws() as ws:
        connection, response = server.stream("GET", "/events", limit=5)
        assert response.readline() == b": Sololith\n"
        assert server.cli("open", "--rotate", "--no-open").returncode == 0
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            while True: ws.recv(timeout=5)
        response.read()  # to its end, within `limit`
        connection.close()


@contextlib.contextmanager
def readable_by_all():
    "A folder that another user could enter: not below pytest's own, which is closed to others anyway."
    folder = Path(tempfile.mkdtemp(prefix="sololith-open-"))
    folder.chmod(0o755)
    try: yield folder
    finally: shutil.rmtree(folder, ignore_errors=True)


def modes(workspace: Path) -> dict[str, str]:
    return {p.relative_to(workspace.parent).as_posix(): oct(p.lstat().st_mode & 0o7777) for p in [workspace, *workspace.rglob("*")]}


def test_a14_all_that_is_written_is_the_owners_alone_whatever_the_umask():
    with readable_by_all() as folder, Server(folder / "workspace").start(before=["sh", "-c", 'umask 000; exec "$@"', "sh"]) as server:
        plugin = server.workspace / "apps" / "probe.py"
        plugin.write_text(PROBE)
        wait_for(lambda: server.get("/probe/routes").status == 200, what="the plugin")
        plugin.chmod(0o600)  # this one file is ours
        server.post("/things", {"title": "Paper"}, files={"paper": ("a.txt", b"paper")})
        server.post("/things/import", {"text": "title\nFrom a table\n"})
        assert server.cli("backup").returncode == 0 and server.cli("export", str(server.workspace / "all.zip")).returncode == 0
        wait_for(lambda: list((server.workspace / "backups").glob("*.db")), what="the backup at the start")
        found = modes(server.workspace)
        wrong = {name: mode for name, mode in found.items() if mode not in ("0o700", "0o600") or (folder / name).is_dir() != (mode == "0o700")}
        assert not wrong and {"workspace", "workspace/data.db", "workspace/.run/secret", "workspace/.run/url", "workspace/all.zip"} <= set(found)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
@pytest.mark.skipif(not (shutil.which("setpriv") or shutil.which("runuser")), reason="needs setpriv or runuser")
def test_a14_another_user_of_the_machine_gets_401_and_no_file():
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if shutil.which("setpriv") else ["runuser", "-u", "nobody", "--"]
    def as_other(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*other, *command], capture_output=True, text=True, cwd="/", timeout=20)
    assert as_other("id", "-u").stdout.strip() == "65534"
    with readable_by_all() as folder:
        (folder / "open.txt").write_text("open")
        (folder / "open.txt").chmod(0o644)
        assert as_other("cat", str(folder / "open.txt")).stdout == "open"  # the way there is not what keeps them out
        with Server(folder / "workspace").start() as server:
            server.post("/tasks", {"title": "Private"})
            for path in ("", "data.db", ".run", ".run/secret", ".run/url", ".run/host", ".run/lock", "apps", "backups"):
                for command in (["ls", "-A"], ["cat"]):
                    done = as_other(*command, str(server.workspace / path))
                    assert done.returncode != 0 and "Permission denied" in done.stderr and not done.stdout, (path, done)
            ask = f"exec 3<>/dev/tcp/127.0.0.1/{server.port}; printf 'GET /tasks HTTP/1.1\\r\\nHost: {server.host}\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3"
            answer = as_other("bash", "-c", ask).stdout
            assert answer.startswith("HTTP/1.1 401") and "Private" not in answer
            cmdline = as_other("cat", f"/proc/{server.pid}/cmdline").stdout
            assert server.secret not in cmdline and token_of(server.launch_url) not in cmdline
            assert as_other("cat", f"/proc/{server.pid}/environ").returncode != 0
