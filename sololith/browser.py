"""Your own browser at work: pages opened, read, filled in and clicked in steps, with your log-ins, from your address.

    @orders.step
    async def rows(browser: Browser):
        page = await browser.open("https://shop.example/orders")     # in the profile “default”, without a window
        await page.fill("User name", "ada")                          # by label, role or text, before CSS
        await page.click("Log in")
        return (await page.tables())[0]                              # records; also text, markdown, links, state …

    browser.profile, browser.is_visible = "shop", True               # before the first page

It is the system's Chrome, Chromium or Edge, driven by Playwright through a pipe (no debugging port), with profiles of our
own under browser/: you log in once (“Open this profile”), and every later run is logged in. Each action is a line of the
step's log with a small picture. What is automated never reaches Sololith itself; loopback and private addresses only where
you allow the host. `fetch` is a plain request under the same rule, at each redirect.
Sources: https://playwright.dev/python/docs/api/class-page, https://www.rfc-editor.org/rfc/rfc9309 (robots.txt)
"""
import asyncio, contextlib, functools, ipaddress, re, shutil, subprocess, sys, threading, time as clock
import urllib.robotparser
from html import unescape
from pathlib import Path
from typing import Any
from collections.abc import Coroutine, Generator
from socket import SOCK_STREAM, getaddrinfo
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies
from starlette.responses import Response
from starlette.concurrency import run_in_threadpool
from .base import *
from .builder import doc, identifier, new_proposal, proposed
from .cli import checks
from .events import broadcaster, changed
from .fields import Text, clip
from .forms import Sent
from .pipeline import RESOURCES, Job, tell
from .plugins import sending_button, text_of_plugin
from .runs import on_run, on_step_card
from .store import db, store
from .tools import tool
from .ui import head, styles, toast
from .values import artifact

PER_SECOND = 5.0         # requests to one host, of all that is automated
PATIENCE = 15            # seconds for a page to load, or a thing to appear
FETCH_MOST, DOWNLOAD_MOST = 5 << 20, 200 << 20  # bytes
CACHED = 600             # seconds
FRAMES_MOST, FRAMES_ALL = 60, 3000  # pictures that are kept of a step, and of all runs: some 100 MB
BROWSER_AGENT = "Sololith (a person's own browser; one machine)"
BROWSERS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge", "chrome", "msedge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe")
AS_ROOT = ["--no-sandbox"] * (getattr(os, "getuid", os.getpid)() == 0)  # Chromium refuses to start otherwise
db.openers.append(lambda: db.execute("""CREATE TABLE IF NOT EXISTS frames (id INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL, step TEXT NOT NULL, text TEXT NOT NULL, picture BLOB)"""))


# ─── what may be reached ───

def own_port() -> int:
    "The port of the running server; 0 where there is none."
    with contextlib.suppress(OSError, ValueError): return urlsplit((home.run / "url").read_text().strip()).port or 0
    return 0


def hosts_allowed() -> list[str]:
    "Hosts of this machine and its network that the person lets automation reach."
    return store.get("browser.hosts", [])


def addresses_of(url: str, answered: str = "") -> list[str]:
    """What a web address stands for, as IP addresses; or the one that has answered, for a name may change in between. Raises
    Problem (403) for Sololith itself, and for what is not public unless its host was allowed."""
    parts = urlsplit(str(url))
    try: port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError: port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise Problem(f"{clip(url)} is no web address.", fix="Give one that begins with https://.", status=422)
    try: found = [answered] if answered and not getproxies() else sorted({str(i[4][0]) for i in getaddrinfo(parts.hostname,
        port, type=SOCK_STREAM)})
    except (OSError, UnicodeError): raise Problem(f"{clip(parts.hostname)} cannot be found.",
        fix="Is it spelt right, and is there a network?", status=502) from None
    public = [ip.is_global for a in found for ip in [ipaddress.ip_address(a.partition("%")[0])]
        for ip in [getattr(ip, "ipv4_mapped", None) or ip]]
    if port == own_port() and not all(public): raise Problem("What is automated does not reach Sololith itself.", status=403)
    if not all(public) and not {parts.hostname, f"{parts.hostname}:{port}"} & {*hosts_allowed()}:
        raise Problem(f"{clip(parts.hostname)} is on this machine or its network.",
            fix="If you mean it, allow that host on the page Browser.", status=403)
    return found


def resolver_rules() -> str:
    "The same for Chromium's resolver, which sees every redirect, frame and WebSocket, too."
    closed = ["localhost", "*.localhost", "*:*:*", "0.*", "127.*", "10.*", "192.168.*", "169.254.*", "100.64.*",
        *(f"172.{n}.*" for n in range(16, 32))]
    is_open = lambda rule: any(re.fullmatch(re.escape(rule).replace(r"\*", ".*"), h.rpartition(":")[0] or h)
        for h in hosts_allowed())
    return ", ".join(f"MAP {rule} ~NOTFOUND" for rule in [f"*:{own_port()}", *(r for r in closed if not is_open(r))])


may_be_asked: dict[str, float] = {}  # hosts, and when each may be asked again


