"""What every test can ask for. With SOLOLITH_ONEFILE=path the same tests are about that one file."""
import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers import ONEFILE, Server, chromium

# Nothing may touch the workspace of the person who runs the tests, not even an `import sololith`.
os.environ["SOLOLITH_HOME"] = tempfile.mkdtemp(prefix="sololith-home-")

if ONEFILE:  # before anything can say `import sololith`
    spec = importlib.util.spec_from_file_location("sololith", ONEFILE)
    assert spec and spec.loader, f"SOLOLITH_ONEFILE={ONEFILE} is not a Python file."
    sys.modules["sololith"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["sololith"])


# What the form makes a difference to: the start, static files, names of modules, the sandbox's child, the source as text.
# Elsewhere both forms run the same lines, and once is enough; SOLOLITH_ALL=1 (make soak) runs all of it on the one file.
FORM_MATTERS = {"test_onefile", "test_cli", "test_guard", "test_plugins", "test_assets", "test_check"}


# The files that take longest, which begin first, so that no worker is left with one of them at the end.
LONGEST = ("test_mcp test_browsing test_chat_browser test_durability test_engine test_widgets test_browser test_process test_builder_browser "
           "test_acting test_acting_browser test_builder test_guard test_live test_axe test_plugins test_cli test_filesapp").split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if item.path.stem not in FORM_MATTERS and not os.environ.get("SOLOLITH_ALL"):
            item.add_marker(pytest.mark.package_only)
        if ONEFILE and item.get_closest_marker("package_only"):
            item.add_marker(pytest.mark.skip(reason="about the package form"))


def pytest_sessionfinish() -> None: shutil.rmtree(os.environ["SOLOLITH_HOME"], ignore_errors=True)


# ── the server

@pytest.fixture
def workspace(tmp_path) -> Path:
    "A path for a workspace, which the server is to make itself."
    return tmp_path / "workspace"


@pytest.fixture
def start(workspace):
    "start(*args, workspace=…, **options): a server of the test's own making, killed at its end."
    with contextlib.ExitStack() as stack:
        def start(*args: str, workspace: Path = workspace, **options) -> Server:
            server = Server(workspace)
            stack.callback(server.kill)
            return server.start(*args, **options)
        yield start


@pytest.fixture
def server(start) -> Server:
    "A fresh server on `workspace`, logged in."
    return start()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    "One server for all tests of a worker that leave things as they were, or look only at what they made."
    with Server(tmp_path_factory.mktemp("shared") / "workspace").start() as server: yield server


@pytest.fixture
def plugin(workspace):
    "plugin(name, source): write a plugin into the workspace, at once, as an editor that saves safely does."
    def write(name: str, source: str) -> Path:
        apps = workspace / "apps"
        apps.mkdir(parents=True, exist_ok=True)
        half = apps / f".{name}.part"
        half.write_text(source)
        half.replace(apps / f"{name}.py")
        return apps / f"{name}.py"
    return write


# ── the browser

@pytest.fixture(scope="module")
def browser():
    "Chromium. One a module and not one a session: while it is open, its thread cannot run asyncio.run."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium())
        yield browser
        browser.close()


@pytest.fixture
def page_errors() -> list[str]:
    "What pages did that they must not. A test that provokes such a thing looks at it, then clears the list."
    return []


@pytest.fixture(scope="module")
def kept_context(browser) -> dict:
    "The browser context that the next test of a module takes over if it wants the same: our files are in its cache."
    return {}


@pytest.fixture
def open_page(browser, kept_context, page_errors):
    "open_page(server, **context options): a tab that is logged in, in a browser context that no other tab is in."
    from playwright.sync_api import Page
    contexts = []

    def open_page(server: Server, path: str = "/", **options) -> Page:
        key = (server.url, server.cookie, repr(options))
        if contexts or not server.cookie or kept_context.get("key") != key:
            context = browser.new_context(**options)
            context.set_default_timeout(10_000)
            if not contexts and server.cookie:
                if kept_context: kept_context["context"].close()
                kept_context.update(key=key, context=context)
        else: context = kept_context["context"]
        contexts.append(context)
        page = watch(context.new_page(), server, page_errors)
        if server.cookie:
            name, _, value = server.cookie.partition("=")
            context.add_cookies([{"name": name, "value": value, "domain": server.name, "path": "/", "httpOnly": True,
                                  "sameSite": "Strict"}])
        else:  # the launch URL is good for one use: who comes first takes it
            page.goto(server.launch_url)
            page.wait_for_url(lambda url: "/launch" not in url)
            server.cookie = next(f"{c['name']}={c['value']}" for c in context.cookies() if c["name"].startswith("sololith_"))
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        if context is not kept_context.get("context"): context.close()
        else:
            for page in context.pages: page.close()
    assert not page_errors, "The pages did what they must not:\n" + "\n".join(page_errors)


@pytest.fixture
def page(start, open_page):
    "A tab on a fresh server, entered through the launch URL; page.server is that server."
    server = start(login=False)
    page = open_page(server)
    page.server = server
    return page


def watch(page, server: Server, errors: list[str]):
    "Note errors on the console, uncaught ones, and requests to any other host."
    def request(request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob", "about") and url.netloc != server.host:
            errors.append(f"{page.url} asked another host: {request.url}")

    def console(message) -> None:
        if message.text.startswith(("htmx:sendAbort", "htmx:afterRequest,")): return  # the page was left while it asked
        if message.type == "error": errors.append(f"{page.url} on the console: {message.text} {message.location.get('url', '')}")

    page.on("request", request)
    page.on("console", console)
    page.on("pageerror", lambda error: errors.append(f"{page.url} raised: {error}"))
    page.on("websocket", lambda ws: None if urlsplit(ws.url).netloc == server.host else
            errors.append(f"{page.url} opened a WebSocket to another host: {ws.url}"))
    return page
