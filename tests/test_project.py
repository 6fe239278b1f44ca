"""The checkout itself: locks without addresses, nothing of one machine in it, a wheel that is complete."""
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from helpers import ROOT, environment

pytestmark = pytest.mark.package_only
LOCKS = ("requirements.txt", "requirements-dev.txt")


def tracked() -> list[str]:
    "What a commit of everything would hold: tracked files, and new ones that are not ignored."
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT,
                            capture_output=True, text=True, timeout=30)
    if listed.returncode: pytest.skip("this is not a git checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text(name: str) -> str: return (ROOT / name).read_bytes().decode("utf-8", "ignore")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_hashes_and_has_no_address(lock):
    lines = text(lock).splitlines()
    pins = [line for line in lines if not line.startswith((" ", "#"))]
    assert len(pins) > 20
    for line in pins: assert re.match(r"[a-z0-9-]+==\S+ (; .* )?\\$", line), line
    for line in lines:
        assert "//" not in line and "@" not in line and not line.startswith("-"), line
        if line.startswith(" "): assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert text(lock).count("--hash=") >= len(pins)


def test_the_locks_agree_and_hold_what_the_project_names():
    pins = [dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", text(lock))) for lock in LOCKS]
    assert pins[0].items() <= pins[1].items()
    project = tomllib.loads(text("pyproject.toml"))
    for need in project["project"]["dependencies"]: assert re.match(r"[\w-]+", need)[0] in pins[0], need
    for need in project["dependency-groups"]["dev"]: assert re.match(r"[\w-]+", need)[0] in pins[1], need


REGISTRY = "|".join((r"pypi\.org", r"pythonhosted\.org", r"registry\.(npmjs|yarnpkg)\.\w+", r"anaconda\.org",
                     r"artifactory", r"jfrog\.io", r"index-url[= ]+\S*:", r"/simple/"))
MACHINE = r"/(home|Users)/(?!me\b|you\b|user\b|runner\b)\w+|/root/|/work/\w+|/opt/\w+|\.pyenv/"


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    for name in tracked():
        if name == "tests/test_project.py" or name.startswith("tests/nix-stub/"): continue
        for number, line in enumerate(text(name).splitlines(), 1):
            assert not (found := re.search(REGISTRY, line)), f"{name}:{number}: {found[0]}"
            assert not (found := re.search(MACHINE, line)), f"{name}:{number}: {found[0]}"


def test_what_make_makes_is_not_tracked():
    for name in tracked(): assert not re.match(r"(\.venv|build|dist|shots|sololith/static|node_modules)/", name), name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
                          capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_the_front_end_files_and_the_joiner(wheel):
    with zipfile.ZipFile(wheel) as archive: names = set(archive.namelist())
    for path in sorted((ROOT / "sololith").rglob("*.py")): assert path.relative_to(ROOT).as_posix() in names
    for path in sorted((ROOT / "sololith" / "static").iterdir()): assert f"sololith/static/{path.name}" in names
    assert "sololith/scripts/onefile.py" in names
    assert not [name for name in names if not re.match(r"sololith(/|-[\d.]+\.dist-info/)", name)]


def test_the_wheel_is_of_the_version_that_the_contents_page_says(wheel):
    version = re.search(r'(?m)^__version__ = "(.+)"$', text("sololith/__init__.py"))[1]
    assert wheel.name == f"sololith-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        about = archive.read(f"sololith-{version}.dist-info/METADATA").decode()
        commands = archive.read(f"sololith-{version}.dist-info/entry_points.txt").decode()
    assert "License-Expression: MIT" in about and "Requires-Python: >=3.11" in about
    assert "sololith = sololith.cli:main" in commands


def test_an_unpacked_wheel_joins_the_same_one_file(wheel, tmp_path):
    from scripts import onefile
    with zipfile.ZipFile(wheel) as archive: archive.extractall(tmp_path)
    done = subprocess.run([sys.executable, tmp_path / "sololith" / "scripts" / "onefile.py", "join"], timeout=60,
                          capture_output=True, text=True, env=environment(PYTHONPATH=str(tmp_path)))
    head, chapters = done.stdout.split("\n# ═══ ", 1)
    ours = onefile.join()
    assert chapters == ours.split("\n# ═══ ", 1)[1], done.stderr
    assert re.findall(r'(?m)^#   "([\w-]+)', head) == re.findall(r'(?m)^#   "([\w-]+)', ours)


def test_make_lists_its_targets():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    for target in ("run", "test", "soak", "bench", "shots", "onefile", "budget", "lint", "lock", "wheel", "clean"):
        assert f"make {target} " in listed


@pytest.mark.parametrize("script", [".ci/run", "scripts/system.sh"])
def test_a_script_can_be_run(script): assert (ROOT / script).stat().st_mode & 0o111


def test_the_changelog_has_a_place_for_what_comes():
    assert re.search(r"(?m)^## \[Unreleased\]$", text("CHANGELOG.md"))