def pause(url: str, per_second: float = PER_SECOND) -> float:
    "Take the next turn with a host: the seconds until then."
    host, now = urlsplit(url).netloc, clock.monotonic()
    at = max(now, may_be_asked.get(host, 0))
    if per_second: may_be_asked[host] = at + 1 / per_second
    return at - now


@contextlib.contextmanager
def answer_of(url: str, seconds: float = 20) -> Generator[tuple[Any, int]]:
    """What a web address answers where its redirects end, the body unread, and how many there were: httpx's Response. Raises
    Problem for what may not be reached, at each of them, and for what does not come."""
    import httpx2  # 60 ms
    for moved in range(10):
        addresses_of(url)
        clock.sleep(pause(url))
        try:
            with httpx2.stream("GET", url, timeout=seconds, headers={"User-Agent": BROWSER_AGENT}) as answer:
                addresses_of(url, answer.extensions["network_stream"].get_extra_info("server_addr")[0])
                if not answer.is_redirect:
                    yield answer, moved
                    return
                url = urljoin(url, answer.headers.get("location", ""))
        except (httpx2.HTTPError, httpx2.InvalidURL) as e:
            raise Problem(f"{clip(url)} could not be read: {clip(e, 120) or type(e).__name__}.", fix="Try again.") from e
    raise Problem(f"{clip(url)} leads round in circles.", fix="Give the address where it ends.")


pages_read: dict[str, tuple[float, str]] = {}  # what pages said, and when


def fetch(url: str, fresh: bool = False) -> str:
    """The readable text of a web page, as Markdown; for ten minutes as it was, unless it is to be fresh. Raises Problem for
    what may not be reached, is no text, or too large."""
    now = clock.monotonic()
    for old in [u for u, (at, _) in pages_read.items() if now - at > CACHED]: pages_read.pop(old, None)
    if not fresh and url in pages_read: return pages_read[url][1]
    with answer_of(url) as (answer, _):
        if answer.status_code >= 400: raise Problem(f"{clip(url)} answers {answer.status_code}.", fix="Look at the address.")
        kind, data = answer.headers.get("content-type", "text/html"), b""
        if not re.match(r"text/|application/(json|xhtml|xml)", kind): raise Problem(f"{clip(url)} is {clip(kind)}.",
            fix="Give the address of a page.")
        for chunk in answer.iter_bytes():
            data += chunk
            if len(data) > FETCH_MOST: raise Problem(f"{clip(url)} is larger than {FETCH_MOST >> 20} MB.")
    text = data.decode(answer.encoding or "utf-8", "replace")
    text = reading_of(text, str(answer.url)) if "html" in kind else text
    pages_read[url] = now, text
    return text


def reading_of(html_text: str, url: str = "") -> str:
    "What there is to read on a page, as Markdown, without what stands around it; its title first."
    title = (re.findall(r"<title[^>]*>\s*([^<]+)", html_text) or [""])[0].strip()
    with contextlib.suppress(ImportError):
        import trafilatura  # made for this; 0.4 s
        found = trafilatura.extract(html_text, url=url or None, output_format="markdown", include_links=True,
            include_tables=True, favor_recall=True)
        if found: return found if found.startswith("# ") or not title else f"# {unescape(title)}\n\n{found}"
    from bs4 import BeautifulSoup
    soup = BeautifulSoup(html_text, "html.parser")
    for tag in soup(["script", "style", "nav", "header", "footer", "aside", "noscript"]): tag.decompose()
    part = soup.find("article") or soup.find("main") or soup
    return re.sub(r"\n\s*\n+", "\n\n", part.get_text("\n")).strip()


@functools.lru_cache(500)
def robots_of(origin: str, hour: int) -> urllib.robotparser.RobotFileParser:
    rules, text = urllib.robotparser.RobotFileParser(), ""
    with contextlib.suppress(Problem): text = fetch(f"{origin}/robots.txt", fresh=True)
    rules.parse(text.splitlines())
    return rules


