"""What the builder is worth with the real model, through the real server, judged by what works in the end:

    python eval/builds.py                           every class, some 40 minutes on two idle cores
    python eval/builds.py app pipeline --limit 3    the first three of two classes
    python eval/builds.py --grep 'csv|expenses'     only what has this in what is said; results go to …-some
    python eval/builds.py --check                   no model: whether fixtures, right answers and the judges make sense

A case is said in the chat, or on the page /build, as a person would; what is proposed is installed by the button's own
POST, and then used: a record is added through the form, a pipeline is run on files, a changed file is compared with what it
was. `free` gives the same model the same requests for apps, to be answered with a Python file. See eval/README.md.

Fields are wanted in a notation: `name|title: words; light: choice(low, high); paid: money` has names of which one will
do, and kinds; words, money, number and day stand for several. Names are compared loosely: without is_, on, date and
the like, in the singular.
"""
import argparse
import ast
import contextlib
import difflib
import html.parser
import http.client
import http.server
import json
import os
import platform
import re
import signal
import sys
import tempfile
import threading
import time
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from acts import Row, median, p90, share
from chat import DEFAULT, ROOT, Chat, table, weights
from helpers import Server, patience

MOST = 900      # tokens of one generation: a plan has to be whole
RUN_MOST = 200  # of what a pipeline has the model write, once it is installed
LIMIT = 480     # seconds that a build may take
PROBE = '''
"Probe: seeds and counts what the model writes, and puts the workspace into a state in one POST."
from sololith import *
import importlib, json, shutil
from dataclasses import asdict
models, builder, checking, events, plug = (importlib.import_module(f"sololith.{n}") for n in ("models", "builder", "check",
    "events", "plugins"))
engine, loader, most, wrote = models.engine, plug.loader, [MOST], []
store["browser.hosts"] = ["127.0.0.1"]  # where the page of the requests is
if BLIND: builder.table_spoken_of = lambda what: []
complete, count = engine.complete, dict(generations=0, generated=0, prompt=0, reused=0)

async def counted(asked):
    more = {"seed": SEED, "n_predict": min(asked.get("n_predict", MOST), most[0])}
    text = ""
    async with contextlib.aclosing(complete(asked | more)) as chunks:
        async for chunk in chunks:
            text += chunk.text
            if chunk.usage and more["n_predict"]: wrote.append(text)
            if chunk.usage and more["n_predict"]:
                count["generations"] += 1
                for n in ("generated", "prompt", "reused"): count[n] += chunk.usage[n]
            yield chunk

engine.complete = counted

def own(): return {n: p for n, p in plugins.items() if p.path and n != "probe"}

@rt("/probe", methods=["GET"])
async def probe(req: Request):
    most[0] = int(req.query_params.get("most", most[0]))
    asked = {n: [dict(name=f.name, kind=f.kind, choices=list(f.choices), required=f.is_required) for f in p.asked.values()]
        for n, p in all_pipelines().items()}
    return JSONResponse(dict(pid=engine.runs() and engine.process.pid, is_loaded=engine.runs(), asked=asked,
        count=count | {"wrote": wrote[-8:]},
        is_saved=engine.is_saved and bool(engine.held), is_free=not engine.lock.locked() and not engine.warming,
        broken={n: p.error for n, p in loader.broken.items()}, live={n: p.source for n, p in own().items()}))

@rt("/probe/put", methods=["POST"])
def put(form: Sent):
    for path in home.apps.glob("[!.]*.py"):
        if path.stem != "probe": path.unlink()
    for name in {*own(), *loader.broken}: loader.unload(name)
    shutil.rmtree(home.apps / ".versions", ignore_errors=True)
    with db.transaction():
        for app in [app for app in db.numbers if app not in system.apps]:
            first = db.numbers.pop(app) << 40
            db.execute(f'DROP TABLE IF EXISTS "{app}"')
            db.execute("DELETE FROM numbers WHERE app=?", [app])
            db.execute("DELETE FROM search WHERE rowid BETWEEN ? AND ?", [first, first + 2**40 - 1])
        for name in ("proposals", "plugins", "tasks", "notes", "steps", "items", "runs"): db.execute(f"DELETE FROM {name}")
        db.columns.clear()
    events.happened.clear()
    wrote.clear()
    most[0] = MOST
    for n in count: count[n] = 0
    for name, source in json.loads(str(form["plugins"])).items():
        (home.apps / f"{name}.py").write_text(source)
        loader.attempt(name)
    return "done"

@rt("/probe/examine", methods=["POST"])
def examined(form: Sent):
    return JSONResponse(asdict(checking.examine(str(form["name"]), str(form["source"]))))

@rt("/probe/free", methods=["POST"])
async def free(form: Sent):
    model = await models.current_model()
    asked = f"{builder.API}\\nWrite a plugin, one Python file, for this: {form['what']}\\nAnswer with the file only."
    messages = [{"role": "system", "content": "You write short, plain Python."}, {"role": "user", "content": asked}]
    return JSONResponse("".join([c.text async for c in model.stream(messages, None, MOST, "free")]))
'''
FILES = {
    "expenses.csv": "title,amount,day\nTrain to Leeds,48.20,2026-03-02\nLunch,12.50,2026-03-02\nHotel,230.00,2026-03-03\n"
        "Taxi,17.80,2026-03-04\n",
    "members.csv": "name,city,since\nIda Holm,Leeds,2019\nBo Reyes,York,2021\nCleo Baker,Leeds,2024\nDan Frey,Hull,2018\n"
        "Emil Voss,Leeds,2022\n",
    "products.csv": "name,price,stock\nKettle,30.25,4\nTeaspoon,4.00,120\nOven,120.00,1\nMug,9.50,36\n",
    "orders.csv": "order,customer,status,total\n1001,Hale,open,75.50\n1002,Ruiz,paid,12.00\n1003,Okoro,open,120.00\n"
        "1004,Hale,paid,310.75\n1005,Lund,open,30.25\n",
    "todo.csv": "title,due\nPay the plumber,2026-05-04\nRenew the passport,2026-06-01\nOrder firewood,2026-09-15\n",
    "plants.csv": "name,light\nSword fern,low\nBasil,high\nIvy,low\n",
    "grades.csv": "student,score\nAva,71\nBen,88\nCai,64\nDee,95\n",
    "visitors.csv": "name,country\nLuc,France\nAnke,Germany\nElodie,France\nPiet,Belgium\nNoor,Belgium\nRemi,France\n"
        "Maud,France\n",
    "ausgaben.csv": "Posten,Betrag\nMiete,640.00\nStrom,71.30\nBrot,4.20\n",
}
STORY = ("The fog signal of Cape Orrin was built in 1902. Every forty seconds it gave two long blasts, and ships could hear "
    "it nine miles away. The keeper, Ingrid Solberg, fed its boiler with driftwood when the coal ran out. In 1961 an "
    "electric horn took its place, and the old engine went to the museum in the town. Visitors may start it once a year.")
PAGE = f"<!doctype html><html><head><title>Fog signal</title></head><body><p>{STORY}</p></body></html>"


# ── what is wanted of fields

KINDS = dict(words="text|long|markdown", money="decimal|float", number="int|float|decimal", day="date|datetime")
SMALL = set("is has was did are on at of in the my a an for to it been date day number no nr".split())
SAME = dict(day="date", at="time", kind="type", liters="litres", metres="meters", colour="color", favourite="favorite")


@dataclass(frozen=True)
class Field:
    "One that is wanted: names of which one will do, kinds, and for a choice its choices."
    names: tuple[str, ...]
    kinds: frozenset[str]
    choices: tuple[str, ...] = ()

    @property
    def title(self) -> str: return self.names[0]


def fields(text: str) -> list[Field]:
    "What the notation means."
    found = []
    for part in filter(str.strip, text.split(";")):
        said = re.fullmatch(r"\s*([\w|]+)\s*(?::\s*([\w|]+)\s*(?:\(([^)]*)\))?)?\s*", part)
        assert said, f"{part!r} is no field"
        kinds = [k for name in (said[2] or "").split("|") if name for k in KINDS.get(name, name).split("|")]
        choices = [c.strip() for c in (said[3] or "").split(",") if c.strip()]
        found.append(Field(tuple(said[1].split("|")), frozenset(kinds), tuple(choices)))
    return found


def words_of(name: str) -> list[str]:
    "The words of a name that say something, in the singular."
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).encode("ascii", "ignore").decode()
    found = [SAME.get(w, w) for w in re.findall(r"[a-z]+|\d+", plain.lower())]
    found = [w for w in found if w not in SMALL] or found
    return [w if len(w) < 4 or w.endswith("ss") else w.removesuffix("s") for w in found]


def squeezed(text: Any) -> str: return re.sub(r"[\W_]", "", str(text).lower())


def matched(wanted: list[Field], names: Iterable[str]) -> dict[str, str]:
    "Which name stands for which field (by its first name): those that are the same first, then those that contain it."
    left, pairs = list(names), dict[str, str]()
    same = lambda a, b: "".join(words_of(a)) == "".join(words_of(b))
    within = lambda a, b: set(words_of(a)) <= set(words_of(b))
    for fits in (same, within):
        for one in wanted:
            if one.title in pairs: continue
            if found := next((n for alternative in one.names for n in left if fits(alternative, n)), None):
                left.remove(found)
                pairs[one.title] = found
    return pairs


def has_choices(wanted: tuple[str, ...], choices: Iterable[Any]) -> bool:
    "Whether the choices are those wanted, each of them one of a|b, in any order; that some may be empty is no matter."
    left = [squeezed(c) for c in choices if squeezed(c) not in ("", "none")]
    for one in wanted:
        found = next((c for c in left if c in map(squeezed, one.split("|"))), None)
        if found is None: return False
        left.remove(found)
    return not left


