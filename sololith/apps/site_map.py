"Site map: the pages of a web site, how they are linked, which are broken, and which nothing leads to."
import asyncio, math
from urllib.parse import urlsplit
from xml.etree import ElementTree
from sololith import *

site_map = pipeline("Site map")


@site_map.step(name="start")
def site_start(url: Url, depth: Annotated[int, Range(0, 20)] = 3, most: Annotated[int, Range(1, 5000), Help("Pages.")] = 200,
        per_second: Annotated[float, Range(0, 100), Help("At most so many a second; 0 for no limit.")] = 5.0):
    "Which site, and how far?"
    return dict(url=url.partition("#")[0], depth=depth, most=most, per_second=per_second)


@site_map.step(name="pages")
async def site_pages(start, browser: Browser):
    "Its pages, four at a time, as robots.txt allows. The broken ones come first, then those that nothing leads to."
    origin, browser.per_second = "://".join(urlsplit(start["url"])[:2]), start["per_second"]
    found, depths = {}, {start["url"]: 0}
    todo, listed = asyncio.Queue(), await asyncio.to_thread(in_sitemap, origin)
    todo.put_nowait(start["url"])
    tabs = [await browser.tab() for _ in range(4)]

    async def work(tab):
        while True:
            url = await todo.get()
            try:
                if not await asyncio.to_thread(may_crawl, url): found[url] = dict(problem="robots.txt asks to leave it")
                else: found[url] = await tab.visit(url)
                for to in found[url].get("links", ()):
                    is_near = to.startswith(origin) and depths[url] < start["depth"]
                    if is_near and to not in depths and len(depths) < start["most"]:
                        depths[to] = depths[url] + 1
                        todo.put_nowait(to)
                progress(len(found), len(depths), "pages")
            finally: todo.task_done()

    workers = [asyncio.ensure_future(work(tab)) for tab in tabs]
    joined = asyncio.ensure_future(todo.join())
    await asyncio.wait([joined, *workers], return_when=asyncio.FIRST_COMPLETED)
    for worker in workers: worker.cancel()
    for problem in [w.exception() for w in workers if w.done() and not w.cancelled()]:
        if problem: raise problem
    for url in listed:
        if url not in found: found[url] = dict(problem="in the site map, and nothing leads there")
    leads = [to for page in found.values() for to in set(page.get("links", ()))]
    rows = [dict(url=url, title=page.get("title", ""), status=page.get("status"), size=page.get("size"),
        depth=depths.get(url), links_in=leads.count(url), links_out=len(page.get("links", ())),
        problem=page.get("problem", ""), leads_to=[to for to in page.get("links", ()) if to in found])
        for url, page in found.items()]
    return sorted(rows, key=lambda r: (not r["problem"], r["depth"] or 0))


def in_sitemap(origin):
    "What a site says of itself in sitemap.xml."
    try: places = ElementTree.fromstring(fetch(f"{origin}/sitemap.xml", fresh=True)).iter()
    except (Problem, ElementTree.ParseError): return []
    return [e.text.strip() for e in places if e.tag.endswith("}loc") and e.text]


@dataclass
class Drawing:
    "A picture as SVG."
    svg: str
    def _repr_svg_(self): return self.svg


@site_map.step(name="picture")
def site_picture(pages):
    "How its pages are linked: rings by depth, broken ones red, those that nothing leads to grey."
    rings, places, parts = {}, {}, []
    outside = 1 + max(page["depth"] or 0 for page in pages)
    for page in pages: rings.setdefault(outside if page["depth"] is None else page["depth"], []).append(page)
    for n, (depth, ring) in enumerate(sorted(rings.items())):
        for i, page in enumerate(ring):
            turn, far = 2 * math.pi * i / len(ring) + n, 460 * depth / outside
            places[page["url"]] = 500 + far * math.cos(turn), 500 + far * math.sin(turn)
    for page in pages:
        for to in page["leads_to"]:
            (a, b), (c, d) = places[page["url"]], places[to]
            parts.append(f'<line x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}" stroke="#8a8a85" stroke-width=".6"/>')
    for page in pages:
        colour = "#8a8a85" if page["depth"] is None else "#b3261e" if page["problem"] else "#0b6a60"
        x, y = places[page["url"]]
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{4 + min(page["links_in"], 20) / 3:.1f}" fill="{colour}"/>')
    return Drawing(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 1000">{"".join(parts)}</svg>')
