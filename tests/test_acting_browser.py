"""The model acts, as a person sees it in a real Chromium: cards, what they change, approval, undo, autopilot. The model is
scripted. No page may log an error or ask another host."""
import json
import re

import pytest
from helpers import Server, read, wait_for
from model_server import ModelServer
from playwright.sync_api import Locator, Page, expect
from test_axe import RUN, axe  # noqa: F401 (a fixture)
from test_browser import LIVE, forgive


@pytest.fixture(scope="module")
def module_model():
    with ModelServer() as model: yield model


@pytest.fixture(scope="module")
def module_server(tmp_path_factory, module_model):
    with Server(tmp_path_factory.mktemp("acting") / "workspace").start(env={"OLLAMA_HOST": f"127.0.0.1:{module_model.port}"}) as server: yield server


@pytest.fixture
def model(module_model) -> ModelServer:
    "The scripted model, without what an earlier test has left."
    module_model.forget()
    return module_model


@pytest.fixture
def page(module_server, model, open_page):
    "The empty list of tasks, and a new conversation beside it. page.server is that server."
    fresh(module_server)
    page = open_page(module_server, "/tasks")
    page.server = module_server
    expect(box(page)).to_be_visible()
    return page


def fresh(server: Server) -> None:
    if ids := [row["id"] for row in rows(server, "SELECT id FROM tasks")] if "tasks" in tables(server) else []:
        assert server.post("/tasks/bulk", {"ids": ids, "action": "delete"}).status == 200
    assert server.post("/chat/level", {"c": 0, "level": "show"}).status == 204
    assert server.post("/chat/act", {"c": 0, "act": "open"}).status == 204
    assert server.post("/chat/draft", {"c": 0, "text": ""}).status == 204


def rows(server: Server, sql: str, *args) -> list[dict]: return read(server.workspace / "data.db", sql, *args)
def tables(server: Server) -> set[str]: return {row["name"] for row in rows(server, "SELECT name FROM sqlite_master")}
def tasks(page: Page) -> set[str]: return {row["title"] for row in rows(page.server, "SELECT title FROM tasks")}
def add(server: Server, *titles: str, **values: object) -> list[int]:
    for title in titles: assert server.post("/tasks", {"title": title, **values}).status == 200
    return [row["id"] for row in rows(server, "SELECT id FROM tasks ORDER BY id DESC LIMIT ?", len(titles))][::-1]


def line(tool: str, **args: object) -> str: return json.dumps({"tool": tool, "args": args}, ensure_ascii=False)
def adds(*titles: str, **values: object) -> str: return "\n".join(line("tasks_add", title=title, **values) for title in titles)
def box(page: Page) -> Locator: return page.locator("#draft")
def cards(page: Page) -> Locator: return page.locator("#messages .call")
def card(page: Page, n: int = -1) -> Locator: return cards(page).nth(n)
def chip(card: Locator) -> Locator: return card.locator(".chip")
def button(card: Locator, name: str) -> Locator: return card.get_by_role("button", name=name)
def listed(page: Page) -> Locator: return page.locator("main [data-row] a.title")
def toast(page: Page) -> Locator: return page.locator(".toast").last
def shown_id(page: Page) -> int: return int(page.locator("#composer [name=c]").input_value())
def mark(page: Page) -> None: page.evaluate("window.mark = 1")
def is_same(page: Page) -> bool: return page.evaluate("window.mark") == 1


def say(page: Page, text: str, *answers: str) -> None:
    "Say something, to which the model answers so, one answer a round; until it is done."
    for answer in answers: page_model(page).says(answer)
    box(page).fill(text)
    box(page).press("Enter")


def page_model(page: Page) -> ModelServer: return page.model


@pytest.fixture(autouse=True)
def known(request):
    if "page" in request.fixturenames: request.getfixturevalue("page").model = request.getfixturevalue("model")


def acted(page: Page, text: str, *answers: str, count: int = 1, status: str = "done") -> Locator:
    "Say something, and see the n-th card come; that card."
    say(page, text, *answers)
    expect(cards(page)).to_have_count(count, timeout=LIVE)
    expect(chip(card(page))).to_have_text(status, timeout=LIVE)
    ended(page)
    return card(page, count - 1)