def is_of_kind(wanted: Field, found: Row) -> bool:
    if wanted.kinds and found["kind"] not in wanted.kinds: return False
    return not wanted.choices or found["kind"] != "choice" or not found["choices"] or has_choices(
        wanted.choices, found["choices"])


PLAIN = dict(str="text", Text="long", list="json", dict="json", Any="json") | {n: n.lower() for n in
    "int float bool date datetime time Decimal Markdown Email Url File Json Tags".split()}


def kind_of(hint: ast.expr | None) -> tuple[str, list]:
    "The kind that an annotation means, and its choices."
    match hint:
        case ast.BinOp(left=left, right=ast.Constant(value=None)): return kind_of(left)
        case ast.Subscript(value=value, slice=inner):
            name = ast.unparse(value).rpartition(".")[2]
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "Literal": return "choice", [getattr(i, "value", ast.unparse(i)) for i in items]
            if name in ("Optional", "Annotated"): return kind_of(items[0])
            if name.lower() == "list": return "tags", []
        case ast.Constant(value=str(text)):
            with contextlib.suppress(SyntaxError): return kind_of(ast.parse(text, mode="eval").body)
    name = ast.unparse(hint).rpartition(".")[2] if hint else "str"
    return PLAIN.get(name, f"other {name}"), []


def tree_of(source: str) -> ast.Module:
    try: return ast.parse(source)
    except (SyntaxError, ValueError): return ast.Module([], [])


def records_in(source: str) -> list[dict[str, Row]]:
    "The record classes of a file: name → kind, choices, whether it has to be given."
    found = []
    for node in tree_of(source).body:
        if not isinstance(node, ast.ClassDef): continue
        if not any("dataclass" in ast.unparse(d) for d in node.decorator_list): continue
        made: dict[str, Row] = {}
        for line in node.body:
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name): continue
            kind, choices = kind_of(line.annotation)
            made[line.target.id] = dict(kind=kind, choices=choices, is_required=line.value is None
                or "kw_only" in ast.unparse(line.value))
        found.append(made)
    return found


def steps_in(source: str) -> dict[str, Row]:
    "The steps of a file: name → instruction, what stands in it, what it takes."
    return {f.name: dict(instruction=ast.get_docstring(f) or "", text=ast.unparse(f),
                         asked=[a.arg for a in f.args.args if a.annotation],
                         takes=[a.arg for a in f.args.args if not a.annotation])
            for f in tree_of(source).body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
            and any(re.search(r"\.step\b", ast.unparse(d)) for d in f.decorator_list)}


def compare(wanted: list[Field], source: str) -> Row:
    "How the fields of a file's best record class are what is wanted."
    found: dict[str, Row] = max(records_in(source), key=lambda r: len(matched(wanted, r)), default={})
    pairs = matched(wanted, found)
    wrong = {f.title: found[pairs[f.title]] for f in wanted
             if f.title in pairs and not is_of_kind(f, found[pairs[f.title]])}
    told = [f"{pairs[n]}: {f['kind']} {', '.join(map(str, f['choices']))}".strip() for n, f in wrong.items()]
    return dict(hits=len(pairs), extra=[n for n in found if n not in pairs.values()],
                missing=[f.title for f in wanted if f.title not in pairs], wrong=told)


# ── cases

@dataclass
class Case:
    kind: str
    said: str
    at: str = "chat"                            # or page: /build
    wanted: list[Field] = field(default_factory=list)
    least: int = 0                              # so many of the wanted fields have to be there; 0: all, and no others
    plugins: dict[str, str] = field(default_factory=dict)   # that are there before
    good: Any = None                            # for --check: what is right (a source, edits of one, a value) …
    bad: Any = None                             # … and what is not
    # of a pipeline
    file: str = ""
    given: dict[str, Any] = field(default_factory=dict)     # name|name → what a person would fill in
    ends: Any = None                            # what the run is to come to
    # of a change or a repair
    plugin: str = ""
    changes: list["Change"] = field(default_factory=list)
    path: str = ""                              # a page that has to work in the end


CASES: list[Case] = []
def case(kind: str, said: str, **more: Any) -> None: CASES.append(Case(kind, said, **more))


def app(said: str, wanted: str, at: str = "chat", least: int = 0) -> None:
    case("app", said, wanted=fields(wanted), at=at, least=least)


app("plants: name, light (low or high), when I watered them", at="page",
    wanted="name|plant: words; light: choice(low, high); watered|last_watered|when_watered|watering|last_watering: day")
app("Hey, could you build me an app for my wine cellar? I'd want the name of the wine, the grape, the vintage year, what I "
    "paid for it, how many bottles are left and a rating from 1 to 5.",
    "name|wine|title: words; grape|variety: words; vintage|year: int; price|paid|cost: money; "
    "bottles|bottles_left|left|quantity|stock: int; rating: int|choice")
app("i need an app to trak my runs: date, distence in km, tiem in minutes and how i felt (good, ok, bad)",
    "date: day; distance|km: money; time|minutes|duration|tiem: number; "
    "felt|feeling|mood|how_i_felt|how_felt|feel: choice(good, ok, bad)")
app("invoices: number, customer, amount (money), due date, paid yes/no", at="page",
    wanted="number|invoice: text|int; customer|client: words; amount|money: money; due: day; paid: bool")
app("Make me an app for my record collection with title, artist, label, year, format (LP, EP or single), and a link to "
    "Discogs", "title|name|record: words; artist: words; label: words; year: int; format: choice(LP, EP, single); "
    "link|discogs|url|website: url")
app("Ich brauche eine App für meine Bienenstöcke: Name, Standort, Königin (ja/nein), letzte Kontrolle (Datum) und Notizen.",
    "name: words; standort|location|place: words; koenigin|konigin|queen: bool; "
    "kontrolle|letzte_kontrolle|inspection|last_inspection|last_check|last_control|control|checked: day; "
    "notizen|notes: words")
app("Rezepte: Titel, Zutaten, Zubereitung, Dauer in Minuten, Schwierigkeit (leicht, mittel, schwer), schon gekocht?",
    at="page", wanted="titel|title|name: words; zutaten|ingredients: words|tags; "
    "zubereitung|preparation|instructions|method|steps: words; dauer|minutes|duration|minuten|time|dauer_minuten: number; "
    "schwierigkeit|difficulty: choice(leicht|easy, mittel|medium, schwer|hard); gekocht|cooked|schon_gekocht|made: bool")
app("Create an app called subscriptions. Fields: service (text), price (decimal), renews_on (date), cycle (choice: monthly, "
    "yearly), cancelled (bool), url (url), remind_at (datetime), notes (long text)",
    "service: words; price: decimal; renews_on: date; cycle: choice(monthly, yearly); cancelled: bool; url: url; "
    "remind_at: datetime; notes: long")
app("build an app where I can note down my kids' vaccinations – child, vaccine, the day they got it, the doctor, and when "
    "the next shot is due", "child|kid|name: words; vaccine|vaccination: words; "
    "date|given|got|day|vaccinated|got_it|received: day; doctor: words; next|next_due|next_shot|due|next_dose: day")
app("books I lend out - book, who has it, since when, and is it back", at="page",
    wanted="book|title|thing: words; person|who|borrower|who_has_it|friend|lent_to: words; "
    "since|lent|since_when|lent_since|lent_on: day; back|returned: bool")
app("Please set up a tracker for job applications with company, position, date applied, status (applied, interview, offer "
    "or rejected), salary and contact e-mail", "company: words; position|role|job|title: words; "
    "applied|date_applied|date: day; status: choice(applied, interview, offer, rejected); salary: number; "
    "email|contact|contact_email: email")
app("I want an app for my coin collection: country, year, face value, metal, condition (poor, fine or mint) and what it is "
    "worth today", "country: words; year: int; face_value|face|denomination: number|text; metal: words|choice; "
    "condition: choice(poor, fine, mint); worth|value|worth_today|current_value|price: money")
app("workouts. exercise, sets, reps, weight in kg, date", at="page",
    wanted="exercise|name: words; sets: int; reps: int; weight|kg: number; date: day")
app("can u make me an app 4 my fish tank? temprature, ph, nitrate, date of the mesurement and a coment",
    "temperature|temprature: money; ph: money; nitrate: number; date|measured|measurement|mesurement|measured_at: day; "
    "comment|coment|comments|notes: words")
app("We need an app for the holiday flat: guest, arrival, departure, number of people, price per night, deposit paid or not",
    "guest|name: words; arrival|arrives: day; departure|departs: day; people|persons|guests|number_of_people|party: int; "
    "price|price_per_night|per_night: money; deposit|deposit_paid: bool")
app("Car: every fill-up with date, litres, price per litre, odometer and which petrol station", at="page",
    wanted="date|fill_up|filled: day; litres|fuel|volume: money; price|price_per_litre: money; odometer|km|mileage: number; "
    "station|petrol_station|fuel_station: words")
app("I want an app to collect quotes: the quote itself (can be long), author, source, tags",
    "quote|text: long|markdown; author: words; source: words|url; tags: tags")
app("Make an app for meetings: subject, date, time, where, who comes, agenda as markdown, and whether it's confirmed",
    "subject|title|name: words; date|meeting_date: day; time|start|starts|start_time|meeting_time: time|datetime; "
    "where|location|place: words; who|attendees|participants|who_comes|comes|people: words|tags; agenda: markdown; "
    "confirmed: bool")
