"""The scripted model server keeps to the protocols, and fails in every way it is told to. With real sockets.

The shapes below are written after these, as of the commits named, and compared key by key and type by type:
- Ollama's docs/api.md, docs/api/errors.mdx and docs/openapi.yaml, github.com/ollama/ollama at fb30760 of 2026-08-21
  (docs/api.md last changed in 948f693 of 2026-08-11). These do not know `truncate` for chats: api/types.go and
  server/prompt.go (which messages go), llm/llama_server.go (where a prompt is cut, which error comes) at the same commit.
- OpenAI's openapi.yaml, github.com/openai/openai-openapi at f85dbe2 of 2026-08-21: CreateChatCompletionResponse,
  CreateChatCompletionStreamResponse, CompletionUsage, ListModelsResponse, ErrorResponse.
"""
import concurrent.futures
import contextlib
import http.client
import json
import socket
import time

import pytest
from model_server import GREETING, Answer, ModelServer, instance, shortened, tokens, words

pytestmark = pytest.mark.package_only  # there is nothing of Sololith in it

NATIVE, V1 = "/api/chat", "/v1/chat/completions"
both = pytest.mark.parametrize("path", [NATIVE, V1])
HELLO = [{"role": "user", "content": "Hello there."}]

# ── the shapes: a key that ends in "?" may be missing, a list holds things of one shape

DETAILS = {"parent_model": str, "format": str, "family": str, "families": [str], "parameter_size": str, "quantization_level": str}
CALL = {"id?": str, "function": {"index?": int, "name": str, "arguments": dict}}
PIECE = {"model": str, "created_at": str, "message": {"role": str, "content": str, "thinking?": str, "tool_calls?": [CALL]},
         "done": bool}
COUNTS = {"total_duration": int, "load_duration": int, "prompt_eval_count": int, "prompt_eval_duration": int,
          "eval_count": int, "eval_duration": int}
LAST = PIECE | {"done_reason": str} | COUNTS
CARD = {"name": str, "model": str, "modified_at": str, "size": int, "digest": str, "details": DETAILS}
SHOWN = {"modelfile": str, "parameters": str, "template": str, "details": DETAILS, "model_info": dict, "capabilities": [str],
         "modified_at?": str, "license?": str}
PROGRESS = {"status": str, "digest?": str, "total?": int, "completed?": int}
NATIVE_ERROR = {"error": str}

OPENAI_CALL = {"id": str, "type": str, "function": {"name": str, "arguments": str}}
USAGE = {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int, "prompt_tokens_details?": {"cached_tokens": int}}
COMPLETION = {"id": str, "object": str, "created": int, "model": str, "usage?": USAGE, "choices": [
    {"index": int, "logprobs": None, "finish_reason": str,
     "message": {"role": str, "content": (str, None), "refusal": None, "tool_calls?": [OPENAI_CALL]}}]}
DELTA_CALL = {"index": int, "id?": str, "type?": str, "function?": {"name?": str, "arguments?": str}}
CHUNK = {"id": str, "object": str, "created": int, "model": str, "usage?": (USAGE, None), "choices": [
    {"index": int, "logprobs": None, "finish_reason": (str, None),
     "delta": {"role?": str, "content?": str, "tool_calls?": [DELTA_CALL]}}]}
MODELS = {"object": str, "data": [{"id": str, "object": str, "created": int, "owned_by": str}]}
OPENAI_ERROR = {"error": {"message": str, "type": str, "param": (str, None), "code": (str, None)}}


def misfit(value, shape, where: str = "it") -> str:
    "What is wrong with a value, in words; nothing, if it has the shape."
    if isinstance(shape, tuple): return "" if any(not misfit(value, one) for one in shape) else f"{where} is {value!r}"
    if shape is None: return "" if value is None else f"{where} is {value!r}, not null"
    if isinstance(shape, type): return "" if type(value) is shape else f"{where} is {value!r}, no {shape.__name__}"
    if type(value) is not type(shape): return f"{where} is {value!r}"
    if isinstance(shape, list): return next(filter(None, (misfit(v, shape[0], f"{where}[{i}]") for i, v in enumerate(value))), "")
    required, allowed = {k for k in shape if k[-1] != "?"}, {k.rstrip("?"): k for k in shape}
    if lost := required - value.keys(): return f"{where} lacks {lost}"
    if more := value.keys() - allowed.keys(): return f"{where} has {more}"
    return next(filter(None, (misfit(v, shape[allowed[k]], f"{where}.{k}") for k, v in value.items())), "")


