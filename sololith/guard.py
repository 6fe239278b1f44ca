"""Who may talk to us: only the person's own browser on our own pages, and the command line, from this machine.

One ASGI layer around everything, WebSockets included, which decides before a body is read:

1. exactly one Host, and it is ours (a random name under .localhost, so that no page on another port shares our
   cookies, or 127.0.0.1 where a browser does not know such names): else 421;
2. it comes from our own page or from none (Sec-Fetch-Site, Origin); a WebSocket must say its Origin, an unsafe
   method one of the two: else 403;
3. the cookie, or the secret as a bearer token, compared in constant time: else 401.

The cookie is got at /launch with a token that works once, within 60 seconds. It is derived from the secret in .run/
and the port, so it survives restarts; `sololith open --rotate` makes a new secret. Bodies are capped. Every answer
carries a strict Content-Security-Policy; none carries a CORS header.
"""
import asyncio, base64, hashlib, hmac, json, secrets, time as clock
from typing import Any
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse
from .base import Problem, home, replacing
from .events import touched
from .store import db

MAX_FORM, MAX_UPLOAD = 32 << 20, 512 << 20  # bytes of a request body: forms, and multipart with files
LAUNCH_SECONDS = 60
SAFE = ("GET", "HEAD")
STYLE_401 = (
    ":root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:34rem;margin:18vh auto;"
    "padding:0 1.5rem}h1{font-size:1.3rem}code{font-size:1.1em}")
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self'{style}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'").format
HASH_401 = " 'sha256-" + base64.b64encode(hashlib.sha256(STYLE_401.encode()).digest()).decode() + "'"
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store", "content-security-policy": POLICY(style="")}
ONCE = ("host", "origin", "sec-fetch-site", "authorization")


class Guard:
    "The outermost ASGI layer. `port` is the one we listen on; `app` is all the rest."
    def __init__(self, app: Any, port: int):
        self.app, self.port, self.tokens = app, port, {}
        self.read_secret()

    def read_secret(self, rotate: bool = False) -> None:
        "The secret and our host name, made at the first start; both stay the same after that."
        file, name = home.run / "secret", home.run / "host"
        if rotate or not file.exists():
            with replacing(file) as part: part.write_text(secrets.token_urlsafe(32))
        if not name.exists(): name.write_text(f"s{secrets.token_hex(4)}.localhost")
        self.secret = file.read_text().strip()
        self.name = f"{name.read_text().strip()}:{self.port}"
        self.cookie = hmac.new(self.secret.encode(), f"cookie {self.port}".encode(), "sha256").hexdigest()

    def launch_url(self) -> str:
        "A link that lets one browser in, once, within a minute."
        now = clock.monotonic()  # not the time of day, which may jump
        self.tokens = {t: until for t, until in self.tokens.items() if until > now}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = now + LAUNCH_SECONDS
        return f"http://{self.name}/launch?token={token}"

    def check(self, scope: dict, is_launch: bool) -> int:
        "How many bytes this request's body may have. Raises Problem unless the request may go on."
        headers = Headers(scope=scope)
        host, origin, site, authorization = (headers.get(name, "") for name in ONCE)
        if len(headers.getlist("host")) != 1 or host not in (self.name, f"127.0.0.1:{self.port}"):
            raise Problem("This address is not Sololith's.", "Run <code>sololith open</code>: it opens the right one.", 421)
        # int() would refuse its number, too
        if len(scope["path"]) > 4000: raise Problem("This address is too long.", status=414)
        if any(len(headers.getlist(name)) > 1 for name in ONCE): raise Problem("A header came twice.", status=403)
        bearer = authorization.removeprefix("Bearer ")
        if not is_launch:
            if site not in ("", "same-origin", "none") or origin and origin != f"http://{host}":
                raise Problem("Another page tried to reach Sololith.",
                    "If that was you, open Sololith yourself: <code>sololith open</code>.", 403)
            is_socket = scope["type"] == "websocket"
            if not origin and (is_socket or scope["method"] not in SAFE and not site and not bearer):
                raise Problem("This request does not say which page it comes from.", status=403)
            cookie = cookie_parser("; ".join(headers.getlist("cookie"))).get(f"sololith_{self.port}", "")
            if not (hmac.compare_digest(bearer.encode(), self.secret.encode())
                    or hmac.compare_digest(cookie.encode(), self.cookie.encode())):
                raise Problem("Sololith does not know this browser yet.",
                    "In a terminal, run <code>sololith open</code>. It opens a page that lets this browser in.", 401)
        cap = MAX_UPLOAD if headers.get("content-type", "").startswith("multipart/") else MAX_FORM
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > cap: raise too_much()
        return cap

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan": return await self.app(scope, receive, send)
        is_socket = scope["type"] == "websocket"
        is_launch = not is_socket and scope["path"] == "/launch" and scope["method"] in SAFE
        try:
            cap = self.check(scope, is_launch)
            if is_launch: return await self.launch(scope)(scope, receive, send)
        except Problem as e:
            if is_socket: return await send({"type": "websocket.close", "code": 1008})  # before accept: 403
            return await plain_page(e.what, e.fix, e.status)(scope, receive, send)
        if is_socket: return await self.app(scope, receive, send)
        while db.depth and scope["method"] not in SAFE: await asyncio.sleep(0.01)  # a long write has the turn
        taken, here = 0, set()
        touched.set(here)

        async def capped() -> dict:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > cap: raise too_much()
            return message

        async def guarded(message: dict) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items(): headers.setdefault(name, value)
                if here:
                    news = {"id": max(i for i, _ in here), "apps": sorted({a for _, a in here})}
                    headers["sololith-changed"] = json.dumps(news)
            await send(message)

        await self.app(scope, capped, guarded)

    def launch(self, scope: dict) -> HTMLResponse:
        "Take a launch token for the cookie, with a page that goes on to / (a redirect would lose a Strict cookie)."
        given = QueryParams(scope["query_string"]).get("token", "")
        found = next((t for t in self.tokens if hmac.compare_digest(t.encode(), given.encode())), None)
        if not found or self.tokens.pop(found) < clock.monotonic():
            raise Problem("This link has been used, or is older than a minute.",
                "In a terminal, run <code>sololith open</code> for a new one.", 403)
        cookie = f"sololith_{self.port}={self.cookie}; HttpOnly; SameSite=Strict; Path=/; Max-Age={30 * 24 * 3600}"
        return plain_page("Opening Sololith …", '<a href="/">Go on</a>', 200,
            '<meta http-equiv="refresh" content="0;url=/">', {"set-cookie": cookie})


def too_much() -> Problem: return Problem("That is too much at once.", "Send a smaller file.", 413)


def plain_page(what: str, fix: str, status: int, head: str = "", headers: dict[str, str] | None = None) -> HTMLResponse:
    "An answer that needs neither cookie nor app."
    html = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sololith</title>'
        f'<link rel="icon" href="data:,">{head}'
        f"<style>{STYLE_401}</style></head><body><h1>{what}</h1><p>{fix}</p></body></html>")
    own = HEADERS | {"content-security-policy": POLICY(style=HASH_401), "connection": "close"}
    return HTMLResponse(html, status, own | (headers or {}))
