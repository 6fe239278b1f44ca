"""Sololith: one system for one person on one machine.

This page is the table of contents. A chapter imports only from the chapters above it.
"""
__version__ = "0.1.0"
from .base import *            # names used everywhere, paths, Problem, plugins
from .assets import *          # the front-end files, by hash
from .fields import *          # type hints → fields → typed values
from .store import *           # the SQLite file: tables, journal, undo
from .events import *          # what happens, told to every tab
from .forms import *           # fields → forms and JSON Schema; uploads
from .files import *           # files move, are deleted, and come back
from .ui import *              # the shell, palette, style and script
from .values import *          # values kept and shown
from .guard import *           # who may talk to us
from .tools import *            # what can be done, by name
from .crud import *            # a dataclass becomes an app
from .pipeline import *        # functions become durable work
from .runs import *            # their pages; schedules
from .models import *          # language models, ours and elsewhere
from .memory import *          # what the model remembers
from .acting import *           # the model calls tools
from .chat import *            # conversations
from .plugins import *         # find, load, reload, quarantine
from .check import *           # plugins, tried out in a sandbox
from .source import *          # the system's own source
from .builder import *         # apps and pipelines out of words
from .server import *          # assemble the app and serve it
from .cli import *             # the command line
from .shell import *           # pipelines as Unix filters
from .widgets import *         # anywidgets in pages and steps
from .browser import *         # your own browser, at work
from .notebook import *        # notebooks in and out
from .outside import *         # MCP, both ways
from .apps.profiles import *
from .apps.tasks import *
from .apps.notes import *
from .apps.files import *
from .apps.journal import *
from .apps.models import *
from .apps.hello import *
from .apps.csv_clean import *
from .apps.link_check import *
from .apps.draw_and_fit import *
from .apps.page_digest import *
from .apps.site_map import *
from .apps.watch import *
