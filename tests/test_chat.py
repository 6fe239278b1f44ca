"""The chat: a conversation that streams, survives, forgets nothing, and hides nothing (threats B1–B4, D10, D14–D16).

The model is the scripted server, which Sololith takes for a running Ollama. Everything is driven from outside: what the
person sees is read from the pages and the socket, what the model is sent from its requests.
"""
import contextlib
import contextvars
import functools
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import quote

import apsw
import pytest
from helpers import Answer, Server, chapter, cli, patience, read, wait_for
from model_server import ModelServer
from test_escaping import PAYLOADS as MARKED
from test_escaping import Marked
from test_guard import dump

QUIETLY = {"HX_Request": "true"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Element:
    "A piece of HTML: a tag with its attributes, and what is in it."
    def __init__(self, tag: str, attrs: dict): self.tag, self.attrs, self.parts = tag, attrs, []
    def __getitem__(self, name: str) -> str: return self.attrs.get(name) or ""

    def all(self, tag: str = "", **attrs: str) -> list["Element"]:
        "The elements below with this tag and these attributes, in order."
        found = [p for p in self.parts if isinstance(p, Element)]
        fits = lambda e: tag in ("", e.tag) and all(e["class" if n == "cls" else n.replace("_", "-")] == v for n, v in attrs.items())
        return [e for part in found for e in [*[part] * fits(part), *part.all(tag, **attrs)]]

    def one(self, tag: str = "", **attrs: str) -> "Element":
        found = self.all(tag, **attrs)
        assert len(found) == 1, (tag, attrs, found)
        return found[0]

    @property
    def text(self) -> str: return "".join(p if isinstance(p, str) else p.text for p in self.parts)


class Tree(HTMLParser):
    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open = [Element("", {})]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.open[-1].parts.append(made := Element(tag, dict(attrs)))
        if tag not in VOID: self.open.append(made)

    def handle_endtag(self, tag: str) -> None:
        if tag in [e.tag for e in self.open]:
            while self.open.pop().tag != tag: pass

    def handle_data(self, data: str) -> None: self.open[-1].parts.append(data)


def tree(source: Answer | str) -> Element: return Tree(source if isinstance(source, str) else source.text).open[0]


class Chat:
    "A server, the scripted model that it talks to, and a person at it."
    def __init__(self, server: Server, model: ModelServer): self.server, self.model = server, model

    def get(self, path: str, **headers: str) -> Answer: return self.server.get(path, **{**QUIETLY, **headers})

    def post(self, path: str, data: dict | list, page: str = "/", **more) -> Answer:
        return self.server.post(path, data, HX_Request="true", HX_Current_URL=self.server.url + page, **more)

    def begin(self, text: str, c: int = 0, page: str = "/") -> int:
        "Say something; the conversation, while the answer is written."
        answer = self.post("/chat", {"c": c, "text": text}, page)
        assert answer.status == 200, answer
        return int(tree(answer).one(tag="input", name="c")["value"])

    def say(self, text: str, c: int = 0, page: str = "/", answer: str | None = None, status: str = "done") -> int:
        "Say something, and wait for the answer, whose status is to be this; the conversation."
        if answer is not None: self.model.says(answer)
        c = self.begin(text, c, page)
        found = self.wait(c)
        assert found["status"] == status, found
        return c

    def refused(self, text: str, c: int = 0, page: str = "/") -> str:
        "What the person is told of a message that is not taken, and leaves nothing behind."
        before, asked = self.rows("SELECT count(*) FROM messages"), len(self.model.chats)
        answer = self.post("/chat", {"c": c, "text": text}, page)
        assert 400 <= answer.status < 500 and answer.headers["HX-Reswap"] == "none", answer
        assert self.rows("SELECT count(*) FROM messages") == before and len(self.model.chats) == asked
        return tree(answer).text

    def act(self, c: int, act: str, m: int = 0, status: int = 0, **more: str) -> Answer:
        answer = self.post("/chat/act", {"c": c, "act": act, "m": m, **more})
        assert answer.status == (status or (200 if act == "edit" else 204)), answer
        return answer

    def retry(self, c: int) -> dict:
        self.act(c, "retry", self.wait(c)["id"])
        return self.wait(c)

    def rows(self, sql: str, *args) -> list[dict]: return read(self.server.workspace / "data.db", sql, *args)

    def execute(self, sql: str, *args) -> None:
        with contextlib.closing(apsw.Connection(str(self.server.workspace / "data.db"))) as connection:
            connection.set_busy_timeout(10_000)
            connection.execute(sql, args)

    def last(self, c: int) -> dict:
        "The newest answer of a conversation."
        row = self.rows("SELECT * FROM messages WHERE conversation=? AND role='assistant' ORDER BY id DESC", c)[0]
        return row | {"facts": json.loads(row["facts"])}

    def wait(self, c: int, limit: float = 20) -> dict:
        "That, once it is written."
        wait_for(lambda: self.last(c)["status"] != "running", limit, "the answer")
        return self.last(c)

    def path(self, c: int) -> list[dict]:
        "The messages that are shown, from the first to the last."
        at = self.rows("SELECT leaf FROM conversations WHERE id=?", c)[0]["leaf"]  # before the messages, which may become more
        rows = {r["id"]: r for r in self.rows("SELECT * FROM messages WHERE conversation=?", c)}
        found = []
        while at:
            found.append(rows[at] | {"facts": json.loads(rows[at]["facts"])})
            at = rows[at]["parent"]
        return found[::-1]

    def told(self, c: int, role: str = "events") -> list[str]:
        "The lines that the model was told of this role in the last turn."
        path = self.path(c)
        at = max(n for n, m in enumerate(path) if m["role"] == "events")
        return [line for m in path[at:] if m["role"] == role for line in m["content"].splitlines()]

    def listed(self, c: int) -> Element: return tree(self.get(f"/chat/list?c={c}"))
    def sent(self, n: int = -1) -> list[dict]: return self.model.chats[n]["body"]["messages"]

    def journal(self, where: str = "1") -> list[dict]:
        return self.rows(f"SELECT * FROM journal WHERE {where} ORDER BY id")

    def task(self, title: str, **more: str) -> int:
        assert (answer := self.post("/tasks", {"title": title, **more})).status == 200, answer
        return self.rows("SELECT max(id) AS id FROM tasks")[0]["id"]

    def remember(self, text: str, **more: str) -> int:
        assert (answer := self.post("/memories", {"text": text, **more})).status == 200, answer
        return self.rows("SELECT max(id) AS id FROM memories")[0]["id"]

    def toggle(self, task: int, value: str = "on") -> None:
        assert self.post(f"/tasks/{task}/toggle", {"field": "is_done", "value": value}).status == 200

    def look(self, path: str) -> None: assert self.server.get(path).status == 200, path


@pytest.fixture(scope="module")
def T(tmp_path_factory) -> Iterator[Chat]:
    with ModelServer() as model:
        env = {"OLLAMA_HOST": f"127.0.0.1:{model.port}"}
        with Server(tmp_path_factory.mktemp("chat") / "workspace").start(env=env) as server: yield Chat(server, model)


@pytest.fixture(autouse=True)
def scripted(request) -> None:
    "No test finds what another one has scripted."
    if "T" in request.fixturenames:
        model = request.getfixturevalue("T").model
        model.queue.clear()
        model.function = None
        model.says()
        model.latest = model.queue.pop()


@pytest.fixture
def chat(start) -> Iterator[Chat]:
    "The same on a fresh workspace."
    with ModelServer() as model:
        server = start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"})
        yield Chat(server, model)
        server.kill()


class Tab:
    """An open page with a conversation: it opens its socket, loads the panel, then goes by what the socket says, as the
    script in the page does. `shown` is called with the words that it shows after each change."""
    def __init__(self, chat: Chat, c: int, shown: Callable[[list[str]], None] = lambda words: None):
        self.chat, self.c, self.shown, self.pushed, self.loads = chat, c, shown, [], 0

    def __enter__(self) -> "Tab":
        self.ws = self.chat.server.ws().__enter__()
        self.load()
        return self

    def __exit__(self, *error) -> None: self.ws.__exit__(*error)

    def load(self) -> None:
        page = tree(self.chat.get("/chat" if not self.loads else f"/chat/list?c={self.c}"))
        running = [e for e in page.all("div") if e["data-answer"]]
        self.loads += 1
        self.is_done = not running
        self.answer, self.n = (int(running[0][name]) if running else 0 for name in ("data-answer", "data-n"))
        proses = running or page.all("div", cls="prose")
        self.blocks = [e.text for e in proses[-1].parts] if running else [proses[-1].text] if proses else []
        if proses: self.shown(self.words)

    @property
    def words(self) -> list[str]: return " ".join(self.blocks).split()

    def step(self, limit: float = 10) -> None:
        told = json.loads(self.ws.recv(limit))
        if told.get("answer") and told["answer"] == self.answer:
            assert told.keys() == {"answer", "n", "at", "blocks", "note"}
            self.pushed.append(told)
            if told["n"] != self.n + 1: return self.load()
            self.n += 1
            self.blocks[told["at"]:] = [tree(block).text for block in told["blocks"]]
            self.shown(self.words)
        elif f"chat-{self.c}" in told.get("apps", ()): self.load()

    def follow(self, until: Callable[[], object] | None = None, limit: float = 30) -> "Tab":
        "Until something is so, by default until the answer is there."
        end = time.monotonic() + limit
        while not (until() if until else self.is_done):
            assert time.monotonic() < end, f"in vain: {self.words[-20:]}"
            self.step()
        return self


def numbered(n: int, paragraph: int = 1000) -> str:
    "w0 w1 w2 …, with a new paragraph after so many words."
    return "".join(("" if not i else " " if i % paragraph else "\n\n") + f"w{i}" for i in range(n))


def begins(whole: list[str], at: list[int]) -> Callable[[list[str]], None]:
    "What a tab shows has to be a beginning of the whole at every moment; how long it was goes into `at`."
    def shown(found: list[str]) -> None:
        at.append(len(found))
        assert found == whole[:len(found)], f"a hole in {found} after {at}"
    return shown


# ─── a turn ───

def test_a_turn_is_stored_and_streamed_and_ends_with_its_facts(T):
    text = numbered(80) + " **bold**"
    T.model.says(text, rate=80, stalls_after=70)
    c = T.begin("Count, please.")
    asked = T.path(c)
    assert [m["role"] for m in asked[-2:]] == ["user", "assistant"] and asked[-2]["content"] == "Count, please."
    assert asked[-1]["status"] == "running", "it is in the database before it is answered"
    with Tab(T, c) as tab:
        tab.follow(lambda: len(tab.words) == 70 and any(p["blocks"] for p in tab.pushed))
        T.model.release()
        tab.follow()
    assert {p["answer"] for p in tab.pushed} == {asked[-1]["id"]}
    assert tab.pushed[-1]["blocks"][-1].startswith("<p>w0 w1"), "as HTML, while it is written"
    found = T.wait(c)
    assert found["status"] == "done" and found["content"] == text
    assert found["facts"] | {"model": "ollama:scripted:latest", "is_cut": False} == found["facts"]
    facts = found["facts"]
    assert facts["generated"] > 30 and facts["prompt"] == facts["reused"] + facts["new"] > 100
    assert 0 < facts["first_ms"] <= facts["ms"] and facts["speed"] > 0
    assert facts["spent"]["what you said"] == 14 and facts["spent"]["answers"] == len(text)
    assert facts["spent"]["fixed prompt"] > 500
    page = T.listed(c)
    shown = page.one("article", id=f"m-{found['id']}")
    assert "bold" in shown.one("strong").text and f"{facts['prompt']:,} tokens read" in shown.text
    assert f"{facts['prompt'] + facts['generated']:,} of 8,192" in page.one(id="meter").text
    assert page.one("button", id="send").text == "Send"
    assert T.rows("SELECT title FROM conversations WHERE id=?", c)[0]["title"] == "Count, please."


def test_a_tab_that_comes_in_the_middle_of_an_answer_misses_no_token(T):
    text, at = numbered(300, 40), []
    T.model.says(text, rate=200, stalls_after=290)
    c = T.begin("Count to 300.")
    time.sleep(0.5)
    with Tab(T, c, begins(text.split(), at)) as tab:
        assert not tab.is_done and 0 < at[0] <= 290, "what came so far is in the panel"
        tab.follow(lambda: len(tab.words) == 290 and tab.pushed)
        T.model.release()
        tab.follow()
    assert tab.words == text.split() and T.wait(c)["content"] == text, "and the rest came by the socket"


def test_tabs_stay_in_step_whoever_else_loads_the_page(T):
    "What is drawn for one tab is not taken for told to the others."
    text = numbered(300, 4)
    T.model.says(text, rate=200)
    c, stop = T.begin("Count to 300 in short paragraphs."), threading.Event()

    def follow(at: list[int]) -> list[str]:
        with Tab(T, c, begins(text.split(), at)) as tab: return tab.follow().words

    def reload() -> None:
        while not stop.wait(0.005): T.get(f"/chat/list?c={c}")
    with ThreadPoolExecutor(3) as pool:
        pool.submit(reload)
        try: assert list(pool.map(follow, ([], []))) == [text.split()] * 2
        finally: stop.set()


def test_an_answer_that_ends_at_its_limit_says_so(T):
    T.model.says("This is not", reason="length")
    assert "It was cut off" in T.listed(T.say("Tell me all.")).text


def test_two_conversations_are_answered_at_the_same_time(T):
    for text in ("first " * 10, "second " * 10): T.model.says(text.strip(), rate=30)
    a, b = T.begin("One."), T.begin("Two.")
    assert a != b and T.last(a)["status"] == T.last(b)["status"] == "running"
    assert {T.wait(a)["content"].split()[0], T.wait(b)["content"].split()[0]} == {"first", "second"}


# ─── D10: what models do wrong ───

WRONG = {
    "closes": (dict(text=numbered(30), dies_after=5), "w0 w1 w2 w3 w4", "broke off"),
    "fails": (dict(text=numbered(30), fails_after=5, error="out of <b data-canary>memory"), "w0 w1 w2 w3 w4",
            "out of <b data-canary>memory"),
    "500": (dict(status=500, error="no <b data-canary>luck"), "", "answered 500: no <b data-canary>luck"),
    "garbage": (dict(text=numbered(30), garbage_after=5), "w0 w1 w2 w3 w4", "no JSON"),
    "100 MB": (dict(text="lorem ipsum " * 340 + "\n\n", endless=True), ("lorem ipsum " * 340 + "\n\n") * 244,
            "longer than 1,000,000"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_d10_what_came_is_kept_with_the_reason_and_retry_makes_a_sibling(T, wrong):
    answer, kept, why = wrong
    cancelled = T.model.cancelled
    T.model.says(**answer)
    c = T.begin("Go on.")
    found = T.wait(c, 40)
    assert found["status"] == "failed" and why in found["facts"]["problem"], found["facts"]
    assert found["content"].startswith(kept) and len(found["content"]) - len(kept) < 5000
    shown = T.get(f"/chat/list?c={c}")
    assert not Marked(shown.text).found and why in tree(shown).one("article", id=f"m-{found['id']}").text
    if answer.get("endless"): T.model.wait(lambda: T.model.cancelled == cancelled + 1)
    asked = T.model.chats[-1]["raw"]
    T.model.says("Now it works.")
    again = T.retry(c)
    assert again["status"] == "done" and again["content"] == "Now it works." and again["parent"] == found["parent"]
    assert T.model.chats[-1]["raw"] == asked, "it is asked the same again"
    assert T.path(c)[-1]["id"] == again["id"] and "2 of 2" in T.listed(c).one("article", id=f"m-{again['id']}").text
    T.act(c, "branch", found["id"])
    shown = T.listed(c)
    assert "1 of 2" in shown.one("article", id=f"m-{found['id']}").text
    assert not shown.all("article", id=f"m-{again['id']}")


SLOW = {"hangs": dict(text=numbered(30), stalls_after=5), "1 byte/s": dict(text=numbered(30), bytes_per_second=1),
        "before the first word": dict(text="late", delay=60)}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
def test_d10_stop_works_at_once_and_stops_the_model(T, slow):
    cancelled, chats = T.model.cancelled, len(T.model.chats)
    T.model.says(**slow)
    c = T.begin("Go on.")
    T.model.wait(lambda: len(T.model.chats) > chats)
    if "stalls_after" in slow: wait_for(lambda: "w4" in T.listed(c).text, what="what came so far")
    assert T.listed(c).one("button", id="send").text == "Stop" and "Wait, or stop it" in T.refused("Meanwhile?", c)
    T.act(c, "retry", T.last(c)["id"], status=409)
    began = time.monotonic()
    T.act(c, "stop")
    found = T.wait(c)
    T.model.wait(lambda: T.model.cancelled == cancelled + 1)
    assert time.monotonic() - began < 1 * patience() and T.model.running == 0
    assert found["status"] == "stopped" and found["content"] == ("w0 w1 w2 w3 w4" if "stalls_after" in slow else "")
    page = T.listed(c)
    assert "Stopped." in page.text and page.one("button", id="send").text == "Send"
    T.act(c, "stop")  # again does no harm
    T.model.says("Now it works.")
    assert T.retry(c)["content"] == "Now it works."


def test_the_server_is_quick_while_a_long_answer_is_written(T):
    "One paragraph, one block of code without end: what is not ended by a blank line is drawn again each time."
    for text in ("word " * 20_000, "```python\n" + "x = 1\n" * 15_000):
        T.model.says(text, pieces=[text[i:i + 200] for i in range(0, len(text), 200)], rate=400)
        c = T.begin("A long one.")
        took = []
        while T.last(c)["status"] == "running":
            began = time.perf_counter()
            assert T.get("/tasks").status == 200
            took.append((time.perf_counter() - began) * 1000)
        assert sorted(took)[int(len(took) * .95)] < 100 * patience()
        assert T.last(c)["content"] == text, sorted(took)[-20:]


def test_d10_kill_9_in_the_middle_of_an_answer_loses_one_second_of_it_at_most(chat):
    chat.model.says(numbered(400), rate=40)
    c = chat.begin("Count.")
    time.sleep(2.5)
    seen = len(next(e for e in chat.listed(c).all("div") if e["data-answer"]).text.split())
    chat.server.restart(kill=True)
    found = chat.last(c)
    kept = found["content"].split()
    assert found["status"] == "interrupted" and kept == numbered(400).split()[:len(kept)]
    assert 40 < seen and len(kept) >= seen - 40 * (1 + .2 * patience()), (seen, len(kept))
    assert "Interrupted" in chat.listed(c).text and kept[-1] in chat.listed(c).text
    chat.model.says("Now it works.")
    assert chat.retry(c)["content"] == "Now it works." and "2 of 2" in chat.listed(c).text


def test_d10_what_came_before_the_model_hung_outlives_kill_9_too(chat):
    chat.model.says(numbered(30), stalls_after=20)
    c = chat.begin("Count.")
    wait_for(lambda: "w19" in chat.listed(c).text, what="what came so far")
    time.sleep(1.5)
    chat.server.restart(kill=True)
    assert chat.last(c)["status"] == "interrupted" and chat.last(c)["content"].split() == numbered(20).split()


def test_sigterm_in_the_middle_of_an_answer_ends_in_time_and_keeps_it(chat):
    chat.model.says(numbered(400), rate=40)
    c = chat.begin("Count.")
    wait_for(lambda: "w20" in chat.listed(c).text, what="what came so far")
    with chat.server.ws():
        began = time.monotonic()
        assert chat.server.stop(5 * patience()) == 0 and time.monotonic() - began < 5 * patience()
    chat.model.wait(lambda: chat.model.cancelled == 1)
    found = chat.last(c)
    assert found["status"] in ("interrupted", "stopped") and len(found["content"].split()) > 20
    chat.server.restart()
    assert found["content"].split()[-1] in chat.listed(c).text and not chat.listed(c).all("div", data_answer=str(found["id"]))


# ─── D16, and what else is refused ───

def sizes(told: str) -> tuple[int, int]:
    "The tokens that something has, and those that there is room for, as a refusal says them."
    found = re.search(r"about ([\d,]+) tokens, and there is room for ([\d,]+)\.", told)
    assert found, told[:300]
    return int(found[1].replace(",", "")), int(found[2].replace(",", ""))


def test_d16_a_message_too_large_is_refused_with_its_size_and_the_room_there_is(T):
    draft = "x" * 50_000
    T.act(0, "open")
    assert T.post("/chat/draft", {"c": 0, "text": draft}).status == 204
    began = time.monotonic()
    for text, size in (("x" * 10_000_000, 2_500_000), ("word " * 2_000_000, 2_500_000), ("x" * 40_000, 10_000),
            ("語" * 9_000, 9_000)):
        told = sizes(T.refused(text))
        assert told[0] == pytest.approx(size, rel=.02) and 6_000 < told[1] < 7_200, told
    assert time.monotonic() - began < 10 * patience()
    assert tree(T.get("/chat")).one("textarea").text == draft, "what was typed is still there"
    T.post("/chat/draft", {"c": 0, "text": ""})


def test_what_is_empty_or_no_command_or_no_conversation_is_refused_in_a_sentence(T):
    for text in ("", "  \n ", "\u2003"): assert "nothing to say" in T.refused(text)
    assert "There is no command /remebmer. Did you mean remember?" in T.refused("/remebmer the milk")
    assert "There is no command /q. There are: context, export, model" in T.refused("/q")
    assert "gone" in T.refused("Hello?", 99_999)
    assert T.post("/chat/act", {"c": 1, "act": "juggle", "m": 1}).status in (400, 404)
    assert T.post("/chat/act", {"c": 99_999, "act": "retry", "m": 1}).status == 404
    for path in ("/conversations/1/edit/99999", "/chat/context?c=99999", "/chat/list?c=99999",
            "/conversations/99999/export.md"):
        assert T.get(path).status == 404, path
    c = T.say("/etc/hosts is a file, not a command.", answer="It is.")
    assert T.sent()[-1]["content"].endswith("/etc/hosts is a file, not a command.") and T.last(c)["content"] == "It is."


def test_of_messages_sent_at_the_same_time_one_is_answered(T):
    c = T.say("Hello.", answer="Hello.")
    T.model.says("word " * 50, rate=50)
    asked = len(T.model.chats)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: T.post("/chat", {"c": c, "text": f"number {n}"}).status, range(6)))
    assert sorted(answers) == [200] + [409] * 5
    T.model.wait(lambda: len(T.model.chats) > asked)
    T.act(c, "stop")
    T.wait(c)
    assert len(T.model.chats) == asked + 1
    assert not T.rows("SELECT 1 FROM messages WHERE conversation=? AND status='running'", c)


def test_chat_routes_want_the_cookie_and_change_things_by_post_from_the_form_only(T):
    c = T.say("Hello.", answer="Hello.")
    m, before = T.last(c)["id"], T.rows("SELECT * FROM messages")
    asked = len(T.model.chats)
    reads = ["/chat", f"/chat/list?c={c}", f"/chat/context?c={c}", "/chat/complete?q=/",
            f"/conversations/{c}/edit/{m - 1}",
             f"/conversations/{c}/export.md", f"/conversations/{c}/rename", f"/conversations/{c}", "/memories"]
    given = {"/chat": f"c={c}&text=hi", "/chat/draft": f"c={c}&text=hi", "/chat/shares": "shares=pages",
             "/chat/act": f"c={c}&m={m}&act=retry", f"/conversations/{c}/delete": "x=1"}
    for path in reads: assert T.server.get(path, Cookie=None).status == 401 and T.server.get(path).status == 200, path
    for path, query in given.items():
        assert T.server.post(path, query, Cookie=None).status == 401
        assert T.server.post(path, query, Origin="http://evil.test", Sec_Fetch_Site="cross-site").status == 403
        assert T.server.get(f"{path}?{query}").status == (200 if path == "/chat" else 405)
        if "delete" not in path and "shares" not in path:
            answer = T.server.post(f"{path}?{query}", "", HX_Request="true")
            assert answer.status >= 400 or path == "/chat/draft", (path, answer)
    assert T.rows("SELECT * FROM messages") == before and len(T.model.chats) == asked
    assert not T.rows("SELECT * FROM settings WHERE key=?", f"ui.draft.{c}")
    assert T.rows("SELECT 1 FROM conversations WHERE id=?", c)
    assert T.server.get("/chat?q=hi&text=hi&c=0").status == 200 and len(T.model.chats) == asked, "A9"


def test_gets_change_nothing(chat):
    c = chat.say("Remember that tea is green.", answer="I will.")
    chat.post("/chat/draft", {"c": c, "text": "half a"})
    wait_for(lambda: list((chat.server.workspace / "backups").glob("*.db")), what="the backup at the start")
    before = dump(chat.server)
    for path in ("/chat", f"/chat/list?c={c}", f"/chat/context?c={c}", "/chat/complete?q=@t", "/chat/complete?q=/",
            "/conversations", f"/conversations/{c}", f"/conversations/{c}/edit/{chat.last(c)['parent']}",
            f"/conversations/{c}/rename", f"/conversations/{c}/export.md", "/memories", "/memories/1", "/models"):
        for more in ({}, QUIETLY): assert chat.server.get(path, **more).status == 200, path
    assert dump(chat.server) == before and len(chat.model.chats) == 1


# ─── B1–B4: what the model writes is text ───

INJECTED = [
    "<script>canary()</script>", "<img src=x onerror=canary()>", "<svg onload=canary()>", "<svg><script>canary()</script></svg>", "<iframe src=javascript:canary()></iframe>",
    "<iframe srcdoc='<script>parent.canary()</script>'></iframe>", "<form action=/tasks method=post><input name=title><button>Go</button></form>", "<input autofocus onfocus=canary()>", "<body onload=canary()>",
    "<a href='javascript:canary()'>a</a>", "[a](javascript:canary())", "[a](JaVaScRiPt:canary())", "[a](java\nscript:canary())", "[a](&#106;avascript:canary())", "[a](data:text/html,<script>canary()</script>)", "<javascript:canary()>", "[a](vbscript:canary())",
    "![a](http://evil.test/x.png)", "![a][r]\n\n[r]: http://evil.test/x.png", "[![a](http://evil.test/x.png)](http://evil.test)", "<style>@import 'http://evil.test/x.css'; p { background: url(http://evil.test/x) }</style>", "<p style='background: url(http://evil.test/x)'>a",
    "<link rel=stylesheet href=http://evil.test/x.css>", "<meta http-equiv=refresh content='0;url=http://evil.test'>", "<base href=http://evil.test>", "<object data=http://evil.test></object>", "<embed src=http://evil.test>", "<video src=http://evil.test autoplay>", "<audio src=x onerror=canary()>",
    "<div id=toasts hx-swap-oob=beforeend>canary</div>", "<div id=approve hx-swap-oob=true>canary</div>", "<b hx-get=/canary hx-trigger=load>a</b>", "<b data-hx-post=/undo data-hx-trigger=load>a</b>", "<div hx-on::load=canary()>a</div>", "<button hx-post=/undo>a</button>", "<div hx-ext=ws ws-connect=/ws>a</div>",
    "<b data-put='/undo' data-copy=body data-opens='#palette' class=menu id=messages>a</b>", "<template><script>canary()</script></template>", "<math><mtext><table><mglyph><style><img src=x onerror=canary()>", "<noscript><p title='</noscript><img src=x onerror=canary()>'>",
    "{{7+7}} ${7+7} {% raw %} <%= 7+7 %> #{7+7}", "<![CDATA[<script>canary()</script>]]>", "<!--><script>canary()</script>-->", "<?php canary() ?>", "```html\n<script>canary()</script>\n```", "````\n```\n</pre></div><script>canary()</script>\n````", "    </code></pre><script>canary()</script>",
    "`</code><script>canary()</script>`", "| a | b |\n|---|---|\n| <img src=x onerror=canary()> | <script>canary()</script> |", "[a](http://x/\"onmouseover=canary())", "[a](<http://x/<pre>>)", "[a](http://x 'title\" onclick=canary()')", "<http://x/\"onclick=\"canary()>", "&lt;script>canary()&lt;/script>",
    "\\<script>canary()\\</script>", "<scr<script>ipt>canary()</scr</script>ipt>", "<scr\0ipt>canary()</script>", "<IMG SRC=x OnErRoR=canary()>", "<b/onclick=canary()//>", "# <img src=x onerror=canary()>", "> <script>canary()</script>", "1. <form>\n2. <input>", "[x]: javascript:canary()\n\n[x]",
]
TAGS = set("p br hr h1 h2 h3 h4 h5 h6 strong em del s code pre blockquote ul ol li a table thead tbody tr th td".split())
COPY = {"type": "button", "class": "quiet", "data-copy": "code"}  # our own, beside a block of code


def strange(element: Element) -> list:
    "The elements and attributes in an answer's HTML that Markdown has no use for."
    found = []
    for e in element.all():
        if e.tag == "div" and e.attrs == {"class": "code"}: continue
        if e.tag == "button" and e.attrs == COPY and e.text == "Copy": continue
        allowed = {"a": {"href", "rel", "title"}, "ol": {"start"}}.get(e.tag, set())
        scheme = re.match(r"\s*([\w+.-]+):", e["href"])
        is_far = scheme and scheme[1] not in ("http", "https", "mailto")
        if e["href"] and e["rel"] != "noopener noreferrer": is_far = True
        if e.tag not in TAGS or set(e.attrs) - allowed or is_far: found.append((e.tag, e.attrs))
    return found


def test_b1_no_payload_split_at_any_character_becomes_markup():
    turn_of = lambda: chapter("chat").Turn(0, 0, SimpleNamespace(id="none"))
    whole = turn_of()
    assert len(INJECTED) > 30 and all(map(strange, map(tree, INJECTED[:10])))
    for payload in INJECTED:
        turn = turn_of()
        for letter in f"Well. {payload}":
            turn.text += letter
            assert not strange(tree("".join(turn.render()))), turn.text
        for n, letter in enumerate(f"\n\n{payload}"):  # and after all of the others
            whole.text += letter
            if n % 4: continue
            assert not strange(tree("".join(whole.render()[-3:]))), whole.text[-200:]


def test_b1_b2_b3_a_model_that_answers_with_markup_changes_nothing_but_its_text(T):
    text = "\n\n".join(INJECTED)
    T.model.says(text, split="bytes", rate=250, stalls_after=len(text.split()) - 2)
    c = T.begin("Say something bad.")
    with Tab(T, c) as tab:
        tab.follow(lambda: any(p["blocks"] for p in tab.pushed) and "[x]:" in tab.words)
        T.model.release()
        tab.follow()
    found = T.wait(c)
    assert found["content"] == text.replace("\0", "�") or found["content"] == text
    pushed = [block for p in tab.pushed for block in p["blocks"]]
    for block in pushed: assert not strange(tree(block)), block
    for page in (T.get(f"/chat/list?c={c}"), T.get("/chat"), T.server.get(f"/conversations/{c}")):
        prose = tree(page).one("div", cls="card messages").all("div", cls="prose")[-1] if page.text.count("<html") else \
            tree(page).one("article", id=f"m-{found['id']}").all("div", cls="prose")[0]
        assert not strange(prose) and "hx-swap-oob=true" in prose.text
        assert "{{7+7}} ${7+7} {% raw %} <%= 7+7 %>" in prose.text
        assert not tree(page).all(id="approve") and len(tree(page).all(id="toasts")) <= 1
        assert len(tree(page).all(id="messages")) <= 1
        assert "evil.test/x" not in str([e.attrs for e in tree(page).all() if e.tag != "a"])
    for payload in INJECTED[:12]:  # alone, as a whole answer
        one = T.say("Again.", answer=payload)
        shown = tree(T.get(f"/chat/list?c={one}")).one("article", id=f"m-{T.last(one)['id']}")
        assert not strange(shown.all("div", cls="prose")[0]), payload


def test_b4_what_people_and_models_are_shown_of_names_and_errors_is_escaped(chat):
    (chat.server.workspace / "files").mkdir(exist_ok=True)
    for n, payload in enumerate(MARKED):
        chat.task(payload)
        chat.remember(f"{payload} number{n}")
    chat.say(f"remember {MARKED[1]}", answer=MARKED[0])
    named = MARKED[0].replace("/", "").replace(" ", "_")
    chat.model.models.insert(0, MARKED[3])
    (chat.server.workspace / "files" / f"{named}.txt").write_text(MARKED[1])
    chat.model.says(status=500, error=MARKED[2])
    c = chat.say(f"{MARKED[4]} @files/{named}.txt @tasks number1 number2 number3 number4", status="failed")
    chat.post("/chat", {"c": c, "text": f"/rename {MARKED[5]}"})
    chat.post("/chat/draft", {"c": c, "text": MARKED[6]})
    chat.act(c, "open")
    for path in ("/chat", f"/chat/list?c={c}", f"/chat/context?c={c}", "/chat/complete?q=@canary",
            "/chat/complete?q=@files/", "/conversations", f"/conversations/{c}", f"/conversations/{c}/edit/{chat.last(c)['parent']}",
            f"/conversations/{c}/rename", "/memories", "/models", "/journal"):
        for more in ({}, QUIETLY):
            answer = chat.server.get(path, **more)
            assert answer.status == 200 and Marked(answer.text).found == []
            assert "canary" in answer.text, path
    text = chat.listed(c).text
    for payload in (MARKED[1], MARKED[2][:100], MARKED[4], named): assert payload in text, payload
    for text in (f"@{MARKED[0]}", f"@tasks/{MARKED[19]}", f"/{MARKED[0]}", f"@files/{MARKED[0]}"):
        answer = chat.post("/chat", {"c": 0, "text": text})
        chat.wait(int(tree(answer).one("input", name="c")["value"])) if answer.status == 200 else None
        assert not Marked(answer.text).found, answer


# ─── what the model sees ───

def test_what_the_model_sees_is_shown_to_the_byte(T):
    seen = lambda c: tree(T.get(f"/chat/context?c={c}")).one("pre", id="sent").text.encode()
    task = T.task("Odd <b>&amp;</b> \u2028 “quoted” \\ 💥 \x7f é e\u0301")
    c = T.say(f"Look at @tasks/{task}: <i>&lt;</i>\n\n\n  tabs\tand 日本語 &copy; </pre><b>",
            answer="Seen </pre> &amp; **more**.")
    assert seen(c) == T.model.chats[-1]["raw"]
    T.task("meanwhile")
    T.say("And now?", c, answer="  Spaces before,\n\nand lines after.\n\n")
    assert seen(c) == T.model.chats[-1]["raw"]
    shown = seen(c)
    T.retry(c)
    assert T.model.chats[-1]["raw"] == shown == seen(c)
    page = tree(T.get(f"/chat/context?c={c}"))
    assert "on this machine" in page.text
    assert re.search(r"About \d,\d\d\d tokens of 8,192|About \d+ tokens of 8,192", page.text)
    assert all(name in page.text for name in ("fixed prompt", "what you said", "answers", "events", "attachments"))
    fixed, sent = json.loads(seen(0))["messages"], T.sent()
    assert sent[:len(fixed) - 1] == fixed[:-1], "before anything is said there is the fixed prompt, with worked examples"
    assert sent[len(fixed) - 1]["content"].startswith(f"{fixed[-1]['content']}\n\n[app events]\n")
    body = T.model.chats[-1]["body"]
    assert body["truncate"] is False and body["options"]["num_ctx"] == 8192 and body["model"] == "scripted:latest"


def shown(chat: Chat) -> str:
    "The conversation in the panel, as one writes into it."
    return tree(chat.get("/chat")).one("form", id="composer").one("input", name="c")["value"]


def talked(messages: list[dict]) -> list[dict]:
    "What is sent but for the fixed prompt and its worked examples, which end in the message that the events begin in."
    at = next(n for n, m in enumerate(messages) if n and "[app events]\n" in m["content"])
    return messages[at:]


def messages_in(raw: bytes) -> bytes: return raw.partition(b'"messages":[')[2].rpartition(b'],"stream"')[0]


def test_a_conversation_only_ever_grows_at_its_end(chat):
    c, task = 0, 0
    for n in range(8):
        c = chat.say(f"Message {n}, about Momo the cat and @tasks." if n == 4 else f"Message {n} about Momo.", c,
                answer=f"Answer *{n}*:\n\n- “ü” 💥\n")
        task = chat.task(f"Task {n}")
        chat.toggle(task)
        chat.look(f"/tasks/{task}")
        if n == 1: chat.remember("Momo is a cat.")
        if n == 2: chat.post(f"/tasks/{task}/toggle", {"field": "nope"})
        if n == 3: chat.post("/undo", {})
        if n == 5: chat.post("/chat", {"c": c, "text": "/rename Something else"})
        if n == 6: chat.post("/memories/1", {"text": "Momo is a dog."})
    chats = chat.model.chats
    assert len(chats) == 8 and all(r["body"]["messages"][0] == chats[0]["body"]["messages"][0] for r in chats)
    assert chats[0]["body"]["messages"][0]["role"] == "system"
    assert not re.search(r"\d", chats[0]["body"]["messages"][0]["content"]), "no clock at the top"
    for n, (old, new) in enumerate(zip(chats, chats[1:], strict=False)):
        compact = functools.partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
        said = compact({"reply": f"Answer *{n}*:\n\n- “ü” 💥\n"})  # as it is to answer: in JSON
        answer = compact({"role": "assistant", "content": said}).encode()
        assert messages_in(new["raw"]).startswith(messages_in(old["raw"]) + b"," + answer + b","), n
        assert new["cached_tokens"] >= .95 * old["prompt_tokens"], n
        assert len(new["body"]["messages"]) == len(old["body"]["messages"]) + 2, "what was told and said are one"
    assert "Momo is a cat" in chats[2]["body"]["messages"][-1]["content"]
    assert all("Momo is a cat" not in r["body"]["messages"][-1]["content"] for r in chats[3:])


def test_a_conversation_goes_on_growing_at_its_end_after_a_restart(chat):
    c = chat.say("One.", answer="First.")
    chat.task("Between")
    chat.server.restart()
    chat.say("Two.", c, answer="Second.")
    old, new = chat.model.chats
    assert messages_in(new["raw"]).startswith(messages_in(old["raw"]))
    assert "Between" in new["body"]["messages"][-1]["content"]


# ─── awareness ───

def lines(chat: Chat, c: int) -> list[str]:
    "What happened, as the model was told in the last turn, without the time."
    return [line[6:] for line in chat.told(c) if re.match(r"\d\d:\d\d ", line)]


def test_what_happened_is_told_in_order_once_each(chat):
    c = chat.say("Hello.", answer="Hello.")
    now = datetime.now()
    assert chat.told(c) == ["Apps, with how many records they have: profiles (0), tasks (0), notes (0).",
            f"Today is {now:%A}, {now.day} {now:%B %Y}."], "nothing else has happened"
    chat.task("Call the bank")
    chat.look("/tasks")
    chat.look("/tasks/1")
    chat.toggle(1)
    assert chat.post("/tasks/1/toggle", {"field": "nope"}).status == 400
    chat.toggle(1, "off")
    chat.post("/notes", {"title": "Plan", "body": "secret"})
    chat.look("/notes/1")
    chat.look("/notes/1")
    assert chat.post("/hello", {"name": "Ada", "_act": "go"}).status in (200, 303)
    run = chat.rows("SELECT id, title FROM runs")[0]
    chat.look(f"/runs/{run['id']}")
    chat.post("/notes/1/delete", {})
    chat.post("/undo", {})
    chat.say("What did I do?", c, answer="Much.")
    now, told = datetime.now(), chat.told(c)
    assert told[0] in (f"{now:%H:%M} you added “Call the bank” (tasks 1)",
            f"{now - timedelta(minutes=1):%H:%M} you added “Call the bank” (tasks 1)"), "local time"
    assert all(re.match(r"\d\d:\d\d you ", line) or "(runs" in line for line in told)
    found = lines(chat, c)
    expected = ["you added “Call the bank” (tasks 1)", "you opened Tasks (/tasks)",
                "you opened Call the bank (/tasks/1)", "you completed “Call the bank” (tasks 1)", "you were shown: tasks has no such switch.",
                "you reopened “Call the bank” (tasks 1)", "you added “Plan” (notes 1)", "you opened Plan (/notes/1)",
                f"you opened {run['title']} (/runs/{run['id']})", "you deleted “Plan” (notes 1)", "(notes 1)"]
    at = [next(n for n, line in enumerate(found) if want in line) for want in expected[:-1]] + [len(found) - 1]
    assert at == sorted(at) and len(set(at)) == len(at), found
    assert "undid" in found[-1] and sum("opened Plan" in line for line in found) == 1 and "secret" not in str(found)
    assert f"[app events]\n{chr(10).join(told)}\n\nWhat did I do?" == chat.sent()[-1]["content"]
    chat.say("And since?", c, answer="Nothing.")
    assert chat.told(c) == [] and chat.sent()[-1]["content"] == "And since?"
    chat.task("Then this")
    chat.say("And since?", c, answer="One thing.")
    assert lines(chat, c) == ["you added “Then this” (tasks 2)"], "only what is new, and the day is known"
    other = chat.say("What did I do today?", answer="Much.")
    assert chat.told(other)[0].startswith("Apps, ") and "tasks (2)" in chat.told(other)[0]
    assert chat.told(other)[1].startswith("Today is ")
    assert "you completed “Call the bank” (tasks 1)" in lines(chat, other), "a new conversation is told of the day"
    page = chat.listed(c)
    assert "Told what happened" in page.text
    assert "completed “Call the bank”" in page.text, "and the person sees what was told"


def test_what_is_said_remembered_and_set_is_not_told_as_happening(chat):
    c = chat.say("Remember that I like plums.", answer="Yes.")
    chat.remember("And pears.")
    chat.post("/chat", {"c": c, "text": "/rename Fruit"})
    chat.post("/chat/shares", [("shares", name) for name in ("changes", "pages", "errors")])
    for path in ("/memories", "/memories/1", "/conversations", f"/conversations/{c}", "/journal",
            "/models"): chat.look(path)
    chat.say("What did I do?", c, answer="Nothing.")
    assert chat.told(c) == []


def test_a_page_that_is_not_there_was_not_opened(T):
    c = T.say("Hello.", answer="Hello.")
    assert T.server.get("/tasks/99999").status == 404
    assert T.told(T.say("And now?", c, answer="Nothing.")) == []


@pytest.fixture
def share(T) -> Iterator[Callable[..., None]]:
    "share(*names): what the model is told from now on; at the end all again."
    def share(*names: str) -> None: assert T.post("/chat/shares", [("shares", name) for name in names]).status == 204
    yield share
    share("changes", "pages", "errors")


def test_what_is_switched_off_is_not_told(T, share):
    c = T.say("Hello.", answer="Hello.")
    boxes = lambda: {e["value"] for e in tree(T.get("/chat")).all("input", name="shares") if "checked" in e.attrs}
    assert boxes() == {"changes", "pages", "errors"}
    for shared, kind in [(("pages", "errors"), "added"), (("changes", "errors"), "opened"),
            (("changes", "pages"), "shown"), ((), "")]:
        share(*shared)
        assert boxes() == set(shared)
        task = T.task("something")
        T.look(f"/tasks/{task}")
        T.post(f"/tasks/{task}/toggle", {"field": f"nope{task}"})
        T.say("And now?", c, answer="Well.")
        kinds = {kind for kind in ("added", "opened", "shown") if kind in str(lines(T, c))}
        assert kinds == {"added", "opened", "shown"} - {kind} if shared else not T.told(c), (shared, T.told(c))
    share("changes", "pages", "errors")
    assert T.told(T.say("And now?", c, answer="Well.")) == [], "nor later, when it is switched on again"


def test_what_happened_while_it_was_switched_off_is_never_told(T, share):
    c = T.say("Hello.", answer="Hello.")
    share()
    T.look(f"/tasks/{T.task('Private business')}")
    share("changes", "pages", "errors")
    T.task("Public business")
    T.say("What did I do?", c, answer="Well.")
    other = T.say("What did I do?", answer="Well.")
    for told in (T.told(c), T.told(other)): assert "Public business" in str(told) and "Private" not in str(told)


def test_nothing_is_said_of_more_where_nothing_is_shared(T, share):
    c = T.say("Hello.", answer="Hello.")
    share()
    for n in range(35): T.task(f"many {n:02}")
    assert T.told(T.say("And now?", c, answer="Well.")) == []


def test_a_group_is_one_line_and_what_is_left_out_is_said(chat, tmp_path):
    c = chat.say("Hello.", answer="Hello.")
    (tmp_path / "three.csv").write_text("title\nA\nB\nC\n")
    assert chat.server.cli("import", str(tmp_path / "three.csv"), "--app", "tasks").returncode == 0
    change = {"ids": [1, 2, 3], "action": "change", "field": "priority", "value": "high"}
    assert chat.post("/tasks/bulk", change).status == 200
    chat.say("What did I do?", c, answer="Two things.")
    assert lines(chat, c) == ["you (in the shell) imported 3 tasks (tasks)",
            "you changed 3 tasks: priority → high (tasks)"]
    for n in range(40): chat.task(f"many {n:02}")
    chat.say("What did I do?", c, answer="Much.")
    told = chat.told(c)
    assert told[0] == "… and more before"
    assert lines(chat, c) == [f"you added “many {n:02}” (tasks {n + 4})" for n in range(10, 40)]
    for n in range(20):
        chat.task(f"more {n:02}")
        chat.look(f"/tasks/{n + 1}")
    chat.say("What did I do?", c, answer="Much.")
    assert len(lines(chat, c)) <= 30 and chat.told(c)[0] == "… and more before", "of changes and pages together, too"


def test_what_happens_in_the_same_instant_is_told_in_its_order(chat, plugin):
    plugin("burst", '''"Burst."
from sololith import *

@rt("/burst", methods=["POST"])
async def burst_post(req: Request):
    with db.transaction():
        for name in "zyxwvutsrq": notes.insert(title=f"burst {name}")
    return ""
''')
    c = chat.say("Hello.", answer="Hello.")
    wait_for(lambda: chat.post("/burst", {}).status == 200, what="the plugin")
    chat.say("What happened?", c, answer="Much.")
    assert lines(chat, c) == [f"you added “burst {name}” (notes {n})" for n, name in enumerate("zyxwvutsrq", 1)]


def test_what_happened_on_another_day_says_so(chat):
    c = chat.say("Hello.", answer="Hello.")
    before = datetime.now(UTC) - timedelta(days=3)
    chat.server.stop()
    chat.execute("INSERT INTO journal(at, actor, cause, app, verb, record_id, summary) VALUES (?, 'person', '', 'tasks', "
                 "'insert', 1, 'added “Long ago”')", before.isoformat("T", "milliseconds"))
    chat.server.restart()
    chat.task("Now")
    chat.say("What did I do today?", c, answer="One thing.")
    told = chat.told(c)
    old, local = next(n for n, line in enumerate(told) if "Long ago" in line), before.astimezone()
    assert "“Now”" in told[-1]
    assert re.search(rf"{local:%a}|{local.day} {local:%b}|{local:%F}", "\n".join(told[:old + 1])), told


def test_a_new_day_is_told_at_the_latest_with_the_first_thing_that_happens_on_it(T):
    c = T.say("Hello.", answer="Hello.")
    T.execute("UPDATE messages SET facts=json_set(facts, '$.day', '2020-01-01') WHERE conversation=? AND role='events'", c)
    T.say("Nothing new?", c, answer="Nothing.")
    told = T.told(c)
    T.task("Something")
    T.say("And now?", c, answer="Something.")
    assert str(told + T.told(c)).count("Today is") == 1


# ─── the window ───

def small(chat: Chat, tokens: int) -> None:
    chat.execute("INSERT INTO settings(key, value) VALUES ('model.context', ?)", str(tokens))


def long(n: int, size: int) -> str: return " ".join(f"{n:02}{i % 100:02}" for i in range(size))


def test_a_full_window_is_summarised_for_everyone_to_see_and_the_original_is_kept(chat):
    small(chat, 1500)
    asked = []
    def play(body: dict) -> str:
        last = body["messages"][-1]["content"]
        if "Summarise this conversation" in last:
            asked.append(body)
            return f"SUMMARY {len(asked)}: the code word is plum."
        return f"Answer to {last[-4:]}."
    chat.model.answers(play)
    c, seen, kept = 0, [], []
    for n in range(12):
        c = chat.say(f"{long(n, 110)} Q{n:02}.", c)
        kept.append(chat.last(c))
        seen.append([m["role"] for m in chat.path(c)].count("summary"))
    assert seen[0] == 0 and seen[-1] >= 2 and len(asked) == seen[-1]
    assert sorted(seen) == seen, "the model is asked once for each"
    assert all(r["prompt_tokens"] < 1500 for r in chat.model.chats), "and every request fitted, or it had been refused"
    assert asked[0]["options"]["num_predict"] == 400
    assert "Q00" in asked[0]["messages"][-1]["content"], "of what was said"
    sent, text = chat.sent(), chat.model.chats[-1]["raw"].decode()
    assert sent[0] == chat.sent(0)[0] and sent[1]["content"].startswith("[what was said before, in short]\nSUMMARY")
    assert "plum" in sent[1]["content"]
    assert "Q11." in text and "Q00." not in text
    assert text.count("SUMMARY") == 1, "the newest summary stands for the older ones"
    page = chat.listed(c)
    shown = [e for e in page.all("details") if "SUMMARY" in e.text]
    assert shown and "earlier messages, in short" in shown[-1].one("summary").text
    assert "plum" in shown[-1].one("pre").text
    whole = [m["content"] for m in chat.path(c)]
    assert [a["content"] for a in kept] == [t for t in whole if t.startswith("Answer to")]
    assert sum(f"Q{n:02}." in t for n in range(12) for t in whole if not t.startswith(("Answer", "SUMMARY"))) == 12
    page = chat.server.get(f"/conversations/{c}").text
    assert all(f"Q{n:02}." in page for n in range(12)), "the original is there to be read"
    assert chat.get(f"/chat/context?c={c}").text.count("SUMMARY") == 1
    shown = tree(chat.get(f"/chat/context?c={c}")).one("pre", id="sent").text.encode()
    chat.retry(c)
    assert chat.model.chats[-1]["raw"] == shown and "summary" in chat.last(c)["facts"]["spent"]


def test_after_a_summary_the_conversation_grows_at_its_end_again(chat):
    small(chat, 1500)
    chat.model.answers(lambda body: "SHORT" if "Summarise this" in body["messages"][-1]["content"] else "Yes.")
    c = 0
    for n in range(10): c = chat.say(f"{long(n, 100)} Q{n}.", c)
    chats = [r for r in chat.model.chats if "Summarise this" not in r["body"]["messages"][-1]["content"]]
    raws = [messages_in(r["raw"]) for r in chats]
    grown = [new.startswith(old) for old, new in zip(raws, raws[1:], strict=False)]
    assert grown.count(False) == [m["role"] for m in chat.path(c)].count("summary") >= 1 and grown.count(True) >= 5


def test_a_summary_that_cannot_be_had_is_told_and_nothing_is_lost(chat):
    small(chat, 1500)
    for _ in range(2): chat.model.says("Yes.")
    c = 0
    for n in range(2): c = chat.say(f"{long(n, 330)} Q{n}.", c)
    chat.model.says("A summ", dies_after=1)
    chat.say(f"{long(2, 300)} Q2.", c, status="failed")
    assert "broke off" in chat.listed(c).text and "summary" not in [m["role"] for m in chat.path(c)]
    chat.model.says("")  # nothing stands for nothing
    chat.retry(c)
    empty = [m["role"] for m in chat.path(c) if not m["content"].strip()]
    assert "summary" not in empty, "an empty one does not stand for what was said"
    chat.model.answers(lambda body: "SHORT" if "Summarise this" in body["messages"][-1]["content"] else "Fine.")
    assert chat.retry(c)["content"] == "Fine." and "SHORT" in chat.sent()[1]["content"]


def test_a_window_that_fills_sooner_than_was_reckoned_is_summarised_too(chat):
    "Four characters a token is a guess; what the model's server counts is what holds."
    small(chat, 1500)
    chat.model.answers(lambda body: "SHORT" if "Summarise this" in body["messages"][-1]["content"] else "Yes.")
    c = chat.say("a " * 900)
    c = chat.say("b " * 900, c)
    assert chat.last(c)["content"] == "Yes." and "SHORT" in chat.sent()[1]["content"]


def test_an_attachment_too_large_is_refused_with_its_size_and_the_room_there_is(T):
    files = T.server.workspace / "files"
    (files / "large.txt").write_text("word " * 10_000)
    (files / "huge.txt").write_text("word " * 2_000_000)
    (files / "half.txt").write_text("word " * 4_000)
    (files / "half2.txt").write_text("word " * 4_000)
    told = T.refused("Read @files/large.txt")
    assert told.startswith("files/large.txt") and sizes(told)[0] == pytest.approx(12_500, rel=.02)
    assert 6_000 < sizes(told)[1] < 7_200
    assert T.say("Read @files/half.txt", answer="Read.")
    both = sizes(T.refused("Read @files/half.txt and @files/half2.txt"))
    assert both[0] == pytest.approx(10_000, rel=.02), "nor do two that each would fit"
    assert sizes(T.refused("Read @files/huge.txt"))[0] == pytest.approx(2_500_000, rel=.02), "all of it counts"


# ─── attachments ───

def test_what_is_named_by_an_at_sign_is_attached(T):
    files = T.server.workspace / "files"
    (files / "sub").mkdir(exist_ok=True)
    (files / "sales.csv").write_text("month,sum\nMay,12\n")
    (files / "sub" / "umlaut.txt").write_bytes("Grüße".encode("latin-1"))
    task = T.task("Call the bank", notes="about the <loan>", due="2026-12-24")
    T.post("/hello", {"name": "Ada"})
    run = T.rows("SELECT max(id) AS id FROM runs")[0]["id"]
    wait_for(lambda: T.rows("SELECT status FROM runs WHERE id=?", run)[0]["status"] != "running", what="the run")
    cases = [
        (f"What is @tasks/{task} about?", "/", f"tasks/{task}", ["Call the bank", "about the <loan>", "2026-12-24"]),
        (f"See @tasks/{task}.", "/", f"tasks/{task}", ["about the <loan>"]),
        ("What is in @tasks?", "/", "tasks", [f"task {task}: title: Call the bank"]),
        (f"How did @runs/{run} go?", "/", f"runs/{run}", ["of hello, is waiting", "step name (done)", "Ada"]),
        ("Sum up @files/sales.csv please", "/", "files/sales.csv", ["month,sum\nMay,12"]),
        ("@files/sub/umlaut.txt", "/", "files/sub/umlaut.txt", ["Grüße"]),
        ("What is on @page", f"/tasks/{task}", f"tasks/{task}", ["about the <loan>"]),
        ("What is on @page?", "/tasks", "tasks", ["Call the bank"]),
        ("Explain @page", f"/runs/{run}", f"runs/{run}", ["Ada"]),
        ("Sum up @page", "/files?file=sales.csv", "files/sales.csv", ["May,12"])]
    for text, page, name, held in cases:
        c = T.say(text, page=page, answer="Yes.")
        content = T.sent()[-1]["content"]
        assert f"\n\n[attached {name}]\n" in content and content.endswith(f"\n\n{text}")
        assert all(h in content for h in held), (text, content[-500:])
        assert f"Attached {name}" in T.listed(c).text and held[0] in T.listed(c).text
    c = T.say(f"Both @tasks/{task} and @files/sales.csv", answer="Yes.")
    assert [m["facts"]["name"] for m in T.path(c) if m["role"] == "attached"] == [f"tasks/{task}", "files/sales.csv"]
    c = T.say("Write to ada@example.org, or to @ada, at @ 3.", answer="Yes.")
    assert "[attached" not in T.sent()[-1]["content"].partition("[attached …]")[2], "an address attaches nothing"


def test_what_is_not_there_or_no_text_is_refused(T):
    files = T.server.workspace / "files"
    for name in ("copy.db", "copy.db-wal", ".hidden"): (files / name).write_text("text")
    (files / "picture.png").write_bytes(b"\x89PNG\0\0")
    (files / "link.txt").symlink_to("/etc/hostname")
    (files / "folder").mkdir(exist_ok=True)
    gone = ("none.csv", "copy.db", "copy.db-wal", ".hidden", "../data.db", "../.run/secret", "link.txt", "folder")
    for text, told in [*((f"@files/{name}", "no file") for name in gone), ("@files/picture.png", "no text"),
            ("@tasks/99999", "no task 99999"), ("@runs/99999", "99999"), ("@taks/1", "cannot be attached"),
            ("@settings/1", "cannot be attached")]:
        assert told in T.refused(f"Look at {text} please"), text
    assert "no file" in T.refused("@page", page="/files?file=none.csv")


def test_a_number_that_is_none_attaches_nothing_else_in_its_place(T):
    T.task("Some task")
    for text in ("@tasks/abc", "@runs/abc", "@tasks/-1"): assert T.refused(f"Look at {text} please"), text


def test_a_file_at_the_end_of_a_sentence_is_found(T):
    (T.server.workspace / "files" / "end.csv").write_text("month,sum\nMay,12\n")
    for text in ("What is in @files/end.csv?", "Look at @files/end.csv.", "(see @files/end.csv)",
            "First @files/end.csv, then go on."):
        T.say(text, answer="Yes.")
        assert "[attached files/end.csv]\nmonth,sum" in T.sent()[-1]["content"], text


def test_the_page_with_a_search_is_attached_and_one_that_cannot_be_is_refused(T):
    T.task("Buy milk")
    T.say("What is on @page?", page="/tasks?q=milk&sort=title", answer="Milk.")
    assert "[attached tasks]" in T.sent()[-1]["content"] and "Buy milk" in T.sent()[-1]["content"]
    for page in ("/", "/journal", "/models"): assert "attached" in T.refused("What is on @page?", page=page), page


# ─── memory ───

def test_what_is_to_be_remembered_is_kept_shown_and_recalled(chat):
    said = [("Remember that my cat is called Momo.", "my cat is called Momo."),
            ("Please remember: the door code is 4711", "the door code is 4711"),
            ("Merk dir, dass mein Auto blau ist.", "mein Auto blau ist."),
            ("remember I was born in Ulm", "I was born in Ulm"),
            ("Vergiss nicht, dass Ada im Mai Geburtstag hat.", "Ada im Mai Geburtstag hat.")]
    for text, kept in said:
        c = chat.say(text, answer="I will.")
        row = chat.rows("SELECT * FROM memories ORDER BY id DESC LIMIT 1")[0]
        entry = chat.journal("app='memories'")[-1]
        assert row["text"] == kept and row["lifetime"] == "always" and entry["record_id"] == row["id"]
        assert entry["verb"] == "insert"
        assert f"- {kept}" in chat.told(c, "memories") and f"[memories]\n- {kept}" in chat.sent()[-1]["content"]
        shown = next(e for e in chat.listed(c).all("details") if e["id"].startswith("m-") and "Remembered" in e.text)
        assert "open" in shown.attrs and kept in [e.text for e in shown.all("span", cls="chip")]
        assert kept in chat.get("/memories").text
    assert chat.post("/undo", {"entry": entry["id"]}).status == 200
    assert said[-1][1] not in chat.get("/memories").text, "it is undone like any change"
    n = len(chat.rows("SELECT 1 FROM memories"))
    for text in ("Do you remember the cat?", "I remember that day.", "Remember?"): chat.say(text, answer="Well.")
    assert len(chat.rows("SELECT 1 FROM memories")) == n, "what is no request is not kept"
    chat.say("Remember that my cat is called Momo.", answer="I know.")
    assert len(chat.rows("SELECT 1 FROM memories")) == n, "nor what is known"
    chat.server.restart()
    c = chat.say("What is my cat called?", answer="Momo.")
    assert "- my cat is called Momo." in chat.told(c, "memories") and "Recalled: " in chat.listed(c).text
    assert chat.sent()[-1]["content"].index("[memories]") > chat.sent()[-1]["content"].index("[app events]")
    chat.say("And my cat, again?", c, answer="Momo.")
    assert "- my cat is called Momo." not in chat.told(c, "memories"), "each is told once in a conversation"


def test_recall_ranks_by_shared_words_and_ignores_common_ones(chat):
    for text in ("My cat is called Momo.", "The cat food is in the cellar, and the cat knows.",
            "The office door opens at nine.", "This is that, and they are who I know."): chat.remember(text)
    for n in range(10): chat.remember(f"Filler number {n}.")
    c = chat.say("Hi.", answer="Hi.")
    assert len(chat.told(c, "memories")) == 10 and "Momo" not in str(chat.told(c, "memories")), "at first the newest"
    chat.say("What is this, and who are they that know about me?", c, answer="Hm.")
    assert chat.told(c, "memories") == []
    chat.say("Where is the food for the cat?", c, answer="In the cellar.")
    assert chat.told(c, "memories") == ["- The cat food is in the cellar, and the cat knows.",
            "- My cat is called Momo."]
    chat.say("Wann öffnet das OFFICE?", c, answer="At nine.")
    assert chat.told(c, "memories") == ["- The office door opens at nine."]
    chat.say(" ".join(f"word{n}x" for n in range(3000))[:20_000] + ' "AND" NOT ( * ^ NEAR/', c, answer="Fine.")


def test_memories_live_always_in_their_conversation_or_for_a_turn(chat):
    c = chat.say("Hello.", answer="Hello.")
    assert "Remembered: the code is 77" in chat.post("/chat", {"c": c, "text": "/remember here the code is 77"}).text
    answer = chat.post("/chat", {"c": c, "text": "/remember Bananas are yellow"})
    assert "Remembered: Bananas are yellow" in answer.text and "Undo" in answer.text
    rows = {r["text"]: r for r in chat.rows("SELECT * FROM memories")}
    assert rows["the code is 77"]["lifetime"] == "conversation" and rows["the code is 77"]["conversation"] == c
    assert rows["Bananas are yellow"]["lifetime"] == "always" and rows["Bananas are yellow"]["conversation"] is None
    other = chat.say("Which code opens it, and what about bananas?", answer="I do not know.")
    assert chat.told(other, "memories") == ["- Bananas are yellow"]
    chat.say("Which code opens it?", c, answer="77.")
    assert "- the code is 77" in chat.told(c, "memories")
    chat.remember("Answer in verse.", lifetime="turn")
    chat.say("Hello again.", c, answer="Hello, my friend.")
    assert "- Answer in verse." in chat.told(c, "memories")
    assert not chat.rows("SELECT 1 FROM memories WHERE lifetime='turn'")
    third = chat.say("In verse, or not?", answer="Not.")
    assert "- Answer in verse." not in chat.told(third, "memories")
    assert chat.post("/chat", {"c": c, "text": "/remember"}).status == 422
    for row in chat.rows("SELECT id FROM memories"): chat.post(f"/memories/{row['id']}/delete", {})
    fourth = chat.say("What about bananas?", answer="I do not know.")
    assert chat.told(fourth, "memories") == []
    assert "yellow" not in chat.model.chats[-1]["raw"].decode(), "what is deleted is forgotten"


def test_for_this_conversation_is_never_for_good_nor_for_none(T):
    "Before anything is said there is no conversation yet."
    answer = T.post("/chat", {"c": 0, "text": "/remember here the vault code is 77"})
    kept = T.rows("SELECT * FROM memories WHERE text LIKE '%vault%'")
    assert answer.status >= 400 or kept[0]["lifetime"] != "always", answer
    answer = T.post("/memories", {"text": "By the form: the zither is out of tune.", "lifetime": "conversation"})
    kept = T.rows("SELECT * FROM memories WHERE text LIKE '%zither%'")
    c = T.say("What about the zither?", answer="Well.")
    is_told = "zither" in str(T.told(c, "memories"))
    assert answer.status == 422 or kept[0]["conversation"] or is_told, "or else it never will be"


def test_a_memory_that_is_changed_is_told_as_it_is_now(T):
    one = T.remember("The gecko is called Momo.")
    c = T.say("What about the gecko?", answer="Momo.")
    assert "- The gecko is called Momo." in T.told(c, "memories")
    assert T.post(f"/memories/{one}", {"text": "The gecko is called Minka."}).status == 200
    T.say("What about the gecko now?", c, answer="Minka.")
    assert T.told(c, "memories") == ["- The gecko is called Minka."], "where it was told before"
    other = T.told(T.say("What about the gecko?", answer="Minka."), "memories")
    assert "- The gecko is called Minka." in other and "Momo" not in str(other), "and elsewhere"


def test_a_memory_of_several_lines_is_shown_whole(T):
    memory = T.remember("The kayak plan:\nfirst tea,\nthen cake")
    c = T.say("What is the kayak plan?", answer="Tea.")
    chips = [" ".join(e.text.split()) for e in T.listed(c).all("span", cls="chip")]
    T.post(f"/memories/{memory}/delete", {})
    assert "- The kayak plan: first tea, then cake" in " ".join(T.sent()[-1]["content"].split())
    assert "The kayak plan: first tea, then cake" in chips


def test_no_memory_keeps_a_conversation_from_beginning(chat):
    "One that is too large is refused, or not told: but the person can go on."
    for text in ("x" * 5_000_000, "word " * 8_000):
        answer = chat.post("/chat", {"c": 0, "text": f"/remember {text}"})
        assert answer.status < 500
    chat.post("/memories", {"text": "long " * 8_000})
    c = chat.begin("Hello.")
    assert chat.wait(c)["status"] == "done", chat.last(c)["facts"]


# ─── branches ───

def test_an_edited_message_is_another_branch_and_the_old_one_is_a_click_away(T):
    c = T.say("First question.", answer="First answer.")
    T.say("Second question.", c, answer="Second answer.")
    old = T.path(c)
    first = next(m for m in old if m["content"] == "First question.")
    form = tree(T.get(f"/conversations/{c}/edit/{first['id']}"))
    assert form.one("textarea").text == "First question."
    T.model.says("Better answer.")
    T.act(c, "edit", first["id"], text="Better question.")
    T.wait(c)
    said = [m["content"] for m in T.path(c) if m["role"] in ("user", "assistant")]
    assert said == ["Better question.", "Better answer."]
    assert "First question" not in str(T.sent()[1:])
    assert "Second" not in str(T.sent()[1:]), "the model is sent this branch only"
    new = next(m for m in T.path(c) if m["content"] == "Better question.")
    shown = T.listed(c).one("article", id=f"m-{new['id']}")
    assert "2 of 2" in shown.text, "the message says that it has siblings"
    T.act(c, "branch", first["id"])
    assert T.path(c) == old
    shown = T.listed(c).one("article", id=f"m-{first['id']}")
    assert "1 of 2" in shown.text, "all of the old branch is back, to its end"
    T.act(c, "branch", new["id"])
    assert T.path(c)[-1]["content"] == "Better answer."
    T.say("And then?", c, answer="This.")
    assert [m["content"] for m in T.path(c) if m["role"] == "assistant"] == ["Better answer.", "This."]


def test_what_an_edited_message_attaches_is_sent_once(T):
    one, two = T.task("Number one"), T.task("Number two")
    c = T.say(f"About @tasks/{one}", answer="One.")
    message = T.path(c)[-2]
    T.model.says("Two.")
    T.act(c, "edit", message["id"], text=f"About @tasks/{two} and not the other")
    T.wait(c)
    content = T.sent()[-1]["content"]
    assert content.count(f"[attached tasks/{two}]") == 1 and f"[attached tasks/{one}]" not in content


def test_retries_are_siblings_between_which_one_goes_back_and_forth(T):
    c = T.say("Tell me a joke.", answer="One.")
    for text in ("Two.", "Three."):
        T.model.says(text)
        T.retry(c)
    last = T.path(c)[-1]
    asked = [r["raw"] for r in T.model.chats[-3:]]
    assert last["content"] == "Three." and asked[0] == asked[1] == asked[2]
    def step(label: str) -> int: return json.loads(T.listed(c).one("button", **{"aria-label": label})["hx-vals"])["m"]
    assert "3 of 3" in T.listed(c).text
    T.act(c, "branch", step("The branch before"))
    assert T.path(c)[-1]["content"] == "Two." and "2 of 3" in T.listed(c).text
    T.say("More.", c, answer="Four.")
    assert [m["content"] for m in T.path(c) if m["role"] == "assistant"] == ["Two.", "Four."]
    T.act(c, "branch", step("The next branch"))
    assert T.path(c)[-1]["content"] == "Three."


# ─── conversations ───

def test_a_conversation_is_found_renamed_exported_deleted_and_brought_back(T):
    c = T.say("Tell me of **zebras** 100%_sure.", answer="They have *stripes*.")
    T.say("And of okapis?", c, answer="Fewer.")
    T.say("Something else.", answer="Else.")
    for q, found in (("zebras", True), ("STRIPES", True), ("okapis zebras", True), ("100%_sure", True),
            ("giraffes", False), ("100%sure", False)):
        page = T.get(f"/conversations?q={quote(q)}").text
        assert (f'href="/conversations/{c}"' in page) == found and "Something else" not in page, q
    assert T.post("/chat", {"c": c, "text": "/rename Striped animals"}).status == 200
    assert T.rows("SELECT title FROM conversations WHERE id=?", c)[0]["title"] == "Striped animals"
    assert f'href="/conversations/{c}"' in T.get("/conversations?q=striped").text
    assert "Striped animals" in T.get("/chat").text
    export = T.get(f"/conversations/{c}/export.md")
    assert export.headers["Content-Type"].startswith("text/markdown")
    assert export.headers["Content-Disposition"] == f'attachment; filename="conversation-{c}.md"'
    order = ["# Striped animals", "**You**", "Tell me of **zebras** 100%_sure.", "**Model**", "They have *stripes*.",
            "And of okapis?", "Fewer."]
    assert [export.text.index(part) for part in order] == sorted(export.text.index(part) for part in order)
    T.act(c, "open")
    before = T.path(c)
    assert T.post(f"/conversations/{c}/delete", {}).status == 200
    assert T.get(f"/conversations/{c}").status == 404 and "zebras" not in T.get("/conversations").text
    assert shown(T) == "0"
    assert "gone" in T.refused("And?", c)
    assert T.post("/undo", {}).status == 200 and T.path(c) == before
    assert "stripes" in tree(T.get(f"/conversations/{c}")).text
    assert f'href="/conversations/{c}"' in T.get("/conversations?q=okapis").text
    T.say("Are you back?", c, answer="I am.")
    assert [m["content"] for m in T.path(c)][-1] == "I am." and "zebras" in str(T.sent())


def test_the_form_that_renames_changes_the_name_and_nothing_else(T):
    c = T.say("One.", answer="First.")
    form = tree(T.get(f"/conversations/{c}/rename"))
    fields = {e["name"]: e["value"] for e in form.all("input")} | {e["name"]: e.text for e in form.all("textarea")}
    assert {n for n in fields if n[0] != "_"} == {"title"}
    T.say("Two.", c, answer="Second.")
    path = T.path(c)
    assert T.post(f"/conversations/{c}", fields | {"title": "New name"}).status == 200
    assert T.rows("SELECT title FROM conversations WHERE id=?", c)[0]["title"] == "New name" and T.path(c) == path
    T.post(f"/conversations/{c}", {"title": "Newer", "leaf": "1", "at": "2020-01-01 00:00"})
    assert T.path(c) == path, "nor by a forged one"


def test_talking_makes_no_journal_entries_and_undo_is_for_what_the_person_did(T):
    task = T.task("Undo me")
    before = T.journal()
    c = T.say("Hello.", answer="Hello.")
    T.say("And again.", c, answer="Again.")
    T.retry(c)
    T.act(c, "edit", T.path(c)[-2]["id"], text="Otherwise.")
    T.wait(c)
    T.act(c, "open")
    T.post("/chat/draft", {"c": c, "text": "half a"})
    assert T.journal() == before and not T.journal("app='messages'")
    path = T.path(c)
    assert "Undo me" in tree(T.post("/chat", {"c": c, "text": "/undo"})).text
    assert not T.rows("SELECT 1 FROM tasks WHERE id=?", task) and T.path(c) == path
    T.post(f"/conversations/{c}/delete", {})
    assert T.journal()[-1]["app"] == "conversations" and T.journal()[-1]["verb"] == "delete"
    T.post("/undo", {})


# ─── commands, completion, drafts ───

def test_commands_do_what_they_say(T):
    c = T.say("Hello.", answer="Hello.")
    asked = len(T.model.chats)
    assert T.post("/chat", {"c": c, "text": "/new"}).status == 200
    assert shown(T) == "0", "a new one is shown"
    assert T.post("/chat", {"c": c, "text": "/context"}).headers["HX-Redirect"] == f"/chat/context?c={c}"
    assert T.post("/chat", {"c": c, "text": "/model"}).headers["HX-Redirect"] == "/models"
    task = T.task("Take me back")
    T.post("/chat", {"c": c, "text": "/undo"})
    assert not T.rows("SELECT 1 FROM tasks WHERE id=?", task)
    assert T.post("/chat", {"c": c, "text": "/rename   A better name "}).status == 200
    assert T.rows("SELECT title FROM conversations WHERE id=?", c)[0]["title"] == "A better name"
    assert T.post("/chat", {"c": c, "text": "/rename"}).status == 422
    T.act(c, "open")
    assert shown(T) == str(c) and len(T.model.chats) == asked


def test_undo_of_what_is_no_entry_undoes_nothing(T):
    task = T.task("Let me be")
    for rest in ("nonsense", "99999999999999999999", "-1", "0"):
        answer = T.post("/chat", {"c": 0, "text": f"/undo {rest}"})
        assert answer.status >= 400 and T.rows("SELECT 1 FROM tasks WHERE id=?", task), rest


def test_another_model_is_chosen_by_its_name_and_one_that_is_not_there_is_refused(chat):
    chat.model.models.append("second:1b")
    assert chat.post("/chat", {"c": 0, "text": "/model ollama:second:1b"}).status == 200
    chat.say("Hello.", answer="Hello.")
    assert chat.model.chats[-1]["body"]["model"] == "second:1b" and "second:1b" in chat.get("/chat").text
    for name in ("nonsense", "ollama:nonsense", "what:ever"):
        answer = chat.post("/chat", {"c": 0, "text": f"/model {name}"})
        assert answer.status >= 400, name
        chat.say("Hello.", answer="Hello.")
        assert chat.model.chats[-1]["body"]["model"] == "second:1b", "the choice stays"
    assert chat.post("/chat", {"c": 0, "text": "/model scripted"}).status == 200, "as it is called on the page Models"
    chat.say("Hello.", answer="Hello.")
    assert chat.model.chats[-1]["body"]["model"].startswith("scripted")


def test_what_is_begun_is_completed(T):
    task = T.task("Water the xylophone")
    files = T.server.workspace / "files"
    for name in ("sales-xyz.csv", "with space.txt", ".hidden-xyz"): (files / name).write_text("x")
    offered = lambda q: [e["data-put"] for e in tree(T.get(f"/chat/complete?q={quote(q)}")).all("div", role="option")]
    assert offered("/") == ["/new", "/model", "/preview", "/remember", "/context", "/undo", "/rename", "/export"]
    assert offered("/re") == ["/remember", "/rename"]
    assert "@tasks" in offered("@ta") and offered("@page")[0] == "@page" and "@page" in offered("@")
    assert f"@tasks/{task}" in offered("@xylo")
    assert "@files/sales-xyz.csv" in offered("@sales-x") and offered("@files/sales-xyz")[0] == "@files/sales-xyz.csv"
    assert not [o for o in offered("@xyz") + offered("@space") if "hidden" in o or " " in o]
    assert offered("@qqqqq") == [] and len(offered("@")) <= 10
    parts = tree(T.get("/chat/complete?q=/")).all("div", role="option")
    assert [p["aria-selected"] for p in parts] == ["true"] + ["false"] * 7
    assert all(p.all("small")[0].text for p in parts)
    for q in offered("@xylo") + offered("@sales-x"): T.say(f"About {q} then", answer="Yes.")


def test_a_draft_is_kept_by_conversation_until_it_is_sent(chat):
    draft = lambda: tree(chat.get("/chat")).one("textarea", name="text").text
    assert chat.post("/chat/draft", {"c": 0, "text": "A new </textarea> thought"}).status == 204
    assert draft() == "A new </textarea> thought"
    c = chat.say("Hello.", answer="Hello.")
    before = chat.journal()
    assert draft() == "", "what was sent is no draft"
    chat.post("/chat/draft", {"c": c, "text": "half a sent"})
    chat.post("/chat/draft", {"c": c, "text": "half a sentence,\nand more"})
    assert chat.journal() == before, "drafts are not journalled"
    chat.server.restart(kill=True)
    assert draft() == "half a sentence,\nand more"
    assert chat.refused("@files/none.txt", c) and draft() == "half a sentence,\nand more", "a refusal leaves it there"
    chat.say("half a sentence,\nand more.", c, answer="Yes.")
    assert draft() == "" and not chat.rows("SELECT 1 FROM settings WHERE key=? AND value != '\"\"'", f"ui.draft.{c}")


# ─── other models, and none ───

def test_without_a_model_it_is_one_sentence_and_a_way_to_get_one(start):
    server = start()
    page = tree(server.get("/chat", HX_Request="true"))
    assert "no model on this machine yet" in page.text and page.one("a", href="/models").text == "Get a model"
    assert not page.all("form")
    answer = server.post("/chat", {"c": 0, "text": "Hello?"}, HX_Request="true")
    assert answer.status == 409
    assert "There is no model yet. Get one on the page Models, or start Ollama." in tree(answer).text
    assert read(server.workspace / "data.db", "SELECT * FROM messages") == [] and server.get("/tasks").status == 200
    done = cli("ask", "Hello?", "--workspace", str(server.workspace))
    assert done.returncode == 1 and "There is no model yet." in done.stderr and done.stdout == ""
    server.stop()
    done = cli("ask", "Hello?", "--workspace", str(server.workspace))
    assert done.returncode == 1 and "There is no model yet." in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_model_that_went_away_is_told_and_what_was_said_is_kept(chat):
    assert chat.post("/chat", {"c": 0, "text": "/model ollama:scripted:latest"}).status == 200
    port = chat.model.port
    chat.model.close()
    c = chat.say("Are you there?", status="failed")
    assert "Ollama does not answer" in chat.listed(c).text and "Are you there?" in chat.listed(c).text
    with ModelServer(port=port) as back:
        back.says("I am.")
        assert chat.retry(c)["content"] == "I am."


def test_words_that_leave_this_machine_say_so(chat):
    assert "leaves this machine" not in chat.get("/chat").text
    answer = chat.post("/models/server", {"url": f"{chat.model.url}/v1", "model": "scripted", "key": ""})
    assert answer.status == 200, answer
    c = 0
    for n in range(3): c = chat.say(f"Message {n}.", c, answer="**Yes**.")
    assert chat.model.chats[-1]["path"] == "/v1/chat/completions"
    assert "leaves this machine" not in chat.get("/chat").text
    facts, chats = chat.last(c)["facts"], chat.model.chats
    assert facts["reused"] == chats[-1]["cached_tokens"] >= .95 * chats[-2]["prompt_tokens"]
    assert facts["new"] == facts["prompt"] - facts["reused"]
    assert f"{facts['reused']:,} reused, {facts['new']:,} new" in chat.listed(c).text
    assert tree(chat.get(f"/chat/context?c={c}")).one("pre", id="sent").text.encode() == chats[-1]["raw"]
    chat.execute("UPDATE settings SET value='\"http://models.example/v1\"' WHERE key='model.url'")
    assert "leaves this machine: models.example" in tree(chat.get("/chat")).text
    assert "at models.example." in chat.get(f"/chat/context?c={c}").text


# ─── from the shell ───

def ask(chat: Chat, monkeypatch, capsys, *args: str, stdin: str = "") -> tuple[int, str, str]:
    "`sololith ask …` beside the server, in this process: its status and what it printed."
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    argv = ["ask", *args, "--workspace", str(chat.server.workspace)]
    return contextvars.copy_context().run(chapter("cli").main, argv), *capsys.readouterr()


def test_ask_goes_through_the_server_and_is_a_conversation_like_any(T, monkeypatch, capsys):
    asks = lambda *args, **more: ask(T, monkeypatch, capsys, *args, **more)
    T.model.says("Forty **two**.", rate=20)
    done = T.server.cli("ask", "How many lines?", stdin="a,b\n1,2\n")
    assert done.returncode == 0 and done.stdout == "Forty **two**.\n", done
    c = int(re.fullmatch(r"\(conversation (\d+)\)\s*", done.stderr)[1])
    content = T.sent()[-1]["content"]
    assert "\n\n[attached standard input]\na,b\n1,2\n\n" in content and content.endswith("How many lines?")
    assert "How many lines?" in T.listed(c).text
    T.model.says("Still.")
    assert asks("And now?", "--conversation", str(c)) == (0, "Still.\n", f"(conversation {c})\n")
    assert len(talked(T.sent())) == 3 and [m["content"] for m in T.path(c)][-1] == "Still."
    T.model.says(numbered(10), dies_after=3)
    status, out, err = asks("And now?")
    assert status == 1 and out.strip() == "w0 w1 w2" and err.startswith("sololith: Ollama broke off")
    status, out, err = asks("And now?", "--conversation", "99999")
    assert status == 1 and "gone" in err and not out
    status, out, err = asks("Read this.", stdin="word " * 20_000)
    assert status == 1 and sizes(err)[0] == pytest.approx(25_000, rel=.02) and not out


def test_ask_alone_opens_the_workspace_itself(workspace):
    with ModelServer() as model:
        env = {"OLLAMA_HOST": f"127.0.0.1:{model.port}"}
        model.says(numbered(30), rate=60)
        done = cli("ask", "Remember that tea is green.", "--workspace", str(workspace), stdin="x,y\n", **env)
        assert done.returncode == 0 and done.stdout == numbered(30) + "\n"
        assert done.stderr.strip() == "(conversation 1)", done
        assert "[attached standard input]\nx,y" in model.chats[0]["body"]["messages"][-1]["content"]
        rows = read(workspace / "data.db", "SELECT role, content, status FROM messages ORDER BY id")
        assert rows[-1] == {"role": "assistant", "content": numbered(30), "status": "done"}
        assert read(workspace / "data.db", "SELECT actor FROM journal WHERE app='memories'") == [{"actor": "cli"}]
        model.says("Green, I", dies_after=1)
        done = cli("ask", "What colour is tea?", "--conversation", "1", "--workspace", str(workspace), **env)
        assert done.returncode == 1 and done.stdout == "Green,\n"
        assert done.stderr.startswith("sololith: Ollama broke off")
        assert len(talked(model.chats[1]["body"]["messages"])) == 3 and "Traceback" not in done.stderr
