"""What a person does and sees, in a real Chromium. No page may log an error or ask another host: conftest.py watches."""
import gzip
import re
import time

import pytest
from helpers import Server, wait_for
from playwright.sync_api import Page, expect

NO_SERVER = r"WebSocket|ERR_CONNECTION|\[object Event\]|htmx:(sendError|afterRequest)"
LIVE = 4_000  # ms; it takes some 100, but a busy machine is to fail no test
RECIPES = '''"Recipes: what we cook."
from sololith import *

@dataclass
class Recipe:
    title: str
    servings: Annotated[int, Range(1, 24)] = 2
    is_cooked: bool = False

recipes = crud(Recipe)
'''


@pytest.fixture(scope="module")
def module_server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("browser") / "workspace").start() as server: yield server


@pytest.fixture
def page(module_server, open_page):
    "A fresh tab on this module's server, without tasks. page.server is that server."
    module_server.post("/tasks/bulk", {"all": "1", "action": "delete", "query": ""})
    page = open_page(module_server)
    page.server = module_server
    return page


@pytest.fixture
def own_page(start, open_page):
    "A tab on a fresh server, for tests that kill it, give it plugins or settings."
    page = open_page(server := start())
    page.server = server
    return page


def add(server: Server, *titles: str, app: str = "tasks", **values: object) -> None:
    for title in titles: assert server.post(f"/{app}", {"title": title, **values}).status == 200


def tasks(page: Page, *titles: str, path: str = "/tasks") -> Page:
    add(page.server, *titles)
    page.goto(page.server.url + path)
    return page


def shown(page: Page) -> list[str]: return page.locator("[data-row] a.title").all_text_contents()


def shows(page: Page, *titles: str, limit: float = LIVE) -> None:
    "The list has exactly these, in this order, soon."
    expect(page.locator("[data-row] a.title")).to_have_text(list(titles), timeout=limit)


def row(page: Page, title: str): return page.locator("tr", has=page.get_by_role("link", name=title, exact=True))
def done(page: Page): return page.locator("[data-row] [aria-label=Done]")
def toast(page: Page): return page.locator(".toast").last
def at_row(page: Page) -> str: return page.evaluate("document.activeElement.closest('[data-row]')?.querySelector('a.title').textContent ?? ''")


def forgive(errors: list[str], pattern: str) -> None:
    "Errors that a test provokes on purpose: only those, then none."
    strange = [error for error in errors if not re.search(pattern, error)]
    assert not strange, strange
    errors.clear()


# ─── keys ───

def test_n_opens_the_form_and_ctrl_enter_adds_what_was_typed(page):
    tasks(page).keyboard.press("n")
    expect(page.locator("#dialog input[name=title]")).to_be_focused()
    page.keyboard.type("Water the plants")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#dialog")).not_to_be_visible()
    shows(page, "Water the plants")
    expect(toast(page)).to_contain_text("Added “Water the plants”")


@pytest.mark.parametrize("leave", ["Escape", "Cancel", "outside"])
def test_leaving_a_dialog_puts_the_focus_back_where_it_was(page, leave):
    tasks(page, "One", "Two")
    page.locator("[data-row]").nth(1).focus()
    page.keyboard.press("n")
    expect(page.locator("#dialog input[name=title]")).to_be_focused()
    if leave == "Escape": page.keyboard.press("Escape")
    elif leave == "Cancel": page.click("#dialog button:has-text('Cancel')")
    else: page.mouse.click(5, 5)
    expect(page.locator("#dialog")).not_to_be_visible()
    assert at_row(page) == "Two"
    page.keyboard.press("n")  # and it opens again, empty
    expect(page.locator("#dialog input[name=title]")).to_have_value("")


