"""A dataclass becomes an app: table, list, forms, record pages, search, CSV, history, undo.

    recipes = crud(Recipe)                         # recipes(), recipes[1], recipes.insert(title="Soup")
    class RecipesApp(BaseApp):                     # or derive, for hooks
        record = Recipe
        def prepare_insert(self, data): ...        # change `data` or raise Problem; may return another dict
        def prepare_update(self, recipe, data): ...
        def render_item(self, recipe): ...         # your row, instead of one cell per column
        def register_routes(self, rt): super().register_routes(rt); …

The list's whole state is its address: q (search), sort (-field for descending), page, and f.FIELD for a filter.
A field named `profile` that points to a record limits the app to the profile that `store["profile"]` names.
A field named `position` makes the order the person's own. The first text field is the record's name.
Deleting a record empties the optional relations that point to it, in the same undo; a required one forbids it.
"""
import csv, io, json, secrets
from html import escape
from typing import Any
from collections.abc import Iterable, Iterator, Mapping
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.responses import StreamingResponse
from .base import *
from .events import changed
from .fields import Field, clip, from_sql, to_sql, value_of
from .forms import SELECT_MOST, control, file_link, labelled, read_form
from .store import cause, db, quoted, store, table, title_of
from .ui import commands, entry_item, head, icon, markdown, show, toast

