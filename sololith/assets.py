"""The front-end files: five libraries by other people, which pages load from our own routes and nowhere else.

    folder = static_folder(home.path)        # has every name in ASSETS, each as its hash wants it

They are not in the repository: `make` and the wheel's build get them into `sololith/static/`. The one file uses those
of an installed wheel, or fetches them once into the workspace. Our own script and style are not here but in ui.py.
"""
import base64, hashlib, http.client, os, shutil, subprocess, sys, tarfile, tempfile, urllib.request
from pathlib import Path
from typing import NamedTuple
from .base import Problem


class Asset(NamedTuple):
    "One file of one npm package, with its SHA-512 in base64, as npm writes it."
    package: str
    version: str
    member: str
    sha512: str
    licence: str

    @property
    def name(self) -> str: return Path(self.member).name

    def fits(self, data: bytes) -> bool:
        return base64.b64encode(hashlib.sha512(data).digest()).decode() == self.sha512

    def is_in(self, folder: Path) -> bool:
        try: return self.fits((folder / self.name).read_bytes())
        except OSError: return False


ASSETS = [Asset(*line.split(" ", 4)) for line in """
htmx.org 2.0.11 dist/htmx.min.js YdHy6FzjD4qoyI/yWGIbsKnJHe98r96np9XeYp3ovFL+0sNP/NbDrYlSLDr5a6Ndi5sRi9GgJj+suE7yLeUMNQ== 0BSD
htmx-ext-ws 2.0.4 dist/ws.min.js ZN8YO7oKP8q8VEez2O3CO/0jRvh4KfKT9TKfdES80/5x5MOky+dDmM/pvfTixSeWQbUYNoQoIANCIgNP+RQ4zA== 0BSD
idiomorph 0.8.0 dist/idiomorph-ext.min.js Vd0W/PIhli0f3FhV5xng30ZgppFPVthy1DZuLFK68em5TWCvvVc6/vVWxHC3xYLQhiHZczo+9LpPtxjpHHdZCA== 0BSD
sortablejs 1.15.7 Sortable.min.js ri8dokds012Oxz+iFzMs4KNJXVc+h7J1zq6unM1NTtzBLj4jD1R5BWiK6QycK0TdSdkt7zYcIcv6sUPhmYkbdQ== MIT © 2019 All contributors to Sortable
@picocss/pico 2.1.1 css/pico.min.css +4kjFgVD0n6H3xt19Ox84B56MoS7srFn60tgdWFuO4hemtjhySKyW4LnftYZn46k3THUEiTTsbVjrHai+0MOFw== MIT © 2019-2025 Pico
""".strip().splitlines()]  # noqa: E501


def static_folder(workspace: Path) -> Path:
    "The first folder that has all of ASSETS: beside this file, in an installed wheel, else the workspace's own."
    for folder in (Path(__file__).parent / "static", *(Path(entry, "sololith/static") for entry in sys.path)):
        if all(asset.is_in(folder) for asset in ASSETS): return folder
    return ensure_assets(workspace / ".run" / "static")


def ensure_assets(folder: Path) -> Path:
    "Get what `folder` lacks through npm, else from the public CDN. Raises Problem where neither gives the right bytes."
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:  # the same disk, so that os.replace is one step
        new = Path(temporary)
        missing = [asset for asset in ASSETS if not asset.is_in(folder)]
        if missing and (npm := shutil.which("npm")):
            packages = [f"{asset.package}@{asset.version}" for asset in missing]
            try:
                subprocess.run([npm, "pack", "--ignore-scripts", *packages], cwd=new, capture_output=True,
                    timeout=120)
            except (OSError, subprocess.TimeoutExpired): pass  # the CDN is next
        for asset in missing:
            data = _from_tarball(asset, new) or _from_cdn(asset)
            if not asset.fits(data):
                raise Problem(
                    f"The front-end file {asset.name} cannot be had: no copy that fits its hash is in reach.",
                    fix="Connect to the internet and start again, or install Sololith's wheel, which has it.")
            (new / asset.name).write_bytes(data)
            os.replace(new / asset.name, folder / asset.name)
        (new / "LICENSES.txt").write_text(
            "Files by others, unchanged. MIT is the text of Sololith's own LICENSE.\n\n"
            + "".join(f"{a.name}: {a.package} {a.version}, {a.licence}\n" for a in ASSETS), encoding="utf-8")
        os.replace(new / "LICENSES.txt", folder / "LICENSES.txt")
    return folder


def _from_tarball(asset: Asset, folder: Path) -> bytes:
    try:
        with tarfile.open(folder / f"{asset.package.lstrip('@').replace('/', '-')}-{asset.version}.tgz") as tar:
            member = tar.extractfile(f"package/{asset.member}")
            data = member.read() if member else b""
    except (OSError, EOFError, KeyError, tarfile.TarError): return b""
    return data if asset.fits(data) else b""


def _from_cdn(asset: Asset) -> bytes:
    url = f"https://cdn.jsdelivr.net/npm/{asset.package}@{asset.version}/{asset.member}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer: return answer.read(1 << 20)
    except (OSError, http.client.HTTPException): return b""
