"""From outside: other programs use our tools by the Model Context Protocol (MCP), and we use theirs.

    {"command": "sololith", "args": ["mcp"]}               # what an MCP client starts
    http://127.0.0.1:5001/mcp   Authorization: Bearer …    # or what it asks, with the secret in .run/secret
    outside_servers.insert(name="git", command="uvx mcp-server-git")    # its tools are called git_…

We give every tool; records, runs and the journal as resources; pipelines as prompts. Each call is a card in a
conversation. Where it asks, the client's person is asked over there, if that can be (elicitation), else in our page.
`sololith mcp` carries lines to the server that owns the workspace; where none runs, it is that server.

We take the tools of the servers on the page Outside tools: each is started with next to no environment, once it is
needed, and what it says is data from outside, and clipped. The official SDK is imported once it is needed.
Not covered: OAuth; a server's resources and prompts.
"""
import asyncio, contextlib, contextvars, hmac, importlib, json, logging, os, secrets, shlex, signal, sys, threading
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from collections.abc import Callable
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from . import __version__
from .base import *
from .chat import outside_call
from .cli import elsewhere, verb
from .crud import BaseApp
from .events import TOLD, broadcaster
from .fields import KINDS, Help, Json, Pattern, Url, clip, number, sayable
from .models import is_here
from .pipeline import jobs, pipeline_of, runs
from .runs import run_text
from .server import beside, serve
from .store import db, dumps
from .tools import Done, Tool
from .values import rows_of

ANSWER_SECONDS = 300      # that a client may take to answer what it is asked
CONNECT_SECONDS, CALL_SECONDS = 30, 110  # that a server may take to be there, and for a call
PAUSES = (1, 5, 30, 120)  # seconds between the tries to reach a server; after that, when it is called next
MOST_OF_THEM, MOST_TEXT = 100, 20_000    # tools of a server, and characters of what it answers or of a run
ABOUT_US = "The apps and pipelines of one person. Every change is in the journal; the tool undo takes it back."
NOWHERE: Any = dict.fromkeys(("http", "https", "ftp", "file", "data"))  # where a schema may not be looked up
FORM = {"type": "object", "required": ["approve"], "properties": {"approve": {"type": "boolean", "title": "Approve"}}}


def sdk(module: str) -> Any:
    "A module of the SDK. Raises Problem where it is not installed."
    try: return importlib.import_module(module)
    except ImportError as e:
        raise Problem("The MCP SDK is not installed.", fix="Run: pip install 'sololith[mcp]'", status=501) from e


# ─── what we give: answers as they go over the wire ───

def tools_told(params: Any) -> dict:
    return {"tools": [{"name": t.name, "description": t.about, "inputSchema": t.schema(), "annotations": {"readOnlyHint":
        t.reads, "destructiveHint": t.asks, "openWorldHint": t.is_outward}} for t in all_tools().values()]}


def readable() -> dict[str, BaseApp]:
    return {n: app for n, app in all_apps().items() if isinstance(app, BaseApp) and app is not outside_servers}


def resources_told(params: Any) -> dict:
    found = [("journal", "The journal", "The newest 50 changes"), *((n, a.title, a.description)
        for n, a in readable().items()), *((f"runs/{r['id']}", r["title"], f"A run of {r['pipeline']}: {r['status']}")
        for r in runs.rows(order_by="id desc", limit=20))]
    return {"resources": [{"uri": f"sololith://{at}", "name": at, "title": title, "description": about}
        for at, title, about in found]}


def templates_told(params: Any) -> dict:
    found = {"{app}": "The newest 200 records of an app", "{app}/{id}": "A record", "runs/{id}": "A run, as text"}
    return {"resourceTemplates": [{"uriTemplate": f"sololith://{at}", "name": at, "description": about}
        for at, about in found.items()]}