def test_a_misfit_is_found():
    assert not misfit({"a": 1, "b": [{"c": None}]}, {"a": int, "b": [{"c": (str, None)}], "d?": str})
    for wrong in ({"a": "1"}, {"a": True}, {}, {"a": 1, "e": 1}, {"a": 1, "d": 2}): assert misfit(wrong, {"a": int, "d?": str}), wrong


# ── a client: http.client and no more

@pytest.fixture
def model():
    with ModelServer() as model: yield model


def send(model: ModelServer, /, path: str = NATIVE, method: str = "POST", headers: dict | None = None, **body) -> http.client.HTTPResponse:
    "Ask, and have the answer's headers. A chat has a model and a message unless it says otherwise."
    if path in (NATIVE, V1): body = {"model": "scripted", "messages": HELLO, "stream": True} | body
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    connection.request(method, path, json.dumps(body) if body else None, headers or {})
    response = connection.getresponse()
    response.hang_up = lambda: (response.close(), connection.close())
    return response


def data(row: bytes) -> dict: return json.loads(row.removeprefix(b"data: "))
def rows(response) -> list[bytes]: return [row for row in response.read().split(b"\n") if row]
def get(model: ModelServer, /, path: str = NATIVE, **body) -> dict: return json.loads(send(model, path, **body).read())


def stream(model: ModelServer, /, path: str = NATIVE, **body) -> list[dict]:
    "The objects of a stream that goes well to its end."
    response = send(model, path, **body)
    assert response.status == 200, response.read()
    found = rows(response)
    if path == V1: assert found.pop() == b"data: [DONE]"
    return list(map(data, found))


def text_of(item: dict) -> str:
    if "message" in item: return item["message"]["content"]
    return item["choices"][0]["delta"].get("content") or "" if item["choices"] else ""


def said(model: ModelServer, /, path: str = NATIVE, **body) -> str: return "".join(map(text_of, stream(model, path, **body)))
def whole(model: ModelServer, /, path: str = NATIVE, **body) -> str:
    answer = get(model, path, stream=False, **body)
    return (answer if path == NATIVE else answer["choices"][0])["message"]["content"]


def is_gone(response) -> bool:
    "Whether the connection breaks before the answer's end."
    try: response.read()
    except (http.client.IncompleteRead, ConnectionError): return True
    return False


# ── Ollama

def test_version_tags_and_show_have_ollamas_shapes(model):
    assert not misfit(get(model, "/api/version", method="GET"), {"version": str})
    tags = get(model, "/api/tags", method="GET")
    assert not misfit(tags, {"models": [CARD]}) and [card["name"] for card in tags["models"]] == ["scripted:latest"]
    for name in ("scripted", "scripted:latest"):
        shown = get(model, "/api/show", model=name)
        assert not misfit(shown, SHOWN)
        assert shown["model_info"] == {"general.architecture": "scripted", "scripted.context_length": 8192}
    assert send(model, "/", method="GET").read() == b"Ollama is running"


def test_a_chat_streams_lines_in_ollamas_shape(model):
    model.says("Hello **you**.\n\nÆ ☃ ")
    response = send(model)
    assert response.getheader("Content-Type") == "application/x-ndjson" and response.getheader("Transfer-Encoding") == "chunked"
    *pieces, last = map(data, rows(response))
    assert not any(misfit(piece, PIECE) for piece in pieces) and not misfit(last, LAST)
    assert [text_of(piece) for piece in pieces] == ["Hello", " **you**.", "\n\nÆ", " ☃", " "]
    assert not any(piece["done"] for piece in pieces) and last["done"] and last["done_reason"] == "stop"
    assert text_of(last) == "" and last["model"] == "scripted" and last["message"]["role"] == "assistant"
    assert last["eval_count"] == tokens("Hello **you**.\n\nÆ ☃ ") and last["prompt_eval_count"] == tokens({"messages": HELLO})


