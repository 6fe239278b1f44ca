"""A model server that says what a test tells it to, over real sockets, in Ollama's protocol and in OpenAI's.

    with ModelServer() as model:
        model.says("Hello **you**.")                      # the next answer; when none is queued, the last one repeats
        model.says(status=429, retry_after=1)             # or a failure: see Answer for all that can go wrong
        model.answers(lambda body: body["messages"][-1]["content"].upper())    # to requests that nothing is queued for
        ... talk to model.url ...
        model.wait(lambda: model.cancelled == 1)          # until something is so
        assert model.chats[0]["body"]["options"]["num_ctx"] == 8192

There is no model behind it: a token is up to four characters of a word, and a request with a schema gets the smallest
thing that fits it. The shapes are those of the documentation (see test_model_server.py); where that says nothing, as on
prompts that are too long, it does what the source of Ollama and llama.cpp does.
"""
import contextlib
import functools
import hashlib
import http.server
import itertools
import json
import math
import re
import select
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

GREETING = "Hello from the scripted model."
DEFAULT_WINDOW, NUM_KEEP = 4096, 4  # Ollama: the window where num_ctx is not given, what of a front is always kept
JSON = "application/json; charset=utf-8"


# ── the script

@dataclass
class Answer:
    """One answer. What goes wrong does so after so many pieces, and at the end where there are fewer: it *stalls* (until
    `release()`), *fails* (says that an error occurred), *dies* (the connection breaks, half a line sent) or sends
    *garbage* and goes on. `split="bytes"` sends the words byte by byte, each in an HTTP chunk and a packet of its own,
    which cuts lines and characters anywhere. `endless` repeats the text up to `limit` bytes."""
    text: str | None = None
    pieces: list | None = None       # instead of a text that is split
    split: str = "words"             # or "chars", "bytes"
    rate: float = 0                  # pieces a second; 0: at once
    bytes_per_second: float = 0
    delay: float = 0                 # seconds before anything is sent, headers included
    thinking: str = ""
    calls: list[tuple[str, dict]] = field(default_factory=list)
    reason: str = "stop"             # or "length"
    stalls_after: int | None = None
    fails_after: int | None = None
    dies_after: int | None = None
    garbage_after: int | None = None
    status: int = 200
    error: str = ""                  # said with a status, or on failing
    retry_after: float | None = None
    endless: bool = False
    limit: int = 100_000_000

    def __post_init__(self) -> None:
        assert self.split in ("words", "chars", "bytes"), self.split
        if self.text is None: self.text = "" if self.calls else "lorem ipsum " * 340 if self.endless else GREETING

    def parts(self) -> Iterator[dict]:
        "The pieces, as arguments for a protocol's `piece`."
        for piece in words(self.thinking): yield {"thinking": piece}
        pieces = self.pieces if self.pieces is not None else self.text if self.split == "chars" else words(self.text)
        if self.endless: pieces = itertools.repeat(self.text, self.limit // len(self.text.encode()))
        for piece in pieces: yield piece if isinstance(piece, dict) else {"content": piece}
        if self.calls: yield {"calls": self.calls}


def words(text: str) -> list[str]:
    "A text split at spaces: each piece has the space before it, and together they are the text."
    return re.findall(r"\s*\S+|\s+$", text)


def together(parts: list[dict]) -> dict:
    "What pieces say, as arguments for a protocol's `whole`."
    text = {kind: "".join(part.get(kind, "") for part in parts) for kind in ("content", "thinking")}
    return text | {"calls": [call for part in parts for call in part.get("calls", ())]}


def cut(text: str) -> list[str]: return re.findall(r"\s?\S{1,4}", text)


@functools.lru_cache(maxsize=1000)
def count(text: str) -> int: return len(cut(text))


def tokens(what: str | dict) -> int:
    "How many tokens a text has, or the prompt that the body of a request makes."
    return count(what) if isinstance(what, str) else len(prompt_of(what))


def prompt_of(body: dict) -> list[str]:
    "The tokens that the model reads: the tools, then the messages in their order, each between two marks."
    prompt = cut(json.dumps(body["tools"])) if body.get("tools") else []
    for message in body.get("messages") or []:
        content = message.get("content") or ""
        if isinstance(content, list): content = " ".join(part.get("text", "") for part in content)
        calls = json.dumps(message["tool_calls"]) if message.get("tool_calls") else ""
        prompt += [f"<{message['role']}>", *cut(content), *cut(calls), "</>"]
    return prompt


def shortened(body: dict, window: int) -> list[str]:
    """What Ollama silently makes of a prompt that does not fit: messages go from the front (but no system message, and
    not the last one); where that is not enough, its first four tokens and its end stay, about half a window in all."""
    messages, prompt = body["messages"], []
    for start in range(len(messages)):
        prompt = prompt_of(body | {"messages": [m for m in messages[:start] if m["role"] == "system"] + messages[start:]})
        if len(prompt) <= window: break
    if len(prompt) < window: return prompt
    room = window - max((window - NUM_KEEP) // 2, 1)
    return prompt[:NUM_KEEP] + prompt[len(prompt) - (room - NUM_KEEP):]


def instance(schema: dict, root: dict | None = None) -> object:
    "A small JSON value that the schema allows: what is required, and no more."
    root = root or schema
    if "$ref" in schema: return instance(functools.reduce(dict.__getitem__, schema["$ref"].split("/")[1:], root), root)
    if "const" in schema: return schema["const"]
    if "enum" in schema: return schema["enum"][0]
    if some := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"): return instance(some[0], root)
    kind = schema.get("type", "object")
    if isinstance(kind, list): kind = kind[0]
    if kind == "object": return {n: instance(schema["properties"][n], root) for n in schema.get("required", [])}
    if kind == "array": return [instance(schema.get("items", {}), root)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"): return schema.get("minimum", min(1, schema.get("maximum", 1)))
    if kind != "string": return {"boolean": True, "null": None}[kind]
    forms = {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00Z", "time": "12:00:00", "email": "a@example.org"}
    return forms.get(schema.get("format", ""), "text".ljust(schema.get("minLength", 0), "t")[:schema.get("maxLength")])


def schema_of(body: dict) -> dict | None:
    "The schema that the answer shall have, in either protocol. Plain JSON mode asks for some object."
    form, response = body.get("format"), body.get("response_format") or {}
    if form == "json" or response.get("type") == "json_object": return {"type": "object"}
    return form or (response["json_schema"].get("schema", {}) if response.get("type") == "json_schema" else None)


PROBE = b"You act by calling tools."


# ── the two protocols

def line(data: dict) -> bytes: return json.dumps(data, ensure_ascii=False).encode() + b"\n"
def now() -> str: return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Ollama:
    "A line of JSON for each piece; the last has the counts. Durations are nanoseconds, 1 ms a token that was not cached."
    kind, streams, event, garbage = "application/x-ndjson", True, staticmethod(line), b'{"model": "scripted", "mess\xff]\n'

    def __init__(self, body: dict, prompt: int, cached: int):
        self.model, self.prompt, self.cached, self.began = body["model"], prompt, cached, time.monotonic_ns()

    def message(self, content: str = "", thinking: str = "", calls=(), done: bool = False, **more) -> dict:
        calls = [{"id": f"call_{i}", "function": {"index": i, "name": name, "arguments": arguments}}
                 for i, (name, arguments) in enumerate(calls)]
        message = {"role": "assistant", "content": content, "thinking": thinking, "tool_calls": calls}
        message = {key: value for key, value in message.items() if value or key == "content"}
        return {"model": self.model, "created_at": now(), "message": message, "done": done, **more}

    def first(self) -> bytes: return b""
    def piece(self, **part) -> bytes: return line(self.message(**part))
    def last(self, reason: str, written: int) -> bytes: return line(self.whole(reason, written))

    def whole(self, reason: str, written: int, **said) -> dict:
        return self.message(**said, done=True, done_reason=reason, total_duration=time.monotonic_ns() - self.began,
                            load_duration=1_000_000, prompt_eval_count=self.prompt, eval_count=written,
                            prompt_eval_duration=max(1, self.prompt - self.cached) * 1_000_000,
                            eval_duration=max(1, written) * 1_000_000)

    @staticmethod
    def error(status: int, message: str, code: str | None = None, param: str | None = None) -> dict:
        return {"error": message}


class Pull(Ollama):
    "A line for each step of a download; its pieces are such lines already."
    def __init__(self, done: Callable[[], None]): self.done = done
    def piece(self, **part) -> bytes: return line(part)

    def last(self, reason: str, written: int) -> bytes:
        return b"".join(map(line, ({"status": "verifying sha256 digest"}, {"status": "writing manifest"}, self.whole())))

    def whole(self, *counts, **said) -> dict:
        self.done()
        return {"status": "success"}


class OpenAI:
    "Server-sent events: the role, each piece, the reason of the end, the usage if it was asked for, [DONE]."
    kind, streams, garbage = "text/event-stream", False, b'data: {"id": "chatcmpl-1", "cho\xff]\n\n'

    def __init__(self, body: dict, prompt: int, cached: int):
        self.model, self.prompt, self.cached, self.has_called = body["model"], prompt, cached, False
        self.id, self.created = f"chatcmpl-{time.monotonic_ns()}", int(time.time())
        self.with_usage = (body.get("stream_options") or {}).get("include_usage")

    def object(self, kind: str, choices: list[dict], **more) -> dict:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model,
                "choices": [{"index": 0, "logprobs": None, **choice} for choice in choices], **more}

    @staticmethod
    def event(data: dict) -> bytes: return b"data: " + line(data) + b"\n"

    def chunk(self, delta: dict, reason: str | None = None) -> bytes:
        usage = {"usage": None} if self.with_usage else {}
        return self.event(self.object("chat.completion.chunk", [{"delta": delta, "finish_reason": reason}], **usage))

    def first(self) -> bytes: return self.chunk({"role": "assistant", "content": ""})

    def piece(self, content: str | None = None, thinking: str = "", calls=()) -> bytes:
        deltas: list[dict] = [{"reasoning_content": thinking}] if thinking else []  # llama.cpp's; OpenAI shows none
        if content is not None: deltas.append({"content": content})
        for i, call in enumerate(self.calls(calls)):  # a call comes with its name, then its arguments in pieces
            deltas.append({"tool_calls": [{"index": i} | call | {"function": call["function"] | {"arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": i, "function": {"arguments": some}}]}
                       for some in words(call["function"]["arguments"])]
        self.has_called = self.has_called or bool(calls)
        return b"".join(map(self.chunk, deltas))

    def last(self, reason: str, written: int) -> bytes:
        usage = self.event(self.object("chat.completion.chunk", [], usage=self.usage(written))) if self.with_usage else b""
        return self.chunk({}, "tool_calls" if self.has_called else reason) + usage + b"data: [DONE]\n\n"

    def whole(self, reason: str, written: int, content: str = "", thinking: str = "", calls=()) -> dict:
        message = {"role": "assistant", "content": content or None if calls else content, "refusal": None}
        if thinking: message["reasoning_content"] = thinking
        if calls: message["tool_calls"] = self.calls(calls)
        choice = {"message": message, "finish_reason": "tool_calls" if calls else reason}
        return self.object("chat.completion", [choice], usage=self.usage(written))

    def usage(self, written: int) -> dict:
        return {"prompt_tokens": self.prompt, "completion_tokens": written, "total_tokens": self.prompt + written,
                "prompt_tokens_details": {"cached_tokens": self.cached}}

    @staticmethod
    def calls(calls) -> list[dict]:
        return [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for i, (name, arguments) in enumerate(calls)]

    @staticmethod
    def error(status: int, message: str, code: str | None = None, param: str | None = None) -> dict:
        kind = "requests" if status == 429 else "invalid_request_error" if status < 500 else "server_error"
        code = code or {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}


# ── one connection

class Broken(Exception):
    "The connection shall break here: the script wants it, or the server closes."


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, timeout = "HTTP/1.1", True, 60
    server: "Listener"

    def log_message(self, *args) -> None: pass

    def respond(self) -> None:
        model, path = self.server.model, urlsplit(self.path).path
        self.model, self.protocol = model, OpenAI if path.startswith("/v1/") else Ollama
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try: body = json.loads(raw or b"null")
        except ValueError as error: body = str(error)
        request = {"method": self.command, "path": path, "headers": self.headers, "body": body, "raw": raw}
        if PROBE not in request["raw"]:  # how a model calls tools is found out by itself, and counts for nothing here
            with model.change(): model.requests.append(request)
        if self.protocol is OpenAI and model.key and self.headers.get("Authorization") != f"Bearer {model.key}":
            return self.refuse(401, "Incorrect API key provided.")
        match f"{self.command} {path}":
            case "GET /": return self.send(200, b"Ollama is running", "text/plain; charset=utf-8")
            case "GET /api/version": return self.send(200, {"version": "0.32.9"})
            case "GET /api/tags": return self.send(200, {"models": [self.card(name) for name in model.models]})
            case "GET /v1/models":
                made = {"object": "model", "created": 1_760_000_000, "owned_by": "library"}
                return self.send(200, {"object": "list", "data": [{"id": name} | made for name in model.models]})
            case "POST /api/chat" | "POST /v1/chat/completions": act = self.chat
            case "POST /api/show": act = self.show
            case "POST /api/pull": act = self.pull
            case "DELETE /api/delete": act = self.delete
            case _: return self.send(404, b"404 page not found", "text/plain")
        if not isinstance(body, dict): return self.refuse(400, body or "missing request body")
        if not (name := body.get("model") or body.get("name")): return self.refuse(400, "model is required")
        if (known := model.known(name)) is None and act != self.pull:
            if self.protocol is Ollama: return self.refuse(404, f"model '{name}' not found")
            return self.refuse(404, f"The model `{name}` does not exist or you do not have access to it.", "model_not_found")
        act(known or name, body, request)

    do_GET = do_POST = do_DELETE = respond

    def card(self, name: str) -> dict:
        full = name if ":" in name else f"{name}:latest"
        details = {"parent_model": "", "format": "gguf", "family": "scripted", "families": ["scripted"],
                   "parameter_size": "1.5B", "quantization_level": "Q4_K_M"}
        return {"name": full, "model": full, "modified_at": now(), "size": 1_000_000_000,
                "digest": hashlib.sha256(full.encode()).hexdigest(), "details": details}

    def show(self, name: str, body: dict, request: dict) -> None:
        info = {"general.architecture": "scripted", "scripted.context_length": self.model.context}
        self.send(200, {"modelfile": f"FROM {name}", "parameters": "", "template": "{{ .Prompt }}", "modified_at": now(),
                        "details": self.card(name)["details"], "model_info": info, "capabilities": self.model.capabilities})

    def delete(self, name: str, body: dict, request: dict) -> None:
        with self.model.change(): self.model.models.remove(name)
        self.send(200, b"")

    def pull(self, name: str, body: dict, request: dict) -> None:
        def done() -> None:
            with self.model.change(): self.model.models += [name] if self.model.known(name) is None else []

        unknown = Answer(fails_after=1, error="pull model manifest: file does not exist")
        size, steps, answer = self.model.library.get(name, (0, 0, unknown))
        digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        layer = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}  # no "completed" while that is 0
        progress = [layer, *(layer | {"completed": size * i // steps} for i in range(1, steps + 1))] if steps else []
        self.play(replace(answer, pieces=[{"status": "pulling manifest"}, *progress]), Pull(done), body)

    def chat(self, name: str, body: dict, request: dict) -> None:
        native, prompt, window = self.protocol is Ollama, prompt_of(body), self.model.context
        if not body.get("messages"):
            if not native: return self.refuse(400, "'messages' must not be empty.", None, "messages")
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            return self.send(200, Ollama(body, 0, 0).message(done=True, done_reason=reason))
        if native:
            window = min((body.get("options") or {}).get("num_ctx") or DEFAULT_WINDOW, window)
            if body.get("truncate") is not False: prompt = shortened(body, window)
        if (n := len(prompt)) >= window and native:  # llama.cpp's whole error, which Ollama hands on as a string
            said = f"request ({n} tokens) exceeds the available context size ({window} tokens), try increasing it"
            return self.refuse(400, json.dumps({"error": {"code": 400, "message": said, "type": "exceed_context_size_error",
                                                          "n_prompt_tokens": n, "n_ctx": window}}))
        if n > window:
            said = f"This model's maximum context length is {window} tokens. However, your messages resulted in {n} tokens."
            return self.refuse(400, said, "context_length_exceeded", "messages")
        answer = self.model.next_answer(body)
        if answer.status != 200: return self.refuse(answer.status, answer.error, retry_after=answer.retry_after)
        with self.model.change():
            pairs, self.model.last_prompt = zip(self.model.last_prompt, prompt, strict=False), prompt
            cached = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            request |= {"prompt_tokens": n, "cached_tokens": cached}
        self.play(answer, self.protocol(body, n, cached), body)

    # ── an answer, as the script wants it

    def play(self, answer: Answer, talk: Ollama | OpenAI, body: dict) -> None:
        "Send the answer. Its very end waits until `running` is counted down: who has read all of it sees that."
        self.answer, self.kind, self.has_begun = answer, talk.kind, False
        self.stream = bool(body.get("stream", talk.streams))
        try:
            with self.model.sending(): end = self.tell(answer, talk)
            self.wfile.write(end)
        except (OSError, Broken): self.close_connection = True

    def tell(self, answer: Answer, talk: Ollama | OpenAI) -> bytes:
        releases, written, parts = self.model.releases, 0, []
        self.pause(answer.delay)
        began, held = time.monotonic(), talk.first()
        for i, part in enumerate(itertools.chain(answer.parts(), [None])):
            due = {what for what in ("stalls", "fails", "dies", "garbage")
                   if (n := getattr(answer, f"{what}_after")) is not None and (i == n or part is None and i < n)}
            self.pause(began + i / answer.rate - time.monotonic() if answer.rate and part else 0)
            if "stalls" in due: self.pause(until=lambda: self.model.releases > releases)
            if "fails" in due: return self.fail(talk, answer.error or "an error was encountered while running the model")
            if self.stream:
                data = held + (talk.piece(**part) if part else talk.last(answer.reason, written))
                if "dies" in due: data = data[:len(data) // 2]
                self.write((talk.garbage if "garbage" in due else b"") + data)
                held = b""
            elif "garbage" in due: return self.reply(200, talk.garbage)
            elif "dies" in due: self.reply(200, line(talk.whole(answer.reason, written, **together(parts))), half=True)
            if "dies" in due: raise Broken
            if not part: break
            written += count(part.get("content", "")) + count(part.get("thinking", ""))
            if not self.stream: parts.append(part)
        return b"0\r\n\r\n" if self.stream else self.reply(200, line(talk.whole(answer.reason, written, **together(parts))))

    def fail(self, talk: Ollama | OpenAI, message: str) -> bytes:
        "In a stream that has begun the error is a line of it, otherwise a status."
        error = talk.error(500, message)
        if not self.has_begun: return self.reply(500, line(error))
        self.write(talk.event(error))
        return b"0\r\n\r\n"

    def reply(self, status: int, data: bytes, half: bool = False) -> bytes:
        self.stream = False
        self.begin(status, JSON, len(data))
        self.write(data[:len(data) // 2 if half else -1])
        return data[-1:]

    def pause(self, seconds: float = math.inf, until: Callable[[], bool] = lambda: False) -> None:
        "Let time pass, and see within it, at once, that the client has gone."
        end, poll = time.monotonic() + seconds, select.poll()
        poll.register(self.connection, select.POLLIN)
        while True:
            left = min(end - time.monotonic(), 0.02)
            if poll.poll(max(0, left) * 1000) and not self.connection.recv(1, socket.MSG_PEEK): raise ConnectionResetError
            if self.model.is_closed: raise Broken
            if left <= 0 or until(): return

    def write(self, data: bytes) -> None:
        "A part of the answer, at once or byte by byte. The headers go with the first part and not before, as Ollama's do."
        if not self.has_begun: self.begin(200, self.kind)
        if not data: return  # an empty chunk would end the stream
        is_slow = self.answer.split == "bytes" or self.answer.bytes_per_second
        for some in (data[i:i + 1] for i in range(len(data))) if is_slow else [data]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(some), some) if self.stream else some)
            if self.answer.bytes_per_second: self.pause(1 / self.answer.bytes_per_second)

    def begin(self, status: int, kind: str, length: int | None = None, retry_after: float | None = None) -> None:
        self.has_begun = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        if retry_after is not None: self.send_header("Retry-After", str(retry_after))
        self.end_headers()

    def send(self, status: int, data: dict | bytes, kind: str = JSON, **headers) -> None:
        data = data if isinstance(data, bytes) else line(data)
        self.begin(status, kind, len(data), **headers)
        self.wfile.write(data)

    def refuse(self, status: int, message: str, code: str | None = None, param: str | None = None, **headers) -> None:
        error = self.protocol.error(status, message or http.HTTPStatus(status).phrase, code, param)
        self.send(status, error, **headers)


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close, request_queue_size = True, False, 128
    model: "ModelServer"

    def server_bind(self) -> None: socketserver.TCPServer.server_bind(self)  # without asking a resolver who we are

    def handle_error(self, request, client_address) -> None:
        if not isinstance(error := sys.exception(), OSError): self.model.errors.append(error)

    def process_request(self, request, client_address) -> None:
        with self.model.change(): self.model.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        super().shutdown_request(request)
        with self.model.change(): self.model.connections.discard(request)


# ── the server

class ModelServer:
    "Both protocols on one port of 127.0.0.1, until `close` or the end of its `with`. The key is for /v1: Ollama has none."
    def __init__(self, models: Iterable[str] = ("scripted",), key: str = "", context: int = 8192, port: int = 0,
                 script: Iterable[str | Answer] = (), capabilities: Iterable[str] = ("completion", "tools")):
        self.is_native = False  # whether a probe is answered from the script, as everything else is
        self.models, self.key, self.context, self.capabilities = list(models), key, context, list(capabilities)
        self.queue = deque(Answer(one) if isinstance(one, str) else one for one in script)
        self.latest, self.function = Answer(), None
        self.library: dict[str, tuple[int, int, Answer]] = {}  # what can be pulled: its size, in so many steps
        self.requests: list[dict] = []  # method, path, headers, body, raw; of chats also prompt_tokens, cached_tokens
        self.cancelled = self.running = self.releases = 0
        self.last_prompt: list[str] = []
        self.errors: list[BaseException] = []  # what the script itself did wrong; raised at the end
        self.connections: set[socket.socket] = set()
        self.is_closed, self.changed = False, threading.Condition()
        self.listener = Listener(("127.0.0.1", port), Handler)
        self.listener.model, self.port = self, self.listener.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.listener.serve_forever, args=(0.02,), daemon=True).start()

    # ── what it shall say

    def says(self, text: str | None = None, **options) -> None:
        "Queue an answer: for the next chat that is not refused for what it asks."
        self.queue.append(Answer(text, **options))

    def answers(self, function: Callable[[dict], str | Answer | None]) -> None:
        "Make answers from the bodies of requests that nothing is queued for; None leaves one to the rest of the rules."
        self.function = function

    def offers(self, name: str, size: int = 1_000_000, steps: int = 4, **options) -> None:
        "A model that can be pulled; options are those of an Answer whose pieces are the lines of progress."
        self.library[name] = (size, steps, Answer(**options))

    def release(self) -> None:
        "Let every answer go on that has begun and stalls, or will."
        with self.change(): self.releases += 1

    def forget(self) -> None:
        "Let what was begun come to its end; then nothing is scripted, and nothing was asked."
        self.release()
        self.wait(lambda: not self.running)
        self.queue.clear()
        self.requests.clear()
        self.function, self.latest, self.cancelled = None, Answer(), 0

    def next_answer(self, body: dict) -> Answer:
        if PROBE.decode() in body["messages"][0]["content"] and not self.is_native: return Answer("I cannot.")
        with self.changed:
            if self.queue:
                self.latest = self.queue.popleft()
                return self.latest
        said = self.function(body) if self.function else None
        schema = schema_of(body)
        if said is None and schema is not None and "reply" not in json.dumps(schema): said = json.dumps(instance(schema))
        return self.latest if said is None else Answer(said) if isinstance(said, str) else said

    # ── what happened

    @property
    def chats(self) -> list[dict]: return [r for r in self.requests if r["path"].endswith(("/chat", "/chat/completions"))]

    def known(self, name: str) -> str | None:
        return next((m for m in self.models if m.removesuffix(":latest") == name.removesuffix(":latest")), None)

    def wait(self, condition: Callable[[], object], limit: float = 10) -> None:
        "Until the condition holds, which is looked at whenever something has happened."
        with self.changed: held = self.changed.wait_for(condition, limit)
        assert held, f"Not in {limit} s; {len(self.requests)} requests, {self.running} running, {self.cancelled} cancelled."

    def wait_for_request(self, n: int = 1, limit: float = 10) -> dict:
        "The n-th request, of whatever kind, once it has come."
        self.wait(lambda: len(self.requests) >= n, limit)
        return self.requests[n - 1]

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        with self.changed:
            yield
            self.changed.notify_all()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        with self.change(): self.running += 1
        gone = 0
        try: yield
        except OSError:
            gone = int(not self.is_closed)
            raise
        finally:
            with self.change(): self.running, self.cancelled = self.running - 1, self.cancelled + gone

    # ── its life

    def close(self) -> None:
        "Let go of the port and break every connection."
        if self.is_closed: return
        self.is_closed = True
        self.listener.shutdown()
        self.listener.server_close()
        with self.changed:
            for connection in self.connections:
                with contextlib.suppress(OSError): connection.shutdown(socket.SHUT_RDWR)
            self.changed.wait_for(lambda: not self.connections, 5)

    def __enter__(self) -> "ModelServer": return self

    def __exit__(self, kind, error, traceback) -> None:
        self.close()
        if self.errors and error is None: raise self.errors[0]
