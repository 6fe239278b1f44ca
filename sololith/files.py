"""Files in files/ are added, moved and deleted through the journal, so that all of it can be undone.

    entry = change_files([("a.txt", "sub/b.txt")], "moved a.txt")     # all or none, as one journal entry
    db.undo(entry)                                                    # and it is back

A move is a record (source, target): with the record the thing goes to its target, without it (undo) back. What is
deleted, or not yet added, lies in .trash/, which is never emptied. Each move is noted in .run/moving before it is
made; those that a crash kept from their commit are taken back at the next start.
"""
import contextlib, json, os, re, secrets, stat
from typing import Any
from collections.abc import Callable, Iterable
from .base import *
from .fields import clip
from .forms import UNSEEN, folder_inside, save_upload
from .store import db

DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)  # for Windows, to which a file may go one day


def gone() -> Problem:
    return Problem("There is no such file.", fix="It may have been moved or deleted: see the journal.", status=404)


def path_of(text: Any) -> str:
    "A path in files/, every name in which may be seen."
    if text and any(map(UNSEEN.search, str(text).split("/"))): raise gone()
    return str(text or "")


def file_name(text: str) -> str:
    "A name for a file, as it is typed."
    name = text.strip()
    if UNSEEN.search(name) or DEVICE.match(name) or "/" in name or len(name) > 120 or len(name.encode()) > 240:
        raise Problem(f"“{clip(name, 40)}” cannot be a name here.", status=422,
            fix="Give at most 120 letters, no slash, no dot in front, no .db, and nothing like CON or NUL.")
    return name


def facts_of(path: str, folder: int | None = None) -> os.stat_result | None:
    "What is at a path, or under a name in an open folder, if it is a file or folder and no link."
    *up, name = path.split("/")
    opened = folder_inside(home.files, up) if folder is None else contextlib.nullcontext(folder)
    with contextlib.suppress(OSError), opened as at:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
        return found if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) else None


def found_in(folder: str, words: list[str], folders_only: bool = False) -> list[tuple[str, os.stat_result]]:
    "What is in a folder; with `words`, what is in it or below and has all of them in its name."
    found = []
    try:
        with folder_inside(home.files, folder.split("/") if folder else []) as top:
            for at, folders, names, here in os.fwalk(".", dir_fd=top):
                folders[:] = [name for name in folders if not UNSEEN.search(name)]
                for name in folders if folders_only else [*folders, *names]:
                    if UNSEEN.search(name) or not all(w in name.lower() for w in words): continue
                    path = "/".join([folder, *at.split("/")[1:], name]).strip("/")
                    if facts := facts_of(name, here): found.append((path, facts))
                if not words: break
    except OSError: raise gone() from None
    return found


def chosen(paths: Iterable[Any]) -> list[str]:
    "The paths, without those inside others of them."
    paths = sorted({path_of(path) for path in paths if path})
    return [p for p in paths if not any(p.startswith(f"{other}/") for other in paths)]


# ─── changes ───

def change_files(moves: list[tuple[str, str]], told: str) -> int:
    "Move things from source to target, all or none; the journal entry that takes it back."
    if not moves: raise Problem("Nothing is selected.", fix="Choose some files first.")
    verb = told.partition(" ")[0]
    with db.group("files", verb, told) as entry:
        for source, target in moves:
            db.change("files", None, dict(source=source, target=target), verb, f"{verb} {source}")
    return entry


def follow_files(before: dict | None, after: dict | None) -> Callable[[], None]:
    row = after or before or {}
    source, target = (row["source"], row["target"]) if after else (row["target"], row["source"])
    if not (thing := facts_of(source)):
        raise Problem(f"{source.rpartition('/')[2]} is not where it was.",
            fix="Undo what was done to it later, or look for it.", status=409)
    with (home.run / "moving").open("a" if db.ways_back else "w") as note:  # of the running transaction
        print(json.dumps([row["id"], bool(after), source, target, thing.st_ino]), file=note, flush=True)
        os.fsync(note.fileno())
    move_file(source, target)
    def back() -> None:
        with contextlib.suppress(Problem): move_file(target, source)
    return back


def move_file(source: str, target: str) -> None:
    "Move a file or folder, over nothing."
    (*up, name), (*down, new) = source.split("/"), target.split("/")
    if os.path.lexists(home.files / target):
        raise Problem(f"{new} is there already.", fix="Give another name, or move that one away.", status=409)
    try:
        (home.files / ".trash").mkdir(exist_ok=True)
        with folder_inside(home.files, up) as a, folder_inside(home.files, down) as b:
            os.rename(name, new, src_dir_fd=a, dst_dir_fd=b)
            for folder in (a, b): os.fsync(folder)
    except OSError as e:
        raise Problem(f"{name} cannot be moved: {e.strerror}.", fix="See whether its folder is there.",
            status=409) from e


def in_trash(path: str) -> str:
    "A new place in the trash for what is at a path."
    return f".trash/{secrets.token_hex(4)}-{path.rpartition('/')[2][:60]}"


def new_folder(path: str) -> str:
    "Make a folder in the trash, from where it can be moved to its path."
    (home.files / (place := in_trash(path))).mkdir(parents=True)
    return place


def add_files(folder: str, uploads: list[Any]) -> list[tuple[str, str]]:
    "Keep uploads in the trash; the moves that add them to a folder, under names as near to their own as can be."
    if folder and not facts_of(folder): raise gone()
    moves: dict[str, str] = {}
    for upload in uploads:
        name = re.sub(r"[^\w .,()&+=@'-]+", "-", upload.filename.replace("\\", "/").rpartition("/")[2])
        name = name.encode(errors="ignore")[-200:].decode(errors="ignore")[-100:].strip(" .-") or "file"
        path = f"{folder}/{file_name('file-' * bool(DEVICE.match(name)) + name)}".strip("/")
        it, n = Path(path), 1
        while path in moves or os.path.lexists(home.files / path):
            path = it.with_name(f"{it.stem} ({(n := n + 1)}){it.suffix}").as_posix()
        moves[path] = in_trash(path)
    for upload, place in zip(uploads, moves.values(), strict=True): move_file(save_upload(upload), place)
    return [(place, path) for path, place in moves.items()]


def mend_files() -> None:
    "Take back the moves that were noted, but not committed."
    db.execute("CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY, source TEXT, target TEXT)")
    note = home.run / "moving"
    for line in reversed(note.read_text().splitlines() if note.exists() else []):
        with contextlib.suppress(ValueError, OSError, Problem):
            record, is_made, source, target, thing = json.loads(line)
            is_there = db.one("SELECT 1 FROM files WHERE id=?", [record]) is not None
            if is_there != is_made and os.lstat(home.files / target).st_ino == thing: move_file(target, source)


db.followers["files"] = follow_files
db.openers.append(mend_files)
