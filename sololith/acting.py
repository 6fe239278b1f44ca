"""Acting: what the model is told of the tools, which calls it made, what the person wished, and what has to be approved.

A small model fills in blanks; the rest is done here. It is shown a list of tools in a line each, with examples made from
the tools that there are, and the records in question. Its calls are found in whatever it wrote; what nobody said is taken
out of their arguments; a call that was not wished for, or cannot be undone, waits for the person. chat.py has the turns.

    wish = wish_of("Could you delete the two about the bank?")      # {"delete"}; is_talk: a question, a plan, a report
    calls_in('```json\\n{"tool": "tasks_add", "args": {"title": "Oat milk"}}\\n```')
    why_ask(tool, args, wish, level="show", outside=False)          # "" or the reason why it has to be approved

The words that are looked for are English and German. Of another language nothing is understood here: then what changes
something waits for a click, which is safe and tiresome.
"""
import hashlib, json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from collections.abc import Iterable, Mapping, Sequence
from .base import *
from .crud import SMALL_WORDS, BaseApp
from .fields import DAY_WORDS, NUMBER_WORDS, clip, day_called
from .models import Acts
from .store import COMMON, db, dumps, store
from .tools import Tool

MOST_TOOLS = 30          # that the model is told of at the beginning; the others when they are spoken of
MOST_ROWS, FEW_ROWS = 8, 12   # records that are looked up for a turn; an app that is named and has no more is shown whole
LEVELS = {"ask": "asks before it changes anything", "show": "acts, and shows what it did", "auto": "does not ask here"}
HIDDEN = ("get_a_model", "link_check")  # pipelines that are not among the first tools

SYSTEM_ACTING = """
You act for that person with tools:
- To act, answer with calls and nothing else, one a line, as JSON: {"tool":"NAME","args":{…}}. Several things to do are \
several lines. To talk, answer with text.
- Act only when the person wants it done now. Answer questions, plans, musings and reports of what they did with text. If \
it is not clear what is meant, ask. What no tool can do, you cannot do: say so.
- Leave out every argument that the person did not give. Dates may be words: tomorrow, friday, next monday.
- `which` names records by title or number as shown, or by what they share: all, done, not done, overdue, high.
- Lines under [already there] are what the apps hold. [result] is what your calls did.
Tools:
"""


# ─── what the model is told ───

def apps_of_work() -> list[BaseApp]:
    "The apps that are the person's work, those of plugins first."
    found = [a for a in all_apps().values() if isinstance(a, BaseApp) and a.section == "apps"]
    return sorted(found, key=lambda a: a.name in system.apps)


def usual_tools() -> dict[str, Tool]:
    "The tools that a conversation begins with: the general ones, then those of as many apps and pipelines as have room."
    usual = {n: t for n, t in all_tools().items() if t.is_usual}
    owners = [a.name for a in apps_of_work()] + [p for p in all_pipelines() if p not in HIDDEN]
    owners += sorted({t.owner for t in usual.values() if t.is_outward} - {*owners, *all_pipelines()})
    found = {n: t for n, t in usual.items() if t.owner in ("", "journal")}
    for owner in owners:
        own = {n: t for n, t in usual.items() if t.owner == owner}
        if len(found) + len(own) <= MOST_TOOLS: found |= own
    return found


def opening() -> tuple[str, dict]:
    "What a new conversation's fixed prompt says of tools: its text, and as facts the tools and the worked examples."
    shown = {n: t.signature() for n, t in usual_tools().items()}
    others = sorted({t.owner for n, t in all_tools().items() if n not in shown
        and t.owner in {a.name for a in apps_of_work()}})
    more = f"\nThere are more, for {', '.join(others)}: they are shown once they are spoken of." if others else ""
    app = next((a for a in apps_of_work() if a.name == "tasks"), None) or next(iter(apps_of_work()), None)
    return SYSTEM_ACTING + "\n".join(shown.values()) + more, {"tools": shown, "registry": sorted(all_tools()),
        "examples": worked_examples(app) if app and f"{app.name}_add" in shown else []}