def test_a_chat_that_is_not_streamed_is_one_object(model):
    model.says("Hello **you**.", reason="length")
    response = send(model, stream=False)
    answer = json.loads(response.read())
    assert response.getheader("Content-Type") == "application/json; charset=utf-8" and not misfit(answer, LAST)
    assert answer["message"]["content"] == "Hello **you**." and answer["done"] and answer["done_reason"] == "length"


def test_ollama_streams_unless_told_not_to_and_openai_only_if_told_to(model):
    body = json.dumps({"model": "scripted", "messages": HELLO})
    for path, kind in (NATIVE, "application/x-ndjson"), (V1, "application/json; charset=utf-8"):
        connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
        connection.request("POST", path, body)
        assert connection.getresponse().getheader("Content-Type") == kind


def test_a_chat_without_messages_loads_and_unloads(model):
    model.says("not this")
    for more, reason in ({}, "load"), ({"keep_alive": 0}, "unload"):
        answer = get(model, NATIVE, messages=[], **more)
        assert not misfit(answer, PIECE | {"done_reason": str}) and (answer["done"], answer["done_reason"]) == (True, reason)
    assert said(model) == "not this"


def test_calls_and_thinking_come_in_ollamas_shape(model):
    model.says("So.", thinking="Let me see.", calls=[("tasks_insert", {"title": "Milk"}), ("tasks_list", {})])
    *pieces, last = stream(model)
    assert not any(misfit(piece, PIECE) for piece in pieces) and not misfit(last, LAST)
    assert "".join(piece["message"].get("thinking", "") for piece in pieces) == "Let me see." and text_of(pieces[3]) == "So."
    functions = [call["function"] for call in pieces[-1]["message"]["tool_calls"]]
    assert functions == [{"index": 0, "name": "tasks_insert", "arguments": {"title": "Milk"}},
                         {"index": 1, "name": "tasks_list", "arguments": {}}]
    message = get(model, stream=False)["message"]
    assert message["thinking"] == "Let me see." and message["content"] == "So." and len(message["tool_calls"]) == 2


def test_ollama_says_what_is_wrong_with_a_request(model):
    unknown = "model 'nobody' not found"
    for path, method, body, status, error in [
            (NATIVE, "POST", {"model": "nobody"}, 404, unknown), ("/api/show", "POST", {"model": "nobody"}, 404, unknown),
            ("/api/delete", "DELETE", {"model": "nobody"}, 404, unknown), (NATIVE, "POST", {"model": ""}, 400, "model is required"),
            ("/api/show", "POST", {}, 400, "missing request body")]:
        response = send(model, path, method, **body)
        answer = json.loads(response.read())
        assert response.status == status and not misfit(answer, NATIVE_ERROR) and answer["error"] == error
    assert send(model, "/api/nothing").status == 404 and send(model, NATIVE, "GET").status == 404
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    connection.request("POST", NATIVE, b'{"model": ')
    assert connection.getresponse().status == 400 and model.requests[-1]["raw"] == b'{"model": '


def test_a_pull_shows_its_progress_and_brings_the_model(model):
    model.offers("tiny", size=1000, steps=2)
    progress = stream(model, "/api/pull", model="tiny")
    assert not any(misfit(step, PROGRESS) for step in progress)
    status, digest = progress[1]["status"], progress[1]["digest"]
    assert digest.startswith("sha256:") and status == f"pulling {digest[7:19]}"
    layer = {"status": status, "digest": digest, "total": 1000}
    assert progress == [{"status": "pulling manifest"}, layer, layer | {"completed": 500}, layer | {"completed": 1000},
                        {"status": "verifying sha256 digest"}, {"status": "writing manifest"}, {"status": "success"}]
    assert model.models == ["scripted", "tiny"] and said(model, model="tiny") == GREETING
    assert send(model, "/api/delete", "DELETE", model="tiny").status == 200 and model.models == ["scripted"]
    assert get(model, "/api/pull", model="tiny", stream=False) == {"status": "success"} and "tiny" in model.models


def test_a_pull_of_what_is_not_there_fails_in_its_stream(model):
    error = {"error": "pull model manifest: file does not exist"}
    assert stream(model, "/api/pull", model="nobody") == [{"status": "pulling manifest"}, error]
    response = send(model, "/api/pull", model="nobody", stream=False)
    assert response.status == 500 and json.loads(response.read()) == error and model.models == ["scripted"]