def resource_told(params: Any) -> dict:
    "The journal, an app's records, one of them, or a run as text. Raises Problem where nothing is at the address."
    name, _, key = params.uri.removeprefix("sololith://").partition("/")
    app, kind = readable().get(name), "application/json"
    if name == "runs" and key: text, kind = run_text(number(key), MOST_TEXT), "text/plain"
    else:
        if name == "journal": found: Any = [{n: e[n] for n in TOLD} for e in db.entries("part_of IS NULL", limit=50)]
        elif app and key: found = app.values_of(app[number(key)])
        elif app: found = [app.values_of(r) for r in app.here()(order_by="id desc", limit=200)]
        else:
            raise Problem(f"There is nothing at {clip(params.uri)}.", fix=did_you_mean(name, ["journal", *readable()]))
        text = json.dumps(found, ensure_ascii=False, indent=1, default=lambda v: str(getattr(v, "value", v)))
    return {"contents": [{"uri": params.uri, "mimeType": kind, "text": sayable(text)}]}


def prompts_told(params: Any) -> dict:
    return {"prompts": [{"name": made.name, "title": made.title, "description": made.description, "arguments": [
        {"name": n, "description": f.help or KINDS[f.kind].noun, "required": f.is_required}
        for n, f in made.asked.items()]} for made in all_pipelines().values()]}


def prompt_told(params: Any) -> dict:
    "What a model is told that is to drive a pipeline."
    made, name = pipeline_of({"pipeline": params.name}), params.name
    steps = "\n".join(f"- {s.name}: {s.instruction}{' A person approves it.' * s.asks}" for s in made.steps.values())
    return {"messages": [{"role": "user", "content": text_block(f"Run the pipeline “{made.title}”: {made.description}\n\n"
        f"Its steps:\n{steps}\n\nCall the tool {name}_run with {dumps(params.arguments or {})}; what is left out has its "
        f"default. Where the run waits, answer with {name}_fill; correct a step with {name}_revise; look with "
        f"{name}_status. Then say what came out.")}]}


def text_block(text: str) -> dict: return {"type": "text", "text": sayable(text)}


class Call:
    "A call of a tool, over as many requests as its questions need: a newer client comes again, with the answer."
    waiting: dict[str, "Call"] = {}  # by what the client is to come back with

    def __init__(self, ctx: Any, params: Any):
        self.name, self.args, self.ctx, self.before, self.at = params.name, params.arguments or {}, ctx, {*jobs}, 0.0
        self.questions, self.answer = asyncio.Queue[str](), asyncio.Queue[Any]()
        client = ctx.session.client_params
        self.task = asyncio.create_task(outside_call(client.client_info.name if client else "A program", self.name,
            self.args, self.ask))

    async def ask(self, question: str) -> bool | None:
        "What the person at the client says. None where it cannot be asked there."
        session, can = self.ctx.session, self.ctx.session.client_capabilities
        if not can or not can.elicitation:
            await session.report_progress(self.at, message="It waits for a click in Sololith.")
            return None
        if session.can_send_request:
            try: found = await session.elicit_form(question, FORM, self.ctx.request_id)
            except sdk("mcp").MCPError: return None
        else:
            self.questions.put_nowait(question)
            found = await self.answer.get()
        return getattr(found, "action", "") == "accept" and (found.content or {}).get("approve") is True

    async def go_on(self, ctx: Any) -> dict:
        "What a request is answered with: the result, or a question."
        self.ctx, asked = ctx, asyncio.ensure_future(self.questions.get())
        try:
            while not (await asyncio.wait({self.task, asked}, timeout=.2, return_when=asyncio.FIRST_COMPLETED))[0]:
                await self.tell()
            if self.task.done(): return self.result()
            key = secrets.token_urlsafe(16)
            self.waiting[key] = self
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.give_up, key)
            form = {"mode": "form", "message": asked.result(), "requestedSchema": FORM}
            return {"resultType": "input_required", "requestState": key,
                "inputRequests": {"approve": {"method": "elicitation/create", "params": form}}}
        except asyncio.CancelledError:
            self.task.cancel()
            raise
        finally: asked.cancel()

    def give_up(self, key: str) -> None:
        if self.waiting.pop(key, None): self.task.cancel()

    async def tell(self) -> None:
        "How far the run is that the call began, or goes on with."
        job = next((job for i, job in [*jobs.items()] if self.name.startswith(f"{job.pipeline.name}_")
            and (i not in self.before or i == self.args.get("run"))), None)
        if not job or job.step not in (steps := [*job.pipeline.steps]): return
        at, far = steps.index(job.step) + (job.at / job.total if job.total else 0), f"{job.step}: {job.at:,g} {job.what}"
        if at > self.at: await self.ctx.session.report_progress(at, len(steps), far.strip())
        self.at = max(self.at, at)

    def result(self) -> dict:
        try: done = self.task.result()
        except Problem as e: return {"content": [text_block(str(e))], "isError": True}
        return {"content": [text_block(done.text)], "structuredContent": data_of(done)}


