"""What happens, told at once to everyone who listens: one WebSocket a tab, and SSE for anyone outside.

    broadcaster.publish({"apps": ["plugins"]})            # from any thread: an event of the moment
    curl -N -H "Authorization: Bearer …" …/events         # SSE: one event for each journal entry, resumable

Changes need no publishing: each commit's journal entries are sent by themselves, with the entry's id as the event's
id. So whoever reconnects says the last id seen (SSE: Last-Event-ID, a tab: {"do": "since", "id": 7}) and misses
nothing. A listener that does not read is dropped when its queue is full, and catches up when it comes back.

A tab learns only which apps have changed, and asks again for the parts of its page that show them
(`hx_trigger=changed("recipes")`). It does not receive HTML over the socket.
"""
import asyncio, contextlib, json
from collections import deque
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from collections.abc import AsyncIterator, Awaitable, Callable
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from .base import Problem, did_you_mean, system
from .store import db

# what is no change, for the model: after which journal entry, when, of what kind, what
happened: deque[tuple[int, datetime, str, str]] = deque(maxlen=200)
QUEUE = 256          # events that may wait for one listener
STALLED = 15         # seconds after which a listener whose connection takes nothing is dropped (by server.py)
BEAT = 15            # seconds between signs of life on a quiet connection
MESSAGE = 1_000_000  # characters of one message from a tab


class SSEBroadcaster:
    "Sends events to every listener's bounded queue, in order, from any thread."
    def __init__(self) -> None:
        self.listeners: set[asyncio.Queue] = set()
        self.loop: asyncio.AbstractEventLoop | None = None  # the server's; set when it starts

    def publish(self, event: dict) -> None:
        if self.loop and not self.loop.is_closed(): self.loop.call_soon_threadsafe(self.send, event)

    def send(self, event: dict) -> None:
        for queue in list(self.listeners):
            try: queue.put_nowait(event)
            except asyncio.QueueFull: self.listeners.discard(queue)

    def hang_up(self) -> None:
        "End every connection: whoever may still come in comes back by itself."
        if self.loop: self.loop.call_soon_threadsafe(lambda: (self.send({}), self.listeners.clear()))

    async def listen(self) -> AsyncIterator[dict]:
        "Events as they come, {} as a sign of life; ends when this listener was too slow, or all are hung up on."
        queue: asyncio.Queue = asyncio.Queue(QUEUE)
        self.listeners.add(queue)
        try:
            while queue in self.listeners or not queue.empty():
                try: yield await asyncio.wait_for(queue.get(), BEAT)
                except TimeoutError: yield {}
        finally: self.listeners.discard(queue)


broadcaster = SSEBroadcaster()
touched: ContextVar[set[tuple[int, str]] | None] = ContextVar("touched", default=None)  # (entry, app) of this request
on_message: dict[str, Callable[[WebSocket, dict], Awaitable[None]]] = {}  # what a tab may say: {"do": name, …}


TOLD = ("id", "at", "actor", "app", "verb", "record_id", "summary")  # of an entry; what it changed may be large


def committed(entries: list[dict]) -> None:
    "One event for a commit: its last id, the apps it touched, and its entries (a group's parts stand for by its head)."
    if (here := touched.get()) is not None: here.update((e["id"], e["app"]) for e in entries)
    broadcaster.publish({"id": entries[-1]["id"], "apps": sorted({e["app"] for e in entries}),
        "entries": [{name: e[name] for name in TOLD} for e in entries if e["part_of"] is None]})


db.listeners.append(committed)


def note(kind: str, text: str) -> None:
    "Note what the person did or saw that is no change: a page opened, an error. It is forgotten when we end."
    if not happened or happened[-1][2:] != (kind, text):
        happened.append((db.last_id(), datetime.now().astimezone(), kind, text))


def changed(*apps: str) -> str:
    "The hx_trigger of a part of a page that shows these apps: it asks for itself again when one of them changes."
    return ", ".join(f"changed-{app} from:body delay:30ms" for app in apps)