def test_a_pull_that_is_hung_up_on_brings_nothing(model):
    model.offers("tiny", steps=10, stalls_after=3)
    response = send(model, "/api/pull", model="tiny")
    assert [data(response.readline()).get("completed") for _ in range(3)] == [None, None, 100_000]
    response.hang_up()
    model.wait(lambda: model.cancelled == 1 and not model.running)
    assert model.models == ["scripted"]


# ── OpenAI

def test_models_have_openais_shape(model):
    models = get(model, "/v1/models", method="GET")
    assert not misfit(models, MODELS) and models["object"] == "list" and models["data"][0]["id"] == "scripted"


def test_a_completion_streams_events_in_openais_order(model):
    model.says("Hello **you**.")
    response = send(model, V1)
    assert response.getheader("Content-Type") == "text/event-stream"
    events = response.read().split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""] and all(event.startswith(b"data: ") for event in events[:-1])
    chunks = [data(event) for event in events[:-2]]
    assert not any(misfit(chunk, CHUNK) for chunk in chunks) and "usage" not in chunks[0]
    assert [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in chunks] == [
        ({"role": "assistant", "content": ""}, None), ({"content": "Hello"}, None), ({"content": " **you**."}, None), ({}, "stop")]
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"


def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for(model):
    model.says("Hello **you**.")
    *chunks, last = stream(model, V1, stream_options={"include_usage": True})
    assert not misfit(last, CHUNK) and last["choices"] == [] and all(chunk["usage"] is None for chunk in chunks)
    prompt, written = tokens({"messages": HELLO}), tokens("Hello **you**.")
    assert last["usage"] == {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
                             "prompt_tokens_details": {"cached_tokens": 0}}


def test_a_completion_that_is_not_streamed_is_one_object(model):
    model.says("Hello **you**.", reason="length")
    completion = get(model, V1, stream=False)
    assert not misfit(completion, COMPLETION) and completion["object"] == "chat.completion"
    choice = completion["choices"][0]
    assert choice["message"]["content"] == "Hello **you**." and choice["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == tokens("Hello **you**.")


def test_calls_come_in_openais_shape_with_their_arguments_in_pieces(model):
    model.says(calls=[("tasks_insert", {"title": "Milk", "amount": 2}), ("tasks_list", {})])
    chunks = stream(model, V1)
    assert not any(misfit(chunk, CHUNK) for chunk in chunks) and chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    calls: dict[int, list[str]] = {}
    for call in (call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])):
        calls.setdefault(call["index"], [call["function"].get("name"), ""])[1] += call["function"]["arguments"]
    assert {i: (name, json.loads(arguments)) for i, (name, arguments) in calls.items()} == {
        0: ("tasks_insert", {"title": "Milk", "amount": 2}), 1: ("tasks_list", {})}
    assert sum("tool_calls" in chunk["choices"][0]["delta"] for chunk in chunks) > 4
    completion = get(model, V1, stream=False)
    assert not misfit(completion, COMPLETION) and completion["choices"][0]["finish_reason"] == "tool_calls"
    assert completion["choices"][0]["message"]["content"] is None


def test_openai_wants_its_key_and_ollama_none():
    with ModelServer(key="sk-1") as model:
        for headers in ({}, {"Authorization": "Bearer sk-2"}, {"Authorization": "sk-1"}):
            for path, method in (V1, "POST"), ("/v1/models", "GET"):
                response = send(model, path, method, headers)
                error = json.loads(response.read())
                assert response.status == 401 and not misfit(error, OPENAI_ERROR) and error["error"]["code"] == "invalid_api_key"
        assert said(model, V1, headers={"Authorization": "Bearer sk-1"}) == said(model) == GREETING


def test_openai_says_what_is_wrong_with_a_request(model):
    for body, status, code in ({"model": "nobody"}, 404, "model_not_found"), ({"messages": []}, 400, None):
        response = send(model, V1, **body)
        error = json.loads(response.read())
        assert response.status == status and not misfit(error, OPENAI_ERROR) and error["error"]["code"] == code


# ── what was asked