def ended(page: Page) -> None:
    expect(page.locator("#send")).to_have_text("Send", timeout=LIVE)
    expect(page.locator("#messages > :last-child .acts")).to_be_visible(timeout=LIVE)


def waiting(page: Page, *titles: str, text: str = "hm", **change: object) -> Locator:
    "A card that waits: to delete tasks that are there, or to change them."
    add(page.server, *titles)
    expect(listed(page).filter(has_text=titles[-1])).to_be_visible(timeout=LIVE)
    call = line("tasks_change", which=list(titles), **change) if change else line("tasks_delete", which=list(titles))
    return acted(page, f"{text}, {titles[0]}", call, status="waits for you", count=cards(page).count() + 1)


# ─── a card ───

def test_what_is_asked_for_is_done_beside_the_list_and_the_card_takes_it_back_and_does_it_again(page):
    mark(page)
    done = acted(page, "Add a task: buy oat milk, high", adds("Buy oat milk", priority="high"))
    expect(listed(page)).to_have_text(["Buy oat milk"], timeout=LIVE)
    expect(done.locator("strong")).to_have_text("Add task")
    expect(done.locator(".given")).to_have_text("title: Buy oat milkpriority: high")
    expect(done.locator("summary")).to_have_text("added “Buy oat milk”")
    button(done, "Undo").click()
    expect(listed(page)).to_have_count(0, timeout=LIVE)
    expect(chip(done)).to_have_text("undone")
    expect(button(done, "Undo")).to_have_count(0)
    expect(toast(page)).to_contain_text("added “Buy oat milk”")
    page.wait_for_timeout(650)  # a second click that comes at once belongs to the first
    button(done, "Redo").click()
    expect(listed(page)).to_have_text(["Buy oat milk"], timeout=LIVE)
    expect(button(done, "Undo")).to_be_visible()
    expect(chip(done)).to_have_text("done")
    assert is_same(page)
    assert rows(page.server, "SELECT priority FROM tasks") == [{"priority": "high"}]


def test_several_calls_are_several_cards_and_each_is_taken_back_by_itself(page):
    add(page.server, "Water the plants", "Renew the passport")
    mark(page)
    box(page).focus()
    deeds = {"figs": adds("Figs", "Dates"), "rename": line("tasks_change", which=["Water the plants"], title="Feed the plants"), "delete": line("tasks_delete", which=["Renew the passport"])}
    page.model.answers(lambda body: "\n".join(calls for word, calls in deeds.items() if word in body["messages"][-1]["content"].rpartition("\n\n")[2].lower()))
    say(page, "Add tasks for figs and dates, rename water the plants to feed the plants, and delete renew the passport")
    expect(cards(page)).to_have_count(4, timeout=LIVE)
    ended(page)
    expect(cards(page).locator("strong")).to_have_text(["Add task", "Add task", "Change task", "Delete task"])
    expect(listed(page)).to_have_text(["Feed the plants", "Figs", "Dates"], timeout=LIVE)
    expect(box(page)).to_be_focused()
    button(card(page, 0), "Undo").click()
    button(card(page, 3), "Undo").click()
    expect(listed(page)).to_have_text(["Feed the plants", "Renew the passport", "Dates"], timeout=LIVE)
    expect(cards(page).locator(".chip")).to_have_text(["undone", "done", "done", "undone"])
    assert is_same(page)


