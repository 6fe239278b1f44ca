"Watch: a web page, or a part of one, and what has changed since the last look. Run it on a schedule."
import difflib
from sololith import *

watch = pipeline("Watch")


@watch.step(name="page")
def watched_page(url: Url, part: Annotated[str, Help("A part of it, as CSS: #price. Empty: what there is to read.")] = ""):
    "Which page?"
    return dict(url=url, part=part)


@watch.step(name="now", retry=1)
async def watched_now(page, browser: Browser):
    "What it says now."
    shown = await browser.open(page["url"])
    return (await shown.text(page["part"]) if page["part"] else await shown.markdown()).strip()


@watch.step(name="change")
def watched_change(page, now):
    "What is otherwise than at the last look. When something is, you are told."
    key = f"watch.{page['url']} {page['part']}"
    before = store.get(key)
    store[key] = now
    if before is None: return "This was the first look: there is nothing to compare it with yet."
    if before == now: return "Nothing has changed."
    broadcaster.publish({"apps": ["runs"], "notice": f"{clip(page['url'], 80)} has changed.", "href": "/watch"})
    return "\n".join(list(difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "now", lineterm="", n=1)))