def worked_examples(app: BaseApp) -> list[list]:
    "Turns that show how to act, made from an app: what is said (after results), and the answer: a text or calls."
    n, name = app.noun, app.first_text()
    kinds = lambda *wanted: next((f for f in app.fields.values() if f.kind in wanted and f.name not in app.readonly), None)
    due, switch, choice, owner = kinds("date"), kinds("bool"), kinds("choice"), kinds("relation")
    by_friday = {due.name: "friday"} if due else {}
    made = list[list]()
    def call(kind: str, **args: Any) -> dict: return {"tool": f"{app.name}_{kind}", "args": args}
    def say(text: str, answer: str) -> None: made.append([text, answer, []])
    def act(text: str, *pairs: tuple[dict, str]) -> None: made.append([text, [c for c, _ in pairs], [r for _, r in pairs]])
    act(f"Add a {n}: mow the lawn", (call("add", **{name: "Mow the lawn"}), "added “Mow the lawn”"))
    say("What is the capital of Peru?", "Lima.")
    say("Tell Bob by e-mail.", "I have no tool for e-mail, so I cannot do that.")
    if switch:
        say("I mowed the lawn yesterday.", f"Well done! Shall I set “Mow the lawn” to {switch.label.lower()}?")
        act("yes", (call("change", which=["Mow the lawn"], **{switch.name: True}),
            f"changed “Mow the lawn”: {switch.name} no → yes"))
    say("If I had a boat, I would delete all of this.", "Then I leave everything as it is.")
    if due and switch:
        act(f"which {app.title.lower()} are overdue?", (call("find", text="overdue"),
            f"1 {n}:\n{n}: Oil the gate, {due.name} "
            "2020-01-05"))
        say("", "One: “Oil the gate”, since 5 January 2020.")
        act("tick that off", (call("change", which=["Oil the gate"], **{switch.name: True}),
            f"changed “Oil the gate”: {switch.name} "
            "no → yes"))
    act(f"remind me of paint and brushes{', both on friday' if due else ''}", (call("add", **{name: "Paint"}, **by_friday),
        "added “Paint”"), (call("add", **{name: "Brushes"}, **by_friday), "added “Brushes”"))
    if due: act("the brushes have no date", (call("change", which=["Brushes"], **{due.name: None}), "changed “Brushes”"))
    say("Should I buy the paint first?", "Yes: without paint, brushes are of no use.")
    pipe = next((t for n, t in usual_tools().items() if t.kind == "run" and t.owner in all_pipelines()), None)
    if pipe and (asked := next((n for n, f in pipe.fields.items() if f.kind == "text"), "")):
        act(f"run {pipe.owner.replace('_', ' ')} for Bob", ({"tool": pipe.name, "args": {asked: "Bob"}}, f"started “Bob” of "
            f"{all_pipelines()[pipe.owner].title}"))
    if owner: act("the paint is for Acme", (call("change", which=["Paint"], **{owner.name: "Acme"}), "changed “Paint”"))
    if switch:
        act(f"delete all that are {switch.label.lower()}", (call("delete", which=[switch.label.lower()]),
            f"deleted 2 {app.name}"))
    value = list(choice.choices)[-1] if choice else ""
    extra = {choice.name: value} if choice else {}
    act(f"rename the paint to white paint{f', make it {value}' if choice else ''}, and delete the brushes",
        (call("change", which=["Paint"], **{name: "White paint"}, **extra), "changed “Paint”"),
        (call("delete", which=["Brushes"]), "deleted “Brushes”"))
    return made


def unknown_app(text: str) -> str:
    "An app that a text names as one, and that is not there; nothing if it names none."
    found = re.search(r"\b(\w+)[ -]apps?\b", text, re.I)
    name = found[1].lower() if found else ""
    return "" if not name or name in SMALL_WORDS | {"an", "this", "that", "new", "other"} or any(is_about(a, name) for a in
        all_apps()) else name


def is_about(owner: str, text: str) -> bool:
    "Whether a text names an app or a pipeline."
    app = all_apps().get(owner) or all_pipelines().get(owner)
    if not owner: return False
    names = {owner.replace("_", " "), str(getattr(app, "title", owner)).lower()}
    if isinstance(app, BaseApp) and app.section == "apps": names.add(app.noun)
    return any(re.search(rf"\b{re.escape(n)}(s|es)?\b", text.lower().replace("_", " ")) for n in names)


def pipeline_named(text: str) -> str:
    "The one pipeline that a text wants to be run; one that is called by a single word only where it says so."
    text = GREETED.sub("", text)
    found = [p for p in all_pipelines() if is_about(p, text) and ("_" in p or WISHES["run"].search(text))]
    if len(found) != 1: return ""
    title = all_pipelines()[found[0]].title
    before = re.split(rf"\b(?:{found[0]}|{re.escape(title)}|{found[0].replace('_', ' ')})", text, maxsplit=1, flags=re.I)[0]
    is_spoken_of = re.match(r"\W*(?:remind|erinner)", text, re.I) or any(is_about(a.name, before) for a in apps_of_work())
    return "" if is_spoken_of else found[0]