app("Christmas presents: for whom, idea, budget, bought?, wrapped?", at="page",
    wanted="whom|for_whom|for|person|recipient|who|name: words; idea|gift|present: words; budget|price: number; "
    "bought: bool; wrapped: bool")
app("could you create a database of my houseguests' allergies with name, allergy, how bad (mild/severe) and phone number",
    "name|guest|houseguest: words; allergy|allergies: words|tags; severity|how_bad|bad|badness: choice(mild, severe); "
    "phone|phone_number: text")
app("birds i saw species place date count photo", at="page",
    wanted="species|bird|name: words; place|location: words; date|seen: day; count|number|how_many: int; "
    "photo|picture: file|url")
app("I'd like you to make an app for sewing patterns. A pattern has a name, a designer, sizes (several), the fabric length "
    "in metres, a PDF file, and a difficulty: easy, medium or hard.",
    "name|title: words; designer: words; sizes: tags|text; fabric|fabric_length|length: money; pdf|file|pdf_file: file; "
    "difficulty: choice(easy, medium, hard)")
app("Build an app for my students: name, e-mail, birthday, class (7a, 7b or 8c), average grade, parents' phone",
    "name|student: words; email: email; birthday: day; class|school_class|class_name|group: choice(7a, 7b, 8c); "
    "average|average_grade|grade: money; phone|parents_phone|parent_phone: text")
app("I want an app for my board games", "name|title|game; players|min_players|max_players; time|duration|playtime|minutes|"
    "play_time|length; genre|category|type|theme; rating|score; owned; age; publisher|designer|author; "
    "notes|description|comments; year|release|bought|acquired; difficulty|complexity|weight; played|last_played; price|cost",
    least=3)
app("Make me an app to keep track of the medicine I take", "name|medicine|medication|title; dose|dosage|amount|quantity; "
    "frequency|times|schedule|time|how_often|times_per_day; start|started|taken|last_taken|taken_on|date; end|until|expiry|"
    "expires|refill; notes|description|instructions; doctor|prescriber|prescribed_by; reason|purpose|side_effects; "
    "stock|left", least=3)
app("a garden diary", at="page", least=3, wanted="date|planted|watered; plant|name|title|entry|what|subject; weather; "
    "notes|description|activity|text|work|content|body|task|done; photo|picture|image; temperature; "
    "place|bed|location|area; harvest|harvested; mood; tags; height|size|growth")
app("I need an app for our neighbourhood tool library", "name|tool|title; owner|lender|owned_by; borrower|lent_to|"
    "person|borrowed_by; lent|borrowed|lent_on; due|return|return_by; available|back|returned|borrowed|lent; "
    "condition|state; notes|description; category|type; location|place; price|value|deposit|cost; "
    "quantity|count; photo", least=3)
app("something for my monthly budget", at="page", least=3, wanted="category|type; amount|budget|price|cost|value|spent; "
    "date|month; description|notes|comment; name|title|item|expense|income; income; expense|expenses; paid; savings|balance|"
    "total|left|actual|planned")
app("build me an app for camping trips", "place|name|location|destination|site|title|trip|campsite; start|arrival|date|from|"
    "began; end|departure|until|to|return; people|participants|guests|who|companions; cost|price|budget; notes|description; "
    "equipment|gear|packing; weather; rating; activities|activity; duration|nights|days|length; booked", least=3)
app("podcast episodes I want to listen to", at="page", least=3, wanted="podcast|show|series|host; title|episode|name; "
    "url|link; listened|heard|played|done|finished; date|added|released|release|published|aired|listened_on; "
    "notes|description|comments; length|duration|minutes; rating; genre|category|topic; author|guest")


# What a run is to come to: each is a function of the run (value, rows of the workspace's tables), which says what is wrong.

@dataclass(frozen=True)
class Ends:
    kind: str
    args: tuple

    def judge(self, value: Any, rows: Callable[[str], list[Row]]) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        match self.kind, self.args:
            case "number", (low, high):
                found = [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]
                if len(found) > 3 and not isinstance(value, dict): return f"the value is no number: {text[:120]}"
                if any(low - .006 <= n <= high + .006 for n in found): return ""
                return f"the value is {text[:120]}, not {low:g}{f' to {high:g}' if high != low else ''}"
            case "rows", (wanted, others, is_ordered):
                if missing := [n for n in wanted if n not in text]: return f"{', '.join(missing)} is missing in {text[:160]}"
                if more := [n for n in others if n in text]: return f"{', '.join(more)} should not be in {text[:160]}"
                at = [text.index(n) for n in wanted]
                return f"the order is wrong in {text[:200]}" if is_ordered and at != sorted(at) else ""
            case "text", (groups, forbidden):
                if len(text.split()) < 2: return f"the value is {text[:80]!r}"
                if missing := [g for g in groups if not any(w.lower() in text.lower() for w in g.split("|"))]:
                    return f"{', '.join(missing)} is not in {text[:200]}"
                return f"{forbidden} is in {text[:200]}" if forbidden and forbidden in text else ""
            case "added", (app, name, wanted):
                found = sorted(str(row.get(name)) for row in rows(app))
                return "" if found == sorted(wanted) else f"{app} has {', '.join(found) or 'nothing'}"
        raise AssertionError(self)


def number(low: float, high: float | None = None) -> Ends: return Ends("number", (low, low if high is None else high))
def kept(*names: str, less: Iterable[str] = (), is_ordered: bool = False) -> Ends:
    return Ends("rows", (names, tuple(less), is_ordered))
def text(*groups: str, less: str = "") -> Ends: return Ends("text", (groups, less))
def added(app: str, name: str, *values: str) -> Ends: return Ends("added", (app, name, values))


def pipeline(said: str, ends: Ends, good: Any, bad: Any, asks: str = "", **more: Any) -> None:
    case("pipeline", said, ends=ends, good=good, bad=bad, wanted=fields(asks), **more)


PLANTS = '''
"Plants: what grows on my window sills, and when it was watered."
from sololith import *

# Watering is a matter of taste; these are the days that worked for us.
DAYS = {"low": 14, "high": 5}


@dataclass
class Plant:
    "One of your plants."
    name: str
    light: Literal["low", "high"] = "low"   # of the place, not what it likes
    watered: date | None = None
    notes: str = ""


def next_watering(plant):
    "The day on which it wants water again."
    return plant.watered + timedelta(DAYS[plant.light]) if plant.watered else date.today()


class PlantsApp(BaseApp):
    record = Plant

    def prepare_insert(self, data):
        data["name"] = data["name"].strip()   # people paste names with spaces
        return data


plants = PlantsApp()
'''.lstrip()
pipeline("I want a pipeline that asks for a topic and a tone (cheerful or serious) and has the model write a short poem "
    "about it", text(), "Rain on slate,\na gate, a lane.", "",
    "topic|subject|about|theme: words; tone: choice(cheerful, serious)",
    given={"topic|subject|about|theme": "rain in the mountains", "tone": "serious"})
pipeline("Make a pipeline: it asks for somebody's name and the occasion (birthday, wedding or farewell), then the model "
    "writes a short greeting card", text("Mirella"), "Dear Mirella, all the best!", "Dear friend, all the best!",
    "name|person|somebody|recipient|somebodys_name: words; occasion: choice(birthday, wedding, farewell)",
    given={"name|person|somebody|recipient|somebodys_name": "Mirella", "occasion": "wedding"})
pipeline("build a pipeline that reads a csv of my expenses and adds up the amounts", number(308.5), 308.5, 308.0,
    file="expenses.csv")
pipeline("read a CSV of members and keep only those from Leeds", kept("Ida Holm", "Cleo Baker", "Emil Voss",
    less=["Bo Reyes", "Dan Frey"]), [{"name": "Ida Holm"}, {"name": "Cleo Baker"}, {"name": "Emil Voss"}],
    [{"name": "Ida Holm"}],     file="members.csv", at="page")
pipeline("Create a workflow that reads a CSV with products and sorts them by price, cheapest first", kept("Teaspoon", "Mug",
    "Kettle", "Oven", is_ordered=True), ["Teaspoon", "Mug", "Kettle", "Oven"], ["Oven", "Kettle", "Teaspoon", "Mug"],
    file="products.csv")
pipeline("Make a pipeline that reads a CSV of orders, keeps those whose status is open, and adds up their total",
    number(225.75), {"total": 225.75}, 548.5, file="orders.csv")
pipeline("I need a pipeline that reads a CSV file and adds each row to my tasks", added("tasks", "title", "Pay the plumber",
    "Renew the passport", "Order firewood"), ["Pay the plumber", "Renew the passport", "Order firewood"],
    ["Pay the plumber"], file="todo.csv")
pipeline("read a CSV of plants, and add each of them to my plants", added("plants", "name", "Sword fern", "Basil", "Ivy"),
    ["Sword fern", "Basil", "Ivy"], [], file="plants.csv", plugins={"plants": PLANTS}, at="page")
pipeline("Build a pipeline: I give it a web address, it reads the page, and the model sums it up in two sentences",
    text("fog|signal|horn|Orrin", less="Visitors may start it once a year."), "An old fog signal was put into a museum.",
    STORY, given={"url|address|web_address|page|website|link": "PAGE"})
pipeline("fetch a web page and count its words", number(len(STORY.split()), len(STORY.split()) + 2), len(STORY.split()) + 2,
    12, at="page", given={"url|address|web_address|page|website|link": "PAGE"})
pipeline("write a pipeline that asks for a text and counts the words in it", number(7), 7, 31, "text|input|words: words",
    given={"text|input|words": "Seven words are what this text has"})
