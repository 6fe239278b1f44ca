"""Screenshots of every page and its main states, from a workspace filled with believable data: what `make shots` does.

    python scripts/shots.py [NAME …]        # shots/NAME-{desktop,phone}-{light,dark}.png and shots/index.html

Without a name, all of SCENES, and docs/screenshot.png, which is also called readme. tests/test_axe.py goes through the same scenes.
"""
import contextlib
import html
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from helpers import Server, wait_for  # noqa: E402  # ty: ignore
from model_server import ModelServer  # noqa: E402  # ty: ignore

SIZES = {"desktop": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}


# ─── the workspace ───

AUTHORS = '''"Authors: who wrote it down."
from sololith import *

@dataclass
class Author:
    "Somebody whose recipes we cook."
    name: str
    country: str = ""
    website: Url | None = None

authors = crud(Author)
'''
RECIPES = '''"Recipes: what we cook."
from sololith import *
from sololith_apps.authors import Author

@dataclass
class Recipe:
    "Something to cook."
    title: str
    servings: Annotated[int, Range(1, 24), Help("How many it feeds.")] = 2
    course: Literal["starter", "main", "dessert"] = "main"
    is_cooked: bool = False
    cook_by: date | None = None
    author: Author | None = None
    tags: Tags = field(default_factory=list)
    method: Markdown = ""

recipes = crud(Recipe)
'''
READINGS = '''"Readings: an app that nobody has put anything into yet."
from sololith import *

@dataclass
class Reading:
    "What a meter shows."
    meter: str
    at: date
    value: float

readings = crud(Reading)

@rt("/readings/broken", methods=["GET"])
async def broken(req: Request): return {}["kWh"]
'''
BROKEN = '''"Invoices: what we are owed."
from sololith import *

@dataclass
class Invoice:
    number: str
    total: Decimal

invoices = crud(Invoise)
'''
PROFILES = [("Home", "", "", "HOME"), ("Lindqvist & Daughters", "Maja Lindqvist", "https://lindqvist.example", "LD"),
            ("Harbour Museum", "Tomás Ferreira", "https://harbour-museum.example", "HM"), ("Beekeepers' Club", "", "", "BEES")]
TASKS = """Send Maja the revised floor plan|LD|1|high
Call the museum about the loan of the sextant|HM|0|high
Renew the passport|HOME|12|high
Book the ferry to Öland for the second week of August|HOME|20|normal
Order 200 m of oak flooring, brushed and oiled|LD|3|high
Write the wall text for room 4|HM|6|normal
Check the hives after the storm|BEES|2|high
Pay the water bill|HOME|-2|high
Read the fire inspector's report|HM|-1|normal
Sharpen the kitchen knives|HOME||low
Ask Tomás for the visitor numbers of spring|HM|4|normal
Scan the 1911 harbour map at 600 dpi|HM|9|normal
Return the library books|HOME|5|normal
Prepare the talk on swarm control|BEES|15|normal
Invoice for May and June|LD|7|high
Choose tiles for the upstairs bathroom|LD|10|normal
Replace the bicycle's rear tyre|HOME||normal
Order 40 jars with lids|BEES|18|low
Update the membership list|BEES|25|low
Photograph the finished staircase|LD|30|low
Plan Ines's birthday|HOME|14|normal
Descale the coffee machine|HOME||low
Translate the audio guide into Portuguese|HM|40|normal
Get three quotes for the glass railing|LD|11|normal
Measure the attic windows again|LD||normal
Label the spare keys|HOME||low
Back up the photos from the trip|HOME|8|normal
Treat against varroa|BEES|33|high
Sign the lease for the honey room|BEES|21|normal
Draft the autumn programme|HM|45|low""".splitlines()
RECIPE_ROWS = [("Leek and potato soup", 4, "starter", True, "Elena Marchetti", "quick, winter"), ("Saffron risotto", 4, "main", True, "Elena Marchetti", "rice"),
               ("Baked trout with fennel", 2, "main", False, "Per Åkesson", "fish"), ("Walnut and pear salad", 2, "starter", False, "Noor Haddad", "quick"),
               ("Aubergine with tahini", 6, "starter", True, "Noor Haddad", "vegan, party"), ("Cardamom buns", 12, "dessert", True, "Per Åkesson", "baking"),
               ("Lemon tart", 8, "dessert", False, "Elena Marchetti", "baking"), ("Lamb with apricots", 6, "main", False, "Noor Haddad", "slow, party")]