def test_the_difference_opens_field_by_field_and_stays_open_whatever_else_happens(page):
    add(page.server, "Paint the fence")
    done = acted(page, "Rename paint the fence to paint the gate with high priority", line("tasks_change", which=["Paint the fence"], title="Paint the gate", priority="high"))
    part = done.locator("details")
    expect(part.locator("table")).not_to_be_visible()
    part.locator("summary").click()
    expect(part.locator("tr:visible")).to_have_text(["titlePaint the fencePaint the gate", "prioritynormalhigh"])
    expect(part.locator("del")).to_have_text(["Paint the fence", "normal"])
    expect(part.locator("ins")).to_have_text(["Paint the gate", "high"])
    add(page.server, "Something else")
    acted(page, "Add a task: pears", adds("Pears"), count=2)
    button(card(page, 1), "Undo").click()
    expect(chip(card(page, 1))).to_have_text("undone", timeout=LIVE)
    expect(part.locator("table")).to_be_visible()
    button(done, "Undo").click()
    expect(chip(done)).to_have_text("undone", timeout=LIVE)
    expect(part.locator("table")).to_be_visible()
    page.wait_for_timeout(650)
    button(done, "Redo").click()
    expect(chip(done)).to_have_text("done", timeout=LIVE)
    part.get_by_text("Open the task").click()
    page.wait_for_url(re.compile(r"/tasks/\d+$"))
    expect(page.locator("h1")).to_have_text("Paint the gate")


def test_what_is_undone_elsewhere_is_undone_on_the_card_too(page):
    done = acted(page, "Add a task: plums", adds("Plums"))
    page.locator("main").press("z")
    expect(listed(page)).to_have_count(0, timeout=LIVE)
    expect(chip(done)).to_have_text("undone", timeout=LIVE)
    expect(button(done, "Redo")).to_be_visible()


def test_an_undo_that_conflicts_says_so_and_changes_nothing(page, page_errors):
    done = acted(page, "Add a task: cherries", adds("Cherries"))
    task = rows(page.server, "SELECT id FROM tasks")[0]["id"]
    page.server.post(f"/tasks/{task}", {"_row": "title", "title": "Sour cherries"})
    expect(listed(page)).to_have_text(["Sour cherries"], timeout=LIVE)
    button(done, "Undo").click()
    expect(toast(page)).to_contain_text("changed since", timeout=LIVE)
    forgive(page_errors, "409")
    expect(chip(done)).to_have_text("done")
    assert tasks(page) == {"Sour cherries"}


def test_a_double_click_on_undo_takes_back_once(page):
    done = acted(page, "Add a task: quinces", adds("Quinces"))
    button(done, "Undo").dblclick()
    expect(chip(done)).to_have_text("undone", timeout=LIVE)
    page.wait_for_timeout(300)
    expect(chip(done)).to_have_text("undone")
    assert not tasks(page)


def test_what_is_looked_up_is_on_the_card_and_has_no_undo(page):
    add(page.server, "Pay the rent", "Pay the gas")
    found = acted(page, "Which tasks are about paying?", line("tasks_find", text="pay"), "Two: the rent, and the gas.", status="looked up")
    expect(found.get_by_role("button")).to_have_count(0)
    found.locator("summary", has_text="2 tasks").click()
    expect(found.locator("pre")).to_contain_text("Pay the rent")
    expect(page.locator("#messages .prose").last).to_have_text("Two: the rent, and the gas.")


def test_what_does_not_work_is_told_on_the_card_in_words_that_help(page):
    add(page.server, "Call the bank")
    failed = acted(page, "Add a task: call the dentist, it is critical", *[adds("Call the dentist", priority="critical")] * 3, count=3, status="did not work")
    expect(failed.locator(".error")).to_have_text("priority is 'critical'. There are: high, low, normal.")
    expect(failed.get_by_role("button")).to_have_count(0)
    colour = failed.locator(".error").evaluate("el => getComputedStyle(el).color")
    assert colour != card(page, 0).locator("strong").evaluate("el => getComputedStyle(el).color")
    border = lambda n: card(page, n).evaluate("el => getComputedStyle(el).borderColor")
    assert border(2) == colour != border(0), "of several attempts the last one stands out"
    assert tasks(page) == {"Call the bank"}


# ─── what waits ───