@both
def test_requests_are_recorded_as_they_were_sent(model, path):
    tool = {"type": "function", "function": {"name": "tasks_list", "parameters": {"type": "object", "properties": {}}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    said(model, path, headers={"X-Mine": "1"}, tools=[tool], tool_choice="auto", response_format=form, keep_alive="10m")
    request = model.wait_for_request(1)
    assert request["method"] == "POST" and request["path"] == path and request["headers"]["x-mine"] == "1"
    assert request["body"]["tools"] == [tool] and request["body"]["response_format"] == form
    assert request["body"]["keep_alive"] == "10m" and json.loads(request["raw"]) == request["body"]
    assert model.chats == model.requests and request["prompt_tokens"] == tokens(request["body"])


def test_waiting_for_a_request_waits_and_gives_up(model):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        second = pool.submit(model.wait_for_request, 2)
        get(model, "/api/version", method="GET")
        assert not second.done() and model.wait_for_request(1)["path"] == "/api/version"
        said(model)
        assert second.result(5)["path"] == NATIVE and len(model.chats) == 1
    with pytest.raises(AssertionError, match="2 requests, 0 running"): model.wait_for_request(3, limit=0.05)


# ── the script

def test_answers_come_in_their_order_and_the_last_one_repeats(model):
    assert said(model) == GREETING
    model.says("one")
    model.says("two")
    assert [said(model), whole(model, V1), whole(model), said(model, V1)] == ["one", "two", "two", "two"]
    with ModelServer(script=["a", Answer("b")]) as other: assert said(other) + said(other) == "ab"


def test_a_function_answers_what_is_not_queued(model):
    model.answers(lambda body: body["messages"][-1]["content"].upper() if len(body["messages"]) == 1 else None)
    model.says("queued")
    assert [said(model), said(model, V1), said(model, messages=HELLO * 2)] == ["queued", "HELLO THERE.", "queued"]
    model.answers(lambda body: Answer(status=503))
    assert send(model).status == 503


def test_an_error_in_the_script_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), ModelServer() as model:
        model.answers(lambda body: str(1 / 0))
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)): send(model)


@both
@pytest.mark.parametrize("options, pieces", [
    ({"pieces": ["Hel", "lo", ""]}, ["Hel", "lo", ""]), ({"text": "a  b\nc "}, ["a", "  b", "\nc", " "]), ({"text": ""}, []),
    ({"text": "aé☃", "split": "chars"}, ["a", "é", "☃"])])
def test_a_text_comes_in_pieces(model, path, options, pieces):
    model.says(**options)
    items = stream(model, path)
    assert [text_of(item) for item in (items[:-1] if path == NATIVE else items[1:-1])] == pieces
    assert whole(model, path) == "".join(pieces)


def test_words_lose_nothing():
    for text in ("", " ", "a", " a ", "a\n\n b\t", "\r\n"): assert "".join(words(text)) == text


@both
def test_pieces_come_at_a_rate(model, path):
    model.says(" x" * 10, rate=50)
    for read in said, whole:
        began = time.monotonic()
        assert read(model, path) == " x" * 10 and 0.18 <= time.monotonic() - began < 5


@both
def test_bytes_come_one_by_one_whatever_they_cut(model, path):
    model.says("Æ☃ 😀", split="bytes")
    with socket.create_connection(("127.0.0.1", model.port), 10) as conn:
        body = json.dumps({"model": "scripted", "messages": HELLO, "stream": True})
        conn.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        raw = b"".join(iter(lambda: conn.recv(65536), b""))
    chunks = raw.partition(b"\r\n\r\n")[2]
    assert chunks.endswith(b"0\r\n\r\n") and set(chunks[:-5][::6]) == {ord("1")} and len(chunks) % 6 == 5  # 1 CR LF byte CR LF
    assert "☃".encode() in chunks[3::6] and "☃".encode() not in chunks and said(model, path) == whole(model, path) == "Æ☃ 😀"


@both
def test_an_answer_trickles(model, path):
    model.says(bytes_per_second=100)
    began, response = time.monotonic(), send(model, path)
    assert len(response.read(20)) == 20 and 0.19 <= time.monotonic() - began < 5
    response.hang_up()
    model.wait(lambda: model.cancelled == 1)