METHOD = """Sweat two **leeks** in butter, ten minutes, lid on.

1. Add 400 g of floury potatoes, diced.
2. Cover with stock and simmer until they fall apart.
3. Blend *half* of it, so that it keeps some bite.

> Nutmeg, not pepper.

| For | Potatoes | Leeks |
|---|---|---|
| 2 | 400 g | 2 |
| 6 | 1.2 kg | 5 |
"""
TIDES = '''"Tides: what a gauge has measured, drawn and told."
from sololith import *

tides = pipeline("Tides", "What a tide gauge has measured: looked at, drawn, told, and sent on once you approve of it.")

class Drawing:
    def __init__(self, heights): self.heights = heights
    def _repr_svg_(self):
        line = " ".join(f"{n * 6},{90 - h * 20:.0f}" for n, h in enumerate(self.heights))
        return f\'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 180" width="720"><polyline points="{line}" fill="none" stroke="#0f6b62" stroke-width="3"/></svg>\'

@tides.step
def readings(station: Annotated[Literal["Bremerhaven", "Cuxhaven", "Husum"], Help("Where the gauge stands.")] = "Cuxhaven", hours: Annotated[int, Range(1, 2000)] = 120,
        is_checked: bool = True):
    "Which gauge, and how far back?"
    from math import sin
    print(f"{hours} readings from {station}")
    return [dict(at=datetime(2026, 3, 1) + timedelta(hours=n), station=station, height=round(3.2 * sin(n / 1.98) + sin(n / 30), 2), wind="SW" if n % 3 else "NNW",
        remark="Gauge cleaned; the value before it may be low" if n == 4 else None) for n in range(hours)]

@tides.step
def highest(readings):
    "How high it came."
    return max(r["height"] for r in readings)

@tides.step
def drawing(readings):
    "The curve."
    return Drawing([r["height"] for r in readings][:120])

@tides.step
def summary(readings, highest) -> Markdown:
    "In words."
    return f"## {len(readings)} hours\\n\\nThe water rose to **{highest} m** above datum.\\n\\n- No reading is missing\\n- One remark\\n\\n| Wind | Hours |\\n|---|---|\\n| SW | 80 |\\n| NNW | 40 |"

@tides.step
def protocol(readings):
    "The protocol, line by line."
    return "\\n".join(f"{r['at']:%d.%m. %H:%M}  {r['height']:+.2f} m  {r['wind']}" for r in readings)

@tides.step(when=lambda highest: highest > 9)
def warning(highest):
    "Only for a storm tide."

@tides.step
def report(readings) -> File:
    "A file to pass on."
    return artifact("tides.csv", "at,height\\n" + "".join(f"{r['at']},{r['height']}\\n" for r in readings))

@tides.step(asks=True)
def send(report, to: Email = "harbour@example.org", note: Text = ""):
    "Shall it be sent? Nothing leaves the machine before you say so."
    return {"to": to, "file": report}

survey = pipeline("Survey", "Walks along the dike, post by post.")

@survey.step
def posts(last: Annotated[int, Help("The number of the last post.")] = 400):
    "How far?"
    return list(range(1, last + 1))

@survey.step
def walk(posts):
    "Each post is looked at."
    from time import sleep
    for post in progress(posts, what="posts"):
        if post % 40 == 1: print(f"post {post}: settled by {post % 7} mm since last year")
        if len(posts) > 100: sleep(0.05)
        if len(posts) == 13: raise ValueError("post 13 is not there: the ditch was moved in 2019")
    return len(posts)

@survey.step
def verdict(walk):
    "What follows."
    return f"{walk} posts are sound."

chain = pipeline("Chain", "Thirty steps, one after the other.")
for n in range(1, 30): chain.step(name=f"link_{n}")(lambda: "Forged and tested")
chain.step(name="shackle")(lambda size=90: f"Shackle of {size} mm")
'''
MESSY = "Name ,Joined,Fee,Member\n Ada Lovelace,12.03.2024,\"$1,200\",yes\nBob  ,2024-05-06,80,no\nBob  ,2024-05-06,80,no\n,,,\nCleo,N/A,95.5,yes\n"
NOTES = [("How the boiler is bled", "1. Turn the pump **off**.\n2. Start with the lowest radiator.\n3. Close the valve when water comes.\n\nPressure cold: `1.5 bar`."),
         ("Ideas for the autumn exhibition", "- Knots, and who tied them\n- *The sextant* as the centre of room 4\n- Sound: harbour at 5 a.m."),
         ("Wi-Fi for guests", "On the fridge door."), ("Books to read", "- The Living Mountain\n- A Month in the Country\n- The Summer Book"),
         ("What we agreed with Maja", "Oak, **brushed**, no varnish. Stairs first.\n\n[Her shop](https://lindqvist.example)"), ("Measurements of the attic", "Window 1: 78 × 118\nWindow 2: 78 × 98")]
