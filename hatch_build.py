"""Hatch asks this before it builds: get the front-end files, so that no wheel goes without them."""
import runpy
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict) -> None:
        if version == "editable": return  # the checkout's own folder is used, and `make` fills it
        assets = runpy.run_path(str(Path(self.root, "scripts", "assets.py")))["load"]()
        assets.ensure_assets(Path(self.root, "sololith", "static"))