def may_crawl(url: str) -> bool:
    "Whether a site's robots.txt lets a crawl have this page."
    parts = urlsplit(url)
    return robots_of(f"{parts.scheme}://{parts.netloc}", int(clock.time() // 3600)).can_fetch("Sololith", url)


# ─── the browser ───

def browser_path(is_visible: bool = False) -> str:
    "The system's browser; none is ever downloaded unasked. Raises Problem where there is none, or no screen for its window."
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise Problem("There is no Chrome, Chromium or Edge here.", fix="Install one, such as: apt install chromium")
    if is_visible and sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise Problem("There is no screen here for a window.", fix="Start Sololith in a desktop session.")
    return found


def browser_check() -> dict:
    "A line of `sololith doctor`."
    try: return dict(what="browser for steps", found=browser_path(), fix="")
    except Problem as e: return dict(what="browser for steps", found="none", fix=e.fix)


checks.append(browser_check)


def profile_folder(name: str) -> Path:
    "Where a profile is kept. Raises Problem for what is no name."
    if not re.fullmatch(r"[\w-]{1,40}", name):
        raise Problem(f"{clip(name)} is no name for a profile.", fix="Use letters, digits, - and _.", status=422)
    return home.path / "browser" / name


in_use: dict[str, threading.Lock] = {}  # profiles; a browser process has one for itself


class Browser:
    "The browser as a resource of a step: it begins with the first page, and ends with the step."
    def __init__(self, job: Job | None = None):
        self.job, self.profile, self.is_visible, self.per_second, self.attach = job, "default", False, PER_SECOND, ""
        self.context: Any = None
        self.lock: threading.Lock | None = None
        self.pages, self.blanks = list[Page](), list[Any]()

    async def open(self, url: str) -> "Page":
        "A new page at an address. Raises Problem where it may not be reached, or does not come."
        await asyncio.to_thread(addresses_of, url)  # before there is a browser
        page = await self.tab()
        await page.open(url)
        return page

    async def tab(self) -> "Page":
        await self.started()
        try: self.pages.append(page := Page(self, await asyncio.wait_for(self.blank(), PATIENCE)))
        except Exception as e: raise Problem("The browser was closed.", fix="Retry.") from e  # whatever Playwright raises
        return page

    async def blank(self) -> Any:
        "A page of Playwright's with nothing in it: the one that each browser begins with, then new ones."
        return self.blanks.pop() if self.blanks else await self.context.new_page()

    async def started(self) -> Any:
        "Playwright's context, begun if it has not."
        if self.context: return self.context
        try: from playwright.async_api import async_playwright
        except ImportError as e: raise Problem("Playwright is not installed.",
            fix="Run: pip install 'sololith[browser]'") from e
        self.folder = folder = profile_folder(self.profile)
        if self.attach: return await self.attached(async_playwright)
        path, lock = browser_path(self.is_visible), in_use.setdefault(self.profile, threading.Lock())
        if not await asyncio.to_thread(lock.acquire, timeout=PATIENCE):
            raise Problem(f"The profile {self.profile} is in use.", fix="Wait for that run, or use another.", status=409)
        self.lock = lock
        if self.job: self.job.closing.append(self.close)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.playwright = await async_playwright().start()
        try:
            self.context = await self.playwright.chromium.launch_persistent_context(folder, executable_path=path,
                timeout=PATIENCE * 1000, headless=not self.is_visible, downloads_path=folder / "downloads",
                no_viewport=self.is_visible, viewport=None if self.is_visible else {"width": 1280, "height": 800},
                args=[f"--host-resolver-rules={resolver_rules()}", "--test-type", *AS_ROOT])
        except Exception as e:
            await self.close()
            said = str(e)
            is_open = re.search("SingletonLock|already in use|existing browser session", said)
            raise Problem(f"The profile {self.profile} is open in a window." if is_open else "The browser did not start.",
                fix="Close its windows, or see sololith doctor.", details=said[:4000]) from e
        self.blanks = [*self.context.pages]
        self.context.set_default_timeout(PATIENCE * 1000)
        is_theirs = self.is_visible and not self.job  # a recording: the person answers
        self.context.on("dialog", lambda d: None if is_theirs else asyncio.ensure_future(self.dismiss(d)))
        return self.context

    async def attached(self, async_playwright: Any) -> Any:
        "The person's own running Chrome, whose remote debugging they have switched on, at such as http://127.0.0.1:9222."
        if self.job: self.job.closing.append(self.close)
        self.playwright = await async_playwright().start()
        try: browser = await self.playwright.chromium.connect_over_cdp(self.attach, timeout=PATIENCE * 1000)
        except Exception as e:
            await self.close()
            raise Problem(f"No browser answers at {clip(self.attach)}.", fix="Start it with --remote-debugging-port=9222 "
                "and a --user-data-dir of its own: from Chrome 136 on the usual profile refuses it.") from e
        self.context = browser.contexts[0]
        return self.context

    async def dismiss(self, dialog: Any) -> None:
        self.say(f"the page says: {clip(dialog.message, 200)}")
        with contextlib.suppress(Exception): await dialog.dismiss()

    async def close(self) -> None:
        "End the browser; what it knows stays in the profile. Of the person's own, only our pages."
        try:
            for one in [page.page for page in self.pages] if self.attach else [self.context]:
                with contextlib.suppress(Exception): await asyncio.wait_for(one.close(), 5)
            with contextlib.suppress(Exception): await asyncio.wait_for(self.playwright.stop(), 5)
        finally:
            self.context = None
            if lock := self.lock: lock.release()
            self.lock = None

    def say(self, text: str, picture: bytes | None = None) -> None:
        "A line of the step's log, and a picture beside it."
        if not self.job: return
        self.job.log(text + "\n")
        if picture is None: return
        place = [self.job.run_id, self.job.step]
        with db.transaction():
            db.execute("INSERT INTO frames (run, step, text, picture) VALUES (?,?,?,?)", [*place, clip(text, 200), picture])
            newest = db.one("SELECT max(id) FROM frames")
            db.execute("DELETE FROM frames WHERE id <= ? OR run=? AND step=? AND id <= ?", [newest - FRAMES_ALL, *place,
                newest - FRAMES_MOST])
        tell(self.job.run_id)

    async def ask(self, what: str, seconds: float = 3600) -> None:
        "Open the window where it is hidden, and wait until the person has done something there, and presses Continue."
        if not self.job: raise Problem("Nobody can be asked here.", fix="Do it in a run.")
        await self.show()
        waits[self.job.run_id] = (what, answered := threading.Event())
        self.say(f"waits for you: {what}")
        tell(self.job.run_id, notice=f"“{self.job.row['title']}” needs you: {what}", href=f"/runs/{self.job.run_id}")
        try:
            ends = clock.monotonic() + seconds
            while not answered.is_set():
                if clock.monotonic() > ends: raise Problem("Nobody came.", fix="Retry when you are here.")
                await asyncio.sleep(.2)
        finally: waits.pop(self.job.run_id, None)

    async def show(self) -> None:
        "Go on in a window, with the pages that are open and whoever is logged in."
        if self.is_visible or self.attach: return
        browser_path(True)
        places, cookies = [(page, page.url) for page in self.pages], await self.context.cookies() if self.context else []
        await self.close()
        self.is_visible = True
        await (await self.started()).add_cookies(cookies)
        for page, url in places:
            page.use(await self.blank())
            await page.open(url)


waits: dict[int, tuple[str, threading.Event]] = {}  # what runs wait for a person to do in a window
RESOURCES[Browser] = Browser
ROLES = ("button", "link", "textbox", "checkbox", "radio", "combobox", "menuitem", "tab")


class Page:
    """One page of the browser. What is to be clicked or filled in is said as a person sees it: the text of a button or link,
    the label of a field; else as CSS."""
    def __init__(self, browser: Browser, page: Any):
        self.browser, self.clicked_at = browser, 0.0
        self.use(page)

    def use(self, page: Any, before: Any = None) -> None:
        "Go on with another of Playwright's pages: the same, visible; a window that a click opened, until it closes."
        self.page, self.is_dead = page, False
        page.on("crash", lambda _: setattr(self, "is_dead", self.is_dead or self.page is page))
        page.on("popup", lambda new: self.use(new, page) if clock.monotonic() < self.clicked_at + 3 else None)
        if before: page.on("close", lambda _: setattr(self, "page", before if self.page is page else self.page))

    @property
    def url(self) -> str: return self.page.url

    async def did(self, what: str, work: Coroutine, seconds: float | None = PATIENCE) -> Any:
        "Await an action, say it in the log with a picture, and say what went wrong as a person would."
        try: found = await asyncio.wait_for(work, seconds and seconds + 5)  # Playwright's own timeouts come first
        except Problem: raise
        except Exception as e:  # whatever Playwright raises
            said = str(e).split("\n")[0]
            if self.is_dead or "crash" in said: raise Problem("The page crashed.", fix="Retry.") from e
            if "has been closed" in said: raise Problem("The browser was closed.", fix="Retry.") from e
            if "Timeout" in said or isinstance(e, TimeoutError):
                raise Problem(f"{what}: nothing came within {PATIENCE} seconds.", fix="Retry.") from e
            if found := re.search(r"net::ERR_(\w+)", said):
                raise Problem(f"{what}: {found[1].replace('_', ' ').lower()}.", fix="Look at the address.") from e
            raise Problem(f"{what}: {clip(said, 200)}", fix="Look at the picture in the log.") from e
        picture = None
        with contextlib.suppress(Exception):
            picture = await self.page.screenshot(type="jpeg", quality=35, scale="css", timeout=3000)
        self.browser.say(what, picture)
        return found

    async def open(self, url: str) -> None:
        "Go to an address."
        answer = await self.did(f"open {clip(url, 120)}", self.gone(url))
        if answer and answer.status >= 400:
            raise Problem(f"{clip(url)} answers {answer.status}.", fix="Look at the address.")

    async def gone(self, url: str) -> Any:
        "Playwright's answer, once it is the host's turn; from nowhere but where it may come from."
        await asyncio.to_thread(addresses_of, url)
        await asyncio.sleep(pause(url, self.browser.per_second))
        answer = await self.page.goto(url, wait_until="domcontentloaded")
        if by := answer and await answer.server_addr():
            try: addresses_of(answer.url, by["ipAddress"])
            except Problem:
                await self.page.goto("about:blank")
                raise
        return answer

    async def visit(self, url: str) -> dict[str, Any]:
        "What a page is: status, title, size in characters, links, or what is wrong with it. For many: without a picture."
        try:
            answer = await self.gone(url)
            found = await self.page.evaluate("""() => ({title: document.title,
              size: document.documentElement.outerHTML.length,
              links: [...new Set([...document.querySelectorAll("a[href]")].map(a => a.href.split("#")[0]))]})""")
        except Problem as e: return {"problem": str(e)}
        except Exception as e:  # whatever Playwright raises
            if "closed" in str(e): raise Problem("The browser was closed.", fix="Retry.") from e
            return {"problem": clip(str(e).split("\n")[0].partition(" at http")[0], 120)}
        found |= {"status": answer.status if answer else None}
        return found | ({"problem": f"answers {answer.status}"} if answer and answer.status >= 400 else {})

    async def find(self, what: str, roles: tuple[str, ...] = ROLES, seconds: float | None = None) -> Any:
        "The first visible thing that a person would call so. Raises Problem where there is none."
        ends = clock.monotonic() + (PATIENCE if seconds is None else seconds)
        ways: list[Any] = [lambda p, r=r: p.get_by_role(r, name=what, exact=True) for r in roles]
        ways += [lambda p: p.get_by_label(what, exact=True), lambda p: p.get_by_placeholder(what, exact=True),
            lambda p: p.get_by_label(what), lambda p: p.get_by_text(what, exact=True), lambda p: p.get_by_text(what)]
        if re.match(r"[.#\[]|[a-z]+[.#\[: >]|css=|[a-z]+$", what): ways.append(lambda p: p.locator(what))
        while True:
            for way in ways:
                for part in [self.page, *self.page.frames[1:]]:
                    with contextlib.suppress(Exception):
                        for one in await way(part).all():
                            if await one.is_visible(): return one
            if self.is_dead or self.page.is_closed(): raise Problem("The page crashed." if self.is_dead else
                "The browser was closed.", fix="Retry.")
            if clock.monotonic() > ends: raise Problem(f"There is no “{clip(what)}” on {clip(self.url)}.",
                fix="Say it as it stands on the page, or give CSS.")
            await asyncio.sleep(.15)

    async def fill(self, field: str, value: Any) -> None:
        "Fill in a field: a text, a choice, True or False for a box, a file's name for a file."
        one = await self.find(field, ("textbox", "combobox", "searchbox", "spinbutton", "checkbox", "radio"))
        kind = await one.evaluate("e => e.type || e.tagName.toLowerCase()")
        is_secret = kind == "password"
        work = one.set_checked(bool(value)) if kind in ("checkbox", "radio") else one.select_option(label=str(value)) \
            if kind.startswith("select") else one.set_input_files(home.files / str(value)) if kind == "file" \
            else one.fill(str(value))
        await self.did(f"fill {field}: {'••••' if is_secret else clip(value)}", work)

    async def click(self, what: str) -> None:
        "Click, and wait until the page has settled. Goes on in the window that it opens, if it does."
        async def work() -> None:
            one, self.clicked_at = await self.find(what), clock.monotonic()
            await one.click()
            await asyncio.sleep(.1)  # a new window, or a new address, is told of a little later
            with contextlib.suppress(Exception): await self.page.wait_for_load_state("domcontentloaded", timeout=5000)
        await self.did(f"click {what}", work())

    async def has(self, what: str, seconds: float = 1) -> bool:
        "Whether there is such a thing now, or within a second."
        with contextlib.suppress(Problem): return bool(await self.find(what, seconds=seconds))
        return False

    async def wait(self, what: str, seconds: float = PATIENCE) -> None:
        "Wait until something is there, by its label, role, text or CSS."
        await self.did(f"wait for {what}", self.find(what, seconds=seconds), seconds)

    async def text(self, part: str = "body") -> str:
        "What can be seen of the page, or of a part of it by CSS."
        return await self.did(f"read {part}", self.page.locator(part).first.inner_text())

    async def markdown(self) -> str:
        "What there is to read, as Markdown."
        html_text = await self.did("read the page", self.page.content())
        return await asyncio.to_thread(reading_of, html_text, self.url)

    async def title(self) -> str: return await self.page.title()

    async def links(self) -> list[dict[str, str]]:
        "Where its links lead, as records of text and url."
        return await self.did("read the links", self.page.evaluate("""() => [...document.querySelectorAll("a[href]")].map(
            a => ({text: a.innerText.trim(), url: a.href.split("#")[0]})).filter(l => /^https?:/.test(l.url))"""))

    async def tables(self) -> list[list[dict[str, str]]]:
        "Its tables, each as records by the names in its first row."
        found = await self.did("read the tables", self.page.evaluate("""() => [...document.querySelectorAll("table")].map(
            t => { const grid = []
            ;[...t.rows].forEach((row, y) => { let x = 0; for (const cell of row.cells) {
              while (grid[y]?.[x] !== undefined) x++
              for (let dy = 0; dy < cell.rowSpan; dy++) for (let dx = 0; dx < cell.colSpan; dx++)
                (grid[y + dy] ??= [])[x + dx] = cell.innerText.trim() } })
            return {grid, hasHead: !!t.querySelector("th")} })"""))
        made = []
        for t in found:
            rows, names = t["grid"], [f"column {n + 1}" for n in range(max(map(len, t["grid"]), default=0))]
            if t["hasHead"] and rows: names, rows = [v or n for v, n in zip([*rows[0], *names[len(rows[0]):]], names,
                strict=True)], rows[1:]
            made.append([dict(zip(names, row, strict=False)) for row in rows])
        return made

    async def state(self) -> str:
        "The page as a model is told of it: title, address, and what there is, by role and name."
        tree = await self.did("look at the page", self.page.locator("body").aria_snapshot())
        return f"{await self.title()}\n{self.url}\n{tree}"

    async def screenshot(self, name: str = "page.png") -> str:
        "A picture of the whole page, as a file of ours."
        return artifact(name, await self.did("take a picture", self.page.screenshot(full_page=True)))

    async def pdf(self, name: str = "page.pdf") -> str:
        "The page as a PDF, as a file of ours. Without a window only."
        return artifact(name, await self.did("print", self.page.pdf(print_background=True)))

    async def download(self, what: str) -> str:
        "Click on something, and keep the file that comes. Raises Problem for one that is too large."
        folder = self.browser.folder / "downloads"
        async def work() -> Any:
            one = await self.find(what)
            async with self.page.expect_download() as coming: await one.click()
            found = await coming.value
            whole = asyncio.ensure_future(found.path())
            while not whole.done():
                await asyncio.sleep(.1)
                if sum(f.stat().st_size for f in folder.glob("*")) > DOWNLOAD_MOST:
                    await found.cancel()
                    raise Problem(f"{found.suggested_filename} is larger than {DOWNLOAD_MOST >> 20} MB.")
            name = artifact(found.suggested_filename, Path(await whole).read_bytes())
            await found.delete()
            return name
        return await self.did(f"download {what}", work(), None)


# ─── in a run's page ───

@rt("/runs/{run_id:int}/frames/{frame:int}.jpg", methods=["GET"])
def frame_get(run_id: int, frame: int):
    found = db.first("SELECT picture FROM frames WHERE run=? AND id=?", [run_id, frame])
    if not found: raise Problem("There is no such picture.", status=404)
    return Response(found["picture"], media_type="image/jpeg", headers={"cache-control": "max-age=31536000, immutable"})


def strip(run_id: int, step: str) -> FT | None:
    "What a step saw, picture by picture."
    rows = db.query("SELECT id, text FROM frames WHERE run=? AND step=? ORDER BY id", [run_id, step])
    if not rows: return None
    return Details(Summary(f"What it saw ({len(rows)})", cls="small muted"), Div(*[A(Img(src=(src :=
        f"/runs/{run_id}/frames/{r['id']}.jpg"), alt=r["text"], loading="lazy"), Small(r["text"]), href=src, target="_blank")
        for r in rows], cls="strip", tabindex="0"), open=True, id=f"strip-{step}")


on_step_card.append(strip)
styles.append("""
.strip { display: flex; gap: .6rem; overflow-x: auto; padding: .3rem 0; a { flex: 0 0 11rem; min-width: 0; color: inherit }
  img { width: 11rem; height: 7rem; object-fit: cover; object-position: top; border: 1px solid var(--line) }
  small { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } }
""")


def go_on_button(run: dict) -> FT | None:
    "What a run waits for the person to do in a window, with the button that says it is done."
    if run["id"] not in waits: return None
    return Span(waits[run["id"]][0], " ", Button("Continue", hx_post=f"/runs/{run['id']}/go-on", hx_swap="none"), cls="row")


on_run.append(go_on_button)


@rt("/runs/{run_id:int}/go-on", methods=["POST"])
async def go_on_post(run_id: int):
    if run_id not in waits: raise Problem("This run waits for nothing in a window.", status=409)
    waits[run_id][1].set()
    return Response(status_code=204)


# ─── the page Browser ───

link("Browser", "/browser", "system")


@rt("/browser", methods=["GET"])
async def browser_get():
    "The browser that is used, its profiles, and the hosts of this machine that it may reach."
    try: found: Any = P("Used is ", Code(browser_path()), ".")
    except Problem as e: found = P(str(e), cls="error")
    folder = home.path / "browser"
    names = sorted({"default", *(p.name for p in folder.glob("*") if p.is_dir())})
    act = functools.partial(sending_button, url="/browser")
    profiles = [Div(Strong(n), Span(cls="grow"), act("Open this profile", act="open", name=n), act("Forget its log-ins",
        confirm=f"Forget every log-in of {n}?", act="forget", name=n) if (folder / n).exists() else None, cls="row")
        for n in names]
    hosts = [Div(Code(h), Span(cls="grow"), act("Take back", act="close", name=h), cls="row") for h in hosts_allowed()]
    new = lambda what, label, **attrs: Form(Hidden(what, name="act"), Input(name="name", required=True, aria_label=label,
        placeholder=label, **attrs), Button("Add", cls="quiet"), hx_post="/browser", hx_swap="none", cls="row")
    return *head("Browser"), Div(
        Div(H2("Your browser"), found, P("Steps use it with profiles of its own. Log in once in a window; later runs, with "
            "one or without, are logged in.", cls="muted"), cls="card"),
        Div(H2("Profiles"), *profiles, new("open", "A new profile, such as shop",
            pattern=r"[\w\-]{1,40}"), cls="card stack"),
        Div(H2("Record"), P("A window opens; what you do in it becomes a pipeline. Alt and a click on a table, or a text, "
            "takes it. Passwords are never recorded. Close the window to end.", cls="muted"),
            *[P("Recording ", Strong(n), f": {len(r.deeds)} done", aria_busy="true") for n, r in recording.items()],
            Form(Hidden("record", name="act"),
                Input(name="name", required=True, pattern="[a-z][a-z0-9_]{1,39}", placeholder="A name, such as orders",
                    aria_label="Name"),
                Input(name="url", type="url", required=True, placeholder="https://…", aria_label="Address"),
                Select(*[Option(n) for n in names], name="profile", aria_label="Profile"),
                Button("Record", cls="quiet"), hx_post="/browser", hx_swap="none", cls="row"),
            cls="card", id="recordings", hx_get="/browser", hx_select="#recordings",
            hx_trigger=changed("recordings"), hx_swap="outerHTML"),
        Div(H2("Hosts of this machine and its network"), P("Nothing that is automated reaches them, unless they stand here.",
            cls="muted"), *hosts, new("allow",
            "A host, such as 192.168.1.20:8080"), cls="card stack"), cls="stack")


@rt("/browser", methods=["POST"])
async def browser_post(form: Sent):
    name, act = str(form.get("name", "")).strip(), str(form.get("act"))
    hosts = hosts_allowed()
    if act == "open":
        path, folder = browser_path(True), profile_folder(name)
        if name in in_use and in_use[name].locked():
            raise Problem(f"A run is using {name}.", fix="Wait for its end.", status=409)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        quiet: Any = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.Popen([path, f"--user-data-dir={folder}", "--no-first-run", "--no-default-browser-check", *AS_ROOT],
            start_new_session=True, **quiet)
        return toast(f"{name} is open in a window. Log in, and close it.")
    if act == "record":
        if not re.fullmatch(r"[a-z][a-z0-9_]{1,39}", name): raise Problem(f"{clip(name)} is no name.", status=422)
        await asyncio.to_thread(addresses_of, str(form.get("url")))
        browser_path(True)
        profile_folder(profile := str(form.get("profile") or "default"))
        tasks_of_recordings.add(task := asyncio.create_task(record(name, str(form.get("url")), profile)))
        task.add_done_callback(tasks_of_recordings.discard)
        return toast("A window opens. Close it when you are done.")
    if act == "forget": await asyncio.to_thread(shutil.rmtree, profile_folder(name), True)
    elif act == "allow":
        if not re.fullmatch(r"[\w.:\[\]-]{1,100}", name): raise Problem(f"{clip(name)} is no host.", status=422)
        store["browser.hosts"] = sorted({*hosts, name})
    elif act == "close": store["browser.hosts"] = [h for h in hosts if h != name]
    else: raise Problem(f"There is no {clip(act)} to do here.", status=404)
    return HtmxResponseHeaders(refresh="true"), ""


# ─── the model's ───

@tool(name="browse", reads=True, is_outward=True)
def browse_tool(url: str) -> str:
    "Read a web page: its readable text, as Markdown."
    return fetch(url)[:20_000]


@tool(name="browser_act", asks=True, is_outward=True, seconds=180)
async def browser_act_tool(url: str, deeds: Text = "") -> str:
    """Open a page in the person's browser, with their log-ins, and do what the lines of `deeds` say: fill NAME: VALUE; click
    NAME; wait TEXT. Gives what is there then."""
    browser = Browser()
    try:
        page = await browser.open(url)
        for line in filter(None, map(str.strip, deeds.splitlines())):
            verb, _, rest = line.partition(" ")
            name, _, value = rest.partition(":")
            if verb == "fill": await page.fill(name.strip(), value.strip())
            elif verb == "click": await page.click(rest.strip())
            elif verb == "wait": await page.wait(rest.strip())
            else: raise Problem(f"{clip(verb)} is nothing to do.", fix="Say fill NAME: VALUE, click NAME, or wait TEXT.")
        return (await page.state())[:12_000]
    finally: await browser.close()


# ─── record → replay ───

# What the person does is said as they see it: the name of what is clicked, the label of what is filled in. Alt and a click
# takes what is under the mouse: a table, or a text.
RECORDING = """
(() => {
if (top === window && !document.referrer && performance.getEntriesByType("navigation")[0]?.type === "navigate")
  sololith_did({do: "open", what: location.href})
const short = text => (text ?? "").replace(/\\s+/g, " ").trim().slice(0, 80)
const named = e => short(e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.placeholder
  || (e.matches("[type=submit], [type=button]") ? e.value || e.innerText : e.matches("input, select, textarea") ? e.name
    : e.innerText || e.title || e.querySelector("img")?.alt))
const path = e => {
  if (e.id) return "#" + CSS.escape(e.id)
  if (e === document.body) return "body"
  const alike = [...e.parentElement.children].filter(o => o.tagName === e.tagName)
  return `${path(e.parentElement)} > ${e.tagName.toLowerCase()}:nth-of-type(${alike.indexOf(e) + 1})`
}
addEventListener("click", e => {
  if (!e.isTrusted) return
  if (e.altKey) {
    e.preventDefault(); e.stopImmediatePropagation()
    const table = [...document.querySelectorAll("table")].indexOf(e.target.closest("table"))
    return sololith_did({do: "take", table, what: path(e.target)})
  }
  const it = e.target.closest("a, button, summary, label, [role], [type=submit], [type=button], [onclick]")
  if (it && !it.matches("label:has(input), label[for]")) sololith_did({do: "click", what: named(it) || path(it)})
}, true)
addEventListener("change", e => {
  const it = e.target
  if (!it.matches("input, select, textarea") || it.matches("[type=submit], [type=button], [type=file]")) return
  const isBox = it.matches("[type=checkbox], [type=radio]")
  sololith_did({do: "fill", what: named(it), value: it.type === "password" ? "" : isBox ? it.checked
    : it.selectedOptions?.[0]?.text ?? it.value, isSecret: it.type === "password"})
}, true)
})()
"""


class Recorder:
    "A window in which what the person does is written down, as a pipeline that does it again."
    def __init__(self, name: str, url: str, profile: str = "default"):
        self.name, self.url, self.browser, self.deeds, self.did_at = name, url, Browser(), list[dict](), 0.0
        self.browser.profile, self.browser.is_visible = profile, True

    async def begin(self) -> None:
        "Open the window at the address. Raises Problem where it may not be reached."
        context = await self.browser.started()
        await context.expose_binding("sololith_did", lambda source, deed: self.note(deed))
        await context.add_init_script(RECORDING)
        page = await self.browser.tab()
        self.ended = asyncio.Event()
        context.on("close", lambda _: self.ended.set())
        page.page.on("close", lambda _: self.ended.set())
        await page.open(self.url)

    def note(self, deed: dict) -> None:
        "Keep a deed. An address counts where it was typed: not the first one, nor where a click has led."
        now, before = clock.monotonic(), self.did_at
        if deed["do"] == "open" and (not self.deeds or now - before < 2): return
        self.did_at = now
        self.deeds.append(deed)
        broadcaster.publish({"apps": ["recordings"]})

    def source(self) -> str:
        "The plugin's file. What was typed becomes a field that is asked for; a password is neither kept nor asked for."
        fields, lines, is_taken, logs_in = dict[str, str](), list[str](), False, False
        for deed in self.deeds:
            what, value = str(deed.get("what", "")), deed.get("value")
            if deed["do"] == "fill" and deed.get("isSecret"):
                while lines and lines[-1].startswith("await page.fill("):
                    if "answers[" in lines.pop(): fields.popitem()
                lines += [f"if await page.has({doc(what)}):",
                    '    await browser.ask("Log in in the window, and press Continue.")',
                    f"    await page.open({doc(self.url)})"]
                logs_in = True
            elif deed["do"] == "fill" and isinstance(value, bool): lines.append(f"await page.fill({doc(what)}, {value})")
            elif deed["do"] == "fill":
                name = identifier(what, fields)
                fields[name] = str(value)
                lines.append(f"await page.fill({doc(what)}, answers[{doc(name)}])")
            elif deed["do"] == "open": lines.append(f"await page.open({doc(what)})")
            elif deed["do"] == "click" and logs_in: logs_in = False  # the button below the password
            elif deed["do"] == "click": lines.append(f"await page.click({doc(what)})")
            elif deed["table"] >= 0: lines.append(f"found += (await page.tables())[{deed['table']}]")
            else: lines.append(f'found.append({{"text": await page.text({doc(what)})}})')
            is_taken = is_taken or deed["do"] == "take"
        title, opens = self.name.replace("_", " ").capitalize(), f"page = await browser.open({doc(self.url)})"
        asked = ", ".join(f"{n}: str = {doc(v)}" for n, v in fields.items())
        given = ", ".join(f"{n}={n}" for n in fields)
        step = f"\n\n@{self.name}.step\n"
        first = f'{step}def answers({asked}):\n    "What is typed in."\n    return dict({given})\n' * bool(fields)
        lines = [f"browser.profile = {doc(self.browser.profile)}", *["found = []"] * is_taken, opens, *lines,
            "return found" if is_taken else "return await page.markdown()"]
        top = f'"{title}: recorded in your browser."\nfrom sololith import *\n\n{self.name} = pipeline({doc(title)})\n'
        return (f"{top}{first}"
            f'{step}async def done({"answers, " * bool(fields)}browser: Browser):\n    "As it was done in the window."\n'
            + "".join(f"    {line}\n" for line in lines))


recording: dict[str, Recorder] = {}
tasks_of_recordings: set[asyncio.Task] = set()


async def record(name: str, url: str, profile: str) -> None:
    "Record until the window is closed, then propose what came of it."
    recorder = recording[name] = Recorder(name, url, profile)
    broadcaster.publish({"apps": ["recordings"]})
    try:
        await recorder.begin()
        await recorder.ended.wait()
        if not recorder.deeds: raise Problem("Nothing was done in the window, so there is no pipeline.")
        key = new_proposal(name, f"recorded at {clip(url)}", text_of_plugin(name))
        await run_in_threadpool(proposed, key, name, recorder.source())
        broadcaster.publish({"notice": f"{name} was recorded.", "href": f"/build/{key}"})
    except Problem as e: broadcaster.publish({"notice": str(e), "href": "/browser"})
    finally:
        recording.pop(name, None)
        await recorder.browser.close()
        broadcaster.publish({"apps": ["recordings"]})