def data_of(done: Done) -> dict | None:
    "What a call gave as JSON, or else the journal entries of what it changed; None where it gave text."
    if done.value is None: return {"changed": [{n: e[n] for n in TOLD} for e in done.entries]}
    value = done.value if (table := rows_of(done.value)) is None else table.dicts()
    try: found = None if isinstance(value, str) else json.loads(dumps(value))
    except (TypeError, ValueError): return None
    return found if isinstance(found, dict | None) else {"result": found}


async def call_told(ctx: Any, params: Any) -> dict:
    if not params.request_state: return await Call(ctx, params).go_on(ctx)
    call = Call.waiting.get(params.request_state)
    if not call or (call.name, call.args) != (params.name, params.arguments or {}):  # it was asked about another
        raise Problem("This question is not open any more.", fix="Call again.")
    del Call.waiting[params.request_state]
    call.answer.put_nowait((params.input_responses or {}).get("approve"))
    return await call.go_on(ctx)


def made_server(listening: Any, greet: Callable) -> Any:
    "Our MCP server."
    mcp, low = sdk("mcp"), sdk("mcp.server")

    def on(work: Callable) -> Callable:
        async def answer(ctx: Any, params: Any) -> dict:
            try: found = await (work(ctx, params) if work is call_told else run_in_threadpool(work, params))
            except Problem as e: raise mcp.MCPError(mcp.types.INVALID_PARAMS, str(e)) from e
            return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} | found
        return answer
    made = low.Server("sololith", version=__version__, title="Sololith", instructions=ABOUT_US, on_list_tools=on(tools_told),
        on_call_tool=on(call_told), on_list_resources=on(resources_told), on_list_resource_templates=on(templates_told),
        on_read_resource=on(resource_told), on_list_prompts=on(prompts_told), on_get_prompt=on(prompt_told),
        on_subscriptions_listen=listening, get_tool_input_schema=lambda name: None)
    made.create_initialization_options = partial(made.create_initialization_options,
        low.NotificationOptions(True, True, True))
    made.add_notification_handler("notifications/initialized", mcp.types.NotificationParams, greet)
    return made


def must_have_secret(conn: HTTPConnection) -> None:
    if not hmac.compare_digest(conn.headers.get("authorization", "").encode(), f"Bearer {site.state.guard.secret}".encode()):
        raise Problem("This is for other programs.", fix="They need the secret.", status=403)