@pytest.mark.parametrize("by_key", [False, True], ids=["mouse", "key"])
def test_what_was_not_asked_for_waits_shows_what_it_would_do_and_is_done_when_approved(page, by_key):
    mark(page)
    waits = waiting(page, "Sell the boat")
    expect(waits.locator("summary")).to_have_text("would be: deleted “Sell the boat”")
    expect(waits.locator("del", has_text="Sell the boat")).to_be_visible()  # without a click
    expect(waits).to_contain_text("You did not ask for it in so many words.")
    expect(button(waits, "Undo")).to_have_count(0)
    assert tasks(page) == {"Sell the boat"}
    expect(listed(page)).to_have_text(["Sell the boat"])
    does = button(waits, "Do it")
    if by_key:
        waits.locator("summary").focus()
        page.keyboard.press("Tab")
        expect(does).to_be_focused()
        page.keyboard.press("Enter")
    else: does.click()
    expect(listed(page)).to_have_count(0, timeout=LIVE)
    expect(chip(waits)).to_have_text("done")
    expect(waits).to_contain_text("approved by you")
    expect(does).to_have_count(0)
    if by_key:
        expect(button(waits, "Undo")).to_be_focused()  # who came by key can go back by key
        page.wait_for_timeout(650)
        page.keyboard.press("Enter")
    else: button(waits, "Undo").click()
    expect(listed(page)).to_have_text(["Sell the boat"], timeout=LIVE)
    assert is_same(page)


def test_a_double_click_runs_a_call_once(page, page_errors):
    waits = acted(page, "/preview add a task: limes", adds("Limes"), status="waits for you")
    button(waits, "Do it").dblclick()
    expect(listed(page)).to_have_text(["Limes"], timeout=LIVE)
    expect(chip(waits)).to_have_text("done")
    page.wait_for_timeout(300)
    expect(listed(page)).to_have_count(1)
    expect(page.locator(".toast.bad")).to_have_count(0)
    assert not page_errors


@pytest.mark.parametrize("by_key", [False, True], ids=["mouse", "key"])
def test_no_leaves_everything_as_it_is(page, by_key):
    waits = waiting(page, "Tar the boat", title="Sink the boat")
    expect(waits.locator("summary")).to_contain_text("would be: changed “Tar the boat”")
    expect(waits.locator("ins")).to_have_text("Sink the boat")
    no = button(waits, "No")
    if by_key:
        no.focus()
        page.keyboard.press(" ")
    else: no.click()
    expect(chip(waits)).to_have_text("declined", timeout=LIVE)
    expect(waits.get_by_role("button")).to_have_count(0)
    expect(waits.locator("summary")).to_contain_text("would have been:")
    assert tasks(page) == {"Tar the boat"}


def test_of_two_that_wait_one_can_be_done_and_the_other_declined(page):
    add(page.server, "Fell the alder", "Prune the birch")
    say(page, "hm, the alder and the birch", line("tasks_delete", which=["Fell the alder"]) + "\n" + line("tasks_change", which=["Prune the birch"], title="Water the birch"))
    expect(cards(page).locator(".chip")).to_have_text(["waits for you"] * 2, timeout=LIVE)
    ended(page)
    button(card(page, 1), "Do it").click()
    expect(cards(page).locator(".chip")).to_have_text(["waits for you", "done"], timeout=LIVE)
    button(card(page, 0), "No").click()
    expect(cards(page).locator(".chip")).to_have_text(["declined", "done"], timeout=LIVE)
    expect(listed(page)).to_have_text(["Fell the alder", "Water the birch"])


def test_what_would_do_something_else_by_now_is_shown_anew_before_it_is_done(page, page_errors):
    waits = waiting(page, "Sow beans", title="Sow peas", text="hm")
    task = rows(page.server, "SELECT id FROM tasks")[0]["id"]
    page.server.post(f"/tasks/{task}", {"_row": "title,notes", "title": "Sow beans", "notes": "the tall ones"})
    page.server.post(f"/tasks/{task}", {"_row": "title", "title": "Sow all beans"})
    button(waits, "Do it").click()
    expect(toast(page)).to_contain_text("something else", timeout=LIVE)
    forgive(page_errors, "409|404")
    assert tasks(page) == {"Sow all beans"}
    expect(waits.locator("del")).to_have_text("Sow all beans", timeout=LIVE)
    page.wait_for_timeout(650)
    button(waits, "Do it").click()
    expect(listed(page)).to_have_text(["Sow peas"], timeout=LIVE)


