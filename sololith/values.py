"""Values: kept in the database or as artifacts in files/, and shown, whatever they are.

    kept = keep(value, "runs/12/table")      # a text for a column; what is large becomes files/runs/12/table-….pickle
    value = load(kept)                       # the same value again
    artifact("report.csv", data)             # a file of ours in files/: its name, for a step that returns a File
    show(value)                              # FT for any value; Jupyter's display protocol counts
    show(table, at="/runs/12/value/table")   # sortable, paged, downloadable: its address answers ?sort=, ?page=, .csv

Plain data is kept as JSON, with dates, decimals and paths marked; all else is pickled, and unpickled only where its
hash is the one in the database. A figure is kept as the picture it makes. What cannot be kept is a Problem.
"""
import base64, csv, hashlib, io, itertools, json, pickle, secrets
from dataclasses import dataclass, fields as dataclass_fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from .base import *
from .fields import clip, number, sayable
from .forms import file_link, write_file
from .ui import markdown

INLINE = 64_000   # characters of a value that stay in the database; a longer one becomes a file
TEXT_MOST = 20_000  # characters of a text that are shown
CELL_MOST = 240   # characters of a cell in a table
ROWS = 50         # of a table on one page
MARKED: dict[str, Callable[[str], Any]] = dict(date=date.fromisoformat, datetime=datetime.fromisoformat,
    time=time.fromisoformat, Decimal=Decimal, Path=Path)
# Kinds of value that later chapters keep, load and show, by name: see widgets.py.
OTHERS: dict[str, Any] = {}
# A text that begins so is run by spreadsheets. Source: https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Picture:
    "What a figure looked like."
    png: bytes
    def _repr_png_(self) -> bytes: return self.png


# ─── keeping ───

def plain_data(value: Any) -> Any:
    "`value` as JSON holds it, what JSON lacks as {'$': [type, text]}. Raises TypeError for what is not plain data."
    kind = type(value)
    if value is None or kind in (str, int, float, bool): return value
    if kind is list: return [plain_data(v) for v in value]
    if kind is dict and all(type(k) is str and k != "$" for k in value):
        return {k: plain_data(v) for k, v in value.items()}
    name = "Path" if isinstance(value, Path) else kind.__name__
    if name in MARKED and (kind is MARKED[name] or kind.__module__ in ("datetime", "decimal", "pathlib")):
        return {"$": [name, str(value)]}
    raise TypeError(name)


def unmarked(found: dict) -> Any: return MARKED[found["$"][0]](found["$"][1]) if "$" in found else found


