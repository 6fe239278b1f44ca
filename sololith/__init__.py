"""Sololith: one system for one person on one machine.

This page is the table of contents. A chapter imports only from the chapters above it.
"""
__version__ = "0.1.0"
from .base import *            # third-party names used everywhere, paths, Problem, what a plugin adds
from .assets import *          # the front-end files, by hash
from .fields import *          # type hints → fields → typed values
from .store import *           # the SQLite file: tables, journal, undo, search, backups
from .events import *          # what happens, told to every tab and every listener
from .forms import *           # fields → forms and JSON Schema; uploads
from .files import *           # files move, are deleted, and come back
from .ui import *              # the shell, toasts, palette, style and script
from .values import *          # values kept and shown
from .guard import *           # who may talk to us
from .tools import *            # what can be done, by name: for the model, the shell and other programs
from .crud import *            # a dataclass becomes an app
from .pipeline import *        # functions become durable, resumable work
from .runs import *            # their pages: runs, cards, schedules
from .models import *          # language models: Ollama, llama.cpp in a process of ours, any server with OpenAI's protocol
from .memory import *          # what the model remembers
from .acting import *           # what the model is told of tools, what it calls, what has to be approved
from .chat import *            # conversations, what they are told, the panel
from .plugins import *         # find, load, reload, quarantine
from .check import *           # what a plugin does, tried out where it can do no harm
from .source import *          # the system's own source: as a prompt, and looked up
from .builder import *         # apps and pipelines out of words or a form, as files that a person installs
from .server import *          # assemble the app and serve it
from .cli import *             # the command line
from .shell import *           # pipelines as Unix filters
from .widgets import *         # anywidgets in pages and steps
from .notebook import *        # notebooks in and out
from .outside import *         # other programs use our tools, and we use theirs: MCP
from .apps.profiles import *   # the built-in apps, written with what a user has
from .apps.tasks import *
from .apps.notes import *
from .apps.files import *
from .apps.journal import *
from .apps.models import *
from .apps.hello import *
from .apps.csv_clean import *
from .apps.link_check import *
from .apps.draw_and_fit import *
