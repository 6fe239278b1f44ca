"""What people, files and plugins are called is text, never markup: threat B4.

Each payload marks what it would make with `data-canary`, and what would run sets `window.canary`. The raw HTML is read
with a parser, and the pages are opened in a browser whose Content-Security-Policy is off, so that nothing but the
escaping stands between a payload and the canary.
"""
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from helpers import Answer, Server, wait_for

PAYLOADS = [
    '<img src=x onerror="window.canary=1" data-canary>', '"><script data-canary>window.canary=1</script>', "'><svg onload=window.canary=1 data-canary>",
    '" autofocus onfocus="window.canary=1" data-canary="', "' autofocus onfocus='window.canary=1' data-canary='", "</title><script data-canary>window.canary=1</script>",
    "</textarea><img src=x onerror=window.canary=1 data-canary>", '<b data-canary hx-get="/canary" hx-trigger="load">', '<div data-canary hx-on::load="window.canary=1">', "</script><script data-canary>window.canary=1</script>",
    "<iframe data-canary srcdoc='<script>parent.canary=1</script>'>", '"}\' data-canary hx-vals=\'js:{a: window.canary=1}', "<a data-canary href=javascript:window.canary=1>a</a>", "</option></select><b data-canary>", "<!--<b data-canary>",
    "&lt;b data-canary&gt;", "&#60;b data-canary>", "<b/data-canary/onclick=window.canary=1>", "<div data-canary id=toasts hx-swap-oob=beforeend>", "${window.canary=1}{{window.canary=1}}", "[a](javascript:window.canary=1)<b data-canary>"]
PAYLOAD = "".join(p for p in PAYLOADS if len(p) < 60)


class Marked(HTMLParser):
    "What a page holds that no page of ours may: a marked element, an inline handler or script, a javascript: address."
    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.found, self.tags = [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags += 1
        for name, value in attrs:
            if name == "data-canary" or name.startswith(("on", "hx-on")): self.found.append((tag, name, value))
            if name in ("href", "src", "action", "formaction", "hx-get", "hx-post") and re.match(r"[\x00-\x20]*(javascript|data:text|vbscript)", value or "", re.I): self.found.append((tag, name, value))
            if name == "hx-get" and value == "/canary": self.found.append((tag, name, value))
            if name == "hx-vals" and not (value or "").startswith("{"): self.found.append((tag, name, value))  # js:…
        if tag == "script" and "src" not in dict(attrs): self.found.append((tag, dict(attrs)))


def clean(answer: Answer, holds: str = "canary") -> Answer:
    "The answer, once it is shown to be free of marked markup, and to hold the payload as text (else nothing was tried)."
    found = Marked(answer.text).found
    assert not found, found[:5]
    assert holds in answer.text, f"The payload is not in this answer: {answer}"
    return answer


def test_the_reader_finds_what_is_not_escaped():
    for payload in PAYLOADS[:15]:
        text = f'<p title="{payload}">{payload}</p><p title=\'{payload}\'></p>' if "textarea" not in payload and "title" not in payload else payload
        assert Marked(text).found or "<!--" in payload or "hx-vals" in payload, payload


# ─── the plugin: payloads wherever a plugin can put text ───

ODD = f'''
{PAYLOAD!r}
from sololith import *

@dataclass
class Odd:
    {PAYLOAD!r}
    title: str
    kind: Literal["plain", {PAYLOADS[0]!r}, {PAYLOADS[3]!r}] = "plain"
    code: Annotated[str, Help({PAYLOADS[0]!r}), Pattern({"a?" + PAYLOADS[3]!r} + "|.*")] = ""
    notes: Text = ""
    words: Tags = field(default_factory=list)
    data: Json = None
    page: Markdown = ""
    paper: File | None = None
    address: Url | None = None
    parent: Note | None = None

odds = crud(Odd)
link({PAYLOADS[0]!r}, "/oddly")

@header
def odd_header(): return Span({PAYLOADS[1]!r})

@rt("/oddly", methods=["GET", "POST"])
async def oddly(req: Request):
    match req.query_params.get("how"):
        case "raise": raise ValueError({PAYLOAD!r})
        case "problem": raise Problem({PAYLOADS[0]!r}, fix={PAYLOADS[1]!r})
        case "shown": return Title({PAYLOADS[5]!r}), Div(show({{{PAYLOADS[0]!r}: [{PAYLOADS[1]!r}]}}), show([{{{PAYLOADS[0]!r}: {PAYLOADS[1]!r}}}]), show([{PAYLOADS[0]!r}]), show({PAYLOADS[1]!r}))
        case "toast": return toast({PAYLOAD!r}, undo=1)
    return P("odd")
'''


@pytest.fixture(scope="module")
def T(tmp_path_factory) -> Iterator[Server]:
    "A server whose records, plugins and files are all called by payloads."
    workspace = tmp_path_factory.mktemp("escaping") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "odd.py").write_text(ODD)
    (workspace / "apps" / "<img src=x onerror='window.canary=1' data-canary>.py").write_text("")
    (workspace / "apps" / "broken.py").write_text(f'"Broken."\nraise ValueError({PAYLOAD!r})  # <b data-canary>\n')
    (workspace / "apps" / "crooked.py").write_text(f"<b data-canary> {PAYLOADS[0]}\n")
    with Server(workspace).start() as server:
        for payload in PAYLOADS:
            for app, name, more in (("tasks", "title", {"notes": payload}), ("notes", "title", {"body": payload}), ("profiles", "name", {"real_name": payload, "notes": payload})):
                assert server.post(f"/{app}", {name: payload, **more}).status == 200
        odd = {"kind": PAYLOADS[0], "code": PAYLOADS[3], "notes": PAYLOAD, "words": PAYLOADS[0], "data": json.dumps({PAYLOADS[0]: [PAYLOADS[1]]}), "page": PAYLOAD, "address": f"https://127.0.0.1/{PAYLOADS[1]}", "parent": "1"}
        for payload in PAYLOADS: clean(server.post("/odds", {"title": payload, **odd}, files={"paper": (f"{PAYLOADS[0]}.html", b"<script>window.canary=1</script>")}))
        yield server


