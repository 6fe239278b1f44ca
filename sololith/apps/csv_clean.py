"CSV clean: look at a table, mend what is wrong with it, and keep it as a file or as the records of an app."
import functools
from sololith import *

csv_clean = pipeline("CSV clean",
    "Look at a table, mend what is wrong with it, keep it as a file or as the records of an app.")
EMPTY = {"", "n/a", "na", "null", "none", "nan", "nil", "-", "--", "?", "unknown", "#n/a"}
DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y",
    "%d %b %Y", "%d %B %Y", "%d-%b-%y", "%d-%b-%Y")


@functools.lru_cache(100_000)
def as_number(text):
    "The plain text of a number as it is written anywhere: $1,200, 12 %, (3.5); empty for what is none."
    bare = re.sub(r"[\s$€£%]|(?<=\d),(?=\d{3}(\D|$))", "", text)
    if bare[:1] == "(" and bare[-1:] == ")": bare = f"-{bare[1:-1]}"
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", bare, re.I): return ""
    return str(int(number)) if (number := float(bare)).is_integer() else repr(number)


@functools.lru_cache(100_000)
def as_date(text):
    for form in DATES if re.search(r"^\w.*\d", text) and len(text) < 30 else ():
        try: return str(datetime.strptime(text, form).date())
        except ValueError: pass
    return ""


def is_empty(text): return text.strip().lower() in EMPTY
def as_bool(text): return text.lower() if text.lower() in ("yes", "no", "true", "false") else ""


MENDED = {"bool": as_bool, "float": as_number, "int": as_number, "date": as_date}


def kind_of(texts):
    "The type that nine of ten of a column's texts have: int, float, date, bool or str; and how many do not have it."
    texts = [t.strip() for t in texts if not is_empty(t)]
    for kind in ("bool", "float", "date"):
        if sum(not MENDED[kind](t) for t in texts[:50]) > 25: continue
        odd = sum(not MENDED[kind](t) for t in texts)
        if texts and odd <= len(texts) / 10:
            is_whole = not any(re.match(r"0\d", t) or re.search(r"[^\d-]", as_number(t)) for t in texts)
            return "int" if kind == "float" and is_whole else kind, odd
    return "str", 0


@csv_clean.step(name="table")
def csv_table(file: File):
    "Which table? A CSV file with a line of names on top, or a JSON list of objects."
    with open(open_inside(home.files, file), "rb") as found: names, rows = read_rows(found.read())
    return [{n: "" if row.get(n) is None else str(row[n]) for n in names} for _, row in rows]


@csv_clean.step(name="columns")
def csv_columns(table):
    "What is in each column: its type, what is missing, how many different values."
    found = []
    for n in table[0]:
        texts = [row[n] for row in table]
        kind, odd = kind_of(texts)
        filled = [t for t in texts if not is_empty(t)]
        examples = ", ".join(clip(t, 20) for t in list(dict.fromkeys(filled))[:4])
        found.append(dict(column=n, type=kind, odd=odd, missing=len(texts) - len(filled), distinct=len(set(filled)),
            examples=examples))
    return found


def csv_fixes(table, columns):
    "What could be mended: {sign: what it does}."
    cells = [v for row in table for v in row.values()]
    counts = dict(trim=("take spaces off the ends of {} cells", sum(v != v.strip() for v in cells)),
        empty=("empty {} cells that say nothing, such as N/A or null", sum(is_empty(v) and v != "" for v in cells)),
        blank=("leave out {} empty rows", sum(not any(v.strip() for v in row.values()) for row in table)),
        twice=("leave out {} rows that are there already",
            len(table) - len({tuple(row.values()) for row in table})))
    found = {sign: text.format(f"{n:,}") for sign, (text, n) in counts.items() if n}
    for c in columns:
        if c["type"] != "str":
            lost = f"; {c['odd']:,} that are none become empty" if c["odd"] else ""
            as_ = {"int": "whole numbers", "float": "numbers", "date": "dates such as 2026-12-24",
                "bool": "yes or no"}[c["type"]]
            if any(row[c["column"]] != MENDED[c["type"]](row[c["column"]].strip()) for row in table):
                found[f"{c['type']}:{c['column']}"] = f"{c['column']}: write as {as_}{lost}"
    return found