def test_slash_searches_and_letters_typed_there_are_not_commands(page):
    tasks(page, "Nine nice nets", "Other").keyboard.press("/")
    expect(page.locator("input[name=q][data-key]")).to_be_focused()
    page.keyboard.type("nexz?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.get_by_text("Nothing fits")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("input[name=q][data-key]")).not_to_be_focused()


def test_question_mark_opens_the_help_and_escape_closes_it(page):
    tasks(page).keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("n")  # nothing else reacts below a dialog
    expect(page.locator("#dialog")).not_to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()


def test_j_and_k_walk_the_rows_and_enter_opens_one(page):
    tasks(page, "One", "Two", "Three")
    walked = []
    for key in "jjjjkk":
        page.keyboard.press(key)
        walked.append(at_row(page))
    assert walked == ["One", "Two", "Three", "Three", "Two", "One"]
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/tasks/\d+$"))
    expect(page.locator("h1")).to_have_text("One")


def test_e_edits_in_place_enter_saves_and_the_focus_stays_on_the_row(page):
    tasks(page, "One", "Two", "Three")
    for key in "jje": page.keyboard.press(key)
    expect(page.locator(".editing input[name=title]")).to_be_focused()
    page.fill(".editing input[name=title]", "Two and a half")
    page.keyboard.press("Enter")
    shows(page, "One", "Two and a half", "Three")
    wait_for(lambda: at_row(page) == "Two and a half", 1, "the focus on the row")
    page.keyboard.press("j")
    assert at_row(page) == "Three"


def test_escape_leaves_a_row_as_it_was_and_the_focus_on_it(page):
    tasks(page, "One", "Two")
    for key in "jje": page.keyboard.press(key)
    page.fill(".editing input[name=title]", "Nonsense")
    page.keyboard.press("Escape")
    expect(page.locator(".editing")).to_have_count(0)
    shows(page, "One", "Two")
    wait_for(lambda: at_row(page) == "Two", 1, "the focus on the row")


def test_delete_takes_the_row_z_brings_it_back_and_shift_z_takes_it_again(page):
    tasks(page, "One", "Two", "Three")
    for key in ("j", "j", "Delete"): page.keyboard.press(key)
    shows(page, "One", "Three")
    wait_for(lambda: at_row(page) == "Three", 1, "the focus on the next row")
    page.keyboard.press("z")
    shows(page, "One", "Two", "Three")
    page.keyboard.press("Z")
    shows(page, "One", "Three")


def test_x_selects_rows_and_the_bar_says_how_many(page):
    tasks(page, "One", "Two", "Three")
    for key in "jxjx": page.keyboard.press(key)
    expect(page.locator("#bulk")).to_be_visible()
    expect(page.locator("#bulk-count")).to_have_text("2 selected")
    page.keyboard.press("x")
    expect(page.locator("#bulk-count")).to_have_text("1 selected")


def test_alt_and_an_arrow_move_a_row_which_keeps_the_focus(page):
    tasks(page, "One", "Two", "Three")
    for key in ("j", "j", "j", "Alt+ArrowUp", "Alt+ArrowUp"): page.keyboard.press(key)
    shows(page, "Three", "One", "Two")
    assert at_row(page) == "Three"
    expect(page.locator(".toast")).to_have_count(2)
    page.reload()
    shows(page, "Three", "One", "Two")


def test_the_palette_finds_apps_records_and_actions_by_keyboard_alone(page):
    tasks(page, "Polish the sextant", path="/")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette input")).to_be_focused()
    page.keyboard.type("sextant")
    expect(page.locator("#palette [role=option]").first).to_contain_text("Polish the sextant")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/tasks/\d+$"))
    page.keyboard.press("Control+k")
    page.keyboard.type("tas")
    expect(page.locator("#palette [role=option]").nth(1)).to_contain_text("New task")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#palette [aria-selected=true]")).to_contain_text("New task")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks")
    page.keyboard.press("Control+k")
    page.keyboard.type("undo")
    expect(page.locator("#palette [role=option]").first).to_contain_text("Undo the last change")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No tasks yet")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).not_to_be_visible()


def test_enter_in_the_palette_waits_for_what_has_been_typed(page):
    page.keyboard.press("Control+k")
    page.keyboard.type("journal")
    page.keyboard.press("Enter")
    page.wait_for_url("**/journal")


# ─── editing ───

def test_a_row_that_does_not_fit_says_why_and_keeps_all_that_was_typed(page, page_errors):
    tasks(page, "One")
    page.get_by_label("Edit One").click()
    page.fill(".editing input[name=title]", "")
    page.fill(".editing input[name=due]", "2030-02-03")
    page.select_option(".editing select[name=priority]", "high")
    page.click(".editing button:has-text('Save')")
    expect(page.locator(".editing small.error")).to_contain_text("title is empty")
    expect(page.locator(".editing input[name=title]")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".editing input[name=due]")).to_have_value("2030-02-03")
    expect(page.locator(".editing select[name=priority]")).to_have_value("high")
    assert page.server.get("/tasks/export.json").json()[0]["priority"] == "normal"
    forgive(page_errors, "422")
    page.fill(".editing input[name=title]", "Uno")
    page.keyboard.press("Enter")
    shows(page, "Uno")
    expect(row(page, "Uno")).to_contain_text("3 Feb 2030")


