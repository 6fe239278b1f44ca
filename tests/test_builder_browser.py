"""The builder as a person sees it in a real Chromium: the form, the plan on the card, Install, versions. No page may log an error
or ask another host. The model is scripted; each test builds something of its own."""
import json
import re
import time

import pytest
from helpers import Server, patience, wait_for
from model_server import ModelServer
from playwright.sync_api import Locator, Page, expect
from test_axe import RUN, axe  # noqa: F401 (a fixture)
from test_browser import LIVE
from test_builder import Lab, f, plan

pytestmark = pytest.mark.package_only  # as the other files with a browser

CHECKED = 20_000  # ms: a check takes one second, and more on a busy machine


@pytest.fixture(scope="module")
def model():
    with ModelServer(context=16384) as model: yield model


@pytest.fixture(scope="module")
def L(tmp_path_factory, model):
    with Server(tmp_path_factory.mktemp("builder") / "workspace").start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"}) as server: yield Lab(server, model)


def proposal(page: Page, status: str = "") -> Locator:
    found = page.locator("#main .proposal").last
    if status: expect(found.locator(".chip").first).to_have_text(status, timeout=CHECKED)
    return found


def row(part: Locator, n: int) -> Locator: return part.locator("tbody tr").nth(n)
def key_of(page: Page) -> int: return int(page.url.rpartition("/")[2])
def button(part: Locator | Page, name: str) -> Locator: return part.get_by_role("button", name=name, exact=True)
def in_menu(page: Page, name: str) -> Locator: return page.locator(f'#nav a[href="/{name}"]')


def test_an_app_is_made_with_the_keyboard_and_is_live_in_another_tab_within_a_second(L, open_page):
    other = open_page(L.server, "/tasks")
    page = open_page(L.server, "/plugins")
    other.evaluate("window.mark = 1")
    page.get_by_role("button", name="New app").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/build\?kind=app$"))
    page.get_by_label("Called").focus()
    for word in ("plants", "What grows here"):
        page.keyboard.type(word)
        page.keyboard.press("Tab")
    expect(page.get_by_label("Name").first).to_be_focused()
    for name, kind, choices, required in (("name", "", "", "y"), ("light", "one of", "low, high", ""), ("watered", "date", "", "")):
        for typed in (name, kind, choices, "", required, ""):
            if typed: page.keyboard.type(typed, delay=5)
            page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/build/\d+$"), timeout=CHECKED)
    card = proposal(page, "waits for you")
    expect(card).to_contain_text("2 records added, changed, deleted, brought back")
    expect(card).to_contain_text("It reaches nothing but its own records.")
    assert '    name: str\n    light: Literal["low", "high"] = "low"\n    watered: date | None = None\n' in L.newest()["source"]
    assert not in_menu(other, "plants").count() and not in_menu(page, "plants").count()
    button(card, "Install").focus()
    page.keyboard.press("Enter")
    wait_for(lambda: L.newest()["status"] == "installed", CHECKED / 1000)
    began = time.monotonic()
    in_menu(other, "plants").wait_for(state="attached")
    assert time.monotonic() - began < patience()
    assert other.evaluate("window.mark") == 1, "and nothing was loaded anew"
    expect(page.locator("#toasts")).to_contain_text("Installed plants")
    card = proposal(page, "installed")
    card.get_by_role("button", name="Open plants").click()
    page.wait_for_url(L.server.url + "/plants")
    page.keyboard.press("n")
    page.fill("#dialog [name=name]", "Sword fern")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#main [data-row] a.title")).to_have_text(["Sword fern"], timeout=LIVE)