def tools_news(path: list[dict], text: str, apps: Iterable[str]) -> tuple[str, dict]:
    """What is to be told of tools at the end of a conversation, for those above stay as they are: those of apps that
    are spoken of, of new plugins and of pipelines that were run; what has changed, and what is gone. The lines, and the
    tools in them."""
    known, now = told_tools(path), all_tools()
    ran = {now[c["tool"]].owner for m in path if m["role"] == "call" and (c := json.loads(m["content"]))["tool"] in now
        and now[c["tool"]].owner in all_pipelines()}
    at = {n for m in path for n in m["facts"].get("registry", ())}  # what there was when it was told last
    news = {n: t.signature() for n, t in now.items() if n not in known and (t.owner in ran or t.is_usual and (
        t.owner in apps or is_about(t.owner, text) and t.owner in all_apps() | all_pipelines() or n not in at))}
    news |= {n: now[n].signature() for n, was in known.items() if n in now and now[n].signature() != was}
    gone = [n for n in known if n not in now]
    lines = [*news.values(), *([f"No longer there: {', '.join(gone)}"] if gone else [])]
    return "\n".join(lines), {"tools": news, "gone": gone, "registry": sorted(now.keys() - at)}


def told_tools(path: list[dict]) -> dict[str, str]:
    "The tools that a conversation knows, with their signatures as they were told."
    known: dict[str, str] = {}
    for m in path:
        if m["role"] not in ("prompt", "tools"): continue
        known |= m["facts"].get("tools", {})
        for n in m["facts"].get("gone", ()): known.pop(n, None)
    return known


def acts_of(path: list[dict], way: str, may_call: bool = True, may_talk: bool = True, only: Sequence[str] = ()) -> Acts:
    "What an answer in a conversation may be: calls of the tools that it knows, or `only` of some, or text."
    now = all_tools()
    found = [now[n] for n in told_tools(path) if n in now and (n in only or not only)]
    return Acts([dict(name=t.name, description=t.about, parameters=for_model(t)) for t in found],
        may_call and bool(found), may_talk or not found, way)


def for_model(made: Tool) -> dict:
    """A tool's schema as the model is held to it: records by name, which it copies better than numbers; null only where it
    empties a date or a relation; no limit."""
    schema = made.schema()
    for name, kind in schema["properties"].items():
        can_empty = made.kind == "change" and made.fields[name].kind in ("date", "datetime", "relation")
        if isinstance(kind.get("type"), list) and not can_empty: kind["type"] = kind["type"][0]
        if None in kind.get("enum", ()): kind["enum"] = [v for v in kind["enum"] if v is not None]
        if name == "which" and "items" in kind: kind["items"] = {"type": "string"}
        elif name == "which": schema["properties"][name] = {"type": "string"}
    schema["properties"].pop("limit", None)
    return schema


def unnumbered(text: str) -> str:
    "Lines of records without their numbers, but where two have the same name."
    names = Counter(re.findall(r"(?m)^\w+ \d+: ([^,\n]*)", text))
    text = re.sub(r"(?m)^(\w+) \d+: (?=([^,\n]*))", lambda m: f"{m[1]}: " if names[m[2]] == 1 else m[0], text)
    return re.sub(r"(?m) \(\w+ \d+\)$", "", text)


def records_for(text: str, path: list[dict]) -> tuple[str, dict]:
    """The records that a text is about, in a line each, that were not shown yet as they are now: those that share words with
    it, and all of an app that is named and has few. The lines; which records, in which version; and the apps."""
    shown = {k: v for m in path if m["role"] == "records" for k, v in m["facts"]["shown"].items()}
    apps = {a.name: a for a in apps_of_work()}
    pairs = [(a.name, int(n)) for a in apps.values()
        for n in re.findall(rf"\b(?:{a.noun}|{a.name})s? (?:no\.? ?)?#?(\d{{1,9}})\b", text.lower())]
    numbered = {f"{n} {i}" for n, i in pairs}  # they are called by their numbers
    pairs += [(n, i) for where in ("title", "body") for n, i in db.related(text, 40, where=where) if n in apps][:MOST_ROWS]
    lines, now = [], dict[str, int]()
    for name, app in apps.items():
        if not (is_named := is_about(name, text)) and not any(n == name for n, _ in pairs): continue
        here = app.here()
        count = here.count()
        rows = here.rows(order_by="position, id" if "position" in app.fields else "id desc",
            limit=FEW_ROWS) if is_named and count <= FEW_ROWS else here.rows(
            f"id IN ({','.join(str(i) for n, i in pairs if n == name) or 0})")
        for row in rows:
            key, version = f"{name} {row['id']}", db.last_id(name, row["id"])
            if shown.get(key) == version: continue
            lines.append(app.row_text(row) if key in numbered else unnumbered(app.row_text(row)))
            now[key] = version
        if is_named and count > len(rows): lines.append(f"{app.title}: {count:,} in all.")
        elif is_named and not count: lines.append(f"{app.title}: none.")
    return "\n".join(lines), {"shown": now, "apps": sorted({n for n, _ in pairs})}


# ─── what it wrote ───

LONGEST_CALLS = 60_000   # characters of an answer in which calls are looked for
MEANT = ("{", "[{", "<tool", "```json")  # how an answer begins that is a call