def test_a_form_that_does_not_fit_names_each_field_and_keeps_what_was_typed(own_page, plugin, page_errors):
    page = own_page
    plugin("recipes", RECIPES)
    wait_for(lambda: page.server.get("/recipes").status == 200, what="the plugin")
    page.goto(page.server.url + "/recipes")
    page.keyboard.press("n")
    form = page.locator("#dialog")
    page.fill("#dialog input[name=servings]", "99")
    page.check("#dialog input[name=is_cooked]")
    page.click("#dialog button:has-text('Add recipe')")
    expect(page.locator("#dialog small.error")).to_have_count(2)
    expect(form.get_by_label("Servings")).to_have_value("99")
    expect(form.get_by_label("Cooked")).to_be_checked()
    expect(form.get_by_label("Title")).to_be_focused()
    described = form.get_by_label("Servings").get_attribute("aria-describedby")
    expect(page.locator(f"#{described}")).to_contain_text("from 1 to 24")
    forgive(page_errors, "422")
    form.get_by_label("Title").fill("Soup")
    form.get_by_label("Servings").fill("4")
    page.keyboard.press("Enter")
    shows(page, "Soup")


def test_a_double_click_on_add_adds_one(page):
    tasks(page).keyboard.press("n")
    page.fill("#dialog input[name=title]", "Once")
    page.locator("#dialog button:has-text('Add task')").dblclick(no_wait_after=True)
    shows(page, "Once")
    page.reload()
    shows(page, "Once")


def test_a_tick_in_the_list_is_kept(page):
    tasks(page, "One")
    done(page).check()
    expect(row(page, "One")).to_have_class("done")
    page.reload()
    expect(done(page)).to_be_checked()


