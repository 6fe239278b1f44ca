"""A dataclass becomes an app: table, list, forms, record pages, search, CSV, history, undo.

    recipes = crud(Recipe)                         # recipes(), recipes[1], recipes.insert(title="Soup")
    class RecipesApp(BaseApp):                     # or derive, for hooks
        record = Recipe
        def prepare_insert(self, data): ...        # change `data` or raise Problem; may return another dict
        def prepare_update(self, recipe, data): ...
        def render_item(self, recipe): ...         # your row, instead of one cell per column
        def register_routes(self, rt): super().register_routes(rt); …

The list's state is its address: q (search), sort (-field for descending), page, and f.FIELD for a filter. The
first text field is the record's name. A field `profile` that points to a record limits the app to
`store["profile"]`; a field `position` makes the order the person's own. Deleting a record empties the optional
relations that point to it, in the same undo; a required one forbids it.
"""
import contextlib, csv, difflib, functools, io, json, re, secrets, tempfile
from dataclasses import MISSING, replace
from html import escape
from typing import Any
from collections.abc import Iterable, Iterator, Mapping
from starlette.datastructures import QueryParams
from starlette.responses import StreamingResponse
from .base import *
from .events import changed, note
from .fields import DAY_WORDS, Choices, Field, Range, clip, day_called, field_of, from_sql, number, to_sql, typed_values
from .fields import value_of
from .forms import SELECT_MOST, Sent, as_text, control, labelled, link_button, picker, read_form
from .store import COMMON, cause, db, like_of, quoted, store, table
from .tools import TakenBack, Tool, add_tool, picked, tool
from .ui import commands, entry_item, head, icon, toast
from .values import csv_text, harmless, is_formula, show, show_as

PAGE = 50        # records on one page of a list
GAP = 1024       # between positions, so that most moves change one record only
OPEN = set("open undone unfinished incomplete pending todo offen offene offenen".split())   # of what has a switch is_done
DONE = set("finished completed complete erledigt erledigte erledigten fertig".split())
SMALL_WORDS = set("the a s that which is are of my with and those these ones one priority die der das mit und".split())
# of several, the one that is most so
EXTREMES = re.compile("(?P<new>newest|latest|neueste[nrs]?)|(?P<old>oldest|älteste[nrs]?)|(?P<big>biggest|largest|highest"
    "|größte[nrs]?|höchste[nrs]?)|(?:smallest|lowest|cheapest|kleinste[nrs]?|billigste[nrs]?)")


class Several(Problem): "More than one record fits, where one was meant."