FILES = {"Quarterly report.pdf": b"%PDF-1.7" + bytes(348_000), "visitors-2026.csv": "Month,Visitors,Guided tours,Remark\n" + "".join(
            f"{month},{1200 + n * n * 37},{n % 5},{'Room 4 was closed' if n == 3 else ''}\n" for n, month in enumerate("January February March April May June July August September".split())),
         "How we label.md": METHOD, "harbour.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 120" width="300"><path d="M0 90q75-40 150 0t150 0v30H0z" fill="#0f6b62"/><circle cx="230" cy="35" r="18" fill="#e0b04a"/></svg>',
         "hives.json": '{"hives": [{"name": "North", "frames": 9, "treated": true}, {"name": "By the quince", "frames": 11, "treated": false}]}', "wall text room 4.txt": "The sextant was made in Bremerhaven in 1911.\n",
         "Exhibition 2026/plan.html": "<h1>Room 4</h1><p>North wall</p>", "Exhibition 2026/loans/sextant-agreement-signed-by-both-parties-final.docx": bytes(48_200), "Exhibition 2026/budget.tsv": "What\tCost\nGlass\t1200\n",
         "Photos/staircase.png": b"\x89PNG" + bytes(2_400_000), "backup-of-the-old-site.zip": bytes(1_800_000)}
BAD_CSV = "title,servings,course,cook_by\nOnion tart,6,main,2026-10-02\nFish soup,many,main,\nPlum cake,8,pudding,2026-09-30\nBeetroot salad,4,starter,soon\n"
GOOD_CSV = "Title;Servings;Course;Cook by\nOnion tart;6;main;2026-10-02\nPlum cake;8;dessert;2026-09-30\nBeetroot salad;4;starter;\n"


CONVERSATIONS = [[("Remember that the museum's loans go through Tomás.", "I'll remember that: loans of the museum go through **Tomás**.")],
                 [("What did I change today?", "Today you\n\n- moved two tasks to *high* priority,\n- renamed **Leek and potato soup** to feed six,\n- deleted a note, and took that back.\n\nThe sextant is still open: *Call the museum about the loan of the sextant*."),
                  ("Write me a function for the tide's height from @tides", """A cosine between high and low water is close enough:

```python
def height(hours: float, high: float, low: float) -> float:
    "Metres above datum, `hours` after high water."
    return (high + low) / 2 + (high - low) / 2 * cos(2 * pi * hours / 12.42)
```

| after | height |
|---|---|
| 0 h | high |
| 6.2 h | low |""")]]


def call(tool: str, **args: object) -> str: return json.dumps({"tool": tool, "args": args}, ensure_ascii=False)


# Conversations in which the model acts, by the scene that shows them: what is said, what it answers, what is then done with the card.
ACTED: dict[str, list[tuple[str, list[str], str]]] = {
    "cards": [("Add a task: order beeswax from Lund, due friday, high", [call("tasks_add", title="Order beeswax from Lund", due="friday", priority="high")], ""),
              ("Rename “Sharpen the kitchen knives” to “Sharpen all knives”, with normal priority", [call("tasks_change", which=["Sharpen the kitchen knives"], title="Sharpen all knives", priority="normal")], "take_back"),
              ("Which tasks are about the museum?", [call("tasks_find", text="museum"), "Two, and both are about the loan of the sextant."], "")],
    "waits": [("hm, the lamb", [call("recipes_delete", which=["Lamb with apricots"])], "decline"),
              ("hm, the oak flooring by next monday, important", [call("tasks_change", which=["Order 200 m of oak flooring, brushed and oiled"], due="next monday", priority="low",
                  notes="Ask Maja first: she may have 40 m left over, and the price went up by a tenth.")], "")],
    "failed": [("Add a task for monday: call the printer, it is critical", [call("tasks_add", title="Call the printer", due="monday", priority="critical")] * 2 + [call("tasks_add", title="Call the printer", due="monday", priority="high")], ""),
               ("Delete the task about the greenhouse heating", [call("tasks_delete", which=["Greenhouse heating"])] * 3, "")],
    "several": [("Set all that are low to normal", [call("tasks_change", which=["low"], priority="normal")], ""),
                ("Remind me of jars, lids and labels", [" ".join(call("tasks_add", title=f"{what} for the honey") for what in ("Jars", "Lids", "Labels"))], "")],
    "autopilot": [("Run hello for Ines on autopilot, and cool", [call("hello_run", name="Ines"), '{"tone": "cool"}', "Ines.\n\nThe hives are well."], ""),
                  ("Run CSV clean over @files/visitors-2026.csv on autopilot", [call("csv_clean_run", file="visitors-2026.csv"), "{}", '{"into": "file", "name": "visitors"}'], "")]}