PAGES = ["/", "/tasks", "/tasks/1", "/tasks/4", "/notes", "/notes/1", "/notes/13", "/profiles", "/profiles/1", "/odds", "/odds/1", "/odds/7", "/odds/new", "/odds/import", "/plugins", "/journal", "/oddly",
         "/oddly?how=shown", "/oddly?how=raise", "/oddly?how=problem"]
ASKED = PAGES + [f"/tasks?{quote(q)}={quote(PAYLOADS[n])}" for q in ("q", "sort", "page", "f.priority", "f.profile", PAYLOADS[3]) for n in (0, 3)] + [
    f"/tasks/new?title={quote(PAYLOADS[6])}", f"/journal?q={quote(PAYLOADS[3])}&app={quote(PAYLOADS[0])}&actor={quote(PAYLOADS[0])}&before={quote(PAYLOADS[0])}&part_of={quote(PAYLOADS[0])}",
    f"/nothing/{quote(PAYLOADS[0], safe='')}", f"/files/{quote(PAYLOADS[0], safe='')}", f"/odds/export.{quote(PAYLOADS[17], safe='')}", f"/nav?at={quote(PAYLOADS[3])}", f"/notes/options?q={quote('img')}", f"/odds/bulk?field={quote(PAYLOADS[3])}"]


@pytest.mark.parametrize("htmx", [False, True], ids=["page", "part"])
def test_b4_no_page_or_part_holds_a_payload_as_markup(T, htmx):
    parts = ["/activity", "/nav", "/odds/1/edit", "/odds/1/row", "/odds/1/history", "/tasks/1/edit", "/tasks/1/history", "/odds/bulk?field=kind", "/odds/bulk?field=parent", "/notes/options?q=img", "/palette?q=", "/palette?q=canary"]
    for path in ASKED + parts:
        answer = T.get(path, **({"HX_Request": "true"} if htmx else {}))
        assert Marked(answer.text).found == [], path
    for path in PAGES: clean(T.get(path))  # and each of these does show one


def test_b4_in_lists_forms_and_edited_rows_of_every_payload(T):
    for n in range(1, len(PAYLOADS) + 1):
        for path in (f"/tasks/{n}", f"/tasks/{n}/edit", f"/notes/{n}/row", f"/odds/{n}", f"/profiles/{n}/history"): clean(T.get(path, HX_Request="true"))


def test_b4_what_was_typed_comes_back_as_it_was(T):
    "Escaping neither loses nor doubles anything: the values of a form are the texts themselves."
    class Values(HTMLParser):
        def __init__(self, text: str):
            super().__init__(convert_charrefs=True)
            self.inputs, self.texts, self.at = {}, {}, ""
            self.feed(text)
        def handle_starttag(self, tag, attrs):
            given = dict(attrs)
            if tag == "input": self.inputs[given.get("name")] = given.get("value")
            self.at = given.get("name", "") if tag == "textarea" else ""
        def handle_data(self, data):
            if self.at: self.texts[self.at] = self.texts.get(self.at, "") + data
        def handle_endtag(self, tag): self.at = ""
    for n, payload in enumerate(PAYLOADS, 1):
        form = T.get(f"/tasks/{n}").text.partition('<div class="fields">')[2]
        values = Values(form)
        assert values.inputs["title"] == payload and values.texts["notes"] == payload


