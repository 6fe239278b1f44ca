"Link check: which of many links are broken, moved or slow."
import functools
from urllib.parse import urljoin
from sololith import *

link_check = pipeline("Link check",
    "Which of many links are broken, moved or slow. Give them, or a page to take them from.")


def links_in(html, base):
    "The addresses that a page links to."
    from bs4 import BeautifulSoup
    found = [tag.get("href") or tag.get("src") for tag in BeautifulSoup(html, "html.parser").select("a[href], img[src]")]
    urls = [urljoin(base, str(target)).partition("#")[0] for target in found if target]
    return [url for url in urls if url.startswith("http")]


@link_check.step(name="links")
def links_given(urls: Annotated[Text, Help("Addresses, one a line.")] = "",
        page: Annotated[Url | None, Help("A page to take them from.")] = None):
    "Which links?"
    found = [u.strip() for u in urls.split("\n") if u.strip() and not u.startswith("#")]
    if page:
        with answer_of(page) as (answer, _): found += links_in(answer.read(), page)
    if not found: raise Problem("There are no links.", fix="Give some, one a line, or a page that has some.")
    return list(dict.fromkeys(found))


def look_at_link(seconds, url):
    "What one link answers."
    row = dict(url=url, status=None, ms=None, redirects=0, ends_at="", problem="")
    began = datetime.now()
    try:
        with answer_of(url, seconds) as (answer, moved):
            row |= dict(status=answer.status_code, redirects=moved, ends_at=str(answer.url) if moved else "")
        if answer.status_code >= 400: row["problem"] = answer.reason_phrase or "refused"
    except Problem as e: row["problem"] = clip(e, 120)
    return row | dict(ms=round((datetime.now() - began).total_seconds() * 1000))


@link_check.step(name="check")
def links_checked(links, parallel: Annotated[int, Range(1, 64), Help("How many at once.")] = 8,
        timeout: Annotated[float, Range(0.1, 120), Help("Seconds for each.")] = 10):
    "Each link's status, redirects and time. The broken ones come first."
    rows = list(each(links, functools.partial(look_at_link, timeout), parallel=parallel))
    print(f"{sum(bool(r['problem']) for r in rows):,} of {len(rows):,} links have a problem")
    return sorted(rows, key=lambda r: not r["problem"])