@both
def test_a_delay_comes_before_the_headers(model, path):
    model.says(delay=0.2)
    began = time.monotonic()
    response = send(model, path)
    assert 0.2 <= time.monotonic() - began and response.status == 200


@both
def test_an_endless_answer_is_read_as_fast_as_can_be_up_to_its_limit(model, path):
    model.says(endless=True, limit=20_000_000)
    response, size, rows = send(model, path), 0, 0
    while row := response.readline(): size, rows = size + row.count(b"lorem ipsum ") * 12, rows + 1
    assert 19_990_000 < size <= 20_000_000 and rows > 4000 and not model.cancelled
    assert 19_990_000 < len(whole(model, path)) <= 20_000_000


# ── when it goes wrong

@both
def test_a_connection_dies_within_a_line(model, path):
    model.says("one two three four five", dies_after=3)
    with pytest.raises(http.client.IncompleteRead) as broken: send(model, path).read()
    got = broken.value.partial
    assert b" three" in got and b" four" not in got and not got.endswith(b"\n") and not model.cancelled
    with pytest.raises(json.JSONDecodeError): data(got.rpartition(b"\n")[2])
    assert is_gone(send(model, path, stream=False))


@both
@pytest.mark.parametrize("options", [{"dies_after": 0}, {"dies_after": 99}, {"dies_after": 1, "split": "bytes"}])
def test_a_connection_dies_wherever_it_is_told_to(model, path, options):
    model.says(**options)
    assert is_gone(send(model, path)) and not model.cancelled


@both
def test_an_answer_stalls_until_it_is_released(model, path):
    model.says("one two three four five", stalls_after=3)
    response, got = send(model, path), ""
    while "three" not in got: got += text_of(data(row)) if (row := response.readline().strip()) else ""
    assert model.running == 1 and got == "one two three"
    response.fp.raw._sock.settimeout(0.1)
    with pytest.raises(TimeoutError): response.fp.raw._sock.recv(1)
    response.fp.raw._sock.settimeout(10)
    model.release()
    rest = b""
    with contextlib.suppress(http.client.IncompleteRead): rest = response.read()
    assert b" four" in rest and b" five" in rest
    model.wait(lambda: not model.running and not model.cancelled)


def test_closing_ends_what_stalls():
    with ModelServer() as model:
        model.says(stalls_after=1)
        response = send(model)
    assert is_gone(response) and not model.cancelled and not model.running
    with pytest.raises(ConnectionRefusedError): send(model)
    with ModelServer(port=model.port) as again: assert said(again) == GREETING


@both
def test_garbage_comes_between_the_pieces(model, path):
    model.says("one two three", garbage_after=2)
    found = rows(send(model, path))
    bad = [row for row in found if b"\xff" in row]
    assert len(bad) == 1 and found.index(bad[0]) == (2 if path == NATIVE else 3) and any(b" three" in row for row in found[3:])
    with pytest.raises(ValueError): data(bad[0])
    response = send(model, path, stream=False)
    assert response.status == 200
    with pytest.raises(ValueError): json.loads(response.read())


@both
def test_a_failure_is_said_in_the_stream_or_by_the_status(model, path):
    shape = NATIVE_ERROR if path == NATIVE else OPENAI_ERROR
    model.says("one two", fails_after=1, error="out of memory")
    response = send(model, path)
    found = list(map(data, rows(response)))
    assert response.status == 200 and not misfit(found[-1], shape) and "out of memory" in str(found[-1]) and "one" in str(found)
    model.says(fails_after=0)
    for more in ({}, {"stream": False}):
        response = send(model, path, **more)
        assert response.status == 500 and not misfit(json.loads(response.read()), shape)


@both
def test_statuses_come_with_the_errors_of_their_protocol(model, path):
    for options, status, after in [({"status": 500}, 500, None), ({"status": 429, "retry_after": 1}, 429, "1"),
                                   ({"status": 401, "error": "Who are you?"}, 401, None), ({"status": 503}, 503, None)]:
        model.says(**options)
        response = send(model, path)
        error = json.loads(response.read())
        assert (response.status, response.getheader("Retry-After")) == (status, after)
        assert not misfit(error, NATIVE_ERROR if path == NATIVE else OPENAI_ERROR) and options.get("error", "") in str(error)