def test_b4_in_answers_to_forms_and_in_toasts(T):
    for n, payload in enumerate(PAYLOADS, 1):
        clean(T.post(f"/tasks/{n}", {"title": payload, "notes": f"{payload} again", "_version": "0"}, HX_Request="true"))
        assert Marked(T.post(f"/tasks/{n}/toggle", {"field": "is_done", "value": "on"}).text).found == []
        assert Marked(T.post(f"/tasks/{n}/toggle", {"field": payload, "value": payload}, HX_Request="true").text).found == []
        for field in ("due", "priority", "profile", "position"):
            answer = T.post(f"/tasks/{n}", {"title": payload, field: payload, "_key": "", "_version": payload, "_then": payload}, HX_Request="true")
            assert Marked(answer.text).found == [] and answer.status in (200, 422), (field, answer)
        assert Marked(T.post(f"/odds/{n}", {"title": payload, "kind": payload, "data": payload, "address": payload, "parent": payload, "_row": f"title,kind,{payload}"}).text).found == []
        for path, data in ((f"/ui/{quote(payload, safe='')}", {"value": payload}), ("/ui/theme", {"value": payload}), ("/undo", {"entry": payload}), ("/plugins", {"name": payload}), ("/profiles/current", {"profile": f"{payload}?"}),
                           ("/tasks/bulk", {"ids": "1", "action": "change", "field": payload, "value": payload}), ("/tasks/bulk", {"ids": payload, "action": payload}), ("/cli", payload.encode())):
            for headers in ({}, {"HX_Request": "true"}):
                if path == "/undo": continue  # without a number it would undo
                assert Marked(T.post(path, data, **headers).text).found == [], path
    clean(T.post("/tasks/2/delete", HX_Request="true"))
    clean(T.post("/undo", HX_Request="true"))
    clean(T.post("/undo", {"redo": "1"}, HX_Request="true"))
    clean(T.post("/undo", HX_Request="true"))
    clean(T.post("/oddly?how=toast", HX_Request="true"))


def test_b4_an_address_that_would_run_is_refused(T):
    for address in ("javascript:window.canary=1", " javascript:window.canary=1", "JaVaScRiPt:window.canary=1", "java\nscript:window.canary=1", "data:text/html,<script>window.canary=1</script>", "vbscript:x", "file:///etc/passwd", "//127.0.0.1:1/x", "\x01javascript:window.canary=1"):
        assert T.post("/profiles", {"name": "P", "address": address}).status == 422, address


def test_b4_in_the_preview_of_a_csv_and_json_import(T):
    names, row = ",".join(f'"{p.replace(chr(34), chr(34) * 2)}"' for p in ["title", *PAYLOADS]), ",".join(f'"{p.replace(chr(34), chr(34) * 2)}"' for p in [PAYLOADS[0], *PAYLOADS])
    clean(T.post("/tasks/import", {"text": f"{names}\n{row}\n"}))
    clean(T.post("/tasks/import", {}, files={"file": (f"{PAYLOADS[0]}.csv", f"{names}\n{row}\n".encode())}))
    clean(T.post("/tasks/import", {"text": json.dumps([{"title": PAYLOADS[0], PAYLOADS[1]: {PAYLOADS[0]: PAYLOADS[1]}}])}))
    wrong = f'title,due,priority\n{PAYLOADS[0].replace(",", ";")},<b data-canary>,<i data-canary>\n'.replace('"', "'")
    assert "do not fit" in clean(T.post("/tasks/import", {"text": wrong})).text
    for text in ("[" + PAYLOADS[0], "{" + PAYLOADS[1], f'"{PAYLOADS[0]}', PAYLOADS[0], '["<b data-canary>"]'): assert Marked(T.post("/tasks/import", {"text": text}).text).found == []
    assert Marked(T.post("/tasks/import", {"token": PAYLOADS[0], "action": "import"}).text).found == []


def test_b4_on_red_cards_and_in_details_of_errors(T):
    text = clean(T.get("/plugins")).text
    assert text.count("has a problem") == 3 and "&lt;img src=x onerror=" in text
    assert "Traceback" in clean(T.get("/oddly?how=raise")).text
    clean(T.get("/oddly?how=raise", HX_Request="true"), "Something went wrong")
    assert T.get("/oddly?how=problem", Cookie=None, Authorization=f"Bearer {T.secret}").json() == {"problem": PAYLOADS[0], "fix": PAYLOADS[1]}
    for path in (f"/launch?token={quote(PAYLOADS[0])}", f"/{quote(PAYLOADS[0])}"):
        assert Marked(T.get(path, Cookie=None).text).found == []
    assert b"canary" not in T.raw_get("/", f"Host: {PAYLOADS[0]}")


