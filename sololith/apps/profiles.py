"Profiles: the people, clients or sites you work for. The current one limits the apps whose records belong to one."
from sololith import *


@dataclass
class Profile:
    "A person, client or site that records can belong to."
    name: str
    real_name: str = ""
    address: Url | None = None
    code: Annotated[str, Pattern(r"[A-Za-z0-9_-]{0,20}"),
        Help("A short sign, such as ACME: letters, digits, - and _.")] = ""
    notes: Text = ""


class ProfilesApp(BaseApp):
    "Profiles, and which of them is the current one: `store['profile']`."
    record = Profile

    def delete(self, *record_ids: int) -> int:
        with db.transaction():
            entry = super().delete(*record_ids)
            if store.get("profile") in record_ids: store["profile"] = None
            return entry

    def register_routes(self, rt):
        super().register_routes(rt)

        @rt("/profiles/current", methods=["POST"])
        async def profile_current(form: Sent):
            given = str(form.get("profile", ""))
            if given and self.find(given) is None:
                raise Problem(f"There is no profile {clip(given)}.", fix="Choose one of the list.", status=404)
            store["profile"] = self.find(given) if given else None
            return HtmxResponseHeaders(refresh="true"), ""


profiles = ProfilesApp()


@header
def profile_switch():
    "The current profile, and a menu of the others."
    now, rows = store.get("profile"), profiles.rows(order_by="name", limit=30)
    if not rows: return None
    current = profiles.label_of(now) if now in profiles else None
    return Details(Summary(current or "All profiles", role="button", cls="plain" if not current else "quiet",
        aria_label=f"Profile: {current or 'all'}"),
        Div(*[Button(name, Span("✓") if (i or None) == now else None, hx_post="/profiles/current",
            hx_vals=json.dumps({"profile": i}), hx_swap="none")
            for i, name in [("", "All profiles"), *((row["id"], row["name"]) for row in rows)]],
            A("Manage profiles", href="/profiles", cls="muted")), cls="menu")