def test_the_plan_is_changed_in_the_card_tried_out_and_installed(L, open_page):
    key = L.made("boxes", {"name": "title", "required": "yes"}, {"name": "size", "type": "int"})
    page = open_page(L.server, f"/build/{key}")
    card = proposal(page, "waits for you")
    row(card, 1).get_by_label("Name").fill("litres")
    row(card, 1).get_by_label("Type").select_option("decimal")
    row(card, 2).get_by_label("Name").fill("place")
    row(card, 2).get_by_label("Type").select_option("choice")
    row(card, 2).get_by_label("Choices").fill("attic | cellar")
    row(card, 2).get_by_label("Help").fill("Where it <b>stands</b>.")
    button(card.locator("form").first, "Try it out").click()
    expect(page.locator("#toasts")).to_contain_text("Tried out boxes: it works", timeout=CHECKED)
    expect(row(card, 2).get_by_label("Choices")).to_have_value("attic | cellar")
    expect(row(card, 3).get_by_label("Name")).to_have_value("")
    card.get_by_text("The file", exact=True).click()
    expect(card.locator("pre ins", has_text="litres")).to_have_text("+    litres: Decimal | None = None")
    row(card, 2).get_by_label("Name").fill("")  # taken out again, with Enter
    page.keyboard.press("Enter")
    expect(row(card, 2).get_by_label("Choices")).to_have_value("", timeout=CHECKED)
    assert "place" not in L.proposal(key)["source"]
    button(card, "Install").dblclick()
    proposal(page, "installed")
    assert len([e for e in L.journal("app='plugins'") if e["summary"] == "installed boxes"]) == 1, "a double click is one"
    page.goto(L.server.url + "/boxes/new")
    expect(page.get_by_label("Litres")).to_be_visible()


def test_what_does_not_work_is_said_beside_the_code_and_can_be_mended_there(L, open_page, page_errors):
    key = L.made("goods")
    page = open_page(L.server, f"/build/{key}")
    card = proposal(page, "waits for you")
    card.get_by_text("Edit the code").click()
    code = card.get_by_label("The code")
    text = code.input_value()
    code.fill(text.replace("crud(", "curd(") + "\n# <img src=x onerror=canary=1>\u202e")
    button(card.locator("form").last, "Try it out").click()
    card = proposal(page, "does not work yet")
    expect(card.locator("li.error").nth(1)).to_have_text("line 11: curd is not defined. Did you mean crud?")
    expect(card.locator("li.error").first).to_contain_text("⟨U+202E⟩")
    expect(button(card, "Install")).to_have_count(0)
    assert page.evaluate("window.canary") is None
    card.get_by_text("Edit the code").click()
    card.get_by_label("The code").fill(text)
    button(card.locator("form").last, "Try it out").click()
    card = proposal(page, "waits for you")
    button(card, "Discard").click()
    proposal(page, "declined")
    expect(page.locator("#main button:visible")).to_have_count(0)


def test_a_wish_in_the_chat_is_a_card_whose_plan_is_changed_and_installed_there(L, model, open_page):
    page = open_page(L.server, "/tasks")
    model.says(json.dumps(plan("wines", "Wine", f("name"), f("year", "int"))), delay=.3)
    page.locator("#draft").fill("make me an app for my wines: name, year")
    page.keyboard.press("Enter")
    card = page.locator("#messages .call .proposal")
    expect(card.locator(".chip")).to_have_text("waits for you", timeout=CHECKED)
    row(card, 2).get_by_label("Name").fill("colour")
    row(card, 2).get_by_label("Type").select_option("choice")
    row(card, 2).get_by_label("Choices").fill("red, white")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Tried out wines: it works", timeout=CHECKED)
    model.says(json.dumps({"add": [f("rating", "int")], "remove": [], "change": []}))
    page.locator("#draft").fill("also a rating")
    page.keyboard.press("Enter")
    second = page.locator("#messages .call .proposal").nth(1)
    expect(second.locator(".chip")).to_have_text("waits for you", timeout=CHECKED)
    expect(card.first.locator(".chip")).to_have_text("replaced by a newer one", timeout=LIVE)
    button(second, "Install").click()
    expect(second.locator(".chip")).to_have_text("installed", timeout=CHECKED)
    in_menu(page, "wines").wait_for(state="attached")
    assert 'colour: Literal["red", "white"] = "red"' in L.file("wines").read_text() and "rating: int = 0" in L.file("wines").read_text()
    page.reload()
    expect(page.locator("#messages .call .proposal .chip")).to_have_text(["replaced by a newer one", "installed"], timeout=LIVE)


