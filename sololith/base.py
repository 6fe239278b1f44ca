"""The ground every chapter stands on: third-party names, how errors speak, where things lie, what a plugin adds.

    raise Problem("due is 'soon', which is not a date.", fix="Give a date such as 2026-12-24.")
    home.files / "report.pdf"                       # a path in the workspace
    @rt("/hello", methods=["GET"])                  # a page; FT components are drawn inside the shell
    def hello(): return H1("Hello")

All that a chapter or a plugin contributes (routes, apps, links …) is collected in one `Plugin`, so that a plugin can
be checked before it goes live and taken out again whole. The built-in chapters contribute to `system`.
"""
import contextlib, difflib, os
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fasthtml.common import *
from fastcore.xml import *  # the same tags, three times as fast to build as FastHTML's own (22 µs against 65 µs a tag)
from collections.abc import Callable, Generator, Iterable  # after the stars, which bring others of these names

# Names of FastHTML that later chapters give a meaning of their own, which is what a plugin's star import is to find.
for _ in ("File", "EventStream", "Picture", "Progress", "dumps", "named", "serve", "show"): globals().pop(_, None)
fh_cfg.indent = False  # indented output would change what stands in a <textarea>


class Problem(Exception):
    """What happened and what to do about it, in two sentences: shown in the page, the chat and the shell alike.

    `status` is the HTTP status it is answered with; `fields` maps field names to what is wrong with each; `details` is
    for whoever wants to know more, such as a traceback.
    """
    def __init__(self, what: str, fix: str = "", status: int = 400, fields: dict[str, str] | None = None,
            details: str = ""):
        super().__init__(what)
        self.what, self.fix, self.status, self.fields, self.details = what, fix, status, fields or {}, details

    def __str__(self) -> str: return f"{self.what} {self.fix}".strip()


def did_you_mean(name: str, names: Iterable[str]) -> str:
    "A sentence that offers the closest of `names`, or lists them when none is close."
    names = sorted(names)
    close = difflib.get_close_matches(name, names, 1, 0.6)
    if close: return f"Did you mean {close[0]}?"
    return f"There are: {', '.join(names[:12])}." if names else "There are none yet."


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    "A file to write beside `path`, which takes its place once it is complete."
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally: part.unlink(missing_ok=True)


class Workspace:
    "The folder a person owns: one database, files, plugins, backups. `home` is the one that is open."
    def __init__(self, path: str | Path = "~/sololith"): self.at(path)

    def at(self, path: str | Path) -> "Workspace":
        self.path = here = Path(path).expanduser().resolve()
        self.db, self.files, self.apps, self.models, self.backups, self.run = (here / n
            for n in ("data.db", "files", "apps", "models", "backups", ".run"))
        return self

    def make(self) -> "Workspace":
        "Make what is missing, readable by its owner only. Raises Problem where nothing can be written."
        os.umask(0o077)
        try:
            for folder in (self.path, self.files, self.apps, self.models, self.backups, self.run):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.chmod(0o700)
            (self.run / "writable").write_text("")
        except OSError as e:
            raise Problem(f"The workspace {self.path} cannot be written to: {e.strerror}.",
                fix="Give another folder, or make this one writable.") from e
        return self


home = Workspace(os.environ.get("SOLOLITH_HOME", "~/sololith"))
after_handlers: list[Callable] = []  # what is done with each handler's result; ui.py puts the shell around it


def new_site() -> Any:
    "A bare FastHTML app: no CDN links, no session cookie, no key file."
    made: Any = FastHTML(default_hdrs=False, canonical=False, sess_cls=None, secret_key="unused: no sessions")
    made.after = after_handlers
    return made


site = new_site()  # what is served: the routes of all that is live


class Plugin:
    "What one file contributes: its routes, apps and links, all of which go live, or away, together."
    def __init__(self, name: str, path: Path | None = None):
        self.name, self.path, self.description, self.error, self.source = name, path, "", "", ""
        self.apps: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}
        self.tools: dict[str, Any] = {}
        self.links: list[tuple[str, str, str]] = []   # (section, title, href) in the navigation
        self.headers: list[Callable[[], Any]] = []    # what is drawn in the top bar
        self.web = new_site()


system = Plugin("system")
plugins: dict[str, Plugin] = {"system": system}  # all that is live, by name
loading: ContextVar[Plugin] = ContextVar("loading", default=system)


def rt(path: str, methods: list[str], **kwargs) -> Callable:
    "Decorate a handler with its path and methods. Mutations are POST and read their arguments from the form only."
    return loading.get().web.route(path, methods=methods, **kwargs)


def link(title: str, href: str, section: Literal["apps", "pipelines", "system"] = "system") -> None:
    "Put a page into the navigation."
    loading.get().links.append((section, title, href))


def header(draw: Callable[[], Any]) -> Callable[[], Any]:
    "Put what `draw` returns into every page's top bar."
    loading.get().headers.append(draw)
    return draw


def all_apps() -> dict[str, Any]:
    "Every live app, by name."
    return {name: app for plugin in plugins.values() for name, app in plugin.apps.items()}


def all_tools() -> dict[str, Any]:
    "Every live tool, by name."
    return {name: made for plugin in plugins.values() for name, made in plugin.tools.items()}


def all_pipelines() -> dict[str, Any]:
    "Every live pipeline, by name."
    return {name: made for plugin in plugins.values() for name, made in plugin.pipelines.items()}
