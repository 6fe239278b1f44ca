"The journal: every change, whoever made it; what it changed, and back."
from sololith import *

SINCE = {"": "any time", "1": "the last hour", "24": "the last day", "168": "the last week", "720": "the last month"}
ACTORS = ("person", "model", "pipeline", "schedule", "cli", "mcp")


def journal_where(params):
    "The condition and arguments that the page's address asks for."
    where, args = ["part_of IS NULL"], []
    def add(condition, value):
        where.append(condition)
        args.append(value)
    if part := number(params.get("part_of")): where, args = ["part_of = ?"], [part]
    for name in ("app", "actor"):
        if params.get(name): add(f"+{name} = ?", params[name])  # the + keeps SQLite from an index that it would have to sort
    if q := params.get("q", "").strip(): add("summary LIKE ? ESCAPE '!'", like_of(q))
    if hours := min(number(params.get("since")), 10**6):
        add("at >= ?", (datetime.now(timezone.utc) - timedelta(hours=hours)).isoformat("T", "milliseconds"))
    if "after" in params: add("id > ?", number(params["after"]))
    if before := number(params.get("before")): add("id < ?", before)
    return " AND ".join(where), args


def journal_list(params):
    "The entries that fit, newest first, a page at a time."
    where, args = journal_where(params)
    entries = db.entries(where, args, limit=51)
    live, to = living("journal", "/journal", params, "any")
    older = link_button("Older", **to(before=entries[49]["id"])) if entries[50:] else None
    nothing = Div(H2("Nothing happened"), P("Nothing fits. What you change anywhere is written here."),
        link_button("Show all", "/journal"), cls="empty")
    return Div(Ul(*[entry_item(e, full=True) for e in entries[:50]], cls="log") if entries else nothing,
        Div(older, cls="pager"), cls="card", **live)


@tool(reads=True, owner="journal", kind="find")
def journal_find(text: str = "", app: str = "", since: date | None = None, limit: Annotated[int, Range(1, 100)] = 20) -> str:
    "Look up what was changed, by whom and when."
    where, args = journal_where(dict(q=text, app=app))
    if since: where, args = f"{where} AND at >= ?", [*args, datetime(since.year, since.month, since.day).astimezone(
        timezone.utc).isoformat("T", "milliseconds")]
    return "\n".join(map(line_of, db.entries(where, args, limit))) or "Nothing like that was changed."


@rt("/journal", methods=["GET"])
async def journal_get(req: Request):
    params = dict(req.query_params)
    if req.headers.get("hx-target") == "journal-list": return journal_list(params)
    apps = [row["app"] for row in db.query("SELECT DISTINCT app FROM journal ORDER BY app")]
    pick = lambda name, label, options: picker(options, params.get(name, ""), name=name, aria_label=label)
    filters = search_form("journal", "/journal", params.get("q", ""), "Search the journal",
        pick("app", "App", [("", "every app"), *((a, a) for a in apps)]),
        pick("actor", "Actor", [("", "everyone"), *((a, a) for a in ACTORS)]), pick("since", "Time", SINCE.items()),
        cls="bar")
    part = params.get("part_of", "")
    whole = P("The parts of ", A(f"entry {part}", href="/journal"), ".", cls="muted") if part else None
    since_now = link_button("Everything since now", f"/journal?after={db.last_id()}",
        title="An empty page that fills with what happens from here on")
    return *head("Journal", since_now), filters, whole, journal_list(params)


link("Journal", "/journal")
