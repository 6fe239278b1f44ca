"""Put everything together and serve it, to this machine only.

    serve(Path("~/sololith"), port=5001)      # until SIGTERM or Ctrl-C

The order at the start: workspace, lock, database (checked), plugins, port, guard; then one line on standard output
with the launch address, then a backup. The lock is held as long as we live: whoever gets it is alone.
"""
import asyncio, contextlib, fcntl, shutil, signal, socket as sockets, sys, traceback, webbrowser
from typing import Any
from collections.abc import Callable, Generator
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from .base import *
from .chat import turns
from .crud import BaseApp
from .events import STALLED, broadcaster, changed, note
from .fields import clip
from .guard import Guard
from .models import current_model, engine, fitting_model, has_engine
from .pipeline import start_run
from .plugins import EXAMPLE, broken_cards, loader
from .runs import run_due
from .store import actor, db
from .ui import bundle, head, into_shell, problem_page, toast

HEADER_SECONDS = 10  # that a client may take to send its headers
beside: list[Callable[[], Any]] = []  # what runs while we serve: coroutines of later chapters, cancelled at the end


# ─── problems, wherever they happen ───

async def answer_problem(req: Request, problem: Any) -> Response:
    "A Problem as a toast for htmx, as JSON for the command line, as a page otherwise."
    details = ""
    if isinstance(problem, HTTPException) and problem.detail == "Not Found":
        problem = Problem("There is no such page.", fix="It may belong to a plugin that is not loaded.", status=404)
    elif isinstance(problem, HTTPException):
        problem = Problem(str(problem.detail).rstrip(".") + ".", status=problem.status_code)
    elif not isinstance(problem, Problem):
        details = "".join(traceback.format_exception(problem))
        problem = Problem("Something went wrong in Sololith, or in a plugin.",
            fix="Nothing was half written. The details say where.", status=500)
    if "authorization" in req.headers:
        return JSONResponse({"problem": problem.what, "fix": problem.fix}, problem.status)
    if problem.status not in (404, 405): note("errors", f"were shown: {clip(problem, 160)}")
    if "hx-request" in req.headers:
        return HTMLResponse(to_xml(toast(str(problem), kind="bad"), indent=False), problem.status,
            {"HX-Reswap": "none"})
    return HTMLResponse(to_xml(into_shell(problem_page(problem.what, problem.fix, details), req), indent=False),
        problem.status)


async def answer_nobody(req: Request, gone: Any) -> Response: return Response(status_code=400)  # it hung up in its body


async def answer_depth(req: Request, e: Any) -> Response:
    "JSON in a body may be nested too deeply. Any other recursion without end is a mistake, and is logged as such."
    if not traceback.extract_tb(e.__traceback__)[-1].filename.endswith("decoder.py"): raise e
    return await answer_problem(req, Problem("This JSON is nested too deeply.", fix="Send less of it."))


for kind in (Problem, HTTPException, 404, 405, Exception): site.add_exception_handler(kind, answer_problem)
site.add_exception_handler(ClientDisconnect, answer_nobody)
site.add_exception_handler(RecursionError, answer_depth)


@rt("/", methods=["GET"])
async def home_get():
    "The front page: every app, and how to make another."
    cards = [A(H2(app.title), P(app.description, cls="muted small"),
        Span(f"{(n := app.table.count()):,} {app.noun if n == 1 else app.title.lower()}", cls="small"),
        href=app.url, cls="card tile") for app in all_apps().values() if isinstance(app, BaseApp)
        and app.section == "apps"]
    cards += [A(H2(made.title), P(made.description, cls="muted small"), Span("pipeline", cls="small"),
        href=f"/{made.name}", cls="card tile") for made in all_pipelines().values()]
    own = Div(H2("Your own app is one file"), P("Save it as ", Code(f"{home.apps}/recipes.py"),
        " and it is here at once."), Pre(EXAMPLE), cls="card")
    return *head("Home"), Div(*broken_cards(), Div(*cards, cls="tiles"), own, cls="stack", id="home", hx_get="/",
        hx_select="#home", hx_trigger=changed("any"), hx_swap="morph:outerHTML")


# ─── the process ───

@contextlib.contextmanager
def owning() -> Generator[bool, None, None]:
    "Hold the workspace's lock; False where another process holds it. The lock ends with the process, however it ends."
    home.make()
    with open(home.run / "lock", "a") as lock:
        try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError: yield False
        else:
            (home.run / "url").unlink(missing_ok=True)
            # what a backup or an upload leaves that was killed
            for half in home.run.glob("tmp*"): shutil.rmtree(half)
            for half in [*home.backups.glob(".*.part"), *home.files.glob(".*.part")]: half.unlink()
            yield True