PEOPLE, HOURS, PAY = "people|count|number_of_people|workers", "hours|hours_each|hours_worked", "pay|pay_per_hour|rate|wage"
pipeline("Create a pipeline that asks for the number of people, the hours each of them works and the pay per hour, and "
    "works out what that costs", number(3 * 7 * 18.5), {"cost": 388.5}, 129.5,
    f"{PEOPLE}: number; {HOURS}: number; {PAY}: number", given={PEOPLE: 3, HOURS: 7, PAY: "18.5"})
pipeline("Make me a pipeline that reads a CSV of grades and gives the average score", number(79.5), "The average is 79.5",
    318, file="grades.csv")
pipeline("visitors: read a csv file and count how many of them came from France", number(4), 4, 7, file="visitors.csv",
    at="page")
pipeline("Erstelle eine Pipeline, die eine CSV-Datei mit Ausgaben liest und die Beträge zusammenzählt", number(715.5),
    715.5, 640.0, file="ausgaben.csv")


# ── changes of what is there

@dataclass(frozen=True)
class Change:
    "One thing that is to be otherwise: plus, minus, is (a field), or step, told (a step)."
    kind: str
    name: str
    what: Any = ""


def plus(wanted: str) -> Change: return Change("plus", fields(wanted)[0].title, fields(wanted)[0])
def minus(name: str) -> Change: return Change("minus", name)
def becomes(wanted: str, is_required: bool | None = None) -> Change:
    return Change("is", fields(wanted)[0].title, (fields(wanted)[0], is_required))
def step_after(name: str, signs: str) -> Change: return Change("step", name, signs)   # an expression that it has to have
def told(name: str, signs: str) -> Change: return Change("told", name, signs)         # in its instruction, and elsewhere


def followup(plugin: str, said: str, *changes: Change, good: list[tuple[str, str]], **more: Any) -> None:
    case("followup", said, plugin=plugin, plugins={plugin: BASES[plugin]}, changes=list(changes), good=good, **more)


BASES = {
    "plants": PLANTS,
    "books": '''
"Books: what I read."
from sololith import *


@dataclass
class Book:
    "One of your books."
    title: str
    author: str = ""
    year: str = ""
    rating: int = 0
    is_read: bool = False
    notes: Text = ""


books = crud(Book)
''',
    "members": '''
"Members: who is in the club."
from sololith import *


@dataclass
class Member:
    "Somebody in the club."
    name: str
    email: Email | None = None
    phone: str = ""
    joined: date | None = None
    section: Literal["choir", "band"] = "choir"


class MembersApp(BaseApp):
    record = Member

    # nobody was in the club before it was founded
    def prepare_insert(self, data):
        if data.get("joined") and str(data["joined"]) < "1998-05-01":
            raise Problem("The club did not exist then.", fix="Look at the year.")


members = MembersApp()


@rt("/choir", methods=["GET"])
def choir():
    "Who sings."
    return H1("Choir"), Ul(*[Li(m.name) for m in members("section=?", ["choir"])])
''',
    "letter": '''
"Letter: a short letter, written by the model."
from sololith import *

letter = pipeline("Letter")


@letter.step
def about(topic: str = "", tone: Literal["warm", "cool"] = "warm"):
    "What is the letter about?"
    return dict(topic=topic, tone=tone)


@letter.step
async def draft(about, ask: Ask) -> Markdown:
    "Write a short letter about this."
    # no address and no date: they are on the paper already
    return await ask(f"Write a short letter about this.\\n\\nabout: {about}")
''',
    "spending": '''
"Spending: what a month has cost."
from sololith import *

spending = pipeline("Spending")
CURRENCY = "EUR"  # all of our accounts


@spending.step
def rows(file: File):
    "Which file of expenses?"
    return read_file(file)


def amount_of(row):
    "The amount of a row: some banks write 1,20, some 1.20."
    return float(str(row.get("amount") or 0).replace(",", "."))


@spending.step
def total(rows):
    "Add up the amounts."
    return round(sum(map(amount_of, rows)), 2)
''',
}
BASES = {name: source.lstrip() for name, source in BASES.items()}
followup("plants", "add a column for the pot size to my plants", plus("pot_size|pot|size: number|text|choice"),
    good=[('    notes: str = ""', '    notes: str = ""\n    pot_size: int = 0')])
followup("plants", "Please add a field to plants: the price that I paid, as a decimal",
    plus("price|paid|price_paid: decimal"), good=[('    notes: str = ""',
    '    notes: str = ""\n    price: Decimal | None = None')])
followup("books", "remove the notes field from my books", minus("notes"), good=[('    notes: Text = ""\n', "")])
followup("plants", "In my plants, add the choice medium to the light", becomes("light: choice(low, medium, high)"),
    good=[('Literal["low", "high"]', 'Literal["low", "medium", "high"]')])
followup("members", "members: the section can also be orchestra", becomes("section: choice(choir, band, orchestra)"),
    good=[('Literal["choir", "band"]', 'Literal["choir", "band", "orchestra"]')])
followup("books", "make the notes field of my books markdown", becomes("notes: markdown"),
    good=[("notes: Text", "notes: Markdown")])
followup("books", "the year column of books should be a number", becomes("year: int"), good=[('year: str = ""',
    "year: int = 0")])
followup("members", "the phone field of members must be filled in", becomes("phone: text", True),
    good=[('    phone: str = ""\n', ""), ("    name: str\n", "    name: str\n    phone: str\n")])
followup("books", "In books, the author column shall be required", becomes("author: words", True),
    good=[('    author: str = ""', "    author: str")])
followup("books", "add two fields to books: the publisher, and the number of pages", plus("publisher: words"),
    plus("pages|number_of_pages|page_count: int"), good=[('    notes: Text = ""',
    '    notes: Text = ""\n    publisher: str = ""\n    pages: int = 0')])
followup("books", "drop the rating column from my books, and add a column for the genre (crime, poetry or essay)",
    minus("rating"), plus("genre: choice(crime, poetry, essay)"), good=[("    rating: int = 0\n", ""),
    ('    notes: Text = ""', '    notes: Text = ""\n    genre: Literal["crime", "poetry", "essay"] = "crime"')])
followup("members", "members: remove the phone field, and add a field for whether they have paid", minus("phone"),
    plus("paid|have_paid: bool"), good=[('    phone: str = ""\n', ""), ('= "choir"\n\n\nclass', '= "choir"\n'
    "    is_paid: bool = False\n\n\nclass")])
followup("letter", "add a step at the end of letter that translates it into French", step_after("draft",
    r"(?s)(?=.*ask\()(?=.*(?i:french))"), good=[('about: {about}")', 'about: {about}")\n\n\n@letter.step\n'
    'async def french(draft, ask: Ask) -> Markdown:\n    "Translate this into French."\n'
    '    return await ask(f"Translate this into French.\\n\\n{draft}")')])
followup("letter", "change the step draft of my letter: it should write a poem instead of a letter", told("draft", "poem"),
    good=[("Write a short letter about this", "Write a short poem about this")])
followup("spending", "add a step to spending that multiplies the total by 0.19", step_after("total", r"0?\.19|19"),
    good=[("(map(amount_of, rows)), 2)", "(map(amount_of, rows)), 2)\n\n\n@spending.step\ndef tax(total):\n"
    '    "Multiply it by 0.19."\n    return total * 0.19')], file="expenses.csv", ends=number(308.5 * .19))


def unlike(changes: list[Change], before: str, after: str) -> list[str]:
    "What of a changed file is not as it is wanted: what was to change, what was not, and lines that are gone."
    was, now = ({n: f for r in records_in(s) for n, f in r.items()} for s in (before, after))
    why, steps, had = list[str](), steps_in(after), steps_in(before)
    free, of_steps, gone = list[str](), set[str](), set[str]()   # expressions of lines, steps, and fields that may change
    new = [n for n in now if n not in was]
    taken = matched([c.what for c in changes if c.kind == "plus"], new)
    for c in changes:
        match c.kind:
            case "plus" if c.name not in taken: why.append(f"there is no {c.name}")
            case "plus" if not is_of_kind(c.what, now[taken[c.name]]):
                why.append(f"{taken[c.name]} is {now[taken[c.name]]['kind']} {now[taken[c.name]]['choices'] or ''}".strip())
            case "minus":
                if c.name in now: why.append(f"{c.name} is still there")
                gone.add(c.name)
            case "is":
                wanted, is_required = c.what
                found = now.get(c.name)
                if not found: why.append(f"{c.name} is gone")
                elif not is_of_kind(wanted, found): why.append(f"{c.name} is {found['kind']} {found['choices'] or ''}")
                elif is_required is not None and found["is_required"] != is_required:
                    why.append(f"{c.name} need not be given" if is_required else f"{c.name} has to be given")
                gone.add(c.name)
            case "step":
                order = [*steps]
                later = order[order.index(c.name) + 1:] if c.name in order else []
                fresh = [n for n in later if n not in had]
                if not fresh: why.append(f"there is no new step after {c.name}")
                elif not any(re.search(c.what, steps[n]["text"]) and c.name in steps[n]["takes"] for n in fresh):
                    why.append(f"the step {fresh[0]} is: {steps[fresh[0]]['text'][:160]}")
                if len(steps) > len(had) + 1: why.append(f"there are {len(steps)} steps")
            case "told":
                found = steps.get(c.name)
                if not found: why.append(f"the step {c.name} is gone")
                elif c.what not in found["instruction"].lower() or found["text"].lower().count(c.what) < 2:
                    why.append(f"the step {c.name} is: {found['text'][:200]}")
                of_steps.add(c.name)
    for n, f in was.items():
        if n not in gone and now.get(n) != f: why.append(f"the field {n} was not to change")
    if extra := [n for n in new if n not in taken.values()]: why.append(f"there is more: {', '.join(extra)}")
    if lost := [n for n in had if n not in steps]: why.append(f"steps are gone: {', '.join(lost)}")
    free += [rf"    {n}:" for n in gone]
    for n in of_steps:  # of a step that is to change any line but its decorator may
        f = next(f for f in tree_of(before).body if getattr(f, "name", "") == n)
        free += [re.escape(line) + "$" for line in before.split("\n")[f.lineno - 1:f.end_lineno] if "#" not in line]
    lines = iter(after.split("\n"))
    for line in before.split("\n"):
        if not line.strip() or any(re.match(e, line) for e in free): continue
        if not any(line == other for other in lines):
            why.append(f"a line is gone, or elsewhere: {line.strip()[:80]}")
            break
    return why


