"""The builder: apps and pipelines out of plain words, or a form, as plugin files that a person reads and installs.

    spec = {"kind": "app", "name": "plants", "record": "Plant", "about": "What grows here.",
            "fields": [{"name": "name", "type": "str"}, {"name": "light", "type": "choice", "choices": ["low", "high"]}]}
    source = source_of(spec)          # the plugin's file, the same for the same spec
    spec_of(source)                   # and back, from a file that a person has touched since
    patched(source, spec)             # the file with what differs put right, and every other line as it was

A model, which may be a small one, fills in a spec, which is a flat JSON object; the file is written from it by rule. What
a spec cannot say (the work of a step, a repair) it writes as code: whole functions, or search and replace. Whatever comes
of it is a proposal: it is checked (check.py), shown with its difference and all that it can reach, and becomes a file when
the person clicks Install, bound to the very text that was shown. Every installed text is in the journal, under `plugins`,
so that Undo takes an installation back, as it does everything else.
"""
import ast, asyncio, builtins, contextlib, difflib, inspect, itertools, json, keyword, re, textwrap, unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any
from collections.abc import Callable, Iterable, Mapping
from starlette.concurrency import run_in_threadpool
from .acting import is_about
from .base import *
from .chat import begin_turn, check_click, now_text, on_card, on_request, show_conversation
from .check import ALLOWED, Report, columns_in, examine, visible
from .crud import BaseApp, read_rows, text_of
from .events import broadcaster, changed
from .fields import clip, field_of, number, value_of
from .forms import Sent, link_button, open_inside, picker
from .models import current_model, no_model
from .pipeline import Pipeline
from .plugins import NAME, sending_button, check_name, digest, firsts, loader, text_of_plugin
from .source import API, context
from .store import cause, db, dumps, plural
from .tools import tool
from .ui import head, styles, toast
from .values import csv_of, rows_of

# What a field may be: what it is in Python, and its default.
TYPES = dict(str='str = ""', int="int = 0", float="float = 0.0", bool="bool = False", text='Text = ""',
    markdown='Markdown = ""', json="Json = None", tags="Tags = field(default_factory=list)",
    **{n.lower(): f"{n} | None = None" for n in ("date", "datetime", "time", "Decimal", "Email", "Url", "File")})
SAID = dict(str="line of text", text="long text", int="whole number", float="number", decimal="amount", bool="yes or no",
    choice="one of choices", datetime="date and time", url="web address", json="JSON")
KINDS_OF_STEP = dict(ask="asks", file="reads a file", fetch="reads a page", model="model writes", tool="calls a tool",
    code="works in Python")
TAKEN = {"id": "number", "field": "area", "str": "text_", "int": "count", "float": "amount", "bool": "is_so", "date": "day",
    "datetime": "at", "time": "at", "type": "kind", "position": "position_", "record": "record_", "self": "self_"}
HIDDEN_BY = {*dir(builtins), "fetch", "read_file", "use_tool", "ask", "pipeline", "crud", "progress"}  # no names for steps
CODE_TRIES, LARGE_WINDOW = 3, 100_000  # the last in tokens


# ─── spec → file ───