class SocketProtocol(WebSocketsSansIOProtocol):
    "A WebSocket that gives up on a tab which takes nothing: when it comes back it catches up."
    def pause_writing(self) -> None:
        self.stalled = self.loop.call_later(STALLED, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stalled.cancel()
        super().resume_writing()


class Protocol(HttpToolsProtocol):
    "HTTP that gives up on a client which does not finish its headers, or does not read its events."
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.give(HEADER_SECONDS)

    def give(self, seconds: float) -> None: self.deadline = self.loop.call_later(seconds, self.transport.abort)

    def on_headers_complete(self) -> None:
        self.deadline.cancel()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        self.deadline.cancel()
        self.give(HEADER_SECONDS)
        super().on_message_begin()

    def pause_writing(self) -> None:
        if self.scope.get("path") == "/events": self.give(STALLED)
        super().pause_writing()

    def resume_writing(self) -> None:
        self.deadline.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline.cancel()
        super().connection_lost(exc)


class Serving(uvicorn.Server):
    def handle_exit(self, sig: int, frame: Any) -> None:
        broadcaster.hang_up()  # listeners have no end of their own
        super().handle_exit(sig, frame)


def overheard(loop: Any, context: dict) -> None:
    "What asyncio complains of. When no file is left to open, it would do so thousands of times a second."
    if "out of system resource" not in context["message"]: return loop.default_exception_handler(context)
    if loop.time() - getattr(loop, "said", -60) < 60: return
    loop.said = loop.time()
    print("There are more connections than this process may have open files: new ones have to wait.", file=sys.stderr)


def listening(port: int) -> sockets.socket:
    "A socket on loopback: on `port`, or on a free one where a stranger has it."
    found = sockets.socket()
    found.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
    found.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)  # else each answer on a kept connection is 40 ms late
    try: found.bind(("127.0.0.1", port))
    except OSError: found.bind(("127.0.0.1", 0))
    return found


def serve(port: int = 5001, opens: bool = True, safe: bool = False, gets_model: bool = False) -> int:
    """Serve the workspace `home` until a signal ends us; the exit status. `gets_model`: where there is no model, one that
    fits this machine is fetched in the background."""
    sys.setswitchinterval(0.0002)  # a busy thread (a job, a plugin that loops) gives way ten times sooner than by default
    # uvicorn's handlers stand in front
    for ending in (signal.SIGTERM, signal.SIGINT): signal.signal(ending, lambda *_: None)
    with owning() as is_ours:
        if not is_ours: return 3
        db.open(home.db)
        for app in all_apps().values(): app.table.ready()  # now, so that no GET ever writes
        bundle("app.css")
        sock = listening(port)
        site.state.guard = guard = Guard(site, sock.getsockname()[1])
        config = uvicorn.Config(guard, http=Protocol, ws=SocketProtocol, ws_max_size=16 << 20,
            ws_per_message_deflate=False, lifespan="off", log_level="warning", access_log=False,
            server_header=False, timeout_graceful_shutdown=2, proxy_headers=False, timeout_keep_alive=30)
        server = Serving(config)

        async def main() -> None:
            broadcaster.loop = asyncio.get_running_loop()
            broadcaster.loop.set_exception_handler(overheard)
            loader.start(safe)
            serving = asyncio.create_task(server.serve(sockets=[sock]))
            while not server.started and not serving.done(): await asyncio.sleep(0.005)
            (home.run / "url").write_text(f"http://127.0.0.1:{guard.port}")
            url = guard.launch_url()
            print(f"Sololith is at {url}", flush=True)
            if opens: open_page(url)
            others = [asyncio.create_task(work) for work in (loader.watch(), keep_time(),
                run_in_threadpool(first_backup), *([first_model()] if gets_model else []))]
            theirs = [asyncio.create_task(work()) for work in beside]
            await serving
            for other in [*others, *theirs]: other.cancel()
            ending = [turn.task for turn in turns.values() if turn.task.cancel()]
            await asyncio.gather(*ending, *theirs, return_exceptions=True)
            await engine.end()

        try: asyncio.run(main())
        finally: db.close()
        return 0


async def keep_time() -> None:
    "Start what is due, once a second."
    while True:
        try: await run_in_threadpool(run_due)
        except Exception as e: print(f"The schedules could not be looked at: {e}", file=sys.stderr)
        await asyncio.sleep(1)


async def first_model() -> None:
    actor.set("schedule")
    if not await current_model() and has_engine():
        start_run(all_pipelines()["get_a_model"], {"model": fitting_model().name}, is_unattended=True)


def first_backup() -> None:
    try: db.backup(home.backups)
    except Exception as e: print(f"The backup at the start could not be made: {e}", file=sys.stderr)


def open_page(url: str) -> None:
    """Open a launch address in the browser by way of a file of ours: anyone on this machine could read it from a
    command line. The file also offers 127.0.0.1, for browsers that do not know names under .localhost."""
    plain = url.replace(url.split("/")[2], f"127.0.0.1:{url.split('/')[2].rpartition(':')[2]}")
    file = home.run / "launch.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}">'
        f'<meta name="referrer" content="no-referrer"><title>Sololith</title>'
        f'<p>Opening Sololith … <a href="{plain}">If nothing happens, go this way.</a>')
    webbrowser.open(file.as_uri())