def calls_in(text: str) -> list[dict]:
    """The calls in an answer, as {"tool", "args"}: JSON by itself, in fences and tags, in lists, or behind words. What
    begins like a call and is none is a call without a tool."""
    found, at, failed, decoder = list[dict](), 0, 0, json.JSONDecoder(strict=False)
    text, is_meant = text[:LONGEST_CALLS], text.lstrip().startswith(MEANT)
    while (at := text.find("{", at)) >= 0 and len(found) < 60 and failed < 40:
        try: value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at, failed = at + 1, failed + 1
            continue
        for one in value.get("calls") if isinstance(value.get("calls"), list) else [value]:
            if not isinstance(one, dict): continue
            inner = one.get("function")
            one = {**one, **inner} if isinstance(inner, dict) else one
            name = one.get("tool") or one.get("name") or (inner if isinstance(inner, str) else None)
            args = next((one[n] for n in ("args", "arguments", "parameters") if n in one), {})
            if isinstance(args, str):
                with contextlib.suppress(ValueError, RecursionError): args = json.loads(args)
            if isinstance(name, str) and (name in all_tools() or is_meant): found.append({"tool": name, "args": args})
    return found or [{"tool": "", "args": {}, "text": clip(text, 200)}] * is_meant


def call_text(call: Mapping) -> str: return dumps({"tool": call["tool"], "args": call["args"]})


# ─── what was wished ───

def words(text: str, before: str = r"\b", after: str = r"\b") -> re.Pattern:
    "A pattern for any of these words, in any case; _ is a space, * any ending."
    found = "|".join(re.escape(w).replace("_", " ").replace(r"\*", r"\w*") for w in text.split())
    return re.compile(f"{before}(?:{found}){after}", re.I | re.S)


# What a person says who wants something done, by the kind of tool, and what tells talk from it. English and German.
WISHES = {
    "add": words("""todo add create make new put note write jot record log file_that file_it track insert enter save
        remind list need_to forget remember start_a set_up schedule plan füg* leg* anleg* erstell* notier* schreib*
        trag* neu neue* merk* mach* erinner*"""),
    "change": words("""change set rename call make mark move update edit complete finish tick check done close reopen
        postpone push shift assign give raise lower bump prioritise prioritize due turn correct fix instead actually
        replace switch put reschedule bring should was_meant i_meant swap flag double add from_now_on änder* setz* benenn*
        umbenenn* verschieb* erledig* hak* abhak* stell* markier* schließ* mach* nenn*"""),
    "delete": words("""delete remove drop get_rid throw clear erase cancel scrap discard bin trash wipe can_go kill lösch*
        entfern* wirf streich* weg"""),
    "undo": words("""undo revert rollback restore take_back take_it_back take_that_back bring_back bring_it_back
        bring_that_back roll_back put_back put_it_back rückgängig zurück*"""),
    "run": words("run start execute launch do go use clean greet check führ* start* ausführen lass")}
KIND_OF = dict(toggle="change", move="change", start="run", fill="run", revise="run")  # kinds of tools with the same words
ASKED_FOR = words("""can_you could_you would_you will_you can_we could_we please i_want_you i_need_you i_want_to i_need_to
    i_would_like i'd_like i'd_love kannst_du könntest_du würdest_du magst_du bitte ich_möchte ich_will ich_brauche
    don't_forget dont_forget vergiss_nicht would_you_mind""")
OPENS = r"^\W*(?:(?:and|so|but|then|well|hey|ok|okay|und|also|aber|na)\W+)*"
TALKED = words("""what which who whom whose when where why how is are am was were do_i do_we do_you do_they do_any do_my
    does did has have had you_could you_might you_may should shall may isn't aren't don't didn't if wenn falls maybe
    perhaps vielleicht was wer wann wo warum wieso wie welche* ist sind war hab* hat hast soll* muss darf gibt steht
    do_not never please_don't no_need not_now imagine suppose thanks thank danke hi hello hallo""", OPENS)
REPORTED = words("i we ich wir it he she they my someone one_day some_day", OPENS,
    r"\b(?! ?(?:want|need|have to|meant|mean|would like|'d like|möchte|will|brauche|meinte|muss)\b)")
NEGATED = words("""theoretically hypothetically in_theory theoretisch don't dont do_not never no_need shouldn't not_yet
    leave keep nicht kein* niemals lass_es""")
TURNED = words("but instead sondern just only")   # after a negation: what is to be done all the same
AGREED = words("""yes yep yeah sure ok okay do_it do_that go_ahead please_do ja klar gern* mach_das genau right exactly
    correct all_of_them both the_first* the_second* the_third* the_last* the_other* beide alle die_erste* die_zweite*
    den_ersten den_zweiten""", r"\W*", r"(?:[ ,]+(?:please|one|bitte|thanks|do|it|that|go|ahead|mach|das))*\W*")
