"""Type hints become fields, and fields turn what people type into typed values and SQLite columns, and back.

    fields_of(Recipe)                      # {"title": Field(name="title", kind="text", …), …}
    value_of(field, "2026-12-24")             # date(2026, 12, 24), or a Problem that says what to give
    to_sql(field, value), from_sql(field, value)

One `Field` serves a record's column, a form's input, a tool's argument and a step's question; forms.py draws it.
"""
import inspect, json, math, re, types, typing
from dataclasses import MISSING, dataclass, field, fields as dataclass_fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit
from .base import Problem, did_you_mean

class Kind(str): "Marks a type hint with the kind of field that it stands for."
class JsonText(str): "A text that is a value of a Json field, as opposed to one that is still to be read as JSON."
class Help(str): "`Annotated[str, Help('…')]`: a line of help beside the field."


@dataclass(frozen=True)
class Range:
    "`Annotated[int, Range(1, 12)]`: the least and the greatest value, both allowed."
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Pattern:
    "`Annotated[str, Pattern(r'[A-Z]{3}')]`: the whole text must match."
    regex: str


@dataclass(frozen=True)
class Choices:
    """`Annotated[str, Choices(options)]`, or of list[str] to choose several. The options are a list, {value: name}, or,
    in a pipeline, a function whose parameters are earlier steps' values and that gives one of those."""
    options: Any


Text = Annotated[str, Kind("long")]
Markdown = Annotated[str, Kind("markdown")]
Email = Annotated[str, Kind("email")]
Url = Annotated[str, Kind("url")]
File = Annotated[str, Kind("file")]        # the name of a file in the workspace's files/
Json = Annotated[Any, Kind("json")]
Tags = Annotated[list[str], Kind("tags")]


class Asked:
    """`Annotated[Any, Asked()]`: a value that a later chapter asks for in its own way. It draws the control, reads what is
    typed (raising ValueError for what is none), and hands a step what it stands for."""
    hints: list[Callable[[Any], Any]] = []   # what makes an Asked of a bare type, or None
    def draw(self, field: "Field", value: Any, place: str = "", **attrs: Any) -> Any: raise NotImplementedError
    def read(self, field: "Field", value: Any) -> Any: return value
    def hand(self, value: Any) -> Any: return value
    def sample(self) -> Any: return None


@dataclass
class Field:
    "One named, typed value that can be asked for, checked, stored and shown."
    name: str
    kind: str                              # a key of KINDS
    default: Any = MISSING
    is_optional: bool = False              # T | None
    choices: dict[str, Any] = field(default_factory=dict)   # what is typed → what it stands for
    names: dict[str, str] = field(default_factory=dict)     # what is typed → what it is called
    options: Callable | None = None        # gives the choices, from earlier values of a run
    help: str = ""
    range: Range = Range()
    pattern: str = ""
    record: type | None = None             # the record class that a relation points to
    asked: Asked | None = None             # how it is asked for, where that is not by its kind
    find: Callable[[str], Any] | None = None   # a relation's look-up by name: an id; that of `records`: a list of ids

    @property
    def is_required(self) -> bool: return self.default is MISSING and not self.is_optional and self.kind != "bool"

    @property
    def label(self) -> str: return self.name.removeprefix("is_").replace("_", " ").capitalize()

    def called(self, key: str) -> str: return self.names.get(key, key.replace("_", " "))

    def offer(self, options: Any) -> None:
        "Let these be the choices: a list, or {value: name}."
        self.choices = {str(getattr(o, "value", o)): o for o in options}
        self.names = {str(o): str(options[o]) for o in options} if isinstance(options, dict) else {}

    def blank(self) -> Any:
        "The value a new record begins with."
        if callable(self.default): return self.default()
        if self.default is not MISSING: return list(self.default) if isinstance(self.default, tuple) else self.default
        return None if self.is_optional else {"bool": False, "tags": []}.get(self.kind, "" if self.is_text else None)

    @property
    def is_text(self) -> bool: return KINDS[self.kind].column == "TEXT" and not isinstance(first_choice(self), int)


class KindOf(NamedTuple):
    "A kind of field: its column, what it is called, an example, its input, its type and format in JSON Schema."
    column: str = "TEXT"
    noun: str = "text"
    example: str = "a value"
    input: str = "text"
    type: str = "string"
    format: str = ""