class BaseApp:
    """One record class as an app, under its plural or the name given. The table's own methods (`app()`, `app[id]`,
    `count`, `xtra` …) work on the app too."""
    record: type
    name = ""
    section = "apps"                # of the navigation
    can_add = True                  # by a form or an import
    readonly: Iterable[str] = ()    # fields that are shown, but not asked for

    def __init__(self, record: type | None = None, name: str = "") -> None:
        self.record = record or self.record
        self.table = table(self.record, name or self.name)
        self.name, self.fields, self.url = self.table.name, self.table.fields, f"/{self.table.name}"
        self.title = self.name.replace("_", " ").capitalize()
        self.noun = self.record.__name__.lower()
        doc = self.record.__doc__ or ""
        self.description = "" if doc.startswith(f"{self.record.__name__}(") else doc.strip()
        for field in self.fields.values():
            if field.record: field.find = lambda text, field=field: target_of(field).find(text)
        plugin = loading.get()
        if self.name in plugin.apps:
            raise Problem(f"{plugin.name} makes two apps called {self.name}.",
                fix='Name one: crud(Record, "other_name").')
        plugin.apps[self.name] = self
        self.register_routes(rt)
        self.make_tools()

    def __call__(self, *args: Any, **kwargs: Any) -> list[Any]: return self.table(*args, **kwargs)
    def __getitem__(self, record_id: int) -> Any: return self.table[record_id]
    def __contains__(self, record_id: int) -> bool: return record_id in self.table
    def __getattr__(self, name: str) -> Any:
        if name == "table": raise AttributeError(name)
        return getattr(self.table, name)

    # ─── hooks ───

    def prepare_insert(self, data: dict) -> dict | None: "Change or refuse what is about to be added."
    def prepare_update(self, record: Any, data: dict) -> dict | None: "Change or refuse what is about to be changed."

    def render_item(self, record: Any) -> Any:
        "What stands in a record's row. None, unless the record draws itself: one cell per column."
        return record.__ft__() if hasattr(record, "__ft__") else None

    # ─── the four things that happen to records; forms, tools and the command line all come here ───

    def insert(self, record: Any = None, **kwargs: Any) -> Any:
        values = self.values_of(record, **kwargs)
        if "position" in self.fields and not values.get("position"):
            values["position"] = (self.rows(select="max(position) AS n")[0]["n"] or 0) + GAP
        return self.table.insert(self.prepare_insert(values) or values)

    def update(self, record: Any = None, **kwargs: Any) -> Any:
        values = self.values_of(record, **kwargs)
        now = self[values["id"]]
        return self.table.update((self.prepare_update(now, values) or values) | {"id": now.id})

    def delete(self, *record_ids: int) -> int:
        "Delete records; the journal entry that takes it back, whole, when undone."
        rows = [self.table.row(record_id) for record_id in record_ids]
        links = [(app, f, other) for app, f in self.referrers() for row in rows
            for other in app.rows(f"{quoted(f.name)}=?", [row["id"]]) if app is not self
            or other["id"] not in record_ids]
        if bound := [(app, other) for app, f, other in links if not f.is_optional]:
            app, other = bound[0]
            raise Problem(f"{len(bound)} of {app.title} belong to it, such as {db.title_of(app.name, other)}.",
                fix="Delete or move them first.", status=409)
        if len(rows) == 1 and not links: return db.change(self.name, rows[0], None)["id"]
        name = db.title_of(self.name, rows[0]) if len(rows) == 1 else f"{len(rows):,} {self.title.lower()}"
        with db.group(self.name, "delete", f"deleted {name}") as entry:
            for app, f, other in links: db.change(app.name, app.table.row(other["id"]), {f.name: None})
            for row in rows: db.change(self.name, self.table.row(row["id"]), None)
        return entry

    def move(self, record_id: int, after: int | None, before: int | None) -> int | None:
        "Put a record between two others (None: the end); the journal entry that takes it back, if it moved."
        with db.transaction():
            ends: list[Any] = [self.table.row(other)["position"] if other else None for other in (after, before)]
            low, high = ends
            if low is None and high is None: return None
            low, high = high - 2 * GAP if low is None else low, low + 2 * GAP if high is None else high
            row, position = self.table.row(record_id), (low + high) // 2
            told = f"moved {self.label(row)}"
            if low < position < high:
                return db.change(self.name, row, {"position": position}, summary=told).get("id")
            order = [r["id"] for r in self.rows(order_by="position, id", select="id") if r["id"] != record_id]
            order.insert(order.index(before), record_id)
            with db.group(self.name, "update", told) as entry:  # no gap is left: number all anew
                for n, other in enumerate(order, 1):
                    db.change(self.name, self.table.row(other), {"position": n * GAP})
            return entry

    # ─── what a record is called, and what it hangs together with ───

    def label(self, row: Mapping) -> str: return db.title_of(self.name, row).strip("“”")
    def label_of(self, record_id: int) -> str: return self.label(self.table.row(record_id))

    def labels(self, ids: Iterable[int]) -> dict[int, str]:
        return {row["id"]: self.label(row) for row in self.rows(*among({i for i in ids if i}))}

    def find(self, text: str) -> int | None:
        "The id of a record by its number, or by its exact name among those of the current profile."
        if number(text) in self: return number(text)
        name = self.first_text()
        found = self.here().rows(f"{quoted(name)} = ? COLLATE NOCASE", [text], limit=2, select="id") if name and text else []
        return found[0]["id"] if len(found) == 1 else None

    def pick(self, text: str) -> list[int]:
        """The ids of the records that words name: a number, a name, a part that only one has, or what several share: all,
        done, not done, overdue, high. Raises Problem where nothing fits, and with all that fit where one was meant."""
        words = re.sub(rf"^{self.noun}: |^(the )?({self.noun}|no\.?) ?(?=#?\d)|[“”\"]", "", text.strip(), flags=re.I)
        words = words.lstrip("#").strip()
        if (found := self.find(words) or self.find(text.strip())) is not None: return [found]
        nothing = Problem(f"There is no {self.noun} “{clip(text)}”.", fix="See what there is.", status=404)
        if re.fullmatch(r"[\d.-]*", words) or len(words) > 1000: raise nothing  # a number is no part of a name
        here, called = self.here(), self.first_text()
        if shared := self.shared(words): return [row["id"] for row in here.rows(*shared, select="id")]
        rows = here.rows(f"{quoted(called)} LIKE ? ESCAPE '!'", [like_of(words)], limit=50) if called else []
        known = " ".join(w for w in re.findall(r"[^\W_]+", words)
            if w.lower() not in {*COMMON, *SMALL_WORDS, self.noun, self.name})
        if not rows: rows = here.rows(*db.matching(self.ready().name, known), limit=50)
        if not rows:
            names = {self.label(row).lower(): row for row in here.rows(order_by="id desc", limit=500)}
            rows = [names[n] for n in difflib.get_close_matches(words.lower(), names, 1, .75)]
        if not rows and (owned := self.belonging(words)): return [row["id"] for row in here.rows(*owned, select="id")]
        if len(rows) == 1: return [rows[0]["id"]]
        if not rows: raise nothing
        raise Several(f"{len(rows)}{' or more' * (len(rows) == 50)} {self.title.lower()} fit “{clip(text)}”: "
            + ", ".join(f"{row['id']} “{clip(self.label(row), 50)}”" for row in rows[:6]) + ".", fix="Say which one.")

    def pick_one(self, text: str) -> int:
        found = self.pick(text)
        if len(found) == 1: return found[0]
        raise Several(f"“{clip(text)}” are {len(found)} {self.title.lower()}.", fix="Name one.")

    def belonging(self, text: str) -> tuple[str, list] | None:
        "The condition of belonging to a record that is so called."
        for f in self.fields.values():
            if f.record and (owner := target_of(f).find(text)): return f"{quoted(f.name)}=?", [owner]

    def shared(self, text: str, also: tuple[str, ...] = (), given: tuple = ()) -> tuple[str, list] | None:
        """The condition that “all open tasks”, “overdue, high”, “yesterday's” or “biggest” stands for; None for other words.
        `also`: conditions that those must meet of which it is the biggest, with the values `given`."""
        where, args, is_not, is_all, order = list[str](), list[Any](), False, False, ""
        due = next((n for n, f in self.fields.items() if f.kind == "date"), "")
        amount = next((n for n, f in self.fields.items() if is_number(f) and n != "position"), "")
        labels = {f.label.lower() for f in self.fields.values() if f.kind in ("date", "choice")}
        if due and (found := DAY_WORDS.search(text)) and (day := day_called(found[0])):
            where, args, text = [f"{quoted(due)} = ?"], [day.isoformat()], f"{text[:found.start()]} {text[found.end():]}"
        for word in re.findall(r"[^\W_]+", text.lower()):
            field = next((f for f in self.fields.values() if f.kind == "bool" and word == f.label.lower()
                or f.kind == "choice" and word in map(str.lower, f.choices)), None)
            if word in ("not", "un", "nicht"): is_not = True
            elif word in ("all", "every", "everything", "alle", "alles") and not is_not: is_all = True
            elif word in {self.noun, *self.name.split("_"), *SMALL_WORDS, *labels}: pass
            elif found := EXTREMES.fullmatch(word):
                by = "id" if found["new"] or found["old"] else amount
                if not by: return None
                scale = f"CAST({quoted(by)} AS REAL)"  # a decimal is kept as text
                order = f"{scale} IS NULL, {scale} {'DESC' if found['new'] or found['big'] else 'ASC'}"
            else:
                if re.match("overdue$|überfällig", word) and due:
                    where.append(f"{quoted(due)} < ?" + " AND NOT is_done" * ("is_done" in self.fields))
                    args.append(date.today().isoformat())
                elif field and field.kind == "bool": where.append(quoted(field.name))
                elif field:
                    where.append(f"{quoted(field.name)} IS ?")
                    args.append(to_sql(field, value_of(field, word)))
                elif word in OPEN | DONE and "is_done" in self.fields:
                    where.append("NOT is_done" if word in OPEN else "is_done")
                else: return None
                where[-1] = f"({where[-1]}) IS {'NOT ' * is_not}TRUE"
                is_not = False
        if is_not or not (where or is_all or order): return None
        condition = " AND ".join(where) or "1"
        if order:
            condition = " AND ".join([condition, *also, *(f"{quoted(n)} = {int(i)}" for n, i in self.here().fixed.items())])
            args += given
            condition = f"id IN (SELECT id FROM {quoted(self.ready().name)} WHERE {condition} ORDER BY {order} LIMIT 1)"
        return condition, args

    def referrers(self) -> list[tuple["BaseApp", Field]]:
        return [(app, f) for app in all_apps().values() for f in app.fields.values() if f.record is self.record]

    def options(self, field: Field) -> list[tuple[Any, str]] | None:
        "The records to choose from; None for no relation, and for one to too many."
        if not field.record or (target := target_of(field)).table.count() > SELECT_MOST: return None
        return sorted(((row["id"], target.label(row)) for row in target.rows()), key=lambda o: o[1].lower())

    def here(self) -> Any:
        "The table, limited to the current profile where records belong to one."
        field, current = self.fields.get("profile"), store.get("profile")
        if not current or not field or not field.record or current not in target_of(field): return self.table
        return self.table.xtra(profile=current)

    def unasked(self) -> set[str]:
        "Fields that fill themselves: the position, and the profile while there is a current one."
        return {"position", *self.here().fixed}

    # ─── tools ───

    def make_tools(self) -> None:
        "What the model, the shell and other programs can do with the records."
        given = {n: replace(f, find=f.record and functools.partial(picked, f.record))
            for n, f in self.fields.items() if n not in ("position", *self.readonly)}
        free = {n: replace(f, default=None) for n, f in given.items()}
        which = Field("which", "records", MISSING, record=self.record, find=self.pick)
        place = field_of("to", Literal["first", "last"] | None, None)
        is_ordered, switches = "position" in self.fields, [n for n, f in given.items() if f.kind == "bool"]
        def make(kind: str, work: Callable, fields: dict[str, Field], about: str, is_usual: bool = True) -> None:
            name = re.sub(r"\W", "_", f"{self.name}_{kind}", flags=re.A)  # as models' makers and MCP want it
            add_tool(Tool(name, work, fields, about, kind == "find", owner=self.name, kind=kind,
                is_usual=is_usual, rehearses=True, tell=self.told_rows if kind == "find" else None))
        make("find", self.find_tool, self.filters(), f"Look up {self.title.lower()}.")
        if self.can_add: make("add", self.add_tool, given, f"Add a {self.noun}.")
        make("change", self.change_tool, {"which": which} | ({"to": place} if is_ordered else {}) | free | {"which": which},
            f"Change {self.title.lower()}. What is left out stays.")
        make("delete", self.delete_tool, {"which": which}, f"Delete {self.title.lower()}.")
        if switches:
            switch = field_of("switch", Annotated[str, Choices(switches)], switches[0])
            make("toggle", self.toggle_tool, {"which": which, "switch": switch}, "Turn a switch the other way.", False)
        if is_ordered:
            after = Field("after", "relation", None, True, record=self.record, find=self.pick_one)
            make("move", self.move_tool, {"which": replace(after, name="which", default=MISSING, is_optional=False),
                "to": place, "after": after}, f"Put a {self.noun} first, last or after another.", False)

    def filters(self) -> dict[str, Field]:
        "What the tool find can narrow a list by: text, values, and for dates and numbers what they are before or after."
        found = {"text": field_of("text", str | None, None)}
        for n, f in self.fields.items():
            is_scale = f.kind in ("date", "datetime") or is_number(f)
            if n == "position" or not is_scale and f.kind not in ("bool", "choice", "relation"): continue
            found[n] = f = replace(f, default=None, is_optional=True, range=Range(),
                find=f.record and functools.partial(picked, f.record))
            if is_scale: found |= {f"{n}_{way}": replace(f, name=f"{n}_{way}") for way in ("before", "after")}
        return found | {"limit": field_of("limit", Annotated[int, Range(1, 200)], 20)}

    def find_tool(self, text: str | None = None, limit: int = 20, **filters: Any) -> list[dict]:
        where, args = list[str](), list[Any]()
        for n, value in filters.items():
            if value is None: continue
            name, way = (n.rpartition("_")[0], n.rpartition("_")[2]) if n not in self.fields else (n, "")
            cast = "CAST({} AS REAL)" if self.fields[name].kind == "decimal" else "{}"
            where.append(f"{cast.format(quoted(name))} {dict(before='<', after='>').get(way, 'IS')} {cast.format('?')}")
            args.append(to_sql(self.fields[name], value))
        if text and (shared := self.shared(text, tuple(where), tuple(args))):
            where, args = [*where, shared[0]], [*args, *shared[1]]
        elif text:
            condition, found = db.matching(self.ready().name, text)
            if owned := self.belonging(text): condition, found = f"{condition} OR {owned[0]}", [*found, *owned[1]]
            where, args = [*where, condition], [*args, *found]
        order = "position, id" if "position" in self.fields else "id desc"
        return self.here().rows(" AND ".join(f"({w})" for w in where), args, order, limit=limit)

    def add_tool(self, **values: Any) -> None:
        self.insert(self.here().fixed | {n: v for n, v in values.items() if v is not None})

    def change_tool(self, which: list[int], **values: Any) -> None:
        to = None if "to" in self.fields else values.pop("to", None)
        if not values and not to: raise Problem("It is not said what to change.", fix="Give the new values.", status=422)
        def change() -> None:
            for record_id in reversed(which) if to == "first" else which:
                if values: self.update({"id": record_id} | values)
                if to: self.move_tool(record_id, to)
        self.together(which, "changed", change, ", ".join(f"{n} → {clip(v, 40)}" for n, v in values.items()))

    def together(self, ids: list[int], verb: str, work: Callable[[], Any], how: str = "") -> int | None:
        "Do something with records, with several as one entry in the journal: that entry, where anything has changed."
        if not ids: raise Problem(f"No {self.noun} fits.", fix="See what there is.", status=404)
        told = f"{verb} {len(ids):,} {self.title.lower()}" + f": {how}" * bool(how)
        with contextlib.suppress(TakenBack), (db.group(self.name, "update", told) if ids[1:]
                else contextlib.nullcontext(db.last_id())) as before:
            work()
            if (entry := db.last_id()) == before: raise TakenBack  # all was so already
            return before if ids[1:] else entry

    def delete_tool(self, which: list[int]) -> None: self.together(which, "deleted", lambda: self.delete(*which))

    def toggle_tool(self, which: list[int], switch: str | None = None) -> None:
        name = switch or next(n for n, f in self.fields.items() if f.kind == "bool" and n not in self.readonly)
        def change() -> None:
            for i in which: self.update({"id": i, name: not getattr(self[i], name)})
        self.together(which, "toggled", change, name)

    def move_tool(self, which: int, to: str | None = None, after: int | None = None) -> None:
        order = [row["id"] for row in self.here().rows(order_by="position, id", select="id") if row["id"] != which]
        if after not in order if after else not to:
            raise Problem("It is not said where to.", fix="Say first, last, or after which of these.", status=422)
        if not order: return
        if after: at = order.index(after) + 1
        else: at = 0 if to == "first" else len(order)
        self.move(which, order[at - 1] if at else None, order[at] if at < len(order) else None)

    def row_text(self, row: Mapping, length: int = 60) -> str:
        "A record in a line: task 12: Call the bank, due 2026-11-30, done"
        parts = []
        for n, f in self.fields.items():
            if row[n] in (None, "", "[]") or n == "position" or f.kind == "json": continue
            if f.kind == "bool": parts += [f.label.lower()] * bool(row[n])
            elif f.kind == "relation": parts.append(f"{n} {target_of(f).labels([row[n]]).get(row[n], row[n])}")
            elif n == self.first_text(): parts.append(clip(row[n], length))
            elif f.is_required or row[n] != to_sql(f, f.blank()): parts.append(f"{n} {clip(row[n], length)}")
        return f"{self.noun} {row['id']}: {', '.join(map(str, parts))}"

    def first_text(self) -> str: return next((n for n, f in self.fields.items() if f.is_text), "")

    def told_rows(self, rows: list[dict]) -> str:
        if not rows: return f"No {self.noun} fits."
        return "\n".join([f"{len(rows)} {self.noun if len(rows) == 1 else self.title.lower()}:", *map(self.row_text, rows)])

    # ─── the list ───

    def columns(self) -> list[str]:
        chosen = [n for n in store.get(f"ui.columns.{self.name}", ()) if n in self.fields]
        left_out = self.unasked()
        return chosen or [n for n, f in self.fields.items() if f.kind not in ("markdown", "json", "long")
            and n not in left_out][:7] or list(self.fields)[:1]

    def selection(self, params: Mapping) -> tuple[str, list, str]:
        "The condition, its arguments and the order that an address asks for. What makes no sense in it is left out."
        where, args = [], []
        if q := params.get("q", "").strip()[:200]:
            condition, args = db.matching(self.ready().name, q)
            where.append(condition)
        for name, field in self.fields.items():
            if not (text := params.get(f"f.{name}", "")): continue
            is_none = text == "none" and text not in field.choices
            try: args.append(None if is_none else to_sql(field, value_of(field, text)))
            except Problem: continue
            where.append(f"{quoted(name)} IS ?")
        sort, order = params.get("sort", ""), "position, id" if "position" in self.fields else "id desc"
        if (name := sort.lstrip("-")) in self.fields: order = f"{name} {'desc' if sort[0] == '-' else 'asc'}, id"
        return " AND ".join(where), args, order

    def listing(self, params: Mapping, base: str = "") -> FT:
        "The part of the list page that lives: rows, pager, bulk actions. `base`: the page's address, if not our own."
        kept = {k: v for k, v in params.items() if v and (k in ("q", "sort", "page") or k.startswith("f."))}
        shown_apps = dict.fromkeys(target_of(f).name for f in self.fields.values() if f.record)
        live, to = living(self.name, base or self.url, kept, *["settings"] * ("profile" in self.fields), *shown_apps)
        where, args, order = self.selection(params)
        here = self.here()
        if not (total := here.count(where, args)):
            return Div(self.nothing(bool(kept.keys() - {"sort", "page"})), **live)
        pages = -(-total // PAGE)
        at = min(max(1, number(params.get("page"))), pages)
        records = here(where, args, order, limit=PAGE, offset=(at - 1) * PAGE)
        columns, sort = self.columns(), params.get("sort", "")
        labels = {n: target_of(self.fields[n]).labels(getattr(r, n) for r in records) for n in columns
            if self.fields[n].record}
        heads = [sorting(n, self.fields[n].label, sort, to, is_number(self.fields[n])) for n in columns]
        is_ordered = "position" in self.fields
        can_move = is_ordered and not kept.get("q") and not sort
        table_ = rows_table([Th("", cls="tight")] * is_ordered + heads,
            [self.row(record, columns, labels) for record in records],
            data_move=f"{self.url}/move" if can_move else None)
        first = (at - 1) * PAGE + 1
        pager = Div(Span(f"{first:,}–{first + len(records) - 1:,} of {total:,}", cls="grow"),
            link_button("Previous", **to(page=at - 1)) if at > 1 else None,
            link_button("Next", **to(page=at + 1)) if at < pages else None, cls="pager")
        return Div(Hidden(sort, name="sort", form=f"{self.name}-filter"), table_, pager,
            self.bulk_bar(kept, total, len(records)), **live)

    def row(self, record: Any, columns: list[str] | None = None, labels: Mapping = {}) -> Any:
        "A record's row in the list, as HTML."
        columns, url, drawn = columns or self.columns(), f"{self.url}/{record.id}", self.render_item(record)
        name = escape(clip(self.label(self.values_of(record)), 60))
        cells = [self.cell(record, self.fields[n], n == columns[0], labels.get(n))
            for n in columns] if drawn is None else [
            f'<td class="first" colspan="{len(columns)}">{html(drawn)}</td>']
        if "position" in self.fields:
            cells.insert(0, '<td class="tight gripping"><span class="grip" title="Drag, or Alt and arrow">'
                f'{icon("grip")}</span></td>')
        acts = row_acts(name, f'hx-get="{url}/edit" hx-target="closest tr" hx-swap="outerHTML"',
            f'hx-post="{url}/delete"')
        return row_html(f"{self.name}-{record.id}", record.id, name, "".join(cells),
            f'{acts}<a href="{url}" hidden data-row-key="Enter" tabindex="-1" aria-label="Open {name}"></a>',
            " class=done" * bool(getattr(record, "is_done", False)))

    def cell(self, record: Any, field: Field, is_first: bool, labels: Mapping | None = None) -> str:
        value = getattr(record, field.name)
        kind = ("number " if is_number(field) else "text " if field.kind == "text" else "") + ("first" if is_first
            else "void" if value in (None, "", []) else "")
        shown = html(self.value(record, field, labels))
        if is_first and field.is_text and isinstance(value, str):
            shown = f'<a class="title" href="{self.url}/{record.id}">{escape(value or "(no name)")}</a>'
        return f'<td class="{kind}" data-label="{escape(field.label)}">{shown}</td>'

    def value(self, record: Any, field: Field, labels: Mapping | None = None, wide: bool = False) -> Any:
        "One value of a record as it is shown. `labels` has the names of a relation's records, where they are known."
        value = getattr(record, field.name)
        if field.kind != "bool" and value in (None, ""): return ""
        match field.kind:
            case "bool":
                return Input(type="checkbox", checked=value, hx_post=f"{self.url}/{record.id}/toggle",
                    hx_vals=json.dumps({"field": field.name, "value": "off" if value else "on"}), hx_swap="none",
                    aria_label=field.label, autocomplete="off")
            case "relation":
                target = target_of(field)
                label = (target.labels([value]) if labels is None else labels).get(value)
                return A(label, href=f"{target.url}/{value}") if label else Span("(deleted)", cls="muted")
            case "choice": return Span(field.called(as_text(field, value)), cls=f"chip {field.name}-{value}")
            case "markdown" | "long" | "json" if value and not wide: return clip(value, 120)
        return show_as(field.kind, value)

    def new_button(self, **attrs: Any) -> FT:
        attrs |= dict(hx_get=f"{self.url}/new", hx_target="#dialog-body", hx_swap="innerHTML")
        return Button(icon("plus"), f" New {self.noun}", **attrs)

    def nothing(self, is_filtered: bool) -> FT:
        if is_filtered:
            what, hint = "Nothing fits", f"No {self.noun} holds what you look for."
            ways = [link_button("Show all", self.url)]
        else:
            what, hint = f"No {self.title.lower()} yet", "Add the first one, or bring in a table you have."
            ways = [self.new_button(), link_button("Import CSV or JSON", f"{self.url}/import")]
        return Div(H2(what), P(hint), Div(*ways, cls="row"), cls="empty card")

    def toolbar(self, params: Mapping, base: str = "") -> FT:
        "Search, filters and columns; it stays as it is while the list below is asked for again."
        unasked, columns, filters = self.unasked(), self.columns(), []
        for n, f in self.fields.items():
            match f.kind:
                case "bool": choices = [("yes", "yes"), ("no", "no")]
                case "choice": choices = [(key, f.called(key)) for key in f.choices]
                case "relation": choices = [*(self.options(f) or ()), *[("none", "none")] * f.is_optional]
                case _: choices = []
            if not choices or n in unasked: continue
            filters.append(picker([(value, f"{f.label}: {label}") for value, label in [("", "any"), *choices]],
                params.get(f"f.{n}", ""), name=f"f.{n}", aria_label=f"Filter by {f.label}"))
        find = f"Search {self.title.lower()}"
        search = search_form(self.name, base or self.url, params.get("q", ""), find, *filters)
        boxes = [Label(Input(type="checkbox", name="columns", value=n, checked=n in columns), f.label)
            for n, f in self.fields.items()]
        return Div(search, menu("columns", "Columns",
            Form(*boxes, Button("Show these"), hx_post=f"{self.url}/columns", hx_swap="none")),
            menu("more", "More", A("Import CSV or JSON", href=f"{self.url}/import") if self.can_add else None,
                *[A(f"Export as {kind.upper()}", href=address(f"{self.url}/export.{kind}", params), download=True)
                    for kind in ("csv", "json")],
                A("History of this app", href=f"/journal?app={self.name}")), cls="bar")

    def bulk_bar(self, kept: dict, total: int, on_page: int) -> FT:
        fields = [(n, f.label) for n, f in self.fields.items()
            if f.kind not in ("file", "json", "markdown") and n not in ("position", *self.readonly)]
        return bulk_form(f"{self.url}/bulk",
            Label(Input(type="checkbox", name="all", value="1"), f" all {total:,}") if total > on_page else None,
            Hidden(urlencode(kept), name="query"),
            picker([("", "Change…"), *fields], "", name="field", aria_label="Field to change",
                hx_get=f"{self.url}/bulk", hx_trigger="change", hx_target="#bulk-value", hx_swap="innerHTML"),
            Span(id="bulk-value"), delete_button(name="action", value="delete"))

    # ─── forms ───

    def form(self, record_id: int | None = None, values: Mapping | None = None, problem: Problem | None = None,
            key: str = "", version: int = 0, then: str = "") -> FT:
        "The form of a new or an existing record, with what was typed and what is wrong."
        values, wrong, parts = values or {}, problem.fields if problem else {}, []
        unasked = {*self.readonly, *({"position"} if record_id else self.unasked())}
        for n, f in self.fields.items():
            if n in unasked: continue
            value, options, attrs, extra = values.get(n), self.options(f), dict[str, Any](), None
            if f.record and options is None:  # too many for a select: a search
                target = target_of(f)
                if number(value) in target: value = f"{target.label_of(number(value))} #{value}"
                attrs |= dict(list=f"{n}-options", hx_get=f"{target.url}/options", hx_trigger="input delay:150ms",
                    hx_target=f"#{n}-options", hx_swap="innerHTML", hx_params=n, placeholder="Type to search")
                extra = Datalist(id=f"{n}-options")
            if not parts and then != "stay": attrs["autofocus"] = True
            parts.append(labelled(f, value, wrong.get(n, ""), options, extra, **attrs))
        has_file = any(f.kind == "file" for f in self.fields.values())
        hidden = dict(key=key or secrets.token_hex(8), version=version, then=then)
        return Form(H2(f"New {self.noun}") if not then else None, complaint(Div, None if wrong else problem),
            Div(*parts, cls="fields"), *[Hidden(str(v), name=f"_{n}") for n, v in hidden.items()],
            saving("Save" if record_id else f"Add {self.noun}", not then),
            hx_post=f"{self.url}/{record_id}" if record_id else self.url, hx_target="this", hx_swap="outerHTML",
            novalidate=True, hx_encoding="multipart/form-data" if has_file else None)

    def edit_row(self, record_id: int, values: Mapping, version: int, problem: Problem | None = None) -> FT:
        "A row as a form: the shown columns, in place."
        wrong, form, columns = problem.fields if problem else {}, f"edit-{self.name}-{record_id}", self.columns()
        cells = [Td(clip(values.get(n))) if n in self.readonly
            else Td(control(f := self.fields[n], values.get(n), self.options(f), form=form, aria_label=f.label,
                aria_invalid="true" if n in wrong else None, autofocus=not at),
                alert(Small, wrong[n]) if n in wrong else None) for at, n in enumerate(columns)]
        return Tr(Td(Form(Hidden(",".join(columns), name="_row"), Hidden(str(version), name="_version"), id=form,
            novalidate=True, hx_post=f"{self.url}/{record_id}", hx_target="closest tr", hx_swap="outerHTML"),
            cls="tight"), Td(cls="tight gripping") if "position" in self.fields else None, *cells,
            Td(Div(Button("Save", form=form), Button("Cancel", type="button", cls="plain",
                data_cancel=f"{self.url}/{record_id}/row", data_at=f"#{self.name}-{record_id}"), cls="row"),
                alert(Small, str(problem)) if problem and not wrong else None, cls="tight"), cls="editing",
            id=f"{self.name}-{record_id}")

    def merged(self, record_id: int, values: dict, version: int) -> dict:
        """What a form changes, given what others changed since it was opened: a field left alone keeps the newer
        value. Raises Problem (409) where both changed the same field."""
        now, base = self.table.row(record_id), {}
        which = [self.name, record_id, version]
        later = db.entries("app=? AND record_id=? AND id>?", which, limit=-1) if version else []
        for entry in later:  # newest first: what stays is what the field was at the beginning
            if entry["after"]: base |= json.loads(entry["before"] or "{}")
        for n in base.keys() & values.keys():
            mine = to_sql(self.fields[n], values[n])
            if mine == base[n]: values[n] = from_sql(self.fields[n], now[n])
            elif mine != now[n]:
                who, label = later[0]["actor"], self.fields[n].label.lower()
                raise Problem(f"Meanwhile {who} changed {label} from {base[n]!r} to {now[n]!r}.",
                    fix="Save again to put yours in its place.", status=409)
        return values

    def record_page(self, record_id: int) -> tuple:
        row = self.table.row(record_id)
        record, url, related = self.made(row), f"{self.url}/{record_id}", []
        shown = [Div(H2(f.label), self.value(record, f, wide=True), cls="card") for f in self.fields.values()
            if f.kind in ("markdown", "url", "file", "json") and getattr(record, f.name)]
        for app, f in self.referrers():
            if others := app.rows(f"{quoted(f.name)}=?", [record_id], "id desc", limit=21):
                related.append(Div(H2(app.title),
                    Ul(*[Li(A(app.label(o), href=f"{app.url}/{o['id']}")) for o in others[:20]]),
                    A("All of them", href=f"{app.url}?f.{f.name}={record_id}") if len(others) > 20 else None,
                    cls="card"))
        form = self.form(record_id, self.values_of(record), version=db.last_id(self.name, record_id), then="stay")
        history = Div(hx_get=f"{url}/history", hx_trigger=f"load, {changed(self.name)}")
        return (*head(self.label(row), link_button(self.title, self.url, "plain"),
            delete_button(hx_post=f"{url}/delete", hx_vals='{"then": "list"}', hx_swap="none")),
            Div(Div(record.__ft__(), cls="card") if hasattr(record, "__ft__") else None, *shown,
                Div(form, cls="card"), *related, Div(H2("History"), history, cls="card"), cls="stack"))

    # ─── routes ───

    def register_routes(self, rt: Callable) -> None:
        name, url = self.name, self.url
        def get(path: str) -> Callable: return rt(url + path, methods=["GET"])
        def post(path: str) -> Callable: return rt(url + path, methods=["POST"])

        @get("")
        async def list_get(req: Request):
            params = dict(req.query_params)
            if req.headers.get("hx-target") == f"{name}-list": return self.listing(params)
            about = P(self.description, cls="muted") if self.description else None
            return (*head(self.title, self.new_button(data_key="n") if self.can_add else None), about,
                self.toolbar(params), self.listing(params))

        @get("/new")
        async def new_get(req: Request):
            values = {n: f.blank() for n, f in self.fields.items()} | dict(req.query_params)
            if "hx-request" in req.headers: return self.form(values=values)
            return (*head(f"New {self.noun}", link_button(self.title, url, "plain")),
                Div(self.form(values=values, then="page"), cls="card"))

        @post("")
        async def insert_post(form: Sent):
            key, then = str(form.get("_key", ""))[:64], str(form.get("_then", ""))
            done = db.one("SELECT record_id FROM journal WHERE cause=? AND app=?", [f"form {key}", name]) if key else 0
            if done: record_id, entry = done, 0  # the same form again: a double click, a repeated request
            else:
                try:
                    given = read_form(self.fields, form, [n for n in self.fields if n != "position"])
                    cause.set(f"form {key}" if key else "")
                    record_id = self.insert(self.here().fixed | given).id
                except Problem as e: return form_again(e, self.form(None, form, e, key, then=then))
                entry = db.last_id(name, record_id)
            if then == "page": return HtmxResponseHeaders(redirect=f"{url}/{record_id}"), ""
            return toast(f"Added “{self.label_of(record_id)}”", undo=entry)

        @get("/{record_id:int}")
        def record_get(record_id: int): return self.record_page(record_id)

        @get("/{record_id:int}/history")
        async def history_get(record_id: int):
            entries = db.entries("app=? AND record_id=?", [name, record_id])
            return Ul(*[entry_item(e, full=True) for e in entries], cls="log")

        @get("/{record_id:int}/edit")
        async def edit_get(record_id: int):
            return self.edit_row(record_id, self.values_of(self[record_id]), db.last_id(name, record_id))

        @get("/{record_id:int}/row")
        async def row_get(record_id: int): return self.row(self[record_id])

        @post("/{record_id:int}")
        async def update_post(record_id: int, form: Sent):
            in_row = [n for n in str(form.get("_row", "")).split(",") if n in self.fields]
            version = number(form.get("_version"))
            try:  # of a whole form, what was not sent is a switch that is off
                values = read_form(self.fields, form,
                    in_row or [n for n in self.fields if n not in ("position", *self.readonly)
                        and (n in form or "_key" in form)])
                record = self.update(id=record_id, **self.merged(record_id, values, version))
            except Problem as e:
                if e.status == 404: raise
                version = db.last_id(name, record_id) if e.status == 409 else version
                return form_again(e, self.edit_row(record_id, form, version, e) if in_row
                    else self.form(record_id, form, e, version=version, then="stay"))
            entry = db.last_id(name, record_id)
            said = toast(f"Saved “{self.label_of(record_id)}”", undo=entry if entry != version else None)
            return self.row(record) if in_row else self.form(record_id, self.values_of(record), version=entry,
                then="stay"), said

        @post("/{record_id:int}/delete")
        async def delete_post(record_id: int, form: Sent):
            said = toast(f"Deleted “{clip(self.label_of(record_id), 60)}”", undo=self.delete(record_id))
            return (said, HtmxResponseHeaders(redirect=url)) if form.get("then") == "list" else said

        @post("/{record_id:int}/toggle")
        async def toggle_post(record_id: int, form: Sent):
            given, value = str(form.get("field")), str(form.get("value", ""))
            switches = {n: f for n, f in self.fields.items() if f.kind == "bool"}
            if not (field := switches.get(given)):
                raise Problem(f"{name} has no such switch.", fix=did_you_mean(given[:40], switches))
            self.update(id=record_id, **{given: value_of(field, value)})
            return toast(f"{self.label_of(record_id)}: {field.label.lower()} {value}",
                undo=db.last_id(name, record_id))

        @post("/move")
        async def move_post(form: Sent):
            if "position" not in self.fields:
                raise Problem(f"{self.title} have no order of their own.", fix="Add a field `position: int = 0`.")
            return toast("Moved", undo=self.move(*(number(form.get(which)) for which in ("id", "after", "before"))))

        @post("/columns")
        async def columns_post(form: Sent):
            store[f"ui.columns.{name}"] = [n for n in form.getlist("columns") if n in self.fields]
            return HtmxResponseHeaders(refresh="true"), ""

        @get("/options")
        async def options_get(req: Request):
            condition, args = db.matching(self.ready().name, next(iter(req.query_params.values()), ""))
            rows = self.rows(condition, args, limit=20)
            return [Option(value=f"{self.label(row)} #{row['id']}") for row in rows]

        @get("/bulk")
        async def bulk_get(req: Request):
            if not (f := self.fields.get(req.query_params.get("field", ""))): return ""
            return control(f, f.blank(), self.options(f), name="value", aria_label=f.label), Button("Change",
                name="action", value="change")

        @post("/bulk")
        def bulk_post(form: Sent):
            if form.get("all"): where, args, _ = self.selection(dict(QueryParams(str(form.get("query", "")))))
            else: where, args = among({number(i) for i in form.getlist("ids")})
            ids = [row["id"] for row in self.here().rows(where, args, select="id")]
            if not ids: raise Problem("Nothing is selected.", fix="Tick the records first.")
            match action := form.get("action"):
                case "change":
                    n, value = str(form.get("field")), form.get("value")
                    if n not in self.fields:
                        raise Problem(f"{self.title} have no field {clip(n)}.", fix=did_you_mean(n[:40], self.fields))
                    value = value_of(self.fields[n], value)
                    entry = self.together(ids, "changed", lambda: [self.update(id=i, **{n: value}) for i in ids],
                        f"{n} → {clip(value, 40)}")
                case "delete": entry = self.delete(*ids)
                case _:
                    raise Problem("Nothing is to be done with them.", fix="Choose Delete, or a field to change.")
            return toast(f"{action.capitalize()}d {len(ids):,} of {self.title}", undo=entry)

        @get("/export.{kind}")
        async def export_get(req: Request, kind: str):
            if kind not in ("csv", "json"):
                raise Problem(f"{clip(kind)} is no format to export to.", fix="Use csv or json.", status=404)
            return StreamingResponse(self.export(kind, dict(req.query_params)),
                media_type="text/csv" if kind == "csv" else "application/json",
                headers={"content-disposition": f'attachment; filename="{name}.{kind}"'})

        @get("/import")
        async def import_get(): return *head(f"Import into {self.title}"), self.import_form()

        @post("/import")
        def import_post(form: Sent):
            try: return self.import_step(form)
            except Problem as e: return form_again(e, self.import_form(e))

    # ─── out and in ───

    def export(self, kind: str, params: Mapping) -> Iterator[str]:
        "CSV (formula-safe) or JSON of what an address selects, in pieces, so that any number of rows passes through."
        (where, args, _), seen, begin, columns = self.selection(params), 0, "[", self.fields.items()
        if kind == "csv": yield csv_text([["id", *self.fields]])
        while rows := self.here().rows(f"({where or 1}) AND id > ?", [*args, seen], "id", limit=1000):
            seen = rows[-1]["id"]
            if kind == "csv":
                labels = {n: target_of(f).labels(row[n] for row in rows) for n, f in columns if f.record}
                yield csv_text([row["id"], *(csv_cell(f, row[n], labels.get(n)) for n, f in columns)] for row in rows)
                continue
            plain = ({"id": row["id"]} | {n: from_sql(f, row[n]) if f.kind in ("json", "tags", "bool") else row[n]
                for n, f in columns} for row in rows)
            yield begin + ",".join(f"\n{json.dumps(row, ensure_ascii=False)}" for row in plain)
            begin = ","
        if kind == "json": yield "\n]\n" if seen else "[]\n"

    def import_form(self, problem: Problem | None = None) -> FT:
        return Form(P("A CSV file with a line of names on top, or a JSON list of objects. ",
            "You see what would happen before anything is written."), complaint(P, problem),
            Div(Label("File", fr="import-file"),
                Input(type="file", name="file", id="import-file", accept=".csv,.tsv,.txt,.json"), cls="field"),
            Div(Label("or paste", fr="import-text"),
                Textarea(name="text", id="import-text", rows=6, placeholder=",".join(self.fields)), cls="field"),
            Div(link_button("Cancel", self.url), Button("Preview", cls="spins"), cls="actions"),
            hx_post=f"{self.url}/import", hx_encoding="multipart/form-data", hx_target="this", hx_swap="outerHTML",
            cls="card")

    def import_step(self, form: Any) -> Any:
        "Preview what was sent, or carry out what was previewed."
        token, file = str(form.get("token", "")), form.get("file")
        if not token:
            data = file.file.read() if getattr(file, "filename", "") else str(form.get("text", "")).encode(
                "utf-8", "replace")
            if not data.strip():
                raise Problem("There is nothing to import.", fix="Choose a file, or paste some rows.")
            token = Path(tempfile.mkdtemp(dir=home.run)).name  # until it is imported, or the next start
            (home.run / token / "import").write_bytes(data)
        kept = home.run / token / "import"
        if not re.fullmatch(r"tmp\w{8}", token) or not kept.exists():
            raise Problem("This preview is gone.", fix="Choose the file again.")
        names, rows = read_rows(kept.read_bytes())
        fitting = self.fitting(names)
        mapping = {c: str(form.get(f"m.{at}", fitting.get(c, ""))) for at, c in enumerate(names)}
        used = {c: n for c, n in mapping.items() if n in self.fields}
        good, bad = self.checked_rows(rows, used)
        if form.get("action") == "import" and used and not bad:
            entry = self.import_rows(good)
            kept.unlink(missing_ok=True)
            done = Div(H2(f"{len(good):,} {self.title.lower()} imported"), P("One Undo takes all of them back."),
                link_button("See them", self.url, ""), cls="empty card")
            return HtmxResponseHeaders(push_url=self.url), done, toast(f"Imported {len(good):,}", undo=entry)
        missing = [f.label for f in self.fields.values() if f.is_required and f.name not in mapping.values()]
        if not used: missing = missing or ["A field"]
        fields = [("", "(leave out)"), *((n, f.label) for n, f in self.fields.items())]
        pickers = [Th(Div(c), picker(fields, mapping[c], name=f"m.{at}", aria_label=f"Field for {c}",
            data_submits=True)) for at, c in enumerate(names)]
        verdict = P(f"All {len(good):,} rows fit.")
        if bad:
            problem = Problem(f"{len(bad):,} of {len(rows):,} rows do not fit.",
                fix="Nothing is imported until all do: mend the file, or leave a column out.")
            verdict = Div(complaint(P, problem), show([dict(Line=line, Why=why) for line, why in bad]))
        return Form(H2("Which column is which?"),
            Div(Table(Thead(Tr(*pickers)),
                Tbody(*[Tr(*[Td(clip(row.get(c, ""), 60)) for c in names]) for _, row in rows[:5]])), cls="table"),
            alert(P, f"{', '.join(missing)} must be filled: choose a column for it.") if missing else None, verdict,
            Hidden(token, name="token"), Div(link_button("Cancel", self.url),
                Button("Import", name="action", value="import", disabled=bool(bad or missing), cls="spins"),
                cls="actions"), hx_post=f"{self.url}/import", hx_target="this", hx_swap="outerHTML",
            cls="card stack")

    def fitting(self, names: list[str]) -> dict[str, str]:
        "The columns that are called like a field, with that field: “Is done” is is_done."
        known = {squeezed(n): n for n in self.fields}
        return {c: known[squeezed(c)] for c in names if squeezed(c) in known}

    def checked_rows(self, rows: list[tuple[int, dict]], mapping: dict[str, str]) -> tuple[list[dict],
            list[tuple[int, str]]]:
        "Rows as typed values, and (line, reason) for each that does not fit. Nothing is written."
        filled = {*mapping.values(), *self.unasked()}
        missing = [f"{f.name} is missing." for f in self.fields.values() if f.is_required and f.name not in filled]
        good, bad = [], []
        for line, row in rows:
            given = {n: row.get(c) for c, n in mapping.items() if row.get(c) not in ("", None)
                or self.fields[n].is_required}
            try: values, why = typed_values(self.fields, given), missing
            except Problem as e: why = [str(e), *missing]
            if None in row:
                why = ["It has more cells than the first line has names.", "Put quotes around cells with commas."]
            if why: bad.append((line, " ".join(why)))
            else: good.append(values)
        return good, bad

    def import_rows(self, rows: list[dict]) -> int:
        "Insert typed rows, all or nothing; the journal entry that is their one undo."
        fixed = self.here().fixed
        with db.group(self.name, "import", f"imported {len(rows):,} {self.title.lower()}") as entry:
            for values in rows: self.insert(fixed | values)
        return entry


crud = BaseApp


@tool(reads=True)
def search(text: str) -> str:
    "Look everywhere for words."
    owners = {t.owner for t in all_tools().values()}
    apps = {n: a for n, a in all_apps().items() if n in owners}  # what has no tools is nobody else's
    found = db.search(text, 20) or db.related(text, 10)
    rows = [apps[n].row_text(apps[n].table.row(i)) for n, i in found if n in apps and i in apps[n]]
    return "\n".join(rows) or f"Nothing has the words “{clip(text)}”."


def target_of(field: Field) -> BaseApp:
    "The app whose records a relation points to."
    for app in [*loading.get().apps.values(), *all_apps().values()]:
        if app.record is field.record: return app
    name = getattr(field.record, "__name__", "nothing")
    raise Problem(f"{field.name} points to {name}, which is not an app.", fix=f"Call crud({name}) first.")


# ─── what lists are made of ───

def address(base: str, params: Mapping) -> str:
    "An address with those of the parameters that are not empty."
    return f"{base}?{urlencode({k: v for k, v in params.items() if v})}".rstrip("?")


def living(name: str, base: str, kept: Mapping, *apps: str) -> tuple[dict, Callable]:
    "What makes a list follow its address and apps; and what makes a link lead to it with other parameters."
    part = dict[str, Any](hx_swap="morph:outerHTML")
    def to(**new: Any) -> dict[str, Any]:
        url = address(base, {**kept, **new})
        return dict(part, href=url, hx_get=url, hx_target=f"#{name}-list", hx_push_url="true")
    return dict(part, id=f"{name}-list", hx_get=address(base, kept), hx_trigger=changed(name, *apps)), to


def sorting(name: str, label: str, sort: str, to: Callable, is_number: bool) -> FT:
    "The head of a column, which sorts by it."
    mark, way, then = {name: (" ↑", "ascending", f"-{name}"), f"-{name}": (" ↓", "descending", "")}.get(sort,
        ("", None, name))
    return Th(A(label, Span(mark, aria_hidden="true"), **to(sort=then, page="")), scope="col", aria_sort=way,
        cls="number" * is_number)


def rows_table(heads: list, rows: list, **body: Any) -> FT:
    return Div(Table(Thead(Tr(Th(Input(type="checkbox", id="all-ids", aria_label="Select all here"), cls="tight"),
        *heads, Th(Span("Actions", hidden=True), cls="tight"))), Tbody(*rows, **body)), cls="table rows")


def row_html(uid: str, key: Any, name: str, cells: str, acts: str, attrs: str = "") -> Any:
    "A row that can be selected; all of it is HTML, for FT would take 40 ms for fifty."
    return NotStr(f'<tr id="{uid}" data-row="{key}" tabindex="-1"{attrs}><td class="tight check">'
        f'<input type="checkbox" name="ids" value="{key}" form="bulk" data-row-key="x" aria-label="Select {name}">'
        f'</td>{cells}<td class="tight acting"><div class="acts">{acts}</div></td></tr>')


def row_acts(name: str, edit: str, delete: str, verb: str = "Edit") -> str:
    return (f'<button class="plain" {edit} data-row-key="e" aria-label="{verb} {name}">{icon("pencil")}</button>'
        f'<button class="plain" {delete} hx-swap="none" data-row-key="Delete" aria-label="Delete {name}">'
        f'{icon("trash")}</button>')


def bulk_form(url: str, *parts: Any) -> FT:
    "What can be done with the selected rows; it shows itself once one is selected."
    return Form(Strong("", id="bulk-count"), *parts, id="bulk", cls="row", hx_post=url, hx_swap="none")


def delete_button(**attrs: Any) -> FT: return Button(icon("trash"), " Delete", cls="quiet danger", **attrs)


def menu(picture: str, name: str, *items: Any) -> FT:
    return Details(Summary(icon(picture), role="button", cls="quiet icon-only", aria_label=name), Div(*items), cls="menu")


def saving(text: str = "Save", can_cancel: bool = True) -> FT:
    "The buttons at the foot of a form, in a dialog with Cancel."
    return Div(Button("Cancel", type="button", cls="quiet", data_close=True) if can_cancel else None, Button(text),
        cls="actions")


def search_form(name: str, url: str, q: str, find: str, *filters: Any, cls: str = "row grow") -> FT:
    "What narrows a list while it is typed into."
    q_input = Input(type="search", name="q", value=q, placeholder=find, aria_label=find, data_key="/")
    return Form(Div(q_input, cls="wide"), *filters, id=f"{name}-filter", cls=cls, action=url, hx_get=url,
        hx_trigger="input delay:150ms, submit", hx_target=f"#{name}-list", hx_swap="morph:outerHTML",
        hx_replace_url="true", hx_sync="this:replace")


def html(value: Any) -> str: return escape(value) if isinstance(value, str) else to_xml(value, indent=False)
def is_number(field: Field) -> bool: return field.kind in ("int", "float", "decimal")
def among(ids: set[int]) -> tuple[str, list[int]]: return f"id IN ({','.join('?' * len(ids))})", sorted(ids)
def squeezed(text: str) -> str: return "".join(c for c in text.lower() if c.isalnum()).removeprefix("is")


def csv_cell(field: Field, value: Any, labels: dict[int, str] | None) -> Any:
    if value is None: return ""
    if field.kind == "bool": return "yes" if value else "no"
    if field.kind == "tags": value = ", ".join(json.loads(value))
    if labels is not None: value = f"{labels.get(value, '')} #{value}"
    return value if field.kind == "decimal" else harmless(value)


def text_of(data: bytes) -> str:
    "The text in a file, in whichever encoding it most likely is."
    try: return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError: return data.decode("cp1252", "replace")


def delimiter_of(text: str) -> str: return max(",;\t|", key=text.partition("\n")[0].count)


def read_rows(data: bytes) -> tuple[list[str], list[tuple[int, dict]]]:
    "The column names and the (line, row) pairs of a CSV or JSON text. Raises Problem where it is neither."
    text = text_of(data)
    if text.lstrip().startswith(("[", "{")):
        try: items = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise Problem(f"This is not whole JSON: {clip(e)}.", fix="Give a list of objects.") from None
        if not items or not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
            raise Problem("This JSON is not a list of objects.", fix='Give [{"title": "…"}, …].')
        return [n for n in dict.fromkeys(n for i in items for n in i) if n != "id"
            and n.isprintable()], list(enumerate(items, 1))
    try:
        sign = delimiter_of(text)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign,
            skipinitialspace=f'{sign} "' in text, strict=True)
        names = [n for n in reader.fieldnames or () if n and n != "id"]
        rows = [(reader.line_num, {n: v[1:] if is_formula(v) and v[0] == "'" else v for n, v in row.items()})
            for row in reader if any(row.values())]
    except csv.Error as e: raise Problem(f"This CSV is broken: {e}.", fix="Check its quotes.") from None
    if not names or not rows:
        raise Problem("This CSV has no rows under its first line.", fix="Its first line names the columns.")
    return names, rows


def form_again(problem: Problem, form: FT) -> Response:
    "A form with what is wrong in it, as an answer with the problem's status."
    note("errors", f"were shown: {clip(problem, 160)}")
    return HTMLResponse(html(form), {400: 422}.get(problem.status, problem.status))


def complaint(tag: Callable, problem: Problem | None) -> FT | None:
    return alert(tag, Strong(problem.what), " ", problem.fix) if problem else None


def alert(tag: Callable, *said: Any) -> FT: return tag(*said, cls="error", role="alert")


commands.append(lambda: [(what, "action", f"{app.url}/{path}") for app in all_apps().values()
    if isinstance(app, BaseApp) and app.can_add for what, path in ((f"New {app.noun}", "new"),
        (f"Import into {app.title}", "import"))])
