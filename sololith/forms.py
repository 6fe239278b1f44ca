"""Fields become forms and JSON Schemas; what is sent becomes typed values; uploads become files of ours.

    labelled(field, value, error)         # label, input, help and error, tied together for screen readers
    values = read_form(fields, form)      # typed, or a Problem that holds every field's error
    schema_of(fields)                     # the same hints as JSON Schema, for tools
    name = save_upload(upload)            # into files/, under a name of ours; served at /files/NAME

What was typed is kept after an error: pass the form itself as the values.
"""
import contextlib, json, mimetypes, os, re, secrets, shutil, stat
from typing import IO, Any
from collections.abc import Generator, Iterable, Mapping
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response, StreamingResponse
from .base import *
from .fields import KINDS, Field, JsonText, first_choice, typed_values

SELECT_MOST = 200  # a relation to more records than this is searched for, not listed


def as_text(field: Field, value: Any) -> str:
    "A value as an input holds it."
    if value is None: return ""
    match field.kind:
        case "tags" if isinstance(value, list): return ", ".join(value)
        case "json" if not isinstance(value, str) or isinstance(value, JsonText):
            return json.dumps(value, ensure_ascii=False, indent=1)
        case "datetime" | "time" if isinstance(value, datetime | time):
            return value.isoformat(timespec="seconds" if value.second else "minutes")
        case "choice": return str(getattr(value, "value", value))
    return str(value)


def picker(options: Iterable[tuple[Any, str]], chosen: Any, **attrs: Any) -> FT:
    "A select of (value, text) pairs."
    return Select(*[Option(text, value=str(value), selected=str(value) == str(chosen)) for value, text in options], **attrs)


def control(field: Field, value: Any, options: list[tuple[Any, str]] | None = None, **attrs: Any) -> FT:
    "The bare input of a field. `options` are (value, name) pairs to choose from, such as a relation's records."
    if field.asked: return field.asked.draw(field, value, **attrs)
    text = as_text(field, value)
    attrs: Any = dict(name=field.name, required=field.is_required and (field.kind != "file" or not text)) | attrs
    if options is not None: return picker([("", ""), *options], text, **attrs)
    match field.kind:
        case "bool":
            is_on = value is True or text.lower() in ("on", "true", "1", "yes")
            return Input(type="checkbox", role="switch", value="on", checked=is_on, **attrs)
        case "choice":
            blank = [("", "")] if field.is_optional or text not in field.choices else []
            return picker([*blank, *((key, field.called(key)) for key in field.choices)], text, **attrs)
        case "tags" if field.choices:
            chosen = value if isinstance(value, list) else [t.strip() for t in text.split(",")]
            return Fieldset(*[Label(Input(type="checkbox", name=attrs["name"], value=key, checked=key in chosen),
                field.names.get(key, key)) for key in field.choices], cls="choices", id=attrs.get("id"))
        case "long" | "markdown" | "json":
            if text[:1] == "\n": text = f"\n{text}"  # HTML drops the first
            return Textarea(text, rows=3 if field.kind == "long" else 8, cls=field.kind, **attrs)
    if field.kind in ("int", "float", "decimal"):
        attrs |= dict(step="1" if field.kind == "int" else "any", min=field.range.low, max=field.range.high)
    if field.kind == "tags": attrs |= dict(placeholder="one, two, three")
    if field.kind == "file": return Input(type="file", cls="drop", **attrs)
    return Input(type=KINDS[field.kind].input, value=text, autocomplete="off", pattern=field.pattern or None,
        title=field.help or None, **attrs)


def labelled(field: Field, value: Any, error: str = "", options: list[tuple[Any, str]] | None = None,
        extra: Any = None, **attrs: Any) -> FT:
    "A field as a person meets it: name, input, help, and what is wrong with it, if anything."
    uid = attrs.pop("id", f"{field.name}-{secrets.token_hex(3)}")
    help_ = field.help or "Choose one, or drop it here." * (field.kind == "file")
    notes = [Small(help_, id=f"{uid}-help")] if help_ else []
    if field.kind == "file" and value and not isinstance(value, UploadFile):
        notes.append(Small("Now: ", file_link(str(value)), id=f"{uid}-now"))
    if error: notes.append(Small(error, id=f"{uid}-error", cls="error", role="alert"))
    attrs |= dict(id=uid, aria_describedby=" ".join(n.attrs["id"] for n in notes) or None,
        aria_invalid="true" if error else None)
    name = Label(field.label, Span(" optional", cls="muted") if field.is_optional else None, fr=uid)
    return Div(name, control(field, value, options, **attrs), extra, *notes, cls=f"field {field.kind}")


class Sent(FormData):
    "`form: Sent` as a handler's parameter: what a POST sent in its body. What stands in its address is no part of it."
    @staticmethod
    async def __from_request__(req: Request) -> FormData: return await req.form()


def getlist(form: Any, name: str) -> list: return form.getlist(name) if hasattr(form, "getlist") else form.get(name, [])


def file_link(name: str) -> FT:
    "A link to a file in files/."
    return A(name, href=f"/files/{quote(name)}")