# ── what is broken

def repair(plugin: str, source: str, *good: tuple[str, str], path: str = "", said: str = "", **more: Any) -> None:
    source = source.lstrip()
    case("repair", said or f"Fix the plugin {plugin}.", plugin=plugin, plugins={plugin: source}, good=list(good), path=path,
         **more)


repair("repairs", '''
"Repairs: what the house needs."
from sololith import *


@dataclass
class Repair:
    "Something that is to be mended."
    title: str
    room: Literal["kitchen", "bath", "hall"] = "kitchen"
    price: Decmial | None = None
    done_on: date | None = None
    notes: Text = ""


repairs = crud(Repair)


def dearest(count=3):
    "The repairs that cost most."
    return repairs(order_by="price desc", limit=count)
''', ("Decmial", "Decimal"), path="/repairs")
repair("songs", '''
"Songs: what the band can play."
from sololith import *


@dataclass
class Song:
    "A song of the band."
    title: str
    key: str = "C"
    minutes: float = 3.0
    is_ready: bool = False


class SongsApp(BaseApp):
    record = Song

    def prepare_insert(self, data)
        data["title"] = data["title"].strip()


songs = SongsApp()
''', ("(self, data)", "(self, data):"), path="/songs")
repair("shelves", '''
"Shelves: what stands where in the cellar."
from sololith import *

PLACES = list(string.ascii_uppercase[:6])   # one letter a shelf


@dataclass
class Jar:
    "Something on a shelf."
    content: str
    shelf: Annotated[str, Choices(PLACES)] = "A"
    filled: date | None = None
    count_left: int = 1


shelves = crud(Jar, "shelves")
''', ("from sololith import *\n", "from sololith import *\nimport string\n"), path="/shelves")
repair("hikes", '''
"Hikes: where we walked."
from sololith import *


@dataclass
class Hike:
    "A walk of a day."
    title: str
    km: float = 0.0
    day: date | None = None
    companions: list[str] = []
    weather: Literal["sun", "rain", "snow"] = "sun"


hikes = crud(Hike)


@tool
def longest_hike() -> str:
    "The longest hike so far."
    found = hikes(order_by="km desc", limit=1)
    return found[0].title if found else "None yet."
''', ("companions: list[str] = []", "companions: list[str] = field(default_factory=list)"), path="/hikes")
repair("letters", '''
"Letters: what came by post."
from sololith import *


@dataclass
class Letter:
    "A letter that came."
    sender: str
    came: date | None = None
    is_answered: bool = False


letters = crud(Lettter)


@rt("/unanswered", methods=["GET"])
def unanswered():
    "Letters that wait for an answer."
    return H1("Unanswered"), Ul(*[Li(letter.sender) for letter in letters("not is_answered")])
''', ("crud(Lettter)", "crud(Letter)"), path="/unanswered")
repair("seeds", '''
"Seeds: what is in the drawer."
from sololith import *


@dataclass
class Seed:
    "A packet of seeds."
    variety: str
    grams: float = 0.0
    best_before: date | None = None


class SeedsApp(BaseApp):
    record = Seed

    def prepare_insert(self, data):
        if not data["name"].strip(): raise Problem("Which variety is it?", fix="Say it.")
        return data


seeds = SeedsApp()
''', ('data["name"]', 'data["variety"]'), path="/seeds")
repair("scores", '''
"Scores: who won at cards."
from sololith import *


@dataclass
class Score:
    "What somebody scored on an evening."
    player: str
    points: int = 0
    evening: date | None = None


scores = crud(Score)


@rt("/ranking", methods=["GET"])
def ranking():
    "Who leads."
    sums = {}
    for score in scores():
        sums[score.player] = sums.get(score.player, 0) + score.points
    best = sorted(sums, key=sums.get, reverse=True)
    return H1("Ranking"), Ol(*[Li(f"{player}: {sums[player]}") for player in ranks])
''', ("in ranks]", "in best]"), path="/ranking")
repair("invoicing", '''
"Invoicing: what customers owe."
from sololith import *

invoicing = pipeline("Invoicing")


@invoicing.step
def hours(file: File):
    "Which file of hours?"
    return read_file(file)


@invoicing.step
def worked(hours):
    "Add up the hours."
    return sum(float(row.get("amount") or 0) for row in hours)


@invoicing.step
def owed(work, rate: float = 80.0):
    "Multiply them by the rate."
    return work * rate
''', ("def owed(work,", "def owed(worked,"), ("return work *", "return worked *"), path="/invoicing")
repair("trips", '''
"Trips: where the car went."
from sololith import *


@dataclass
class Trip:
    "A trip with the car."
    destination: str
    km: int = 0
    left_on: date | None = None
      purpose: Literal["work", "private"] = "private"
    is_paid_back: bool = False


trips = crud(Trip)


def distance():
    "All of it, in kilometres."
    return sum(trip.km for trip in trips())
''', ("      purpose:", "    purpose:"), path="/trips")
repair("greeting", '''
"Greeting: a line for somebody's birthday."
from sololith import *

greeting = pipeline("Greeting")


@greeting.step
def person(name: str = "Ada", years: int = 40):
    "Whose birthday is it?"
    return dict(name=name, years=years)


@greeting.step(ask=True)
def line(person):
    "Write the line."
    return f"{person['name']} is {person['years']} now!"
''', ("(ask=True)", "(asks=True)"), path="/greeting")


def lines_kept(before: str, after: str) -> float:
    "Which share of a file's lines is still there, in order."
    a, b = ([line for line in text.split("\n") if line.strip()] for text in (before, after))
    return sum(m.size for m in difflib.SequenceMatcher(None, a, b, False).get_matching_blocks()) / max(1, len(a))


CLASSES = dict(app=30, pipeline=15, followup=15, repair=10, free=30)   # and how many cases each has
ABOUT = dict(app="an app is asked for; right: it is proposed, passes its check, is installed and takes a record through its "
    "form", pipeline="a pipeline is asked for; right: it is installed, runs to its end, and comes to what is right",
    followup="a plugin is to be changed; right: that and nothing else is otherwise, and no other line is gone",
    repair="a broken plugin is to be mended; right: it is loaded, works, and has at least 80 % of its lines",
    free="the requests for apps, answered with a Python file in one go; right: it passes the same check, and makes an app")
CASES += [Case("free", c.said, "free", c.wanted, c.least) for c in CASES if c.kind == "app"]


# ── the server, used as a person does