def test_words_on_the_page_become_a_plan_while_one_looks(L, model, open_page):
    page = open_page(L.server, "/build")
    model.says(json.dumps(plan("teas", "Tea", f("name"))), delay=1)
    page.get_by_label("What it is to be").fill("my teas: name")
    button(page.locator("#main"), "Make it").click()
    page.wait_for_url(re.compile(r"/build/\d+$"))
    expect(page.locator("#main .proposal .chip").first).to_have_text("at work")
    proposal(page, "waits for you")
    expect(page.locator("#main")).to_contain_text("“my teas: name”")


def test_versions_are_rolled_back_removed_and_brought_back(L, open_page):
    L.installed("jars", {"name": "title", "required": "yes"})
    L.file("jars").write_text(L.file("jars").read_text().replace("    title: str\n", "    title: str\n    size: int = 0\n"))
    page = open_page(L.server, "/plugins")
    page.locator("h2 a", has_text="jars").click()
    versions = page.locator(".versions > li")
    expect(versions).to_have_count(2, timeout=LIVE)
    expect(versions.nth(0)).to_contain_text("is live")
    versions.nth(0).get_by_text("The difference").click()
    expect(versions.nth(0).locator("ins")).to_have_text("+    size: int = 0")
    button(versions.nth(1), "Roll back to this").click()
    expect(page.locator("#toasts")).to_contain_text("Rolled back jars", timeout=LIVE)
    expect(versions).to_have_count(3, timeout=LIVE)
    assert "size" not in L.file("jars").read_text()
    page.locator("#toasts").get_by_role("button", name="Undo").last.click()
    wait_for(lambda: "size" in L.file("jars").read_text(), 5)
    page.once("dialog", lambda dialog: dialog.dismiss())
    button(page, "Remove").click()
    assert L.file("jars").exists(), "asked first"
    page.once("dialog", lambda dialog: dialog.accept())
    button(page, "Remove").click()
    page.wait_for_url(re.compile(r"/plugins$"))
    assert not L.file("jars").exists()
    in_menu(page, "jars").wait_for(state="detached")
    page.keyboard.press("z")
    in_menu(page, "jars").wait_for(state="attached")
    with page.expect_download() as download:
        page.goto(L.server.url + "/plugins/jars")
        page.get_by_role("button", name="Export", exact=True).click()
    assert download.value.suggested_filename == "jars.py"


# ─── looks ───

LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


@pytest.fixture(scope="module")
def pages(L) -> list[str]:
    "The builder's pages, with plans that are as large as they get."
    many = [{"name": f"field_number_{n}", "type": ["int", "choice", "text", "date"][n % 4], "choices": f"{LONG}, b" if n % 4 == 1 else "", "help": "A rather long help, which says it all. " * 2} for n in range(16)]
    app = L.made("large_collection_of_things", {"name": "title", "required": "yes"}, *many)
    flow = L.made("large_flow", *[{"name": f"step_{n}", "type": "code", "help": "Work on what came, with care. " * 4} for n in range(6)], kind="pipeline")
    wrong = L.made("wrong_things")
    L.act(wrong, act="code", source=f'"{LONG * 2}"\nfrom sololith import *\n{LONG.encode("ascii", "ignore").decode()}()\n{"x" * 400} = open("a")\nraise Problem("{LONG}")\n')
    L.installed("shown_things")
    L.file("shown_things").write_text(L.file("shown_things").read_text() + f"# {LONG * 4}\n")
    wait_for(lambda: "by hand" in L.page("shown_things"), 10)
    L.file("broken_things").write_text(f"raise ValueError('{LONG}')\n")
    wait_for(lambda: "broken_things.py has a problem" in L.get("/plugins").text, 10)
    assert {L.proposal(key)["status"] for key in (app, flow)} == {"ready"} and L.proposal(wrong)["status"] == "refused"
    assert L.act(0 or L.made("flow_of_kinds", *[{"name": k, "type": k, "choices": {"ask": "size:int, tone:a|b", "tool": "tasks_find"}.get(k, "")} for k in ("ask", "model")], kind="pipeline"), act="decline").status == 204
    return ["/build", "/build?kind=pipeline", f"/build/{app}", f"/build/{flow}", f"/build/{wrong}", "/plugins/shown_things", "/plugins"]