GREETED = words("thanks thank_you danke hi hello hallo hey great cool nice super", r"^\W*(?:",
    r"\b[^,.!:]{0,20}[,.!:]\s*)+(?=\S)")
DEEDS = words("""add create make put note jot log set rename mark move update edit complete finish tick check_off close
    reopen postpone push shift assign give raise lower change turn correct fix replace switch reschedule delete remove drop
    get_rid     throw clear cancel scrap undo run start remind remember find look_up lösch* füg* leg setz* erstell*
    verschieb* mach hak schreib notier* nenn* änder* stell trag entfern* markier*""",
    r"(?:(?:please|also|then|bitte|finally|first|and)\s+)*")
SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+|\b(?:and then|then|und dann)\b|,\s+(?:so|also)\s+(?=" + DEEDS.pattern + ")", re.I)
CUTS = re.compile(r"(?:\s*[,;]?\s+(?:and|then|und|dann)(?:\s+(?:then|also|dann|auch))?\s+|\s*[,;:]\s+|(?<=[.!?])\s+"
    rf"|\s+[-–]\s+|\n+)(?={DEEDS.pattern})", re.I)
BEGUN = re.compile(r"\W*(?:(?:please|can you|could you|would you|will you|ok|okay|first|now|hey|so|bitte|kannst du)\W+)*"
    + DEEDS.pattern, re.I)
QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"|(?<!\w)'[^'\n]{2,}'(?!\w)")


def parts_of(text: str) -> list[str]:
    """What is to be done, one after the other: a text, cut before each verb that says something to do with an app, or with a
    record that is there. Not in quotes."""
    parts, begin, quotes = list[str](), 0, [m.span() for m in QUOTED.finditer(text)]
    cuts = [m for m in CUTS.finditer(text) if not any(a < m.end() <= b for a, b in quotes)]
    for at, cut in enumerate(cuts):
        piece, pipes = text[cut.end():cuts[at + 1].start() if cuts[at + 1:] else None], [*all_pipelines()]
        if not begin and not BEGUN.match(text[:cut.start()]): continue  # it began with why, or with a title
        if re.match(r"(?:add|put|note|jot|write|file|leg|schreib|trag) (?:it|that|this|them|es|das|sie)\b", piece): continue
        if any(is_about(p, text[begin:cut.start()]) for p in pipes) and not any(is_about(p, piece) for p in pipes): continue
        is_apart = POINTED.search(piece) or re.search(r"\blists?\b", piece) or any(is_about(a.name, piece)
            for a in apps_of_work()) or any(is_about(p, piece) for p in pipes) or db.related(piece, 1)
        if not is_apart: continue  # a title may go on with a verb: “buy salt and add it to the soup”
        parts.append(text[begin:cut.start()])
        begin = cut.end()
    return [part for part in map(str.strip, [*parts, text[begin:]]) if part]


@dataclass
class Wish:
    "What a person's words ask to be done: kinds of tools. `is_talk`: they ask for nothing, but for an answer."
    text: str
    kinds: set[str] = field(default_factory=set)
    is_talk: bool = False
    is_agreed: bool = False
    is_asked: bool = False   # politely, whatever for
    may_act: bool = True

    def allows(self, made: Tool, outside: bool = False) -> bool:
        "Whether a call is among what was asked for; where something from outside was read, in the very words for it."
        kind = KIND_OF.get(made.kind, made.kind)
        if kind == "run" and is_about(made.owner, self.text): return True
        if outside:
            return kind in self.kinds and (kind != "add" or is_about(made.owner, self.text) or "list" in self.text.lower())
        if self.is_agreed: return True
        if kind not in WISHES:
            return any(w in self.text.lower() for w in made.name.split("_") if len(w) > 2) and not self.is_talk
        return kind in self.kinds or kind in ("add", "change") and (self.is_asked or bool(self.kinds & {"add", "change"}))


def wish_of(text: str) -> Wish:
    "What is asked for in a text, sentence by sentence: not in questions, conditions, negations and reports."
    wish, talk = Wish(text), 0
    for sentence in filter(None, map(str.strip, SENTENCE.split(text))):
        sentence = GREETED.sub("", sentence)
        is_asked = ASKED_FOR.search(sentence)
        kinds = {kind for kind, said in WISHES.items() if said.search(sentence)}
        is_kept = NEGATED.search(sentence) and not re.search("forget|vergiss", sentence, re.I)
        if is_kept and not TURNED.search(sentence): talk += 1
        elif not is_asked and (TALKED.search(sentence) or REPORTED.search(sentence) or sentence.endswith("?")): talk += 1
        else: wish.kinds, wish.is_asked = wish.kinds | kinds, wish.is_asked or bool(is_asked)
    wish.is_agreed = bool(AGREED.fullmatch(text.strip())) and not NEGATED.search(text) and not re.search("thank|dank|[?]",
        text)
    wish.is_talk = bool(talk) and not wish.kinds and not wish.is_agreed and not wish.is_asked
    return wish


