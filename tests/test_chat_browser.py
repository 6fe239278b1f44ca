"""The chat as a person uses it, in a real Chromium, with a scripted model. No page may log an error or ask another host."""
import contextlib
import json
import re
import socket
import time

import apsw
import pytest
from helpers import Server, patience, read, wait_for
from model_server import ModelServer
from playwright.sync_api import Page, expect
from test_axe import RUN, axe  # noqa: F401 (a fixture)
from test_browser import LIVE, forgive

CODE = "Here is **how**:\n\n```python\ndef greet(name):\n    return f\"<b>{name}</b> & co\"\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nDone, `x < 1`."
ASKING = '''"Letters: the model writes them."
from sololith import *

letters = pipeline("Letters")

@letters.step
async def letter(to: str = "Ada", ask: Ask = None):
    "Whom shall it write to?"
    return await ask(f"Write to {to}")
'''


@pytest.fixture(scope="module")
def module_model():
    with ModelServer() as model: yield model


@pytest.fixture(scope="module")
def module_server(tmp_path_factory, module_model):
    workspace = tmp_path_factory.mktemp("chat") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "letters.py").write_text(ASKING)
    with Server(workspace).start(env={"OLLAMA_HOST": f"127.0.0.1:{module_model.port}"}) as server: yield server


@pytest.fixture
def model(module_model) -> ModelServer:
    "The scripted model, without what an earlier test has left."
    module_model.forget()
    return module_model


@pytest.fixture
def page(module_server, model, open_page):
    "A fresh tab with a new conversation and nothing typed. page.server is that server."
    fresh(module_server)
    page = open_page(module_server, "/tasks", permissions=["clipboard-read", "clipboard-write"])
    page.server = module_server
    expect(box(page)).to_be_visible()
    return page


def fresh(server: Server) -> None:
    assert server.post("/chat/act", {"c": 0, "act": "open"}).status == 204
    assert server.post("/chat/draft", {"c": 0, "text": ""}).status == 204


def box(page: Page): return page.locator("#draft")
def sends(page: Page): return page.locator("#send")
def proses(page: Page): return page.locator("#messages article:not(.user) .prose")
def said(page: Page): return page.locator("#messages .said")
def options(page: Page): return page.locator("#complete [role=option]")
def shown_id(page: Page) -> int: return int(page.locator("#composer [name=c]").input_value())
def toast(page: Page): return page.locator(".toast").last
def mark(page: Page): page.evaluate("window.mark = 1")
def is_same(page: Page) -> bool: return page.evaluate("window.mark") == 1
def script(n: int, per: int = 20) -> str: return "".join(f"w{i}" + (" " if (i + 1) % per else "\n\n") for i in range(n)).strip()
def read_words(page: Page) -> list[str]: return re.findall(r"w\d+", proses(page).last.inner_text())
def told(model: ModelServer) -> str: return json.dumps(model.chats[-1]["body"]["messages"], ensure_ascii=False)


def say(page: Page, text: str) -> None:
    box(page).fill(text)
    box(page).press("Enter")


def ended(page: Page, n: int = 1, limit: float = 8_000) -> None:
    "There are n answers, and the last one is done."
    expect(proses(page)).to_have_count(n, timeout=limit)
    expect(page.locator("#messages article:not(.user) .acts")).to_have_count(n, timeout=limit)
    expect(sends(page)).to_have_text("Send", timeout=limit)


def asked(page: Page, model: ModelServer, text: str, answer: str | None = None, n: int = 1, **options) -> None:
    if answer is not None: model.says(answer, **options)
    say(page, text)
    ended(page, n)


# ─── saying and reading ───

def test_the_panel_is_on_every_page(page, page_errors):
    for path in ("/", "/tasks/new", "/hello", "/runs", "/journal", "/models", "/memories", "/conversations", "/plugins", "/nowhere"):
        page.goto(page.server.url + path)
        expect(box(page)).to_be_visible()
        expect(page.locator("#chat")).to_contain_text("scripted")
    forgive(page_errors, "nowhere.* 404")


def test_c_focuses_the_box_shift_enter_makes_a_line_and_enter_sends(page, model):
    page.keyboard.press("c")
    expect(box(page)).to_be_focused()
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Two")
    expect(box(page)).to_have_value("One\nTwo")
    model.says("Heard.")
    page.keyboard.press("Enter")
    expect(said(page)).to_have_text("One\nTwo")
    ended(page)
    expect(proses(page)).to_have_text("Heard.")
    expect(box(page)).to_have_value("")
    expect(box(page)).to_be_focused()
    assert model.chats[-1]["body"]["messages"][-1]["content"].endswith("One\nTwo")


@pytest.mark.parametrize("closed", ["panel", "side"])
def test_c_also_opens_what_is_closed(page, closed):
    "The help says of c: talk with the model."
    if closed == "panel": page.click("[data-toggle=panel]")
    else: page.click("#side .tabs button:has-text('Activity')")
    expect(box(page)).not_to_be_visible()
    try:
        page.locator("body").press("c")
        expect(box(page)).to_be_focused(timeout=2000)
    finally:
        page.server.post("/ui/panel", {"value": "true"})
        page.server.post("/ui/side", {"value": "chat"})


