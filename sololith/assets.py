"""The front-end files: five libraries by other people, which pages load from our own routes and nowhere else.

    folder = static_folder(home.path)        # has every name in ASSETS, each as its hash wants it

They are not in the repository: `make` and the wheel's build get them into `sololith/static/`. The one file uses those
of an installed wheel, or fetches them once into the workspace. Our own script and style are not here but in ui.py.
"""
import base64, contextlib, hashlib, http.client, os, shutil, subprocess, sys, tarfile, tempfile, urllib.request
from pathlib import Path
from typing import NamedTuple
from .base import Problem


class Asset(NamedTuple):
    "One file of one npm package, with its SHA-256 in base64."
    package: str
    version: str
    member: str
    sha256: str
    licence: str

    @property
    def name(self) -> str: return Path(self.member).name

    def fits(self, data: bytes) -> bool:
        return base64.b64encode(hashlib.sha256(data).digest()).decode() == self.sha256

    def is_in(self, folder: Path) -> bool:
        try: return self.fits((folder / self.name).read_bytes())
        except OSError: return False


ASSETS = [Asset(*line.split(" ", 4)) for line in """
htmx.org 2.0.11 dist/htmx.min.js 1v3HXyBOa976mbab8ebUrGm4o2T3eSn0XBNHa0AA9xc= 0BSD
htmx-ext-ws 2.0.4 dist/ws.min.js iWr8KTbe16Vjc+3xbOdbD+m/ScA9H1Wu6bqpTLh8jT4= 0BSD
idiomorph 0.8.0 dist/idiomorph-ext.min.js WBG5p+2hSHi32rQ3i/YEMuG7bxH8+5cMwmVAZCZQGB4= 0BSD
sortablejs 1.15.7 Sortable.min.js v0JBvHP+9/EcWaKDpp/oBRzdMcbY/1orm6IZ54Mfz3Y= MIT © 2019 All contributors to Sortable
@picocss/pico 2.1.1 css/pico.min.css +8mmP8n8n3LRL9f8mAbhH6n3euT5ytFGsnADoRGbo9s= MIT © 2019-2025 Pico
""".strip().splitlines()]


def static_folder(workspace: Path) -> Path:
    "The first folder that has all of ASSETS: beside this file, in an installed wheel, else the workspace's own."
    for folder in (Path(__file__).parent / "static", *(Path(entry, "sololith/static") for entry in sys.path)):
        if all(asset.is_in(folder) for asset in ASSETS): return folder
    return ensure_assets(workspace / ".run" / "static")


def ensure_assets(folder: Path) -> Path:
    "Get what `folder` lacks through npm, else from the public CDN. Raises Problem where neither gives the right bytes."
    folder.mkdir(parents=True, exist_ok=True)
    missing = [asset for asset in ASSETS if not asset.is_in(folder)]
    licences = "Files by others, unchanged. MIT is the text of Sololith's own LICENSE.\n\n" + "".join(
        f"{a.name}: {a.package} {a.version}, {a.licence}\n" for a in ASSETS)
    ready = {"LICENSES.txt": licences.encode()}
    with tempfile.TemporaryDirectory(dir=folder) as new:  # the same disk, so that os.replace is one step
        if missing and (npm := shutil.which("npm")):
            packages = [f"{asset.package}@{asset.version}" for asset in missing]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # the CDN is next
                subprocess.run([npm, "pack", "--ignore-scripts", *packages], cwd=new, capture_output=True, timeout=120)
        for asset in missing:
            data = _from_tarball(asset, Path(new))
            if not asset.fits(data): data = _from_cdn(asset)
            if not asset.fits(data):
                raise Problem(
                    f"The front-end file {asset.name} cannot be had: no copy that fits its hash is in reach.",
                    fix="Connect to the internet and start again, or install Sololith's wheel, which has it.")
            ready[asset.name] = data
        for name, data in ready.items():
            (part := Path(new, name)).write_bytes(data)
            os.replace(part, folder / name)
    return folder


def _from_tarball(asset: Asset, folder: Path) -> bytes:
    with contextlib.suppress(OSError, EOFError, KeyError, tarfile.TarError), tarfile.open(
            folder / f"{asset.package.lstrip('@').replace('/', '-')}-{asset.version}.tgz") as tar:
        if member := tar.extractfile(f"package/{asset.member}"): return member.read()
    return b""


def _from_cdn(asset: Asset) -> bytes:
    url = f"https://cdn.jsdelivr.net/npm/{asset.package}@{asset.version}/{asset.member}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer: return answer.read(1 << 20)
    except (OSError, http.client.HTTPException): return b""