CLAIMED = words("""added noted created deleted completed updated removed marked renamed saved set changed moved remember
    undone done hinzugefügt gelöscht notiert erledigt geändert angelegt umbenannt verschoben""",
    r"^\W*(?:(?:sure|ok|okay|done|got it|of course|"
    r"alright|fertig|erledigt|gut|gern)\W+)?(?:i(?:'ve| have|'ll| will)?|the|your|task|note|it|all|ich habe|die|der|das)"
    r"\b.{0,120}\b")


# ─── what nobody said ───

DATE_SAID = words("""tmrw 0* 1* 2* 3* 4* 5* 6* 7* 8* 9* today* tomorrow* yesterday* tonight* week* month* day days mon
    monday* tue tues tuesday* wed wednesday* thu thursday* fri friday* sat saturday* sun sunday* overdue late* due
    before after until by now soon heute* morgen* übermorgen gestern* woche* monat* tag tage* montag* dienstag*
    mittwoch* donnerstag* freitag* samstag* sonntag* fällig* bis spät*""")
TICKED = words("complete finish tick check_off cross_off as_done hak* abhak* erledige")
UNTICKED = words("reopen untick uncheck not_done")
EMPTIED = words("no nor without remove clear drop off away any anymore not ohne kein* entfern*")
STATE_SAID = words("""open* done* finish* complet* left todo to_do remain* still overdue outstanding pending late tick*
    check* close* unfinished offen* erledigt* fertig* überfällig* noch steh*""")
STRESSED = words("""urgent* important* asap critical* priorit* pressing dringend* wichtig* eilig* low high normal hurry
    unimportant*""")


def stems(text: str, less: Iterable[str] = ()) -> list[str]:
    "The words of a text without their endings, as they are looked for in what was said; `less` those that say nothing."
    return [w[:max(3, len(w) - 2)] for w in re.findall(r"[^\W_]{3,}", text.lower()) if w not in less]


def grounded(made: Tool, args: Any, said: str, wish: str = "", is_part: bool = False) -> Any:
    """Arguments without the optional ones that nothing in what was `said` grounds: small models like to fill them in.
    `wish`: what was said last, or of it the part that is being done."""
    if not isinstance(args, dict): return args
    near = wish if is_part else said  # dates and the like go with what stands beside them
    kept, low = {}, (wish if made.kind in ("run", "start") else said).lower()  # what a file says is no answer to a step
    if re.search(r"\boverdue|überfällig", wish, re.I) and isinstance(args.get("which"), list) and made.kind in ("change",
            "delete"):
        args = args | {"which": ["overdue"]}  # it compares dates badly
    if made.kind == "add" and (first := next((n for n, f in made.fields.items() if f.is_required), "")) and isinstance(
            args.get(first), str) and (parts := stems(args[first])) and not any(w in low for w in parts):
        raise Problem(f"Nobody spoke of “{clip(args[first], 40)}”.", fix="Use the person's words.", status=422)
    for n, value in args.items():
        f = made.fields.get(n)
        if made.kind == "change" and f and f.is_optional and str(value).lower() in ("none", "null", "empty", "nothing",
                "no date"):
            value = None
        parts = re.findall(r"[^\W_]{2,}", str(value).lower())
        is_said = any(w in low or len(w) > 4 and w[:-2] in low for w in parts)
        if f is None or f.is_required or n in ("which", "limit", "to", "after", "count", "run",
                "step") or isinstance(value, dict):
            kept[n] = value
            continue
        match f.kind:
            case _ if value in (None, "", []):
                value, is_kept = "" if f.is_text else None, made.kind == "change" and bool(EMPTIED.search(low))
            case "date" | "datetime" | "time":
                is_kept, called = bool(DATE_SAID.search(near)), DAY_WORDS.findall(wish)
                if f.kind == "date" and len(called) == 1 and not re.search(r"\d", wish) and (re.fullmatch(
                        r"\d{4}-\d\d-\d\d", str(value)) or day_called(str(value))):
                    value = called[0]  # a model reckons badly
                if len(called) == 1 and str(value).lower() in called[0].lower(): value = called[0]  # the day after tomorrow
            case "bool" if made.kind == "change": is_kept = True
            case "bool": is_kept = bool(STATE_SAID.search(near)) or f.label.lower() in low
            case "choice": is_kept = is_said or bool(STRESSED.search(near)) if f.name == "priority" else True
            case "int" | "float" | "decimal": is_kept = is_said or bool(re.search(r"\d", near))
            case _: is_kept = is_said
        if is_kept: kept[n] = value
    bare = QUOTED.sub("", near)
    switch = "is_done" if made.kind == "change" and "is_done" in made.fields else ""
    if switch and switch not in kept and (turned := TICKED.search(bare) or UNTICKED.search(bare)):
        kept[switch] = not UNTICKED.fullmatch(turned[0])  # it may have seen to the rest only
    return kept