# SQLite keeps a column's declared type as it is written, so the file itself says what a column means, and a changed
# type can be told from a widened one (str → Email are both TEXT; str → date are not).
KINDS = dict(text=KindOf(), long=KindOf(), markdown=KindOf(),
    choice=KindOf(noun="one of the choices", example="one of them"),
    file=KindOf("TEXT", "a file", "the name of a file in files/", "file"),
    email=KindOf("TEXT", "an e-mail address", "an address such as ada@example.org", "email", format="email"),
    url=KindOf("TEXT", "a web address", "an address such as https://example.org", "url", format="uri"),
    int=KindOf("INTEGER", "a whole number", "a whole number such as 3", "number", "integer"),
    float=KindOf("REAL", "a number", "a number such as 2.5", "number", "number"),
    decimal=KindOf("TEXT DECIMAL", "a number", "a number such as 19.90", "number", format="decimal"),
    bool=KindOf("INTEGER BOOL", "yes or no", "yes or no", "checkbox", "boolean"),
    date=KindOf("TEXT DATE", "a date", "a date such as 2026-12-24", "date", format="date"),
    datetime=KindOf("TEXT DATETIME", "a date and time", "a date and time such as 2026-12-24 18:00",
        "datetime-local", format="date-time"), time=KindOf("TEXT TIME", "a time", "a time such as 18:00", "time",
        format="time"), json=KindOf("TEXT JSON", "JSON", 'JSON such as {"a": 1}', type=""),
    tags=KindOf("TEXT TAGS", "a list", "words with commas between them", type="array"),
    relation=KindOf("INTEGER RELATION", "one of the records", "the number or the exact name of one",
        type="integer"), records=KindOf(noun="records", example="their numbers or names", type="array"))
PLAIN: dict[Any, str] = {str: "text", int: "int", float: "float", bool: "bool", date: "date", datetime: "datetime",
    time: "time", Decimal: "decimal", dict: "json", list: "json", Any: "json"}


def field_of(name: str, hint: Any, default: Any = MISSING) -> Field:
    "The field that a type hint describes. Raises Problem for a hint that cannot be asked for."
    found = Field(name, "", default)
    while True:
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            hint = args[0]
            for mark in args[1:]:
                match mark:
                    case Kind(): found.kind = found.kind or str(mark)
                    case Help(): found.help = str(mark)
                    case Range(): found.range = mark
                    case Pattern(): found.pattern = mark.regex
                    case Asked(): found.kind, found.asked = "json", mark
                    case Choices() if callable(mark.options): found.options = mark.options
                    case Choices(): found.offer(mark.options)
        elif origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
            found.is_optional = True
            hint = next(a for a in args if a is not type(None))
        else: break
    if found.kind: return found
    if hint is str and (found.options or found.choices): found.kind = "choice"
    elif origin is Literal:
        found.kind = "choice"
        found.offer(args)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        found.kind = "choice"
        found.offer(list(hint))
    elif hint == list[str]: found.kind = "tags"
    elif (origin or hint) in PLAIN: found.kind = PLAIN[origin or hint]
    elif is_dataclass(hint): found.kind, found.record = "relation", hint
    elif asked := next(filter(None, (ask(hint) for ask in Asked.hints)), None): found.kind, found.asked = "json", asked
    else:
        raise Problem(f"{name} is annotated with {getattr(hint, '__name__', hint)}, which cannot be asked for.",
            fix="Use str, int, float, bool, date, datetime, time, Decimal, Literal, an Enum, Text, Markdown, "
            "Email, Url, File, Json, Tags, another record class, or any of them | None.")
    return found


def hints_of(source: Any) -> dict[str, Any]:
    try: return typing.get_type_hints(source, include_extras=True)
    except NameError as e:
        raise Problem(f"{source.__name__} uses {e.name} before it is defined.", fix="Define it above.") from e


def parameters_of(work: Any) -> list[inspect.Parameter]:
    "The parameters of a function. Raises Problem for those that cannot be given by name."
    found = [*inspect.signature(work).parameters.values()]
    for p in found:
        if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            what = f"{p.name} without its name" if p.kind is p.POSITIONAL_ONLY else f"*{p.name}"
            raise Problem(f"{work.__name__} takes {what}.", fix="Name each of its parameters.")
    return found


def fields_of(source: Any) -> dict[str, Field]:
    "The fields of a record class, or of a function's parameters, by name."
    hints = hints_of(source)
    if not is_dataclass(source):
        return {p.name: field_of(p.name, hints.get(p.name, str), MISSING if p.default is p.empty else p.default)
            for p in parameters_of(source)}
    return {f.name: field_of(f.name, hints[f.name],
        f.default if f.default_factory is MISSING else f.default_factory) for f in dataclass_fields(source)
        if f.name != "id"}


def first_choice(field: Field) -> Any: return next((getattr(c, "value", c) for c in field.choices.values()), None)