class Outlet(asyncio.Queue):
    """Where other programs come in, from the first on until all are hung up on. It is one of the broadcaster's listeners:
    what these are told makes it tell of new tools, at once."""
    opened: asyncio.Future | None = None

    async def manager(self) -> Any:
        if not self.opened:
            self.opened = asyncio.get_running_loop().create_future()
            self.task = asyncio.create_task(self.work(self.opened), context=contextvars.Context())
        return await asyncio.shield(self.opened)

    async def work(self, opened: asyncio.Future) -> None:
        self.ended, self.sessions = asyncio.Event(), deque[Any](maxlen=64)
        async def greet(ctx: Any, params: Any) -> None: self.sessions.append(ctx.session)
        try:
            http = await run_in_threadpool(sdk, "mcp.server.streamable_http_manager")
            self.news = sdk("mcp.server.subscriptions")
            self.bus = self.news.InMemorySubscriptionBus()
            listening = self.news.ListenHandler(self.bus)
            async with (manager := http.StreamableHTTPSessionManager(made_server(listening, greet))).run():
                broadcaster.listeners.add(self)
                opened.set_result(manager)
                await self.ended.wait()
        except Problem as e: opened.set_exception(e)
        finally: self.opened = None

    def put_nowait(self, item: dict) -> None:
        if not item: self.ended.set()
        elif "plugins" in item.get("apps", ()): self.telling = asyncio.create_task(self.tell())

    async def tell(self) -> None:
        for kind in ("tool", "prompt", "resource"):
            await self.bus.publish(getattr(self.news, f"{kind.title()}sListChanged")())
            sends = [getattr(session, f"send_{kind}_list_changed")() for session in self.sessions]
            await asyncio.gather(*sends, return_exceptions=True)

    async def until_ended(self, *works: Any) -> None:
        "Do several things until the first of them is done, or all are hung up on."
        tasks = [asyncio.ensure_future(work) for work in (*works, self.ended.wait())]
        try: await asyncio.wait({tasks[0], tasks[-1]}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks: task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not tasks[0].cancelled(): tasks[0].result()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        must_have_secret(HTTPConnection(scope))
        await self.until_ended((await self.manager()).handle_request(scope, receive, send))

    async def socket(self, ws: WebSocket) -> None:
        "The same over one socket, a message a text; an empty one says that there are no more."
        try: must_have_secret(ws)
        except Problem: return await ws.close(1008)
        server, anyio = (await self.manager()).app, sdk("anyio")
        (to_us, heard), (saying, to_them) = (anyio.create_memory_object_stream(0) for _ in range(2))
        await ws.accept()

        async def pump() -> None:
            async for m in to_them: await ws.send_text(m.message.model_dump_json(by_alias=True, exclude_unset=True))

        async def feed() -> None:
            async with to_us:
                while text := await ws.receive_text():
                    try: found = sdk("mcp.types").jsonrpc_message_adapter.validate_json(text, by_name=False)
                    except ValueError as e: await to_us.send(e)
                    else: await to_us.send(sdk("mcp.shared.message").SessionMessage(found))
        await self.until_ended(server.run(heard, saying, server.create_initialization_options()), pump(), feed())
        with contextlib.suppress(RuntimeError, WebSocketDisconnect): await ws.close()  # it may have gone first


outlet = Outlet()
system.web.router.routes += [Route("/mcp", outlet, methods=["GET", "POST", "DELETE"]), WebSocketRoute("/mcp", outlet.socket)]
system.web.router.routes[-1].methods = ["ws"]  # FastHTML compares them


# ─── over standard input and output ───

@verb("mcp.check", shared=True)
def mcp_check() -> None: sdk("mcp.server")


@verb("mcp")
def mcp_verb(*, port: int = 5001) -> int:
    """Serve the tools to the MCP client that started this, over standard input and output. Where no server runs on the
    workspace, this is one, with its pages at --port, until the client ends."""
    wire = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing else may get between the messages

    def attached() -> None:
        try: carry(wire)
        finally: os.kill(os.getpid(), signal.SIGTERM)
    async def attach() -> None: threading.Thread(target=attached, daemon=True).start()
    beside.append(attach)
    if (status := serve(port, opens=False)) != 3: return status
    for ending in (signal.SIGTERM, signal.SIGINT): signal.signal(ending, signal.SIG_DFL)
    return carry(wire)


def carry(wire: Any) -> int:
    "Carry lines from standard input to the server that runs, and what it says to `wire`, until one of them ends."
    from websockets.exceptions import ConnectionClosed, WebSocketException
    from websockets.sync.client import connect

    def feed(ws: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            for line in open(0, "rb", closefd=False):  # not sys.stdin, which this thread would hold at the end
                if text := line.decode(errors="replace").strip(): ws.send(text)
            ws.send("")
    try:
        elsewhere("mcp.check", {})
        host, secret = (home.run / "url").read_text().removeprefix("http://"), (home.run / "secret").read_text().strip()
        headers = {"Authorization": f"Bearer {secret}", "Origin": f"http://{host}"}
        with connect(f"ws://{host}/mcp", additional_headers=headers, proxy=None, max_size=None) as ws:
            threading.Thread(target=feed, args=(ws,), daemon=True).start()
            for message in ws:
                wire.write(f"{message}\n".encode())
                wire.flush()
    except BrokenPipeError: return 0
    except (Problem, OSError, WebSocketException) as e:
        print(f"sololith: {e if isinstance(e, Problem) else 'The running Sololith has ended.'}", file=sys.stderr)
        return 1
    return 0


# ─── what we take ───

@dataclass
class OutsideServer:
    "A program that brings tools (an MCP server), started here by a command, or found at an address."
    name: Annotated[str, Pattern(r"[a-z][a-z0-9_]{0,20}"), Help("Small letters: its tools are called NAME_….")]
    command: Annotated[str, Help("It runs as you, in files/. For example: uvx mcp-server-git")] = ""
    url: Annotated[Url | None, Help("Instead of a command: http://127.0.0.1:8000/mcp")] = None
    is_on: bool = True
    asks: Annotated[bool, Help("Each call waits for your approval.")] = True
    status: str = ""
    tools: Json = None


class OutsideServersApp(BaseApp):
    "No tools are made of it: what it holds is run."
    record, section, readonly = OutsideServer, "system", ("status", "tools")

    def columns(self) -> list[str]: return ["name", "command", "url", "is_on", "asks", "status"]
    def make_tools(self) -> None: pass

    def register_routes(self, rt: Callable) -> None:
        self.title, self.noun = "Outside tools", "server"
        super().register_routes(rt)

    def prepare_insert(self, data: dict) -> None:
        if bool((data.get("command") or "").strip()) == bool(data.get("url")):
            raise Problem("It is not said where the server is.", fix="Give a command, or an address.", status=422)

    def prepare_update(self, record: Any, data: dict) -> None: self.prepare_insert(self.values_of(record) | data)


outside_servers = OutsideServersApp()
db.fleeting["outside_servers"] = {"status", "tools"}


@dataclass
class OutsideTool(Tool):
    "A tool of a server: its arguments are checked by the schema that it came with."
    arguments: dict = field(default_factory=dict)

    def schema(self) -> dict: return self.arguments

    def signature(self) -> str:
        needed = self.arguments.get("required", ())
        told = [f"{n}{'' if n in needed else '?'}: {json_kind(s)}" for n, s in self.arguments["properties"].items()]
        return clip(f"{self.name}({', '.join(told)})", 400)

    def typed(self, args: Any) -> dict[str, Any]:
        import fastjsonschema
        if not isinstance(args, dict): raise Problem(f"The arguments of {self.name} are no object.", fix=self.signature())
        for n, value in args.items():  # the shell gives text
            if isinstance(value, str) and not re.search("any|string", json_kind(self.arguments["properties"].get(n, {}))):
                with contextlib.suppress(ValueError): args = args | {n: json.loads(value)}
        try: check = fastjsonschema.compile(self.arguments, NOWHERE, use_default=False)
        except Exception: return args  # whatever a strange schema makes of it: the server checks for itself
        try: check(args)
        except fastjsonschema.JsonSchemaValueException as e:
            raise Problem(f"{clip(e.message, 200)}.", fix=f"It is {self.signature()}.", status=422) from None
        return args


def json_kind(schema: dict) -> str:
    found = schema.get("type", "any")
    return clip("|".join(map(str, found if isinstance(found, list) else [found])))


def usable(schema: Any) -> dict:
    "A server's schema as that of an object, as far as it is one, and not huge."
    found = schema if isinstance(schema, dict) and len(json.dumps(schema)) < MOST_TEXT else {}
    parts, needed = found.get("properties"), found.get("required")
    return {n: s for n, s in found.items() if n not in ("$schema", "$id")} | {"type": "object",
        "properties": {n: s for n, s in parts.items() if isinstance(s, dict)} if isinstance(parts, dict) else {},
        "required": [n for n in needed if isinstance(n, str)] if isinstance(needed, list) else []}


class Partner:
    """A server, its tools among ours, and the connection with it, which one task opens, keeps and closes. The list of its
    tools is kept, so they are there before it is."""
    def __init__(self, row: dict):
        self.row, self.name, self.plugin, self.gone = row, row["name"], Plugin(f"outside {row['id']}"), asyncio.Event()
        self.task: asyncio.Task | None = None
        self.show(json.loads(row["tools"] or "[]"))

    def show(self, found: list[dict]) -> None:
        "Put its tools among ours, in place of those it had."
        self.plugin.tools, plugins[self.plugin.name] = {}, self.plugin
        for t in found:
            name = re.sub(r"\W+", "_", f"{self.name}_{t['name']}".lower(), flags=re.A)[:64]
            if name in all_tools(): continue
            self.plugin.tools[name] = OutsideTool(name, partial(self.call, t["name"]), {}, clip(t["about"], 200),
                asks=bool(self.row["asks"]), is_outward=True, owner=f"outside {self.name}", arguments=usable(t["schema"]))
        broadcaster.publish({"apps": ["plugins"]})

    def tell(self, status: str, tools: str | None = None) -> None:
        db.execute("UPDATE outside_servers SET status=?, tools=ifnull(?, tools) WHERE id=?", [status, tools, self.row["id"]])
        broadcaster.publish({"apps": ["outside_servers"]})

    def wake(self) -> None:
        "Begin to connect, unless that is done, or being done."
        if self.task and not self.task.done() and not self.gone.is_set(): return
        self.ready, self.gone = asyncio.get_running_loop().create_future(), asyncio.Event()
        self.task = asyncio.create_task(self.keep(self.gone), context=contextvars.Context())

    async def keep(self, gone: asyncio.Event) -> Any:
        for pause in (*PAUSES, 0):
            if self.ready.done(): self.ready = asyncio.get_running_loop().create_future()
            self.errors = deque[str](maxlen=3)
            try:
                async with contextlib.AsyncExitStack() as stack:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        client, at, found = await stack.enter_async_context(await self.client(stack)), "", list[dict]()
                        while at is not None and len(found) < MOST_OF_THEM:
                            page = await client.list_tools(cursor=at or None)
                            at = page.next_cursor
                            found += [dict(name=t.name, about=t.description or "", schema=t.input_schema)
                                for t in page.tools]
                    if gone.is_set(): return
                    self.show(found[:MOST_OF_THEM])
                    self.tell(f"{len(self.plugin.tools)} tools", dumps(found[:MOST_OF_THEM]))
                    self.ready.set_result(client)
                    await gone.wait()
            except Exception as e:  # whatever comes of a program that is not ours
                if gone.is_set(): return
                while isinstance(e, BaseExceptionGroup): e = e.exceptions[0]
                why = " ".join([str(e) or type(e).__name__, *self.errors])
                problem = Problem(f"{self.name} does not answer: {clip(why, 300)}",
                    fix="Look at its command or address on the page Outside tools.", status=502)
                self.ready.set_exception(problem)
                self.ready.exception()  # nobody has to look at it
                self.tell(problem.what)
            with contextlib.suppress(TimeoutError): return await asyncio.wait_for(gone.wait(), pause)

    async def client(self, stack: contextlib.AsyncExitStack) -> Any:
        mcp, url = await run_in_threadpool(sdk, "mcp"), self.row["url"]
        logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it would log whatever a server says
        if url:
            import httpx2
            http = httpx2.AsyncClient(timeout=httpx2.Timeout(CALL_SECONDS, connect=10), trust_env=not is_here(url))
            target = sdk("mcp.client.streamable_http").streamable_http_client(url,
                http_client=await stack.enter_async_context(http))
        else:
            heard, errors = os.pipe()
            threading.Thread(target=self.overhear, args=(heard, self.errors), daemon=True).start()
            command, *args = shlex.split(self.row["command"])
            target = mcp.stdio_client(mcp.StdioServerParameters(command=command, args=args, cwd=home.files,
                encoding_error_handler="replace"), errlog=stack.enter_context(open(errors, "w")))
        return mcp.Client(target, client_info=mcp.Implementation(name="sololith", version=__version__), cache=None,
            read_timeout_seconds=CALL_SECONDS)

    def overhear(self, heard: int, errors: deque[str]) -> None:
        "Keep the last that a server says on standard error."
        with open(heard, errors="replace") as lines:
            while line := lines.readline(1000): errors.append(line.strip())

    async def call(self, name: str, /, **args: Any) -> str:
        self.wake()
        try:
            async with asyncio.timeout(CONNECT_SECONDS): client = await asyncio.shield(self.ready)
            done = await client.call_tool(name, args)
        except Problem: raise
        except Exception as e:  # whatever comes of a program that is not ours
            if getattr(e, "code", -32000) in (-32000, -32001): self.gone.set()  # closed, or too slow: it is connected anew
            raise Problem(f"{self.name} failed: {clip(e, 200) or type(e).__name__}.", fix="Try again.", status=502) from e
        text = "\n".join(getattr(b, "text", f"[{b.type}]") for b in done.content) or dumps(done.structured_content)
        if done.is_error: raise Problem(f"{self.name} says: {clip(text, 500)}", status=502)
        if len(text) > MOST_TEXT: text = f"{text[:MOST_TEXT]}\n… of {len(text):,} characters; the rest was left out."
        return sayable(text)

    def end(self) -> list[asyncio.Task]:
        "Take its tools away, and close the connection."
        plugins.pop(self.plugin.name, None)
        broadcaster.publish({"apps": ["plugins"]})
        self.gone.set()
        return [self.task] if self.task else []


partners: dict[int, Partner] = {}


def sync_servers(connects: bool = False) -> None:
    "Let there be a partner for each server that is on, as it is described now."
    told = lambda row: [row[n] for n in ("name", "command", "url", "asks")]
    rows = {row["id"]: row for row in outside_servers.ready().rows("is_on")}
    for i, partner in [*partners.items()]:
        if i not in rows or told(rows[i]) != told(partner.row): partners.pop(i).end()
    for i in rows.keys() - partners.keys():
        partners[i] = Partner(rows[i] | ({"tools": None} if connects else {}))
        if connects: partners[i].wake()


def heed_servers(entries: list[dict]) -> None:
    if not any(e["app"] == "outside_servers" for e in entries): return
    if broadcaster.loop and broadcaster.loop.is_running(): broadcaster.loop.call_soon_threadsafe(sync_servers, True)
    else: sync_servers()


db.openers.append(sync_servers)
db.listeners.append(heed_servers)


async def keep_partners() -> None:
    "While we serve: reach the servers whose tools are not known yet, and part from all at the end."
    for partner in partners.values():
        if not partner.plugin.tools: partner.wake()
    try: await asyncio.Event().wait()
    finally:
        if ending := [task for partner in partners.values() for task in partner.end()]: await asyncio.wait(ending, timeout=5)


beside.append(keep_partners)