@contextlib.contextmanager
def filled(folder: Path) -> Generator[Server]:
    "A server with all of it, and a scripted model that has said what stands above."
    said = {question: answer for turns in CONVERSATIONS for question, answer in turns}
    with ModelServer(models=["qwen2.5-coder:1.5b"]) as model, Server(folder) as server:
        model.answers(lambda body: next((a for q, a in said.items() if body["messages"][-1]["content"].endswith(q)), "Dear friend, all is well."))
        server.restart(login=True, port=0, env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"})
        fill(server)
        for number, turns in enumerate(CONVERSATIONS, 1):
            for at, (question, _) in enumerate(turns, 1):
                answer = server.post("/chat", {"c": number if at > 1 else 0, "text": question}, HX_Current_URL=f"{server.url}/tides")
                assert answer.status == 200, answer
                wait_for(lambda n=number, a=at: server.get(f"/chat/list?c={n}").text.count(">Retry<") == a, what="the answer")
        for number, (name, turns) in enumerate(ACTED.items(), len(CONVERSATIONS) + 1):
            act(server, model, number, turns)
            TALKS[name] = number
        server.post("/chat/act", {"c": len(CONVERSATIONS), "act": "open"})
        yield server


TALKS: dict[str, int] = {}  # the conversations of ACTED, by name


def act(server: Server, model: ModelServer, conversation: int, turns: list[tuple[str, list[str], str]]) -> None:
    "Have the model act in a conversation, and do with its last card what is said."
    for at, (said, answers, then) in enumerate(turns, 1):
        for answer in answers: model.says(answer)
        assert server.post("/chat", {"c": conversation if at > 1 else 0, "text": said}, HX_Current_URL=f"{server.url}/tasks").status == 200
        wait_for(lambda a=at: server.get(f"/chat/list?c={conversation}").text.count(">Retry<") == a, what=f"the answer to {said}")
        assert not model.queue, (said, list(model.queue))
        card = re.findall(r'id="m-(\d+)" class="call', server.get(f"/chat/list?c={conversation}").text)[-1]
        if then: assert server.post("/chat/act", {"c": conversation, "m": card, "act": then}).status < 300


def fill(server: Server) -> None:
    "Put all of it into a fresh workspace, through the same routes as a person's clicks."
    def add(app: str, **values: object) -> int:
        answer = server.post(f"/{app}", {key: value for key, value in values.items() if value not in ("", None, False)})
        assert answer.status == 200, (app, values, answer)
        return int(server.get(f"/{app}/export.json").json()[-1]["id"])

    apps = server.workspace / "apps"
    apps.mkdir(parents=True, exist_ok=True)
    for name, source in (("authors", AUTHORS), ("readings", READINGS), ("recipes", RECIPES), ("tides", TIDES), ("invoices", BROKEN)):
        (apps / f"{name}.py").write_text(source)
    server.restart()
    profiles = {code: add("profiles", name=name, real_name=real, address=address, code=code) for name, real, address, code in PROFILES}
    for at, line in enumerate([*TASKS, *TASKS]):
        title, code, days, priority = line.split("|")
        if at >= len(TASKS): title = f"{title}: what is left"
        due = date.today() + timedelta(int(days) + at // 3) if days else ""
        add("tasks", title=title, due=due, priority=priority, profile=profiles[code], is_done="on" if at % 5 == 3 or at > 50 else "",
            notes="Ask first whether the measurements are still right." if at % 7 == 0 else "")
    authors = {name: add("authors", name=name, country=country) for name, country in (("Elena Marchetti", "Italy"), ("Per Åkesson", "Sweden"), ("Noor Haddad", "Lebanon"))}
    for at, (title, servings, course, is_cooked, author, tags) in enumerate(RECIPE_ROWS):
        add("recipes", title=title, servings=servings, course=course, is_cooked="on" if is_cooked else "", author=authors[author], tags=tags,
            cook_by="" if at % 3 else date.today() + timedelta(at * 4 + 1), method=METHOD if at == 0 else "Taste, then salt.")
    for title, body in NOTES: add("notes", title=title, body=body)
    files = server.workspace / "files"
    for name, data in FILES.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(data.encode() if isinstance(data, str) else data)
        then = time.time() - len(name) * 40_000
        os.utime(files / name, (then, then))
    (files / "empty").mkdir()
    server.post("/recipes/1", {"_row": "title,servings", "title": "Leek and potato soup", "servings": 6})
    server.post("/tasks/2/toggle", {"field": "is_done", "value": "on"})
    server.post("/tasks/2/toggle", {"field": "is_done", "value": "off"})
    server.post("/notes/3/delete")
    server.post("/undo")
    server.post("/tasks/bulk", {"ids": [8, 9], "action": "change", "field": "priority", "value": "high"})
    fill_runs(server)


RUNS: dict[str, int] = {}  # the runs that scenes show, by name


def fill_runs(server: Server) -> None:
    def run(name: str, pipeline: str, /, files: dict | None = None, title: str = "", waits: bool = True, **answers: object) -> None:
        answer = server.post(f"/{pipeline}", answers, files=files)
        assert answer.status == 200 and "HX-Redirect" in answer.headers, answer
        RUNS[name] = int(answer.headers["HX-Redirect"].rpartition("/")[2])
        if waits: settled(server, RUNS[name])
        if title: assert server.post(f"/runs/{RUNS[name]}/rename", {"title": title}).status == 200

    def step(run: str, name: str, /, **answers: object) -> None:
        form = server.get(f"/runs/{RUNS[run]}/steps/{name}").text
        answer = server.post(f"/runs/{RUNS[run]}/steps/{name}", answers | {"_version": re.findall(r'value="(\d+)"', re.findall(r"<input[^>]*_version[^>]*>", form)[0])})
        assert answer.status == 200, answer
        settled(server, RUNS[run])
    run("hello", "hello", name="Ada")
    run("letter", "hello", name="Grace")
    step("letter", "greeting", tone="cool")
    run("tides", "tides", station="Cuxhaven", hours=120, is_checked="on")
    run("sent", "tides", title="Husum, last week", station="Husum", hours=168, is_checked="on")
    step("sent", "send", to="harbour@example.org", note="As every week.")
    server.post(f"/runs/{RUNS['sent']}/act", {"act": "lock"})
    run("failed", "survey", last=13, title="The dike in the rain")
    run("cancelled", "survey", last=400, waits=False)
    time.sleep(0.6)
    server.post(f"/runs/{RUNS['cancelled']}/act", {"act": "cancel"})
    run("interrupted", "survey", last=400, waits=False)
    time.sleep(0.6)
    server.restart(kill=True)
    run("chain", "chain", title="Anchor chain")
    run("csv", "csv_clean", files={"file": ("members.csv", MESSY.encode())})
    server.post("/schedules", {"pipeline": "tides", "when": "weekday 9:00", "is_on": "on", "given": '{"station": "Husum"}'})
    server.post("/schedules", {"pipeline": "survey", "when": "every 2 weeks", "given": ""})
    points = [{"x": .5 + .3 * math.cos(n) * r, "y": .5 + .3 * math.sin(n) * r, "label": label} for r, label in ((.4, "a"), (1.2, "b")) for n in range(40)]
    run("drawn", "draw_and_fit", points=json.dumps(points), title="A ring around a crowd")



def settled(server: Server, run_id: int, limit: float = 20) -> None:
    "Wait until a run is not at work."
    deadline = time.monotonic() + limit
    while "chip status-running" in server.get(f"/runs/{run_id}/live").text.partition("<section")[0]:
        assert time.monotonic() < deadline, run_id
        time.sleep(0.03)


# ─── the scenes ───

SCENES: dict[str, Callable[[Any, Server], None]] = {}
WHOLE = {"record", "import-form", "import-bad", "import-good", "new-page", "plugins", "build", "build-pipeline", "proposal", "proposal-refused", "versions", "home", "run-values", "run-widget", "run-failed", "run-choices", "run-compare-tables", "schedule-new"}  # beyond the window


def scene(name: str) -> Callable[[Callable[[Any, Server], None]], Callable[[Any, Server], None]]:
    return lambda show: SCENES.setdefault(name, show)


def at(path: str, name: str, then: Callable[[Any], object] = lambda page: None) -> None:
    def show(page: Any, server: Server) -> None:
        page.goto(server.url + path)
        then(page)
    SCENES[name] = show


def open_form(page: Any, app: str = "recipes") -> None:
    page.keyboard.press("n")
    page.wait_for_selector("#dialog[open] input[name=title]")


def form_errors(page: Any) -> None:
    open_form(page)
    page.fill("#dialog input[name=servings]", "99")
    page.fill("#dialog input[name=tags]", "quick, winter")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#dialog small.error")


def select_three(page: Any) -> None:
    for box in page.locator("[name=ids]").all()[1:4]: box.check()
    page.select_option("#bulk select[name=field]", "priority")
    page.wait_for_selector("#bulk-value button")


def palette(page: Any, text: str) -> None:
    page.keyboard.press("Control+k")
    page.wait_for_selector("#palette[open] [role=option]")
    if text:
        page.keyboard.type(text)
        page.wait_for_timeout(400)


def preview(page: Any, text: str) -> None:
    page.fill("textarea[name=text]", text)
    page.click("main form button:has-text('Preview')")
    page.wait_for_selector("h2:has-text('Which column')")


def imported(page: Any) -> None:
    preview(page, GOOD_CSV)
    page.click("main form button[value=import]")
    page.wait_for_selector("h2:has-text('imported')")



def edit_row(page: Any, wrong: bool = False) -> None:
    page.locator("[data-row]").nth(2).focus()
    page.keyboard.press("e")
    page.wait_for_selector(".editing input[name=title]")
    if not wrong: return
    page.fill(".editing input[name=title]", "")
    page.keyboard.press("Enter")
    page.wait_for_selector(".editing small.error")


def open_nav(page: Any) -> None:
    if page.is_visible("[data-toggle=nav]"): page.click("[data-toggle=nav]")


def open_chat(page: Any) -> None:
    if page.viewport_size["width"] < 1200: page.click("[data-toggle=panel]")
    page.wait_for_selector("#draft")


def open_panel(page: Any) -> None:
    if page.viewport_size["width"] < 1200: page.click("[data-toggle=panel]")
    page.click("#side button:text('Activity')")
    page.wait_for_selector("#activity li")


at("/", "home")
at("/", "navigation", open_nav)
at("/tasks", "list")
at("/recipes", "list-relations")
at("/tasks?q=museum&sort=-due&f.priority=high", "list-filtered")
at("/tasks", "list-selected", select_three)
at("/tasks", "list-editing", edit_row)
at("/tasks", "list-editing-wrong", lambda page: edit_row(page, wrong=True))
at("/tasks", "list-menu", lambda page: page.click("summary[aria-label=More]"))
at("/tasks", "list-columns", lambda page: page.click("summary[aria-label=Columns]"))
at("/recipes", "new-dialog", open_form)
at("/recipes", "new-dialog-wrong", form_errors)
at("/recipes/new", "new-page")
at("/recipes/1", "record", lambda page: page.wait_for_selector(".log li"))
at("/authors/1", "record-related", lambda page: page.wait_for_selector(".log li"))
at("/recipes/import", "import-form")
at("/recipes/import", "import-bad", lambda page: preview(page, BAD_CSV))
at("/recipes/import", "import-good", lambda page: preview(page, GOOD_CSV))
at("/journal", "journal")
at("/journal", "journal-difference", lambda page: page.locator("#journal-list summary").nth(1).click())
at("/plugins", "plugins", lambda page: page.locator(".card.bad summary").click())
at("/build?kind=app", "build")
at("/browser", "browser")
at("/build?kind=pipeline", "build-pipeline")
at("/plugins/recipes", "versions", lambda page: page.locator("summary", has_text="The difference").first.click())


def propose(page: Any, server: Server, source: str) -> None:
    "Bring a plugin's file, and look at what the check says of it."
    page.goto(f"{server.url}/build")
    page.set_input_files("[type=file]", {"name": "authors.py", "mimeType": "text/x-python", "buffer": source.encode()})
    page.get_by_role("button", name="Look at it").click()
    page.wait_for_url("**/build/*")


@scene("proposal")
def proposal(page: Any, server: Server) -> None:
    propose(page, server, AUTHORS.replace('country: str = ""', 'country: Literal["Italy", "France", "elsewhere"] = "elsewhere"\n    born: int = 1900'))


@scene("proposal-refused")
def refused(page: Any, server: Server) -> None: propose(page, server, AUTHORS.replace("Url | None", "Urll | None"))


at("/files", "files", lambda page: page.wait_for_selector("[data-row]"))
at("/files", "files-selected", lambda page: [box.check() for box in page.locator("input[name=ids]").all()[1:4]])
at("/files", "files-rename", lambda page: (page.locator("[data-row]").nth(4).focus(), page.keyboard.press("e"), page.wait_for_selector("#dialog[open]")))
at("/files", "files-dragging", lambda page: page.evaluate("document.querySelector('.drop').classList.add('over')"))
at("/files?in=Exhibition%202026/loans", "files-folder")
at("/files?in=empty", "files-empty")
at("/files?q=o", "files-found")
at("/files?file=visitors-2026.csv", "files-csv")
at("/files?file=hives.json", "files-json")
at("/files?file=harbour.svg", "files-svg", lambda page: page.wait_for_timeout(300))
at("/files?file=Quarterly%20report.pdf", "files-other")
at("/tasks", "palette", lambda page: palette(page, ""))
at("/tasks", "palette-search", lambda page: palette(page, "museum"))
at("/tasks", "palette-nothing", lambda page: palette(page, "xyzzy"))
at("/tasks", "help", lambda page: (page.keyboard.press("?"), page.wait_for_selector("#help[open]")))
at("/tasks", "panel", open_panel)
at("/tasks", "chat", open_chat)
at("/tasks", "chat-told", lambda page: (open_chat(page), [s.click() for s in page.locator("#messages > details > summary").all()[:2]]))
at("/tasks", "chat-window", lambda page: (open_chat(page), page.click("#meter summary")))
at("/tasks", "chat-commands", lambda page: (open_chat(page), page.fill("#draft", "/"), page.wait_for_selector("#complete [role=option]")))


def on_talk(talk: str, name: str, then: Callable[[Any], object] = lambda page: None) -> None:
    "A conversation in which the model acts, in the panel beside the tasks."
    def show(page: Any, server: Server) -> None:
        server.post("/chat/act", {"c": TALKS[talk], "act": "open"})
        page.goto(server.url + "/tasks")
        open_chat(page)
        page.wait_for_selector(".call")
        then(page)
    SCENES[name] = show


def to_card(page: Any, n: int) -> Any:
    "The n-th card, its difference open, at the top of the panel."
    card = page.locator("#messages .call").nth(n)
    for part in card.locator("details:not([open]) > summary").all(): part.click()
    card.evaluate("el => { const list = el.closest('#messages'); list.scrollTop += el.getBoundingClientRect().top - list.getBoundingClientRect().top }")
    return card


on_talk("cards", "chat-acts", lambda page: to_card(page, 0))
on_talk("cards", "chat-looks-up", lambda page: to_card(page, 2))
on_talk("waits", "chat-waits")
on_talk("waits", "chat-declined", lambda page: to_card(page, 0))
on_talk("failed", "chat-failed")
on_talk("several", "chat-several", lambda page: to_card(page, 0))
on_talk("autopilot", "chat-autopilot")
on_talk("waits", "chat-level", lambda page: page.click("#chat summary[aria-label^='What the model is told']"))


@scene("why")
def why(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/journal?q=beeswax")
    page.locator("#journal-list a:text('why?')").first.click()
    page.wait_for_selector(".call:target")


at("/models", "models")
at("/memories", "memories")
at("/conversations", "conversations")
at("/conversations/2", "conversation")
at("/chat/context?c=2", "context")
at("/readings", "empty")
at("/tasks?q=xyzzy", "nothing-found")
at("/nowhere", "not-found")
at("/readings/broken", "problem", lambda page: page.click("summary:has-text('Details')"))
at("/tasks", "profile-menu", lambda page: page.click("summary[aria-label^=Profile]"))
at("/tasks", "theme-menu", lambda page: page.click("summary[aria-label=Theme]"))


at("/hello", "pipeline")
at("/tides", "pipeline-runs")
at("/csv_clean", "pipeline-file")
at("/tides?hours=9999", "pipeline-wrong", lambda page: (page.click("main form button:has-text('Start')"), page.wait_for_selector("small.error")))
at("/runs", "runs")
at("/schedules", "schedules")
at("/schedules/new?pipeline=tides", "schedule-new")


def on_run(run: str, name: str, then: Callable[[Any], object] = lambda page: None, path: str = "") -> None:
    def show(page: Any, server: Server) -> None:
        page.goto(f"{server.url}/runs/{RUNS[run]}{path}")
        page.wait_for_timeout(200)
        then(page)
    SCENES[name] = show


def revise(page: Any, step: str) -> None:
    page.click(f"#step-{step} button:has-text('Revise')")
    page.wait_for_selector(f"#step-{step} form")


on_run("hello", "run-asks")
on_run("letter", "run-done")
on_run("letter", "run-revise", lambda page: revise(page, "greeting"))
on_run("letter", "run-menu", lambda page: page.click("main summary[aria-label=More]"))
on_run("tides", "run-values")
on_run("drawn", "run-widget", lambda page: (page.wait_for_selector("#step-fit iframe.widget[data-shown]", state="attached"), page.wait_for_timeout(600)))
at("/draw_and_fit", "widget-asked", lambda page: (page.wait_for_selector("iframe.widget[data-shown]"), page.wait_for_timeout(600)))
on_run("sent", "run-locked")
on_run("failed", "run-failed", lambda page: page.click("summary:has-text('Traceback')"))
on_run("cancelled", "run-cancelled")
on_run("interrupted", "run-interrupted")
on_run("chain", "run-long")
on_run("csv", "run-choices")
on_run("letter", "run-compare", path="/compare", then=lambda page: (page.select_option("select[name=to]", str(RUNS["hello"])), page.wait_for_selector(".compare")))
on_run("tides", "run-compare-tables", path="/compare", then=lambda page: (page.select_option("select[name=to]", str(RUNS["sent"])), page.wait_for_selector(".compare")))


@scene("run-stale")
def stale(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/runs/{RUNS['cancelled']}")
    revise(page, "posts")
    page.fill("#step-posts input[name=last]", "20")
    page.keyboard.press("Enter")
    page.wait_for_selector(".status-done")
    revise(page, "posts")
    page.fill("#step-posts input[name=last]", "400")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)


@scene("run-running")
def running(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/survey")
    page.keyboard.press("Tab")
    page.click("main form button:has-text('Start')")
    page.wait_for_url("**/runs/*")
    page.wait_for_timeout(1500)


@scene("toast")
def toast(page: Any, server: Server) -> None:
    page.goto(server.url + "/notes")
    page.locator("[data-row]").first.focus()
    page.keyboard.press("Delete")
    page.wait_for_selector(".toast button")


@scene("import-done")
def import_done(page: Any, server: Server) -> None:
    page.goto(server.url + "/recipes/import")
    imported(page)


@scene("signed-out")
def signed_out(page: Any, server: Server) -> None:
    page.context.clear_cookies()
    page.goto(server.url)


@scene("launch-used")
def launch_used(page: Any, server: Server) -> None: page.goto(f"{server.url}/launch?token=used")


@scene("offline")
def offline(page: Any, server: Server) -> None:
    page.goto(server.url + "/tasks")
    server.kill()
    page.wait_for_selector("body.offline")


def after(name: str, server: Server) -> None:
    "Put back what a scene has changed."
    if name in ("toast", "import-done"): server.post("/undo")
    if name in ("run-running", "run-stale"):
        for run_id in re.findall(r'data-row="(\d+)"', server.get("/runs?f.status=running").text): server.post(f"/runs/{run_id}/act", {"act": "cancel"})
    if name == "panel": server.post("/ui/side", {"value": "chat"})
    if name == "chat-commands": server.post("/chat/draft", {"c": 2, "text": ""})
    if name.startswith("chat-"): server.post("/chat/act", {"c": len(CONVERSATIONS), "act": "open"})
    if name == "offline": server.start(port=server.port, login=False, env=server.env)


def context_for(browser: Any, server: Server, size: str, scheme: str, **options: Any) -> Any:
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce", **options)
    context.set_default_timeout(10_000)
    name, _, value = server.cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "domain": server.name, "path": "/", "httpOnly": True, "sameSite": "Strict"}])
    return context


def main(*names: str) -> int:
    from playwright.sync_api import sync_playwright
    if unknown := set(names) - {*SCENES, "readme"}: return print(f"No such scene: {', '.join(unknown)}. There are: {', '.join(SCENES)}", file=sys.stderr) or 2
    chosen = [name for name in names if name != "readme"] if names else list(SCENES)
    shots = ROOT / "shots"
    if not names: shutil.rmtree(shots, ignore_errors=True)
    shots.mkdir(exist_ok=True)
    folder, problems = Path(tempfile.mkdtemp(prefix="sololith-shots-")), []
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright, filled(folder / "sololith") as server:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.getuid() == 0 else [])
            for size in SIZES:
                for scheme in ("light", "dark"):
                    for name in chosen:
                        context = context_for(browser, server, size, scheme)
                        page = context.new_page()
                        try:
                            SCENES[name](page, server)
                            page.wait_for_timeout(150)
                        except Exception as e: problems.append(f"{name} {size} {scheme}: {str(e).splitlines()[0]}")
                        page.screenshot(path=shots / f"{name}-{size}-{scheme}.png", full_page=name in WHOLE)
                        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                        if wide > 0: problems.append(f"{name} {size} {scheme}: {wide} px wider than the window")
                        context.close()
                        after(name, server)
            if not names or "readme" in names: readme_picture(browser, server)
            browser.close()
    finally: shutil.rmtree(folder, ignore_errors=True)
    overview(shots)
    print(f"{len(list(shots.glob('*.png')))} pictures in shots/; see shots/index.html")
    for problem in problems: print(problem, file=sys.stderr)
    return 1 if problems else 0


