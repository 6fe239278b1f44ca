"""The person's browser at work (threats A22, B7, B11): steps that open, read, fill in and click, on a site of our own on loopback."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable
from html import unescape
from urllib.parse import unquote
from urllib.request import urlopen

import pytest
from browsed_site import ARTICLE_MUST, ARTICLE_MUST_NOT, ORDERS, SITE_BROKEN, Site
from helpers import SOLOLITH, Server, chapter, environment, patience, read, wait_for
from test_tools import in_process

browsing = chapter("browser")
Problem = chapter("base").Problem

PLUGIN = '''"Goes: through a site."
from sololith import *
import asyncio, sys
here = sys.modules.get("sololith.browser") or sys.modules["sololith"]  # the chapter, or the one file
here.PATIENCE, here.DOWNLOAD_MOST = 4, 30 << 20


def made(title):
    p = pipeline(title)
    @p.step
    def site(url: str = "", what: str = "", profile: str = "default"):
        return dict(url=url, what=what, profile=profile)
    return p


orders = made("Orders")

@orders.step
async def members(site, browser: Browser):
    page = await browser.open(site["url"] + "/members")
    if await page.title() != "Members":
        await page.fill("User name", "ada")
        await page.fill("Password", "lovelace")
        await page.click("Log in")
        await page.wait("Welcome, ada")
    return await page.text("main")

@orders.step
async def rows(site, browser: Browser):
    page = await browser.open(site["url"] + "/orders?page=1")
    found = (await page.tables())[0]
    for _ in range(2):
        await page.click("Next")
        found += (await page.tables())[0]
    return found


reads = made("Reads")

@reads.step
async def seen(site, browser: Browser):
    browser.profile = site["profile"]
    page = await browser.open(site["url"] + "/article")
    found = dict(markdown=await page.markdown(), links=await page.links())
    await page.open(site["url"] + "/js")
    await page.wait("Item 20")
    await page.click("Show more")
    await page.wait("Item 40")
    await page.open(site["url"] + "/download")
    found["report"] = await page.download("Report")
    await page.open(site["url"] + "/frame")
    await page.click("Press")
    await page.wait("Frame")
    await page.open(site["url"] + "/dialog")
    found["dialog"] = await page.text("main")
    await page.open(site["url"] + "/tables")
    found["tables"] = await page.tables()
    await page.open(site["url"] + "/form")
    found["state"] = await page.state()
    found["picture"], found["pdf"] = await page.screenshot(), await page.pdf()
    return found


goes = made("Goes")

@goes.step
async def there(site, browser: Browser):
    browser.profile = site["profile"]
    page = await browser.open(site["url"])
    if site["what"]: await page.click(site["what"])
    return await page.text()


loads = made("Loads")

@loads.step
async def big(site, browser: Browser):
    page = await browser.open(site["url"] + "/")
    return await page.download("a[href='/files/big']")


stays = made("Stays")

@stays.step
async def long(site, browser: Browser):
    browser.profile = site["profile"]
    await browser.open(site["url"] + "/article")
    for n in range(600):
        progress(n, 600)
        await asyncio.sleep(.1)


works = made("Works")

@works.step
async def busy(site, browser: Browser):
    browser.profile = "works"
    page = await browser.open(site["url"] + "/article")
    for n in range(int(site["what"] or 200)):
        await page.text("h1")
        await asyncio.sleep(.1)
    return n


attached = made("Attached")

@attached.step
async def beside(site, browser: Browser):
    browser.attach = site["what"]
    page = await browser.open(site["url"])
    return await page.title()


crashes = made("Crashes")

@crashes.step
async def fallen(site, browser: Browser):
    page = await browser.open(site["url"] + "/article")
    if not store.get("has crashed"):
        store["has crashed"] = True
        try: await page.page.goto("chrome://crash")
        except Exception: print("gone")
    return await page.text("h1")


asks = made("Asks")

@asks.step
async def solved(site, browser: Browser):
    page = await browser.open(site["url"] + "/article")
    await browser.ask("Please solve this, then press Continue.")
    return await page.title()
'''


@pytest.fixture(scope="module")
def site():
    with Site() as site: yield site


class Screen:
    "A screen that nobody sees, with a keyboard and a mouse: what a person at a window has."
    def __init__(self):
        read, write = os.pipe()
        self.process = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as told: self.env = {"DISPLAY": f":{told.readline().strip()}"}

    def do(self, *args: object) -> str:
        return subprocess.run(["xdotool", *map(str, args)], env={**os.environ, **self.env}, capture_output=True, text=True, timeout=20).stdout

    def windows(self) -> list[str]: return self.do("search", "--onlyvisible", "--class", "chromium").split()

    def window(self) -> None:
        "Wait for a browser's window, and turn to it."
        wait_for(self.windows, 30, "a window")
        time.sleep(.7 * patience())
        self.do("windowfocus", wait_for(self.windows, 30, "a window")[-1])

    def press(self, *keys: str) -> None: self.do("key", "--delay", 40, *keys)
    def type(self, text: str) -> None: self.do("type", "--delay", 15, text)

    def click(self, site: Site, what: str, *keys: str) -> None:
        "Click on the first cell, field or link of a page that says where it is."
        seen = len(site.asked)
        told = lambda: any(path.startswith("/mouse") for _, path, _ in site.asked[seen:])
        self.insist(lambda: self.do("mousemove", 300, 500, "mousemove", 301, 501), told, "the mouse")
        time.sleep(.2 * patience())
        at = json.loads(unquote([path for _, path, _ in site.asked if path.startswith("/mouse")][-1].partition("=")[2]))
        self.do("mousemove", round(301 + at[what][0] - at["mouse"][0]), round(501 + at[what][1] - at["mouse"][1]))
        self.do(*[part for key in keys for part in ("keydown", key)], "click", 1, *[part for key in keys for part in ("keyup", key)])

    def insist(self, act: Callable[[], object], condition: Callable[[], object], what: str) -> None:
        "Do it, once more where a key was lost, until it has happened."
        for _ in range(4):
            act()
            with contextlib.suppress(AssertionError): return wait_for(condition, 5 * patience())
        raise AssertionError(f"In vain: {what}.")

    def go(self, site: Site, path: str) -> None:
        before = site.count(path)
        self.insist(lambda: (self.press("Escape", "ctrl+l"), self.type(f"{site.url}{path}\n")), lambda: site.count(path) > before, path)
        time.sleep(.5)

    def shut(self, server: Server) -> None:
        "Close the window."
        self.insist(lambda: self.press("Escape", "ctrl+w"), lambda: not browsers(server), "the window's end")

    def log_in(self, site: Site) -> None:
        logged_in = site.count("/members")
        time.sleep(.5 * patience())
        self.click(site, "field")
        self.insist(lambda: (self.press("ctrl+a"), self.type("ada\tlovelace\n")), lambda: site.count("/members") > logged_in, "the log-in")


@pytest.fixture(scope="module")
def screen():
    screen = Screen()
    yield screen
    screen.process.kill()
    screen.process.wait(10)


@pytest.fixture(scope="module")
def W(tmp_path_factory, site, screen):
    workspace = tmp_path_factory.mktemp("browsing") / "workspace"
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "goes.py").write_text(PLUGIN)
    with Server(workspace).start(env=screen.env) as server:
        assert "goes.py has a problem" not in server.get("/plugins").text
        server.post("/browser", {"act": "allow", "name": site.host})
        yield server


@pytest.fixture
def bench(tmp_path):
    "A workspace in this process."
    with in_process(tmp_path): yield


def begun(server: Server, name: str, **given: object) -> str:
    answer = server.post(f"/{name}", given)
    assert "HX-Redirect" in answer.headers, answer
    return answer.headers["HX-Redirect"]


def ended(server: Server, path: str, limit: float = 40) -> dict:
    "A run once it does nothing any more; its last step that did something."
    wait_for(lambda: json.loads(server.get(f"{path}/export.json").body)["status"] not in ("running",), limit, "the end of the run")
    return server.get(f"{path}/export.json").json()


def run(server: Server, name: str, limit: float = 40, **given: object) -> dict:
    found = ended(server, begun(server, name, **given), limit)
    return found | {"last": found["steps"][-1]}


def browsers(server: Server) -> list[str]:
    "The processes of browsers on a workspace's profiles."
    told = subprocess.run(["ps", "-eo", "pid,args", "-ww"], capture_output=True, text=True).stdout
    return [line for line in told.splitlines() if f"{server.workspace}/browser/" in line]


# ─── what it does ───

def test_a_log_in_that_was_done_once_is_there_in_the_next_run_and_three_pages_are_read(W, site):
    done = run(W, "orders", url=site.url)
    assert done["status"] == "done", done["last"]
    assert [tuple(row.values()) for row in done["last"]["value"]] == [tuple(map(str, order)) for order in ORDERS]
    logs = done["steps"][1]["logs"]
    assert "fill Password: ••••" in logs and "lovelace" not in json.dumps(done), "a password is in no log"
    posts = site.count("/login")
    again = run(W, "orders", url=site.url)
    assert again["status"] == "done" and "Log in" not in again["steps"][1]["logs"] and site.count("/login") == posts
    page = W.get(f"/runs/{done['id']}").text
    pictures = re.findall(rf"/runs/{done['id']}/frames/\d+\.jpg", page)
    assert len(pictures) >= 8 and W.get(pictures[0]).body[:3] == b"\xff\xd8\xff"
    assert W.get(f"/runs/{done['id']}/frames/999999.jpg").status == 404
    assert not browsers(W)


def test_pages_are_read_as_a_person_would_and_files_are_kept(W, site):
    done = run(W, "reads", url=site.url, profile="reads")
    assert done["status"] == "done", done["last"]
    found = done["last"]["value"]
    missing, odd = [t for t in ARTICLE_MUST if t not in found["markdown"]], [t for t in ARTICLE_MUST_NOT if t in found["markdown"]]
    assert len(missing) <= 1 and not odd, (missing, odd)  # the text of the picture may be left out
    assert {"text", "url"} == set(found["links"][0]) and any(row["url"].startswith("https://example.org") for row in found["links"])
    assert (W.workspace / "files" / found["report"]).read_text().count("\n") >= 3
    assert "the page says: Hello" in done["last"]["logs"]
    assert len(found["tables"]) == 2 and all(isinstance(row, dict) for table in found["tables"] for row in table)
    assert "textbox" in found["state"] and (W.workspace / "files" / found["picture"]).read_bytes()[1:4] == b"PNG"
    assert (W.workspace / "files" / found["pdf"]).read_bytes()[:4] == b"%PDF"


def test_the_first_page_is_there_soon_with_a_warm_profile(W, site):
    run(W, "goes", url=site.url + "/article", profile="warm")
    done = run(W, "goes", url=site.url + "/article", profile="warm")
    assert done["last"]["seconds"] <= 1.5 * patience() + 1, done["last"]  # with its end, which takes half a second


def test_a_run_can_wait_for_the_person_and_goes_on_when_they_say_so(W, site, screen):
    path = begun(W, "asks", url=site.url)
    wait_for(lambda: "go-on" in W.get(f"{path}/live").text, 20)
    assert "Please solve this, then press Continue." in W.get(f"{path}/live").text and screen.windows(), "in a window"
    assert W.post(f"{path}/go-on").status == 204
    assert ended(W, path)["status"] == "done" and W.post(f"{path}/go-on").status == 409


# ─── trouble ───

@pytest.mark.parametrize(("path", "what", "said"), [("/hang", "", "nothing came within"), ("/slow", "", "nothing came within"), ("/loop", "", "too many redirects"), ("/500", "", "answers 500"),
    ("/404x", "", "answers 404"), ("/article", "No such button", "There is no “No such button”")])
def test_what_goes_wrong_is_said_in_a_sentence_and_leaves_no_browser_behind(W, site, path, what, said):
    done = run(W, "goes", url=site.url + path, what=what, profile="trouble")
    assert done["status"] == "failed" and said in done["last"]["error"], done["last"]
    assert not browsers(W)


@pytest.mark.parametrize(("url", "said"), [("ftp://example.org/x", "is no web address"), ("file:///etc/passwd", "is no web address"), ("javascript:alert(1)", "is no web address"), ("chrome://crash", "is no web address"),
    ("http://no-such-host.invalid/", "cannot be found"), ("http://127.0.0.1:1/", "on this machine"), ("", "is no web address")])
def test_only_addresses_of_the_web_are_opened(W, url, said):
    done = run(W, "goes", url=url or " ", profile="trouble")
    assert said in done["last"]["error"], done["last"]


def test_a_download_of_a_gigabyte_is_given_up(W, site):
    done = run(W, "loads", url=site.url)
    assert done["status"] == "failed" and "is larger than" in done["last"]["error"], done["last"]
    assert site.sent < 900 << 20
    wait_for(lambda: sum(f.stat().st_size for f in (W.workspace / "browser").rglob("*") if f.is_file() and "downloads" in str(f)) < 1 << 20, 5)


def test_a_cancelled_run_leaves_no_browser_and_its_profile_is_free(W, site):
    path = begun(W, "stays", url=site.url, profile="stays")
    wait_for(lambda: browsers(W), 15)
    time.sleep(.5)
    W.post(f"{path}/act", {"act": "cancel"})
    assert ended(W, path)["status"] == "cancelled"
    wait_for(lambda: not browsers(W), 10, "the browser's end")
    assert run(W, "goes", url=site.url + "/article", profile="stays")["status"] == "done"


def test_a_page_that_crashes_is_said_in_a_sentence_and_retry_works(W, site):
    done = run(W, "crashes", url=site.url)
    assert done["status"] == "failed" and "The page crashed" in done["last"]["error"], done["last"]
    W.post(f"/runs/{done['id']}/act", {"act": "retry"})
    assert ended(W, f"/runs/{done['id']}")["status"] == "done" and not browsers(W)


def test_a_click_that_opens_a_window_goes_on_there(W, site):
    done = run(W, "goes", url=f"{site.url}/popup", what="Open the window", profile="reads")
    assert done["status"] == "done" and "Press" in done["last"]["value"], done["last"]


def test_a_host_is_asked_so_often_a_second_by_all_that_is_automated(site, monkeypatch):
    monkeypatch.setattr(browsing, "hosts_allowed", lambda: [site.host])
    monkeypatch.setattr(browsing, "own_port", int)
    browsing.may_be_asked.clear()
    began = time.monotonic()
    for _ in range(4): browsing.fetch(f"{site.url}/inner", fresh=True)
    assert 3 / browsing.PER_SECOND <= time.monotonic() - began and browsing.pause(site.url) > 0 == browsing.pause("https://example.org/")


def test_a_name_that_turns_private_between_look_up_and_visit_is_not_read(site, monkeypatch):
    monkeypatch.setattr(browsing, "own_port", int)
    monkeypatch.setattr(browsing, "hosts_allowed", list)
    monkeypatch.setattr(browsing, "getaddrinfo", lambda host, port, **more: [(0, 0, 0, "", ("93.184.216.34", port))])
    with pytest.raises(Problem, match="on this machine or its network"): browsing.fetch(f"{site.url}/article", fresh=True)


def test_a_browser_that_dies_is_said_in_a_sentence_and_retry_works(W, site):
    path = begun(W, "works", url=site.url, what=30)
    wait_for(lambda: "read h1" in W.get(f"{path}/live").text, 30)
    for line in browsers(W):
        with contextlib.suppress(ProcessLookupError): os.kill(int(line.split()[0]), 9)
    done = ended(W, path)
    assert done["status"] == "failed" and re.search("The browser was closed|The page crashed", done["steps"][-1]["error"]), done
    W.post(f"{path}/act", {"act": "retry"})
    assert ended(W, path)["status"] == "done" and not browsers(W)


def test_a_server_that_ends_takes_its_browser_with_it(start, workspace, site):
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "goes.py").write_text(PLUGIN)
    server = start()
    server.post("/browser", {"act": "allow", "name": site.host})
    begun(server, "stays", url=site.url)
    wait_for(lambda: browsers(server), 15)
    time.sleep(.5)
    assert server.stop() == 0
    wait_for(lambda: not browsers(server), 10, "the browser's end")


def test_a_page_is_asked_for_once_in_ten_minutes_unless_it_is_to_be_fresh(site, monkeypatch):
    monkeypatch.setattr(browsing, "hosts_allowed", lambda: [site.host])
    monkeypatch.setattr(browsing, "own_port", int)
    before = site.count("/tables")
    texts = {browsing.fetch(f"{site.url}/tables") for _ in range(3)}
    assert len(texts) == 1 and site.count("/tables") == before + 1
    browsing.fetch(f"{site.url}/tables", fresh=True)
    assert site.count("/tables") == before + 2


def test_a_killed_server_leaves_no_browser(start, workspace, site):
    (workspace / "apps").mkdir(parents=True)
    (workspace / "apps" / "goes.py").write_text(PLUGIN)
    server = start()
    server.post("/browser", {"act": "allow", "name": site.host})
    begun(server, "stays", url=site.url)
    wait_for(lambda: browsers(server), 15)
    time.sleep(.5)
    server.process.kill()  # itself alone: what it began has to notice
    wait_for(lambda: not browsers(server), 10, "the browser's end")


# ─── what it may reach ───

def test_a22_b7_nothing_automated_reaches_sololith_itself(W, site):
    W.post("/browser", {"act": "allow", "name": "127.0.0.1"})
    try:
        for url in (W.url, f"http://127.0.0.1:{W.port}/tasks", f"{site.url}/away?to=http://127.0.0.1:{W.port}/tasks", f"http://localhost:{W.port}/", f"http://[::ffff:127.0.0.1]:{W.port}/", f"http://2130706433:{W.port}/"):
            done = run(W, "goes", url=url, profile="reaches")
            assert done["status"] == "failed" and re.search("does not reach Sololith|name not resolved|cannot be found|on this machine", done["last"]["error"]), (url, done["last"])
        done = run(W, "goes", url=f"{site.url}/ws?to=http://127.0.0.1:{W.port}/tasks", what="main", profile="reaches")
        wait_for(lambda: True, 1)
        assert "reached" not in str(done["last"]["value"]), done["last"]
    finally: W.post("/browser", {"act": "close", "name": "127.0.0.1"})


@pytest.mark.parametrize("url", ["http://localhost/", "http://127.0.0.1:1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "http://0/", "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.1.1/", "http://[::ffff:10.0.0.1]/",
    "http://[fe80::1]/", "http://100.64.0.1/"])
def test_a22_private_addresses_are_refused_however_they_are_written(monkeypatch, url):
    monkeypatch.setattr(browsing, "hosts_allowed", list)
    with pytest.raises(Problem, match="on this machine or its network|cannot be found"): browsing.addresses_of(url)


def test_a22_a_fetch_is_refused_at_each_redirect(W, site):
    def browse(url: str) -> subprocess.CompletedProcess:
        return subprocess.run([*SOLOLITH, "call", "browse", f"url={url}"], capture_output=True, text=True, timeout=60, env=environment(SOLOLITH_HOME=str(W.workspace)))
    good = browse(f"{site.url}/article")
    assert good.returncode == 0 and ARTICLE_MUST[0] in good.stdout, good
    for to in ("http://169.254.169.254/", f"http://127.0.0.1:{W.port}/tasks", "http://10.0.0.1/", "file:///etc/passwd"):
        bad = browse(f"{site.url}/away?to={to}")
        assert bad.returncode and re.search("on this machine or its network|does not reach|is no web address", bad.stderr + bad.stdout), (to, bad)
    assert "circles" in (browse(f"{site.url}/loop").stderr + browse(f"{site.url}/loop").stdout)
    big = browse(f"{site.url}/files/big")
    assert re.search("larger than|is application/", big.stderr + big.stdout), big


def test_a22_a_link_check_reaches_no_further_and_finds_what_is_broken_or_moved(W, site):
    private = f"{site.url}/away?to=http://169.254.169.254/"
    urls = [f"{site.url}/article", f"{site.url}/404x", f"{site.url}/away?to=/inner", private, f"{W.url}/tasks", "http://10.0.0.1/"]
    rows = {row["url"]: row for row in map(json.loads, W.cli("run", "link_check", stdin="\n".join(urls)).stdout.splitlines())}
    assert [rows[f"{site.url}{path}"]["status"] for path in ("/article", "/404x", "/away?to=/inner")] == [200, 404, 200]
    assert rows[f"{site.url}/away?to=/inner"] | {"redirects": 1, "ends_at": f"{site.url}/inner"} == rows[f"{site.url}/away?to=/inner"]
    for url in (private, f"{W.url}/tasks", "http://10.0.0.1/"): assert re.search("on this machine|does not reach|cannot be found", rows[url]["problem"]) and not rows[url]["status"], rows[url]
    assert json.loads(W.cli("run", "link_check", "--page", f"{site.url}/tables").stdout)["url"] == f"{site.url}/"


def test_b11_there_is_no_debugging_port(W, site):
    path = begun(W, "stays", url=site.url, profile="b11")
    wait_for(lambda: browsers(W), 15)
    told = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True).stdout
    assert not [line for line in told.splitlines() if "chrom" in line], told
    assert "--remote-debugging-pipe" in browsers(W)[0] and "remote-debugging-port=" not in "".join(browsers(W))
    W.post(f"{path}/act", {"act": "cancel"})
    ended(W, path)


def test_the_page_names_profiles_and_hosts_and_refuses_what_is_none(W):
    for name in ("../x", "a b", "", "x" * 99): assert W.post("/browser", {"act": "forget", "name": name}).status == 422, name
    assert W.post("/browser", {"act": "allow", "name": "a b"}).status == 422 and W.post("/browser", {"act": "eat"}).status == 404
    W.post("/browser", {"act": "allow", "name": "192.168.7.7:80"})
    assert "192.168.7.7:80" in W.get("/browser").text
    W.post("/browser", {"act": "close", "name": "192.168.7.7:80"})
    assert "192.168.7.7:80" not in W.get("/browser").text


def test_without_playwright_it_is_said_what_to_install(monkeypatch):
    import asyncio
    monkeypatch.setitem(sys.modules, "playwright.async_api", None)
    with pytest.raises(Problem, match="Playwright is not installed.*sololith.browser"): asyncio.run(browsing.Browser().started())


# ─── the pipelines ───

def test_a_site_map_has_every_page_the_broken_ones_and_those_that_nothing_leads_to(W, site):
    before = len(site.asked)
    done = run(W, "site_map", 120, url=f"{site.url}/site/0", depth=20, most=300, per_second=0)
    assert done["status"] == "done", done["last"]
    pages = {row["url"].removeprefix(site.url): row for row in done["steps"][1]["value"]}
    assert len([p for p in pages if re.fullmatch(r"/site/\d+", p)]) == 200 and pages["/site/orphan"]["problem"].startswith("in the site map")
    assert "robots.txt" in pages["/private/1"]["problem"] and site.count("/private/1") == 0
    assert {f"/site/missing-{n}" for n in SITE_BROKEN} == {p for p, row in pages.items() if row["status"] == "404"}
    assert int(pages["/site/1"]["links_in"]) >= 1 and pages["/site/7"]["title"]
    assert (len(site.asked) - before) / done["steps"][1]["seconds"] >= 20 / patience() / 2, done["steps"][1]["seconds"]
    assert "svg" in W.get(f"/runs/{done['id']}").text


def test_a_digest_without_a_model_has_the_first_sentences_and_the_sources(W, site):
    done = run(W, "page_digest", urls=f"{site.url}/article\n{site.url}/tables\n{site.url}/404x")
    text = done["last"]["value"]
    assert done["status"] == "done" and f"]({site.url}/article)" in text and "green tea" in text, done["last"]


def test_a_watch_tells_what_has_changed_and_nothing_else(W, site):
    looks = []
    for price in ("10", "10", "12"):
        site.mood["price"] = price
        looks.append(run(W, "watch", url=f"{site.url}/changing", part="#price")["last"]["value"])
    assert "first look" in looks[0] and looks[1] == "Nothing has changed." and "-10\n+12" in looks[2], looks


# ─── record → replay ───

def test_what_is_done_in_a_window_becomes_a_pipeline_that_does_it_again_without_one(W, site, screen):
    W.post("/browser", {"act": "forget", "name": "default"})
    assert W.post("/browser", {"act": "record", "name": "taken", "url": f"{site.url}/members"}).status == 200
    screen.window()
    assert "Recording" in W.get("/browser").text
    screen.log_in(site)
    done = lambda: int(re.findall(r"(\d+) done", W.get("/browser").text)[0])
    for what in ("link", "cell", "link", "cell", "link", "cell"):  # Orders, its table, Next …
        time.sleep(.5 * patience())
        before = done()
        screen.click(site, what, *["alt"] * (what == "cell"))
        wait_for(lambda before=before: done() == before + 1, 10 * patience(), "what was done")
    time.sleep(2)
    screen.go(site, "/article")
    screen.shut(W)
    wait_for(lambda: "Recording" not in W.get("/browser").text, 15)
    made = read(W.workspace / "data.db", "SELECT * FROM proposals ORDER BY id")[-1]
    key, source = made["id"], made["source"]
    assert "lovelace" not in source and '"ada"' not in source, source
    assert 'if await page.has("Password"):' in source and source.count("found += (await page.tables())[0]") == 3 and source.count('page.click("Next")') == 2, source
    assert f'await page.open("{site.url}/article")' in source and "found.append" not in source, source
    given = re.search(r'"hash": "(\w+)"', unescape(W.get(f"/build/{key}/part").text))
    assert given and W.post(f"/build/{key}", {"act": "install", "hash": given[1]}).status == 200
    wait_for(lambda: W.get("/taken").status == 200, 10)
    done = run(W, "taken")
    assert done["status"] == "done" and [tuple(row.values()) for row in done["last"]["value"]] == [tuple(map(str, order)) for order in ORDERS], (done["last"]["error"], done["last"]["logs"], source)
    assert "waits for you" not in done["last"]["logs"], "the log-in of the recording is there"
    piped = subprocess.run([*SOLOLITH, "run", "taken"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment(SOLOLITH_HOME=str(W.workspace)))
    assert piped.returncode == 0 and ORDERS[-1][1] in piped.stdout, piped  # as a filter in the shell


def test_who_is_logged_out_logs_in_in_the_window_that_opens_and_the_recording_goes_on(W, site, screen):
    assert W.get("/taken").status == 200, "recorded above"
    W.post("/browser", {"act": "forget", "name": "default"})
    path = begun(W, "taken")
    wait_for(lambda: "go-on" in W.get(f"{path}/live").text, 30)
    screen.window()
    screen.log_in(site)
    assert W.post(f"{path}/go-on").status == 204
    done = ended(W, path)
    assert done["status"] == "done" and len(done["steps"][-1]["value"]) == len(ORDERS), done["steps"][-1]


def test_a_log_in_by_hand_in_an_opened_profile_is_there_for_the_run(W, site, screen):
    assert W.post("/browser", {"act": "open", "name": "shop"}).status == 200
    screen.window()
    screen.go(site, "/login")
    screen.log_in(site)
    busy = run(W, "goes", url=f"{site.url}/members", profile="shop")
    assert "is open in a window" in busy["last"]["error"], busy["last"]
    screen.shut(W)
    done = run(W, "goes", url=f"{site.url}/members", profile="shop")
    assert "Welcome, ada" in done["last"]["value"], done["last"]


def test_a_recording_that_cannot_begin_or_has_nothing_in_it_is_told_of(W, site, screen):
    for name, url in (("a b", site.url), ("fine", "file:///etc/passwd"), ("fine", "http://127.0.0.1:1/")):
        assert W.post("/browser", {"act": "record", "name": name, "url": url}).status in (422, 403), (name, url)
    assert W.post("/browser", {"act": "record", "name": "fine", "url": site.url, "profile": "../x"}).status == 422
    told = W.sse(limit=40)
    notice = lambda: next(str(event) for event in told if "notice" in str(event))
    with contextlib.closing(told):
        W.post("/browser", {"act": "record", "name": "fine", "url": f"{site.url}/500"})
        assert "answers 500" in notice()
        before = site.count("/article")
        W.post("/browser", {"act": "record", "name": "fine", "url": f"{site.url}/article"})
        screen.window()
        wait_for(lambda: site.count("/article") > before)
        time.sleep(1)
        screen.shut(W)
        assert "Nothing was done" in notice()
    wait_for(lambda: not browsers(W), 10, "the window's end")


def test_without_a_screen_no_window_is_promised(start, workspace, site):
    server = start(env={"DISPLAY": ""})
    for act in ({"act": "open", "name": "shop"}, {"act": "record", "name": "fine", "url": "https://1.1.1.1"}):
        assert "There is no screen here" in server.post("/browser", act).text


def test_what_was_typed_is_asked_for_the_next_time(site):
    recorder = browsing.Recorder("searches", "https://example.org/")
    recorder.deeds = [dict(do="fill", what="Search for", value='green "tea"', isSecret=False), dict(do="fill", what="Only new", value=True, isSecret=False), dict(do="click", what="Find"), dict(do="take", table=-1, what="#hits > p:nth-of-type(1)")]
    source = recorder.source()
    assert 'search_for: str = "green \\"tea\\""' in source and 'page.fill("Search for", answers["search_for"])' in source and 'page.fill("Only new", True)' in source
    assert not chapter("check").examine("searches", source).problems, source


# ─── the person's own window, and the model ───

def test_a_running_browser_of_the_persons_own_is_used_and_left_open(W, site, tmp_path):
    own = subprocess.Popen([next(filter(None, map(shutil.which, browsing.BROWSERS))), "--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={tmp_path}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "DevToolsActivePort").exists(), 15)
        port = (tmp_path / "DevToolsActivePort").read_text().split()[0]
        done = run(W, "attached", url=f"{site.url}/article", what=f"http://127.0.0.1:{port}")
        assert done["status"] == "done" and done["last"]["value"], done["last"]
        assert own.poll() is None and "article" not in urlopen(f"http://127.0.0.1:{port}/json", timeout=5).read().decode(), "its page is closed"
    finally:
        own.kill()
        own.wait(10)
    nobody = run(W, "attached", url=f"{site.url}/article", what=f"http://127.0.0.1:{port}")
    assert "No browser answers" in nobody["last"]["error"] and "Chrome 136" in nobody["last"]["error"]


def test_b7_the_models_hand_on_the_browser_asks_and_does_what_the_lines_say(W, site):
    def call(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run([*SOLOLITH, "call", "browser_act", f"url={site.url}/js", *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment(SOLOLITH_HOME=str(W.workspace)))
    before = len(site.asked)
    refused = call("deeds=click Show more")
    assert refused.returncode and len(site.asked) == before, refused
    done = call("deeds=wait Item 20\nclick Show more\nwait Item 40", "--yes")
    assert done.returncode == 0 and "Item 40" in done.stdout, done
    assert "is nothing to do" in call("deeds=eat it", "--yes").stderr


def test_b6_once_a_page_was_read_whatever_could_send_something_on_asks(bench):
    acting, made = chapter("acting"), chapter("tools").all_tools()["browse"]
    wish = acting.Wish("Read https://example.org and tell me what it says")
    assert not acting.why_ask(made, {"url": "https://example.org"}, wish, "auto", False)
    assert "came from outside" in acting.why_ask(made, {"url": "https://example.org/?secret"}, wish, "auto", True)


def test_of_the_pictures_of_all_runs_the_newest_are_kept(bench, monkeypatch):
    monkeypatch.setattr(browsing, "FRAMES_ALL", 5)
    monkeypatch.setattr(browsing, "FRAMES_MOST", 3)
    db, browser = chapter("store").db, browsing.Browser()
    for run_id in (1, 2, 3):
        browser.job = types.SimpleNamespace(run_id=run_id, step="s", log=lambda text: None)
        for n in range(4): browser.say(f"look {n}", b"x")
    assert [(r["run"], r["text"]) for r in db.query("SELECT * FROM frames ORDER BY id")] == [(2, "look 3"), (3, "look 1"), (3, "look 2"), (3, "look 3")]