async def socket(ws: WebSocket) -> None:
    "A tab's WebSocket: events go out; messages come in and are answered with an error where they make no sense."
    await ws.accept()
    async def pump() -> None:
        with contextlib.suppress(WebSocketDisconnect):
            async for event in broadcaster.listen():
                await ws.send_text(json.dumps({key: event[key] for key in event if key != "entries"}))
            await ws.close(1013)
    pumping = asyncio.create_task(pump())
    try:
        while (message := await ws.receive())["type"] == "websocket.receive":
            try: await answer(ws, message.get("text"))
            except Problem as e: await ws.send_text(json.dumps({"problem": str(e)}))
    finally: pumping.cancel()


async def answer(ws: WebSocket, text: str | None) -> None:
    if text is None: raise Problem("This socket takes text.", fix="Send JSON.")
    if len(text) > MESSAGE: raise Problem("The message is too long.", fix=f"Send at most {MESSAGE:,} characters.")
    try: message = json.loads(text)
    except (ValueError, RecursionError): raise Problem("The message is not JSON.", fix='Send {"do": "…"}.') from None
    if not isinstance(message, dict) or not isinstance(message.get("do"), str):
        raise Problem("The message has no “do”.", fix='Send {"do": "…"}.')
    if not (handler := on_message.get(message["do"])):
        raise Problem(f"Nothing is called {message['do'][:40]}.", fix=did_you_mean(message["do"][:40], on_message))
    await handler(ws, message)


async def since(ws: WebSocket, message: dict) -> None:
    "Catch up: which apps have changed since this id."
    if not isinstance(seen := message.get("id"), int) or not 0 <= seen < 2**63:
        raise Problem("“id” is missing.", fix="Give the last id you saw.")
    apps = [row["app"] for row in db.query("SELECT DISTINCT app FROM journal WHERE id > ?", [seen])]
    await ws.send_text(json.dumps({"id": db.last_id(), "apps": apps}))


on_message["since"] = since


class EventStream:
    "The SSE response: what was missed since Last-Event-ID, then what happens."
    def __init__(self, seen: int | None): self.seen = seen

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.create_task(self.send_all(send))
        try:
            while (await receive())["type"] != "http.disconnect" and not sending.done(): pass
        finally: sending.cancel()

    async def send_all(self, send: Any) -> None:
        async def out(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        seen = self.seen if self.seen is not None else db.last_id()
        live = broadcaster.listen()
        first = asyncio.ensure_future(anext(live))
        await asyncio.sleep(0)  # listening has begun before the past is read: nothing falls between
        await out(": Sololith\n\n")
        missed = f"SELECT {','.join(TOLD)} FROM journal WHERE id > ? AND part_of IS NULL ORDER BY id LIMIT 200"
        while past := db.query(missed, [seen]):
            await out("".join(map(as_sse, past)))
            seen = past[-1]["id"]
            await asyncio.sleep(0)  # a long past is told in turn with all else that there is to do
        event: dict | None = await first
        while event is not None:
            new = [e for e in event.get("entries", ()) if e["id"] > seen]
            await out("".join(map(as_sse, new)) or ("" if "entries" in event else as_sse(event) if event
                else ": still here\n\n"))
            event = await anext(live, None)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def as_sse(event: dict) -> str:
    name, number = ("change", f"id: {event['id']}\n") if "verb" in event else ("event", "")
    return f"{number}event: {name}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"


async def event_stream(req: Request) -> EventStream:
    seen = req.headers.get("last-event-id", "")
    return EventStream(min(int(seen), 2**62) if seen.isdecimal() and len(seen) < 20 else None)


system.web.router.routes += [WebSocketRoute("/ws", socket), Route("/events", event_stream, methods=["GET"])]
# FastHTML compares them
for plain in system.web.router.routes[-2:]: plain.methods = getattr(plain, "methods", None) or ["ws"]
