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
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs
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
HEADERS = {b"x-content-type-options": b"nosniff", b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin", b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store", b"content-security-policy": POLICY(style="").encode()}


class Refused(Exception):
    def __init__(self, status: int, what: str, fix: str): self.status, self.what, self.fix = status, what, fix


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
        "How many bytes this request's body may have. Raises Refused unless the request may go on."
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]: headers.setdefault(name.lower(), []).append(value)
        def get(name: bytes) -> str: return headers[name][0].decode("latin-1") if name in headers else ""
        host, origin, site = get(b"host"), get(b"origin"), get(b"sec-fetch-site")
        if len(headers.get(b"host", ())) != 1 or host not in (self.name, f"127.0.0.1:{self.port}"):
            raise Refused(421, "This address is not Sololith's.",
                "Run <code>sololith open</code>: it opens the right one.")
        # int() would refuse its number, too
        if len(scope["path"]) > 4000: raise Refused(414, "This address is too long.", "")
        if any(len(headers.get(n, ())) > 1 for n in (b"origin", b"sec-fetch-site", b"authorization")):
            raise Refused(403, "A header came twice.", "")
        bearer = get(b"authorization").removeprefix("Bearer ")
        if not is_launch:
            if site not in ("", "same-origin", "none") or origin and origin != f"http://{host}":
                raise Refused(403, "Another page tried to reach Sololith.",
                    "If that was you, open Sololith yourself: <code>sololith open</code>.")
            is_socket = scope["type"] == "websocket"
            if not origin and (is_socket or scope["method"] not in SAFE and not site and not bearer):
                raise Refused(403, "This request does not say which page it comes from.", "")
            if not (hmac.compare_digest(bearer.encode(), self.secret.encode())
                    or hmac.compare_digest(self.cookie_of(headers).encode(), self.cookie.encode())):
                raise Refused(401, "Sololith does not know this browser yet.",
                    "In a terminal, run <code>sololith open</code>. It opens a page that lets this browser in.")
        cap = MAX_UPLOAD if get(b"content-type").startswith("multipart/") else MAX_FORM
        length = get(b"content-length")
        if length and (not length.isdecimal() or int(length) > cap):
            raise Refused(413, "That is too much at once.", "Send a smaller file.")
        return cap

    def cookie_of(self, headers: dict[bytes, list[bytes]]) -> str:
        try: jar = SimpleCookie("; ".join(v.decode("latin-1") for v in headers.get(b"cookie", ())))
        except CookieError: return ""
        return jar[f"sololith_{self.port}"].value if f"sololith_{self.port}" in jar else ""

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan": return await self.app(scope, receive, send)
        is_socket = scope["type"] == "websocket"
        is_launch = not is_socket and scope["path"] == "/launch" and scope["method"] in SAFE
        try:
            cap = self.check(scope, is_launch)
            if is_launch: return await self.launch(scope, send)
        except Refused as e:
            if is_socket: return await send({"type": "websocket.close", "code": 1008})  # before accept: 403
            return await answer_plainly(send, e.status, e.what, e.fix)
        if is_socket: return await self.app(scope, receive, send)
        while db.depth and scope["method"] not in SAFE: await asyncio.sleep(0.01)  # a long write has the turn
        taken, here = 0, set()
        touched.set(here)

        async def capped() -> dict:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > cap: raise Problem("That is too much at once.", fix="Send a smaller file.", status=413)
            return message

        async def guarded(message: dict) -> None:
            if message["type"] == "http.response.start":
                sent, own = {name for name, _ in message["headers"]}, dict(HEADERS)
                if here:
                    news = {"id": max(i for i, _ in here), "apps": sorted({a for _, a in here})}
                    own[b"sololith-changed"] = json.dumps(news).encode()
                message["headers"] = [*message["headers"], *((n, v) for n, v in own.items() if n not in sent)]
            await send(message)

        await self.app(scope, capped, guarded)

    async def launch(self, scope: dict, send: Any) -> None:
        "Take a launch token for the cookie, with a page that goes on to / (a redirect would lose a Strict cookie)."
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        found = next((t for t in self.tokens if hmac.compare_digest(t.encode(), given.encode())), None)
        if not found or self.tokens.pop(found) < clock.monotonic():
            raise Refused(403, "This link has been used, or is older than a minute.",
                "In a terminal, run <code>sololith open</code> for a new one.")
        cookie = f"sololith_{self.port}={self.cookie}; HttpOnly; SameSite=Strict; Path=/; Max-Age={30 * 24 * 3600}"
        await answer_plainly(send, 200, "Opening Sololith …", '<a href="/">Go on</a>',
            '<meta http-equiv="refresh" content="0;url=/">', [(b"set-cookie", cookie.encode())])


async def answer_plainly(send: Any, status: int, what: str, fix: str, head: str = "", headers: Any = ()) -> None:
    "An answer that needs neither cookie nor app."
    html = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sololith</title>'
        f'<link rel="icon" href="data:,">{head}'
        f"<style>{STYLE_401}</style></head><body><h1>{what}</h1><p>{fix}</p></body></html>")
    own = HEADERS | {b"content-security-policy": POLICY(style=HASH_401).encode(),
        b"content-type": b"text/html; charset=utf-8", b"connection": b"close"}
    await send({"type": "http.response.start", "status": status, "headers": [*own.items(), *headers]})
    await send({"type": "http.response.body", "body": html.encode()})
