"""Pipelines and runs as a person drives them, in a real Chromium. conftest.py sees to it that no page logs an error."""
import re

import pytest
from helpers import Server, wait_for
from playwright.sync_api import Page, expect
from test_browser import LIVE, NO_SERVER, forgive

WORKS = '''"Works: steps of all kinds."
from sololith import *
from time import sleep

slow = pipeline("Slow")

@slow.step
def items(count: int = 400):
    "How many?"
    return count

@slow.step
def walk(items):
    "One after the other."
    for n in progress(range(items), what="items"):
        if n % 10 == 0: print(f"item {n}")
        sleep(0.02)
    return items

@slow.step
def remark(walk, text: Text = ""):
    "What is to be said of it?"
    return text

table = pipeline("Table of squares", name="squares")

@table.step
def squares(count: int = 120):
    "How many?"
    return [{"n": n, "square": n * n, "name": f"no {n}" if n else "<b>none</b>"} for n in range(count)]

sends = pipeline("Sends")

@sends.step
def address(to: Annotated[int, Range(1, 9)] = 1, other: Annotated[int, Range(1, 9)] = 1, agreed: Annotated[list[str], Choices(lambda: ["yes", "no"])] = ()):
    return f"house {to}"

@sends.step(asks=True)
def send(address):
    "Shall it go?"
    return f"sent to {address}"
'''
MESSY = "Name ,Joined,Fee,Member\n Ada Lovelace,12.03.2024,\"$1,200\",yes\nBob,2024-05-06,80,no\nBob,2024-05-06,80,no\n,,,\nCleo,N/A,95.5,yes\n"


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("runs") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "works.py").write_text(WORKS)
    with Server(workspace).start() as server: yield server


@pytest.fixture
def page(module_server, open_page):
    "A fresh tab on this module's server. page.server is that server."
    page = open_page(module_server)
    page.server = module_server
    return page


def begin(page: Page, pipeline: str, **answers: object) -> str:
    "Start a run in the browser; the path of its page, which is then open."
    page.goto(f"{page.server.url}/{pipeline}")
    for name, value in answers.items(): page.fill(f"main form [name={name}]", str(value))
    page.click("main form button:has-text('Start')")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    return "/" + page.url.split("/", 3)[3]


def card(page: Page, name: str): return page.locator(f"#step-{name}")
def status(page: Page): return page.locator("#run-live .chip").first
def mark(page: Page): page.evaluate("window.mark = 1")
def is_same(page: Page) -> bool: return page.evaluate("window.mark") == 1


# ─── keys ───

