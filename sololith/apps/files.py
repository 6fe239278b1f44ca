"Files: what lies in files/. Look, find, add, rename, move, delete; any of it can be undone."
from sololith import *

styles.append("""
.drop { position: relative; border: 1px dashed var(--edge); border-radius: .7rem; margin-bottom: 1rem;
  text-align: center; label { margin: 0; padding: 1rem } svg { margin-right: .5rem }
  input { position: absolute; inset: 0; height: 100%; width: 100%; opacity: 0; cursor: pointer }
  &:is(:hover, .over) { border-color: var(--accent) } &:has(:focus-visible) { outline: 2px solid var(--accent) } }
[aria-label=breadcrumb] { justify-content: flex-start; li { padding-block: .4rem } }
.shown { max-height: 75vh } iframe.shown { height: 60vh } #bulk [name=to] { max-width: 9rem }
""")
scripts.append("""
for (const kind of ["dragover", "dragleave", "drop"]) document.body.addEventListener(kind, e =>
  e.target.closest(".drop")?.classList.toggle("over", kind === "dragover"))
document.body.addEventListener("htmx:xhr:progress", e => {
  const bar = e.target.querySelector("progress")
  if (bar && e.detail.lengthComputable) bar.value = e.detail.loaded / e.detail.total })
""")


def folder_of(path): return path.rpartition("/")[0]
def name_of(path): return path.rpartition("/")[2]
def count_of(paths): return name_of(paths[0]) if len(paths) == 1 else f"{len(paths):,} files"
def folder_url(path): return address("/files", {"in": path})


# ─── the list ───