class Tags(html.parser.HTMLParser):
    "The buttons and inputs of a page, with the choices of each select."
    def __init__(self, page: str):
        super().__init__()
        self.found: list[Row] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {n: v if v is not None else "" for n, v in attrs}
        if tag in ("button", "input", "select", "textarea", "form"): self.found.append({"tag": tag, "options": []} | values)
        elif tag == "option":
            if last := next((f for f in reversed(self.found) if f["tag"] == "select"), None):
                last["options"].append(values.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form": self.found.append({"tag": "/form"})


SAMPLES = dict(number="3", date="2026-03-04", time="08:30", email="ada@example.org", url="https://example.org/a")
SAMPLES |= {"datetime-local": "2026-03-04T10:30", "checkbox": "on"}


def filled(page: str, url: str) -> dict[str, str]:
    "A form of an app, filled in with made-up values: every field but the files that need not be given."
    found, values = Tags(page).found, dict[str, str]()
    start = next(n for n, f in enumerate(found) if f["tag"] == "form" and f.get("hx-post") == url)
    for f in found[start + 1:]:
        if f["tag"] == "/form": break
        name, kind = f.get("name"), f.get("type", "text")
        if not name or f["tag"] == "button": continue
        if kind == "hidden": values[name] = f.get("value", "")
        elif f["tag"] == "select": values[name] = next((o for o in reversed(f["options"]) if o), "")
        elif f["tag"] == "textarea": values[name] = '{"a": 1}' if "json" in f.get("class", "") else f"Some {name}"
        elif kind == "file": continue
        else: values[name] = f.get("max") or f.get("min") or "3" if kind == "number" else SAMPLES.get(kind, f"A {name}")
    return values


class Builder(Chat):
    "A server that is asked to build. Without a model it is for --check."
    def __init__(self, model: Path | None, seed: int = 7, is_blind: bool = False):
        Server.__init__(self, Path(tempfile.mkdtemp(prefix="sololith-eval-")) / "workspace")
        for folder in ("models", "apps", "files"): (self.workspace / folder).mkdir(parents=True)
        if model: (self.workspace / "models" / model.name).symlink_to(model)
        probe = re.sub(r"\bSEED\b", str(seed), re.sub(r"\bMOST\b", str(MOST), PROBE)).replace("BLIND", str(is_blind))
        (self.workspace / "apps" / "probe.py").write_text(probe)
        for name, content in FILES.items(): (self.workspace / "files" / name).write_text(content)
        self.conversation = 0
        self.start()

    def put(self, plugins: dict[str, str]) -> None:
        "Put the workspace into a state: these plugins, and no others, nor what came of others."
        posted = self.post("/probe/put", {"plugins": json.dumps(plugins)})
        assert posted.status == 200, posted

    def examine(self, name: str, source: str) -> Row:
        posted = self.post("/probe/examine", {"name": name, "source": source})
        assert posted.status == 200, posted
        return posted.json()

    def proposal(self) -> Row | None:
        "The newest proposal."
        found = self.rows("SELECT * FROM proposals ORDER BY id DESC LIMIT 1")
        return found[0] | {"report": json.loads(found[0]["report"] or "{}")} if found else None

    def ask(self, said: str, at: str, kind: str = "app") -> tuple[Row | None, float, str]:
        "Say what is wanted: the proposal, the seconds until its card was whole, and what was answered."
        began, first = time.monotonic(), 0
        if at == "page":
            posted = self.post("/build", {"act": "say", "what": said, "kind": kind}, HX_Request="true")
            assert posted.status == 200, posted
        else:
            posted = self.post("/chat", {"c": 0, "text": said}, HX_Request="true")
            assert posted.status == 200, posted
            (row,) = self.rows("SELECT id, conversation FROM messages WHERE role='user' ORDER BY id DESC LIMIT 1")
            self.conversation, first = row["conversation"], row["id"]
        card = 0.0
        while time.monotonic() - began < LIMIT * patience():
            made = self.proposal()
            if made and made["status"] != "working": card = card or time.monotonic() - began
            turn = self.rows("SELECT role, status, content FROM messages WHERE conversation=? AND id>? ORDER BY id",
                             self.conversation, first) if first else []
            answer = next((m for m in turn if m["role"] == "assistant"), None)
            is_waiting = any(m["status"] == "waiting" for m in turn)
            if not first and card or answer and (answer["status"] != "running" or is_waiting):
                return made, card or time.monotonic() - began, answer["content"] if answer else ""
            if self.process and self.process.poll() is not None: raise AssertionError("the server ended")
            time.sleep(.1)
        if first: self.post("/chat/act", {"c": self.conversation, "m": first, "act": "stop"}, HX_Request="true")
        raise AssertionError(f"nothing came within {time.monotonic() - began:.0f} s")

    def install(self, made: Row) -> str:
        "Click Install on the page of a proposal; what is wrong."
        url = f"/build/{made['id']}"
        buttons = [b for b in Tags(self.get(f"{url}/part").text).found if b["tag"] == "button" and b.get("hx-post") == url]
        vals = next((v for b in buttons if (v := json.loads(b.get("hx-vals") or "{}")).get("act") == "install"), None)
        if not vals: return "there is no button Install"
        posted = self.post(url, vals, HX_Request="true")
        if posted.status != 200: return f"Install was answered with {posted}"[:300]
        probe = self.get("/probe").json()
        if error := probe["broken"].get(made["plugin"]): return f"installed, but: {error}"
        return "" if probe["live"].get(made["plugin"]) == made["source"] else "it is not live after Install"

    def use_app(self, name: str) -> str:
        "Look at an app, and add a record through its form; what is wrong."
        for path in (f"/{name}", f"/{name}/new"):
            if (page := self.get(path)).status != 200: return f"{path} answers {page.status}"
        values = filled(page.text, f"/{name}")
        posted = self.post(f"/{name}", values, HX_Request="true")
        if posted.status != 200: return f"the form was answered with {posted.status}: {said_in(posted.text)[:200]}"
        rows = self.get(f"/{name}/export.json").json()
        shown = {n: v for n, v in values.items() if n[0] != "_"}
        if len(rows) != 1: return f"there are {len(rows)} records after one was added"
        if lost := [n for n in shown if rows[0].get(n) in (None, "", []) and shown[n]]:
            return f"{', '.join(lost)} was not kept"
        wrong = [n for n, v in shown.items() if isinstance(rows[0][n], str) and v.startswith("A ") and rows[0][n] != v]
        return f"{', '.join(wrong)} was kept otherwise" if wrong else ""

    def run(self, name: str, given: dict[str, str]) -> Row:
        "Run a pipeline from the command line: its status, value and error."
        flags = [part for n, v in given.items() for part in (f"--{n.replace('_', '-')}", v)]
        done = self.cli("run", name, *flags, "--json", "--yes", limit=300 * patience())
        try: return json.loads(done.stdout.strip().split("\n")[-1])
        except ValueError: return dict(status="not started", value=None, error=done.stderr[-300:])


def said_in(page: str) -> str: return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@contextlib.contextmanager
def page_server():
    "A page on loopback, for pipelines that read one; its address."
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_): "Nothing is said."
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}/fog"
    finally: server.shutdown()


def answers(case: Case, asked: list[Row], url: str, files: Path) -> tuple[dict[str, str], list[str]]:
    "What a person would fill in where a pipeline asks, and what it asks for that nobody spoke of."
    known = {names.split("|")[0]: str(value).replace("PAGE", url) for names, value in case.given.items()}
    pairs = matched([Field(tuple(names.split("|")), frozenset()) for names in case.given], [f["name"] for f in asked])
    given, odd = {pairs[title]: value for title, value in known.items() if title in pairs}, []
    left = [value for title, value in known.items() if title not in pairs]
    for f in asked:
        name, kind = f["name"], f["kind"]
        if name in given:
            if kind == "choice" and given[name] not in f["choices"]: given[name] = next((c for c in f["choices"]
                if squeezed(c) == squeezed(given[name])), f["choices"][0])
        elif kind == "file": given[name] = f"{files / (case.file or 'expenses.csv')}"
        elif kind == "url": given[name] = url
        elif case.file and kind == "text" and re.search("file|csv|path", name): given[name] = case.file
        elif kind in ("text", "long", "markdown") and f["required"] and left: given[name] = left.pop(0)
        elif f["required"]:
            odd.append(name)
            given[name] = f["choices"][0] if f["choices"] else SAMPLES.get(kind, "3" if kind in KINDS["number"] else "x")
    return given, odd


# ── playing a case

def play(actor: Builder, case: Case, url: str) -> Row:
    "One case, to its end: what came, and whether that is right."
    began = time.monotonic()
    found: Row = dict(kind=case.kind, said=case.said, at=case.at, verdict="wrong", why=[], stage="nothing", plugin="",
                      problems=[], answer="", source="", fields=None, value="", seconds=0.0, is_explicit=not case.least)
    try:
        actor.put(case.plugins)
        (play_free if case.kind == "free" else play_built)(actor, case, url, found)
    except (AssertionError, OSError, http.client.HTTPException, ValueError, KeyError, StopIteration) as e:
        found["why"].append(f"it broke off: {type(e).__name__} {e}"[:500])
    found["verdict"] = "wrong" if found["why"] else "right"
    return found | {"whole": round(time.monotonic() - began, 1)}


def play_free(actor: Builder, case: Case, url: str, found: Row) -> None:
    began = time.monotonic()
    connection, posted = actor.stream("POST", "/probe/free", urllib.parse.urlencode({"what": case.said}).encode(),
        LIMIT * patience(), Content_Type="application/x-www-form-urlencoded")
    with contextlib.closing(connection):
        assert posted.status == 200, posted.status
        answer = json.loads(posted.read())
    found |= actor.get("/probe").json()["count"]
    fence = re.search(r"```(?:python|py)?\n(.*?)(?:```|$)", answer, re.S)
    found |= dict(answer=answer[:4000], source=fence[1] if fence else answer, stage="came")
    report = actor.examine("made", found["source"])
    found |= dict(seconds=round(time.monotonic() - began, 1), problems=report["problems"])
    judge_fields(case, found)
    if report["problems"]: found["why"].append(report["problems"][0])
    elif not report["made"].get("apps"): found["why"].append("it makes no app")
    else: found["stage"] = "ready"


def judge_fields(case: Case, found: Row) -> None:
    found["fields"] = compare(case.wanted, found["source"])


def play_built(actor: Builder, case: Case, url: str, found: Row) -> None:
    if case.kind == "repair": found["is_quarantined"] = case.plugin in actor.get("/probe").json()["broken"]
    made, seconds, found["answer"] = actor.ask(case.said, case.at, case.kind)
    found |= actor.get("/probe").json()["count"] | {"seconds": round(seconds, 1)}
    if case.kind == "app": judge_fields(case, found | {"source": ""})  # until something comes all is missing
    if not made:
        found["why"].append(f"no proposal came: {found['answer'][:160]!r}")
        if case.kind == "app": judge_fields(case, found)
        return
    problems = made["report"].get("problems", [])
    found |= dict(plugin=made["plugin"], source=made["source"], stage=made["status"], problems=problems)
    if case.kind == "app": judge_fields(case, found)
    if made["status"] != "ready":
        return found["why"].append(f"{made['status']}: {' '.join(problems[:2]) or made['note']}"[:400])
    if wrong := actor.install(made): return found["why"].append(wrong)
    found["stage"] = "installed"
    judge_installed(actor, case, url, found, made)