def test_what_is_approved_and_undone_in_one_tab_is_so_in_the_other(page, open_page):
    waits = waiting(page, "Mend the net")
    other = open_page(page.server, "/notes")
    mark(other)
    there = card(other)
    expect(chip(there)).to_have_text("waits for you", timeout=LIVE)
    button(waits, "Do it").click()
    expect(chip(there)).to_have_text("done", timeout=LIVE)
    expect(button(there, "Do it")).to_have_count(0)
    button(there, "Undo").click()
    for tab in (page, other): expect(button(card(tab), "Redo")).to_be_visible(timeout=LIVE)
    expect(listed(page)).to_have_text(["Mend the net"], timeout=LIVE)
    assert is_same(other)


def test_preview_shows_what_would_be_done_and_does_nothing(page):
    waits = acted(page, "/preview add a task: lemons, high", adds("Lemons", priority="high"), status="waits for you")
    expect(waits).to_contain_text("You want to see it first.")
    expect(waits.locator("summary")).to_have_text("would be: added “Lemons”")
    expect(waits.locator("ins", has_text="Lemons")).to_be_visible()
    expect(waits.get_by_role("link")).to_have_count(0)  # it is not there yet
    assert not tasks(page)
    page.reload()
    expect(listed(page)).to_have_count(0)
    button(card(page), "Do it").click()
    expect(listed(page)).to_have_text(["Lemons"], timeout=LIVE)


# ─── how much it may do ───

def level(page: Page, name: str) -> Locator: return page.locator(f"#chat [name=level][value={name}]")
def menu(page: Page) -> Locator: return page.locator("#chat summary[aria-label^='What the model is told']")


def test_the_level_is_chosen_in_a_menu_is_kept_and_counts(page):
    menu(page).click()
    expect(level(page, "show")).to_be_checked()
    expect(level(page, "auto")).to_have_count(0)  # of a conversation that is not there yet
    level(page, "ask").check()
    wait_for(lambda: "ask" in str(rows(page.server, "SELECT value FROM settings WHERE key='chat.level'")), 5, "the level")
    page.reload()
    menu(page).click()
    expect(level(page, "ask")).to_be_checked()
    page.keyboard.press("Escape")
    waits = acted(page, "Add a task: melons", adds("Melons"), status="waits for you")
    expect(waits).to_contain_text("You want to be asked.")
    menu(page).click()
    level(page, "auto").focus()
    page.keyboard.press(" ")
    wait_for(lambda: "auto" in str(rows(page.server, "SELECT value FROM settings WHERE key='chat.levels'")), 5, "the level")
    page.reload()
    menu(page).click()
    expect(level(page, "auto")).to_be_checked()
    page.keyboard.press("Escape")
    button(card(page), "No").click()
    acted(page, "hm, melons", adds("Melons"), count=2)
    page.get_by_label("New conversation").click()
    expect(cards(page)).to_have_count(0, timeout=LIVE)
    menu(page).click()
    expect(level(page, "ask")).to_be_checked()  # not asking is for that one conversation