def test_an_answer_streams_in_as_markdown_with_code_that_is_copied(page, model):
    model.says(CODE, stalls_after=len(re.findall(r"\S+", CODE.partition("| a")[0])))
    say(page, "How?")
    answer = proses(page).last
    expect(answer.locator("strong")).to_have_text("how", timeout=LIVE)  # before the end of it
    expect(answer.locator("pre code")).to_contain_text('return f"<b>{name}</b> & co"')
    expect(answer.locator("table")).to_have_count(0)
    expect(sends(page)).to_have_text("Stop")
    model.release()
    ended(page)
    expect(answer.locator("table td")).to_have_text(["1", "2"])
    expect(answer.locator("p code")).to_have_text("x < 1")
    answer.locator(".code button").click()
    expect(answer.locator(".code button")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").rstrip("\n") == 'def greet(name):\n    return f"<b>{name}</b> & co"'
    page.locator("#messages article:not(.user) > .acts button:has-text('Copy')").click()
    copied = lambda: page.evaluate("navigator.clipboard.readText()")
    wait_for(lambda: copied().startswith("Here is how"), 3, "the whole answer on the clipboard")
    assert "Done, x < 1." in copied()
    assert "Copy" not in copied() and "Copied" not in copied(), "the label of the button was copied along"


def test_code_can_be_copied_while_the_answer_goes_on(page, model):
    model.says(f"```\nfirst\n```\n\n{script(60)}", stalls_after=40)
    say(page, "Code")
    expect(proses(page)).to_contain_text("w30", timeout=LIVE)
    proses(page).locator(".code button").click()
    wait_for(lambda: page.evaluate("navigator.clipboard.readText()").strip() == "first", 3, "the code on the clipboard")
    model.release()
    ended(page)


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop_and_escape_stop_the_model_itself(page, model, how):
    model.says(script(400), rate=50)
    say(page, "Count")
    expect(proses(page)).to_contain_text("w5", timeout=LIVE)
    if how == "button": sends(page).click()
    else: box(page).press("Escape")
    model.wait(lambda: model.cancelled == 1 and not model.running, 3)
    ended(page)
    expect(page.locator("#messages")).to_contain_text("Stopped.")
    words = read_words(page)
    assert 5 < len(words) < 300 and words == [f"w{i}" for i in range(len(words))]
    asked(page, model, "And now?", "Now this.", n=2)


def test_retry_asks_again_beside_the_first_answer_and_the_details_say_what_it_took(page, model):
    asked(page, model, "Joke?", "First joke.")
    model.says("Second joke.")
    page.locator("#messages button:has-text('Retry')").click()
    expect(proses(page)).to_have_text("Second joke.", timeout=LIVE)
    ended(page)
    expect(page.locator("#messages")).to_contain_text("2 of 2")
    page.get_by_label("The branch before").click()
    expect(proses(page)).to_have_text("First joke.", timeout=LIVE)
    page.get_by_label("The next branch").click()
    expect(proses(page)).to_have_text("Second joke.", timeout=LIVE)
    page.locator("#messages .acts summary").last.click()
    details = page.locator("#messages .acts details p").last
    expect(details).to_be_visible()
    for words in (r"[\d,]+ tokens read", r"[\d,]+ reused", r"[\d,]+ new", r"\d+ written", "a second", r"first after [\d.]+ s", "ollama:scripted"):
        expect(details).to_contain_text(re.compile(words))
    expect(details).to_be_in_viewport(ratio=1)


def test_the_meter_says_what_the_window_is_spent_on_and_leads_to_what_the_model_sees(page, model):
    asked(page, model, "Measure me", "A measured answer.")
    meter = page.locator("#meter")
    expect(meter).to_contain_text("of 8,192")
    meter.locator("summary").click()
    for name in ("fixed prompt", "what you said", "answers", "events"): expect(meter).to_contain_text(name)
    inside = meter.locator("div")
    expect(inside).to_be_in_viewport(ratio=1)
    meter.get_by_text("Show what the model sees").click()
    page.wait_for_url("**/chat/context?c=*")
    sent = page.locator("#sent").text_content()
    assert sent.encode() == model.chats[-1]["raw"], "what is shown is not what was sent"
    expect(page.locator("main")).to_contain_text("fixed prompt")


# ─── editing and branches ───

def edit(page: Page, old: str, new: str, by_key: bool = False) -> None:
    if by_key:
        box(page).focus()
        page.keyboard.press("ArrowUp")
    else: page.locator("article.user", has_text=old).get_by_role("button", name="Edit").click()
    field = page.locator("#messages textarea")
    expect(field).to_be_focused()
    expect(field).to_have_value(old)
    field.fill(new)


@pytest.mark.parametrize("by_key", [False, True], ids=["button", "ArrowUp"])
def test_an_edited_message_makes_a_branch_and_both_can_be_read(page, model, by_key):
    asked(page, model, "Capital of Frnace?", "No such country.")
    edit(page, "Capital of Frnace?", "Capital of France?", by_key)
    model.says("Paris.")
    page.keyboard.press("Control+Enter")
    expect(said(page)).to_have_text(["Capital of France?"], timeout=LIVE)
    ended(page)
    expect(proses(page)).to_have_text("Paris.")
    assert "Frnace" not in told(model)
    page.get_by_label("The branch before").click(timeout=2000)
    expect(said(page)).to_have_text(["Capital of Frnace?"], timeout=LIVE)
    expect(proses(page)).to_have_text("No such country.")
    page.get_by_label("The next branch").click(timeout=2000)
    expect(proses(page)).to_have_text("Paris.", timeout=LIVE)


def test_editing_the_second_message_keeps_the_first(page, model):
    asked(page, model, "One", "First.")
    asked(page, model, "Twoo", "Second.", n=2)
    edit(page, "Twoo", "Two")
    model.says("Better.")
    page.locator("#messages form button:has-text('Send')").click()
    expect(said(page)).to_have_text(["One", "Two"], timeout=LIVE)
    ended(page, 2)
    expect(proses(page)).to_have_text(["First.", "Better."])


def test_an_edit_can_be_left_by_escape_or_cancel(page, model):
    asked(page, model, "Keep me", "Kept.")
    edit(page, "Keep me", "Changed")
    page.locator("#messages form button:has-text('Cancel')").click()
    expect(said(page)).to_have_text(["Keep me"])
    edit(page, "Keep me", "Changed", by_key=True)
    page.keyboard.press("Escape")
    expect(said(page)).to_have_text(["Keep me"], timeout=2000)


def test_a_message_that_is_being_edited_outlives_an_answer_that_ends(page, model):
    asked(page, model, "One", "First.")
    model.says(script(60), stalls_after=30)
    say(page, "Two")
    expect(proses(page).last).to_contain_text("w20", timeout=LIVE)
    edit(page, "One", "One, half chan")
    model.release()
    expect(sends(page)).to_have_text("Send", timeout=LIVE)
    page.wait_for_timeout(200)
    expect(page.locator("#messages textarea")).to_have_value("One, half chan", timeout=1000)


# ─── conversations ───

def test_conversations_are_begun_opened_searched_renamed_deleted_and_brought_back(page, model):
    asked(page, model, "About walruses", "They have tusks.")
    first = shown_id(page)
    page.get_by_label("New conversation").click()
    expect(proses(page)).to_have_count(0)
    expect(page.locator("#messages")).to_contain_text("attaches a record")
    asked(page, model, "About zebras", "They have stripes.")
    menu = page.locator("summary[aria-label=Conversations]")
    expect(menu).to_have_text("About zebras", timeout=LIVE)
    menu.click()
    page.locator("#chat header .menu button", has_text="About walruses").click()
    expect(proses(page)).to_have_text("They have tusks.", timeout=LIVE)
    assert shown_id(page) == first
    expect(page.locator("#chat header .menu > div").first).not_to_be_visible(timeout=2000)  # what was chosen closes the menu
    menu.click()
    page.get_by_text("All conversations").click()
    page.wait_for_url("**/conversations")
    page.fill("input[name=q][data-key]", "tusks")
    expect(page.locator("[data-row] a.title")).to_have_text(["About walruses"], timeout=LIVE)
    page.locator("[data-row] a.title").click()
    expect(page.locator("main .messages")).to_contain_text("They have tusks.")
    page.click("main button:has-text('Rename')")
    expect(page.locator("#dialog :is(input, select, textarea):visible")).to_have_count(1)
    page.fill("#dialog [name=title]", "Big teeth")
    page.keyboard.press("Enter")
    expect(page.locator("#dialog")).not_to_be_visible(timeout=LIVE)
    expect(page.locator("h1")).to_have_text("Big teeth", timeout=LIVE)
    expect(menu).to_have_text("Big teeth", timeout=2000)  # the panel hears of it
    page.click("#nav a[href='/conversations']")
    page.get_by_label("Delete Big teeth").click()
    expect(page.locator("main")).not_to_contain_text("Big teeth")
    expect(box(page)).to_be_visible()
    expect(proses(page)).to_have_count(0, timeout=2000)  # what is deleted is not shown any more
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.locator("[data-row] a.title", has_text="Big teeth")).to_be_visible(timeout=LIVE)
    page.goto(f"{page.server.url}/conversations/{first}")
    expect(page.locator("main .messages")).to_contain_text("They have tusks.")