def judge_installed(actor: Builder, case: Case, url: str, found: Row, made: Row) -> None:
    "Whether what was installed does what it is for."
    why, report = found["why"], made["report"]["made"]
    match case.kind:
        case "app":
            names = report.get("new") or [*report.get("apps", ())]
            if not names or names[0] not in report.get("apps", ()): return why.append("it makes no app")
            if wrong := actor.use_app(names[0]): why.append(wrong)
        case "pipeline":
            names = [*report.get("pipelines", ())]
            if not names: return why.append("it makes no pipeline")
            why += run_judged(actor, case, names[0], url, found)
        case "followup":
            why += unlike(case.changes, case.plugins[case.plugin], made["source"])
            if made["plugin"] != case.plugin: why.append(f"it is another plugin, {made['plugin']}")
            if case.ends and not why: why += run_judged(actor, case, case.plugin, url, found)
        case "repair":
            kept = lines_kept(case.plugins[case.plugin], made["source"])
            found["kept"] = round(kept, 2)
            if kept < .8: why.append(f"{kept:.0%} of its lines are left")
            page = actor.get("/plugins").text
            if f"{case.plugin}.py has a problem" in page: why.append("it still has a problem")
            if (answer := actor.get(case.path)).status != 200: why.append(f"{case.path} answers {answer.status}")
    if not why: found["stage"] = "works"


def run_judged(actor: Builder, case: Case, name: str, url: str, found: Row) -> list[str]:
    "Run a pipeline; what is wrong with how it ends."
    asked = actor.get(f"/probe?most={RUN_MOST}").json()["asked"].get(name, [])
    pairs = matched(case.wanted, [f["name"] for f in asked]) if case.kind == "pipeline" else {}
    of = {f["name"]: f for f in asked}
    missing = [f.title for f in case.wanted if case.kind == "pipeline" and f.title not in pairs and f.choices]
    wrong = [f"{f.title} is {of[pairs[f.title]]['kind']} {of[pairs[f.title]]['choices'] or ''}".strip() for f in case.wanted
             if f.title in pairs and f.choices and not (of[pairs[f.title]]["kind"] == "choice"
             and has_choices(f.choices, of[pairs[f.title]]["choices"]))]
    given, odd = answers(case, asked, url, actor.workspace / "files")
    run = actor.run(name, given)
    found |= dict(given=given, odd=odd, value=json.dumps(run["value"], ensure_ascii=False)[:600])
    if run["status"] != "done": return [f"the run {run['status']}: {run.get('error')}"[:400]]
    found["stage"] = "ran"
    why = [case.ends.judge(run["value"], lambda app: actor.rows(f'SELECT * FROM "{app}"'))]
    return [*filter(None, why), *(f"it does not ask for {n}" for n in missing), *wrong]


def told_case(found: Row, n: int, count: int) -> str:
    mark = dict(right="ok   ", wrong="WRONG")[found["verdict"]]
    odd = found["fields"] or {}
    more = [f"{name} {', '.join(odd[name])}" for name in ("missing", "extra", "wrong") if odd.get(name)]
    is_told = bool(more) and found["is_explicit"]
    text = (f"{mark} {found['kind']} {n}/{count} {found['seconds']:5.1f} s {found.get('generated', 0):4} tokens  "
            f"{found['said'][:60]!r} → {found['plugin']} {found['stage']}{' (' * is_told}{'; '.join(more) * is_told}"
            f"{')' * is_told}{'  ✗ ' * bool(found['why'])}{'; '.join(found['why'])[:300]}")
    return " ".join(text.split("\n"))


# ── the report

def of_fields(found: list[Row]) -> Row:
    "Precision, recall and F1 of fields over cases, and the share of right types among what was matched."
    every = [one["fields"] for one in found if one["fields"] and one["is_explicit"]]
    hits, extra, missing, wrong = (sum(f["hits"] if n == "hits" else len(f[n]) for f in every)
                                   for n in ("hits", "extra", "missing", "wrong"))
    return dict(hits=hits, wanted=hits + missing, made=hits + extra, right=hits - wrong,
                f1=2 * hits / (2 * hits + extra + missing) if every and hits else 0.0)


def is_enough(f: Row) -> bool:
    "Whether an app of which only the topic was said has fields that one would think of: some, and not fewer than others."
    return f["hits"] >= max(LEAST, len(f["extra"]))


def report(played: dict[str, list[Row]]) -> tuple[dict[str, dict], list[tuple[str, str, bool]]]:
    "The tables, as {name: {names, lines}}, and the verdicts."
    of = lambda *kinds: [found for kind in kinds for found in played.get(kind, [])]
    right = lambda found: sum(one["verdict"] == "right" for one in found)
    ready = lambda found: sum(one["stage"] in ("ready", "installed", "ran", "works") for one in found)
    lines, about_fields = [], []
    for kind in CLASSES:
        if not (found := of(kind)): continue
        card = [one["seconds"] for one in found]
        lines.append([kind, right(found), len(found), share(right(found), len(found)), ready(found), median(card), p90(card),
                      median(one.get("generated", 0) for one in found), median(one.get("generations", 0) for one in found)])
        if kind not in ("app", "free"): continue
        for what, some in (("all", found), ("of those that passed", [one for one in found if not one["problems"]
                                                                     and one["source"]])):
            f = of_fields(some)
            loose = [one for one in some if one["fields"] and not one["is_explicit"]]
            least = sum(is_enough(one["fields"]) for one in loose)
            about_fields.append([kind, what, share(f["hits"], f["made"]), share(f["hits"], f["wanted"]), f"{f['f1']:.3f}",
                                 share(f["right"], f["hits"]), f"{least} of {len(loose)}"])
    failed = [[found["kind"], found["said"], found["plugin"], found["stage"], "; ".join(found["why"]),
               " ⏎ ".join(found["value"].split("\n"))[:160]] for found in of(*CLASSES) if found["verdict"] != "right"]
    odd = [[found["kind"], found["said"], *(", ".join(found["fields"][n]) * (n != "missing"
            or found["is_explicit"]) for n in ("missing", "extra", "wrong"))]
           for found in of("app", "free") if found["fields"] and (any(found["fields"][n] for n in (
               "missing", "extra", "wrong")) if found["is_explicit"] else not is_enough(found["fields"]))]
    parts = {"classes": dict(names=["class", "right", "of", "share", "passed the check", "median s to the card", "p90 s",
                                    "median tokens", "median generations"], lines=lines),
        "fields": dict(names=["class", "which", "precision", "recall", "F1", "right types", "only a topic: enough fields"],
                       lines=about_fields),
        "failed": dict(names=["class", "said", "plugin", "came to", "why", "value"], lines=failed),
        "odd fields": dict(names=["class", "said", "missing", "extra", "other kind"], lines=odd)}
    verdicts: list[tuple[str, str, bool]] = []

    def verdict(kind: str, least: float, what: str) -> None:
        if found := of(kind): verdicts.append((kind, f"{right(found)} of {len(found)} ({share(right(found), len(found))}) "
            f"{what} (at least {least:.0%})", right(found) >= least * len(found)))

    verdict("app", .95, "are installable and work at the first try")
    if of("app"):
        f1 = of_fields(of("app"))["f1"]
        verdicts.append(("app", f"F1 of the fields is {f1:.3f} (at least 0.95)", f1 >= .95))
    verdict("pipeline", .85, "run to the right end")
    verdict("followup", .8, "change that, and nothing else")
    if card := [one["seconds"] for one in of("app", "pipeline", "followup", "repair")]:
        took = median(card)
        verdicts.append(("times", f"{took} s from request to card in the median (at most 60 s), {p90(card)} s at the 90th "
                         "percentile", took <= 60))
    return parts, verdicts


LEAST = 3   # fields that a request with nothing but a topic has to bring
TOLD = {"classes": "\n".join(f"- {kind}: {what}" for kind, what in ABOUT.items()),
    "fields": "Over the requests that name their fields. Of a request to which nothing came all fields are missing. Types "
        "are those of the fields that are there; choices have to be those that were said.",
    "failed": "Every case that is not right.", "odd fields": "Where fields are not those that were said, or, with a "
        "topic only, not those that one would think of: right or not."}


def keep(options: argparse.Namespace, model: Path, began: float, path: Path, played: dict[str, list[Row]]) -> bool:
    "Write what there is so far; whether all verdicts hold."
    parts, verdicts = report(played)
    about = dict(model=model.name, at=f"{datetime.now():%Y-%m-%d %H:%M}", seconds=round(time.monotonic() - began),
                 seed=options.seed, tokens_of_a_generation=MOST, cores=os.cpu_count(), machine=platform.machine(),
                 python=platform.python_version(), load_before=options.load, load_after=round(os.getloadavg()[0], 1))
    path.parent.mkdir(exist_ok=True)
    whole = {"about": about, "verdicts": verdicts, "parts": parts, "cases": played}
    path.with_suffix(".json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    text = [f"# The builds of {model.stem}, {about['at']}",
            ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in about.items()) + ".",
            table(["", "part", "verdict"], [["ok" if holds else "**FAIL**", part, what] for part, what, holds in verdicts]),
            *[f"## {name}\n\n{TOLD[name]}\n\n{table(part['names'], part['lines'])}" for name, part in parts.items()]]
    path.with_suffix(".md").write_text("\n\n".join(text) + "\n")
    return all(holds for *_, holds in verdicts)


# ── --check: the eval looks at itself

FIELD_TEXT = dict(text='str = ""', long='Text = ""', markdown='Markdown = ""', int="int = 0", float="float = 0.0",
    bool="bool = False", tags="Tags = field(default_factory=list)", **{n.lower(): f"{n} | None = None" for n in
    ("date", "datetime", "time", "Decimal", "Email", "Url", "File")})