def keep(value: Any, place: str) -> str:
    "A value as a text that `load` reads. Raises Problem for what cannot be kept, and where the disk is full."
    if callable(draw := getattr(value, "savefig", None)):  # matplotlib's figures
        draw(picture := io.BytesIO(), format="png", dpi=144, bbox_inches="tight")
        value = Picture(picture.getvalue())
    for kind, made in OTHERS.items():
        if made.is_one(value): return f"{kind}:{made.keep(value, place)}"
    try: kind, data = "json", json.dumps(plain_data(value), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        try: kind, data = "pickle", pickle.dumps(value, 5)
        except Exception as e:  # whatever an object's own methods raise
            raise Problem(f"The value is a {type(value).__name__}, which cannot be kept ({clip(e, 80)}).",
                fix="Return text, numbers, dates, lists, dicts, a dataclass, a table, a figure or bytes.") from e
    if len(data) <= INLINE: return f"{kind}:{data.decode() if kind == 'json' else base64.b64encode(data).decode()}"
    digest = hashlib.sha256(data).hexdigest()
    write_file(path := home.files / f"{place}-{digest[:12]}.{kind}", io.BytesIO(data))
    return f"file:{digest}:{path.relative_to(home.files)}"


def load(kept: str) -> Any:
    "The value that was kept. Raises Problem where its file is gone or another one, or its class is not loaded."
    kind, _, text = kept.partition(":")
    if kind in OTHERS: return OTHERS[kind].load(text)
    data: bytes = b""
    if kind == "file":
        digest, _, name = text.partition(":")
        try: data = (home.files / name).read_bytes()
        except OSError: pass
        if hashlib.sha256(data).hexdigest() != digest:
            raise Problem(f"The file {name} is gone, or is not what was kept.", fix="Rerun the step that makes it.")
        kind = name.rpartition(".")[2]
    if kind == "json": return json.loads(data or text, object_hook=unmarked)
    try: return pickle.loads(data or base64.b64decode(text))
    except Exception as e:
        raise Problem(f"The value cannot be read: {clip(e, 120)}.", fix="Is what it was made with installed?") from e


def artifact(name: str, data: bytes | str) -> str:
    "Keep `data` as a file in files/artifacts/: its name there, which a step returns as a File."
    stem, _, ending = Path(name).name.rpartition(".")
    made = f"artifacts/{stem or ending}-{secrets.token_hex(4)}{f'.{ending}' if stem else ''}"
    write_file(home.files / made, io.BytesIO(data.encode() if isinstance(data, str) else data))
    return made


# ─── tables ───

class Rows(NamedTuple):
    "A table of any library: the names of its columns, how many rows it has, and some of them, sorted."
    names: list[str]
    count: int
    some: Callable[[int, int, int | None, bool], Iterable[Iterable]]  # start, end, column to sort by, descending

    def dicts(self) -> list[dict]:
        return [dict(zip(self.names, map(cell, row), strict=True)) for row in self.some(0, self.count, None, False)]


def rows_of(value: Any) -> Rows | None:
    "The rows of a pandas or polars frame or series, or of a list of dicts or dataclasses; None of anything else."
    if hasattr(value, "to_frame") and not hasattr(value, "columns"): value = value.to_frame()
    if hasattr(value, "iloc") and hasattr(value, "columns"): return pandas_rows(value)
    if hasattr(value, "iter_rows") and hasattr(value, "columns"): return polars_rows(value)
    if not isinstance(value, list) or not value: return None
    if is_dataclass(value[0]) and all(type(v) is type(value[0]) for v in value):
        value = [{f.name: getattr(v, f.name) for f in dataclass_fields(v)} for v in value]
    if not all(isinstance(v, dict) for v in value): return None
    names = list(dict.fromkeys(n for v in value for n in v))
    def dicts(start: int, end: int, by: int | None, down: bool) -> Iterable:
        order = (lambda r: rank(r.get(names[by]))) if by is not None else None
        return ([r.get(n) for n in names] for r in (sorted(value, key=order, reverse=down) if order
            else value)[start:end])
    return Rows([str(n) for n in names], len(value), dicts)


def pandas_rows(frame: Any) -> Rows:
    if frame.index.name or type(frame.index).__name__ != "RangeIndex": frame = frame.reset_index(allow_duplicates=True)
    def some(start: int, end: int, by: int | None, down: bool) -> Iterable:
        found = frame.set_axis(range(frame.shape[1]), axis=1)
        if by is not None:
            try: found = found.sort_values(by, ascending=not down, kind="stable")
            except TypeError: found = found.sort_values(by, ascending=not down, key=lambda s: s.astype(str))
        return found.iloc[start:end].itertuples(index=False)
    return Rows([str(n) for n in frame.columns], len(frame), some)


def polars_rows(frame: Any) -> Rows:
    def some(start: int, end: int, by: int | None, down: bool) -> Iterable:
        found = frame if by is None else frame.sort(frame.columns[by], descending=down, nulls_last=True)
        return found[start:end].iter_rows()
    return Rows(list(frame.columns), len(frame), some)


def rank(value: Any) -> tuple:
    return (value is None, isinstance(value, str), value if isinstance(value, int | float) else 0, str(value))


def csv_of(rows: Rows) -> Iterator[str]:
    "A table as CSV, in pieces; what a spreadsheet would run gets an apostrophe in front."
    yield csv_text([rows.names])
    body = iter(rows.some(0, rows.count, None, False))
    while some := [*itertools.islice(body, 1000)]:
        yield csv_text(["" if is_void(v) else harmless(v) for v in row] for row in some)


def csv_text(rows: Iterable[Iterable]) -> str:
    csv.writer(out := io.StringIO()).writerows(rows)
    return out.getvalue()


def is_formula(value: Any) -> bool: return isinstance(value, str) and value.lstrip("'").startswith(FORMULA)
def harmless(value: Any) -> Any: return f"'{value}" if is_formula(value) else value


def is_void(value: Any) -> bool:
    return value is None or not isinstance(value, str) and str(value) in ("nan", "NaT", "<NA>", "None")


def show_rows(rows: Rows, at: str, params: Mapping[str, str]) -> FT:
    "A page of a table; with an address, its columns sort and its pages turn."
    sort = params.get("sort", "")
    by = next((at for at in range(len(rows.names)) if str(at) == sort.lstrip("-")), None)
    page = min(max(1, number(params.get("page"))), max(1, -(-rows.count // ROWS)))
    start, end = (page - 1) * ROWS, min(page * ROWS, rows.count)
    def link_(text: str, label: str = "", **to: Any) -> FT:
        url = f"{at}?{urlencode(dict(sort=sort, page=page) | to)}"
        return A(text, hx_get=url, hx_target="closest .value", hx_swap="innerHTML", href=url, aria_label=label or None)
    arrow = lambda n: " ↑" if sort == str(n) else " ↓" if sort == f"-{n}" else ""
    heads = [link_(f"{n}{arrow(i)}", sort=f"-{i}" if sort == str(i) else i, page=1) if at else n
        for i, n in enumerate(rows.names)]
    short = lambda v: clip(v, CELL_MOST) if isinstance(v, str) and len(v) > CELL_MOST else cell(v)  # whole in the CSV
    body = [
        Tr(*[Td(show(short(v)), cls="number" if isinstance(cell(v), int | float | Decimal)
            and not isinstance(v, bool) else None) for v in row])
        for row in rows.some(start, end, by, sort.startswith("-"))]
    turn = [link_("Previous", page=page - 1) if page > 1 else None,
        link_("Next", page=page + 1) if end < rows.count else None,
        A("CSV", href=f"{at}.csv", download=True)] if at else []
    count = f"{start + 1:,}–{end:,} of {rows.count:,}" if rows.count > ROWS else f"{rows.count:,} rows"
    sides = [td.attrs.get("class") for td in body[0].children] if body else [None] * len(heads)
    top = Thead(Tr(*[Th(h, cls=side) for h, side in zip(heads, sides, strict=False)]))
    return Div(Div(Table(top, Tbody(*body)), cls="table"), Div(Span(count), *turn, cls="pager small"))


def cell(value: Any) -> Any:
    "What a table holds, as Python has it."
    if is_void(value): return None
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


# ─── showing ───

def show_as(kind: str, value: Any) -> Any:
    "A value of a kind of field as FT."
    match kind:
        case "markdown": return markdown(sayable(value))
        case "file": return file_link(value)
        case "email": return A(value, href=f"mailto:{value}")
        case "url":
            return A(clip(value.partition("://")[2] or value, 40), href=value, rel="noopener noreferrer", target="_blank")
    return show(value)


def show(value: Any, at: str = "", params: Mapping[str, str] = {}) -> Any:
    """Any value as FT. Objects with `__ft__` draw themselves; then tables; then Jupyter's display protocol counts (MIME
    bundle, HTML, SVG, PNG, Markdown; foreign HTML only in a sandboxed frame); then plain data by its type."""
    if value is None or isinstance(value, str) and not value: return Span("—", cls="muted")  # a frame's == is a frame
    match value:
        case type(): return Pre(repr(value))
        case FT(): return value
        case bool(): return Span("✓", aria_label="yes") if value else Span("–", aria_label="no", cls="muted")
        case datetime(): return Time(f"{value:%-d %b %Y %H:%M}", datetime=value.isoformat())
        case date(): return Time(f"{value:%-d %b %Y}", datetime=value.isoformat(), cls="nowrap")
        case time(): return Time(f"{value:%H:%M}")
        case int() | float() | Decimal():
            return Span(f"{value:,}" if abs(value) >= 10000 else str(value), cls="number")
        case str() if len(value) > TEXT_MOST:
            return Div(Pre(sayable(value[:TEXT_MOST]), tabindex="0"),
                Small(f"… of {len(value):,} characters", cls="muted"))
        case str(): return sayable(value)
        case bytes(): return Span(f"{len(value):,} bytes", cls="muted")
        case Enum(): return Span(str(value.value), cls="chip")
        case Path() if value.is_relative_to(home.files): return file_link(str(value.relative_to(home.files)))
    if hasattr(value, "__ft__"): return value.__ft__()
    for made in OTHERS.values():
        if made.is_one(value): return made.show(value)
    if (rows := rows_of(value)) is not None: return show_rows(rows, at, params)
    bundle_of = getattr(value, "_repr_mimebundle_", None)
    data = bundle_of() if bundle_of else {}
    data = (data[0] if isinstance(data, tuple) else data) or {}
    for kind, method in (("text/html", "_repr_html_"), ("image/svg+xml", "_repr_svg_"), ("image/png", "_repr_png_"),
            ("text/markdown", "_repr_markdown_")):
        if (found := data.get(kind)) is None and callable(getattr(value, method, None)): found = getattr(value, method)()
        if found is None: continue
        if kind == "text/html": return Iframe(srcdoc=found, sandbox="", cls="foreign", title="Output")
        if kind == "text/markdown": return markdown(found)
        encoded = found if isinstance(found, str) and kind == "image/png" else base64.b64encode(found.encode()
            if isinstance(found, str) else found).decode()
        return Img(src=f"data:{kind};base64,{encoded}", alt="Output")
    if isinstance(value, (list, tuple, set)) and value and all(isinstance(v, str) for v in value):
        return Span(*[f for v in itertools.islice(value, 500) for f in (Span(clip(v, 200), cls="chip"), " ")],
            f"… of {len(value):,}" if len(value) > 500 else None)
    if is_dataclass(value): value = {f.name: getattr(value, f.name) for f in dataclass_fields(value)}
    if isinstance(value, (dict, list)):
        is_flat = isinstance(value, list) and not any(isinstance(v, (dict, list)) for v in value)
        value = json.dumps(value, ensure_ascii=False, indent=None if is_flat else 1, default=str)
    return Pre(sayable(text), tabindex="0") if len(text := str(value)) <= TEXT_MOST else show(text)