def check_numbers(made: Tool, args: dict, seen: str, said: str) -> None:
    "Numbers of records are looked up, never invented: they stand in what was shown, or said. Raises Problem (422)."
    for n, f in made.fields.items():
        if f.kind not in ("records", "relation"): continue
        app = all_apps().get(made.owner) if f.kind == "records" or n in ("which", "after") else None
        named: Any = args.get(n)
        for one in named if isinstance(named, list) else [named]:
            if not (found := re.fullmatch(r"\s*#?(?:[a-z]+ )?#?(\d+)\s*", str(one), re.I)) or not app: continue
            number = found[1]
            if re.search(rf"\b{number}\b", said) or f"{app.noun} {number}:" in seen:
                continue
            raise Problem(f"{app.noun} {number} was not shown.", fix="Name it by its title, or look it up first.",
                status=422)


# ─── what has to be approved ───

def level_of(conversation: int) -> str:
    "How much the model may do in a conversation: ask, show or auto."
    found = store.get("chat.levels", {}).get(str(conversation)) or store.get("chat.level")
    return found if found in LEVELS else "show"


POINTED = words("""it that this them these those one ones both first second third last latest all every* again each any
    es sie die das den beide alle* erste* letzte*""")
MANY = words("all every* both these those them they alle alles beide diese")
CORRECTED = words("i_meant ich_meinte not_that_one not_this_one wrong_one the_wrong falsche*")
# a value of what was just done is put right: no, let's have it as …; oh it was 14, not 12; no wait, to “…”
PUT_RIGHT = re.compile(r"^\W*(?:(?:no|oh|wait|oops|actually|sorry|nein|halt|doch)\b\W*)+(?!.*(?:[?]$|\b(?:add|delete|remove"
    r"|leave)\b))(?=.*(?:\bwas\b.*, not \w|\blet's (?!not)|\bmake (?:it|that)\b|\bshould be (?!enough|fine|ok|all)|\binstead"
    r"\b|\bstatt|\bto ['\"“‘]|\bnicht \w+,? sondern))|\b(?:is|are|make|ist|instead)\b[^?]*, sorry\W*$", re.I | re.S)
ITEM = re.compile(r"(?m)^\s*(?:[-*•–]|\d{1,2}[.)])\s+(\S.*?)\s*$")  # of a list, a line each
LISTED = re.compile(r"(?:[^,;\n]+(?:,|;|\n|\band\b|\bund\b)){2,}", re.I)
MEANT_ONE = re.compile(r"\b(?:i meant|ich meinte)\b:? (?:the |die |das |den )?([^,.;!?]+)", re.I)
REFUSED = words("no_tool cannot can't unable sorry kann_nicht kann_ich_nicht kann_das_nicht")
UNDONE = words("""undo revert take_that_back take_it_back take_them_back take_this_back bring_that_back bring_it_back
    bring_them_back restore_it restore_that restore_them roll_it_back roll_that_back mach_das_rückgängig
    mach_es_rückgängig rückgängig nimm_das_zurück""",
    r"\W*(?:(?:hmm|no|oh|oops|sorry|wait|please|ok|bitte|nein|that was (?:a mistake|wrong)|mistake|actually|"
    r"can you|could you|now|und|and|just)\W+)*", r"\b(?P<rest>[^.;!?]{0,50})[.!?]*")
REST = set("""the that it this them my last latest change changes both please thing things step steps again you did just made
    mal bitte die das letzte letzten änderung änderungen actions of all machen""".split())


def undone_in(text: str) -> int | None:
    "How many changes a text that only wants something undone means; 0: those of the last turn. None for any other text."
    found = UNDONE.fullmatch(text.strip())
    if not found: return None
    rest = re.findall(r"[^\W_]+", found["rest"].lower())
    if any(w not in NUMBER_WORDS and not w.isdecimal() and w not in REST for w in rest): return None
    if "change" in rest or "änderung" in rest: rest = [*rest, "one"]
    return next((NUMBER_WORDS.get(w) or int(w) for w in rest if w.isdecimal() and len(w) < 3 or w in NUMBER_WORDS
        and w not in ("a", "an", "ein", "eine")), 2 if "both" in rest else 0)


def shares_words(name: str, said: str) -> bool:
    "Whether one of the words of a name that say something is in what was said; so is a number."
    parts, said = stems(name, COMMON | SMALL_WORDS), said.lower()
    return not parts or any(re.search(rf"\b{w}", said) or len(w) > 4 and w in said for w in parts)


