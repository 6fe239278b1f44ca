"""The one SQLite file: typed tables, settings, the journal that nothing escapes, undo, search, backups.

    recipes = table(Recipe)                          # MiniDataAPI: typed both ways, every value bound
    soup = recipes.insert(title="Soup")              # a Recipe with its id
    recipes(where="servings > ?", where_args=[2], order_by="title", limit=10)
    recipes.update(id=soup.id, servings=4); recipes.delete(soup.id); recipes[soup.id]; recipes.xtra(course="main")()
    store["theme"] = "dark"                          # DictLikeDB: JSON by key
    with db.group("recipes", "import", "imported 3 recipes"): …   # one undo
    db.undo(entry_id)                                # a new entry with the inverse; undo of an undo is redo

Each write is `db.change(table, before, after)`: the raw row, its search text and its journal entry in one
transaction. It goes by what the file says of its columns, so undo also works for an app that is not loaded. Writes
share one connection and a lock; reads outside a transaction use a second one and never wait. A transaction may not
contain `await`. The journal is append-only: triggers refuse anything else.
"""
import asyncio, contextlib, copy, json, os, re, threading
from contextvars import ContextVar
from datetime import datetime, timedelta, UTC
from pathlib import Path
from typing import Any
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
import apsw
from .base import Problem, did_you_mean, replacing
from .fields import KINDS, Field, clip, fields_of, from_sql, to_sql, typed_values

actor: ContextVar[str] = ContextVar("actor", default="person")  # person, model, pipeline, schedule, cli, mcp
cause: ContextVar[str] = ContextVar("cause", default="")        # the turn, run, command or form behind a change
group_id: ContextVar[int | None] = ContextVar("group_id", default=None)

SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL,
  cause TEXT NOT NULL, app TEXT NOT NULL, verb TEXT NOT NULL, record_id INTEGER, summary TEXT NOT NULL, before TEXT,
  after TEXT, part_of INTEGER, undone_by INTEGER);