def test_the_menu_of_levels_is_whole_and_its_circles_are_round(page, model):
    acted(page, "Add a task: kiwis", adds("Kiwis"))
    for width in (1440, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        if not page.locator("#panel").is_visible(): page.click("[data-toggle=panel]")
        menu(page).click()
        expect(page.locator("#chat .menu[open] > div")).to_be_in_viewport(ratio=.99)
        for radio in page.locator("#chat [name=level]").all():
            size = radio.bounding_box()
            assert abs(size["width"] - size["height"]) < 1 and size["width"] >= 16, (width, size)
        page.keyboard.press("Escape")


# ─── from the journal, to a page ───

def test_why_in_the_journal_leads_to_the_card(page):
    for n in range(4): acted(page, f"Add a task: pear {n}", adds(f"Pear {n}"), count=n + 1)
    page.goto(f"{page.server.url}/journal?q=Pear 0")
    page.locator("#journal-list a", has_text="why?").first.click()
    page.wait_for_url(re.compile(r"/conversations/\d+#said-\d+"))
    target = page.locator("main .call:target")
    expect(target).to_contain_text("Pear 0")
    expect(target).to_be_in_viewport(ratio=1)
    assert target.evaluate("el => getComputedStyle(el).outlineStyle") == "solid"
    assert page.locator("main .call:not(:target)").first.evaluate("el => getComputedStyle(el).outlineStyle") == "none"
    button(card(page, 0), "Undo").click()  # in the panel beside it
    expect(target.locator(".chip")).to_have_text("undone", timeout=LIVE)


@pytest.mark.parametrize("has_spoken", [False, True], ids=["silent", "spoken"])
def test_what_the_model_opens_is_opened_in_the_tab_that_asked_for_it(page, has_spoken):
    other = page.context.new_page()
    other.goto(page.server.url + "/notes")
    expect(box(other)).to_be_visible()
    if has_spoken:
        other.model = page.model
        say(other, "Hello", "Hello.")
        ended(other)
        ended(page)
    say(page, "Open the journal", line("open", page="journal"))
    page.wait_for_url("**/journal")
    expect(chip(card(page))).to_have_text("looked up", timeout=LIVE)
    page.wait_for_timeout(300)
    assert other.url.endswith("/notes")
    other.close()


def test_stop_while_cards_come_keeps_what_was_done(page, model):
    add(page.server, "Mow the lawn")
    model.says(line("tasks_find", text="mow"))
    model.says("Let me see what else there is to be done", stalls_after=3)
    say(page, "Which tasks are about mowing?")
    expect(chip(card(page))).to_have_text("looked up", timeout=LIVE)
    expect(page.locator("#messages .prose").last).to_contain_text("Let me see", timeout=LIVE)
    page.locator("#send").click()
    model.wait(lambda: model.cancelled == 1)
    ended(page)
    expect(page.locator("#messages")).to_contain_text("Stopped.")
    expect(cards(page)).to_have_count(1)
    acted(page, "Add a task: rake the leaves", adds("Rake the leaves"), count=2)
    expect(listed(page)).to_have_text(["Mow the lawn", "Rake the leaves"], timeout=LIVE)


# ─── autopilot ───

def test_a_run_on_autopilot_is_told_step_by_step_can_be_taken_over_and_given_back(page, model):
    model.says(line("hello_run", name="Ada"))
    model.says('{"tone": "cool"}', stalls_after=0)
    say(page, "Run hello for Ada on autopilot")
    run = card(page)
    expect(chip(run)).to_have_text("at work", timeout=LIVE)
    expect(run.locator(".steps")).to_have_text("Greeting: How shall it sound?", timeout=LIVE)
    expect(button(run, "Undo")).to_have_count(0)  # it goes on
    run.get_by_text("Open the run").click()
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    facts = page.locator("#run-live")
    expect(facts).to_contain_text("The model fills this in.")
    for now, then in (("Always", "Not always"), ("Not always", "Always")):  # of this pipeline's runs
        facts.get_by_role("button", name=re.compile(rf"^{now} \w")).click()
        expect(facts.get_by_role("button", name=re.compile(rf"^{then} \w"))).to_be_visible(timeout=LIVE)
    button(facts, "Take over").click()
    expect(button(facts, "Let the model fill this in")).to_be_visible(timeout=LIVE)
    expect(card(page).locator(".steps")).to_contain_text("You took over.", timeout=LIVE)
    ended(page)
    model.release()
    model.wait(lambda: not model.running)
    model.says('{"tone": "cool"}')
    model.says("Ada.\n\nAll is well.")
    button(facts, "Let the model fill this in").click()
    expect(facts.locator(".chip").first).to_have_text("done", timeout=LIVE)
    expect(page.locator("#step-letter")).to_contain_text("All is well.")
    expect(page.locator("#step-greeting")).to_contain_text("tone: cool")
    expect(button(facts, "Let the model fill this in")).to_have_count(0)


def test_a_run_that_the_model_has_filled_in_lists_its_steps_and_is_taken_back_whole(page, model):
    run = acted(page, "Run hello for Grace on autopilot", line("hello_run", name="Grace"), '{"tone": "warm"}', "Dear Grace,\n\nall is well.")
    expect(run.locator(".steps > *")).to_have_text(["Greeting: How shall it sound?", "→ tone warm", "The run is done."])
    link = run.get_by_text("Open the run").get_attribute("href")
    button(run, "Undo").click()
    expect(chip(run)).to_have_text("undone", timeout=LIVE)
    assert page.server.get(link).status == 404


def test_the_person_starts_a_run_and_lets_the_model_go_on(page, model):
    page.goto(page.server.url + "/hello")
    page.fill("main form [name=name]", "Tove")
    page.click("main form button:has-text('Start')")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    model.says('{"tone": "cool"}')
    model.says("Tove.\n\nAll is well.")
    give = button(page.locator("#run-live"), "Let the model fill this in")
    give.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#run-live .chip").first).to_have_text("done", timeout=LIVE)
    expect(page.locator("#step-letter")).to_contain_text("All is well.")


# ─── looks ───

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2
RTL, MARKUP = "اتصل بالبنك بخصوص القرض \u202eabc", "<img src=x onerror=canary=1><b>bold</b> & “co”"


@pytest.fixture(scope="module")
def gallery(module_server, module_model) -> int:
    "A conversation with every kind of card, some of which are as large as they get; its number."
    server, model = module_server, module_model
    fresh(server)
    model.release()
    model.queue.clear()
    model.function = None
    add(server, *[f"Jar {n:02d} of the honey that Maja has ordered" for n in range(40)], LONG, RTL, MARKUP)
    add(server, "Wash the car", due="2026-12-01", notes="With the soft sponge. " * 12)
    turns = [(f"Add a task: {LONG} and {RTL} and {MARKUP}, notes {'very ' * 60}", [adds(f"{LONG} and", f"{RTL} and", f"{MARKUP} and", notes="very " * 60)]),
             ("Set all to high", [line("tasks_change", which=["all"], priority="high")]),
             ("hm, the car, with a sponge", [line("tasks_change", which=["Wash the car"], title="car " * 60, notes="sponge " * 100)]),
             ("hm, the jar", [line("tasks_delete", which=["normal", "high"])]),
             (f"Which tasks are like {LONG}?", [line("tasks_find", text=LONG), "One."]),
             ("Add a task: bread, it is critical", [adds("Bread", priority="critical"), adds("Bread", priority=LONG), line("tasks_ad" + "d" * 150, title="Bread")]),
             ("Run hello for Ada on autopilot", [line("hello_run", name="Ada"), '{"tone": "cool"}', "Ada.\n\nAll is well."]),
             ("Add a task: butter", [adds("Butter")])]
    number = 0
    for said, answers in turns:
        for answer in answers: model.says(answer)
        assert server.post("/chat", {"c": number, "text": said}, HX_Current_URL=f"{server.url}/tasks").status == 200
        number = number or rows(server, "SELECT max(id) AS id FROM conversations")[0]["id"]
        wait_for(lambda n=number: not rows(server, "SELECT 1 FROM messages WHERE conversation=? AND status='running'", n), what=f"the answer to {said[:40]}")
        assert not model.queue, said[:60]
    last = rows(server, "SELECT max(id) AS id FROM messages WHERE conversation=? AND role='call'", number)[0]["id"]
    assert server.post("/chat/act", {"c": number, "m": last, "act": "take_back"}).status == 200
    return number


def gallery_page(server: Server, gallery: int, open_page, width: int, path: str = "/tasks", **options) -> Page:
    "The panel with the gallery, everything in it open."
    assert server.post("/chat/act", {"c": gallery, "act": "open"}).status == 204
    page = open_page(server, path, viewport={"width": width, "height": 900}, reduced_motion="reduce", **options)
    if not page.locator("#panel").is_visible(): page.click("[data-toggle=panel]")
    expect(cards(page).first).to_be_attached()
    page.evaluate("document.querySelectorAll('.call details').forEach(d => { d.open = true })")
    return page


WIDER = """() => [document.documentElement, ...document.querySelectorAll("#panel, #messages, #main, .call, .call > :not(header)")].filter(el => el.checkVisibility() && el.scrollWidth > el.clientWidth + 1
    && getComputedStyle(el).display !== "inline").map(el => `${el.tagName}.${el.className} ${el.parentElement?.id}: ${el.scrollWidth} > ${el.clientWidth}: ${el.textContent.slice(0, 60)}`)"""


@pytest.mark.parametrize("width", [1440, 390, 320])
def test_nothing_on_a_card_breaks_the_layout(module_server, gallery, open_page, width):
    page = gallery_page(module_server, gallery, open_page, width)
    kinds = {name: cards(page).locator(f".is-{name}").count() for name in ("done", "waiting", "failed")}
    assert kinds["done"] >= 7 and kinds["waiting"] >= 2 and kinds["failed"] >= 3, kinds
    assert not page.evaluate(WIDER)
    shown = [card(page, n).bounding_box()["height"] for n in range(cards(page).count())]
    assert max(shown) < 1200, "a card has no end"
    for title in (RTL, MARKUP): expect(cards(page).filter(has_text=title).first).to_be_attached()
    assert page.evaluate("window.canary") is None
    page.goto(f"{module_server.url}/conversations/{gallery}")
    page.evaluate("document.querySelectorAll('.call details').forEach(d => { d.open = true })")
    assert not page.evaluate(WIDER)
    assert page.evaluate("window.canary") is None


def test_forty_changes_in_one_call_are_one_line_that_opens_to_a_list(module_server, gallery, open_page):
    page = gallery_page(module_server, gallery, open_page, 1440)
    many = cards(page).filter(has_text=re.compile(r"changed \d+ tasks: priority")).first
    expect(many.locator("summary")).to_have_count(1)
    expect(many.locator("li")).to_have_count(int(re.search(r"changed (\d+) tasks", many.inner_text())[1]))
    expect(many.locator("li").first).to_contain_text("priority normal → high")


def test_what_is_long_can_be_read_in_full_before_it_is_approved(module_server, gallery, open_page):
    page = gallery_page(module_server, gallery, open_page, 390)
    waits = cards(page).filter(has_text="Wash the car").filter(has=page.locator(".is-waiting")).first
    expect(waits.locator("details", has_text="In full").locator("pre")).to_contain_text(("sponge " * 100).strip())


def test_every_control_of_a_card_is_reached_by_key_shows_where_one_is_and_is_large_enough(module_server, gallery, open_page):
    page = gallery_page(module_server, gallery, open_page, 390, has_touch=True, is_mobile=True)
    page.locator("#messages").focus()
    seen = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        at = page.evaluate("""() => { const el = document.activeElement, card = el.closest(".call"), box = el.getBoundingClientRect(), style = getComputedStyle(el)
            return {card: card?.id, name: el.tagName + ":" + el.textContent.slice(0, 60), id: el.id, width: box.width, height: box.height, ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
              low: document.querySelector("#messages").getBoundingClientRect().bottom, top: box.top} }""")
        if at["id"] == "draft": break
        if not at["card"]: continue
        seen.add((at["card"], at["name"]))
        assert at["ring"], at
        if not at["name"].startswith(("PRE", "UL")): assert at["height"] >= (24 if at["name"].startswith(("SUMMARY", "A:")) else 36) and at["width"] >= 24, at
        assert at["top"] < at["low"], f"{at} is focused out of sight"
    assert at["id"] == "draft"
    there = page.evaluate("""() => [...document.querySelectorAll("#messages .call :is(button, summary, a)")].map(el => [el.closest(".call").id, el.tagName + ":" + el.textContent.slice(0, 60)])""")
    missing = {tuple(t) for t in there} - seen
    assert not missing, missing


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious_on_cards_in_both_themes(module_server, gallery, open_page, axe, width):  # noqa: F811
    page = gallery_page(module_server, gallery, open_page, width, bypass_csp=True)
    found = []
    for path in ("", f"/conversations/{gallery}"):
        if path:
            page.goto(module_server.url + path)
            page.evaluate("document.querySelectorAll('.call details').forEach(d => { d.open = true })")
        else: menu(page).click()
        page.evaluate(axe)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{path or 'panel'} {scheme}: {violation}" for violation in page.evaluate(RUN)]
    assert not found, "\n".join(found)