def readme_picture(browser: Any, server: Server) -> None:
    "docs/screenshot.png: the tasks, on a desktop, in the light."
    (server.workspace / "apps" / "invoices.py").unlink()
    time.sleep(1)
    context = context_for(browser, server, "desktop", "light")
    page = context.new_page()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(server.url + "/tasks")
    open_chat(page)
    page.wait_for_timeout(300)
    page.screenshot(path=ROOT / "docs" / "screenshot.png")
    context.close()


def overview(shots: Path) -> None:
    "shots/index.html: all pictures, a row for each scene."
    kinds = [f"{size}-{scheme}" for size in SIZES for scheme in ("light", "dark")]
    rows = "".join(f"<h2>{html.escape(name)}</h2><p>" + "".join(f'<a href="{name}-{kind}.png"><img loading="lazy" alt="{kind}" src="{name}-{kind}.png"></a>' for kind in kinds
                   if (shots / f"{name}-{kind}.png").exists()) + "</p>" for name in SCENES)
    (shots / "index.html").write_text("<!doctype html><meta charset=utf-8><title>Screenshots</title><style>body{font:15px system-ui;background:#ddd;margin:2rem}"
                                      f"p{{display:flex;gap:1rem;align-items:start}}img{{height:24rem;box-shadow:0 1px 6px #0004}}</style>{rows}")


if __name__ == "__main__": sys.exit(main(*sys.argv[1:]))