def test_b4_a_log_line_cannot_be_forged_and_a_header_cannot_be_written(T):
    before = len(T.log)
    forged = "x%0d%0aSololith%20is%20at%20http://127.0.0.1:1/%1b%5b2J"
    for path in (f"/{forged}", f"/files/{forged}", f"/odds/export.{forged}", f"/oddly?how=raise&x={forged}"): T.get(path)
    T.raw(f"GET /%1b[2J\x1b[31m{forged} HTTP/1.1\r\nHost: {T.host}\r\n\r\n".encode())
    said = T.log[before:]
    assert "\x1b" not in said and "Sololith is at" not in said and [line for line in T.output if "127.0.0.1:1/" in line] == []
    for payload in ("a\r\nSet-Cookie: a=b", "a\nLocation: http://127.0.0.1:1"):
        answer = T.post("/tasks", {"title": payload, "_then": "page"})
        assert answer.status == 200 and "Set-Cookie" not in answer.headers and "Location" not in answer.headers


# ─── in a browser whose policy is off ───

def watched(page) -> None:
    "No payload has become an element or run, here."
    assert page.evaluate("window.canary") is None, page.url
    assert page.locator("[data-canary]").count() == 0, page.url


def test_b4_in_a_browser_no_page_sets_the_canary(T, open_page, page_errors):
    page = open_page(T, bypass_csp=True)
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("dialog", lambda d: asked.append("canary dialog"))
    for path in PAGES:
        page.goto(T.url + path)
        assert "canary" in page.content()
        watched(page)
    page.goto(f"{T.url}/tasks?q={quote(PAYLOADS[3])}")
    watched(page)
    assert not [url for url in asked if url.endswith(("/x", "/canary")) or "dialog" in url]
    page_errors[:] = [e for e in page_errors if "how=raise" not in e and "how=problem" not in e]  # a 500 and a 400, rightly


def test_b4_in_a_browser_palette_forms_toasts_and_live_parts_do_not_either(T, open_page, page_errors):
    page = open_page(T, "/tasks", bypass_csp=True)
    page.keyboard.press("Control+k")
    page.fill("#palette input", "canary")
    page.wait_for_selector("#palette-results >> text=canary")
    watched(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")  # the first one empties the search
    page.click("#side button:text('Activity')")
    page.wait_for_selector("#activity >> text=canary")
    watched(page)
    page.click("#tasks-1 [data-row-key=e]")
    page.wait_for_selector("tr.editing")
    watched(page)
    page.click("tr.editing >> text=Cancel")
    page.keyboard.press("n")
    page.fill("#dialog [name=title]", PAYLOAD)
    page.click("#dialog button:text('Add task')")
    page.wait_for_selector("#toasts >> text=canary")
    watched(page)
    T.post("/tasks", {"title": f"{PAYLOADS[0]} live"})
    page.wait_for_selector("#tasks-list >> text=live")
    watched(page)
    (T.workspace / "apps" / "<b data-canary>.py").write_text("")  # told to every page, as a toast
    page.wait_for_selector("#toasts >> text=<b data-canary>")
    watched(page)
    page.goto(f"{T.url}/tasks/import")
    page.fill("[name=text]", f"title,{PAYLOADS[7].replace(',', '')}\n<img src=x onerror=window.canary=1 data-canary>,<b data-canary>\n")
    page.click("text=Preview")
    page.wait_for_selector("text=Which column is which?")
    watched(page)
    page.goto(f"{T.url}/odds/1")
    page.wait_for_selector("text=added")  # its history
    watched(page)
    wait_for(lambda: T.get("/").status == 200)
    (T.workspace / "apps" / "<b data-canary>.py").unlink()


def test_b4_markdown_makes_nothing_of_its_own(T, open_page, page_errors):
    bad = "\n\n".join([*PAYLOADS, "![a](http://127.0.0.1:1/x.png)", "<style>@import 'http://127.0.0.1:1/'</style>", "[a]: javascript:window.canary=1\n[a]", "<javascript:window.canary=1>", "[x](data:text/html,<script>window.canary=1</script>)",
                       "```html\n<b data-canary>\n```", "`<b data-canary>`", "| a |\n|---|\n| <b data-canary> |", '[q](http://127.0.0.1:1/ "onmouseover=window.canary=1 data-canary")', "![x][y]\n\n[y]: http://127.0.0.1:1/y.png"])
    assert T.post("/notes", {"title": "All of it", "body": bad}).status == 200
    note = re.search(r'id="notes-(\d+)"', T.get("/notes?q=All+of+it").text)[1]
    text = clean(T.get(f"/notes/{note}")).text
    prose = re.search(r'<div class="prose">(.*?)</div>', text, re.S)[1]
    assert "<img" not in prose and "<style" not in prose and "javascript:" not in re.sub(r">[^<]*", "", prose)
    page = open_page(T, f"/notes/{note}", bypass_csp=True)
    watched(page)
    assert page.locator(".prose img, .prose style, .prose iframe, .prose form").count() == 0