def value_of(field: Field, value: Any) -> Any:
    """The value that `value` (text as typed, or typed already) stands for; empty text is None for an optional
    field, and the default elsewhere. Raises Problem, which names the field, the value and what would do."""
    if hasattr(value, "filename"): raise Problem(f"{field.name} came as a file.", fix="Give text.")
    if isinstance(value, str):
        value = keepable(field, value if field.kind in ("long", "markdown", "json") else value.strip())
    if value is None or value == "" and not isinstance(value, JsonText):
        if field.is_optional: return None
        if field.kind == "bool": return False
        if field.is_required: raise Problem(f"{field.name} is empty.", fix=f"Give {KINDS[field.kind].example}.")
        return field.blank()
    try: result = parse(field, value)
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise Problem(f"{field.name} is {clip(value)!r}, which is not {KINDS[field.kind].noun}.",
            fix=f"Give {KINDS[field.kind].example}.") from None
    if field.kind in ("json", "tags") and not field.asked and result is not None: keepable(field, to_sql(field, result))
    low, high = field.range.low, field.range.high
    if low is not None and result < low or high is not None and result > high:
        between = f"of at most {high}" if low is None else f"of at least {low}" if high is None else (
            f"from {low} to {high}")
        raise Problem(f"{field.name} is {result}.", fix=f"Give a value {between}.")
    if field.pattern and not re.fullmatch(field.pattern, str(result)):
        raise Problem(f"{field.name} is {clip(value)!r}.", fix=field.help or f"It has to match {field.pattern}.")
    return result


def typed_values(fields: Mapping[str, Field], given: Mapping[str, Any]) -> dict[str, Any]:
    "The values that are given for fields, by name. Raises Problem (422) with all that is wrong."
    values, wrong = {}, {}
    for name, value in given.items():
        try: values[name] = value_of(fields[name], value)
        except Problem as e: wrong[name] = str(e)
    if wrong: raise Problem(" ".join(wrong.values()), status=422, fields=wrong)
    return values


def keepable(field: Field, text: str) -> str:
    if "\0" in text or not text.isprintable() and re.search("[\ud800-\udfff]", text):
        raise Problem(f"{field.name} contains a character that cannot be kept.", fix="Take it out.")
    return text


YES, NO = "yes true 1 on y x done".split(), "no false 0 off n -".split()


def parse(field: Field, value: Any) -> Any:
    "`value` as the field's type. Raises ValueError and its kin."
    text = value if isinstance(value, str) else None
    if field.asked: return field.asked.read(field, value)
    match field.kind:
        case "int" | "float" | "decimal" if isinstance(value, bool): pass
        case "text" | "long" | "markdown" | "file" if isinstance(value, str | int | float):
            return " ".join(str(value).split("\n")) if field.kind == "text" else str(value).replace("\r\n", "\n")
        case "int" if isinstance(value, str | int) or isinstance(value, float) and value.is_integer():
            if abs(whole := int(value)) < 2**63: return whole
        case "float" if math.isfinite(float(value)): return float(value)
        case "decimal" if (amount := Decimal(str(value))).is_finite() and abs(amount.adjusted()) <= 300:
            return amount  # 1e999999999 is a gigabyte once it is written out
        case "bool" if value in (0, 1): return bool(value)
        case "bool" if (word := value.lower()) in YES or word in NO: return word in YES
        case "date": return value.date() if isinstance(value, datetime) else day_called(text) or from_iso(date, value)
        case "datetime":
            moment = from_iso(datetime, value)
            if moment.tzinfo: moment = moment.astimezone()  # local time to the second, as inputs show it
            return moment.replace(tzinfo=None, microsecond=0)
        case "time": return from_iso(time, value).replace(tzinfo=None, microsecond=0)
        case "email" if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", value): return value
        case "url" if urlsplit(value).scheme in ("http", "https", "mailto") and len(value) > 8: return value
        case "json":
            result = value if text is None or isinstance(text, JsonText) else json.loads(text)
            json.dumps(result, allow_nan=False)
            return JsonText(result) if isinstance(result, str) else result
        case "tags" if text is not None or isinstance(value, list | tuple):
            parts = value if text is None else re.split(r"[,\n]", text)
            found = list(dict.fromkeys(word for part in parts if (word := str(part).strip())))
            if field.choices and (unknown := [word for word in found if word not in field.choices]):
                raise Problem(f"{field.name} has no {clip(unknown[0])!r}.", fix=did_you_mean(unknown[0], field.choices))
            return found
        case "choice":
            key = str(getattr(value, "value", value))
            known = {k.lower(): c for k, c in field.choices.items()} | field.choices
            if key.lower() not in known:
                raise Problem(f"{field.name} is {clip(key)!r}.", fix=did_you_mean(key, field.choices))
            return known.get(key, known[key.lower()])
        case "records" if field.find and value not in ([], ""):
            named = value if isinstance(value, list | tuple) else [value]
            if all(type(one) in (int, str) for one in named):
                return list(dict.fromkeys(i for one in named for i in field.find(str(one))))
        case "relation" if not isinstance(value, bool | float | list | dict):
            key = str(getattr(value, "id", value)) if text is None else text
            last = key.rpartition("#")[2]  # "Ada #3", as lists and exports say it
            found = field.find(last if last.isdecimal() else key) if field.find else int(last)
            if found is not None and 0 < found < 2**63: return found
    raise ValueError