def spoken_of(app: BaseApp, text: str) -> list[int]:
    "The records of an app that a text names by a word of their titles."
    said = [w[:max(4, len(w) - 2)] for w in re.findall(r"[^\W_]{4,}", text.lower()) if w not in COMMON | SMALL_WORDS and not
        is_about(app.name, w) and not any(kind.fullmatch(w) for kind in WISHES.values())]
    found = [(i, app.label_of(i).lower().split()) for _, i in db.related(text, 12, app.name)]
    return [i for i, title in found if any(word.startswith(w) for w in said for word in title)]


def described(app: BaseApp, text: str) -> str:
    "Words of a text that tell records of an app by what they share: “yesterday's expenses”, “the recipe I have cooked”."
    names = "|".join(map(re.escape, sorted({app.noun, app.name, app.title.lower()})))
    those = r"\b((?:the|my|all|every|both|those|these|\w+['’]s|alle|die|der|das|meine?n?) (?:[\w'’]+ ){0,2})"
    for found in re.finditer(those +
            rf"(?:{names})s?\b(?: (?:from|of|that (?:is|are)|(?:that )?i(?:['’]ve| have)(?: already)?) (\w+))?", text, re.I):
        if re.search(r"\b(?:except|but|not|außer|ohne|nicht)\b", text[found.start():], re.I): continue  # that narrows it
        own, other = found[1].strip(), found[2] or ""
        for phrase in filter(None, (f"{own} {other}" * (" " in own and other != ""), other, own)):
            shared = app.shared(phrase)
            if shared and shared[0] != "1": return phrase
    owners = re.findall(r"\b(?:for|of|from|für|von) ([^\W\d]\w*)", text) if MANY.search(text) else []
    return next((owner for owner in owners if app.belonging(owner)), "")


def others_called(app: BaseApp, args: Mapping, text: str) -> list[dict]:
    "The records that fit as well as the one that is to be deleted, where a text says no more of it than what they share."
    which: Any = args.get("which")
    if not isinstance(which, list) or len(which) != 1 or app.shared(str(which[0])): return []
    try: picked = app.pick(str(which[0]))
    except Problem: return []
    named = lambda t: {w for w in re.findall(r"[^\W_]{3,}", t.lower()) if w not in COMMON}
    if len(picked) != 1: return []
    title = named(app.label_of(picked[0]))
    rest = {w for w in named(WISHES["delete"].sub("", text)) if w not in SMALL_WORDS
        and w not in (app.noun, app.name, "please")}
    if not rest or not rest < title: return []
    rows = app.here().rows(*db.matching(app.ready().name, " ".join(rest)), limit=50)
    found = [row for row in rows if rest <= named(app.label(row))]
    return found if len(found) > 1 else []


def is_meant(app: BaseApp, which: list, said: str, outside: bool) -> bool:
    """Whether the records that are to be deleted are named in what was said, or pointed at: one as “it”, several as “them”,
    many by what they share. Where something from outside was read, only names and what they share count."""
    def is_said(text: str) -> bool:
        return any(w in said.lower() for w in stems(text, COMMON))
    is_many, is_state = bool(MANY.search(said)), bool(STATE_SAID.search(said))
    for one in map(str, which):
        try: ids, shared = app.pick(one), app.shared(one)
        except Problem: continue  # it is refused where it is carried out
        is_all = "all" in one.lower().split()
        if shared and is_all and is_many and (is_about(app.name, said) or not outside): continue
        if shared and not is_all and (is_said(one) or is_state): continue
        if not shared and (is_said(one) and (len(ids) == 1 or is_many) or all(is_said(app.label_of(i)) for i in ids)):
            continue
        if not shared and not outside and (POINTED.search(said) if len(which) == len(ids) == 1 else is_many): continue
        return False
    return True


def why_ask(made: Tool, args: Mapping, wish: Wish, level: str, outside: bool) -> str:
    "Why a call waits for the person; nothing where it need not."
    if made.asks: return "It cannot be undone." if not made.is_outward else "It is done elsewhere, and cannot be undone."
    if made.is_outward and outside and not is_about(made.owner, wish.text): return "It may send on what came from outside."
    if made.reads: return ""
    if level == "ask": return "You want to be asked."
    app = all_apps().get(made.owner)
    which: Any = args.get("which") or []
    if (made.kind == "delete" or outside and made.kind in ("change", "toggle", "move")) and isinstance(app,
            BaseApp) and not is_meant(
            app, which if isinstance(which, list) else [which], wish.text, outside):
        return "You did not name it in so many words."
    if wish.allows(made, outside) or level == "auto" and not outside: return ""
    return "You did not ask for it in so many words."


def hash_of(message: int, content: str) -> str:
    "What an approval is bound to: this call, with these arguments, at this place."
    return hashlib.sha256(f"{message} {content}".encode()).hexdigest()[:32]