@csv_clean.step(name="clean")
def csv_cleaned(table, columns, fixes: Annotated[list[str], Choices(csv_fixes)] = lambda table,
        columns: list(csv_fixes(table, columns)),
        leave_out: Annotated[list[str], Choices(lambda columns: [c["column"] for c in columns])] = ()):
    "What shall be mended? All that was found is ticked."
    kinds = {f.partition(":")[2]: f.partition(":")[0] for f in fixes if ":" in f}
    rows, seen = [], set()
    for row in progress(table):
        if "blank" in fixes and not any(v.strip() for v in row.values()): continue
        if "twice" in fixes and tuple(row.values()) in seen: continue
        seen.add(tuple(row.values()))
        made = {n: v.strip() if "trim" in fixes else v for n, v in row.items() if n not in leave_out}
        if "empty" in fixes: made = {n: "" if is_empty(v) else v for n, v in made.items()}
        rows.append({n: MENDED[kinds[n]](v.strip()) if n in kinds else v for n, v in made.items()})
    return rows


@csv_clean.step(name="changes")
def csv_changes(table, clean, columns):
    "What that changes."
    kept = list(clean[0]) if clean else []
    pairs, counts = [*zip(table, clean, strict=True)] if len(table) == len(clean) else [], []
    for n in kept:
        changed = [dict(before=row[n], after=now[n]) for row, now in pairs if row[n] != now[n]]
        counts.append(dict(column=n, cells=len(changed)) | (changed[0] if changed else dict(before="", after="")))
    print(f"{len(table):,} rows before, {len(clean):,} after; {len(table[0]):,} columns before, {len(kept):,} after")
    return counts


def csv_places():
    return {"file": "a CSV file to download", "new": "a new app, made from the columns"} | {
        name: f"{app.title}, as new records" for name, app in all_apps().items() if app.can_add}


@csv_clean.step(name="result")
def csv_result(clean, columns, into: Annotated[str, Choices(csv_places)] = "file",
        name: Annotated[str, Help("Of the file or of the new app.")] = "clean") -> File:
    "Where shall it go?"
    if not clean: raise Problem("No row is left.", fix="Revise what is mended.")
    if is_new := into == "new":
        into = identifier(name)
        kinds = {c["column"]: c["type"] for c in columns}
        types = {n: "text" if any(len(r[n]) > 200 for r in clean) else f"{kinds[n]}?"
            if kind_of([r[n] for r in clean]) == (kinds[n], 0)
            and (kinds[n] != "str" or not all(r[n] for r in clean)) else "str" for n in clean[0]}
        new_verb("crud", into, [f"{identifier(n)}:{kind}" for n, kind in types.items()])
        loader.load(into)
    if into != "file":
        app = all_apps()[into]
        mapping = {n: f for n in clean[0] for f in app.fields if squeezed(f) in (squeezed(n), squeezed(identifier(n)))}
        good, bad = app.checked_rows(list(enumerate(clean, 1)), mapping)
        if bad or not mapping:
            if is_new: (home.apps / f"{into}.py").unlink()
            raise Problem(f"{len(bad):,} rows do not fit {app.title}. "
                + " ".join(f"Row {n}: {why}" for n, why in bad[:3]),
                fix="Revise what is mended, or choose another place.")
        app.import_rows(good)
        print(f"{len(good):,} rows are in {app.title} now: /{app.name}. One Undo takes them back.")
    return artifact(f"{identifier(name)}.csv", "".join(csv_of(rows_of(clean))))
