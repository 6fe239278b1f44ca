"""Get the front-end files into sololith/static/ (or the folder named): what `make` and the wheel's build call.

    python scripts/assets.py [FOLDER]

It loads sololith/assets.py without the rest of the package, so it needs nothing but Python: a build environment has
no FastHTML, and the files are wanted before anything else works.
"""
import importlib.util
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Problem(Exception):
    "Stands in for base.Problem."
    def __init__(self, what: str, fix: str = ""): super().__init__(f"{what} {fix}".strip())


def load() -> types.ModuleType:
    "The chapter assets.py, in a package of its own that has no other chapter but a stand-in for base."
    package, base = types.ModuleType("sololith_build"), types.ModuleType("sololith_build.base")
    package.__path__ = []
    vars(base)["Problem"] = Problem
    sys.modules.update({"sololith_build": package, "sololith_build.base": base})
    spec = importlib.util.spec_from_file_location("sololith_build.assets", ROOT / "sololith" / "assets.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(folder: str = "") -> int:
    try:
        print(load().ensure_assets(Path(folder) if folder else ROOT / "sololith" / "static"))
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__": sys.exit(main(*sys.argv[1:]))