def test_after_a_conversation_is_deleted_the_panel_still_takes_a_message(page, model, page_errors):
    asked(page, model, "Short lived", "Yes.")
    page.server.post(f"/conversations/{shown_id(page)}/delete")
    page.wait_for_timeout(200)
    model.says("Anew.")
    say(page, "Once more")
    expect(proses(page).last).to_have_text("Anew.", timeout=3000)
    assert not page_errors, page_errors


def test_on_the_page_of_a_conversation_the_panel_works_as_elsewhere(page, model):
    "The same messages are in the page twice there."
    asked(page, model, "One", "First.")
    page.goto(f"{page.server.url}/conversations/{shown_id(page)}")
    expect(proses(page)).to_have_text("First.")
    edit(page, "One", "Uno")
    page.locator("#messages form button:has-text('Cancel')").click()
    model.says(script(60), stalls_after=30)
    say(page, "Two")
    expect(proses(page).last).to_contain_text("w29", timeout=LIVE)
    model.release()
    ended(page, 2)
    expect(page.locator("main .messages")).to_contain_text("w59", timeout=LIVE)


def test_slash_commands_do_what_they_say(page, model, page_errors):
    asked(page, model, "Hello", "Hello.")
    say(page, "/rename Greetings")
    expect(page.locator("summary[aria-label=Conversations]")).to_have_text("Greetings", timeout=2000)
    say(page, "/remember My cat is called Momo.")
    expect(toast(page)).to_contain_text("Remembered: My cat is called Momo.")
    say(page, "/new")
    expect(proses(page)).to_have_count(0, timeout=LIVE)
    expect(page.locator("summary[aria-label=Conversations]")).to_have_text("New conversation", timeout=LIVE)
    asked(page, model, "What is my cat called?", "Momo.")
    expect(page.locator("#messages")).to_contain_text("Recalled: My cat is called Momo.")
    assert "Momo" in told(model)
    say(page, "/nwe")
    expect(toast(page)).to_contain_text("There is no command /nwe")
    expect(box(page)).to_have_value("/nwe")
    forgive(page_errors, "40[0-9]|422")
    say(page, "/context")
    page.wait_for_url("**/chat/context?c=*")


# ─── drafts and tabs ───

def test_a_draft_outlives_navigation_and_is_there_in_a_second_tab(page, open_page):
    box(page).focus()
    page.keyboard.type("Not yet sai")
    page.keyboard.type("d")
    page.click("#nav a[href='/notes']")  # at once
    page.wait_for_url("**/notes")
    expect(box(page)).to_have_value("Not yet said")
    other = open_page(page.server, "/journal")
    expect(box(other)).to_have_value("Not yet said")


def test_what_was_sent_is_no_draft_any_more_however_late_the_page_hears_of_it(page, model):
    heard = []
    def slowly(route) -> None:
        answer = page.server.post("/chat", route.request.post_data, Hx_Request="true", Hx_Current_Url=page.url)
        page.wait_for_timeout(500)  # longer than it takes until what is typed is kept
        route.fulfill(status=answer.status, body=answer.text, headers=dict(answer.headers.items()))
        heard.append(answer)
    asked(page, model, "One", "First.")
    page.route(re.compile("/chat$"), lambda route: slowly(route) if route.request.method == "POST" else route.continue_())
    asked(page, model, "Two", "Second.", n=2)
    wait_for(lambda: page.wait_for_timeout(20) or heard, 5, "the answer of the server")
    page.wait_for_timeout(400)
    page.unroute_all()
    page.reload()
    ended(page, 2)
    expect(box(page)).to_have_value("")


