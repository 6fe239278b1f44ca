"""The front-end files: right or not at all. Nothing here needs a network; npm and the CDN are played."""
import io
import os
import subprocess
import sys
import tarfile
import urllib.error
from pathlib import Path

import pytest
from helpers import ONEFILE, ROOT, chapter, environment

from sololith import Problem

assets = chapter("assets")
STATIC = ROOT / "sololith" / "static"
NAMES = {asset.name for asset in assets.ASSETS}


@pytest.fixture
def offline(monkeypatch):
    "Neither npm nor the CDN is there. Gives the list of addresses that were asked."
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    monkeypatch.setattr(assets.urllib.request, "urlopen", urlopen)
    return asked


def npm(monkeypatch, tmp_path: Path, change=lambda data: data):
    "An npm on PATH that packs what we have, changed; it writes its arguments into the file `asked`."
    store = tmp_path / "registry"
    store.mkdir()
    for asset in assets.ASSETS:
        with tarfile.open(store / f"{asset.package.lstrip('@').replace('/', '-')}-{asset.version}.tgz", "w:gz") as tar:
            data = change((STATIC / asset.name).read_bytes())
            info = tarfile.TarInfo(f"package/{asset.member}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    command = tmp_path / "npm"
    command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncp {store}/*.tgz .\n')
    command.chmod(0o755)
    monkeypatch.setattr(assets.shutil, "which", lambda name: str(command))


def files(folder: Path) -> set[str]: return {path.name for path in folder.rglob("*")}


def test_what_is_there_and_fits_is_reused(offline, tmp_path):
    for name in NAMES: (tmp_path / name).write_bytes((STATIC / name).read_bytes())
    before = {name: (tmp_path / name).stat().st_ino for name in NAMES}
    assert assets.ensure_assets(tmp_path) == tmp_path and offline == []
    assert before == {name: (tmp_path / name).stat().st_ino for name in NAMES}


def test_npm_gives_what_is_missing_in_one_go(monkeypatch, offline, tmp_path):
    npm(monkeypatch, tmp_path)
    folder = assets.ensure_assets(tmp_path / "a" / "b")
    assert files(folder) == NAMES | {"LICENSES.txt"} and offline == []
    assert all((folder / name).read_bytes() == (STATIC / name).read_bytes() for name in NAMES)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 1 and "htmx.org@2.0.11" in asked[0] and "@picocss/pico@2.1.1" in asked[0]


def test_only_the_file_that_does_not_fit_is_replaced(monkeypatch, tmp_path):
    npm(monkeypatch, tmp_path)
    for name in NAMES: (tmp_path / name).write_bytes((STATIC / name).read_bytes())
    (tmp_path / "htmx.min.js").write_bytes(b"alert(1)")
    assets.ensure_assets(tmp_path)
    assert (tmp_path / "htmx.min.js").read_bytes() == (STATIC / "htmx.min.js").read_bytes()
    assert (tmp_path / "asked").read_text().split()[2:] == ["htmx.org@2.0.11"]


def test_without_npm_the_cdn_gives_the_same_files(monkeypatch, offline, tmp_path):
    def urlopen(url, timeout):
        offline.append(url)
        return io.BytesIO((STATIC / url.rsplit("/", 1)[1]).read_bytes())
    monkeypatch.setattr(assets.urllib.request, "urlopen", urlopen)
    assert files(assets.ensure_assets(tmp_path)) == NAMES | {"LICENSES.txt"}
    assert "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js" in offline
    assert "https://cdn.jsdelivr.net/npm/@picocss/pico@2.1.1/css/pico.min.css" in offline


def test_a_changed_tarball_is_refused_and_the_cdn_asked(monkeypatch, offline, tmp_path):
    npm(monkeypatch, tmp_path, lambda data: data + b" ")
    with pytest.raises(Problem): assets.ensure_assets(tmp_path / "static")
    assert len(offline) == 1


def test_a_changed_file_from_the_cdn_is_refused(monkeypatch, offline, tmp_path):
    monkeypatch.setattr(assets.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"alert(1)"))
    with pytest.raises(Problem, match="no copy that fits its hash"): assets.ensure_assets(tmp_path)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("broken", [b"", b"\x1f\x8b\x08 cut", b"no tarball"])
def test_a_broken_tarball_is_as_good_as_none(monkeypatch, offline, tmp_path, broken):
    npm(monkeypatch, tmp_path)
    for path in (tmp_path / "registry").iterdir(): path.write_bytes(broken or path.read_bytes()[:200])
    with pytest.raises(Problem, match="no copy that fits its hash"): assets.ensure_assets(tmp_path / "static")


def test_failing_leaves_no_half_file(offline, tmp_path):
    with pytest.raises(Problem): assets.ensure_assets(tmp_path / "static")
    assert files(tmp_path / "static") == set()


def test_the_error_says_what_happened_and_what_to_do(offline, tmp_path):
    with pytest.raises(Problem) as caught: assets.ensure_assets(tmp_path)
    said = str(caught.value)
    assert said.startswith("The front-end file htmx.min.js cannot be had: no copy that fits its hash is in reach.")
    assert "Connect to the internet and start again" in said


def test_the_licences_are_listed(tmp_path, offline):
    for name in NAMES: (tmp_path / name).write_bytes((STATIC / name).read_bytes())
    listed = (assets.ensure_assets(tmp_path) / "LICENSES.txt").read_text("utf-8")
    for asset in assets.ASSETS: assert f"{asset.name}: {asset.package} {asset.version}, {asset.licence}\n" in listed


def test_verifying_at_each_start_takes_milliseconds(tmp_path):
    from helpers import p95
    assert p95(lambda: assets.static_folder(tmp_path)) < 50  # some 3 ms; the machine may be busy


@pytest.mark.package_only
def test_a_checkout_uses_its_own_files(offline, tmp_path):
    assert assets.static_folder(tmp_path) == STATIC and offline == []


def test_a_file_alone_borrows_those_of_an_installed_wheel(monkeypatch, offline, tmp_path):
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "sololith.py"))
    installed = tmp_path / "site-packages" / "sololith" / "static"
    installed.mkdir(parents=True)
    for name in NAMES: (installed / name).write_bytes((STATIC / name).read_bytes())
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "gone.zip"), str(tmp_path / "site-packages")])
    monkeypatch.chdir(tmp_path)
    assert assets.static_folder(tmp_path / "w") == installed and offline == []


def test_a_file_alone_fetches_them_once_into_the_workspace(monkeypatch, offline, tmp_path):
    npm(monkeypatch, tmp_path)
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "sololith.py"))
    monkeypatch.setattr(sys, "path", [])
    for _ in range(2): assert assets.static_folder(tmp_path / "w") == tmp_path / "w" / ".run" / "static"
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_two_that_fetch_at_once_do_not_disturb_each_other(tmp_path):
    program = ("import sys; from pathlib import Path; sys.path[:0] = [sys.argv[1]]\n"
               "from scripts.assets import load\n"
               "assets = load(); static = Path(sys.argv[1], 'sololith/static')\n"
               "assets.shutil.which = lambda name: None\n"
               "assets._from_cdn = lambda asset: (static / asset.name).read_bytes()\n"
               "assets.ensure_assets(Path(sys.argv[2]))\n")
    both = [subprocess.Popen([sys.executable, "-c", program, ROOT, tmp_path / "s"], env=environment()) for _ in range(3)]
    assert [process.wait(60) for process in both] == [0, 0, 0]
    assert files(tmp_path / "s") == NAMES | {"LICENSES.txt"}


def test_the_script_needs_nothing_but_python(tmp_path):
    target = tmp_path / "s"
    target.mkdir()
    for name in NAMES: (target / name).write_bytes((STATIC / name).read_bytes())
    done = subprocess.run([sys.executable, "-S", "-I", str(ROOT / "scripts" / "assets.py"), str(target)], capture_output=True,
                          text=True, timeout=60, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0 and done.stdout == f"{target}\n", done.stderr


def test_the_form_under_test_is_the_one_that_was_asked_for():
    assert (Path(assets.__file__) == ONEFILE) if ONEFILE else Path(assets.__file__).parent == ROOT / "sololith"