def facts_shown(facts):
    "Size and time, as people say them."
    unit = min((len(str(facts.st_size)) - 1) // 3, 4)
    size = f"{facts.st_size / 1000 ** unit:.{unit and 1}f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"
    return size, when(datetime.fromtimestamp(facts.st_mtime).isoformat())


def acts(path):
    url = escape(address("/files", {"name": path}))
    return row_acts(escape(name_of(path)), f'hx-get="{url}" hx-target="#dialog-body" hx-swap="innerHTML"',
        f'name="ids" value="{escape(path)}" hx-post="/file/delete"', "Rename")


def file_row(path, facts, where):
    is_folder, name, (size, at) = stat.S_ISDIR(facts.st_mode), escape(name_of(path)), facts_shown(facts)
    url = escape(folder_url(path) if is_folder else address("/files", {"file": path}))
    return row_html(f"file-{quote(path)}", escape(path), name,
        f'<td class="first"><a class="title" href="{url}" data-row-key="Enter">'
        f'{icon("folder" if is_folder else "file")} {name}</a><small class="muted">{escape(where)}</small>'
        f'</td><td data-label="Size" class="{"void" if is_folder else "number small muted"}">'
        f'{"" if is_folder else size}</td>'
        f'<td data-label="Changed">{to_xml(at)}</td>', acts(path))


def files_list(params):
    "The part of the page that lives: folders first, then files."
    folder, q, sort = path_of(params.get("in")), params.get("q", "").strip()[:200], params.get("sort", "")
    most = number(params.get("most")) or 300
    live, to = living("files", "/files", {"in": folder, "q": q, "sort": sort, "most": params.get("most")})
    by = {"size": lambda f: f[1].st_size, "changed": lambda f: f[1].st_mtime}
    found = sorted(found_in(folder, q.lower().split()), key=by.get(sort.strip("-"), lambda f: f[0].lower()),
        reverse=sort[:1] == "-")
    found.sort(key=lambda f: not stat.S_ISDIR(f[1].st_mode))
    if not found:
        return Div(H2("Nothing fits" if q else "This folder is empty" if folder else "No files yet"),
            P("No name in here holds that." if q else "Drop some above, or press n to choose them."),
            cls="empty card", **live)
    rows = [file_row(path, facts, f" in {folder_of(path) or 'Files'}" if q else "") for path, facts in found[:most]]
    return Div(Hidden(sort, name="sort", form="files-filter"),
        rows_table([sorting(n, n.capitalize(), sort, to, n == "size") for n in ("name", "size", "changed")], rows),
        Div(f"{len(rows):,} of {len(found):,}",
            A("Show more", **to(most=most + 1000)) if len(found) > most else None, cls="pager"),
        bulk_form("/file/move", move_to(), delete_button(hx_post="/file/delete")), **live)


def move_to():
    folders = sorted(path for path, _ in found_in("", [""], folders_only=True))[:1000]
    return picker([("", "Move to…"), ("/", "Files"), *((path, path) for path in folders)], "", name="to",
        data_submits=True, aria_label="Move to")


def drop_zone(folder):
    choose = Input(type="file", name="files", multiple=True)
    return Form(Label(icon("upload"), "Drop files here, or choose them", choose, data_key="n"),
        SENT, Hidden(folder, name="in"), cls="drop",
        hx_post="/file/add", hx_trigger="change", hx_encoding="multipart/form-data", hx_target="this",
        hx_swap="outerHTML")


def crumbs(path):
    parts = path.split("/") if path else []
    return Nav(Ul(*[Li(A(name, href=folder_url("/".join(parts[:n])))) for n, name in enumerate(["Files", *parts])]),
        aria_label="breadcrumb")


def name_form(path, folder, name="", problem=None):
    return Form(H2(f"Rename {name_of(path)}" if path else "New folder"),
        labelled(field_of("name", str), name or name_of(path), str(problem or ""), autofocus=True),
        Hidden(path, name="file"), Hidden(folder, name="in"),
        saving(), hx_post="/file/name", hx_target="this", hx_swap="outerHTML")


# ─── one file ───

def preview(path):
    "A file's page: what can be shown of it, and what can be done with it."
    try: found = open_inside(home.files, path_of(path))
    except FileNotFoundError: raise gone() from None
    with os.fdopen(found, "rb") as file: facts, data = os.fstat(found), file.read(200_000)
    url, is_cut = f"/files/{quote(path)}", facts.st_size > len(data)
    if is_cut: data = data.rpartition(b"\n")[0] or data
    move = Form(Hidden(path, name="ids"), move_to(), hx_post="/file/move", hx_swap="none")
    return (*head(name_of(path), NotStr(acts(path)), A(icon("download"), " Download",
        href=url, download=True, role="button", cls="quiet")),
        Div(crumbs(folder_of(path)), Span(cls="grow"), *facts_shown(facts), *uses(path), move,
            cls="bar muted small"),
        content(name_of(path).lower().rpartition(".")[2], url, data, is_cut))


def uses(path):
    "Links to the pipelines that begin with a file: this one is filled in."
    return [link_button(f"Use in {made.title}", address(f"/{made.name}", {field.name: path}))
        for made in all_pipelines().values() for step in [*made.steps.values()][:1] for field in step.asked.values()
        if field.kind == "file"]


def content(kind, url, data, is_cut):
    "What can be shown of a file."
    if kind in ("png", "jpg", "jpeg", "gif", "webp"): return Img(src=url, alt="The picture", cls="shown")
    if kind in ("html", "htm", "svg"):
        return Iframe(src=f"{url}?frame", sandbox="", cls="foreign shown", title="The page")
    if b"\0" in data[:8000] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return Div(H2("It cannot be shown here"), P("Download it, to open it elsewhere."), cls="empty card")
    text, note = text_of(data), "Only the beginning is shown." if is_cut else ""
    shown = Pre(text, cls="card")
    with contextlib.suppress(ValueError, RecursionError, csv.Error):
        if kind == "md": shown = Div(markdown(text), cls="card")
        if kind == "json": shown = Pre(json.dumps(json.loads(text), ensure_ascii=False, indent=1), cls="card")
        if kind in ("csv", "tsv"):
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
            first, *rows = itertools.islice(reader, 202)
            if rows[200:]: note = "The first 200 rows."
            body = Tbody(*[Tr(*map(Td, row)) for row in rows[:200]])
            shown = Div(Table(Thead(Tr(*map(Th, first))), body), cls="table")
    return shown, P(note, cls="muted small")


# ─── routes ───

@rt("/files", methods=["GET"])
def files_page(req: Request):
    params = dict(req.query_params)
    folder = path_of(params.get("in"))
    if "name" in params: return name_form(path_of(params["name"]), folder)
    if "file" in params: return preview(params["file"])
    listed = files_list(params)
    if req.headers.get("hx-target") == "files-list": return listed
    new = Button(icon("plus"), " New folder", hx_get="/files", hx_vals=json.dumps({"in": folder, "name": ""}),
        hx_target="#dialog-body", cls="quiet")
    search = search_form("files", "/files", params.get("q", ""), "Search here and below", Hidden(folder, name="in"),
        cls="bar")
    return (*head(name_of(folder) or "Files", new), crumbs(folder_of(folder)) if folder else None,
        drop_zone(folder), search, listed)


def carry_out(req, told, moves):
    "Make the moves and say so, with Undo; from the page of a file, go to its folder."
    said = toast(told[:1].upper() + told[1:], undo=change_files(moves, told))
    if "file=" not in req.headers.get("hx-current-url", ""): return said
    return said, HtmxResponseHeaders(redirect=folder_url(folder_of(moves[0][0])))


@rt("/file/add", methods=["POST"])
def file_add(req: Request, form: Sent):
    folder, uploads = path_of(form.get("in")), [f for f in form.getlist("files") if getattr(f, "filename", "")]
    moves = add_files(folder, uploads)
    return drop_zone(folder), carry_out(req, f"added {count_of([path for _, path in moves])}", moves)


@rt("/file/delete", methods=["POST"])
def file_delete(req: Request, form: Sent):
    paths = chosen(form.getlist("ids"))
    return carry_out(req, f"deleted {count_of(paths)}", [(path, in_trash(path)) for path in paths])


@rt("/file/move", methods=["POST"])
def file_move(req: Request, form: Sent):
    paths, to = chosen(form.getlist("ids")), str(form.get("to", ""))
    if not to: raise Problem("It is not said where to.", fix="Choose a folder.")
    folder = path_of(to.strip("/"))
    return carry_out(req, f"moved {count_of(paths)} to {folder or 'Files'}",
        [(path, f"{folder}/{name_of(path)}".strip("/")) for path in paths])


@rt("/file/name", methods=["POST"])
def file_rename(req: Request, form: Sent):
    "Rename a file or folder, or make a new folder."
    path, folder, name = path_of(form.get("file")), path_of(form.get("in")), str(form.get("name", ""))
    try:
        target = f"{folder_of(path) if path else folder}/{file_name(name)}".strip("/")
        told = f"renamed {name_of(path)} to {name_of(target)}" if path else f"added {name_of(target)}"
        return carry_out(req, told, [(path or new_folder(target), target)])
    except Problem as e: return form_again(e, name_form(path, folder, name, e))


link("Files", "/files")