def test_a_draft_belongs_to_its_conversation(page, model):
    asked(page, model, "One", "First.")
    box(page).fill("for the first")
    page.get_by_label("New conversation").click()
    expect(box(page)).to_have_value("", timeout=LIVE)
    page.locator("summary[aria-label=Conversations]").click()
    page.locator("#chat header .menu button", has_text="One").first.click()
    expect(box(page)).to_have_value("for the first", timeout=LIVE)


def test_what_is_half_typed_outlives_all_that_happens_meanwhile(page, model):
    model.says(script(200), rate=80)
    say(page, "Tell me")
    expect(proses(page)).to_contain_text("w3", timeout=LIVE)
    mark(page)
    box(page).focus()
    typed = ""
    for n in range(40):
        page.keyboard.type(part := f"{n:02d} ")
        typed += part
        if n % 8 == 2: page.server.post("/tasks", {"title": f"Noise {n}"})
        if n % 8 == 4: page.server.post("/models/use", {"model": "ollama:scripted"})  # every panel asks for itself again
        if n == 20: page.server.post(f"/conversations/{shown_id(page)}", {"_row": "title", "title": "Another title"})
        page.wait_for_timeout(20)
    assert box(page).input_value() == typed
    ended(page)
    expect(box(page)).to_have_value(typed)
    expect(box(page)).to_be_focused()
    assert box(page).evaluate("el => el.selectionStart") == len(typed) and is_same(page)
    assert read_words(page) == [f"w{i}" for i in range(200)]


def test_tabs_stay_in_step(page, model, open_page):
    other = open_page(page.server, "/notes")
    expect(box(other)).to_be_visible()
    mark(other)
    model.says(script(60), stalls_after=30)
    say(page, "For both")
    for tab in (page, other):
        expect(said(tab)).to_have_text("For both", timeout=LIVE)
        expect(proses(tab)).to_contain_text("w25", timeout=LIVE)
        expect(sends(tab)).to_have_text("Stop", timeout=LIVE)
    model.release()
    for tab in (page, other):
        ended(tab)
        assert read_words(tab) == [f"w{i}" for i in range(60)]
    say(other, "Back")
    expect(said(page)).to_have_text(["For both", "Back"], timeout=LIVE)
    other.get_by_label("New conversation").click()
    expect(said(page)).to_have_count(0, timeout=LIVE)
    assert is_same(other)


def test_a_list_that_comes_late_does_not_bring_back_the_conversation_that_was_left(page, model):
    "The list of the one that is left may be on its way while the panel already shows the other."
    late = []
    page.route(re.compile(r"/chat/list[?]c=0"), lambda route: late.append(route))
    model.says(script(40), stalls_after=20)
    say(page, "Late")
    expect(proses(page)).to_contain_text("w15", timeout=LIVE)
    first = shown_id(page)
    page.route(re.compile(rf"/chat/list[?]c={first}\b"), lambda route: late.append(route))
    for route in late: route.continue_()
    page.wait_for_timeout(200)
    expect(said(page)).to_have_text("Late")
    expect(sends(page)).to_have_text("Stop")
    late.clear()
    model.release()  # its end is told, and its list is asked for
    wait_for(lambda: page.wait_for_timeout(20) or late, 5, "the list to be asked for")
    page.get_by_label("New conversation").click()
    expect(page.locator("#messages")).to_contain_text("attaches a record", timeout=LIVE)
    for route in late: route.continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#messages")).to_contain_text("attaches a record")
    page.unroute_all()
    asked(page, model, "Anew", "Yes.")
    expect(said(page)).to_have_text("Anew")


def test_other_tabs_that_look_take_nothing_from_an_answer(page, model):
    "What a tab asks for in the middle of an answer must not be left out of what the others are sent."
    text = script(300, per=5)
    model.says(text, rate=250, stalls_after=280)
    say(page, "Many look")
    expect(proses(page)).to_contain_text("w5", timeout=LIVE)
    conversation = shown_id(page)
    while "w275" not in page.server.get(f"/chat/list?c={conversation}").text: time.sleep(0.01)
    expect(proses(page)).to_contain_text("w279", timeout=LIVE)
    assert read_words(page) == [f"w{i}" for i in range(280)]
    model.release()
    ended(page)
    assert read_words(page) == [f"w{i}" for i in range(300)]


def test_a_reload_and_other_pages_in_the_middle_of_an_answer_lose_and_double_nothing(page, model):
    text = script(360, per=12)
    model.says(text, rate=120, stalls_after=340)
    say(page, "Long")
    for path, until in (("", "w20"), ("/notes", "w90"), ("/journal", "w160"), ("", "w220"), ("/tasks", "w280")):
        expect(proses(page)).to_contain_text(re.compile(rf"{until}\b"), timeout=LIVE)
        if path: page.click(f"#nav a[href='{path}']")
        else: page.reload()
        expect(proses(page).locator("p").first).to_be_visible(timeout=LIVE)
        words = read_words(page)
        assert words == [f"w{i}" for i in range(len(words))] and len(words) > int(until[1:])
    expect(sends(page)).to_have_text("Stop")
    model.release()
    ended(page)
    assert proses(page).inner_text() == text
    assert said(page).all_inner_texts() == ["Long"]


def test_a_socket_that_breaks_in_the_middle_of_an_answer_loses_nothing(page, model):
    sockets = []
    def connect(ws) -> None:
        ws.connect_to_server()
        sockets.append(ws)
    page.route_web_socket(re.compile("/ws"), connect)
    page.reload()
    model.says(script(120), stalls_after=60)
    say(page, "Break")
    expect(proses(page)).to_contain_text("w55", timeout=LIVE)
    known = len(sockets)
    sockets[-1].close(code=1012)
    model.release()  # the rest comes while nobody hears it
    wait_for(lambda: page.wait_for_timeout(20) or len(sockets) > known, 5, "the socket to come back")
    ended(page, limit=4000)
    assert read_words(page) == [f"w{i}" for i in range(120)]