PAGE = 50        # records on one page of a list
GAP = 1024       # between positions, so that most moves change one record only
# A text that begins so is run by spreadsheets. Source: https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class BaseApp:
    "One record class as an app. The table's own methods (`app()`, `app[id]`, `count`, `xtra` …) work on the app too."
    record: type
    name = ""

    def __init__(self, record: type | None = None, name: str = "") -> None:
        self.record = record or self.record
        self.table = table(self.record, name or self.name)
        self.name, self.fields = self.table.name, self.table.fields
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
        values = self.table.values_of(record, kwargs)
        if "position" in self.fields and not values.get("position"):
            values["position"] = (self.table.rows(select="max(position) AS n")[0]["n"] or 0) + GAP
        return self.table.insert(self.prepare_insert(values) or values)

    def update(self, record: Any = None, **kwargs: Any) -> Any:
        values = self.table.values_of(record, kwargs)
        now = self.table[values["id"]]
        return self.table.update((self.prepare_update(now, values) or values) | {"id": now.id})

    def delete(self, *record_ids: int) -> int:
        "Delete records; the journal entry that takes it back, whole, when undone."
        rows = [self.table.row(record_id) for record_id in record_ids]
        links = [(app, f, r) for app, f in self.referrers() for row in rows
            for r in app.table.rows(f"{quoted(f.name)}=?", [row["id"]])
            if not (app is self and r["id"] in record_ids)]
        if bound := [(app, r) for app, f, r in links if not f.is_optional]:
            app, row = bound[0]
            raise Problem(
                f"{len(bound)} of {app.title} belong to it, such as {title_of(row, db.columns_of(app.name))}.",
                fix="Delete or move them first.", status=409)
        if len(rows) == 1 and not links: return db.change(self.name, rows[0], None)["id"]
        name = title_of(rows[0], db.columns_of(self.name)) if len(
            rows) == 1 else f"{len(rows):,} {self.title.lower()}"
        with db.group(self.name, "delete", f"deleted {name}") as entry_id:
            for app, f, row in links: db.change(app.name, app.table.row(row["id"]), {f.name: None})
            for row in rows: db.change(self.name, self.table.row(row["id"]), None)
        return entry_id

    def move(self, record_id: int, after: int | None, before: int | None) -> int | None:
        "Put a record between two others (None: the end); the journal entry that takes it back, if it moved."
        with db.transaction():
            low, high = (self.table.row(other)["position"] if other else None for other in (after, before))
            if low is None and high is None: return None
            position = (high or 0) - GAP if low is None else low + GAP if high is None else (low + high) // 2
            if low is not None and high is not None and not low < position < high:  # no gap left: number all anew
                order = [r["id"] for r in self.table.rows(order_by="position, id", select="id")
                    if r["id"] != record_id]
                order.insert(order.index(before), record_id)
                with db.group(self.name, "update", f"moved {self.label_of(record_id)}") as entry:
                    for n, other in enumerate(order):
                        db.change(self.name, self.table.row(other), {"position": (n + 1) * GAP})
                return entry
            return db.change(self.name, self.table.row(record_id), {"position": position},
                summary=f"moved {self.label_of(record_id)}").get("id")

    # ─── what a record is called, and what it hangs together with ───

    def label(self, row: Mapping) -> str: return title_of(dict(row), db.columns_of(self.name)).strip("“”")
    def label_of(self, record_id: int) -> str: return self.label(self.table.row(record_id))

    def labels(self, ids: Iterable[int]) -> dict[int, str]:
        wanted = sorted({i for i in ids if i})
        return {row["id"]: self.label(row) for row in self.table.rows(f"id IN ({','.join('?' * len(wanted))})",
            wanted)} if wanted else {}

    def find(self, text: str) -> int | None:
        "The id of a record by its number or exact name."
        if text.isdecimal(): return int(text) if len(text) < 19 and int(text) in self.table else None
        name = next((n for n, c in db.columns_of(self.name).items() if c == "TEXT"), "") if self.table.ready() else ""
        found = self.table.rows(f"{quoted(name)} = ? COLLATE NOCASE", [text], limit=2, select="id") if name else []
        return found[0]["id"] if len(found) == 1 else None

    def referrers(self) -> list[tuple["BaseApp", Field]]:
        return [(app, f) for app in all_apps().values() for f in app.fields.values() if f.record is self.record]

    def options(self, field: Field) -> list[tuple[int, str]] | None:
        if not field.record or (target := target_of(field)).table.count() > SELECT_MOST: return None
        return sorted(((row["id"], target.label(row)) for row in target.table.rows()), key=lambda o: o[1].lower())

    def here(self) -> Any:
        "The table, limited to the current profile where records belong to one."
        profile = store.get("profile") if "profile" in self.fields and self.fields["profile"].record else None
        return self.table.xtra(profile=profile) if profile and profile in target_of(
            self.fields["profile"]) else self.table

    # ─── the list ───

    def columns(self) -> list[str]:
        chosen = [n for n in store.get(f"ui.columns.{self.name}", ()) if n in self.fields]
        return chosen or [n for n, f in self.fields.items() if f.kind not in ("markdown", "json", "long")
            and n != "position" and not (n == "profile" and store.get("profile"))][:7] or list(self.fields)[:1]

    def selection(self, params: Mapping) -> tuple[str, list, str]:
        "The condition, its arguments and the order that an address asks for. What makes no sense in it is left out."
        where, args = [], []
        if q := params.get("q", "").strip()[:200]:
            self.table.ready()
            condition, found = db.matching(self.name, q)
            where.append(condition)
            args += found
        for name, field in self.fields.items():
            if not (text := params.get(f"f.{name}", "")): continue
            try:
                value = None if text == "none" and text not in field.choices else to_sql(field,
                    value_of(field, text))
            except Problem: continue
            where.append(f"{quoted(name)} IS ?")
            args.append(value)
        sort = params.get("sort", "")
        order = "position, id" if "position" in self.fields else "id desc"
        if sort.lstrip("-") in self.fields: order = f"{sort.lstrip('-')} {'desc' if sort[0] == '-' else 'asc'}, id"
        return " AND ".join(where), args, order

    def listing(self, params: Mapping) -> FT:
        "The part of the list page that lives: rows, pager, bulk actions."
        kept = {k: v for k, v in params.items() if v and (k in ("q", "sort", "page") or k.startswith("f."))}
        url = lambda **new: f"/{self.name}?{urlencode({k: v for k, v in (kept | new).items() if v})}"
        where, args, order = self.selection(params)
        here = self.here()
        total = here.count(where, args)
        pages = max(1, -(-total // PAGE))
        at = min(max(1, number(params.get("page", "1"))), pages)
        records = here(where, args, order, limit=PAGE, offset=(at - 1) * PAGE)
        columns = self.columns()
        labels = {n: target_of(self.fields[n]).labels(getattr(r, n) for r in records) for n in columns
            if self.fields[n].record}
        live: Any = dict(id=f"{self.name}-list", hx_get=url(),
            hx_trigger=changed(self.name, *["settings"] * ("profile" in self.fields),
                *{target_of(f).name for f in self.fields.values() if f.record}), hx_swap="morph:outerHTML")
        to: Any = dict(hx_target=f"#{self.name}-list", hx_swap="morph:outerHTML", hx_push_url="true")
        if not total: return Div(self.nothing(bool(kept.get("q") or any(k.startswith("f.") for k in kept))), **live)
        can_move = "position" in self.fields and not kept.get("q") and not kept.get("sort")
        sort, heads = params.get("sort", ""), []
        for n in columns:
            up, down = sort == n, sort == f"-{n}"
            link_ = A(self.fields[n].label, Span(" ↑" if up else " ↓" if down else "", aria_hidden="true"),
                href=url(sort=f"-{n}" if up else "" if down else n, page=""),
                hx_get=url(sort=f"-{n}" if up else "" if down else n, page=""), **to)
            heads.append(Th(link_, scope="col", aria_sort="ascending" if up else "descending" if down else None,
                cls="number" if is_number(self.fields[n]) else ""))
        rows = [self.row(record, columns, labels) for record in records]
        pager = Div(Span(f"{(at - 1) * PAGE + 1:,}–{(at - 1) * PAGE + len(records):,} of {total:,}", cls="grow"),
            A("Previous", href=url(page=at - 1), hx_get=url(page=at - 1), role="button", cls="quiet", **to)
            if at > 1 else None, A("Next", href=url(page=at + 1), hx_get=url(page=at + 1), role="button",
                cls="quiet", **to) if at < pages else None, cls="pager")
        return Div(Input(type="hidden", name="sort", value=sort, form=f"{self.name}-filter"),
            Div(
                Table(
                    Thead(Tr(Th(Input(type="checkbox", id="all-ids", aria_label="Select all on this page"),
                        cls="tight"), Th("", cls="tight") if "position" in self.fields else None, *heads,
                        Th(Span("Actions", hidden=True), cls="tight"))),
                    Tbody(*rows, data_move=f"/{self.name}/move" if can_move else None)), cls="table rows"), pager,
            self.bulk_bar(kept, total, len(records)), **live)

    def row(self, record: Any, columns: list[str] | None = None, labels: Mapping = {}) -> Any:
        """A record's row in the list. As text, with every value escaped: fifty rows are most of a page, and FT would take
        40 ms for them."""
        columns, url, drawn = columns or self.columns(), f"/{self.name}/{record.id}", self.render_item(record)
        name = escape(clip(self.label({n: to_sql(f, getattr(record, n)) for n, f in self.fields.items()}
            | {"id": record.id}), 60))
        cells = [self.cell(record, self.fields[n], n == columns[0], labels.get(n))
            for n in columns] if drawn is None else [
            f'<td class="first" colspan="{len(columns)}">{html(drawn)}</td>']
        grip = f'<td class="tight gripping"><span class="grip" title="Drag, or Alt and arrow">{icon("grip")}</span></td>'
        done, tight = " class=done" * bool(getattr(record, "is_done", False)), '<td class="tight'
        return NotStr(f'<tr id="{self.name}-{record.id}" data-row="{record.id}" tabindex="-1"{done}>'
            f'{tight} check"><input type="checkbox" name="ids" value="{record.id}" form="bulk" data-row-key="x" '
            f'aria-label="Select {name}"></td>{grip if "position" in self.fields else ""}{"".join(cells)}'
            f'{tight} acting"><div class="acts"><button class="plain" hx-get="{url}/edit" hx-target="closest tr" '
            f'hx-swap="outerHTML" data-row-key="e" aria-label="Edit {name}">{icon("pencil")}</button>'
            f'<button class="plain" hx-post="{url}/delete" hx-swap="none" data-row-key="Delete" '
            f'aria-label="Delete {name}">{icon("trash")}</button>'
            f'<a href="{url}" hidden data-row-key="Enter" tabindex="-1" aria-label="Open {name}"></a></div></td></tr>')

    def cell(self, record: Any, field: Field, is_first: bool, labels: Mapping | None = None) -> str:
        value = getattr(record, field.name)
        kind = ("number " if is_number(field) else "text " if field.kind == "text" else "") + ("first" if is_first
            else "void" if value in (None, "", []) else "")
        shown = html(self.value(record, field, labels))
        if is_first and field.is_text and isinstance(value, str):
            shown = f'<a class="title" href="/{self.name}/{record.id}">{escape(value or "(no name)")}</a>'
        return f'<td class="{kind}" data-label="{escape(field.label)}">{shown}</td>'

    def value(self, record: Any, field: Field, labels: Mapping | None = None, wide: bool = False) -> Any:
        "One value of a record as it is shown. `labels` has the names of a relation's records, where they are known."
        value = getattr(record, field.name)
        match field.kind:
            case "bool":
                return Input(type="checkbox", checked=value, hx_post=f"/{self.name}/{record.id}/toggle",
                    hx_vals=json.dumps({"field": field.name, "value": "off" if value else "on"}), hx_swap="none",
                    aria_label=field.label, autocomplete="off")
            case "relation" if value:
                target = target_of(field)
                label = (target.labels([value]) if labels is None else labels).get(value)
                return A(label, href=f"/{target.name}/{value}") if label else Span("(deleted)", cls="muted")
            case "choice" if value is not None:
                return Span(str(getattr(value, "value", value)).replace("_", " "), cls="chip")
            case "url" if value:
                return A(clip(value.partition("://")[2] or value, 40), href=value, rel="noopener noreferrer",
                    target="_blank")
            case "email" if value: return A(value, href=f"mailto:{value}")
            case "file" if value: return file_link(value)
            case "markdown" if value: return markdown(value) if wide else clip(value, 120)
            case "long" | "json" if value and not wide: return clip(value, 120)
        return "" if value is None or value == "" else show(value)

    def nothing(self, is_filtered: bool) -> FT:
        if is_filtered:
            return Div(H2("Nothing fits"), P(f"No {self.noun} holds what you look for."),
                Div(A("Show all", href=f"/{self.name}", role="button", cls="quiet"), cls="row"), cls="empty card")
        return Div(H2(f"No {self.title.lower()} yet"), P("Add the first one, or bring in a table you have."),
            Div(Button(icon("plus"), f" New {self.noun}", hx_get=f"/{self.name}/new", hx_target="#dialog-body"),
                A("Import CSV or JSON", href=f"/{self.name}/import", role="button", cls="quiet"), cls="row"),
            cls="empty card")

    def toolbar(self, params: Mapping) -> FT:
        "Search, filters and columns; it stays as it is while the list below is asked for again."
        filters = []
        for n, f in self.fields.items():
            if n == "profile" and store.get("profile"): continue
            choices = [("yes", "yes"), ("no", "no")] if f.kind == "bool" else [(k, k.replace("_", " "))
                for k in f.choices] if f.kind == "choice" else [(str(i), label) for i, label in self.options(f)
                or ()] + ([("none", "none")] if f.is_optional else []) if f.kind == "relation" else []
            if choices:
                filters.append(Select(Option(f"{f.label}: any", value=""),
                    *[Option(f"{f.label}: {label}", value=v, selected=params.get(f"f.{n}") == v)
                        for v, label in choices], name=f"f.{n}", aria_label=f"Filter by {f.label}"))
        search = Form(Div(Input(type="search", name="q", value=params.get("q", ""),
            placeholder=f"Search {self.title.lower()}", aria_label=f"Search {self.title.lower()}", data_key="/"),
            cls="wide"), *filters, id=f"{self.name}-filter", cls="row grow", action=f"/{self.name}",
            hx_get=f"/{self.name}", hx_trigger="input delay:150ms, submit", hx_target=f"#{self.name}-list",
            hx_swap="morph:outerHTML", hx_replace_url="true", hx_sync="this:replace")
        columns = Details(Summary(icon("columns"), role="button", cls="quiet icon-only", aria_label="Columns"),
            Div(Form(*[Label(Input(type="checkbox", name="columns", value=n, checked=n in self.columns()), f.label)
                for n, f in self.fields.items()], Button("Show these"), hx_post=f"/{self.name}/columns",
                hx_swap="none")), cls="menu")
        query = urlencode({k: v for k, v in params.items() if v})
        more = Details(Summary(icon("more"), role="button", cls="quiet icon-only", aria_label="More"),
            Div(A("Import CSV or JSON", href=f"/{self.name}/import"),
                A("Export as CSV", href=f"/{self.name}/export.csv?{query}", download=True),
                A("Export as JSON", href=f"/{self.name}/export.json?{query}", download=True),
                A("History of this app", href=f"/journal?app={self.name}")), cls="menu")
        return Div(search, columns, more, cls="bar")

    def bulk_bar(self, kept: dict, total: int, on_page: int) -> FT:
        "What can be done with the selected records; it shows itself once one is selected."
        fields = [f for f in self.fields.values() if f.kind not in ("file", "json", "markdown")
            and f.name != "position"]
        return Form(Strong("", id="bulk-count"),
            Label(Input(type="checkbox", name="all", value="1"), f" all {total:,}") if total > on_page else None,
            Input(type="hidden", name="query", value=urlencode(kept)),
            Select(Option("Change…", value=""), *[Option(f.label, value=f.name) for f in fields], name="field",
                aria_label="Field to change", hx_get=f"/{self.name}/bulk", hx_trigger="change",
                hx_target="#bulk-value", hx_swap="innerHTML"), Span(id="bulk-value"),
            Button(icon("trash"), " Delete", name="action", value="delete", cls="quiet danger"), id="bulk",
            cls="row", hx_post=f"/{self.name}/bulk", hx_swap="none")

    # ─── forms ───

    def form(self, record_id: int | None = None, values: Mapping | None = None, problem: Problem | None = None,
            key: str = "", version: int = 0, then: str = "", button: str = "") -> FT:
        "The form of a new or an existing record, with what was typed and what is wrong."
        values, wrong = values or {}, problem.fields if problem else {}
        parts = []
        for n, f in self.fields.items():
            if n == "position" or n == "profile" and store.get("profile") and not record_id: continue
            value, options = values.get(n), self.options(f) if f.record else None
            attrs, extra = dict[str, Any](), None
            if f.record and options is None:  # too many for a select: a search
                target = target_of(f)
                value = value and (f"{target.label_of(int(value))} #{value}" if number(value) in target.table
                    else value)
                attrs |= dict(list=f"{n}-options", hx_get=f"/{target.name}/options", hx_trigger="input delay:150ms",
                    hx_target=f"#{n}-options", hx_swap="innerHTML", hx_params=n, placeholder="Type to search")
                extra = Datalist(id=f"{n}-options")
            if not parts and not then.startswith("stay"): attrs["autofocus"] = True
            parts.append(labelled(f, value, wrong.get(n, ""), options, extra, **attrs))
        general = Div(Strong(problem.what), " ", problem.fix, cls="error",
            role="alert") if problem and not wrong else None
        multipart = dict(hx_encoding="multipart/form-data") if any(f.kind == "file"
            for f in self.fields.values()) else {}
        return Form(H2(f"New {self.noun}") if not then else None, general, Div(*parts, cls="fields"),
            *[Input(type="hidden", name=f"_{n}", value=str(v))
                for n, v in (("key", key or secrets.token_hex(8)), ("version", version), ("then", then))],
            Div(Button("Cancel", type="button", cls="quiet", data_close=True) if not then else None,
                Button(button or ("Save" if record_id else f"Add {self.noun}")), cls="actions"),
            hx_post=f"/{self.name}/{record_id}" if record_id else f"/{self.name}", hx_target="this",
            hx_swap="outerHTML", novalidate=True, **multipart)

    def edit_row(self, record_id: int, values: Mapping, problem: Problem | None, version: int) -> FT:
        "A row as a form: the shown columns, in place."
        wrong, form = problem.fields if problem else {}, f"edit-{self.name}-{record_id}"
        cells = [Td(control(f := self.fields[n], values.get(n), self.options(f) if f.record else None, form=form,
            aria_label=f.label, aria_invalid="true" if n in wrong else None, autofocus=not at),
            Small(wrong[n], cls="error", role="alert") if n in wrong else None)
            for at, n in enumerate(self.columns())]
        return Tr(Td(Form(Input(type="hidden", name="_row", value=",".join(self.columns())),
            Input(type="hidden", name="_version", value=str(version)), id=form, novalidate=True,
            hx_post=f"/{self.name}/{record_id}", hx_target="closest tr", hx_swap="outerHTML"), cls="tight"),
            Td(cls="tight gripping") if "position" in self.fields else None, *cells,
            Td(Div(Button("Save", form=form), Button("Cancel", type="button", cls="plain",
                data_cancel=f"/{self.name}/{record_id}/row", data_at=f"#{self.name}-{record_id}"), cls="row"),
                Small(str(problem), cls="error", role="alert") if problem and not wrong else None, cls="tight"),
            cls="editing", id=f"{self.name}-{record_id}")

    def merged(self, record_id: int, values: dict, version: int) -> dict:
        """What a form would change, given what others changed since it was opened: a field the person left alone keeps
        the newer value. Raises Problem (409) where both changed the same field."""
        now, base, who = self.table.row(record_id), {}, ""
        for entry in reversed(db.entries("app=? AND record_id=? AND id>?", [self.name, record_id, version],
                limit=-1) if version else []):
            base = {n: v for n, v in json.loads(entry["before"] or "{}").items()
                if n in (json.loads(entry["after"] or "{}"))} | base
            who = entry["actor"]
        for n in base.keys() & values.keys():
            mine = to_sql(self.fields[n], values[n])
            if mine == base[n]: values[n] = from_sql(self.fields[n], now[n])
            elif mine != now[n]:
                raise Problem(
                    f"Meanwhile {who} changed {self.fields[n].label.lower()} from {base[n]!r} to {now[n]!r}.",
                    fix="Save again to put yours in its place.", status=409)
        return values

    def record_page(self, record_id: int) -> tuple:
        row = self.table.row(record_id)
        record, url = self.table.made(row), f"/{self.name}/{record_id}"
        shown = [(f.label, self.value(record, f, wide=True)) for f in self.fields.values()
            if f.kind in ("markdown", "url", "file", "json") and getattr(record, f.name)]
        related = []
        for app, f in self.referrers():
            others = app.table.rows(f"{quoted(f.name)}=?", [record_id], "id desc", limit=21)
            if others:
                related.append(Div(H2(app.title),
                    Ul(*[Li(A(app.label(o), href=f"/{app.name}/{o['id']}")) for o in others[:20]]),
                    A("All of them", href=f"/{app.name}?f.{f.name}={record_id}") if len(others) > 20 else None,
                    cls="card"))
        return (*head(self.label(row), A(self.title, href=f"/{self.name}", role="button", cls="plain"),
            Button(icon("trash"), " Delete", cls="quiet danger", hx_post=f"{url}/delete",
                hx_vals='{"then": "list"}', hx_swap="none")),
            Div(Div(record.__ft__(), cls="card") if hasattr(record, "__ft__") else None,
                *[Div(H2(label), value, cls="card") for label, value in shown],
                Div(self.form(record_id, {n: getattr(record, n) for n in self.fields},
                    version=db.last_id(self.name, record_id), then="stay"), cls="card"), *related,
                Div(H2("History"), Div(hx_get=f"{url}/history", hx_trigger=f"load, {changed(self.name)}"),
                    cls="card"), cls="stack"))

    # ─── routes ───

    def register_routes(self, rt: Callable) -> None:
        name = self.name

        @rt(f"/{name}", methods=["GET"])
        async def list_get(req: Request):
            params = dict(req.query_params)
            if req.headers.get("hx-target") == f"{name}-list": return self.listing(params)
            new = Button(icon("plus"), f" New {self.noun}", hx_get=f"/{name}/new", hx_target="#dialog-body",
                data_key="n")
            return *head(self.title, new), P(self.description,
                cls="muted") if self.description else None, self.toolbar(params), self.listing(params)

        @rt(f"/{name}/new", methods=["GET"])
        async def new_get(req: Request):
            values = {n: f.blank() for n, f in self.fields.items()} | {n: v for n, v in req.query_params.items()
                if n in self.fields}
            if "hx-request" in req.headers: return self.form(values=values)
            return *head(f"New {self.noun}", A(self.title, href=f"/{name}", role="button",
                cls="plain")), Div(self.form(values=values, then="page"), cls="card")

        @rt(f"/{name}", methods=["POST"])
        async def insert_post(req: Request):
            form = await req.form()
            key, then = str(form.get("_key", ""))[:64], str(form.get("_then", ""))
            if key and (done := db.query("SELECT record_id FROM journal WHERE cause=? AND app=?",
                    [f"form {key}", name])):
                record_id, entry = done[0]["record_id"], 0  # the same form again: a double click, a repeated request
            else:
                try:
                    values = read_form(self.fields, form,
                        [n for n in self.fields if n != "position" and (n in form or n != "profile")])
                    values.update({n: v for n, v in self.here().fixed.items() if n not in form})
                    cause.set(f"form {key}" if key else "")
                    record_id = self.insert(values).id
                except Problem as e: return form_again(req, e, self.form(None, form, e, key, then=then))
                entry = db.last_id(name, record_id)
            if then == "page": return HtmxResponseHeaders(redirect=f"/{name}/{record_id}"), ""
            return toast(f"Added “{self.label_of(record_id)}”", undo=entry)

        @rt(f"/{name}/{{record_id:int}}", methods=["GET"])
        async def record_get(req: Request): return self.record_page(req.path_params["record_id"])

        @rt(f"/{name}/{{record_id:int}}/history", methods=["GET"])
        async def history_get(req: Request):
            entries = db.entries("app=? AND record_id=?", [name, req.path_params["record_id"]])
            return Ul(*[entry_item(e, full=True) for e in entries],
                cls="log") if entries else P("Nothing has happened to it yet.", cls="muted")

        @rt(f"/{name}/{{record_id:int}}/edit", methods=["GET"])
        async def edit_get(req: Request):
            record = self.table[req.path_params["record_id"]]
            return self.edit_row(record.id, {n: getattr(record, n) for n in self.fields}, None,
                db.last_id(name, record.id))

        @rt(f"/{name}/{{record_id:int}}/row", methods=["GET"])
        async def row_get(req: Request): return self.row(self.table[req.path_params["record_id"]])

        @rt(f"/{name}/{{record_id:int}}", methods=["POST"])
        async def update_post(req: Request):
            form, record_id = await req.form(), req.path_params["record_id"]
            in_row = [n for n in str(form.get("_row", "")).split(",") if n in self.fields]
            version = number(form.get("_version", "0"))
            try:
                values = read_form(self.fields, form,
                    in_row or [n for n in self.fields if n != "position"
                        and (n in form or self.fields[n].kind == "bool" and "_key" in form)])
                record = self.update(id=record_id, **self.merged(record_id, values, version))
            except Problem as e:
                if e.status == 404: raise
                version = db.last_id(name, record_id) if e.status == 409 else version
                return form_again(req, e, self.edit_row(record_id, form, e, version) if in_row
                    else self.form(record_id, form, e, version=version, then="stay"))
            entry = db.last_id(name, record_id)
            said = toast(f"Saved “{self.label_of(record_id)}”", undo=entry if entry != version else None)
            return (self.row(record) if in_row else self.form(record_id,
                {n: getattr(record, n) for n in self.fields}, version=entry, then="stay")), said

        @rt(f"/{name}/{{record_id:int}}/delete", methods=["POST"])
        async def delete_post(req: Request):
            form, label = await req.form(), self.label_of(req.path_params["record_id"])
            entry = self.delete(req.path_params["record_id"])
            return toast(f"Deleted “{clip(label, 60)}”",
                undo=entry), *([HtmxResponseHeaders(redirect=f"/{name}")] if form.get("then") == "list" else [])

        @rt(f"/{name}/{{record_id:int}}/toggle", methods=["POST"])
        async def toggle_post(req: Request):
            form, record_id = await req.form(), req.path_params["record_id"]
            field = self.fields.get(str(form.get("field")))
            if not field or field.kind != "bool":
                raise Problem(f"{name} has no such switch.",
                    fix=did_you_mean(str(form.get("field"))[:40],
                        [f.name for f in self.fields.values() if f.kind == "bool"]))
            self.update(id=record_id, **{field.name: value_of(field, str(form.get("value", "")))})
            return toast(f"{self.label_of(record_id)}: {field.label.lower()} {form.get('value')}",
                undo=db.last_id(name, record_id))

        @rt(f"/{name}/move", methods=["POST"])
        async def move_post(req: Request):
            form = await req.form()
            if "position" not in self.fields:
                raise Problem(f"{self.title} have no order of their own.", fix="Add a field `position: int = 0`.")
            return toast("Moved", undo=self.move(number(form.get("id")), number(form.get("after")) or None,
                number(form.get("before")) or None))

        @rt(f"/{name}/columns", methods=["POST"])
        async def columns_post(req: Request):
            store[f"ui.columns.{name}"] = [n for n in (await req.form()).getlist("columns") if n in self.fields]
            return HtmxResponseHeaders(refresh="true"), ""

        @rt(f"/{name}/options", methods=["GET"])
        async def options_get(req: Request):
            text = next(iter(req.query_params.values()), "")
            condition, args = db.matching(name, text) if self.table.ready() else ("0", [])
            return [Option(value=f"{self.label(row)} #{row['id']}")
                for row in self.table.rows(condition, args, limit=20)]

        @rt(f"/{name}/bulk", methods=["GET"])
        async def bulk_get(req: Request):
            if not (f := self.fields.get(req.query_params.get("field", ""))): return ""
            return control(f, f.blank(), self.options(f) if f.record else None, name="value",
                aria_label=f.label), Button("Change", name="action", value="change")

        @rt(f"/{name}/bulk", methods=["POST"])
        async def bulk_post(req: Request):
            form = await req.form()
            if form.get("all"): where, args, _ = self.selection(dict(QueryParams(str(form.get("query", "")))))
            else:
                ids = sorted({number(i) for i in form.getlist("ids")})
                where, args = f"id IN ({','.join('?' * len(ids))})", ids
            ids = [row["id"] for row in self.here().rows(where, args, select="id")]
            if not ids: raise Problem("Nothing is selected.", fix="Tick the records first.")
            if form.get("action") == "change":
                entry, told = await run_in_threadpool(self.bulk_change, ids, str(form.get("field")),
                    form.get("value"))
            elif form.get("action") == "delete": entry, told = await run_in_threadpool(self.delete, *ids), "Deleted"
            else: raise Problem("Nothing is to be done with them.", fix="Choose Delete, or a field to change.")
            return toast(f"{told} {len(ids):,} of {self.title}", undo=entry)

        @rt(f"/{name}/export.{{kind}}", methods=["GET"])
        async def export_get(req: Request):
            kind, params = req.path_params["kind"], dict(req.query_params)
            if kind not in ("csv", "json"):
                raise Problem(f"{clip(kind)} is no format to export to.", fix="Use csv or json.", status=404)
            disposition = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
            return StreamingResponse(self.export(kind, params),
                media_type="text/csv" if kind == "csv" else "application/json", headers=disposition)

        @rt(f"/{name}/import", methods=["GET"])
        async def import_get(req: Request): return *head(f"Import into {self.title}"), self.import_form()

        @rt(f"/{name}/import", methods=["POST"])
        async def import_post(req: Request):
            form = await req.form()
            try: return await run_in_threadpool(self.import_step, form)
            except Problem as e: return form_again(req, e, self.import_form(e))

    def bulk_change(self, ids: list[int], name: str, text: Any) -> tuple[int, str]:
        if name not in self.fields:
            raise Problem(f"{self.title} have no field {clip(name)}.", fix=did_you_mean(name[:40], self.fields))
        value = value_of(self.fields[name], text or "")
        with db.group(self.name, "update",
                f"changed {len(ids):,} {self.title.lower()}: {name} → {clip(value, 40)}") as entry:
            for record_id in ids: self.update(id=record_id, **{name: value})
        return entry, "Changed"

    # ─── out and in ───

    def export(self, kind: str, params: Mapping) -> Iterator[str]:
        "CSV (formula-safe) or JSON of what an address selects, in pieces, so that any number of rows passes through."
        where, args, _ = self.selection(params)
        out, seen, sep = io.StringIO(), 0, "["
        writer = csv.writer(out)
        if kind == "csv": writer.writerow(["id", *self.fields])
        while rows := self.here().rows(f"({where or 1}) AND id > ?", [*args, seen], "id", limit=1000):
            seen = rows[-1]["id"]
            labels = {n: target_of(f).labels(row[n] for row in rows) for n, f in self.fields.items() if f.record
                and kind == "csv"}
            for row in rows:
                if kind == "csv":
                    writer.writerow([row["id"], *(csv_cell(f, row[n], labels.get(n))
                        for n, f in self.fields.items())])
                else:
                    values = {"id": row["id"]} | {n: json.loads(row[n]) if row[n] and f.kind in ("json", "tags")
                        else bool(row[n]) if f.kind == "bool" else row[n] for n, f in self.fields.items()}
                    out.write(f"{sep}\n{json.dumps(values, ensure_ascii=False)}")
                    sep = ","
            yield out.getvalue()
            out.seek(0)
            out.truncate()
        yield out.getvalue() if kind == "csv" else "\n]\n" if sep == "," else "[]\n"

    def import_form(self, problem: Problem | None = None) -> FT:
        return Form(P("A CSV file with a line of names on top, or a JSON list of objects. ",
            "You see what would happen before anything is written."),
            P(Strong(problem.what), " ", problem.fix, cls="error", role="alert") if problem else None,
            Div(Label("File", fr="import-file"),
                Input(type="file", name="file", id="import-file", accept=".csv,.tsv,.txt,.json"), cls="field"),
            Div(Label("or paste", fr="import-text"),
                Textarea(name="text", id="import-text", rows=6, placeholder=",".join(self.fields)), cls="field"),
            Div(A("Cancel", href=f"/{self.name}", role="button", cls="quiet"), Button("Preview", cls="spins"),
                cls="actions"), hx_post=f"/{self.name}/import", hx_encoding="multipart/form-data", hx_target="this",
            hx_swap="outerHTML", cls="card")

    def import_step(self, form: Any) -> Any:
        "Preview what was sent, or carry out what was previewed."
        folder = home.run / "imports"
        token = str(form.get("token", ""))
        if not token:
            file = form.get("file")
            data = file.file.read() if getattr(file, "filename", "") else str(form.get("text", "")).encode("utf-8",
                "replace")
            if not data.strip():
                raise Problem("There is nothing to import.", fix="Choose a file, or paste some rows.")
            folder.mkdir(exist_ok=True)
            for old in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime)[:-4]: old.unlink(missing_ok=True)
            token = secrets.token_hex(8)
            (folder / token).write_bytes(data)
        if len(token) != 16 or not token.isalnum() or not (folder / token).exists():
            raise Problem("This preview is gone.", fix="Choose the file again.")
        names, rows = read_rows((folder / token).read_bytes())
        known = {squeezed(n): n for n in self.fields}
        mapping = {c: str(form.get(f"m.{at}", known.get(squeezed(c), ""))) for at, c in enumerate(names)}
        used = {c: n for c, n in mapping.items() if n in self.fields}
        good, bad = self.checked_rows(rows, used)
        if form.get("action") == "import" and used and not bad:
            entry = self.import_rows(good)
            (folder / token).unlink(missing_ok=True)
            return HtmxResponseHeaders(push_url=f"/{self.name}"), Div(
                H2(f"{len(good):,} {self.title.lower()} imported"), P("One Undo takes all of them back."),
                Div(A("See them", href=f"/{self.name}", role="button"), cls="row"),
                cls="empty card"), toast(f"Imported {len(good):,}", undo=entry)
        missing = [f.label for f in self.fields.values() if f.is_required and f.name not in mapping.values()] or ([]
            if used else ["A field"])
        pickers = [Th(Div(c), Select(Option("(leave out)", value=""),
            *[Option(f.label, value=n, selected=mapping[c] == n) for n, f in self.fields.items()], name=f"m.{at}",
            aria_label=f"Field for {c}", data_submits=True)) for at, c in enumerate(names)]
        verdict = (P(f"{', '.join(missing)} must be filled: choose a column for it.", cls="error", role="alert")
            if missing else None, P(f"All {len(good):,} rows fit.") if not bad
            else Div(P(Strong(f"{len(bad):,} of {len(bad) + len(good):,} rows do not fit."),
                " Nothing is imported until all do: mend the file, or leave a column out.", cls="error",
                role="alert"),
                Div(Table(Thead(Tr(Th("Line", cls="tight"), Th("Why"))),
                    Tbody(*[Tr(Td(str(line), cls="number tight"), Td(why)) for line, why in bad[:200]])),
                    cls="table"), P(f"… and {len(bad) - 200:,} more.") if len(bad) > 200 else None))
        return Form(H2("Which column is which?"),
            Div(Table(Thead(Tr(*pickers)),
                Tbody(*[Tr(*[Td(clip(row.get(c, ""), 60)) for c in names]) for _, row in rows[:5]])), cls="table"),
            *verdict, Input(type="hidden", name="token", value=token),
            Div(A("Cancel", href=f"/{self.name}", role="button", cls="quiet"),
                Button("Import", name="action", value="import", disabled=bool(bad or missing), cls="spins"),
                cls="actions"), hx_post=f"/{self.name}/import", hx_target="this", hx_swap="outerHTML",
            cls="card stack")

    def checked_rows(self, rows: list[tuple[int, dict]], mapping: dict[str, str]) -> tuple[list[dict],
            list[tuple[int, str]]]:
        "Rows as typed values, and (line, reason) for each that does not fit. Nothing is written."
        good, bad = [], []
        for line, row in rows:
            try:
                if None in row:
                    raise Problem("It has more cells than the first line has names.",
                        fix="Put quotes around cells with commas.")
                values, wrong = {}, []
                for column, name in mapping.items():
                    value, field = row.get(column), self.fields[name]
                    if value in ("", None) and not field.is_required: continue
                    try: values[name] = value_of(field, "" if value is None else value)
                    except Problem as e: wrong.append(str(e))
                wrong += [f"{f.name} is missing." for f in self.fields.values() if f.is_required
                    and f.name not in values and f.name not in mapping.values()
                    and not (f.name == "profile" and store.get("profile"))]
                if wrong: raise Problem(" ".join(wrong))
                good.append(values)
            except Problem as e: bad.append((line, str(e)))
        return good, bad

    def import_rows(self, rows: list[dict]) -> int:
        "Insert typed rows, all or nothing; the journal entry that is their one undo."
        here = dict(self.here().fixed)
        with db.group(self.name, "import", f"imported {len(rows):,} {self.title.lower()}") as entry:
            for values in rows: self.insert({**here, **values})
        return entry


def crud(record: type, name: str = "") -> BaseApp:
    "An app for a record class, under its plural or the name given."
    return BaseApp(record, name)


def target_of(field: Field) -> BaseApp:
    "The app whose records a relation points to."
    for app in [*loading.get().apps.values(), *all_apps().values()]:
        if app.record is field.record: return app
    name = getattr(field.record, "__name__", "nothing")
    raise Problem(f"{field.name} points to {name}, which is not an app.", fix=f"Call crud({name}) first.")


def html(value: Any) -> str: return escape(value) if isinstance(value, str) else to_xml(value, indent=False)
def is_number(field: Field) -> bool: return field.kind in ("int", "float", "decimal")
def number(text: Any) -> int:
    return int(text) if str(text).isascii() and str(text).isdecimal() and len(str(text)) < 19 else 0
def squeezed(text: str) -> str: return "".join(c for c in text.lower() if c.isalnum()).removeprefix("is")


def csv_cell(field: Field, value: Any, labels: dict[int, str] | None) -> Any:
    if value is None: return ""
    if field.kind == "bool": return "yes" if value else "no"
    if field.kind == "tags": value = ", ".join(json.loads(value))
    if labels is not None: value = f"{labels.get(value, '')} #{value}"
    return f"'{value}" if isinstance(value, str) and value.lstrip("'").startswith(
        FORMULA) and field.kind != "decimal" else value


def read_rows(data: bytes) -> tuple[list[str], list[tuple[int, dict]]]:
    "The column names and the (line, row) pairs of a CSV or JSON text. Raises Problem where it is neither."
    try: text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError: text = data.decode("cp1252", "replace")
    if text.lstrip().startswith(("[", "{")):
        try: items = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise Problem(f"This is not whole JSON: {clip(e)}.", fix="Give a list of objects.") from None
        if not items or not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
            raise Problem("This JSON is not a list of objects.", fix='Give [{"title": "…"}, …].')
        return [n for n in dict.fromkeys(n for i in items for n in i) if n != "id"
            and n.isprintable()], list(enumerate(items, 1))
    try: dialect: Any = csv.Sniffer().sniff(text[:20000].rpartition("\n")[0] or text, ",;\t|")
    except csv.Error: dialect = csv.excel
    # what it says of quotes is a guess
    dialect = type("Dialect", (csv.excel,), dict(delimiter=dialect.delimiter,
        skipinitialspace=dialect.skipinitialspace))
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect, strict=True)
        names = [n for n in reader.fieldnames or () if n and n != "id"]
        # without the apostrophe that csv_cell puts in front
        rows = [(reader.line_num, {n: v[1:] if isinstance(v, str) and v[0:1] == "'"
            and v.lstrip("'").startswith(FORMULA) else v for n, v in row.items()}) for row in reader
            if any(row.values())]
    except csv.Error as e: raise Problem(f"This CSV is broken: {e}.", fix="Check its quotes.") from None
    if not names or not rows:
        raise Problem("This CSV has no rows under its first line.", fix="Its first line names the columns.")
    return names, rows


def form_again(req: Request, problem: Problem, form: FT) -> Response:
    "A form with what is wrong in it, as an answer with the problem's status."
    return HTMLResponse(to_xml(form, indent=False), status_code=problem.status if problem.status != 400 else 422)


commands.append(lambda: [(f"{verb} {app.noun if verb == 'New' else app.title}", "action", f"/{app.name}/{path}")
    for app in all_apps().values() if isinstance(app, BaseApp)
    for verb, path in (("New", "new"), ("Import into", "import"))])