def link_button(text: str, href: str, cls: str = "quiet", **attrs: Any) -> FT:
    "A link that looks like a button."
    return A(text, href=href, role="button", cls=cls, **attrs)


def read_form(fields: Mapping[str, Field], form: Mapping[str, Any], only: Iterable[str] | None = None) -> dict:
    """The typed values of a sent form. A field that was not sent is left out, a switch that was not sent is off.
    Raises Problem (422) with every field that is wrong."""
    given = {}
    for name in fields if only is None else only:
        field, value = fields[name], form.get(name)
        if field.kind == "bool": value = value or "off"
        if field.kind == "tags" and field.choices: value = getlist(form, name)
        if value is None or field.kind == "file" and not getattr(value, "filename", value): continue
        given[name] = save_upload(value) if field.kind == "file" and isinstance(value, UploadFile) else value
    return typed_values(fields, given)


def schema_of(fields: Mapping[str, Field], description: str = "") -> dict:
    "JSON Schema (2020-12) of an object with these fields. Source: https://json-schema.org/draft/2020-12"
    properties = {}
    for name, field in fields.items():
        known = KINDS[field.kind]
        kind: dict[str, Any] = {k: getattr(known, k) for k in ("type", "format") if getattr(known, k)}
        if field.kind == "tags": kind["items"] = {"enum": list(field.choices)} if field.choices else {"type": "string"}
        if field.kind == "choice" and field.choices:
            kind = {"enum": [getattr(c, "value", c) for c in field.choices.values()],
                "type": "integer" if isinstance(first_choice(field), int) else "string"}
        for name_, limit in (("minimum", field.range.low), ("maximum", field.range.high)):
            if limit is not None and field.kind in ("int", "float"): kind[name_] = limit
        if field.pattern: kind["pattern"] = f"^(?:{field.pattern})$"
        if field.help: kind["description"] = field.help
        elif field.record: kind["description"] = f"the id of a {field.record.__name__.lower()}"
        if field.is_optional and "type" in kind: kind["type"] = [kind["type"], "null"]
        if field.is_optional and "enum" in kind: kind["enum"].append(None)
        properties[name] = kind
    schema = {"type": "object", "properties": properties,
        "required": [n for n, f in fields.items() if f.is_required], "additionalProperties": False}
    return schema | ({"description": description} if description else {})


# ─── files ───

# A name in files/ that is neither shown nor given.
UNSEEN = re.compile(r"^(\.|$)|[\\\x00-\x1f\ud800-\udfff]|\.db($|-|\.)", re.I)


def save_upload(upload: UploadFile) -> str:
    "Keep an upload in files/ under a name of ours: the letters of its own, a random part, its ending. The new name."
    stem, dot, ending = (upload.filename or "file").replace("\\", "/").rpartition("/")[2].rpartition(".")
    if not dot: stem, ending = ending, "bin"
    clean = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "file"
    name = f"{clean}-{secrets.token_hex(4)}.{re.sub(r'[^a-z0-9]', '', ending.lower())[:8] or 'bin'}"
    write_file(home.files / name, upload.file)
    return name


def write_file(path: Path, source: IO[bytes]) -> None:
    "Put a file in its place, whole or not at all."
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as out:
            shutil.copyfileobj(source, out)
            out.flush()
            os.fsync(out.fileno())
    except OSError as e:
        raise Problem(f"{path.name} could not be kept: {e.strerror}.", fix="Free some space and try again.",
            status=507) from e


@contextlib.contextmanager
def folder_inside(root: Path, parts: Iterable[str]) -> Generator[int, None, None]:
    """A descriptor of a folder below `root`. No part of its path may be a symbolic link, so what is opened is inside,
    whatever is swapped meanwhile. Raises OSError."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally: os.close(folder)


def open_inside(root: Path, name: str) -> int:
    "A descriptor of the regular file `name` below `root`, opened through no link. Raises FileNotFoundError."
    *parts, last = name.split("/")
    if any(map(UNSEEN.search, [*parts, last])): raise FileNotFoundError(name)
    try:
        with folder_inside(root, parts) as folder:
            found = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as e: raise FileNotFoundError(name) from e
    if stat.S_ISREG(os.fstat(found).st_mode): return found
    os.close(found)
    raise FileNotFoundError(name)


FRAMED = "; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@rt("/files/{name:path}", methods=["GET"])
def files_get(req: Request, name: str):
    """A file of the workspace: pictures and PDF are shown, all else is downloaded, and nothing in it may run. HTML and SVG
    are shown with `?frame`: without scripts, without an origin, without anything from elsewhere."""
    try: found = open_inside(home.files, name)
    except FileNotFoundError: return Response("There is no such file.", 404)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    framed = "frame" in req.query_params and kind in ("text/html", "image/svg+xml")
    shown = framed or kind in ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
    place = f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(name.rpartition('/')[2])}"
    headers = {"content-length": str(os.fstat(found).st_size), "content-disposition": place,
        "content-security-policy": "sandbox; default-src 'none'" + FRAMED * framed}
    def blocks():
        with os.fdopen(found, "rb") as file:
            while block := file.read(1 << 18): yield block
    return StreamingResponse(blocks(), headers=headers, media_type=kind if shown else "application/octet-stream")