DAYS_FROM_NOW = dict(today=0, heute=0, tonight=0, now=0, tomorrow=1, tmrw=1, morgen=1, übermorgen=2, yesterday=-1,
    gestern=-1)
WEEKDAYS = dict(mon=0, tue=1, die=1, wed=2, mit=2, thu=3, don=3, fri=4, fre=4, sat=5, sam=5, sun=6, son=6)
NUMBER_WORDS = {word: n for n, words in enumerate(("a an one ein eine einer einem einen", "two zwei", "three drei",
    "four vier",
    "five fünf", "six sechs", "seven sieben", "eight acht", "nine neun", "ten zehn", "eleven elf", "twelve zwölf"), 1)
    for word in words.split()}
UNITS = dict(day=1, tag=1, week=7, woche=7)


DAY_WORDS = re.compile(r"\b(?:day after tomorrow|today|tonight|tomorrow|yesterday|heute|morgen|übermorgen|gestern"
    r"|in \w+ (?:days?|weeks?|tag\w*|woche\w*)|(?:(?:next|nächste[nr]?) )?(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|week|woche))\b", re.I)  # what day_called knows, within a text


def day_called(text: str | None) -> date | None:
    """The day that words name, in English or German: today, tomorrow, friday (the next one, not today), next friday (that of
    the week after this one), in 3 days, next week. None for what are no such words."""
    words, today = (text or "").lower().replace(",", " ").split(), date.today()
    words = [w for w in words if w not in ("on", "by", "due", "the", "am", "bis", "this", "coming", "kommenden")]
    is_next = words[:1] and words[0] in ("next", "nächste", "nächsten", "nächster")
    if is_next: words = words[1:]
    match words:
        case [word] if word in DAYS_FROM_NOW: return today + timedelta(DAYS_FROM_NOW[word])
        case [word] if word[:3] in WEEKDAYS and re.fullmatch(r".{3}|.{3,7}(day|tag)|mittwoch", word):
            ahead = (WEEKDAYS[word[:3]] - today.weekday()) % 7 or 7
            return today + timedelta(ahead + 7 * bool(is_next and ahead + today.weekday() < 7))
        case ["day", "after", "tomorrow"]: return today + timedelta(2)
        case [unit] if is_next and unit in UNITS: return today + timedelta(UNITS[unit])
        case ["in", n, unit] if (size := next((UNITS[u] for u in UNITS if unit.startswith(u)), 0)):
            count = NUMBER_WORDS.get(n) or number(n)
            if 0 < count < 5000: return today + timedelta(count * size)


def from_iso(kind: Any, value: Any) -> Any:
    if isinstance(value, str): return kind.fromisoformat(value)
    if isinstance(value, kind): return value
    raise ValueError


def clip(value: Any, length: int = 60) -> str:
    "`value` as one line of at most `length` characters."
    text = " ".join(str(value)[:length * 4].encode("utf-8", "replace").decode().split())
    return text if len(text) <= length else text[:length - 1] + "…"


def sayable(text: str) -> str:
    "A text that can be encoded: what a file's name or a program's output holds need not be one."
    return text.encode(errors="replace").decode()


def number(text: Any) -> int:
    "The number that an address or a form gives; 0 where it gives none."
    return int(text) if str(text).isascii() and str(text).isdecimal() and len(str(text)) < 19 else 0


def to_sql(field: Field, value: Any) -> Any:
    "A typed value as SQLite keeps it: a number, a text or NULL."
    if value is None: return None
    match field.kind:
        case "bool": return int(value)
        case "date" | "time": return value.isoformat()
        case "datetime": return value.isoformat(" ", "seconds")
        case "decimal": return str(value)
        case "json" | "tags": return json.dumps(value, ensure_ascii=False)
        case "choice": return getattr(value, "value", value)
    return value


def from_sql(field: Field, value: Any) -> Any:
    "The typed value of what SQLite kept. What no longer fits the type is given as it is."
    if value is None: return None if field.is_optional or not field.is_text else ""
    try:
        match field.kind:
            case "bool": return bool(value)
            case "date": return date.fromisoformat(value)
            case "datetime": return datetime.fromisoformat(value)
            case "time": return time.fromisoformat(value)
            case "decimal": return Decimal(value)
            case "json" | "tags": return JsonText(found) if isinstance(found := json.loads(value), str) else found
            case "choice": return field.choices.get(str(value), value)
    except (ValueError, TypeError, ArithmeticError): return value
    return value