def test_hello_goes_from_start_to_letter_with_the_keyboard_alone(page):
    page.goto(page.server.url + "/hello")
    expect(page.locator("main form [name=name]")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    expect(page.locator("h1")).to_have_text("Ada")
    expect(page.get_by_label("Tone")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(card(page, "letter")).to_contain_text("Ada.,")
    expect(status(page)).to_have_text("done")


def test_enter_goes_on_from_a_field_a_checkbox_and_the_button_of_an_approval(page):
    page.goto(page.server.url + "/sends")
    page.locator("[name=agreed]").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    expect(card(page, "address")).to_contain_text("yes")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(card(page, "send")).to_contain_text("sent to house 1")


def test_a_form_that_does_not_fit_puts_the_focus_into_the_field_that_is_wrong(page, page_errors):
    page.goto(page.server.url + "/sends")
    page.fill("[name=other]", "77")
    page.keyboard.press("Enter")
    expect(page.locator("small.error")).to_contain_text("from 1 to 9")
    expect(page.locator("[name=other]")).to_be_focused()
    forgive(page_errors, "422")


def test_the_step_that_needs_you_takes_the_focus_but_not_from_a_field_you_type_in(page):
    begin(page, "slow", count=40)
    page.click("#step-items button:has-text('Revise')")
    page.fill("#step-items [name=count]", "7")
    expect(page.locator("#step-remark form")).to_be_visible(timeout=8000)
    expect(page.locator("#step-items [name=count]")).to_be_focused()
    expect(page.locator("#step-items [name=count]")).to_have_value("7")
    begin(page, "slow", count=5)
    expect(page.get_by_label("Text")).to_be_focused()


# ─── live ───

def test_two_tabs_on_one_run_stay_in_step(page, open_page):
    path = begin(page, "hello", name="Grace")
    other = open_page(page.server, path)
    mark(page)
    mark(other)
    other.get_by_label("Tone").select_option("cool")
    other.click("#step-greeting button:has-text('Continue')")
    for tab in (page, other):
        expect(card(tab, "letter")).to_contain_text("Grace.,", timeout=LIVE)
        expect(status(tab)).to_have_text("done")
        expect(tab.locator(".step form")).to_have_count(0)
        assert is_same(tab)


def test_what_is_typed_in_a_waiting_step_outlives_what_happens_elsewhere(page, open_page):
    begin(page, "slow", count=1)
    page.get_by_label("Text").fill("half typ")
    mark(page)
    page.server.post("/tasks", {"title": "Noise"})
    path = "/" + page.url.split("/", 3)[3]
    assert page.server.post(f"{path}/rename", {"title": "Renamed"}).status == 200
    other = open_page(page.server, path)
    other.click("#step-items button:has-text('Revise')")
    page.wait_for_timeout(300)
    expect(page.get_by_label("Text")).to_have_value("half typ")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.type("ed")
    page.keyboard.press("Control+Enter")
    expect(card(page, "remark").locator(".value")).to_have_text("half typed")
    assert is_same(page)


def test_a_running_step_shows_how_far_it_is_and_what_it_says_and_cancel_stops_it(page):
    begin(page, "slow")
    bar = page.locator("#step-walk progress")
    at = wait_for(lambda: bar.count() and float(bar.get_attribute("value") or 0), 5, "the bar")
    wait_for(lambda: float(bar.get_attribute("value") or 0) > at, 5, "the bar to move")
    expect(card(page, "walk")).to_contain_text("of 400")
    expect(card(page, "walk").locator("pre")).to_contain_text("item 10")
    expect(page.locator("#headers")).to_contain_text("1 at work")
    page.get_by_role("button", name="Cancel").click()
    expect(status(page)).to_have_text("cancelled", timeout=3000)
    expect(page.locator("#headers")).not_to_contain_text("at work")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_run_that_was_interrupted_is_seen_in_the_open_page_and_retry_brings_it_to_its_end(start, plugin, open_page, page_errors):
    plugin("works", WORKS.replace("sleep(0.02)", "sleep(0.02 if items < 400 or not (home.path / 'quick').exists() else 0)"))
    page = open_page(server := start())
    page.server = server
    begin(page, "slow")
    expect(page.locator("#step-walk progress")).to_be_visible()
    mark(page)
    (server.workspace / "quick").touch()
    server.restart(kill=True)
    expect(status(page)).to_have_text("interrupted", timeout=8000)
    page.get_by_role("button", name="Retry").click()
    page.get_by_label("Text").fill("at last")
    page.click("#step-remark button:has-text('Continue')")
    expect(status(page)).to_have_text("done")
    assert is_same(page)
    forgive(page_errors, NO_SERVER)


def test_the_end_of_a_long_job_is_told_in_other_tabs_with_a_way_to_it(page, open_page):
    other = open_page(page.server, "/tasks")
    path = begin(page, "slow", count=105)
    notice = other.locator("#toasts a")
    expect(notice).to_contain_text("needs you", timeout=8000)
    expect(page.locator("#toasts a")).to_have_count(0)
    notice.click()
    other.wait_for_url("**" + path)


# ─── values, revisions ───

def test_a_step_is_revised_in_place_and_those_below_follow(page):
    begin(page, "hello", name="Ada")
    page.click("#step-greeting button:has-text('Continue')")
    expect(card(page, "letter")).to_contain_text("Dear Ada,")
    mark(page)
    page.click("#step-name button:has-text('Revise')")
    expect(page.locator("#step-name [name=name]")).to_be_focused()
    page.fill("#step-name [name=name]", "Grace")
    page.keyboard.press("Enter")
    expect(card(page, "letter")).to_contain_text("Dear Grace,")
    expect(page.locator(".step form")).to_have_count(0)
    assert is_same(page)


def test_a_table_sorts_and_turns_its_pages_in_its_card_under_a_head_that_stays(page):
    begin(page, "squares", count=120)
    value = card(page, "squares").locator(".value")
    expect(value).to_contain_text("1–50 of 120")
    expect(value.locator("tbody td").nth(2)).to_have_text("<b>none</b>")
    value.get_by_text("Next").click()
    expect(value).to_contain_text("51–100 of 120")
    expect(value.locator("tbody td").first).to_have_text("50")
    value.get_by_role("link", name="square").click()
    value.get_by_role("link", name="square ↑").click()
    expect(value.locator("tbody td").nth(1)).to_have_text("14,161")
    box = value.locator(".table")
    assert box.bounding_box()["height"] <= 26 * 16 + 1
    box.evaluate("b => { b.scrollTop = 500 }")
    assert abs(value.locator("th").first.bounding_box()["y"] - box.bounding_box()["y"]) < 3
    with page.expect_download() as download: value.get_by_text("CSV").click()
    assert download.value.path().read_text().startswith("n,square,name")


def test_a_messy_csv_becomes_an_app_with_its_rows(page, tmp_path):
    (file := tmp_path / "members.csv").write_text(MESSY)
    page.goto(page.server.url + "/csv_clean")
    data = page.evaluate_handle("text => { const t = new DataTransfer(); t.items.add(new File([text], 'members.csv')); return t }", MESSY)
    page.dispatch_event("input[type=file]", "dragover", {"dataTransfer": data})
    expect(page.locator("input[type=file]")).to_have_class("drop over")
    page.dispatch_event("input[type=file]", "dragleave", {"dataTransfer": data})
    page.set_input_files("input[type=file]", file)
    page.click("main form button:has-text('Start')")
    page.wait_for_url(re.compile(r"/runs/\d+$"))
    clean = card(page, "clean")
    expect(clean.locator("[name=fixes]:checked")).to_have_count(clean.locator("[name=fixes]").count())
    expect(clean).to_contain_text("leave out 1 rows that are there already")
    clean.get_by_text("Fee", exact=True).click()
    clean.get_by_role("button", name="Continue").click()
    page.get_by_label("Into").select_option("new")
    page.fill("#step-result [name=name]", "members")
    card(page, "result").get_by_role("button", name="Continue").click()
    expect(status(page)).to_have_text("done")
    page.goto(page.server.url + "/members")
    expect(page.locator("[data-row]")).to_have_count(3)
    expect(page.locator("main")).to_contain_text("Ada Lovelace")
    rows = {row["name"]: row for row in page.server.get("/members/export.json").json()}
    assert rows["Ada Lovelace"]["joined"] == "2024-03-12" and rows["Cleo"]["joined"] is None and "fee" not in rows["Bob"]


def test_a_file_on_its_way_shows_how_much_of_it_is_sent(page, tmp_path):
    (file := tmp_path / "long.csv").write_text("n,text\n" + "".join(f"{n},{'x' * 90}\n" for n in range(6000)))
    page.goto(page.server.url + "/csv_clean")
    bar = page.locator("progress.sent")
    expect(bar).not_to_be_visible()
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 600_000})
    page.set_input_files("input[type=file]", file)
    page.click("main form button:has-text('Start')", no_wait_after=True)
    expect(bar).to_be_visible()
    wait_for(lambda: 0 < page.evaluate("document.querySelector('progress.sent')?.value ?? 1"), 5, "the bar to move")
    page.wait_for_url(re.compile(r"/runs/\d+$"))


def test_two_runs_are_compared_and_the_difference_is_marked(page):
    first = begin(page, "sends", to=1).rpartition("/")[2]
    second = begin(page, "sends", to=2)
    page.click("summary[aria-label=More]")
    page.click("text=Compare with…")
    page.select_option("select[name=to]", first)
    expect(page.locator("tr.differs")).to_have_count(1)
    expect(page.locator("tr.differs")).to_contain_text("house 1")
    page.click("text=Back")
    page.wait_for_url("**" + second)


# ─── looks ───

def test_on_a_phone_no_page_of_a_run_scrolls_sideways(page, open_page):
    small = open_page(page.server, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, reduced_motion="reduce")
    small.server = page.server
    paths = [begin(small, "squares", count=60), begin(small, "hello", name="Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")]
    begin(small, "slow")  # the badge of what is at work is in the top bar then
    for path in (small.url, *paths, f"{paths[1]}/compare", "/csv_clean", "/runs"):
        if path != small.url: small.goto(small.server.url + path)
        wide = small.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px wider than the window"