def identifier(text: Any, taken: Iterable[str] = ()) -> str:
    "A name for a field or step, as near to a text as can be, and not one of those taken."
    plain = unicodedata.normalize("NFKD", str(text).replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    name = "_".join(re.findall(r"[a-z0-9]+", plain))[:40].strip("_") or "value"
    name = name if name[0].isalpha() else f"no_{name}"
    name = TAKEN.get(name, f"{name}_" if keyword.iskeyword(name) else name)
    while name in taken: name += "_"
    return name


def records_known() -> dict[str, Any]:
    "The record classes that a field may point to, by name, with the plugin that has each."
    return {app.record.__name__: plugin for plugin in plugins.values() for app in plugin.apps.values()}


def hint_of(field: Mapping) -> tuple[str, str]:
    "A field's type as Python says it, and its default; empty where it must be given. Raises Problem for no such type."
    kind, choices, given = field.get("type") or "str", field.get("choices", ()), str(field.get("default") or "").strip()
    bare, records = kind.removesuffix("?").lower(), {n.lower(): n for n in records_known()}
    if choices: hint, default = f"Literal[{', '.join(map(doc, choices))}]", doc(choices[0])
    elif kind.endswith("?") and bare in ("str", "int", "float", "bool"): hint, default = f"{bare} | None", "None"
    elif bare in TYPES: hint, default = TYPES[bare].split(" = ")
    elif bare in records: hint, default = f"{records[bare]} | None", "None"
    elif field.get("hint"): hint, default = field["hint"], ""
    else:
        raise Problem(f"{clip(kind)} is not a type of field.",
            fix=f"{did_you_mean(kind, [*TYPES, *records])} Or give choices: low|high.")
    if field.get("is_required"): default, hint = "", hint.removesuffix(" | None")
    elif field.get("default_text"): default = field["default_text"]
    elif given in choices: default = doc(given)
    elif given and not choices: default = default_of(bare, given)
    if about := str(field.get("help") or "").strip(): hint = f"Annotated[{hint}, Help({doc(about)})]"
    return hint, default


def default_of(kind: str, given: str) -> str:
    "A default as Python says it. Raises Problem for what is none of that type."
    if kind in ("str", "text", "markdown", "url", "email", "file"): return doc(given)
    kinds = dict(int=int, float=float, bool=bool, decimal=Decimal, date=date, datetime=datetime, time=time)
    if kind not in kinds: raise Problem(f"A plan can have no default for {kind}.", fix="Leave it empty, or edit the code.")
    match value_of(field_of("The default", kinds[kind]), given):
        case Decimal() as amount: return f'Decimal("{amount}")'
        case date() | time() as at: return f'{kind}.fromisoformat("{at.isoformat()}")'
        case value: return repr(value)


def field_line(field: Mapping, is_late: bool = False) -> str:
    "A field as a line of a record class. `is_late`: it must be given, and stands below one that need not be."
    hint, default = hint_of(field)
    if is_late and not default: default = "field(kw_only=True)"
    return f"{field['name']}: {hint}" + f" = {default}" * bool(default)


def record_lines(fields: Iterable[Mapping]) -> dict[str, str]:
    "The lines of a record class, by the fields' names."
    lines, is_late = dict[str, str](), False
    for f in fields:
        lines[f["name"]] = field_line(f, is_late)
        is_late = is_late or not f.get("is_required")
    return lines


def cleaned_fields(found: Any, taken: set[str], known: Mapping[str, Mapping] = {}) -> list[dict]:
    "Fields that can be written, each name once; those that are known keep theirs. Raises Problem."
    kept = dict[str, dict]()
    for f in found or ():
        name = str(f.get("name") or "").strip()
        if not name or name in kept: continue
        one = kept[name] = dict(f) | {"name": name if name in known else identifier(name, taken)}
        choices = list(dict.fromkeys(str(c) for c in one.pop("choices", None) or () if str(c).strip()))
        if one.get("type") in (None, "", "choice"): one["type"] = "choice" if choices else "str"
        if one["type"] == "choice": one["choices"] = choices
        if (one.get("default") or None) != known.get(name, one).get("default"): one.pop("default_text", None)
        hint_of(one)
        taken.add(one["name"])
    return [*kept.values()]


def cleaned(spec: Mapping, was: Mapping = {}) -> dict:
    """A spec that can be written: names that are names, each once, what must be given first. Fields and steps that `was`
    has keep their names. Raises Problem."""
    name, seen = was.get("name") or identifier(spec.get("name")), set[str]()
    known = {p["name"]: p for p in was.get("fields", was.get("steps", ()))}
    about = clip(str(spec.get("about") or "").strip().rstrip("."), 200) or name.replace("_", " ").capitalize()
    made = {"kind": "pipeline" if spec.get("kind") == "pipeline" else "app", "name": name, "about": about}
    if made["kind"] == "app":
        record = "".join(w[:1].upper() + w[1:] for w in re.findall(r"[A-Za-z0-9]+", str(spec.get("record") or "")))
        if not record.isidentifier() or keyword.iskeyword(record): record = singular(name)
        found = cleaned_fields(spec.get("fields"), seen, known)
        if not known:
            found = found or [{"name": "title", "type": "str"}]
            first = next((f for f in found if f["type"] == "str"), None)
            if first and not any(f.get("is_required") for f in found): first["is_required"] = True
            found.sort(key=lambda f: not f.get("is_required"))
        return made | {"record": was.get("record") or record, "fields": found}
    steps = []
    for step in spec.get("steps") or ():
        old = known.get(str(step.get("name")), {})
        kind = step.get("kind") or ("ask" if step.get("asked") else "code")
        one: dict[str, Any] = {"name": old.get("name") or identifier(step.get("name"), seen | {name, *HIDDEN_BY}),
            "kind": kind, "instruction": str(step.get("instruction") or "").strip()}
        if kind in ("ask", "model", "code"):
            asked = cleaned_fields(step.get("asked"), set(seen), {f["name"]: f for f in old.get("asked", ())})
            if not old and len(asked) == 1 and asked[0]["name"] in ("number", "value", "input", "answer"):
                asked[0]["name"] = f"{one['name']}_{asked[0]['name']}"  # which says nothing by itself
            if kind == "ask" and not asked: asked = [{"name": identifier(one["name"] + "_", seen), "type": "str"}]
            if asked: one["asked"] = asked
        if kind == "tool":
            one["tool"] = str(step.get("tool") or "")
            if one["tool"] not in {*all_tools(), old.get("tool")}:
                raise Problem(f"There is no tool {clip(one['tool'])}.", fix=did_you_mean(one["tool"], all_tools()))
        seen.add(one["name"])
        steps.append(one)
    if not steps: raise Problem("The pipeline has no steps.", fix="Say what is to be done, one thing after the other.")
    return made | {"steps": steps}


def part_text(f: Mapping) -> str:
    "A field in short, as `sololith new` has it: size:int, tone:warm|cool."
    kind = "|".join(map(str, f["choices"])) if f.get("choices") else f.get("type", "str")
    return f"{f['name']}:{kind}" if kind != "str" else f["name"]


def part_of(text: str) -> dict:
    "The field that a short text means: FIELD, FIELD:TYPE, FIELD:a|b."
    name, _, kind = text.strip().partition(":")
    if "|" in kind and not kind.strip("| "): raise Problem(f"{clip(name)} has no choices.", fix="Give them: low|high.")
    return {"name": name} | ({"type": "choice", "choices": kind.split("|")} if "|" in kind else {"type": kind or "str"})


def fields_said(text: str) -> list[dict]:
    "The fields that a list of short texts means."
    return [part_of(part) for part in text.split(",") if part.strip()]


def singular(name: str) -> str:
    one = re.sub(r"(?<=[^s])s$", "", re.sub(r"(?<=ss|sh|ch)es$|(?<=[xz])es$", "", re.sub(r"(?<!mov|ook|ser)ies$", "y",
        name)))
    return "".join(map(str.capitalize, one.split("_")))


def imports_for(spec: Mapping, source: str = "") -> list[str]:
    "The lines that bring the record classes of other plugins, which fields point to."
    fields = [*spec.get("fields", ()), *(f for s in spec.get("steps", ()) for f in s.get("asked", ()))]
    known, wanted = records_known(), {str(f.get("type") or "").lower() for f in fields}
    lines = [f"from sololith_apps.{p.name} import {n}" for n, p in known.items() if n.lower() in wanted and p.path]
    return [line for line in lines if line not in source and f"class {line.split()[-1]}" not in source]


def title_line(name: str, about: str) -> str:
    title = name.replace("_", " ").capitalize()
    if about.lower().startswith(title.lower()): return f"{about}."
    is_word = about[1:2].islower() or about[1:2] == " "
    return f"{title}: {about[:1].lower() if is_word else about[:1]}{about[1:]}."


def source_of(spec: Mapping) -> str:
    "The plugin's file for a spec. Raises Problem for a spec that makes no sense."
    spec = cleaned(spec)
    title = spec["name"].replace("_", " ").capitalize()
    top = "\n".join([doc(title_line(spec["name"], spec["about"])), "from sololith import *", *imports_for(spec)]) + "\n"
    if spec["kind"] == "app":
        called = "" if plural(spec["record"]) == spec["name"] else f', "{spec["name"]}"'
        lines = "".join(f"    {line}\n" for line in record_lines(spec["fields"]).values())
        return (f'{top}\n\n@dataclass\nclass {spec["record"]}:\n    {doc(f"One of your {title.lower()}.")}\n{lines}\n\n'
            f'{spec["name"]} = crud({spec["record"]}{called})\n')
    made = f'{top}\n{spec["name"]} = pipeline({doc(title)})\n'
    for n, step in enumerate(spec["steps"]): made += "\n\n" + step_text(spec["name"], step, piped_to(spec["steps"], n))
    return made


def piped_to(steps: list[dict], at: int) -> list[str]:
    "The steps whose values a step takes up: the one before it; of those that ask, all that stand there together."
    before, found = steps[:at], list[str]()
    while before and before[-1]["kind"] == "ask": found.insert(0, before.pop()["name"])
    return [*found, *(s["name"] for s in before[-1:])]


def doc(text: str) -> str: return json.dumps(text, ensure_ascii=False)


def step_text(owner: str, step: Mapping, piped: list[str]) -> str:
    "A step's function, by its kind. `piped`: the steps whose values it takes up, the nearest last."
    asked, names = [field_line(f) for f in step.get("asked", ())], [f["name"] for f in step.get("asked", ())]
    usual = {"ask": "Give {}.", "file": "Which file?", "fetch": "Which page?"}.get(step["kind"], "{}.")
    about = step["instruction"] or usual.format(step["name"].replace("_", " "))
    before, define, returns = piped[-1] if piped else "", "def", ""
    result = before or "None"
    match step["kind"]:
        case "ask": piped, result = [], names[0] if len(names) == 1 else f"dict({', '.join(f'{n}={n}' for n in names)})"
        case "file": piped, asked, result = [], ["file: File"], "read_file(file)"
        case "fetch" if before: piped, result = [before], f"fetch({before})"
        case "fetch": asked, result = ["url: Url"], "fetch(url)"
        case "tool": piped, result = piped[-1:], f'use_tool("{step["tool"]}", {before or "{}"})'
        case "model":
            asked, define, returns = [*asked, "ask: Ask"], "async def", " -> Markdown"
            plain = f"{about} Use what stands above, and leave no blanks." if piped or names else about
            parts = [*(f"{n}: {{{n}}}" for n in [*piped, *names]), doc(plain)[1:-1].replace("{", "{{").replace("}", "}}")]
            result = 'await ask(f"' + "\\n\\n".join(parts) + '")'
    given = ", ".join([*piped, *sorted(asked, key=lambda p: " = " in p)])
    return f'@{owner}.step\n{define} {step["name"]}({given}){returns}:\n    {doc(about)}\n    return {result}\n'


# ─── file → spec ───

def record_class(tree: ast.Module) -> ast.ClassDef | None:
    return next((n for n in tree.body if isinstance(n, ast.ClassDef) and any("dataclass" in ast.unparse(d)
        for d in n.decorator_list)), None)


def step_functions(tree: ast.Module) -> list[Any]:
    return [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and any(re.search(r"\.step\b",
        ast.unparse(d)) for d in n.decorator_list)]


def about_in(tree: ast.Module) -> str:
    return re.sub(r"^[\w ]{1,40}: ", "", (ast.get_docstring(tree) or "").partition("\n")[0]).rstrip(".")


def spec_of(source: str) -> dict | None:
    "What a plugin's file says, as a spec; None where it has neither a record class nor steps."
    try: tree = ast.parse(source)
    except (SyntaxError, ValueError): return None
    calls = {ast.unparse(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)
        and isinstance(n.value, ast.Call)}
    if made := record_class(tree):
        called = next((n for n, call in calls.items() if made.name in map(ast.unparse, call.args)), plural(made.name))
        fields = [field_from(n.target.id, n.annotation, n.value) for n in made.body
            if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        return dict(kind="app", name=called, record=made.name, about=about_in(tree), fields=fields)
    steps: list[dict] = []
    for f in step_functions(tree):
        body, names = ast.unparse(f.body[-1]), {s["name"] for s in steps}
        asked = [field_from(a.arg, a.annotation, d) for a, d in arguments_of(f) if a.annotation and a.arg not in names
            and ast.unparse(a.annotation) not in ("Ask", "Progress", "Run", "Browser")]
        used = re.search(r"use_tool\(['\"](\w+)", body)
        signs = {"tool": used, "file": "read_file(" in body, "fetch": "fetch(" in body, "model": "ask(" in body,
            "ask": asked and len(asked) == len(f.args.args) and body != "return None"
                and re.fullmatch(r"return (\w+|dict\(.*\)|\w+\.strip\(\))", body)}
        kind = next((k for k, is_it in signs.items() if is_it), "code")
        one: dict[str, Any] = dict(name=f.name, kind=kind, instruction=ast.get_docstring(f) or "")
        if used: one["tool"] = used[1]
        if asked and kind in ("ask", "model", "code"): one["asked"] = asked
        steps.append(one)
    owner = next((n for n, call in calls.items() if ast.unparse(call.func) == "pipeline"), "")
    return dict(kind="pipeline", name=owner, about=about_in(tree), steps=steps) if steps and owner else None


def arguments_of(function: Any) -> list[tuple[ast.arg, ast.expr | None]]:
    "The parameters of a function, each with its default."
    args = function.args.args
    return list(zip(args, [None] * (len(args) - len(function.args.defaults)) + function.args.defaults, strict=True))


def field_from(name: str, hint: ast.expr, value: ast.expr | None) -> dict:
    "A field of a spec, out of an annotation and a default. What a spec cannot say is kept as it is written."
    found: dict[str, Any] = {"name": name}
    match hint:
        case ast.Subscript(ast.Name("Annotated"), ast.Tuple([inner, ast.Call(ast.Name("Help"), [ast.Constant(about)])])):
            found["help"], hint = about, inner
    text, default = ast.unparse(hint), ast.unparse(value) if value else ""
    bare, choices = text.removesuffix(" | None"), list[Any]()
    match hint:
        case ast.Subscript(ast.Name("Literal"), inner):
            choices = [getattr(c, "value", None) for c in getattr(inner, "elts", [inner])]
    if choices and all(type(c) is str for c in choices): found |= {"type": "choice", "choices": choices}
    elif bare in ("str", "int", "float", "bool") and bare != text: found["type"] = f"{bare}?"
    elif bare.lower() in TYPES: found["type"] = bare.lower()
    elif bare in records_known(): found["type"] = bare
    else: found |= {"type": "other", "hint": text}
    def standard() -> str:
        with contextlib.suppress(Problem, SyntaxError): return ast.unparse(ast.parse(hint_of(found)[1], mode="eval"))
        return ""
    if value is None or default == "field(kw_only=True)": found["is_required"] = True
    elif found["type"] == "choice" or default != standard():
        if found["type"] != "other" and default not in ("None", "''", "0", "0.0", "False"):
            said = value.args[0] if isinstance(value, ast.Call) and len(value.args) == 1 and not value.keywords else value
            with contextlib.suppress(ValueError): found["default"] = str(ast.literal_eval(said))
        if default != standard(): found["default_text"] = default
    return found


# ─── changing a file, and nothing else in it ───

Edit = tuple[int, int, list[str]]   # from a line to a line (from 0, the last not included), and what stands there then


def patched(source: str, spec: Mapping) -> str:
    """A plugin's file with what differs from a spec put right: fields and steps added, changed and taken out, and what asks
    and tells in a step. Every other line stays as it is. Raises Problem where the file is more than a spec can say."""
    was = spec_of(source)
    if not was or was["kind"] != spec.get("kind"):
        raise Problem("This file is more than a spec can say.", fix="Say what is to be changed, or edit the file.")
    spec, lines, tree = cleaned(spec, was) | {"about": spec.get("about")}, source.split("\n"), ast.parse(source)
    edits = edits_of_record(record_class(tree), was, spec, lines) if spec["kind"] == "app" else edits_of_steps(
        {f.name: f for f in step_functions(tree)}, was, spec, lines)
    top: Any = tree.body[0]
    if spec["about"] and spec["about"].rstrip(".") != was["about"] and top.lineno == top.end_lineno \
            and ast.get_docstring(tree):
        edits.append((top.lineno - 1, top.lineno, [doc(title_line(was["name"], spec["about"].rstrip(".")))]))
    more = imports_for(spec, source)
    at = next((n.lineno for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "sololith"), 0)
    if more and at: edits.append((at, at, more))
    for start, stop, put in sorted(edits, key=lambda e: e[:2], reverse=True): lines[start:stop] = put
    return "\n".join(lines)


def edits_of_record(owner: Any, was: Mapping, spec: Mapping, lines: list[str]) -> list[Edit]:
    places = {n.target.id: (n.lineno - 1, n.end_lineno) for n in owner.body if isinstance(n, ast.AnnAssign)}
    old, new = ({f["name"]: f for f in s["fields"]} for s in (was, spec))
    before, after = record_lines(was["fields"]), record_lines([new[n] for n in old | new if n in new])
    first_line = lines[owner.body[0].lineno - 1]
    indent = first_line[:len(first_line) - len(first_line.lstrip())]
    end = max([b for _, b in places.values()], default=owner.body[-1].end_lineno)
    edits = [(*places[n], [indent + after[n]] if n in after else []) for n in before if before[n] != after.get(n)]
    added = [indent + line for n, line in after.items() if n not in before]
    return [*edits, *([(end, end, added)] if added else [])]


def edits_of_steps(functions: Mapping[str, Any], was: Mapping, spec: Mapping, lines: list[str]) -> list[Edit]:
    old, new = ({s["name"]: s for s in one["steps"]} for one in (was, spec))
    place = {n: (f.decorator_list[0].lineno - 1, f.end_lineno) for n, f in functions.items()}
    edits, added, at = list[Edit](), dict[int, list[str]](), min(start for start, _ in place.values())
    above = lambda names, n: names[i - 1] if (i := names.index(n)) else ""
    for i, (n, step) in enumerate(new.items()):
        made = step_text(was["name"], step, piped_to(spec["steps"], i)).rstrip().split("\n")
        if n not in old:
            added.setdefault(at, []).extend(["", "", *made])
            continue
        at, text = place[n][1], lines[slice(*place[n])]
        is_other = any(old[n].get(key) != step.get(key) for key in ("kind", "tool"))
        now = made if is_other else changed_step(text, functions[n], old[n], step, above([*old], n), above([*new], n))
        if now != text: edits.append((*place[n], now))
    for n in old.keys() - new.keys():
        start, stop = place[n]
        while start and not lines[start - 1].strip(): start -= 1
        edits.append((start, stop, []))
    return [*edits, *((at, at, text) for at, text in added.items())]


def changed_step(text: list[str], function: Any, was: Mapping, step: Mapping, came: str, comes: str) -> list[str]:
    """The lines of a step's function, where it asks for something else, is told something else, or another step comes before
    it now: it takes up that one's value. Its docstring is not about their names."""
    first, name_of = function.decorator_list[0].lineno, lambda s: re.sub(rf"\b{came}\b", comes, s) if came and comes else s
    top, start = function.lineno - first, function.body[0].lineno - first
    asked = [[field_line(f) for f in s.get("asked", ())] for s in (was, step)]
    if came and comes and came != comes or asked[0] != asked[1]:
        names = {f["name"] for f in was.get("asked", ())}
        kept = [name_of(ast.unparse(a) + (f" = {ast.unparse(d)}" if d else "")) for a, d in arguments_of(function)
            if a.arg not in names]
        given = ", ".join(sorted(dict.fromkeys([*kept, *asked[1]]), key=lambda p: " = " in p))
        define = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
        returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
        body = text[start:] if start > top else textwrap.indent("\n".join(map(ast.unparse, function.body)),
            "    ").split("\n")
        told = function.body[0].end_lineno - function.body[0].lineno + 1 if ast.get_docstring(function) else 0
        text = [*text[:top], f"{define} {function.name}({given}){returns}:", *body[:told], *map(name_of, body[told:])]
    if was["instruction"].strip() != step["instruction"]:
        for braces in (lambda s: s, lambda s: s.replace("{", "{{").replace("}", "}}")):  # the docstring, the prompt
            was_told, told = (braces(doc(s["instruction"])[1:-1]) for s in (was, step))
            text = [line.replace(was_told, told) for line in text]
    return text


# ─── words → spec ───

def object_rule(properties: dict, required: list[str] | None = None) -> dict:
    "The JSON Schema of an object: all of its properties are required, where it is not said which."
    return {"type": "object", "properties": properties, "additionalProperties": False,
        "required": [*properties] if required is None else required}


def list_rule(items: dict, most: int, least: int = 1) -> dict:
    return {"type": "array", "items": items, "maxItems": most} | ({"minItems": least} if least else {})


NAME_RULE = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,30}$"}
FIELD_RULE = object_rule({"name": NAME_RULE, "type": {"enum": [*TYPES, "choice"]},
    "choices": list_rule({"type": "string"}, 12, 0)}, ["name", "type"])
SYSTEM_APP = """You design small apps for one person's own computer. An app is a list of records of one kind. Answer with \
one JSON object: name (plural, lower case), record (one of them, CamelCase), about (a short sentence) and fields.
A field has a short name (lower case, words joined by _) and a type: str (a line), text (long), markdown, int, float, \
decimal (money), bool (yes or no; its name begins with is_), date, datetime, time, email, url, file, tags (several words), \
choice (one of its choices).
Take every field that the person names, in that order, and no others. Only if none is named, think of four to six. The \
first field is what a record is called. When words such as "or" or "/" list what a field may be, it is a choice."""
EXAMPLES_APP = [
    ("an app for my books: title, author, pages, when I finished it, a rating from 1 to 5, and whether I own it",
        dict(name="books", record="Book", about="What I read",
            fields=fields_said("title, author, pages:int, finished:date, rating:int, is_owned:bool"))),
    ("I want to keep track of what I lend to people",
        dict(name="loans", record="Loan", about="What I lent, and to whom",
            fields=fields_said("thing, person, lent_on:date, is_back:bool, notes:text"))),
    ("a tracker for bike repairs with bike, cost, garage web site, urgency (low, normal or high) and a description",
        dict(name="bike_repairs", record="BikeRepair", about="Repairs of my bikes",
            fields=fields_said("bike, cost:decimal, website:url, urgency:low|normal|high, description:text")))]
SYSTEM_PIPELINE = """You design small pipelines for one person's own computer: work in steps, one after the other. Answer \
with one JSON object: name (lower case, words joined by _), about (a short sentence) and steps.
A step has a name (a noun: what it gives, lower case), a kind and an instruction (one sentence). Each step takes up what \
the step before gave. Kinds:
- ask: the person fills in fields, under asked (name and type: str, text, int, float, bool, date, url, choice)
- file: reads a file: a table of CSV or JSON as records, else its text
- fetch: reads a web page
- model: a language model writes something, by the instruction
- tool: calls a tool for each record that came; its name is under tool
- code: anything else that is reckoned, filtered, sorted or counted
Take the steps that the person names, in that order, and no others.
Tools: """
EXAMPLES_PIPELINE = [
    ("a pipeline that asks for a topic and a tone (formal or casual) and has the model write a short poem",
        dict(name="poem", about="A short poem about a topic", steps=[
            dict(name="topic", kind="ask", instruction="What is the poem about, and how shall it sound?",
                asked=fields_said("subject, tone:formal|casual")),
            dict(name="verses", kind="model", instruction="Write a short poem about this.")])),
    ("read a CSV of my expenses, keep those over 100 and add up the amounts",
        dict(name="large_expenses", about="The large ones among my expenses", steps=[
            dict(name="rows", kind="file", instruction="Which file of expenses?"),
            dict(name="large", kind="code", instruction="Keep the rows whose amount is over 100."),
            dict(name="total", kind="code", instruction="Add up the amounts.")])),
    ("asks for a length in miles and converts it to kilometres",
        dict(name="kilometres", about="Miles in kilometres", steps=[
            dict(name="miles", kind="ask", instruction="How long is it?", asked=fields_said("length:float")),
            dict(name="kilometres", kind="code", instruction="Multiply the length by 1.609.")])),
    ("import tasks from a file",
        dict(name="task_import", about="Tasks out of a file", steps=[
            dict(name="rows", kind="file", instruction="Which file of tasks?"),
            dict(name="added", kind="tool", instruction="Add each row as a task.", tool="tasks_add")]))]
SYSTEM_CHANGE = """You change a small app or pipeline. Its fields, or steps, are given. Answer with one JSON object: what \
to add, what to remove (names) and what to change (a field or step that is there, as it is to be). Do only what is asked."""

def change_told(name: str, parts: Iterable[Mapping], what: str) -> str:
    "What the model is told of fields, or steps, that are to be changed."
    said = ("type", "choices", "kind", "instruction", "asked", "tool")
    return f"{name}: {dumps({p['name']: {n: v for n, v in p.items() if n in said} for p in parts})}\n{what}"


EXAMPLES_CHANGE = [
    (change_told("books", fields_said("title, rating:int"), "add a column for the publisher"),
        dict(add=fields_said("publisher"), remove=[], change=[])),
    (change_told("loans", fields_said("thing, state:lent|back, notes:text"),
        "I do not need the notes, and the state may be lost, too"),
        dict(add=[], remove=["notes"], change=fields_said("state:lent|back|lost"))),
    (change_told("wines", fields_said("name, year"), "the year should be a number, and I want to say whether we drank it"),
        dict(add=fields_said("is_drunk:bool"), remove=[], change=fields_said("year:int"))),
    (change_told("guests", fields_said("name, table:int"), "the table must be filled in"),
        dict(add=[], remove=[], change=[dict(name="table", type="int", is_required=True)]))]
POEM = [dict(name="topic", kind="ask", instruction="About what?", asked=fields_said("subject")),
    dict(name="verses", kind="model", instruction="Write a poem about this.")]
EXAMPLES_CHANGE_STEPS = [
    (change_told("poem", POEM, "translate it into German at the end"),
        dict(add=[dict(name="german", kind="model", instruction="Translate this into German.")], remove=[], change=[])),
    (change_told("poem", POEM, "the poem should be funny"),
        dict(add=[], remove=[], change=[dict(name="verses", kind="model", instruction="Write a funny poem about this.")]))]


def rule_for(kind: str) -> dict:
    "The JSON Schema that a spec of an app or a pipeline is held to."
    about = {"type": "string", "maxLength": 120}
    if kind == "app":
        record = {"type": "string", "pattern": "^[A-Z][A-Za-z0-9]{0,30}$"}
        return object_rule({"name": NAME_RULE, "record": record, "about": about, "fields": list_rule(FIELD_RULE, 16)})
    tools = [n for n, t in all_tools().items() if t.kind == "add" or not t.owner and not t.reads]
    step = lambda *kinds, **more: object_rule({"name": NAME_RULE, "kind": {"enum": kinds},
        "instruction": {"type": "string", "maxLength": 200}, **more})
    steps = {"anyOf": [step("file", "fetch", "model", "code"), step("ask", asked=list_rule(FIELD_RULE, 8)),
        step("tool", tool={"enum": tools})]}
    return object_rule({"name": NAME_RULE, "about": about, "steps": list_rule(steps, 10)})


def change_rule(spec: Mapping) -> dict:
    "The JSON Schema that a change of a spec is held to."
    many = "fields" if spec["kind"] == "app" else "steps"
    part = rule_for(spec["kind"])["properties"][many]["items"]
    names = {"enum": [p["name"] for p in spec[many]]}
    required = {"is_required": {"type": "boolean"}} if spec["kind"] == "app" else {}
    one = lambda p: {**p, "properties": {**p["properties"], "name": names, **required}}
    changed_ = {"anyOf": [one(p) for p in part["anyOf"]]} if "anyOf" in part else one(part)
    return object_rule({n: list_rule(item, 6, 0) for n, item in (("add", part), ("remove", names), ("change", changed_))})


async def written(messages: list[dict], rule: dict | None, limit: int) -> str:
    "What the model writes, in the form of a rule where there is one. Raises Problem where there is no model."
    if not (model := await current_model()): raise no_model()
    return "".join([c.text async for c in model.stream(messages, rule, limit, "builder")])


async def asked_for(system: str, examples: Iterable[tuple[str, Any]], what: str, rule: dict, limit: int = 900) -> dict:
    "What the model answers in the form of a rule. Raises Problem where there is no model, or no whole answer."
    messages = [{"role": "system", "content": system}]
    for said, answer in examples:
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": dumps(answer)}]
    text = await written([*messages, {"role": "user", "content": what}], rule, limit)
    import fastjsonschema  # 20 ms
    with contextlib.suppress(ValueError, RecursionError): return fastjsonschema.validate(rule, json.loads(text))
    raise Problem("The model gave no whole plan.", fix="Say it again, in other words, or fill in the form.")


async def spec_for(what: str) -> dict:
    "The spec of a new app or pipeline, by what is said of it."
    kind = "pipeline" if PIPELINE_SAID.search(what) and not re.search(r"\bapp\b", what, re.I) else "app"
    tools = ", ".join(n for n, t in all_tools().items() if t.kind == "add")
    system, examples = (SYSTEM_APP, EXAMPLES_APP) if kind == "app" else (SYSTEM_PIPELINE + tools, EXAMPLES_PIPELINE)
    return await asked_for(system, examples, what, rule_for(kind)) | {"kind": kind}


async def changed_spec(spec: dict, what: str) -> dict:
    "A spec with what is said of it done."
    examples = EXAMPLES_CHANGE if spec["kind"] == "app" else EXAMPLES_CHANGE_STEPS
    told = change_told(spec["name"], spec.get("fields") or spec["steps"], what)
    found = await asked_for(SYSTEM_CHANGE, examples, told, change_rule(spec))
    return with_change(spec, found)


def with_change(spec: dict, found: Mapping) -> dict:
    "A spec with parts added, removed and changed."
    many = "fields" if spec["kind"] == "app" else "steps"
    added, here = found["add"], {p["name"] for p in spec[many]}
    again = [p for p in added if many == "fields" and p["name"] in here]  # it is to be changed
    changes = {p["name"]: p for p in [*found["change"], *again]}
    gone = set(found["remove"]) - changes.keys() - {p["name"] for p in added}
    parts = [p | changes.get(p["name"], {}) for p in spec[many] if p["name"] not in gone]
    for p in parts:
        if p.get("type") != "choice": p.pop("choices", None)
    taken = {p["name"] for p in parts}
    more = [p | {"name": identifier(p["name"], taken)} for p in added if many == "steps" or p["name"] not in taken]
    return spec | {many: [*parts, *more]}


# ─── code ───

def read_file(file: str) -> Any:
    "A file in files/: of a table (CSV, JSON) its records, columns of numbers as numbers; of anything else its text."
    with open(open_inside(home.files, file), "rb") as found: data = found.read()
    if b"\0" in data[:8000]: raise Problem(f"{clip(file)} is no text.", fix="Choose a text, a CSV file or the like.")
    is_table = Path(file).suffix.lower() in (".csv", ".tsv", ".json")
    return with_numbers([row for _, row in read_rows(data)[1]]) if is_table else text_of(data)


NUMBER_SAID = re.compile(r"-?(?:0|[1-9]\d{0,14})(\.\d{1,14})?")  # not 007, nor +49: those are texts


def with_numbers(rows: list[dict]) -> list[dict]:
    "Rows of texts, the columns that hold nothing but numbers as numbers; None where such a column is empty."
    for name in dict.fromkeys(n for row in rows for n in row):
        texts = [value for row in rows if (value := row.get(name)) not in (None, "")]
        if not texts or not all(isinstance(t, str) and NUMBER_SAID.fullmatch(t.strip()) for t in texts): continue
        kind = float if any("." in t for t in texts) else int
        for row in rows: row[name] = None if row.get(name) in (None, "") else kind(row[name])
    return rows


def table_spoken_of(what: str) -> list[dict]:
    "The first rows of the table in files/ that is spoken of by its name; none where there is no such."
    for path in sorted(home.files.glob("*.[ctj]s[vo]*")):
        name = re.sub(r"[\W\d_]+$", "", path.stem)
        if path.name.lower() in what.lower() or is_about(name, what):
            with contextlib.suppress(Problem, OSError):
                if path.stat().st_size < 4_000_000 and isinstance(rows := read_file(path.name), list): return rows[:20]
    return []


COUNTED = re.compile(r"(?!.*\b(?:each|per|every|by|group\w*|je|pro)\b)(?:count|sum|add up|total|average|multiply|calculate"
    r"|reckon|work out|how many|zähl|summ|addier)", re.I)
GUARDED = re.compile(r"""if ["']\w+["'] in \w+|\.get\(["']""")  # with these a column that is not there goes unnoticed


async def coded(source: str, step: str, what: str, seen: Callable[[str], Any]) -> str:
    "A pipeline's file with the work of a step written by the model: the best of some tries, else the file as it was."
    tree = ast.parse(source)
    function = next(f for f in step_functions(tree) if f.name == step)
    head_, about = ast.get_source_segment(source, function) or "", ast.get_docstring(function) or ""
    top = head_[:head_.index(":\n") + 1]
    table, wants_number = table_spoken_of(what), bool(COUNTED.match(about))
    columns = ", ".join(f"{n} ({'text' if isinstance(v, str) else 'number'})" for n, v in (table or [{}])[0].items())
    ask = (f"{API}\nThis is the file:\n```python\n{source}```\nThe person said: {what}\n"
        + f"The table has the columns {columns}.\n" * bool(columns) + f"Write the function {step}: {about} It begins with "
        f"`{top}`." + " It returns a number." * wants_number + " Answer with the function only.")
    messages = [{"role": "system", "content": "You write short, plain Python."}, {"role": "user", "content": ask}]
    for n in range(CODE_TRIES):
        seen(f"Writing the step {step}" + f", try {n + 1}" * bool(n))
        text = await written(messages, None, 400)
        try: new = with_function(source, step, text)
        except Problem as e: problem = str(e)
        else:
            report = await run_in_threadpool(checked, "", new, what)
            strange = [c for c in columns_in(text) if not table and c.lower()[:4] not in f"{what} {top}".lower()]
            given = report.made.get("values", {}).get(step, "")
            if ast.unparse(ast.parse(new)) == ast.unparse(tree): problem = "It gives back what came: do the work."
            elif wants_number and given and given not in ("int", "float", "Decimal"):
                problem = f"It gives a {given}, and is to give one number."
            elif GUARDED.search(text) and n < CODE_TRIES - 1: problem = 'Take row["column"] as it is: it is there.'
            elif not report.problems and (not strange or n == CODE_TRIES - 1): return new
            else: problem = " ".join(report.problems[:2]) or f"Nobody spoke of {strange[0]}: take the person's words."
        messages += [{"role": "assistant", "content": text}, {"role": "user",
            "content": f"That fails: {problem} Write it anew."}]
    return source


def with_function(source: str, name: str, text: str) -> str:
    "A file with a step's function replaced by what a model wrote. Raises Problem for what is no such function."
    found = re.search(r"```(?:python)?\n(.*?)```", text, re.S)
    code = textwrap.dedent(found[1] if found else text).strip()
    try: functions = [n for n in ast.parse(code).body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    except SyntaxError as e: raise Problem(f"line {e.lineno}: {e.msg}.") from None
    wanted = next((f for f in functions if f.name == name), None)
    if not wanted: raise Problem(f"There is no function {name} in it.")
    old, lines = next(f for f in step_functions(ast.parse(source)) if f.name == name), source.split("\n")
    body, at = ast.get_source_segment(code, wanted) or "", old.decorator_list[0].lineno - 1
    if '"' not in body.partition("\n")[2].partition("\n")[0]:  # no docstring
        wanted.decorator_list = []
        if not ast.get_docstring(wanted): wanted.body.insert(0, ast.Expr(ast.Constant(ast.get_docstring(old))))
        body = ast.unparse(ast.fix_missing_locations(wanted))
    helpers = "\n\n".join(ast.unparse(f) for f in functions if f is not wanted and f.name not in source)
    return "\n".join([*lines[:at], *([helpers, "", ""] if helpers else []), lines[at], body, *lines[old.end_lineno:]])


def edit_rule(search: dict) -> dict:
    "The JSON Schema of edits, which search for this."
    return object_rule({"edits": list_rule(object_rule({"search": search, "replace": {"type": "string"}}), 6)})


def line_in(problem: str) -> int:
    "The line that an error names; 0 where it names none."
    return number((re.search(r"line (\d+)", problem) or [0, 0])[1])


async def mended(source: str, problem: str, what: str, name: str, seen: Callable[[str], Any]) -> str:
    """A plugin's file with an error mended, or a wish fulfilled: a name that is spelt wrong by us, all else by the model,
    which names lines, and what is to stand in their place. The best of some tries. Raises Problem where none works."""
    best, tries = source, list[str]()
    report = await run_in_threadpool(checked, name, source)
    worst = far_from_working(source, report) if problem else (3, 0)
    if problem: best = mended_by_rule(source, " ".join([*report.problems, problem]))
    for n in range(CODE_TRIES + 1):
        if n or best != source:
            report = await run_in_threadpool(checked, name, best)
            if not report.problems: return best
        problem = " ".join(report.problems[:2]) or problem
        if n == CODE_TRIES: break
        seen(f"Mending {name}.py" + f", try {n + 1}" * bool(n))
        lines, at = best.split("\n"), line_in(problem)
        near = lines[max(0, at - 3):at + 2] if at and not n else lines
        rule = edit_rule({"enum": [*dict.fromkeys(filter(str.strip, near))]} if len(lines) <= 150 else {"type": "string"})
        ask = (f"{await page_for()}\nThis is {name}.py:\n```python\n{best}```\n"
            + (f"It has a problem: {problem}\n" * bool(problem))
            + (f"The line is: {lines[at - 1].strip()}\n" if 0 < at <= len(lines) else "") + f"What to do: {what}\n"
            + "".join(f"This did not help: {t}\n" for t in tries)
            + "Answer with edits: each has a whole line of the file under "
            "search, and what is to stand in its place under replace (empty: nothing). Change as little as can be.")
        try: found = await asked_for("You mend Python files with few, small edits, as JSON.", EXAMPLES_EDIT, ask, rule, 700)
        except Problem as e:
            if e.status == 409: raise  # there is no model
            continue
        new = edited(best, found["edits"])
        now = far_from_working(new, await run_in_threadpool(checked, name, new))
        if new != best and now < worst: best, worst = new, now
        else: tries.append(dumps(found["edits"])[:400])
    raise Problem(f"The model could not mend it: {clip(problem, 200)}",
        fix="Say more exactly what is to be done, or edit the file.")


def mended_by_rule(source: str, problem: str) -> str:
    "A text with what an error names as wrong, and says how it is right, put right."
    lines, at = source.split("\n"), line_in(problem) - 1
    for wrong, right in re.findall(r"(\w+)'? (?:is not defined|which is no earlier step)\.(?: Did you mean (\w+)\?)?",
            problem.replace(",", "")):
        if wrong in ALLOWED: return source.replace("import *\n", f"import *\nimport {wrong}\n", 1)
        if right: source = re.sub(rf"\b{wrong}\b", right, source)
    if found := re.search(r"step\(\) got an unexpected keyword argument '(\w+)'", problem):
        if right := difflib.get_close_matches(found[1], inspect.signature(Pipeline.step).parameters, 1, .5):
            source = re.sub(rf"(\.step\(.*)\b{found[1]}\s*=", rf"\1{right[0]}=", source)
    if "mutable default" in problem: source = re.sub(r"(?m)^(\s+\w+: .*)= \[\]$", r"\1= field(default_factory=list)", source)
    if not 0 <= at < len(lines): return source
    if at and "unexpected indent" in problem:
        above = lines[at - 1]
        lines[at] = above[:len(above) - len(above.lstrip())] + lines[at].lstrip()
    elif "expected ':'" in problem: lines[at] = re.sub(r"\s*(#.*)?$", r":  \1", lines[at], count=1).rstrip()
    else: return source
    return "\n".join(lines)


def far_from_working(source: str, report: Report) -> tuple[int, int]:
    "How far a text is from a plugin that works: is it Python, does it load, how many problems are there."
    try: ast.parse(source)
    except SyntaxError: return 2, 1
    return int(not report.done), len(report.problems)


async def page_for() -> str:
    "What a model is told of how a plugin is written; one with a large window is told the chapters themselves, too."
    model = await current_model()
    return context(model.context // 2) if model and model.context > LARGE_WINDOW else API


EXAMPLES_EDIT = [("```python\n'Books.'\nfrom sololith import *\n\n@dataclass\nclass Book:\n    'A book.'\n    title: str\n"
    "    pages: integer = 0\n\nbooks = crud(Book)\n```\nIt has a problem: line 8: integer is not defined.\nWhat to do: mend "
    "it", {"edits": [{"search": "    pages: integer = 0", "replace": "    pages: int = 0"}]})]


def edited(source: str, edits: Iterable[Mapping]) -> str:
    "A text after search and replace: what is searched for has to be there once, or it is left alone."
    for e in edits:
        search = e.get("search", "")
        found = [*re.finditer(rf"(?m)^{re.escape(search)}$", source)] or [*re.finditer(re.escape(search), source)]
        if search.strip() and len(found) == 1:
            source = source[:found[0].start()] + e.get("replace", "") + source[found[0].end():]
    return source


def checked(name: str, source: str, wish: str = "") -> Report:
    "A check of a plugin's text, beside the plugins that are live; on the table that a wish speaks of, where it does."
    name = name or (spec_of(source) or {}).get("name", "plugin")
    live = plugins.get(name)
    others = {n: p.source for n, p in plugins.items() if p.path and n != name}
    rows = rows_of(table_spoken_of(wish))
    return examine(name, source, others, live.source if live and live.path else "", "".join(csv_of(rows)) if rows else "")


# ─── proposals ───

db.openers.append(lambda: db.execute("""CREATE TABLE IF NOT EXISTS proposals (id INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL, plugin TEXT NOT NULL, wish TEXT NOT NULL, why TEXT NOT NULL, base TEXT, source TEXT NOT NULL DEFAULT '',
  report TEXT, status TEXT NOT NULL, note TEXT NOT NULL DEFAULT '')"""))
db.openers.append(lambda:
    db.execute("UPDATE proposals SET status='failed', note='It was interrupted.' WHERE status='working'"))


def proposal(key: int) -> dict:
    found = db.first("SELECT * FROM proposals WHERE id=?", [key])
    if not found: raise Problem(f"There is no proposal {key}.", status=404)
    return found | {"report": Report(**json.loads(found["report"])) if found["report"] else Report()}


def note_proposal(key: int, **values: Any) -> None:
    columns = ",".join(f"{n}=?" for n in values)
    db.execute(f"UPDATE proposals SET {columns} WHERE id=?", [*values.values(), key])
    broadcaster.publish({"apps": [f"proposal-{key}"]})


def new_proposal(plugin: str, wish: str, base: str | None) -> int:
    row = dict(at=now_text(), plugin=plugin, wish=wish, why=cause.get(), base=base, status="working")
    with db.transaction():
        db.execute("UPDATE proposals SET status='replaced' WHERE plugin=? AND status IN ('ready', 'refused')", [plugin])
        return db.add("proposals", row)


def proposed(key: int, name: str, source: str, notes: Iterable[str] = ()) -> Report:
    "Check a text, and have the proposal wait for the person with it."
    report = checked(name, source, proposal(key)["wish"])
    report.notes += notes
    if name in firsts_of_system(): report.problems.insert(0, f"/{name} is Sololith's own: choose another name.")
    note_proposal(key, plugin=name, source=source, report=dumps(asdict(report)), status="refused" if report.problems
        else "ready", note="")
    return report


def firsts_of_system() -> set[str]: return firsts(system) | set(system.apps) | set(system.pipelines)


def hash_of_proposal(p: Mapping) -> str:
    return digest(f"{p['id']} {p['plugin']} {p['base']}\0{p['source']}") + digest(p["source"])


def install(key: int, given: str) -> dict:
    """Make the file of a proposal what was shown; its journal entry. Raises Problem (409) where the proposal, or the file
    that it changes, is not what it was when it was shown."""
    with db.transaction():
        p = proposal(key)
        if p["status"] != "ready" or hash_of_proposal(p) != given:
            raise Problem("This is not what was shown.", fix="Look at it again.", status=409)
        if text_of_plugin(p["plugin"]) != p["base"]:
            raise Problem(f"{p['plugin']}.py has changed since.", fix="Have it made again, or check it again.", status=409)
        if p["why"]: cause.set(p["why"])
        entry = loader.write(p["plugin"], p["source"])
        note_proposal(key, status="installed")
    loader.attempt(p["plugin"])
    return entry


# ─── the tool, and what a person says instead ───

A_NEW = r"(?:me |us |mir |uns )?(?:a|an|another|one|eine?n?|my own)\b(?P<gap>[^.:;,\n]{0,40}?)\b"
NEW_SAID = re.compile(r"\W*(?:a )?new (?:app|pipeline|tracker)\b", re.I)
NOTED = re.compile(r"\W*(?:please |bitte )?(?:remind|remember|note|(?:add|make|create|write|new|put)\b[^:,]{0,12}?\b(?:task"
    r"|note|todo|reminder))\b", re.I)
MAKE_SAID = re.compile(r"(?:\b|')(?:make|build|create|write|design|generate|need|want|set up|would like|d like|erstell\w*|"
    r"bau\w*|mach\w*|schreib\w*|brauche|möchte|will)\s+" + A_NEW
    + r"(?:app|application|tracker|pipeline|workflow|database|log ?book|datenbank|anwendung)\b", re.I)
PIPELINE_SAID = re.compile(r"\b(?:pipeline|workflow|steps|schritte)\b", re.I)
PARTS = r"(?:column|field|spalte|feld|step|schritt|property|attribute|dropdown|choice|option)s?"
CHANGE_SAID = re.compile(r"\b(?:add|insert|remove|drop|delete|rename|change|make|turn|give|take|füg\w*|entfern\w*|"
    rf"änder\w*|lösch\w*)\b.*\b{PARTS}\b|\b{PARTS}\b.*\b(?:should|shall|must|as a|soll\w*)\b", re.I | re.S)
ALSO_SAID = re.compile(r"\b(?:can|may|could|should|kann|darf|soll) (?:also|auch)\b|\b(?:may|can|could|should) be\b.*"
    r"\btoo\b", re.I)
AGAIN_SAID = re.compile(r"^\W*(?:please |and |also |now |bitte |und )*(?:add|also|include|track|remove|drop|without|leave "
    r"out|make|change|rename|it should|i also|füg\w*|ohne|entfern\w*)\b", re.I)
FIX_SAID = re.compile(r"\b(?:fix|repair|mend|repariere?\w*|behebe?)\b", re.I)


ASKS_SO = re.compile(r"\W*(?:(?:please|can|could|would|you|u|hey|hi|hello|ok|i|we|bitte|kannst|könntest|du|mir|ich)\W+)*",
    re.I)


def build_request(text: str, path: list[dict], is_talk: bool = False) -> dict | None:
    "The call of the tool build that a message asks for: a new app or pipeline, a change of one, or a repair."
    def call(plugin: str = "") -> dict:
        return {"tool": "build", "args": {"what": text} | ({"plugin": plugin} if plugin else {})}
    asked: Any = ASKS_SO.match(text)
    begun = MAKE_SAID.match(text, asked.end())
    if is_talk and not begun or NOTED.match(text): return None
    if NEW_SAID.match(text): return call()
    own = [n for n, p in plugins.items() if p.path]
    spoken = next((n for n in [*loader.broken, *own] if re.search(rf"\b{n.replace('_', '[ _]')}s?\b", text.lower())
        or n in plugins and any(is_about(a, text) for a in [*plugins[n].apps, *plugins[n].pipelines])), "")
    if FIX_SAID.search(text) and (spoken or len(loader.broken) == 1): return call(spoken or next(iter(loader.broken)))
    if (found := MAKE_SAID.search(text)) and not any(is_about(a, found["gap"]) for a in ("tasks", "notes")): return call()
    calls = [m for m in path if m["role"] == "call"]
    built = next((m["id"] for m in reversed(calls) if json.loads(m["content"])["tool"] == "build"), 0)
    last = db.first("SELECT plugin, status FROM proposals WHERE why=? ORDER BY id DESC", [f"message {built}"])
    waiting = last if calls and calls[-1]["id"] == built else None
    others = [a for a in [*all_apps(), *all_pipelines()] if is_about(a, text) and not (waiting and a == waiting["plugin"])]
    name = spoken or ("" if others else last["plugin"] if last else own[0] if len(own) == 1 else "")
    is_change = CHANGE_SAID.search(text) or ALSO_SAID.search(text) and (spoken or waiting)
    if name and is_change: return call(name)
    if waiting and AGAIN_SAID.search(text) and waiting["status"] in ("ready", "refused", "installed"):
        name, is_there = waiting["plugin"], waiting["status"] == "installed"
        if is_there and (others or is_about(name, text)): return None  # “add a fern to my plants” is about its records
        if not others or re.match(r"\W*(?:without|leave out|also|track|include)\b", text, re.I): return call(name)
    return None


on_request.append(build_request)


@tool(name="build", kind="build", reads=True, is_usual=False, seconds=420)
async def build_tool(what: str, plugin: str | None = None) -> str:
    "Make an app or a pipeline out of what is said of it, or change or mend a plugin. The person sees it, and installs it."
    name = plugin or ""
    waiting = db.first("SELECT * FROM proposals WHERE plugin=? AND status IN ('ready', 'refused') ORDER BY id DESC", [name])
    base = text_of_plugin(name) if name else None
    if name and base is None and not waiting:
        raise Problem(f"There is no plugin {clip(name)}.", fix=did_you_mean(name, [n for n, p in plugins.items() if p.path]),
            status=404)
    now = waiting["source"] if waiting and waiting["base"] == base else base
    return await built(new_proposal(name, what, base), what, name, now)


async def built(key: int, what: str, name: str = "", now: str | None = None) -> str:
    "Make a new plugin of what is said, or change or mend the text that it has now; how that went."
    def seen(text: str) -> None: note_proposal(key, note=f"{text} …")
    seen("Thinking of a plan")
    undone = list[str]()
    try:
        broken = loader.broken.get(name)
        if now and (broken or FIX_SAID.search(what)):
            problem = broken.error if broken else " ".join((await run_in_threadpool(checked, name, now)).problems[:2])
            source = await mended(now, problem, what, name, seen)
        elif now: source = await changed_source(now, what, name, seen)
        else:
            spec = cleaned(await spec_for(what))
            name = free_name(spec["name"])
            source = source_of(spec | {"name": name})
            for step in spec.get("steps", ()):
                if step["kind"] != "code": continue
                before, source = source, await coded(source, step["name"], what, seen)
                if before == source: undone.append(f"the step {step['name']} does nothing yet: no try of the model worked.")
        seen("Trying it out")
        report = await run_in_threadpool(proposed, key, name, source, undone)
    except BaseException as e:
        note_proposal(key, status="failed", note=str(e) if isinstance(e, Problem) else "It was stopped.")
        raise
    if report.problems: return f"The plan for {name} does not work yet: {report.problems[0]}"
    return f"{name} is ready, and was tried out. Look at it above, and click Install."


async def changed_source(source: str, what: str, name: str, seen: Callable[[str], Any]) -> str:
    "A plugin's file after a wish: by its spec where that says enough, else by edits."
    if was := spec_of(source):
        spec = await changed_spec(was, what)
        if (new := patched(source, spec)) != source:
            old = {s["name"] for s in was.get("steps", ())}
            for step in (spec_of(new) or {}).get("steps", ()):
                if step["kind"] == "code" and step["name"] not in old: new = await coded(new, step["name"], what, seen)
            return new
    return await mended(source, "", what, name, seen)


def free_name(name: str) -> str:
    "A name for a new plugin that is not taken."
    taken = firsts_of_system() | {n for n, p in plugins.items() if p.path} | all_apps().keys() | all_pipelines().keys()
    with contextlib.suppress(Problem):
        check_name(name)
        return next(n for n in (name, f"my_{name}"[:40], *(f"{name[:36]}_{i}" for i in range(2, 999))) if n not in taken)
    return f"my_{name}"[:40]


# ─── what is shown ───

styles.append("""
.proposal, .proposal form { display: grid; gap: .6rem; grid-template-columns: minmax(0, 1fr) }
.error, .card p, .card h2 { overflow-wrap: anywhere }
.proposal { overflow-wrap: anywhere; > * { margin: 0 }
  .plan { overflow-x: auto; :is(td, th) { padding: .15rem .25rem .15rem 0; border: 0 }
    :is(input, select, textarea) { margin: 0; padding: .25rem .4rem; height: auto; min-width: 6.5rem; font-size: .8125rem }
    select { min-width: 8.2rem; padding-right: 1.8rem }
    textarea { min-width: 14rem; field-sizing: content } }
  form { justify-items: start } form > * { margin: 0; max-width: 100% }
  label { display: flex; gap: .5rem; align-items: center; margin: 0 } label input { margin: 0; min-width: 0 }
  pre { max-height: 24rem; overflow: auto; white-space: pre }
  ul:not(.log) { margin: 0; padding-left: 1.1rem; font-size: .8125rem }
  pre :is(ins, del) { display: block; text-decoration: none; color: inherit; background: var(--soft) }
  pre del { background: color-mix(in srgb, var(--bad) 15%, transparent) }
  textarea.code { font-family: ui-monospace, monospace; font-size: .75rem; min-height: 14rem; white-space: pre } }
.call .proposal { padding-top: .3rem; :is(td, th):nth-child(n + 4) { display: none } }
""")
SHOWN_AS = {"ready": "waits for you", "refused": "does not work yet", "working": "at work", "installed": "installed",
    "declined": "declined", "replaced": "replaced by a newer one", "failed": "did not work"}


def diff_part(before: str | None, after: str | None) -> FT:
    "The difference of two texts, line by line, with what cannot be seen made visible."
    lines = list(difflib.unified_diff((before or "").splitlines(), (after or "").splitlines(), lineterm="", n=3))[2:]
    tags = {"+": Ins, "-": Del}
    return Pre(*[tags.get(line[:1], Span)(visible(line) + ("" if line[:1] in tags else "\n")) for line in lines]
        or ["No difference."], tabindex="0")


def proposal_part(p: Mapping) -> FT:
    "A proposal: its plan as a form, what the check found, the difference, and the buttons."
    report, status, url, source = p["report"], p["status"], f"/build/{p['id']}", p["source"]
    parts: list[Any] = [P(Strong(p["plugin"] or "A new plugin"), " ", Small(SHOWN_AS[status], cls=f"chip is-{status}"))]
    if p["note"]:
        parts.append(P(p["note"], cls="error" if status == "failed" else "muted", aria_live="polite",
            aria_busy=str(status == "working").lower()))
    if report.problems: parts.append(Ul(*[Li(visible(problem), cls="error") for problem in report.problems]))
    is_open = status in ("ready", "refused")
    if is_open and (spec := spec_of(source)): parts.append(Details(Summary("The plan"), spec_form(spec, url), open=True))
    if report.done or report.notes:
        parts.append(Details(Summary(f"What was tried ({len(report.done)}, {report.seconds:g} s)"),
            Ul(*[Li(f"{what}: {how}" if how else what) for what, how in report.done],
                *[Li(n, cls="muted") for n in report.notes]), open=bool(report.notes)))
    if is_open: parts.append(P("It ", ", ".join(report.reach) or "reaches nothing but its own records", ".", cls="muted"))
    if source and source != p["base"]:
        parts.append(Details(Summary("The difference" if p["base"] is not None else "The file"),
            diff_part(p["base"], source), open=p["base"] is not None and is_open))
    if is_open:
        code = Textarea(source, name="source", cls="code", spellcheck="false", aria_label="The code")
        parts += [Details(Summary("Edit the code"), Form(code, Hidden("code", name="act"), Button("Try it out", cls="quiet"),
            hx_post=url, hx_swap="none")),
            Div(sending_button("Install", url, "", act="install", hash=hash_of_proposal(p)) if status == "ready" else None,
                sending_button("Discard", url, act="decline"), cls="row")]
    if status == "installed":
        made = report.made.get("new") or [*report.made.get("apps", ()), *report.made.get("pipelines", ())]
        parts.append(P(*[link_button(f"Open {n.replace('_', ' ')}", f"/{n}", "") for n in made],
            link_button("Versions", f"/plugins/{p['plugin']}"), cls="row"))
    return Div(*parts, id=f"proposal-{p['id']}", cls="proposal", hx_get=f"{url}/part", hx_swap="outerHTML",
        hx_trigger=changed(f"proposal-{p['id']}"))


def spec_form(spec: Mapping, url: str) -> FT:
    "A spec as a form: a row for each field, or step, and some empty ones."
    parts, is_new = spec.get("fields") or spec.get("steps") or [], url == "/build"
    cell = lambda name, value, label, like=None: Td(Input(name=name, value=value, aria_label=label, placeholder=like))
    if spec["kind"] == "app":
        heads = ("Name", "Type", "Choices", "Default", "Must be given", "Help")
        types = [*TYPES, "choice", *sorted(app.record.__name__ for app in all_apps().values()
            if isinstance(app, BaseApp) and app.section == "apps")]
        def row(f: Mapping) -> FT:
            kind = f.get("type") or "str"
            options = [(o, SAID.get(o, o)) for o in dict.fromkeys([*types, kind])]
            return Tr(cell("name", f.get("name", ""), "Name", "another field"),
                Td(picker(options, kind, name="type", aria_label="Type")),
                cell("choices", " | ".join(f.get("choices", ())), "Choices", "low | high"),
                cell("default", f.get("default", ""), "Default"),
                Td(picker([("", "no"), ("yes", "yes")], "yes" * f.get("is_required", False), name="required",
                    aria_label="Must be given")),
                cell("help", f.get("help", ""), "Help"), *[Hidden(f.get(n, ""), name=n) for n in ("hint", "default_text")])
    else:
        heads = ("Name", "Kind", "Instruction", "Asks for, or the tool")
        def row(f: Mapping) -> FT:
            asked = ", ".join(part_text(a) for a in f.get("asked", ())) or f.get("tool", "")
            return Tr(cell("name", f.get("name", ""), "Name", "another step"),
                Td(picker(KINDS_OF_STEP.items(), f.get("kind") or "code", name="type", aria_label="Kind")),
                Td(Textarea(f.get("instruction", ""), name="help", aria_label="Instruction", rows=1)),
                cell("choices", asked, "Asks for", "size:int, tone:a|b"))
    return Form(Div(Label("Called ", Input(name="called", value=spec.get("name", ""), required=True, readonly=not is_new)),
            Label("About ", Input(name="about", value=spec.get("about", ""))), cls="row"),
        Hidden(spec["kind"], name="kind"), Hidden(spec.get("record", ""), name="record"), Hidden("spec", name="act"),
        Div(Table(Thead(Tr(*[Th(h, scope="col") for h in heads])), Tbody(*map(row, [*parts, *[{}] * (5 if is_new else 2)]))),
            cls="plan"), None if is_new else Small("Empty a name to take it out.", cls="muted"),
        Button("Go on" if is_new else "Try it out", cls="quiet"), hx_post=url, hx_swap="none")


def spec_from(form: Any) -> dict:
    "The spec that a sent form says."
    columns = ("name", "type", "choices", "default", "required", "help", "hint", "default_text")
    rows = [dict(zip(columns, map(str, values), strict=True))
        for values in itertools.zip_longest(*map(form.getlist, columns), fillvalue="")]
    rows, spec = [r for r in rows if r["name"].strip()], dict(kind=str(form.get("kind")), name=str(form.get("called", "")),
        record=str(form.get("record", "")), about=str(form.get("about", "")))
    if spec["kind"] == "app":
        choices_in = lambda text: [c.strip() for c in text.split("|" if "|" in text else ",")]
        return spec | {"fields": [r | {"choices": choices_in(r["choices"]), "is_required": r["required"] == "yes"}
            for r in rows]}
    return spec | {"steps": [dict(name=r["name"], kind=r["type"], instruction=r["help"], tool=r["choices"].strip(),
        asked=fields_said(r["choices"])) for r in rows]}


def card_part(m: Mapping) -> Any:
    "What stands on the card of a call of build: its proposal."
    if json.loads(m["content"])["tool"] != "build": return None
    found = db.first("SELECT id FROM proposals WHERE why=? ORDER BY id DESC", [f"message {m['id']}"])
    return proposal_part(proposal(found["id"])) if found else None


on_card.append(card_part)


# ─── pages ───

@rt("/build", methods=["GET"])
async def build_get(req: Request):
    "A new app or pipeline: by what is said of it, or by a form."
    kind = "pipeline" if req.query_params.get("kind") == "pipeline" else "app"
    if kind == "app":
        like = "plants: name, light (low or high), when I watered them"
        other = link_button("A pipeline instead", "/build?kind=pipeline")
    else:
        like = "read a CSV of plants, and add each of them to my plants"
        other = link_button("An app instead", "/build")
    said = Form(Textarea(name="what", rows=2, placeholder=like, aria_label="What it is to be"), Hidden("say", name="act"),
        Hidden(kind, name="kind"), Button("Make it"), hx_post="/build", hx_swap="none")
    if not await current_model():
        said = P("With a model you could say it in words. ", A("Get one", href="/models"), cls="muted")
    return *head(f"New {kind}", other), Div(
        Div(H2("Say what it is to be"), said, cls="card"),
        Div(H2("Or fill it in"), spec_form({"kind": kind}, "/build"), cls="card proposal"),
        Div(H2("Or bring one"), Form(Input(type="file", name="file", accept=".py,.ipynb",
            aria_label="A plugin's file, or a notebook"), Hidden("import", name="act"), Button("Look at it", cls="quiet"),
            hx_post="/build", hx_encoding="multipart/form-data", hx_swap="none"),
            P("It is tried out where it can do no harm, and shown to you, before it is installed.", cls="muted"),
            cls="card"), cls="stack")


@rt("/build", methods=["POST"])
async def build_post(form: Sent):
    "Begin a proposal, and go to its page."
    if form.get("act") == "say":
        what = str(form.get("what", "")).strip()
        if not what: raise Problem("Nothing is said.", fix="Say what it is to be.")
        if not await current_model(): raise no_model()
        if form.get("kind") != "app" and not PIPELINE_SAID.search(what): what = f"A pipeline: {what}"
        key = new_proposal("", what, None)
        making.add(work := asyncio.create_task(built(key, what)))
        work.add_done_callback(lambda t: (making.discard(t), t.cancelled() or t.exception()))
    elif form.get("act") == "import":
        upload: Any = form.get("file")
        if not getattr(upload, "filename", ""): raise Problem("No file was chosen.", fix="Choose a plugin's .py file.")
        name, notes = identifier(Path(upload.filename).stem), list[str]()
        made_by = bringing.get(Path(upload.filename).suffix.lower())
        data = await upload.read(-1 if made_by else 1 << 20)
        try:
            if made_by: source, notes = await run_in_threadpool(made_by, data, name)
            else: source = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError: raise Problem("This is no text.", fix="Choose a plugin's .py file.") from None
        key = new_proposal(name, f"imported {clip(upload.filename)}", text_of_plugin(name))
        await run_in_threadpool(proposed, key, name, source, notes)
    else:
        spec = cleaned(spec_from(form))
        name = free_name(spec["name"])
        key = new_proposal(name, "", None)
        await run_in_threadpool(proposed, key, name, source_of(spec | {"name": name}))
    return HtmxResponseHeaders(redirect=f"/build/{key}")


making: set[asyncio.Task] = set()
# what makes a plugin's text, and notes, of other files than .py: by ending, of their bytes and the plugin's name
bringing: dict[str, Callable[[bytes, str], tuple[str, list[str]]]] = {}


@rt("/build/{key:int}", methods=["GET"])
async def proposal_get(key: int):
    p = proposal(key)
    said = P(f"“{clip(p['wish'], 300)}”", cls="muted") if p["wish"] else None
    return *head(p["plugin"] or "A new plugin", link_button("Plugins", "/plugins")), Div(said, proposal_part(p), cls="card")


@rt("/build/{key:int}/part", methods=["GET"])
async def proposal_part_get(key: int): return proposal_part(proposal(key))


@rt("/build/{key:int}", methods=["POST"])
async def proposal_post(req: Request, key: int, form: Sent):
    "Install a proposal, discard it, or put another plan or text in its place."
    check_click(req)
    p, act = proposal(key), str(form.get("act"))
    if act == "install":
        entry = await run_in_threadpool(install, key, str(form.get("hash", "")))
        return toast(f"Installed {p['plugin']}", undo=entry["id"])
    if p["status"] not in ("ready", "refused"): raise Problem("This does not wait for you any more.", status=409)
    if act == "decline": note_proposal(key, status="declined")
    elif act in ("spec", "code"):
        if act == "code": source = str(form.get("source", "")).replace("\r\n", "\n")
        else: source = patched(p["source"], spec_from(form))
        report = await run_in_threadpool(proposed, key, p["plugin"], source)
        return toast(report.problems[0], kind="bad") if report.problems else toast(f"Tried out {p['plugin']}: it works")
    else: raise Problem(f"There is no {clip(act)} to do with a proposal.", status=404)
    return Response(status_code=204)


@rt("/plugins/{name}", methods=["GET"])
async def plugin_get(name: str):
    "A plugin: what it makes, every version with its difference, and what can be done with it."
    rows = db.query("SELECT * FROM plugins WHERE name=? ORDER BY id DESC LIMIT 100", [name])
    live, now = plugins.get(name), text_of_plugin(name)
    if not rows and not (live and live.path): raise Problem(f"There is no plugin {clip(name)}.", status=404)
    items, url = [], f"/plugins/{name}"
    for row in rows:
        entry = next(iter(db.entries("app='plugins' AND record_id=? AND verb != 'undo'", [row["id"]], 1)), None)
        why = A("why?", href=f"/why/{entry['id']}") if entry and entry["cause"] else None
        back = Small("is live", cls="muted") if row is rows[0] else None
        if row["source"] not in (None, now): back = sending_button("Roll back to this", url, act="back", version=row["id"])
        items.append(Li(Div(Strong(row["at"]), Small(f"by {entry['actor']}" if entry else "by hand", cls="chip"),
            "removed" if row["source"] is None else "", why, Span(cls="grow"), back, cls="row"),
            Details(Summary("The difference"), diff_part(row["was"], row["source"]))))
    apps = [a for a in live.apps.values() if isinstance(a, BaseApp)] if live else []
    actions = () if now is None else (link_button("Export", f"{url}/export.py", download=True),
        sending_button("Remove", url, "quiet bad", f"Remove {name}? Its records stay, and come back with it.", act="remove"))
    return *head(name, *actions), Div(P(live.description if live else "It is not loaded.", cls="muted"),
        P(*[A(f"Export the {a.title.lower()}", href=f"{a.url}/export.csv", download=True, cls="chip") for a in apps]),
        Ul(*items, cls="log versions"), id="plugin", hx_get=url, hx_select="#plugin",
        hx_trigger=changed("plugins"), hx_swap="morph:outerHTML", cls="proposal card")


@rt("/plugins/{name}/export.py", methods=["GET"])
async def plugin_export(name: str):
    if not NAME.fullmatch(name) or (source := text_of_plugin(name)) is None: raise Problem("There is no such plugin.",
            status=404)
    return Response(source, media_type="text/x-python", headers={"content-disposition": f'attachment; filename="{name}.py"'})


@rt("/plugins/{name}", methods=["POST"])
async def plugin_post(req: Request, name: str, form: Sent):
    "Roll a plugin back to a version that was installed, remove it, or have the model mend it."
    check_click(req)
    act = str(form.get("act"))
    if act == "back":
        row = db.first("SELECT source FROM plugins WHERE name=? AND id=?", [name, number(form.get("version"))])
        if not row or row["source"] is None: raise Problem("There is no such version.", status=404)
        entry = await run_in_threadpool(loader.write, name, row["source"], f"rolled back {name}")
        await run_in_threadpool(loader.attempt, name)
        return toast(f"Rolled back {name}", undo=entry["id"])
    if act == "remove":
        if text_of_plugin(name) is None: raise Problem("There is no such plugin.", status=404)
        entry = await run_in_threadpool(loader.write, name, None)
        await run_in_threadpool(loader.unload, name)
        return HtmxResponseHeaders(redirect="/plugins"), toast(f"Removed {name}", undo=entry["id"])
    if act == "fix":
        if name not in loader.broken: raise Problem(f"{clip(name)} has no problem.", fix="Nothing is to be done.")
        message = await begin_turn(0, f"Fix the plugin {name}.")
        show_conversation(db.one("SELECT conversation FROM messages WHERE id=?", [message]))
        return toast(f"The model looks at {name}.py: see the chat.")
    raise Problem(f"There is no {clip(act)} to do with a plugin.", status=404)