def test_a_row_is_dragged_to_its_place(page):
    tasks(page, "One", "Two", "Three", "Four")
    grips = page.locator(".grip")
    start, end = grips.nth(3).bounding_box(), grips.nth(0).bounding_box()
    page.mouse.move(start["x"] + 5, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(start["x"] + 5, start["y"] - 20, steps=5)
    def is_there() -> bool:  # as a hand does: over the place, until the row is seen to lie in it
        page.mouse.move(end["x"] + 5, end["y"] + 2, steps=10)
        page.mouse.move(end["x"] + 6, end["y"] + 3)
        return shown(page)[0] == "Four"
    wait_for(is_there, 5, "the row to follow the mouse")
    page.mouse.up()
    expect(toast(page)).to_contain_text("Moved")
    shows(page, "Four", "One", "Two", "Three")
    page.reload()
    shows(page, "Four", "One", "Two", "Three")


def test_deleting_several_is_one_undo(page):
    titles = [f"Task {n}" for n in range(6)]
    tasks(page, *titles)
    page.check("#all-ids")
    row(page, "Task 5").get_by_label("Select Task 5").uncheck()
    page.click("#bulk button[value=delete]")
    shows(page, "Task 5")
    expect(toast(page)).to_contain_text("Deleted 5")
    toast(page).get_by_role("button", name="Undo").click()
    shows(page, *titles)


def test_changing_several_is_one_undo(page):
    tasks(page, "One", "Two", "Three")
    for title in ("One", "Three"): page.get_by_label(f"Select {title}").check()
    page.select_option("#bulk select[name=field]", "priority")
    page.select_option("#bulk-value select", "high")
    page.click("#bulk button[value=change]")
    expect(page.locator("[data-row] .chip")).to_have_text(["high", "normal", "high"])
    toast(page).get_by_role("button", name="Undo").click()
    expect(page.locator("[data-row] .chip")).to_have_text(["normal"] * 3)


# ─── the address ───

def test_search_sort_and_filter_are_in_the_address_so_reload_and_back_give_the_same(page):
    server = page.server
    add(server, "Banana bread", "Apple cake", priority="high")
    add(server, "Cherry cake")
    page.goto(server.url + "/tasks")
    page.select_option("select[name='f.priority']", "high")
    shows(page, "Banana bread", "Apple cake")
    page.click("thead a:has-text('Title')")
    shows(page, "Apple cake", "Banana bread")
    assert "f.priority=high" in page.url and "sort=title" in page.url
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Title")
    page.click("thead a:has-text('Title')")
    shows(page, "Banana bread", "Apple cake")
    page.fill("input[name=q][data-key]", "cake")
    shows(page, "Apple cake")
    assert "sort=-title" in page.url and "q=cake" in page.url and "f.priority=high" in page.url
    page.reload()
    shows(page, "Apple cake")
    expect(page.locator("input[name=q][data-key]")).to_have_value("cake")
    expect(page.locator("select[name='f.priority']")).to_have_value("high")
    page.click("[data-row] a.title")
    page.wait_for_url(re.compile(r"/tasks/\d+$"))
    page.go_back()
    shows(page, "Apple cake")
    page.go_back()
    shows(page, "Apple cake", "Banana bread")
    expect(page.locator("#nav")).to_be_visible()
    assert "sort=title" in page.url and "q=" not in page.url


# ─── live ───

def test_a_change_in_another_tab_shows_without_a_reload(page, open_page):
    tasks(page, "One")
    page.evaluate("window.mark = 1")
    other = open_page(page.server, "/tasks")
    done(other).check()
    expect(row(page, "One")).to_have_class("done", timeout=LIVE)
    other.get_by_label("Delete One").click()
    expect(page.get_by_text("No tasks yet")).to_be_visible(timeout=LIVE)
    assert page.evaluate("window.mark") == 1


def test_changes_by_http_and_by_the_command_line_show_without_a_reload(page, tmp_path):
    tasks(page, "One")
    page.evaluate("window.mark = 1")
    add(page.server, "By HTTP")
    shows(page, "One", "By HTTP")
    (tmp_path / "rows.csv").write_text("title\nBy the shell\n")
    assert page.server.cli("import", str(tmp_path / "rows.csv"), "--app", "tasks").returncode == 0
    shows(page, "One", "By HTTP", "By the shell")
    assert page.server.cli("undo").returncode == 0
    shows(page, "One", "By HTTP")
    assert page.evaluate("window.mark") == 1


def test_what_is_being_typed_in_a_row_outlives_changes_by_others(page, open_page):
    tasks(page, "One", "Two")
    page.get_by_label("Edit One").click()
    page.fill(".editing input[name=title]", "One, half typ")
    page.get_by_label("Select Two").check()
    page.focus(".editing input[name=title]")
    add(page.server, "Three")
    expect(page.get_by_role("link", name="Three")).to_be_visible(timeout=LIVE)
    one, two, _ = [task["id"] for task in page.server.get("/tasks/export.json").json()]
    page.server.post(f"/tasks/{one}/toggle", {"field": "is_done", "value": "on"})
    page.server.post(f"/tasks/{two}", {"_row": "title", "title": "Two, changed"})
    expect(page.get_by_role("link", name="Two, changed")).to_be_visible(timeout=LIVE)
    expect(page.locator(".editing input[name=title]")).to_have_value("One, half typ")
    expect(page.locator(".editing input[name=title]")).to_be_focused()
    expect(page.get_by_label("Select Two, changed")).to_be_checked()
    page.keyboard.type("ed")
    page.keyboard.press("Enter")
    expect(row(page, "One, half typed")).to_have_class("done")  # the other's change is kept beside ours


def test_a_killed_server_is_announced_and_the_page_goes_on_by_itself_when_it_is_back(own_page, page_errors):
    page = own_page
    server = tasks(page, "One").server
    page.evaluate("window.mark = 1")
    server.kill()
    expect(page.locator("#banner")).to_be_visible(timeout=5000)
    expect(page.locator("#banner")).to_contain_text("not running")
    server.restart()
    add(server, "While it was away")
    expect(page.locator("#banner")).not_to_be_visible(timeout=8000)
    shows(page, "One", "While it was away")
    add(server, "And after")
    shows(page, "One", "While it was away", "And after")
    assert page.evaluate("window.mark") == 1
    forgive(page_errors, NO_SERVER)


def test_what_was_typed_stays_when_the_server_does_not_answer(own_page, page_errors):
    page = own_page
    tasks(page).keyboard.press("n")
    page.fill("#dialog input[name=title]", "Not lost")
    page.server.kill()
    page.keyboard.press("Enter")
    expect(page.locator(".toast.bad").first).to_contain_text("does not answer")
    expect(page.locator("#dialog input[name=title]")).to_have_value("Not lost")
    page.server.restart()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Not lost")).to_be_visible()
    forgive(page_errors, NO_SERVER)


# ─── plugins ───

def test_a_saved_plugin_is_in_the_open_page_within_half_a_second(own_page, plugin, workspace):
    page = own_page
    page.evaluate("window.mark = 1")
    took = []
    for name in ("kettles", "pans", "spoons"):
        start = time.monotonic()
        plugin(name, RECIPES.replace("Recipe", name[:-1].capitalize()).replace("recipes", name))
        page.wait_for_selector(f"#nav a[href='/{name}']")
        took.append(time.monotonic() - start)
    assert min(took) < 0.5, took  # the best of three: others may be using the machine
    (workspace / "apps" / "pans.py").unlink()
    expect(page.locator("#nav a[href='/pans']")).to_have_count(0, timeout=5000)
    assert page.evaluate("window.mark") == 1


def test_a_plugin_that_breaks_shows_a_red_card_and_its_last_good_version_stays(own_page, plugin):
    page = own_page
    plugin("recipes", RECIPES)
    page.wait_for_selector("#nav a[href='/recipes']")
    plugin("recipes", RECIPES.replace("crud(Recipe)", "crud(Recipy)"))
    card = page.locator(".card.bad")
    expect(card).to_contain_text("recipes.py has a problem", timeout=3000)
    expect(card).to_contain_text("line 10")
    page.goto(page.server.url + "/plugins")
    card.locator("summary").click()
    expect(card.locator("pre")).to_contain_text("NameError")
    page.click("#nav a[href='/recipes']")
    expect(page.locator("h1")).to_have_text("Recipes")
    page.goto(page.server.url + "/plugins")
    plugin("recipes", RECIPES)
    expect(card).to_have_count(0, timeout=3000)


def test_a_broken_plugin_that_is_deleted_takes_its_red_card_along(own_page, plugin):
    page = own_page
    file = plugin("recipes", RECIPES.replace("crud(Recipe)", "crud(Recipy)"))
    expect(page.locator(".card.bad")).to_be_visible(timeout=3000)
    expect(page.locator("#nav .danger")).to_have_text("!")
    file.unlink()
    expect(page.locator(".card.bad")).to_have_count(0, timeout=3000)
    expect(page.locator("#nav .danger")).to_have_count(0)


# ─── looks ───

def test_the_theme_is_light_dark_or_the_systems_and_is_kept(own_page):
    page = own_page
    def paper() -> str: return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    def choose(name: str) -> str:
        page.click("summary[aria-label=Theme]")
        with page.expect_navigation(): page.get_by_role("button", name=name).click()
        return paper()
    page.emulate_media(color_scheme="light")
    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark
    assert choose("Light") == light
    page.reload()
    assert paper() == light
    page.emulate_media(color_scheme="light")
    assert choose("Dark") == dark
    assert choose("System") == light


def test_on_a_phone_nothing_scrolls_sideways_and_the_navigation_is_a_drawer(start, plugin, open_page, page_errors):
    plugin("recipes", RECIPES)
    server = start()
    add(server, "A task whose name is long enough to need more than a single line on a phone", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft")
    page = open_page(server, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, reduced_motion="reduce")
    for path in ("/", "/tasks", "/tasks/2", "/tasks/new", "/tasks/import", "/recipes", "/notes", "/profiles", "/journal", "/plugins", "/tasks?q=nothing", "/nowhere"):
        page.goto(server.url + path)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px wider than the window"
    forgive(page_errors, "nowhere.* 404")
    page.goto(server.url + "/tasks")
    expect(page.locator("#nav")).not_to_be_visible()
    page.tap("[data-toggle=nav]")
    page.tap("#nav a[href='/notes']")
    page.wait_for_url("**/notes")
    expect(page.locator("#nav")).not_to_be_visible()
    page.tap("[data-toggle=nav]")
    page.touchscreen.tap(370, 700)
    expect(page.locator("#nav")).not_to_be_visible()


def test_the_activity_panel_opens_lists_what_happened_and_stays_open(own_page):
    page = own_page
    tasks(page, "One").click("#side button:text('Activity')")
    expect(page.locator("#activity")).to_contain_text("added “One”")
    add(page.server, "Two")
    expect(page.locator("#activity")).to_contain_text("added “Two”", timeout=LIVE)
    page.reload()
    expect(page.locator("#panel")).to_be_visible()


def test_the_current_profile_limits_the_list_and_owns_what_is_added(own_page):
    page = own_page
    server = page.server
    for name in ("Ada", "Bob"): server.post("/profiles", {"name": name})
    add(server, "Hers", profile=1)
    add(server, "His", profile=2)
    page.goto(server.url + "/tasks")
    shows(page, "Hers", "His")
    page.click("summary[aria-label^=Profile]")
    page.get_by_role("button", name="Bob").click()
    shows(page, "His", limit=3000)
    page.keyboard.press("n")
    page.fill("#dialog input[name=title]", "His too")
    page.keyboard.press("Enter")
    shows(page, "His", "His too")
    assert [task["profile"] for task in server.get("/tasks/export.json?sort=id").json()] == [2, 2]


# ─── weight and safety ───

def test_the_first_page_is_light(page):
    server, weights = page.server, {}
    for n in range(20): add(server, f"Task {n}")
    page.context.new_cdp_session(page).send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.on("response", lambda response: weights.update({response.url: len(gzip.compress(response.body()))}))
    page.goto(server.url + "/tasks", wait_until="networkidle")
    assert len(weights) <= 8, weights
    assert sum(weights.values()) <= 150_000, weights


def test_no_page_has_inline_script_or_style_and_the_policy_forbids_them(own_page, plugin):
    page = own_page
    plugin("recipes", RECIPES)
    page.wait_for_selector("#nav a[href='/recipes']")
    add(page.server, "One")
    page.add_init_script("addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))")
    for path in ("/", "/tasks", "/tasks/1", "/tasks/new", "/tasks/import", "/journal", "/plugins", "/nowhere"):
        answer = page.server.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        for tag in re.findall(r"<[a-z][^>]*>", answer.text):
            assert not re.search(r"\s(on\w+|style)=", tag), (path, tag)
            assert not tag.startswith(("<script", "<style")) or "src=" in tag, (path, tag)
        if path != "/nowhere": page.goto(page.server.url + path)


def test_the_button_of_an_empty_list_opens_the_form(page):
    page.goto(page.server.url + "/tasks")
    page.click(".empty button")
    expect(page.locator("#dialog[open] input[name=title]")).to_be_focused()
