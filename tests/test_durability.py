"""Nothing lost (threats D1, D3–D6, D20, D21, D23): what a crash, a power cut, a full or a damaged disk leave behind.

The server is the real one, killed, starved and traced from outside; then its file is read with SQLite alone. strace
and mount namespaces are what a few of these stand on, so they run on Linux; the mounts need root, as CI has.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from helpers import SOLOLITH, Server, chapter, cli, environment, patience, read, wait_for

QUIETLY = {"HX_Request": "true"}  # answers are a toast, not a whole page: more writes a second
linux = pytest.mark.skipif(sys.platform != "linux", reason="strace and mount namespaces are Linux's")
soak = pytest.mark.soak


def whole(database: Path) -> dict[str, dict[int, dict]]:
    "The tables by app and id, once it is sure that the file is whole and that the journal, replayed, gives just them."
    assert read(database, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    told: dict[str, dict[int, dict]] = {}
    for entry in read(database, "SELECT * FROM journal WHERE record_id IS NOT NULL ORDER BY id"):
        rows = told.setdefault(entry["app"], {})
        before, after = json.loads(entry["before"] or "null"), json.loads(entry["after"] or "null")
        if after is None: assert rows.pop(entry["record_id"]).items() <= before.items()  # a run's status is not journalled
        else: rows[entry["record_id"]] = rows.get(entry["record_id"], {}) | after
    kept = {app: {row["id"]: row for row in read(database, f'SELECT * FROM "{app}"')} for app in told}
    assert {app: {i: {n: kept[app].get(i, {}).get(n) for n in row} for i, row in rows.items()} for app, rows in told.items()} == told
    if "settings" in kept: kept["settings"] = {i: row for i, row in kept["settings"].items() if not row["key"].startswith("ui.")}  # how it looks
    for app in told: assert kept[app].keys() == told[app].keys(), f"{app} has rows that the journal does not tell of"
    return kept


def titles(database: Path) -> list[str]: return [row["title"] for row in read(database, "SELECT title FROM tasks ORDER BY id")]


def namespace(script: str) -> list[str]:
    "A command prefix: run what follows with `script` done in a mount namespace of its own."
    return ["unshare", "-m", "sh", "-ec", f'{script}\nexec "$@"', "sh"]


@pytest.fixture
def mounts():
    "Skips where mounts are not permitted. Root has no such excuse: there it fails, so that it is never silently left out."
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()], capture_output=True, text=True) \
        if shutil.which("unshare") else None
    if tried and tried.returncode == 0: return
    why = f"no mount namespaces here: {tried.stderr.strip() if tried else 'no unshare'}"
    if os.geteuid() == 0 and tried and "not permitted" not in tried.stderr: pytest.fail(why)
    pytest.skip(why)


# ── D1: kill -9

class Storm:
    "Three writers at once (add, change, delete) that note what they sent and what was acknowledged."
    def __init__(self, server: Server, turn: int, doomed: list[int]):
        self.server, self.turn, self.doomed = server, turn, doomed
        self.sent: dict[str, list] = {"add": [], "change": [], "delete": []}
        self.done: dict[str, list] = {"add": [], "change": [], "delete": []}
        self.threads = [threading.Thread(target=self.write, args=(kind,), daemon=True) for kind in self.sent]
        for thread in self.threads: thread.start()

    def write(self, kind: str) -> None:
        with contextlib.suppress(OSError, EOFError, Exception):  # whatever http.client makes of a killed server
            for n in range(1, 10_000):
                match kind:
                    case "add": what, path, form = f"{self.turn}-{n}", "/tasks", {"title": f"{self.turn}-{n}", "_key": f"k{self.turn}-{n}"}
                    case "change": what, path, form = self.turn * 10_000 + n, "/tasks/1", {"notes": self.turn * 10_000 + n}
                    case "delete":
                        if not self.doomed: return
                        what = self.doomed.pop()
                        path, form = f"/tasks/{what}/delete", {}
                self.sent[kind].append(what)
                answer = self.server.post(path, form, **QUIETLY)
                if answer.status == 200: self.done[kind].append(what)

    def over(self) -> None:
        for thread in self.threads: thread.join(10)


@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=soak)])
def test_kill_9_at_any_instant_under_load_loses_nothing_acknowledged(start, workspace, kills):
    server, chance = start(), random.Random(1)
    server.post("/tasks", {"title": "the one that is changed"})
    pool = workspace.parent / "pool.csv"
    pool.write_text("title\n" + "".join(f"doomed {n}\n" for n in range(60 * kills)))
    assert server.cli("import", str(pool), "--app", "tasks").returncode == 0
    doomed = list(range(2, 60 * kills + 2))
    acknowledged, counts = set(), dict.fromkeys(("add", "change", "delete"), 0)
    for turn in range(1, kills + 1):
        storm = Storm(server, turn, doomed)
        time.sleep(chance.uniform(0, 0.5))
        server.kill()
        storm.over()
        tables = whole(workspace / "data.db")["tasks"]
        now = [row["title"] for row in tables.values()]
        acknowledged |= set(storm.done["add"])
        assert acknowledged <= set(now), f"lost at kill {turn}: {acknowledged - set(now)}"
        assert len(set(now) & set(storm.sent["add"])) >= len(storm.done["add"])
        if storm.done["change"]: assert storm.done["change"][-1] <= int(tables[1]["notes"]) <= storm.sent["change"][-1]
        assert not tables.keys() & set(storm.done["delete"])
        for kind in counts: counts[kind] += len(storm.done[kind])
        server.restart()
        if storm.sent["add"]:  # whoever got no answer sends the form again, and it is one row
            title = storm.sent["add"][-1]
            assert server.post("/tasks", {"title": title, "_key": f"k{title}"}, **QUIETLY).status == 200
            assert titles(workspace / "data.db").count(title) == 1
            acknowledged.add(title)
    assert min(counts.values()) > kills, f"hardly any load: {counts}"


# ── D3: power loss. A VFS in Python cannot stand in here: APSW's has no shared memory, so with it there is no WAL for
# two connections. Instead the real server's system calls are recorded, and the disk is built anew as it would be had
# the power failed between any two of them: what was synced is there, and of the rest each sector may be or not.

SECTOR = 512
CALL = re.compile(rb"^(\d+) +(?:<\.\.\. )?(\w+)(?:\((?:\d+<([^>]*)>)?|( resumed>))")
WRITE = re.compile(rb'"((?:\\x..)*)"(\.\.\.)?, \d+, (\d+)')


def unhex(text: bytes) -> bytes: return bytes.fromhex(text.replace(b"\\x", b"").decode())


def recorded(trace: Path, folder: Path) -> list[tuple]:
    """What the server did, in order: ("write", file, data, offset), ("cut", file, size), ("sync", file), ("told", entry).
    Of calls that took a while, a write counts from its start and a sync only from its end."""
    done, waiting = [], {}
    for line in trace.open("rb"):
        if not (found := CALL.match(line)): continue
        pid, call, target, resumed = found.groups()
        if resumed: path = waiting.pop((pid, call), None)
        elif target is None: continue
        else: path = Path(os.fsdecode(unhex(target)))
        if call == b"sendto":
            if not resumed and b'"' in line and (entry := re.search(rb'sololith-changed: \{"id": (\d+)', unhex(line.split(b'"')[1]))): done.append(("told", int(entry[1])))
            continue
        if not path or path.parent != folder or path.name not in ("data.db", "data.db-wal"): continue
        unfinished = b"<unfinished" in line
        if unfinished: waiting[pid, call] = path
        if call == b"pwrite64" and not resumed:
            data = WRITE.search(line)
            assert data and not data[2], line[:200]
            done.append(("write", path.name, unhex(data[1]), int(data[3])))
        elif call == b"ftruncate" and not resumed: done.append(("cut", path.name, int(line.split(b",")[1].split(b")")[0])))
        elif call in (b"fsync", b"fdatasync") and not unfinished: done.append(("sync", path.name))
    return done


class Disk:
    "Two files, of which it is known what is safely on the platter and what is still on its way."
    def __init__(self):
        self.safe: dict[str, bytearray] = {"data.db": bytearray(), "data.db-wal": bytearray()}
        self.coming: dict[str, list[tuple]] = {"data.db": [], "data.db-wal": []}

    def do(self, operation: tuple) -> None:
        kind, name = operation[:2]
        if kind == "told": return
        if kind != "sync": self.coming[name].append(operation)
        else:
            for one in self.coming[name]: self.apply(self.safe[name], one, lambda: True)
            self.coming[name].clear()

    @staticmethod
    def apply(file: bytearray, operation: tuple, arrives) -> None:
        if operation[0] == "cut":
            if arrives():
                del file[operation[2]:]
                file.extend(bytes(operation[2] - len(file)))
            return
        _, _, data, offset = operation
        at = 0
        while at < len(data):
            size = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
            if arrives():
                if len(file) < offset + at: file.extend(bytes(offset + at - len(file)))
                file[offset + at:offset + at + size] = data[at:at + size]
            at += size

    def after_power_loss(self, folder: Path, chance: random.Random) -> Path:
        "The files as they are found: of what was not synced each sector is there with a probability of its own drawing."
        for name, safe in self.safe.items():
            file, share = bytearray(safe), chance.choice((0, 0.1, 0.5, 0.9, 1))
            for one in self.coming[name]: self.apply(file, one, lambda share=share: chance.random() < share)
            (folder / name).write_bytes(file)
        return folder / "data.db"


@linux
@pytest.mark.parametrize("cuts", [50, pytest.param(1000, marks=soak)])
def test_a_power_cut_at_any_instant_loses_nothing_acknowledged(start, workspace, tmp_path, cuts):
    trace, chance = tmp_path / "trace", random.Random(3)
    server = start(before=["strace", "-f", "-qq", "-y", "-xx", "-s", "70000", "--seccomp-bpf", "-e", "signal=none", "-e",
                           "trace=pwrite64,ftruncate,fsync,fdatasync,sendto", "-o", str(trace)])
    said = [" ".join(f"w{chance.randrange(5000)}" for _ in range(900)) for _ in range(20)]
    for n in range(110):  # more than the WAL's 1,000 pages, so that a checkpoint is in it
        match n % 11:
            case 9: answer = server.post(f"/tasks/{n // 2}", {"notes": "changed"}, **QUIETLY)
            case 10: answer = server.post(f"/tasks/{n // 11 + 1}/delete", {}, **QUIETLY)
            case _: answer = server.post("/tasks", {"title": f"t{n}", "notes": said[n % 20]}, **QUIETLY)
        assert answer.status == 200, answer
    server.kill()
    wait_for(lambda: not server.process or server.process.poll() is not None, what="strace to end")
    doings = recorded(trace, workspace)
    trace.unlink()
    checkpoint = next(i for i, d in enumerate(doings) if d[:2] == ("write", "data.db") and ("told", 20) in doings[:i])
    assert max(d[1] for d in doings if d[0] == "told") > 100, "the trace saw hardly anything"
    # half of the cuts fall anywhere, half where it hurts: in a checkpoint, and right after an acknowledgement
    told = [i + 1 for i, d in enumerate(doings) if d[0] == "told"]
    last = max(i for i, d in enumerate(doings) if d[:2] == ("write", "data.db"))
    instants = sorted([chance.randrange(len(doings)) for _ in range(cuts // 2)] + [chance.randrange(checkpoint, last) for _ in range(cuts // 5)]
                      + [chance.choice(told) for _ in range(cuts - cuts // 2 - cuts // 5)])
    store, disk, at, promised, lost = chapter("store"), Disk(), 0, 0, []
    for cut, instant in enumerate(instants):
        for operation in doings[at:instant]:
            disk.do(operation)
            if operation[0] == "told": promised = operation[1]
        at = instant
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        found, opened = disk.after_power_loss(folder, chance), store.Database()
        opened.open(found)  # as the next start would: quick_check included
        try: newest = opened.last_id()
        finally: opened.close()
        if newest < promised: lost.append((instant, promised, newest))
        if promised: whole(found)
        shutil.rmtree(folder)
    assert not lost, f"acknowledged and lost in {len(lost)} of {cuts} power cuts: {lost[:5]}"


# ── D4: disk full

@linux
def test_a_full_disk_is_said_reading_goes_on_and_writing_comes_back(start, workspace, mounts):
    workspace.mkdir()
    server = start(before=namespace(f"mount -t tmpfs -o size=3m none {workspace}"))
    inside = Path(f"/proc/{server.pid}/root{workspace}")  # its namespace's view of the workspace
    wait_for(lambda: list((inside / "backups").glob("*.db")), what="the backup at the start")
    server.post("/tasks", {"title": "before"})
    kept, answer = ["before"], None
    for n in range(400):
        answer = server.post("/tasks", {"title": f"t{n}", "notes": random.Random(n).randbytes(6000).hex()}, **QUIETLY)
        if answer.status != 200: break
        kept.append(f"t{n}")
    assert answer and answer.status == 507, answer
    assert "disk is full" in answer.text and "Free some space" in answer.text
    ballast = inside / "files" / "ballast"  # what little is left goes too
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 1024): pass
    for path in ("/", "/tasks", "/tasks/1", "/tasks?q=before", "/journal"): assert server.get(path).status == 200, path
    answers = [server.post("/tasks", {"title": f"full {n}", "notes": random.Random(n).randbytes(20_000).hex()}, **QUIETLY) for n in range(4)]
    kept += [f"full {n}" for n, answer in enumerate(answers) if answer.status == 200]  # there may be room in the WAL itself
    assert {a.status for a in answers} <= {200, 507} and answers[-1].status == 507, answers
    assert "disk is full" in server.post("/tasks/1", {"notes": random.Random(9).randbytes(20_000).hex()}, **QUIETLY).text
    assert server.post("/tasks", {"title": "", "_key": "1"}, **QUIETLY).status == 422, "what is wrong in a form is still said"
    tried = subprocess.run(["nsenter", "-m", "-t", str(server.pid), *SOLOLITH, "backup", "--workspace", str(workspace)], capture_output=True, text=True, env=environment())
    assert tried.returncode == 1 and "Free some space" in tried.stderr and "Traceback" not in tried.stderr, tried
    assert not list((inside / "backups").glob("*.zip")) and not list((inside / "backups").glob(".*")), "a half backup is left lying about"
    ballast.unlink()
    for path in (inside / "backups").iterdir(): path.unlink()
    answer = server.post("/tasks", {"title": "after"}, **QUIETLY)
    assert answer.status == 200, answer
    os.kill(server.pid, signal.SIGSTOP)  # SQLite would follow the link /proc/PID/root to our own root: copy the files as they stand
    copy = workspace.parent / "copy.db"
    for end in ("", "-wal"): shutil.copy(inside / f"data.db{end}", f"{copy}{end}")
    whole(copy)
    assert titles(copy) == [*kept, "after"], "just what was acknowledged"
    assert "Traceback" not in server.log


@linux
def test_a_start_on_a_full_disk_says_so_or_serves_what_is_there(start, workspace, mounts):
    server = start()
    server.post("/tasks", {"title": "here already"})
    server.stop()
    shutil.rmtree(workspace / "backups")
    fill = f"mkdir {workspace}.was && mount --bind {workspace} {workspace}.was && mount -t tmpfs -o size=1m none {workspace}\n" \
           f"cp -a {workspace}.was/. {workspace}\ncat /dev/zero > {workspace}/files/ballast 2>/dev/null || true"
    command = [*namespace(fill), *SOLOLITH, str(workspace), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try: line = process.stdout.readline()  # type: ignore[union-attr]
        finally: process.terminate()
        error = process.stderr.read()  # type: ignore[union-attr]
    said = "cannot be written to" in error or "disk is full" in error.lower()
    assert line.startswith("Sololith is at ") or said, error
    assert "Traceback" not in error, error


# ── D5: a damaged file

def header(file, size): file.write(random.Random(5).randbytes(16))


def middle_page(file, size):
    file.seek(size // 2 // 4096 * 4096)
    file.write(random.Random(5).randbytes(4096))


def half(file, size): file.truncate(size // 2)


@pytest.mark.parametrize("harm", [pytest.param(header, marks=soak), middle_page, pytest.param(half, marks=soak)])
def test_a_damaged_database_is_said_left_as_it_is_and_restore_brings_back_the_newest_good_backup(start, workspace, harm):
    server = start()
    for n in range(30): server.post("/tasks", {"title": f"t{n}", "notes": "so many words " * 40}, **QUIETLY)
    backup = server.cli("backup")
    assert backup.returncode == 0, backup
    server.stop()
    (workspace / "backups" / "9999-newest-but-bad.db").write_bytes(b"not a database at all" * 1000)
    database = workspace / "data.db"
    with database.open("r+b") as file: harm(file, database.stat().st_size)
    damaged, begun = database.read_bytes(), time.monotonic()
    found = cli(str(workspace), "--port", "0", "--no-open", limit=30)
    assert found.returncode == 1 and time.monotonic() - begun < 3 * patience()
    assert "is damaged" in found.stderr and "sololith restore" in found.stderr and "Traceback" not in found.stderr, found.stderr
    assert not found.stdout, "it did not serve"
    assert database.read_bytes() == damaged, "the person's file was touched"
    answer = cli("journal", "--workspace", str(workspace))
    assert answer.returncode == 1 and "is damaged" in answer.stderr, answer
    restored = cli("restore", "--workspace", str(workspace))
    assert restored.returncode == 0 and backup.stdout.strip() in restored.stdout, restored
    aside = [p for p in workspace.glob("data.db.before-*") if not p.name.endswith(("-wal", "-shm"))]
    assert len(aside) == 1 and aside[0].read_bytes() == damaged and str(aside[0]) in restored.stdout
    server.restart()
    assert "t29" in server.get("/tasks").text
    assert len(whole(database)["tasks"]) == 30
    assert server.post("/tasks", {"title": "goes on"}, **QUIETLY).status == 200


def test_what_a_crash_left_in_the_wal_is_not_played_into_the_restored_database(start, workspace):
    server = start()
    for n in range(30): server.post("/tasks", {"title": f"old {n}", "notes": "so many words " * 40}, **QUIETLY)
    server.stop()
    server.restart()
    assert server.cli("backup").returncode == 0
    for n in range(30): server.post("/tasks", {"title": f"new {n}", "notes": "and others " * 40}, **QUIETLY)
    server.kill()
    database = workspace / "data.db"
    with database.open("r+b") as file: half(file, database.stat().st_size)
    damaged = database.read_bytes(), (workspace / "data.db-wal").read_bytes()
    assert "is damaged" in cli("journal", "--workspace", str(workspace)).stderr
    assert (database.read_bytes(), (workspace / "data.db-wal").read_bytes()) == damaged, "not even its WAL is touched"
    restored = cli("restore", "--workspace", str(workspace))
    assert restored.returncode == 0, restored
    assert len(whole(database)["tasks"]) == 30
    kept = next(workspace.glob("data.db.before-*-wal"))
    assert (kept.with_name(kept.name.removesuffix("-wal")).read_bytes(), kept.read_bytes()) == damaged


def test_restore_with_no_good_backup_says_so_and_keeps_what_is_there(start, workspace):
    start().stop()
    for path in (workspace / "backups").iterdir(): path.write_bytes(b"SQLite format 3\0" + os.urandom(9000))
    (workspace / "data.db").write_bytes(before := os.urandom(20_000))
    answer = cli("restore", "--workspace", str(workspace))
    assert answer.returncode == 1 and "is damaged" in answer.stderr and "another backup" in answer.stderr, answer
    assert (workspace / "data.db").read_bytes() == before


# ── D6: a read-only workspace

@linux
@pytest.mark.parametrize("what", ["new", "used", "file"])
def test_a_read_only_workspace_is_said_within_3_seconds(start, workspace, what, mounts):
    if what == "new": workspace.mkdir()
    else: start().stop()
    frozen = workspace / "data.db" if what == "file" else workspace
    begun = time.monotonic()
    found = subprocess.run([*namespace(f"mount --bind {frozen} {frozen} && mount -o remount,ro,bind {frozen}"), *SOLOLITH, str(workspace),
                            "--port", "0", "--no-open"], capture_output=True, text=True, timeout=60, env=environment())
    assert time.monotonic() - begun < 3 * patience()
    assert found.returncode == 1 and not found.stdout
    assert str(frozen) in found.stderr and "cannot be written to" in found.stderr and "writable" in found.stderr, found.stderr
    assert "Traceback" not in found.stderr and len(found.stderr) < 500


# ── D20: backups

def big(workspace: Path, rows: int) -> None:
    "Rows enough that a copy takes a while, written as an app would, in one undo."
    base, store, tasks = chapter("base"), chapter("store"), chapter("apps.tasks").tasks
    base.home.at(workspace).make()
    store.db.open(base.home.db)
    try:
        with store.db.group("tasks", "import", "many"):
            for n in range(rows): tasks.table.insert(title=f"old {n}", notes=random.Random(n).randbytes(2500).hex())
    finally: store.db.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=soak)])
def test_a_backup_made_during_writes_and_killed_in_the_middle_leaves_the_last_good_one(start, workspace, rounds):
    def halves() -> list[Path]: return [*workspace.glob("backups/.*.part"), *workspace.glob(".run/tmp*/*")]
    big(workspace, 800)
    server = start()
    storm = Storm(server, 1, [])
    wait_for(lambda: len(storm.done["add"]) > 5, what="some writes")
    known = list(storm.done["add"])
    made = server.cli("backup")
    assert made.returncode == 0, made
    good = Path(made.stdout.strip())
    before = good.read_bytes()
    for turn in range(rounds):
        wait_for(lambda: not halves(), what="the start, which clears away what a killed backup leaves, and makes the day's own")
        started = threading.Thread(target=server.cli, args=("backup",), kwargs={"limit": 30})
        started.start()
        wait_for(halves, what="a backup that is half done")
        time.sleep(0.03 * turn)
        server.kill()
        started.join()
        storm.over()
        assert [p for p in workspace.glob("backups/*.zip") if p != good] == [], "a half backup passes for a whole one"
        assert good.read_bytes() == before
        server.restart()
        storm = Storm(server, turn + 2, [])
    server.kill()
    storm.over()
    restored = cli("restore", str(good), "--workspace", str(workspace))
    assert restored.returncode == 0, restored
    found = whole(workspace / "data.db")["tasks"].values()
    names = [row["title"] for row in found]
    assert set(known) <= set(names) and len(names) >= 800, "the backup is not as things stood when it was made"
    aside = next(p for p in workspace.glob("data.db.before-*") if not p.name.endswith(("-wal", "-shm")))
    assert len(whole(aside)["tasks"]) > len(names), "what was there before the restore is kept, with all that came later"
    server.restart()
    wait_for(lambda: not halves(), what="the day's own backup")


@linux
@pytest.mark.parametrize("calls", [("rename,renameat,renameat2", "link,linkat"), pytest.param(("rename,renameat,renameat2", "link,linkat", "fdatasync,fsync", "pwrite64", "unlink,unlinkat"), marks=soak)])
def test_a_restore_that_is_killed_at_any_step_leaves_the_old_or_the_restored_state(start, workspace, tmp_path, calls):
    server = start()
    server.post("/tasks", {"title": "then"})
    made = Path(server.cli("backup").stdout.strip())
    server.post("/tasks", {"title": "now"})
    server.kill()  # and not stopped: the newest is in the WAL only
    seen = []
    for call in calls:
        for step in range(1, 200):
            copy = tmp_path / f"{call[:4]}{step}"
            shutil.copytree(workspace, copy)
            done = subprocess.run(["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={step}", "-e", "signal=none",
                                   *SOLOLITH, "restore", str(made), "--workspace", str(copy)], capture_output=True, text=True, timeout=30, env=environment())
            whole(copy / "data.db")
            seen.append(titles(copy / "data.db"))
            assert seen[-1] in (["then"], ["then", "now"])
            if seen[-1] == ["then"]: assert any(titles(p) == ["then", "now"] for p in copy.glob("data.db.before-*") if p.name[-1].isdigit())
            shutil.rmtree(copy)
            if done.returncode >= 0: break
        assert done.returncode == 0, done
    assert ["then"] in seen and ["then", "now"] in seen and len(seen) >= 4, seen


def test_two_restores_within_a_second_keep_aside_both_states(start, workspace):
    server = start()
    server.post("/tasks", {"title": "zero"})
    made = server.cli("backup").stdout.strip()
    for title in ("one", "two"):
        server.post("/tasks", {"title": title})
        assert server.cli("restore", made).returncode == 0
        assert titles(workspace / "data.db") == ["zero"]
    aside = sorted(p for p in workspace.glob("data.db.before-*") if p.name[-1].isdigit())
    assert [titles(p) for p in aside] == [["zero", "one"], ["zero", "two"]]


# ── D21: nothing but SQLite opens the database

@linux
def test_nothing_but_sqlite_opens_the_database_files(start, workspace, tmp_path, plugin):
    start().stop()
    trace, live = tmp_path / "trace", [workspace / f"data.db{end}" for end in ("", "-wal", "-shm")]
    (workspace / "files" / "data.db").write_bytes(b"SQLite format 3\0")
    (workspace / "files" / "link.txt").symlink_to(workspace / "data.db")
    paths = [arg for path in live for arg in ("-P", str(path), "-P", path.name, "-P", f"../{path.name}")]
    server = start(before=["strace", "-f", "-qq", "--seccomp-bpf", "-k", "-e", "signal=none", "-e", "trace=open,openat,openat2,creat", *paths, "-o", str(trace)])
    assert server.post("/tasks", {"title": "one"}, **QUIETLY).status == 200
    for path in ("/", "/tasks", "/journal", "/files/data.db", "/files/../data.db", "/files/..%2fdata.db", "/files/link.txt", "/data.db", "/tasks/export.csv"):
        answer = server.get(path)
        assert b"SQLite format" not in answer.body, path
    for verb in (["backup"], ["export", str(tmp_path / "x.zip")], ["export", str(tmp_path / "x.csv"), "--app", "tasks"], ["journal"], ["restore"]):
        done = server.cli(*verb)
        assert done.returncode == 0, done
    child = int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text())
    os.kill(child, signal.SIGTERM)  # strace itself takes no SIGTERM
    server.process.wait(10)  # type: ignore[union-attr]
    opens = [block for block in re.split(r"\n(?=\d+ +open)", trace.read_text()) if "= -1" not in block.split("\n")[0]]
    assert len(opens) >= 6, "the trace saw hardly anything"
    for block in opens:
        call, *stack = block.strip().split("\n")
        assert any("/apsw/" in frame for frame in stack[:3]), f"opened by something else than SQLite:\n{call}\n" + "\n".join(stack[:8])


# ── D23: adding a column

GOOD = '''from sololith import *

@dataclass
class Good:
    name: str
{more}
goods = crud(Good)
'''
OPEN_IT = "import sys\nfrom pathlib import Path\nfrom sololith import *\nhome.at(sys.argv[1]).make(); db.open(home.db); loader.start()\nprint(list(plugins))"


def columns(database: Path) -> set[str]: return {row["name"] for row in read(database, "PRAGMA table_info(goods)")}


@linux
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=soak)])
def test_kill_9_at_each_step_of_adding_a_column_leaves_the_old_or_the_new_schema(start, workspace, tmp_path, plugin, times):
    plugin("goods", GOOD.format(more=""))
    server = start()
    for n in range(40): server.post("/goods", {"name": f"g{n}"}, **QUIETLY)
    server.stop()
    old, seen, ended = columns(workspace / "data.db"), [], False
    plugin("goods", GOOD.format(more='    price: Decimal = Decimal("2.50")\n    is_sold: bool = True\n    tags: Tags = field(default_factory=lambda: ["x"])\n'))
    calls = ("pwrite64", "fdatasync", "ftruncate")
    for at in range(times):
        for call in calls:
            for step in range(1, 100):
                copy = tmp_path / f"w{at}{call}{step}"
                shutil.copytree(workspace, copy)
                files = [arg for end in ("", "-wal") for arg in ("-P", f"{copy}/data.db{end}")]
                command = ["strace", "-f", "-qq", "-o", os.devnull, *files, "-e", f"trace={','.join(calls)}", "-e", f"inject={call}:signal=KILL:when={step}",
                           "-e", "signal=none", sys.executable, "-c", OPEN_IT, str(copy)]
                path = environment()
                done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=path | {"PYTHONPATH": path.get("PYTHONPATH") or str(Path(SOLOLITH[-1]).parent)})
                ended = done.returncode >= 0
                assert not ended or "goods" in done.stdout, done
                now = columns(copy / "data.db")
                seen.append(now - old)
                assert old <= now and now - old in (set(), {"price", "is_sold", "tags"}), "a schema that is neither old nor new"
                assert len(whole(copy / "data.db")["goods"]) == 40
                if ended: break
                if step % 8 == 1 and call == "pwrite64":  # and then it starts, and has it all
                    again = start(workspace=copy)
                    assert "2.50" in again.get("/goods").text
                    again.kill()
                    assert columns(copy / "data.db") - old == {"price", "is_sold", "tags"}
                shutil.rmtree(copy)
            assert ended, f"more than 100 steps of {call}"
    assert set() in seen, "no kill came before the change was there"
    assert len(seen) > 6 * times, f"only {len(seen)} steps"