WIDER = """() => [document.documentElement, ...document.querySelectorAll("#main, .card, .proposal, .proposal > :not(pre)")].filter(el => el.checkVisibility() && el.scrollWidth > el.clientWidth + 1
    && !["auto", "scroll", "hidden"].includes(getComputedStyle(el).overflowX) && getComputedStyle(el).display !== "inline").map(el => `${el.tagName}.${el.className}#${el.id}: ${el.scrollWidth} > ${el.clientWidth}: ${el.textContent.slice(0, 60)}`)"""
OPENED = "document.querySelectorAll('#main details').forEach(d => { d.open = true })"


PAGES = ["new app", "new pipeline", "plan", "steps", "problem", "versions", "plugins"]


@pytest.mark.parametrize("width, scheme", [(1440, "light"), (390, "dark"), (320, "light")])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_of_the_builder_is_wider_than_the_window(L, pages, tab, name, width, scheme):
    n = PAGES.index(name)
    if (name, width) == ("plugins", 320): pytest.xfail("the page Plugins with a red card is 10 px too wide at 320")
    tab.set_viewport_size({"width": width, "height": 844})
    tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if tab.url != L.server.url + pages[n]: tab.goto(L.server.url + pages[n])
    tab.evaluate(OPENED)
    wide = tab.evaluate(WIDER)
    assert not wide, "\n".join(wide)


@pytest.fixture(scope="module")
def tab(L, browser) -> Page:
    "One tab for all looks."
    context = browser.new_context()
    name, _, value = L.server.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "domain": L.server.name, "path": "/", "httpOnly": True, "sameSite": "Strict"}])
    yield context.new_page()
    context.close()


def test_a_plan_is_changed_on_a_phone(L, open_page):
    key = L.made("cups", {"name": "title", "required": "yes"})
    page = open_page(L.server, f"/build/{key}", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark", reduced_motion="reduce")
    card = proposal(page, "waits for you")
    row(card, 1).get_by_label("Name").tap()
    page.keyboard.type("size")
    row(card, 1).get_by_label("Type").select_option("int")
    button(card.locator("form").first, "Try it out").tap()
    expect(row(card, 1).get_by_label("Name")).to_have_value("size", timeout=CHECKED)
    expect(row(card, 2).get_by_label("Name")).to_have_value("")
    for name in ("Try it out", "Install", "Discard"):
        box = button(card, name).first.bounding_box()
        assert box["height"] >= 36 and box["width"] >= 36 and box["x"] >= 0 and box["x"] + box["width"] <= 390, (name, box)
    button(card, "Install").tap()
    proposal(page, "installed")


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious_on_the_builders_pages_in_both_themes(L, pages, open_page, axe, width):  # noqa: F811
    page = open_page(L.server, pages[0], viewport={"width": width, "height": 844}, reduced_motion="reduce", bypass_csp=True)
    found = []
    for path in pages:
        page.goto(L.server.url + path)
        page.evaluate(OPENED)
        page.evaluate(axe)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{path} {scheme}: {violation}" for violation in page.evaluate(RUN)]
    assert not found, "\n".join(found)

