"""The flake, in so far as it can be proved without nixpkgs, which cannot be had offline.

`tests/nix-stub` stands in for nixpkgs. It has only what our flake may use, so that anything else fails; its
Python, uv and the like are the host's. Everything that Nix writes goes into a store of our own in a temporary
folder, and Nix gets no network. docs/install.md says what this proves and what it does not.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from helpers import uv_settings

pytestmark = [pytest.mark.package_only, pytest.mark.timeout(300)]   # the first run may have to install Nix

ROOT = Path(__file__).resolve().parent.parent
VERSION, = re.findall(r'^__version__ *= *"([^"]+)"', (ROOT / "sololith/__init__.py").read_text(), re.M)
SYSTEMS = {"x86_64-linux", "aarch64-linux", "aarch64-darwin"}
NOWHERE = "http://127.0.0.1:9"      # the discard port, where nobody answers: a proxy that lets nothing out
OFFLINE = {f"{scheme}_proxy": NOWHERE for scheme in ("http", "https", "all")}


class NixError(Exception): "Nix refused."


# ── what the tests stand on ─────────────────────────────────────────────────────────────────────────────────

def run(command, env, **more):
    return subprocess.run([*map(str, command)], env=env, text=True, capture_output=True, timeout=120, **more)


def install_nix():
    "Debian's nix where there is none. No other way is tried: piping a script into a shell is not ours to do."
    if shutil.which("nix"): return
    if not shutil.which("apt-get"):
        reason = "there is neither nix nor apt-get to install it with"
        if os.environ.get("CI", "").lower() in ("1", "true"): pytest.fail(reason)
        pytest.skip(reason)
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "-y", "--no-install-recommends", "nix-bin"]
    for command in (install, [*apt, "update"], install):      # a fresh image has no package lists yet
        done = subprocess.run(command, capture_output=True, text=True)
        if shutil.which("nix"): return
    pytest.fail(f"nix-bin could not be installed. Do it, then run this again.\n{done.stderr}")


def copied(to):
    "What a commit of this tree would hold: tracked files, and new ones that git does not ignore."
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if listed.returncode: pytest.skip("this is not a git checkout, and the flake is about one")
    for name in {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, to / name)
    return to


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    "A stub, a store and a committed tree whose lock leads to the stub; and Nix to use on them."
    install_nix()
    top = tmp_path_factory.mktemp("nix").resolve()
    tools, stub, tree, data = top / "tools", top / "stub", top / "tree", top / "share"

    tools.mkdir()       # our own Python, which the packages are known to run on; uv and shellcheck of the dev venv
    (tools / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    for name in ("uv", "shellcheck"):
        if program := shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"):
            (tools / name).symlink_to(program)
    assert (tools / "uv").exists(), "uv is missing: install the dev requirements (make test does)"
    shutil.copytree(ROOT / "tests/nix-stub", stub)
    (stub / "host-path").write_text(str(tools))

    def plain(settings):
        drop = ("PYTHON", "NIX_", "VIRTUAL_ENV", "SOLOLITH", "LD_LIBRARY_PATH", "XDG_DATA_HOME")
        return {key: value for key, value in os.environ.items() if not key.startswith(drop)} | settings

    ours = {f"NIX_{name}_DIR": str(top / name.lower()) for name in ("STORE", "STATE", "LOG", "CONF", "DATA")}
    ours |= {"NIX_REMOTE": "", "NIX_USER_CONF_FILES": ""}
    start = ["nix", "--extra-experimental-features", "nix-command flakes"]
    options = {"substituters": "", "flake-registry": "", "download-attempts": "1", "warn-dirty": "false",
               "sandbox": "false", "build-users-group": ""}     # the stub builds with the host's tools, as us
    for option, value in options.items(): start += ["--option", option, value]

    def nix(*words):
        "Nix's standard output, without a network for Nix."
        done = run([*start, *words], plain(ours | OFFLINE), cwd=top)
        if done.returncode: raise NixError(done.stderr)
        return done.stdout

    def git(*words): subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)

    tree.mkdir()
    copied(tree)
    # Lead the lock's answer to the stub. What it was asked, `original`, stays as it is committed.
    lock = json.loads((tree / "flake.lock").read_text())
    stub_is = json.loads(nix("flake", "metadata", "--json", f"path:{stub}"))
    lock["nodes"]["nixpkgs"]["locked"] = stub_is["locked"]
    (tree / "flake.lock").write_text(json.dumps(lock))
    git("init", "-q")
    git("add", "-A")
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "as it would be")

    app = plain(uv_settings() | {key: value for key, value in os.environ.items() if key.startswith("UV_")}
                | {"XDG_DATA_HOME": str(data), "SOLOLITH_HOME": str(top / "workspace")})
    flake = f"git+file://{tree}"
    start_it = [*start, "run", "--no-update-lock-file", flake, "--"]
    yield SimpleNamespace(top=top, tree=tree, tools=tools, data=data, flake=flake,
                          nix=nix, app=app, nix_run=start_it, nix_run_env=app | ours)
    for folder, _, _ in os.walk(ours["NIX_STORE_DIR"]): os.chmod(folder, 0o755)     # Nix leaves it read-only


@pytest.fixture(scope="module")
def launcher(bench):
    "The built launcher's path."
    built, = json.loads(bench.nix("build", "--no-link", "--json", "--no-update-lock-file", bench.flake))
    return Path(built["outputs"]["out"], "bin/sololith")


# ── evaluation, on every system ─────────────────────────────────────────────────────────────────────────────

FACTS = """
let flake = builtins.getFlake "%s"; each = builtins.mapAttrs; in {
  packages = each (_: each (_: p: { inherit (p) drvPath text; })) flake.packages;
  checks = each (_: each (_: p: p.drvPath)) flake.checks;
  shells = each (_: each (_: s: { inherit (s) drvPath shellHook; tools = map (p: p.name) s.packages;
                                  libraries = s.LD_LIBRARY_PATH or ""; })) flake.devShells;
}"""


def facts(bench, flake): return json.loads(bench.nix("eval", "--impure", "--json", "--expr", FACTS % flake))


def check(bench, flake):
    "All that evaluation and a build can show. A flake that was changed for the worse must not come through."
    bench.nix("flake", "check", "-L", "--no-update-lock-file", flake)
    seen = facts(bench, flake)
    for part in seen.values(): assert set(part) == SYSTEMS, "other systems than we promise"
    for system in SYSTEMS:
        linux = system.endswith("-linux")
        (name, package), = seen["packages"][system].items()
        assert name == "default" and package["drvPath"].endswith("-sololith.drv")
        checked = seen["checks"][system].values()
        assert package["drvPath"] in checked, f"no check builds the launcher on {system}"

        text = package["text"]
        libraries = re.findall(r'^export LD_LIBRARY_PATH="\S+-gcc-lib/lib:\S+-zlib/lib', text, re.M)
        assert len(libraries) == linux, f"LD_LIBRARY_PATH has libstdc++ and zlib on Linux, not so on {system}"
        assert linux or "LD_LIBRARY_PATH" not in text
        assert "--require-hashes" in text, "packages would be installed unverified"
        assert text.rstrip().endswith('-m sololith "$@"'), "the app does not get the user's arguments"

        tools = {name: shell["tools"] for name, shell in seen["shells"][system].items()}
        assert tools == {"default": ["python3", "uv"],
                         "full": ["python3", "uv", "ollama", *(["chromium", "node"] if linux else [])]}
        for shell in seen["shells"][system].values():
            assert shell["drvPath"].endswith(".drv")
            assert not shell["shellHook"], "entering the workbench must do nothing"
            assert bool(shell["libraries"]) == linux
    return seen


def test_the_flake_evaluates_on_every_system_and_its_check_builds_the_launcher(bench):
    check(bench, bench.flake)


def test_the_launcher_is_clean_shell_on_every_system(bench):
    if not (bench.tools / "shellcheck").exists(): pytest.skip("shellcheck is missing")
    for system, packages in facts(bench, bench.flake)["packages"].items():
        done = run([bench.tools / "shellcheck", "-"], bench.app, input=packages["default"]["text"])
        assert done.returncode == 0, f"{system}:\n{done.stdout}"


def small(tree, tmp_path):
    "A copy of the few files that evaluation reads."
    flake = tmp_path.resolve() / "flake"
    flake.mkdir()
    for name in ("flake.nix", "flake.lock", "requirements.txt"): shutil.copy(tree / name, flake)
    return flake


MUTATIONS = {       # name: (what is in flake.nix, what a slip makes of it, what must be said about it)
    "a misspelled package": ("[ pkgs.python313 pkgs.uv ];", "[ pkgs.python313 pkgs.uvv ];",
                             "attribute 'uvv' missing"),
    "a misspelled function": ("lib.genAttrs", "lib.genAttr", "genAttr"),
    "chromium on macOS": ("[ pkgs.ollama ]", "[ pkgs.ollama pkgs.chromium ]",
                          "chromium is not available on aarch64-darwin"),
    "chromium gone on Linux": ("[ pkgs.chromium pkgs.nodejs ]", "[ pkgs.nodejs ]", "chromium"),
    "libstdc++ on macOS": ("'' + lib.optionalString pkgs.stdenv.hostPlatform.isLinux ''", "'' + ''",
                           "gcc-lib is not available on aarch64-darwin"),
    "an Intel Mac": ('"aarch64-darwin" ]', '"aarch64-darwin" "x86_64-darwin" ]', "dropped in nixpkgs"),
    "a wrong argument name": ("runtimeInputs =", "runtimeInput =", "unexpected argument 'runtimeInput'"),
    "an unknown shell argument": ("packages = [ pkgs", "tools = [ pkgs", "unexpected argument 'tools'"),
    "a syntax error": ("inherit (nixpkgs) lib;", "inherit (nixpkgs) lib", "syntax error"),
    "a missing file": ("readFile ./requirements.txt", "readFile ./requirement.txt", "requirement.txt"),
    "no libraries on Linux": ("export LD_LIBRARY_PATH=", "export LD_LIBRARY=", "LD_LIBRARY_PATH"),
    "no zlib": ("pkgs.stdenv.cc.cc.lib pkgs.zlib", "pkgs.stdenv.cc.cc.lib", "LD_LIBRARY_PATH"),
    "no hashes": ("--require-hashes ", "", "unverified"),
    "no arguments": ('-m sololith "$@"', "-m sololith", "arguments"),
    "a launcher that is not bash": ('trap - EXIT', 'trap - EXIT; then', "syntax error near unexpected token"),
    "a launcher with an unquoted word": ('rm -rf "$making"\n', "rm -rf $making\n", "SC2086"),
    "a check that builds nothing": ("checks = forEachSystem (pkgs: { launcher = launcher pkgs; })",
                                    "checks = forEachSystem (pkgs: { })", "no check builds the launcher"),
    "a hook that does something": ("env = {", 'shellHook = "git pull"; env = {', "must do nothing"),
}


@pytest.mark.parametrize("slip", MUTATIONS)
def test_a_slip_in_the_flake_is_refused(bench, tmp_path, slip):
    old, new, said = MUTATIONS[slip]
    if said == "SC2086" and not (bench.tools / "shellcheck").exists(): pytest.skip("shellcheck is missing")
    flake = small(bench.tree, tmp_path)
    text = (flake / "flake.nix").read_text()
    assert old in text, "the flake has changed, and this test must follow it"
    (flake / "flake.nix").write_text(text.replace(old, new))
    with pytest.raises((NixError, AssertionError)) as refused: check(bench, f"path:{flake}")
    assert said in str(refused.value)


# ── the lock ────────────────────────────────────────────────────────────────────────────────────────────────

def lock_answers(bench, tmp_path, change):
    "What Nix, without a network, says to the flake under a lock that `change` has been at."
    flake = small(ROOT, tmp_path)
    data = json.loads((flake / "flake.lock").read_text())
    if change(data["nodes"]["nixpkgs"]) is None: (flake / "flake.lock").write_text(json.dumps(data))
    else: (flake / "flake.lock").unlink()
    return json.loads(bench.nix("flake", "metadata", "--json", "--no-update-lock-file", f"path:{flake}"))


def test_the_committed_lock_fits_the_flake_so_that_nothing_has_to_be_looked_up(bench, tmp_path):
    seen = lock_answers(bench, tmp_path, lambda node: None)
    assert seen["locks"] == json.loads((ROOT / "flake.lock").read_text())
    assert seen["locks"]["nodes"].keys() == {"nixpkgs", "root"}


MISFITS = {
    "another branch": lambda node: node["original"].update(ref="nixos-24.05"),
    "another owner": lambda node: node["original"].update(owner="nobody"),
    "no lock": lambda node: "to be removed",
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_lock_that_does_not_fit_the_flake_is_not_used(bench, tmp_path, misfit):
    with pytest.raises(NixError, match="github.com.*nixos-unstable"):
        lock_answers(bench, tmp_path, MISFITS[misfit])


def test_a_wrong_hash_in_the_lock_is_refused(bench, tmp_path):
    flake = small(bench.tree, tmp_path)
    data = json.loads((flake / "flake.lock").read_text())
    data["nodes"]["nixpkgs"]["locked"]["narHash"] = "sha256-" + "A" * 43 + "="
    (flake / "flake.lock").write_text(json.dumps(data))
    with pytest.raises(NixError, match="(?i)hash mismatch"): check(bench, f"path:{flake}")


# ── it runs ─────────────────────────────────────────────────────────────────────────────────────────────────

def test_nix_run_sets_up_once_and_prints_the_version(bench, launcher, tmp_path):
    env, data = bench.app | {"XDG_DATA_HOME": str(tmp_path / "data")}, tmp_path / "data/sololith"
    first = run([*bench.nix_run, "--version"], bench.nix_run_env | env)
    assert first.returncode == 0, first.stderr
    assert VERSION in first.stdout and "setting up" in first.stderr
    venv, = data.iterdir()

    # From now on without a network. And a module of the folder one stands in must not come before ours.
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the current folder')")
    (tmp_path / "sololith.py").write_text("raise SystemExit('taken from the current folder')")
    env |= OFFLINE | {"UV_OFFLINE": "1", "PYTHONHOME": "/nowhere"}
    again = run([launcher, "--version"], env, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert "setting up" not in again.stderr and list(data.iterdir()) == [venv]
    assert list((venv / "pycache").rglob("sololith/*.pyc")), "the source is compiled anew at each start"


def test_two_first_starts_at_once_both_succeed_and_leave_one_set_up(bench, launcher, tmp_path):
    env = bench.app | {"XDG_DATA_HOME": str(tmp_path)}
    both = [subprocess.Popen([launcher, "--version"], env=env, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and VERSION in out, err
        assert "setting up" in err
    assert [path.name[:5] for path in (tmp_path / "sololith").iterdir()] == ["venv-"]


def test_a_first_start_killed_half_way_leaves_nothing_that_looks_complete(bench, launcher, tmp_path):
    data = tmp_path / "sololith"
    with socket.create_server(("127.0.0.1", 0)) as silent:      # an index that never answers: uv waits half way
        index = {"UV_DEFAULT_INDEX": f"http://127.0.0.1:{silent.getsockname()[1]}/", "UV_INDEX": "",
                 "UV_FIND_LINKS": "", "UV_NO_INDEX": "", "UV_CACHE_DIR": str(tmp_path / "cache")}
        env = bench.app | index | {"XDG_DATA_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        process = subprocess.Popen([launcher, "--version"], env=env, start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        silent.settimeout(60)
        try: silent.accept()[0].close()     # uv has asked: its venv is there and still empty
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    left, = data.iterdir()
    assert left.name.startswith(".making-") and (left / "venv/bin/python").exists()

    os.utime(left, (0, 0))                  # two days later, so to speak
    done = run([launcher, "--version"], bench.app | {"XDG_DATA_HOME": str(tmp_path)})
    assert done.returncode == 0 and VERSION in done.stdout, done.stderr
    assert [path.name[:5] for path in data.iterdir()] == ["venv-"], "the leftover is still there"


def test_a_first_start_without_a_network_says_so_and_leaves_nothing(bench, launcher, tmp_path):
    env = {key: value for key, value in bench.app.items() if not key.startswith(("XDG_", "UV_"))}
    done = run([launcher, "--version"], env | {"HOME": str(tmp_path), "UV_OFFLINE": "1"})
    assert done.returncode == 1 and done.stdout == ""
    assert "could not be fetched; nothing was installed" in done.stderr and "start it again" in done.stderr
    assert list((tmp_path / ".local/share/sololith").iterdir()) == []


def test_nix_run_serves_the_app_and_is_the_app(bench):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = bench.top / "served"
    with log.open("w") as out:
        words = [*bench.nix_run, str(bench.top / "workspace"), "--port", str(port), "--no-open"]
        process = subprocess.Popen(words, env=bench.nix_run_env, cwd=bench.top, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 100
        while not (at := re.search(r"^Sololith is at (http://\S+)", log.read_text(), re.M)):
            assert process.poll() is None and time.monotonic() < deadline, f"no start:\n{log.read_text()}"
            time.sleep(0.05)
        url = urlsplit(at[1])
        assert url.port == port
        # The name in the address need not resolve here; it always means this machine.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"{url.path}?{url.query}", headers={"Host": url.netloc})
        answer = connection.getresponse()
        assert answer.status < 400 and answer.read()
        connection.close()
        if sys.platform == "linux":     # Nix and the launcher have made way: a signal reaches the app itself
            proc = Path(f"/proc/{process.pid}")
            words = (proc / "cmdline").read_bytes().split(b"\0")
            assert words[0].startswith(os.fsencode(bench.data)) and b"sololith" in words
            assert b"gcc-lib/lib" in (proc / "environ").read_bytes(), "the wheels' libraries do not reach it"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM), log.read_text()
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# ── the workbench ───────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("shell, tools", [("default", "uv python3"), ("full", "uv python3 ollama")])
def test_nix_develop_brings_the_tools(bench, shell, tools):
    if shell == "full" and sys.platform == "linux": tools += " chromium node"
    said = bench.nix("develop", "--no-update-lock-file", f"{bench.flake}#{shell}", "-c", "bash", "-c",
                     f"type -p {tools}; uv --version; python3 -c 'print(6 * 7)'").splitlines()
    where = [f"{Path(path).parts[-3].partition('-')[2]} {Path(path).name}" for path in said[:-2]]
    assert where == [f"{tool} {tool}" for tool in tools.split()]
    assert all(path.startswith(f"{bench.top}/store/") for path in said[:-2]), "taken from the host"
    assert said[-2].startswith("uv ") and said[-1] == "42"