def test_what_is_said_before_the_socket_is_open_is_answered_all_the_same(page, model):
    held = []
    page.route_web_socket(re.compile("/ws"), lambda ws: held.append(ws))  # it is open for the page, and nobody tells it anything yet
    page.reload()
    model.says("Early.")
    say(page, "Early?")
    model.wait(lambda: model.chats and not model.running)
    for ws in held: ws.close(code=1012)
    page.unroute_all() if not held else page.route_web_socket(re.compile("/ws"), lambda ws: ws.connect_to_server())
    ended(page)
    expect(said(page)).to_have_text("Early?")


def test_a_title_made_of_a_message_is_in_every_tab(page, model, open_page):
    other = open_page(page.server, "/notes")
    asked(page, model, "What shall we cook?", "Soup.")
    for tab in (page, other):
        expect(tab.locator("summary[aria-label=Conversations]")).to_have_text("What shall we cook?", timeout=LIVE)


# ─── speed ───

WATCH = """() => { window.gaps = []; let last = performance.now(); window.ticking = true
  const tick = now => { gaps.push(now - last); last = now; if (ticking) requestAnimationFrame(tick) }
  requestAnimationFrame(tick) }"""


def long_text(n: int) -> str:
    "Paragraphs, lists, short code and one long piece of it: n words, which are numbered."
    parts, at = [], 0
    while at < n:
        many = min(n - at, 700 if at == 2000 else 50)
        words = [f"w{i}" for i in range(at, at + many)]
        lines = [" ".join(words[i:i + 10]) for i in range(0, many, 10)]
        kind = "code" if many == 700 else ("text", "list", "text", "code", "table")[at // 50 % 5]
        if kind == "code": parts.append("```python\n" + "\n".join(lines) + "\n```")
        elif kind == "list": parts.append("\n".join(f"- {line}" for line in lines))
        elif kind == "table": parts.append("| a | b |\n|---|---|\n" + "\n".join(f"| {line} | **x** |" for line in lines))
        else: parts.append("\n".join(lines))
        at += many
    return "\n\n".join(parts)


def test_five_thousand_tokens_at_500_a_second_stay_smooth(page, model):
    text = long_text(5000)
    pieces = re.findall(r"\s*\S+", text)
    step = len(pieces) / 5000
    pieces = ["".join(pieces[round(i * step):round((i + 1) * step)]) for i in range(5000)]
    assert "".join(pieces) == text
    model.says(text, pieces=pieces, rate=500)
    page.evaluate(WATCH)
    say(page, "Everything")
    expect(proses(page)).to_contain_text("w100", timeout=LIVE)
    page.evaluate("gaps.length = 0")
    began = time.monotonic()
    box(page).focus()
    while sends(page).text_content() == "Stop":
        page.keyboard.type("a")  # typing goes on beside it
        page.wait_for_timeout(250)
        assert time.monotonic() - began < 30 * patience()
    gaps = sorted(page.evaluate("() => { ticking = false; return gaps }"))
    ended(page)
    assert read_words(page) == [f"w{i}" for i in range(5000)]
    assert set(box(page).input_value()) == {"a"}
    p95, most = gaps[int(len(gaps) * 0.95)], gaps[-1]
    print(f"{len(gaps)} frames in {time.monotonic() - began:.1f} s: p95 {p95:.0f} ms, longest {most:.0f} ms, load {patience():.1f}")
    assert p95 < 100 * patience(), f"p95 {p95:.0f} ms, longest {most:.0f} ms"
    low = page.locator("#messages").evaluate("el => el.scrollHeight - el.scrollTop - el.clientHeight")
    assert low < 60, "the end of the answer is not in view"


def test_who_has_scrolled_up_is_left_there(page, model):
    model.says(script(900, per=15), rate=600)
    say(page, "Long")
    expect(proses(page)).to_contain_text("w300", timeout=LIVE)
    page.locator("#messages").evaluate("el => { el.scrollTop = 0 }")
    ended(page)
    assert page.locator("#messages").evaluate("el => el.scrollTop") < 20


# ─── completion ───

def test_a_slash_offers_commands_by_arrows_tab_enter_and_escape(page, model):
    box(page).focus()
    page.keyboard.type("/")
    expect(options(page).first).to_contain_text("/new")
    names = page.locator("#complete [role=option] span").all_text_contents()
    assert {"/new", "/model", "/remember", "/context", "/undo"} <= set(names)
    chosen = page.locator("#complete [aria-selected=true]")
    expect(chosen).to_contain_text("/new")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_contain_text("/model")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(chosen).to_contain_text(names[-1])
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    expect(box(page)).to_be_focused()
    page.keyboard.type("rem")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("Tab")
    expect(box(page)).to_have_value("/remember ")
    expect(box(page)).to_be_focused()
    expect(options(page)).to_have_count(0)
    box(page).fill("")
    page.keyboard.type("/con")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("Enter")  # takes it; the next one sends it
    expect(box(page)).to_have_value("/context ")
    box(page).fill("")
    page.keyboard.type("/ne")
    expect(options(page)).to_have_count(1)
    options(page).first.click()
    expect(box(page)).to_have_value("/new ")
    page.keyboard.press("Enter")
    expect(box(page)).to_have_value("")
    assert not model.chats


def test_a_record_is_attached_by_at_and_is_in_the_conversation(page, model):
    page.server.post("/tasks", {"title": "Polish the sextant", "notes": "With wool, never with steel."})
    number = page.server.get("/tasks/export.json").json()[-1]["id"]
    box(page).focus()
    page.keyboard.type("Look at @sext")
    expect(options(page).first).to_contain_text(f"@tasks/{number}")
    page.keyboard.press("Tab")
    expect(box(page)).to_have_value(f"Look at @tasks/{number} ")
    page.keyboard.type("please")
    model.says("With wool.")
    page.keyboard.press("Enter")
    ended(page)
    attached = page.locator("#messages > details", has_text=f"Attached tasks/{number}")
    expect(attached).to_be_visible()
    attached.locator("summary").click()
    expect(attached).to_contain_text("never with steel")
    assert "With wool, never with steel." in told(model) and f"[attached tasks/{number}]" in told(model)
    box(page).fill("")
    page.keyboard.type("@pa")
    expect(options(page).first).to_contain_text("@page")


def test_enter_sends_at_once_what_has_no_completion(page, model):
    model.says("Noted.")
    box(page).focus()
    page.keyboard.type("write to me@nowhere.example")
    page.keyboard.press("Enter")
    ended(page)
    expect(said(page)).to_have_text("write to me@nowhere.example")
    expect(options(page)).to_have_count(0)


def test_enter_sends_a_reference_that_is_typed_out(page, model):
    "Also where the search finds other things that fit it."
    page.server.post("/tasks", {"title": "Tasks, the great book of"})
    number = page.server.get("/tasks/export.json").json()[-1]["id"]
    asked(page, model, f"Look at tasks {number}", "Yes.")  # the title of a conversation now
    box(page).focus()
    page.keyboard.type(f"What is @tasks/{number}")
    expect(options(page).first).to_contain_text(f"@tasks/{number}")
    page.keyboard.press("Enter")
    ended(page, 2)
    expect(said(page).last).to_have_text(f"What is @tasks/{number}")
    page.keyboard.type(f"And again @tasks/{number}")
    page.keyboard.press("Enter")  # before anything is offered
    ended(page, 3)
    expect(said(page).last).to_have_text(f"And again @tasks/{number}")


def test_what_cannot_be_attached_is_said_and_what_was_typed_stays(page, page_errors):
    say(page, "Look at @tasks/99999 please")
    expect(toast(page)).to_have_class(re.compile("bad"))
    expect(box(page)).to_have_value("Look at @tasks/99999 please")
    box(page).fill("x" * 60_000)
    box(page).press("Enter")
    expect(toast(page)).to_contain_text(re.compile(r"about 15,000 tokens, and there is room for [\d,]+"))
    assert len(box(page).input_value()) == 60_000
    expect(said(page)).to_have_count(0)
    forgive(page_errors, "404|413")


# ─── what goes wrong ───

def test_an_answer_that_fails_says_why_keeps_what_came_and_can_be_retried(page, model):
    model.says(script(40), dies_after=20)
    say(page, "Fail")
    expect(page.locator("#messages .error")).to_contain_text("broke off", timeout=LIVE)
    ended(page)
    assert len(read_words(page)) >= 19
    model.says("Better now.")
    page.locator("#messages button:has-text('Retry')").click()
    expect(proses(page)).to_have_text("Better now.", timeout=LIVE)
    model.says(status=400, error="the model is <b>ill</b>")
    say(page, "Again")
    expect(page.locator("#messages .error")).to_contain_text("the model is <b>ill</b>", timeout=LIVE)


PAYLOADS = r"""<script>canary=1</script>
<img src=x onerror=canary=1>
<svg onload=canary=1></svg>
<svg><script>canary=1</script></svg>
<iframe srcdoc="<script>parent.canary=1</script>"></iframe>
<iframe src="javascript:parent.canary=1"></iframe>
<form action=/undo method=post><button autofocus>Go</button></form>
<a href="javascript:canary=1">x</a>
[x](javascript:canary=1)
[x](data:text/html;base64,PHNjcmlwdD5jYW5hcnk9MTwvc2NyaXB0Pg==)
[x](JaVaScRiPt:canary=1)
[x](&#106;avascript:canary=1)
![x](x"onerror="canary=1)
![x](https://evil.example/pixel.png)
<div onclick=canary=1 onmouseover=canary=1>x</div>
<button hx-get="/tasks" hx-trigger="load">x</button>
<div hx-post="/undo" hx-trigger="load" hx-vals='{"entry":1}'>x</div>
<div data-hx-get="/tasks" data-hx-trigger="load">x</div>
<p data-copy="#draft" data-put="/undo" data-opens="#help" id=draft name=text>x</p>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=canary=1&gt;">
<details open ontoggle=canary=1>x</details>
<video><source onerror=canary=1></video>
<input autofocus onfocus=canary=1>
<style>@import url(https://evil.example/x.css); * { background: url(https://evil.example/y) }</style>
<link rel=stylesheet href=https://evil.example/x.css>
<meta http-equiv=refresh content="0; url=https://evil.example/">
<base href=https://evil.example/>
<object data="javascript:canary=1"></object><embed src="javascript:canary=1">
```html"><script>canary=1</script>
`<script>canary=1</script>` </code><script>canary=1</script>
<template><script>canary=1</script></template><noscript><p title="</noscript><img src=x onerror=canary=1>">
<http://x.example/"onmouseover="canary=1> and https://x.example/<script>canary=1</script>""".split("\n")
BAD = """el => [...el.querySelectorAll("*")].filter(e => e.matches("script, iframe, form, object, embed, img, svg, math, style, link, meta, base, input, template, video, details, [id], [style], [src], [srcdoc]")
  || [...e.attributes].some(a => /^(on|hx-|data-(?!copy$)|ws-)/.test(a.name)) || /^\\s*(javascript|data|vbscript):/i.test(e.getAttribute("href") ?? "")
  || e.hasAttribute("data-copy") && !e.matches(".code > button")).map(e => e.outerHTML.slice(0, 120))"""


def test_nothing_that_a_model_writes_does_anything_in_the_page(page, model):
    assert len(PAYLOADS) >= 30
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.route("https://evil.example/**", lambda route: route.abort())
    mark(page)
    address, conversation = page.url, 0
    for n, payload in enumerate(PAYLOADS, 1):
        text = f"a{n} {payload}\n\n{payload}\n\nz{n}" if n % 2 else f"{payload}\n\nz{n}"
        model.says(text, pieces=[text[i:i + 7] for i in range(0, len(text), 7)], split="bytes", rate=200)
        assert page.server.post("/chat", {"c": conversation, "text": f"Say {n}"}).status == 200
        expect(said(page).last).to_have_text(f"Say {n}", timeout=LIVE)
        conversation = shown_id(page)
        seen: list[str] = []
        while sends(page).text_content() == "Stop" and not seen: seen += proses(page).last.evaluate(BAD)
        expect(proses(page).last).to_contain_text(f"z{n}", timeout=LIVE)
        seen += proses(page).last.evaluate(BAD)
        assert not seen, f"{payload} made {seen}"
        expect(sends(page)).to_have_text("Send", timeout=LIVE)
    assert page.evaluate("window.canary") is None and not dialogs
    assert page.url == address and is_same(page)
    page.goto(f"{page.server.url}/conversations/{conversation}")
    expect(page.locator("main .messages .prose")).to_have_count(len(PAYLOADS))
    for prose in page.locator("main .messages .prose").all(): assert not prose.evaluate(BAD)
    assert page.evaluate("window.canary") is None and not dialogs


def test_what_a_person_says_is_text_wherever_it_is_shown(page, model):
    evil = "<img src=x onerror=canary=1><b>bold</b>"
    asked(page, model, evil, "Well.")
    expect(said(page)).to_have_text(evil)
    expect(page.locator("summary[aria-label=Conversations]")).to_have_text(evil, timeout=LIVE)
    page.goto(f"{page.server.url}/chat/context?c={shown_id(page)}")
    expect(page.locator("#sent")).to_contain_text("<img src=x")
    assert page.evaluate("window.canary") is None


# ─── models ───

def test_without_a_model_there_is_one_sentence_and_a_button(start, open_page):
    server = start()
    page = open_page(server, "/tasks")
    panel = page.locator("#chat")
    expect(panel.locator("p")).to_have_count(1)
    expect(panel.locator("p")).to_contain_text("no model")
    expect(box(page)).to_have_count(0)
    panel.get_by_text("Get a model").click()
    page.wait_for_url("**/models")
    expect(page.locator("main")).to_contain_text("No model yet")
    page.click("main [href='/get_a_model?model=smollm2-135m']")
    page.wait_for_url("**/get_a_model?model=smollm2-135m")
    expect(page.locator("main form [name=model]")).to_have_value("smollm2-135m")


def test_the_models_page_shows_what_is_found_tries_it_and_uses_it(page, model):
    page.goto(page.server.url + "/models")
    card = page.locator("#model-list .card", has_text="scripted")
    expect(card).to_contain_text("In Ollama, 1.0 GB")
    model.says("apple, pear, plum", rate=30)
    card.get_by_role("button", name="Try it").click()
    expect(card).to_contain_text("tokens a second", timeout=LIVE)
    if card.get_by_role("button", name="Use").count(): card.get_by_role("button", name="Use").click()
    expect(card).to_contain_text("in use", timeout=LIVE)


def test_a_server_is_named_in_a_form_that_says_what_does_not_fit(page, model, page_errors):
    page.goto(page.server.url + "/models")
    form = page.locator("main form", has_text="OpenAI")
    form.get_by_label("Address").fill("http://127.0.0.1:9/v1")
    form.get_by_label("Model").fill("scripted")
    form.get_by_role("button", name="Use it").click()
    expect(form.locator(".error")).to_contain_text("does not answer", timeout=LIVE)
    forgive(page_errors, "422|502")
    form.get_by_label("Address").fill(f"{model.url}/v1")
    form.get_by_label("Model").fill("scripted")
    form.get_by_role("button", name="Use it").click()
    try:
        expect(page.locator("#model-list .card", has_text="At this machine")).to_contain_text("in use", timeout=LIVE)
        expect(form.locator(".error")).to_have_count(0)
        asked(page, model, "Are you there?", "By the other protocol.")
        assert model.chats[-1]["path"] == "/v1/chat/completions"
        expect(page.locator("#chat .away")).to_have_count(0)
    finally: page.server.post("/models/use", {"model": "ollama:scripted"})


def test_a_model_elsewhere_is_marked_in_red_and_showing_it_sends_nothing(start, workspace, open_page):
    first = start()
    first.stop()
    database = apsw.Connection(str(workspace / "data.db"))
    for key, value in (("model", "openai:gpt-x"), ("model.url", "https://models.example.com/v1")):
        database.execute("INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value=excluded.value", (key, json.dumps(value)))
    database.close()
    with socket.create_server(("127.0.0.1", 0)) as proxy:  # whatever goes out, goes there
        proxy.setblocking(False)
        there = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        server = start(env={"HTTPS_PROXY": there, "HTTP_PROXY": there, "ALL_PROXY": there, "NO_PROXY": "127.0.0.1,localhost"})
        page = open_page(server, "/tasks")
        chip = page.locator("#chat .away")
        expect(chip).to_have_text("leaves this machine: models.example.com")
        red = page.evaluate("() => { const probe = document.createElement('i'); probe.className = 'error'; document.body.append(probe); return getComputedStyle(probe).color }")
        assert chip.evaluate("el => getComputedStyle(el).backgroundColor") == red
        expect(chip).to_be_in_viewport(ratio=1)
        box(page).fill("not sent")
        for path in ("/", "/models", "/conversations", "/chat/context?c=0"): page.goto(server.url + path)
        expect(page.locator("#chat .away")).to_be_visible()
        page.wait_for_timeout(300)
        with pytest.raises(BlockingIOError): proxy.accept()
        say(page, "Now it goes")  # and this is how it would have been seen
        def came() -> bool:
            with contextlib.suppress(BlockingIOError): return bool(proxy.accept())
            return False
        wait_for(came, 5, "the request that was asked for")


def test_what_the_model_is_told_can_be_switched_off(page, model):
    menu = page.locator("summary[aria-label='What the model is told, and may do']")
    menu.click()
    boxes = page.locator("#chat [name=shares]")
    expect(boxes).to_have_count(3)
    for box_ in boxes.all(): expect(box_).to_be_checked()
    popup = page.locator("#chat header .menu[open] > :not(summary)")
    expect(popup).to_be_in_viewport(ratio=1)
    assert popup.evaluate("el => getComputedStyle(el).position") == "absolute", "what opens pushes the panel aside"
    page.locator("#chat [name=shares][value=changes]").uncheck()
    try:
        wait_for(lambda: read(page.server.workspace / "data.db", "SELECT value FROM settings WHERE key='chat.shares'"), what="the setting")
        page.server.post("/tasks", {"title": "A secret plan"})
        page.keyboard.press("Escape")
        asked(page, model, "What did I just do?", "I cannot know.")
        assert "secret plan" not in told(model)
        page.reload()
        menu.click()
        expect(page.locator("#chat [name=shares][value=changes]")).not_to_be_checked()
        expect(page.locator("#chat [name=shares][value=pages]")).to_be_checked()
    finally: page.server.post("/chat/shares", {"shares": ["changes", "pages", "errors"]})
    page.server.post("/tasks", {"title": "An open plan"})
    asked(page, model, "And now?", "You added a task.", n=2)
    assert "you added “An open plan”" in told(model)
    page.keyboard.press("Escape")
    page.locator("#messages > details", has_text="Told what happened").last.locator("summary").click()
    expect(page.locator("#messages > details[open]")).to_contain_text("An open plan")


# ─── runs ───

def test_a_step_that_asks_streams_into_the_log_of_its_card_and_shows_the_value(page, model):
    page.goto(page.server.url + "/letters")
    model.says(script(80), rate=40)
    page.click("main form button:has-text('Start')")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    card = page.locator("#step-letter")
    expect(card.locator("pre")).to_contain_text("w3", timeout=LIVE)
    before = len(card.locator("pre").inner_text())
    wait_for(lambda: len(card.locator("pre").inner_text()) > before + 10, 3, "the log to grow")
    expect(card.locator(".value")).to_have_count(0)
    expect(card.locator(".value")).to_contain_text("w79", timeout=LIVE)
    assert re.findall(r"w\d+", card.locator(".value").inner_text()) == [f"w{i}" for i in range(80)]
    assert model.chats[-1]["body"]["messages"] == [{"role": "user", "content": "Write to Ada"}]


# ─── looks ───

WIDE = "A word: " + "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2 + "\n\n```\n" + "x" * 300 + "\n```\n\n" + \
    "| " + " | ".join(f"column {n}" for n in range(12)) + " |\n" + "|---" * 12 + "|\n" + "| " + " | ".join("value" for _ in range(12)) + " |\n\nhttps://example.org/" + "a" * 200


def test_on_a_phone_the_panel_is_an_overlay_in_which_one_can_write(page, model, open_page):
    small = open_page(page.server, "/tasks", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, reduced_motion="reduce")
    expect(small.locator("#panel")).not_to_be_visible()
    small.tap("[data-toggle=panel]")
    panel = small.locator("#panel")
    expect(panel).to_be_visible()
    assert panel.evaluate("el => getComputedStyle(el).position") == "fixed"
    expect(box(small)).to_be_in_viewport(ratio=1)
    expect(sends(small)).to_be_in_viewport(ratio=1)
    box(small).tap()
    expect(panel).to_be_visible()
    small.keyboard.type("Something wide")
    model.says(WIDE)
    sends(small).tap()
    ended(small)
    expect(panel).to_be_visible()
    expect(box(small)).to_be_in_viewport(ratio=1)
    for what in ("document.documentElement", "document.querySelector('#panel')", "document.querySelector('#messages')"):
        wide = small.evaluate(f"{what}.scrollWidth - {what}.clientWidth")
        assert wide <= 0, f"{what} is {wide} px too wide"
    small.tap("summary[aria-label=Conversations]")
    expect(small.locator("#chat header .menu > div").first).to_be_in_viewport(ratio=0.99)
    small.tap("summary[aria-label='What the model is told, and may do']")
    expect(small.locator("#chat header .menu[open] > :not(summary)")).to_be_in_viewport(ratio=0.99)
    small.tap("#meter summary")
    expect(small.locator("#meter > div")).to_be_in_viewport(ratio=0.99)
    small.touchscreen.tap(20, 500)
    expect(panel).not_to_be_visible()


def test_axe_finds_nothing_serious_in_the_panel_in_both_themes(module_server, model, open_page, axe):  # noqa: F811
    fresh(module_server)
    module_server.post("/memories", {"text": "The boat is called Tern.", "lifetime": "always"})
    page = open_page(module_server, "/tasks", bypass_csp=True, reduced_motion="reduce")
    asked(page, model, "Remember that the boat is called Tern", CODE)
    model.says(status=400, error="it is ill")
    say(page, "Look at @tasks please")
    ended(page, 2)
    page.locator("#messages button:has-text('Retry')").last.click()
    page.locator("#messages details summary").first.click()
    ended(page, 2)
    page.locator("#meter summary").click()
    box(page).focus()
    page.keyboard.type("/")
    expect(options(page).first).to_be_visible()
    page.evaluate(axe)
    found = []
    for path in ("", "/models", f"/chat/context?c={shown_id(page)}", f"/conversations/{shown_id(page)}"):
        if path:
            page.goto(module_server.url + path)
            expect(box(page)).to_be_visible()
            page.evaluate(axe)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{path or 'panel'} {scheme}: {violation}" for violation in page.evaluate(RUN)]
    paper = lambda: page.locator("#panel").evaluate("el => getComputedStyle(el).backgroundColor")
    dark = paper()
    page.emulate_media(color_scheme="light")
    assert paper() != dark
    assert not found, "\n".join(found)