CREATE INDEX IF NOT EXISTS journal_record ON journal(app, record_id, id);
CREATE INDEX IF NOT EXISTS journal_part ON journal(part_of) WHERE part_of IS NOT NULL;
CREATE INDEX IF NOT EXISTS journal_cause ON journal(cause) WHERE cause != '';
CREATE TABLE IF NOT EXISTS numbers (id INTEGER PRIMARY KEY, app TEXT UNIQUE NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(title, body, content='', contentless_delete=1, prefix='2 3',
  tokenize='unicode61 remove_diacritics 2');
CREATE TABLE IF NOT EXISTS settings (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, value "TEXT JSON");
""" + "".join(f"""CREATE TRIGGER IF NOT EXISTS journal_{name} BEFORE {event}
  BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
""" for name, event in dict(kept="DELETE ON journal",
    fixed="UPDATE OF id, at, actor, cause, app, verb, record_id, summary, before, after, part_of ON journal",
    undone="UPDATE OF undone_by ON journal WHEN OLD.undone_by IS NOT NULL",
    new="INSERT ON journal WHEN EXISTS (SELECT 1 FROM journal WHERE id = NEW.id)").items())


# Words that say nothing of what a question is about.
COMMON = set("""about and are aus bei can das dem den der did die does dir for from had has hast have hat how ich ist know
    konnte mein meine mir mit remember sag say sich sind tell that the their them they this und und von was were what when
    where which who why wie wir with wo you your über""".split())


def quoted(name: str) -> str: return '"' + name.replace('"', '""') + '"'
def dumps(value: Any) -> str: return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Damaged(Problem): "The database file is not whole."


DAMAGE = (apsw.NotADBError, apsw.CorruptError)


class Database:
    "One SQLite file with its journal; safe from any thread. `db` is the one that is open."
    def __init__(self) -> None:
        self.lock, self.read_lock = threading.RLock(), threading.RLock()
        self.writer: Any = None; self.reader: Any = None  # while no file is open
        self.path, self.depth, self.task, self.pending = Path(), 0, None, []
        self.fleeting: dict[str, set[str]] = {}    # table → columns that change by themselves: not journalled
        self.listeners: list[Callable[[list[dict]], None]] = []   # called after each commit with its entries
        self.openers: list[Callable[[], None]] = []               # called once a file has been opened
        # table → what a change of a row does outside the database (before, after); it returns the way back from it
        self.followers: dict[str, Callable[[dict | None, dict | None], Callable[[], None]]] = {}
        self.ways_back: list[Callable[[], None]] = []             # of the running transaction, for when it fails
        self.columns: dict[str, dict[str, str]] = {}              # table → column → declared type
        self.numbers: dict[str, int] = {}                         # app → its number, for search

    def open(self, path: Path) -> None:
        "Open (or make) the file and check it. Raises Damaged, or Problem where it cannot be read or written."
        if apsw.sqlite_lib_version() < "3.51.3":
            raise Problem(f"SQLite {apsw.sqlite_lib_version()} can corrupt files.",
                fix="Install apsw 3.51.3 or later.")
        self.path = path
        try:
            self.writer = connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            if self.writer.readonly("main"): raise apsw.ReadOnlyError("it is read-only")
            quick_check(self.writer)
            self.writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
            with self.writer: self.writer.execute(SCHEMA)
            self.reader = connect(path, apsw.SQLITE_OPEN_READONLY)
        except apsw.Error as e:
            self.close()
            if isinstance(e, DAMAGE):
                raise Damaged(f"{path} is damaged: {clip(e, 200)}.", fix="It is left as it is. `sololith restore` puts "
                    "the newest good backup in its place and keeps the damaged file beside it.") from e
            raise Problem(f"{path} cannot be written to: {clip(e, 200)}.",
                fix="Make the workspace writable, or give another.") from e
        self.columns.clear()
        self.numbers = {row["app"]: row["id"] for row in self.query("SELECT * FROM numbers")}
        for opened in self.openers: opened()

    def close(self) -> None:
        with self.lock, self.read_lock:
            for connection in (self.reader, self.writer):
                if connection: connection.close()
            self.reader = self.writer = None

    # ─── reading ───

    def is_inside(self) -> bool:
        "Whether whoever asks is in a transaction."
        if not self.writer: raise Problem("No workspace is open.", fix="Start with `sololith`, or open one first.")
        return bool(self.depth) and self.task == current_task()

    def query(self, sql: str, args: Any = ()) -> list[dict]:
        "The rows that a SELECT gives, as dicts. Inside a transaction it sees what that transaction wrote."
        inside = self.is_inside()
        with (self.lock if inside else self.read_lock):
            rows, names = [], None
            try: cursor = (self.writer if inside else self.reader).execute(sql, args)
            except OverflowError as e:
                raise Problem("There is no number that large here.", fix="They end at 2^63.", status=404) from e
            for row in cursor:
                names = names or [column[0] for column in cursor.get_description()]
                rows.append(dict(zip(names, row, strict=True)))
            return rows

    def first(self, sql: str, args: Any = ()) -> Any:
        "The first row, or None."
        return next(iter(self.query(sql, args)), None)

    def one(self, sql: str, args: Any = ()) -> Any:
        "The first value of the first row, or None."
        return next(iter((self.first(sql, args) or {}).values()), None)

    # ─── writing ───

    @contextlib.contextmanager
    def transaction(self) -> Generator[None, None, None]:
        "All or nothing; nests. Listeners hear of the entries once the outermost one has been committed."
        done: list[dict] = []
        with self.lock:
            if not self.is_inside() and self.depth: raise RuntimeError("a transaction may not contain an await")
            self.task, mark, way = current_task(), len(self.pending), len(self.ways_back)
            self.depth += 1
            try:
                with self.writer: yield
            except BaseException as e:
                del self.pending[mark:]
                while len(self.ways_back) > way: self.ways_back.pop()()
                self.columns.clear()  # a table or column made in here is gone again
                if isinstance(e, apsw.FullError): raise DISK_FULL from e
                raise
            finally: self.depth -= 1
            if not self.depth: done, self.pending, self.ways_back = self.pending, [], []
        if done:
            for listener in self.listeners: listener(done)

    def execute(self, sql: str, args: Any = ()) -> None:
        "Run a statement that is not journalled (schema, bookkeeping)."
        with self.transaction(): self.writer.execute(sql, args)

    def change(self, app: str, before: dict | None, after: dict | None, verb: str = "", summary: str = "") -> dict:
        """Insert (no `before`), delete (no `after`) or update a raw row of table `app`; its journal entry.
        For an update `before` is the whole row and `after` holds the columns that change."""
        with self.transaction():
            if before is None:
                assert after is not None
                after = row = {"id": None, **after}
                row["id"] = self.add(app, row)
                done, told = "insert", f"added {self.title_of(app, row)}"
            elif after is None:
                done, row, told = "delete", before, f"deleted {self.title_of(app, before)}"
                self.execute(f"DELETE FROM {quoted(app)} WHERE id=?", [row["id"]])
            else:
                done, row = "update", before | after
                after = {n: v for n, v in after.items() if before.get(n) != v or type(before.get(n)) is not type(v)}
                if not after: return {}
                columns = ",".join(f"{quoted(n)}=?" for n in after)
                self.writer.execute(f"UPDATE {quoted(app)} SET {columns} WHERE id=?", [*after.values(), row["id"]])
                told = f"changed {self.title_of(app, before)}: " + ", ".join(
                    f"{n} {self.told(app, n, before.get(n))} → {self.told(app, n, v)}" for n, v in after.items())
                before = {n: before.get(n) for n in after}
            if follow := self.followers.get(app): self.ways_back.append(follow(before, after))
            if app in self.numbers: self.index(app, row, is_gone=after is None)
            if done == "insert": after = {n: v for n, v in row.items() if n not in self.fleeting.get(app, ())}
            return self.enter(app, verb or done, row["id"], summary or clip(told, 200), before, after)

    def add(self, app: str, row: dict) -> int:
        "Insert a raw row, in a transaction that is under way; its id."
        self.writer.execute(f"INSERT INTO {quoted(app)} ({','.join(map(quoted, row))}) "
            f"VALUES ({','.join('?' * len(row))})", [*row.values()])
        return self.writer.last_insert_rowid()

    def enter(self, app: str, verb: str, record_id: int | None, summary: str, before: dict | None = None,
            after: dict | None = None) -> dict:
        "Write one journal entry; the entry."
        entry = dict(at=datetime.now(UTC).isoformat("T", "milliseconds"), actor=actor.get(), cause=cause.get(),
            app=app, verb=verb, record_id=record_id, summary=summary, part_of=group_id.get())
        sides = dict(before=before and dumps(before), after=after and dumps(after))
        entry["id"] = self.add("journal", entry | sides)
        self.pending.append(entry)
        return entry

    @contextlib.contextmanager
    def group(self, app: str, verb: str, summary: str) -> Generator[int, None, None]:
        "What is changed inside is one entry with parts, and one undo. A group inside a group joins it."
        with self.transaction():
            if (head := group_id.get()) is not None:
                yield head
                return
            head = self.enter(app, verb, None, summary)["id"]
            token = group_id.set(head)
            try: yield head
            finally: group_id.reset(token)

    def columns_of(self, app: str) -> dict[str, str]:
        if app not in self.columns:
            self.columns[app] = {row["name"]: row["type"] for row in self.query(f"PRAGMA table_info({quoted(app)})")}
        return self.columns[app]

    def title_of(self, app: str, row: Mapping) -> str:
        "A row's name for people: its first text, in quotes, else its number."
        named = next((row[n] for n, kind in self.columns_of(app).items() if kind == "TEXT" and row.get(n)), "")
        return f"“{clip(getattr(named, 'value', named), 50)}”" if named else f"no. {row.get('id')}"

    def told(self, app: str, name: str, value: Any) -> str:
        "A raw value as the journal tells it."
        if value is None or value == "": return "empty"
        if self.columns_of(app).get(name) == "INTEGER BOOL": return "yes" if value else "no"
        return clip(value, 40)

    # ─── the journal and undo ───

    def entries(self, where: str = "1", args: Iterable = (), limit: int = 50, offset: int = 0) -> list[dict]:
        "Journal entries, newest first."
        return self.query(f"SELECT * FROM journal WHERE {where} ORDER BY id DESC LIMIT ? OFFSET ?",
            [*args, limit, offset])

    def last_id(self, app: str = "", record_id: int | None = None) -> int:
        "The id of the newest entry (of a record): its version."
        where, args = ("app=? AND record_id=?", [app, record_id]) if app else ("1", [])
        return self.one(f"SELECT max(id) FROM journal WHERE {where}", args) or 0

    def undo(self, entry_id: int | None = None, redo: bool = False) -> dict:
        """Take back an entry (with its parts), by default the newest one that still stands; the new entry.
        Raises Problem (409) where a record has changed since, and 404 where there is nothing to undo."""
        with self.transaction():
            standing = f"undone_by IS NULL AND part_of IS NULL AND verb {'=' if redo else '!='} 'undo'"
            args = [] if entry_id is None else [str(entry_id)]  # as text it may be of any size
            entry = next(iter(self.entries("id=?" if args else standing, args, limit=1)), None)
            if not entry:
                raise Problem(f"There is no journal entry {entry_id}." if args
                    else f"There is nothing to {'redo' if redo else 'undo'}.", fix="See `sololith journal`.", status=404)
            if entry["undone_by"]:
                raise Problem(f"Entry {entry['id']} is undone already, by entry {entry['undone_by']}.",
                    fix="Undo that one to redo this.", status=409)
            verb = "redo" if entry["verb"] == "undo" else "undo"
            summary = clip(f"{verb}: {entry['summary'].removeprefix('undo: ').removeprefix('redo: ')}", 200)
            if entry["before"] or entry["after"]: new = self.invert(entry, verb, summary)
            else:
                with self.group(entry["app"], verb, summary) as new:
                    for part in self.entries("part_of=? AND undone_by IS NULL", [entry["id"]], limit=-1):
                        self.invert(part, verb)
                self.mark(entry["id"], new)
            return self.entries("id=?", [new])[0]

    def invert(self, entry: dict, verb: str, summary: str = "") -> int:
        "Write the inverse of one change. Raises Problem where the record is not as that change left it."
        app, before, after = entry["app"], *(json.loads(entry[side] or "null") for side in ("before", "after"))
        if not self.columns_of(app): raise Problem(f"The table {app} is gone.", status=409)
        current = self.first(f"SELECT * FROM {quoted(app)} WHERE id=?", [entry["record_id"]])
        newest = self.entries("app=? AND record_id=?", [app, entry["record_id"]], limit=1)[0]
        name, later = self.title_of(app, current or json.loads(newest["before"] or newest["after"])), newest["id"]
        if (current is None) != (after is None):
            raise Problem(f"{name} {'is there again' if current else 'has been deleted'} since.",
                fix=f"Undo entry {later} first.", status=409)
        for n, v in (after or {}).items():
            if current[n] == v: continue
            raise Problem(f"{name} has changed since: {n} is {self.told(app, n, current[n])}, "
                f"not {self.told(app, n, v)}.", fix=f"Undo the later change (entry {later}) first.", status=409)
        new = self.change(app, current, before, verb, summary)["id"]
        self.mark(entry["id"], new)
        return new

    def mark(self, entry_id: int, by: int) -> None:
        self.execute("UPDATE journal SET undone_by=? WHERE id=?", [by, entry_id])

    # ─── search ───

    def index(self, app: str, row: dict, is_gone: bool = False) -> None:
        "Keep the search text of one row: the title is its first text, the body all the others."
        rowid = self.numbers[app] << 40 | row["id"]
        if is_gone: return self.execute("DELETE FROM search WHERE rowid=?", [rowid])
        title, *body = [str(row[n]) for n, kind in self.columns_of(app).items() if row.get(n)
            and kind in ("TEXT", "TEXT TAGS", "INTEGER") and n not in ("id", *self.fleeting.get(app, ()))] or [""]
        self.writer.execute("INSERT OR REPLACE INTO search(rowid, title, body) VALUES (?,?,?)",
            [rowid, title, " ".join(body)])

    def search(self, text: str, limit: int = 20) -> list[tuple[str, int]]:
        "The (app, record_id) pairs that hold every word of `text` (as a beginning), best first, titles before bodies."
        if not (match := match_of(text)): return []
        return self.hits("search MATCH ? ORDER BY bm25(search, 8, 1)", [match], limit)

    def related(self, text: str, limit: int = 5, app: str = "", where: str = "title") -> list[tuple[str, int]]:
        "The (app, record_id) pairs (of one app) that share words with `text` in their title, or body, best first."
        words = {w[:-1] if len(w) > 4 else w for w in re.findall(r"[^\W_]{3,}", text.lower()) if w not in COMMON}
        if not words: return []
        low, high = (self.numbers[app] << 40, self.numbers[app] + 1 << 40) if app else (0, 2**62)
        match = f"{where} : (" + " OR ".join(f'"{w}"*' for w in words) + ")"
        return self.hits("search MATCH ? AND rowid BETWEEN ? AND ? ORDER BY bm25(search)", [match, low, high], limit)

    def hits(self, where: str, args: list, limit: int) -> list[tuple[str, int]]:
        names = {number: app for app, number in self.numbers.items()}
        rows = self.query(f"SELECT rowid AS id FROM search WHERE {where} LIMIT ?", [*args, limit])
        return [(names[row["id"] >> 40], row["id"] & 2**40 - 1) for row in rows if row["id"] >> 40 in names]

    def matching(self, app: str, text: str) -> tuple[str, list]:
        "A condition on ids of table `app`, with its arguments: the records that hold every word of `text`."
        number = self.numbers[app] << 40
        if not (match := match_of(text)): return "0", []
        return (f"id IN (SELECT rowid - {number} FROM search WHERE search MATCH ? "
            f"AND rowid BETWEEN {number} AND {number + 2**40})"), [match]

    # ─── schema ───

    def ensure(self, app: str, fields: dict[str, Field]) -> None:
        "Make the table, or the columns it lacks. Nothing is ever dropped, and a changed type is refused."
        kinds = {n: "INTEGER" if f.kind == "choice" and not f.is_text else KINDS[f.kind].column
            for n, f in fields.items()}
        with self.transaction():
            existing = self.columns_of(app)
            if existing and app not in self.numbers:
                raise Problem(f"{app} is a table of Sololith's own.",
                    fix='Give another name: crud(Record, "other_name").')
            for n, kind in kinds.items():
                if n in existing and existing[n] != kind:
                    raise Problem(f"{app}.{n} is kept as {existing[n]}, and the new type wants {kind}.",
                        fix=f"Give the field another name (say {n}_2), and copy what you need: the old column "
                        "stays as it is.")
            self.execute(f"CREATE TABLE IF NOT EXISTS {quoted(app)} (id INTEGER PRIMARY KEY AUTOINCREMENT)")
            for n, field in fields.items():
                if n not in existing:
                    default = apsw.format_sql_value(to_sql(field, field.blank()))
                    self.execute(f"ALTER TABLE {quoted(app)} ADD COLUMN {quoted(n)} {quoted(kinds[n])} DEFAULT {default}")
                if field.kind == "relation" or n == "position":
                    self.execute(f"CREATE INDEX IF NOT EXISTS {quoted(f'{app}.{n}')} ON {quoted(app)}({quoted(n)})")
            self.execute("INSERT OR IGNORE INTO numbers(app) VALUES (?)", [app])
            self.columns.pop(app, None)
            self.numbers[app] = self.one("SELECT id FROM numbers WHERE app=?", [app])

    # ─── backups ───

    def copy_to(self, path: Path, source: Path | None = None) -> Path:
        "A whole, consistent copy of the database, made while others write; it is at `path` only once it is complete."
        try:
            with replacing(path) as part:
                part.unlink(missing_ok=True)
                with (contextlib.closing(connect(source or self.path, apsw.SQLITE_OPEN_READONLY)) as old,
                        contextlib.closing(apsw.Connection(str(part))) as new):
                    # one read transaction: writers do not disturb it; synced by SQLite (synchronous=FULL)
                    with new.backup("main", old, "main") as backup: backup.step(-1)
                    new.execute("PRAGMA journal_mode=DELETE")  # one file, readable where nothing can be written
        except apsw.FullError as e: raise DISK_FULL from e
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return path

    def backup(self, folder: Path, keep: int = 10, days: int = 7) -> Path:
        "Copy the database into `folder`; keep the newest `keep`, and the newest of each of the last `days` days."
        for part in folder.glob("*.db.part"): part.unlink(missing_ok=True)
        now = datetime.now()
        made = self.copy_to(folder / f"{now:%Y-%m-%dT%H-%M-%S.%f}.db")
        kept_days: set[str] = set()
        for at, path in enumerate(sorted(folder.glob("????-??-??T*.db"), reverse=True)):
            day = path.name[:10]
            if at >= keep and (day in kept_days or day < f"{now - timedelta(days=days):%Y-%m-%d}"): path.unlink()
            kept_days.add(day)
        return made

    def restore(self, path: Path) -> Path:
        "Put a checked copy of `path` in the database's place; the one it replaces is kept: its path is returned."
        try:
            with contextlib.closing(connect(path, apsw.SQLITE_OPEN_READONLY)) as check:
                quick_check(check)
                check.execute("SELECT undone_by FROM journal LIMIT 1")
        except DAMAGE as e:
            raise Damaged(f"{path} is damaged: {clip(e, 200)}.", fix="Choose another backup.") from e
        except apsw.Error as e:
            raise Problem(f"{path} is not a backup of a workspace: {clip(e, 200)}.",
                fix="Choose another file.") from e
        with self.lock, self.read_lock:
            was_open = bool(self.writer)
            self.close()
            aside = self.path.with_name(f"{self.path.name}.before-{datetime.now():%Y-%m-%dT%H-%M-%S.%f}")
            fresh = self.copy_to(self.path.with_name("restored.db"), path)
            for suffix in ("-wal", "-shm", ""):
                old = self.path.with_name(self.path.name + suffix)
                if old.exists(): (os.rename if suffix else os.link)(old, aside.with_name(aside.name + suffix))
            os.replace(fresh, self.path)  # there is a database at every instant, the old one or the new
            if was_open: self.open(self.path)
        return aside


DISK_FULL = Problem("The disk is full: nothing was written.",
    fix="Free some space and try again. Reading works as before.", status=507)


def connect(path: Path, flags: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(5000)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a damaged file is left as it is, and so is its WAL
    if flags & apsw.SQLITE_OPEN_READWRITE: connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON")
    return connection


def quick_check(connection: apsw.Connection) -> None:
    if (verdict := connection.execute("PRAGMA quick_check(1)").get) != "ok": raise apsw.CorruptError(verdict)


def current_task() -> Any:
    "What may own a transaction: the running task, or the thread where there is none."
    try: return asyncio.current_task() or threading.get_ident()
    except RuntimeError: return threading.get_ident()


def like_of(text: str) -> str: return "%" + re.sub(r"([!%_])", r"!\1", text[:1000]) + "%"  # for LIKE ? ESCAPE '!'
def match_of(text: str) -> str: return " ".join(f'"{word}"*' for word in re.findall(r"[^\W_]+", text[:2000])[:40])


db = Database()


class DataTable:
    """MiniDataAPI over one table, by default named after its record class in the plural. Records are instances of that
    class with an `id`; a relation is the other one's id."""
    def __init__(self, record: type, name: str = ""):
        self.record, self.name, self.fields, self.fixed = record, name or plural(record.__name__), fields_of(record), {}
        self.ready_for: Any = None
        if not hasattr(record, "id"): setattr(record, "id", None)  # noqa: B010 (a record class says nothing of ids)

    def ready(self) -> "DataTable":
        "Make the table in the open database, once."
        if self.ready_for is not db.writer or not db.writer:
            db.ensure(self.name, self.fields)
            if not db.is_inside(): self.ready_for = db.writer  # what a transaction made may be taken back with it
        return self

    def xtra(self, **fixed: Any) -> "DataTable":
        "This table, limited to records with these values, which are also given to new ones. Leaves this one as it is."
        limited = copy.copy(self)
        limited.fixed = self.fixed | self.raw(fixed)
        return limited

    def raw(self, values: dict[str, Any]) -> dict[str, Any]:
        "Typed or typed-in values as SQLite keeps them. Raises Problem with every field that is wrong."
        for name in values:
            if name not in self.fields:
                raise Problem(f"{self.name} has no field {name}.", fix=did_you_mean(name, self.fields))
        return {n: to_sql(self.fields[n], value) for n, value in typed_values(self.fields, values).items()}

    def made(self, row: dict) -> Any:
        "A row as a record."
        record = self.record(**{n: from_sql(f, row.get(n)) for n, f in self.fields.items()})
        record.id = row["id"]
        return record

    def rows(self, where: str = "", where_args: Iterable = (), order_by: str = "", limit: int | None = None,
            offset: int = 0, select: str = "*") -> list[dict]:
        "Raw rows. `where` is SQL with ? for values; `order_by` is 'field' or 'field desc', with commas."
        conditions = [f"({where})"] if where else []
        conditions += [f"{quoted(n)} IS ?" for n in self.fixed]
        order = []
        for part in filter(None, map(str.strip, order_by.split(","))):
            name, _, way = part.partition(" ")
            field = self.fields.get(name)
            if not field and name != "id" or way.lower() not in ("", "asc", "desc"):
                raise Problem(f"{self.name} cannot be ordered by {part!r}.", fix=did_you_mean(name, self.fields))
            is_decimal = field and field.kind == "decimal"
            order.append(f"CAST({quoted(name)} AS REAL) {way}" if is_decimal else f"{quoted(name)} {way}")
        sql = f"SELECT {select} FROM {quoted(self.name)}"
        if conditions: sql += f" WHERE {' AND '.join(conditions)}"
        if order: sql += f" ORDER BY {', '.join(order)}"
        if limit is not None or offset: sql += f" LIMIT {-1 if limit is None else int(limit)} OFFSET {int(offset)}"
        self.ready()
        return db.query(sql, [*where_args, *self.fixed.values()])

    def __call__(self, where: str = "", where_args: Iterable = (), order_by: str = "", limit: int | None = None,
            offset: int = 0) -> list[Any]:
        "The records that fit, as a list."
        return [self.made(row) for row in self.rows(where, where_args, order_by, limit, offset)]

    def count(self, where: str = "", where_args: Iterable = ()) -> int:
        return self.rows(where, where_args, select="count(*) AS n")[0]["n"]

    def row(self, record_id: Any) -> dict:
        found = self.rows("id=?", [record_id]) if isinstance(record_id, int) and abs(record_id) < 2**63 else []
        if not found:
            raise Problem(f"There is no {self.record.__name__.lower()} {clip(record_id)} in {self.name}.",
                fix="It may have been deleted: see the journal.", status=404)
        return found[0]

    def __getitem__(self, record_id: int) -> Any: return self.made(self.row(record_id))

    def __contains__(self, record_id: int) -> bool: return bool(self.rows("id=?", [record_id], select="id"))

    def values_of(self, record: Any, **kwargs: Any) -> dict:
        if record is None: return dict(kwargs)
        if isinstance(record, dict): return record | kwargs
        return {n: getattr(record, n) for n in ["id", *self.fields]} | kwargs

    def insert(self, record: Any = None, **kwargs: Any) -> Any:
        "Add a record (an instance, a dict or keywords); the record with its id. Raises Problem (422) for wrong values."
        values = self.values_of(record, **kwargs)
        record_id = values.pop("id", None)
        if record_id is not None and (type(record_id) is not int or not 0 < record_id < 2**40
                or db.query(f"SELECT 1 FROM {quoted(self.ready().name)} WHERE id=?", [record_id])):
            raise Problem(f"{clip(record_id)} cannot be the id of a new {self.record.__name__.lower()}.",
                fix="Leave the id out.", status=409)
        blank = {n: "" if f.is_required else f.blank() for n, f in self.fields.items() if n not in self.fixed}
        row = {"id": record_id} | self.ready().raw(blank | values) | self.fixed
        return self.made(row | {"id": db.change(self.name, None, row)["record_id"]})

    def update(self, record: Any = None, **kwargs: Any) -> Any:
        "Change a record, given whole or as `id` with some fields; the record as it is now."
        values = self.values_of(record, **kwargs)
        record_id = values.pop("id", None)
        with db.transaction():
            db.change(self.name, self.ready().row(record_id), self.raw(values))
            return self[record_id]

    def upsert(self, record: Any = None, **kwargs: Any) -> Any:
        "Update the record if its id is there, else insert it."
        values = self.values_of(record, **kwargs)
        return self.update(values) if values.get("id") and values["id"] in self else self.insert(values)

    def delete(self, record_id: int) -> None:
        "Delete a record; db.undo() brings it back."
        with db.transaction(): db.change(self.name, self.ready().row(record_id), None)


table = DataTable


def plural(word: str) -> str:
    "The table name of a class name: Recipe → recipes, ToDo → to_dos, Category → categories."
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()
    if re.search(r"[^aeiou]y$", word): return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh)$", word) else "s")


class Store(MutableMapping):
    "DictLikeDB: settings by key, as JSON. Journalled and undoable, but for `ui.…`: how the page looks."
    def row(self, key: str) -> Any: return db.first("SELECT * FROM settings WHERE key=?", [key])

    def __getitem__(self, key: str) -> Any:
        if not (found := self.row(key)): raise KeyError(key)
        return json.loads(found["value"])

    def __setitem__(self, key: str, value: Any) -> None: self.put(key, dumps(value))

    def __delitem__(self, key: str) -> None:
        if key not in self: raise KeyError(key)
        self.put(key, None)

    def put(self, key: str, text: str | None) -> None:
        "Keep `text`, which is JSON, or with None nothing."
        with db.transaction():
            if not key.startswith("ui."):
                db.change("settings", self.row(key), {"key": key, "value": text} if text else None)
            elif text: db.execute("INSERT OR REPLACE INTO settings(key, value) VALUES (?, ?)", [key, text])
            else: db.execute("DELETE FROM settings WHERE key=?", [key])

    def __iter__(self) -> Iterator[str]:
        return (row["key"] for row in db.query("SELECT key FROM settings ORDER BY key"))
    def __len__(self) -> int: return db.one("SELECT count(*) FROM settings")


store = Store()