# ── who hangs up

@both
@pytest.mark.parametrize("options, rows", [
    ({"rate": 0.5}, 1), ({"stalls_after": 2}, 2), ({"endless": True}, 3), ({"bytes_per_second": 10}, 0),
    ({"split": "bytes", "stalls_after": 1}, 1)])
def test_hanging_up_is_noticed_at_once(model, path, options, rows):
    model.says("one two three four" if "endless" not in options else None, **options)
    response = send(model, path)
    for _ in range(rows): response.readline()
    assert model.running == 1
    began = time.monotonic()
    response.hang_up()
    model.wait(lambda: model.cancelled == 1 and model.running == 0)
    assert time.monotonic() - began < 1


@both
@pytest.mark.parametrize("options", [{"delay": 30}, {"stalls_after": 1}, {"rate": 0.1}])
def test_hanging_up_is_noticed_before_the_answer_has_begun(model, path, options):
    model.says("one two", **options)
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    connection.request("POST", path, json.dumps({"model": "scripted", "messages": HELLO, "stream": False}))
    model.wait(lambda: model.running == 1)
    connection.close()
    model.wait(lambda: model.cancelled == 1 and model.running == 0, limit=1)


@both
def test_who_reads_all_has_hung_up_on_nothing(model, path):
    for _ in range(50):
        assert said(model, path) == GREETING
        assert model.running == 0  # at once, without waiting
        assert whole(model, path) == GREETING and model.running == 0
    for _ in range(50):  # a client that knows the last line need not read on
        response = send(model, path)
        while (row := response.readline().strip()) != b"data: [DONE]" and b'"done": true' not in row: pass
        response.hang_up()
    model.wait(lambda: not model.running)
    assert model.cancelled == 0


def test_many_are_served_at_once(model):
    model.says("one two three", rate=5)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda i: said(model, (NATIVE, V1)[i % 2]), range(30)))
    assert set(answers) == {"one two three"} and time.monotonic() - began < 6 and len(model.chats) == 30


def test_a_connection_serves_one_request_after_the_other(model):
    connection = http.client.HTTPConnection("127.0.0.1", model.port, timeout=10)
    for path in (NATIVE, V1, NATIVE):
        connection.request("POST", path, json.dumps({"model": "scripted", "messages": HELLO, "stream": True}))
        sock = connection.sock
        assert GREETING.split()[-1].encode() in connection.getresponse().read() and connection.sock is sock


# ── what is counted