RUNS = {  # pipelines written by hand, by words of what is said
    "adds up the amounts": '''
"Sum: adds up."
from sololith import *
sum_up = pipeline("Sum up")
@sum_up.step
def rows(file: File): return read_file(file)
@sum_up.step
def total(rows): return sum(float(row["amount"]) for row in rows)
''',
    "each row to my tasks": '''
"Import: adds tasks."
from sololith import *
import_them = pipeline("Import them")
@import_them.step
def rows(file: File): return read_file(file)
@import_them.step
def added(rows): return use_tool("tasks_add", rows)
''',
    "counts the words in it": '''
"Count: counts words."
from sololith import *
counting = pipeline("Counting")
@counting.step
def text(text_: Text): return text_
@counting.step
def words(text): return len(text.split())
''',
    "what that costs": '''
"Pay: what work costs."
from sololith import *
pay = pipeline("Pay")
@pay.step
def asked(people: int, hours: int, rate: Decimal): return dict(people=people, hours=hours, rate=rate)
@pay.step
def cost(asked): return asked["people"] * asked["hours"] * asked["rate"]
'''}


def ideal(case: Case, name: str = "things") -> str:
    "An app written by hand that has the fields that are wanted."
    lines = []
    for n, f in enumerate(case.wanted):
        one = f.names[0]
        if one in ("date", "time", "datetime", "type", "class", "position"):  # names that a field had better not have
            one = f.names[1] if f.names[1:] else {"date": "day"}.get(one, f"{one}_")
        kind = next((k for k in sorted(f.kinds) if k != "choice"), "text")
        made = f"Literal{json.dumps([c.split('|')[0] for c in f.choices])} = {json.dumps(f.choices[0].split('|')[0])}" \
            if "choice" in f.kinds and f.choices else "str" if not n and kind == "text" else FIELD_TEXT[kind]
        lines.append(f"    {one}: {made}\n")
    lines.sort(key=lambda line: "=" in line)
    return (f'"{name.capitalize()}: made by hand."\nfrom sololith import *\n\n\n@dataclass\nclass Thing:\n'
            f'    "One of them."\n{"".join(lines)}\n\n{name} = crud(Thing)\n')


def edited(source: str, edits: Iterable[tuple[str, str]]) -> str:
    for search, replace in edits:
        assert search in source, f"{search!r} is not in it"
        source = source.replace(search, replace)
    return source


def bring(actor: Builder, name: str, source: str) -> Row:
    "Have a file checked as one that a person brings; the proposal."
    posted = actor.post("/build", {"act": "import"}, files={"file": (f"{name}.py", source.encode())}, HX_Request="true")
    assert posted.status == 200, posted
    made = actor.proposal()
    assert made and made["status"] == "ready", made and made["report"]["problems"]
    return made


def check_case(actor: Builder, case: Case, url: str) -> None:
    "Whether a case makes sense: what is right is found right, and what is not is not."
    found: Row = dict(why=[], stage="", value="", kind=case.kind)
    actor.put(case.plugins)
    match case.kind:
        case "app":
            source = ideal(case)
            fine = compare(case.wanted, source)
            assert not fine["missing"] and not fine["extra"] and not fine["wrong"], f"what is right is {fine}"
            if not case.least:
                fields_ = source.split("\n    ")[2:]
                less = source.replace(f"    {fields_[-1].split(chr(10))[0]}\n", "")
                assert compare(case.wanted, less)["missing"], "the judge does not miss a field"
                other = re.sub(r"(?m)^(    \w+: )[^\n]*$", r"\1Json = None", source)
                assert len(compare(case.wanted, other)["wrong"]) == len(case.wanted), "the judge takes any type"
            else: assert len(case.wanted) > case.least == LEAST
            made = bring(actor, "things", source)
            assert not (wrong := actor.install(made)), wrong
            judge_installed(actor, case, url, found, made)
            assert found["stage"] == "works", found["why"]
        case "pipeline":
            rows = lambda good: lambda app: [{case.ends.args[1]: n} for n in good]
            assert not (wrong := case.ends.judge(case.good, rows(case.good))), f"what is right is wrong: {wrong}"
            assert case.ends.judge(case.bad, rows(case.bad)), f"the judge takes {case.bad!r}"
            if source := next((s for words, s in RUNS.items() if words in case.said), ""):
                made = bring(actor, "made", source.lstrip())
                assert not (wrong := actor.install(made)), wrong
                judge_installed(actor, case, url, found, made)
                assert found["stage"] == "works", found["why"]
        case "followup":
            base = case.plugins[case.plugin]
            good = edited(base, case.good)
            assert unlike(case.changes, base, base), "the judge takes it unchanged"
            assert not (wrong := unlike(case.changes, base, good)), f"what is right is wrong: {wrong}"
            assert unlike(case.changes, base, good.replace("from sololith import *", "from sololith import *  # all")), \
                "the judge does not see a line that changed"
            more = good.replace("import *\n", "import *\n@dataclass\nclass More:\n    odd: str\n", 1)
            assert unlike(case.changes, base, more), "the judge does not see more"
            before = actor.examine(case.plugin, base)
            assert not before["problems"], before["problems"]
            after = actor.examine(case.plugin, good)
            assert not after["problems"], after["problems"]
            if case.ends:
                actor.put({case.plugin: good})
                assert not (wrong := run_judged(actor, case, case.plugin, url, found)), wrong
        case "repair":
            base = case.plugins[case.plugin]
            assert actor.examine(case.plugin, base)["problems"], "it is not broken"
            good = edited(base, case.good)
            assert lines_kept(base, good) >= .8 > lines_kept(base, "\n".join(good.split("\n")[:6])), "the lines"
            made = bring(actor, case.plugin, good)
            assert not (wrong := actor.install(made)), wrong
            judge_installed(actor, case, url, found, made)
            assert found["stage"] == "works", found["why"]


def check() -> int:
    "Whether the cases make sense, on a server without a model."
    for kind, count in CLASSES.items():
        assert sum(c.kind == kind for c in CASES) == count, f"{kind} has not {count} cases"
    assert len({c.said for c in CASES if c.kind != "free"}) == sum(c.kind != "free" for c in CASES), "said twice"
    assert words_of("is_watered_on") == words_of("watered") and words_of("date") == words_of("day") == ["date"]
    assert matched(fields("name; weight"), ["weight_kg", "a_name"]) == {"name": "a_name", "weight": "weight_kg"}
    assert not matched(fields("price"), ["prize"])
    problems, began = [], time.monotonic()
    quarantined = 0
    with page_server() as url, Builder(None) as actor:
        for c in CASES:
            if c.kind == "free": continue
            try:
                check_case(actor, c, url)
                if c.kind == "repair":
                    actor.put(c.plugins)
                    quarantined += c.plugin in actor.get("/probe").json()["broken"]
            except (AssertionError, StopIteration, KeyError, ValueError) as e:
                problems.append(f"{c.kind}: {c.said[:60]!r}: {type(e).__name__ * (not str(e))}{str(e)[:400]}")
    print(table(["class", "cases"], [[kind, count] for kind, count in CLASSES.items()]))
    print(f"\n{len(problems)} problems; {quarantined} of the broken plugins are quarantined; "
          f"{time.monotonic() - began:.0f} s")
    print(*problems, sep="\n")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classes", nargs="*", metavar="CLASS", help=f"of {', '.join(CLASSES)}; all, unless some are named")
    parser.add_argument("--model", default=DEFAULT, help="a name of the catalogue")
    parser.add_argument("--limit", type=int, default=0, help="the first so many of each class")
    parser.add_argument("--grep", default="", help="only cases in which this (an expression) is said")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--blind", action="store_true", help="the builder may not look at the tables in files/")
    parser.add_argument("--check", action="store_true", help="look at the cases only; no model is needed")
    options = parser.parse_args()
    for kind in options.classes:
        if kind not in CLASSES: parser.error(f"there is no class {kind}: {', '.join(CLASSES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.check: return check()
    model, began, options.load = weights(options.model), time.monotonic(), round(os.getloadavg()[0], 1)
    name = [f"builds-{datetime.now():%Y-%m-%d}", options.model.replace(".", "_") * (options.model != DEFAULT),
            "some" if options.limit or options.grep else "", "blind" if options.blind else ""]
    path = Path(__file__).parent / "results" / "-".join(filter(None, name))
    played: dict[str, list[Row]] = {}
    if options.classes and not options.grep and not options.limit and path.with_suffix(".json").exists():
        before = json.loads(path.with_suffix(".json").read_text())["cases"]  # what is not run anew stays
        played = {kind: found for kind, found in before.items() if kind not in options.classes}
    holds = True
    with page_server() as url, Builder(model, options.seed, options.blind) as actor:
        actor.warm()
        for kind in options.classes or CLASSES:
            cases = [c for c in CASES if c.kind == kind and re.search(options.grep, c.said, re.I)][:options.limit or None]
            if not cases: continue
            played[kind] = []
            for n, c in enumerate(cases, 1):
                found = play(actor, c, url)
                played[kind].append(found)
                print(told_case(found, n, len(cases)), flush=True)
                if actor.process and actor.process.poll() is not None: actor.restart()
            holds = keep(options, model, began, path, played)
    parts, verdicts = report(played)
    for part in ("classes", "fields"): print(f"\n## {part}\n\n{table(parts[part]['names'], parts[part]['lines'])}")
    print()
    for part, what, is_so in verdicts: print(f"{'ok  ' if is_so else 'FAIL'} {part}: {what}")
    print(f"\n{sum(is_so for *_, is_so in verdicts)} of {len(verdicts)} verdicts hold; {path.relative_to(ROOT)}.md")
    return 0 if holds else 1


if __name__ == "__main__": raise SystemExit(main())