def test_tokens_are_words_of_four_letters_at_most():
    assert [tokens(text) for text in ("", "a", "four", "fives", "one two", "a \n\n b", "☃" * 9)] == [0, 1, 1, 2, 2, 2, 3]
    assert tokens({"messages": HELLO}) == tokens("Hello there.") + 2 == tokens({"messages": [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there."}]}]})
    assert tokens({"messages": HELLO, "tools": [{"a": 1}]}) == tokens({"messages": HELLO}) + tokens('[{"a": 1}]')


def test_what_is_cached_is_the_front_that_two_prompts_share(model):
    system = {"role": "system", "content": "You are a test. " * 50}
    first = [system, *HELLO]
    for path in (NATIVE, V1): said(model, path, messages=first)
    longer = [*first, {"role": "assistant", "content": GREETING}, *HELLO]
    last = stream(model, V1, messages=longer, stream_options={"include_usage": True})[-1]
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == tokens({"messages": first})
    whole(model, NATIVE, messages=[{"role": "system", "content": "Another. " * 50}, *HELLO])
    assert [r["cached_tokens"] for r in model.chats] == [0, tokens({"messages": first}), tokens({"messages": first}), 1]
    assert [r["prompt_tokens"] for r in model.chats] == [tokens(r["body"]) for r in model.chats]


def long(n: int) -> list[dict]: return [{"role": "user", "content": "word " * n}]


def test_ollama_silently_shortens_a_prompt_that_does_not_fit(model):
    "Two marks around each message; the half-window formula gives 2050 of 4096, as was seen (ollama issue 17889)."
    for body, whole_prompt, evaluated in [
            ({}, 100, 100), ({}, 4096, 2050), ({}, 7900, 2050), ({"options": {"num_ctx": 1000}}, 999, 999),
            ({"options": {"num_ctx": 1000}}, 1500, 502), ({"options": {"num_ctx": 8192}}, 7900, 7900),
            ({"options": {"num_ctx": 100_000}}, 9000, 4098)]:  # more than the model has is not had
        answer = get(model, NATIVE, stream=False, messages=long(whole_prompt - 2), **body)
        assert answer["prompt_eval_count"] == evaluated, (body, whole_prompt)
        assert tokens(model.chats[-1]["body"]) == whole_prompt and model.chats[-1]["prompt_tokens"] == evaluated


def test_ollama_drops_old_messages_but_none_of_the_systems():
    system, old, new = {"role": "system", "content": "Be kind."}, long(50)[0], long(20)[0]
    prompt = shortened({"messages": [system, old, old, new]}, 60)
    assert prompt.count("<system>") == 1 and prompt.count("<user>") == 1 and prompt[-22] == "<user>"
    assert len(shortened({"messages": [old, new]}, 80)) == 74


def test_ollama_refuses_a_prompt_that_does_not_fit_if_it_may_not_shorten_it(model):
    for n, status in (999, 200), (1000, 400), (5000, 400):
        response = send(model, truncate=False, options={"num_ctx": 1000}, messages=long(n - 2))
        assert response.status == status
    error = json.loads(response.read())
    assert not misfit(error, NATIVE_ERROR)
    assert json.loads(error["error"]) == {"error": {  # a string with llama.cpp's whole answer in it
        "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 1000,
        "message": "request (5000 tokens) exceeds the available context size (1000 tokens), try increasing it"}}
    assert send(model, truncate=False, messages=long(5000)).status == 400  # as if num_ctx were 4096


def test_openai_refuses_a_prompt_that_does_not_fit():
    with ModelServer(context=1000) as model:
        response = send(model, V1, messages=long(999))
        error = json.loads(response.read())
        assert response.status == 400 and not misfit(error, OPENAI_ERROR) and error["error"]["code"] == "context_length_exceeded"
        assert send(model, V1, messages=long(998)).status == 200


# ── schemas

SPEC = {"type": "object", "required": ["name", "kind", "fields", "count", "share", "is_done", "when", "of", "none", "tag"],
        "$defs": {"field": {"type": "object", "properties": {"name": {"type": "string", "minLength": 6}}, "required": ["name"]}},
        "properties": {
            "name": {"type": "string"}, "kind": {"enum": ["app", "pipeline"]}, "count": {"type": "integer", "minimum": 3},
            "fields": {"type": "array", "items": {"$ref": "#/$defs/field"}}, "share": {"type": "number", "maximum": 0.5},
            "is_done": {"type": "boolean"}, "when": {"type": "string", "format": "date"}, "optional": {"type": "string"},
            "of": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "none": {"type": "null"}, "tag": {"const": "x"}}}
FILLED = {"name": "text", "kind": "app", "fields": [{"name": "texttt"}], "count": 3, "share": 0.5, "is_done": True,
          "when": "2026-01-31", "of": 1, "none": None, "tag": "x"}


def test_a_schema_is_filled_in_with_the_smallest_thing_that_fits():
    assert instance(SPEC) == FILLED and instance({"type": ["integer", "null"]}) == 1 and instance({}) == {}
    assert instance({"type": "array", "items": {"type": "string", "maxLength": 2}, "minItems": 2}) == ["te", "te"]


@pytest.mark.parametrize("path, body, filled", [
    (NATIVE, {"format": SPEC}, FILLED), (NATIVE, {"format": "json"}, {}), (V1, {"response_format": {"type": "json_object"}}, {}),
    (V1, {"response_format": {"type": "json_schema", "json_schema": {"name": "spec", "strict": True, "schema": SPEC}}}, FILLED)])
def test_a_request_with_a_schema_gets_what_fits_it_unless_something_is_queued(model, path, body, filled):
    assert json.loads(said(model, path, **body)) == json.loads(whole(model, path, **body)) == filled
    model.says("queued")
    assert said(model, path, **body) == "queued" and json.loads(said(model, path, **body)) == filled and said(model, path) == "queued"
    assert said(model, path, response_format={"type": "text"}) == "queued"
