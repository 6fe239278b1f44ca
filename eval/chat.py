"""What the chat is worth with the real default model, through the real server: `make eval`, or one part of it:

    python eval/chat.py                         all parts, some 10 minutes on two idle cores
    python eval/chat.py aware memory            only these
    python eval/chat.py restart --tokens 2000   with a shorter text

Parts: turns, restart, aware, memory, talk. Each prints a table and its verdicts; all of it goes to eval/results/ as
JSON and Markdown. See eval/README.md for what is measured and what the numbers do not say.
"""
import argparse
import json
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
from helpers import Server, environment, patience, read, wait_for  # noqa: E402

DEFAULT, TOKENS = "qwen2.5-coder-1.5b", 64  # tokens of an answer
PROBE = f'''
"Probe: answers that are short and drawn with one seed; what the engine took to load and to restore."
from sololith import *
import importlib, time as clock
models, chat = (importlib.import_module(f"sololith.{{name}}") for name in ("models", "chat"))
engine, took, chat.LIMIT = models.engine, {{}}, {TOKENS}
start, restore, complete = engine.start, engine.restore, engine.complete

async def timed_start(model):
    if engine.runs(model): return await start(model)
    began = clock.monotonic()
    await start(model)
    took["load_ms"] = round(1000 * (clock.monotonic() - began))

async def timed_restore(key):
    began = clock.monotonic()
    if found := await restore(key): took["restore_ms"] = round(1000 * (clock.monotonic() - began))
    return found

engine.start, engine.restore = timed_start, timed_restore
engine.complete = lambda asked: complete(asked | {{"seed": 7}})

@rt("/probe", methods=["GET"])
async def probe(req: Request):
    return JSONResponse(took | dict(pid=engine.runs() and engine.process.pid, is_loaded=engine.runs(),
        is_saved=engine.is_saved and bool(engine.held), is_free=not engine.lock.locked() and not engine.warming))
'''
results: dict[str, dict] = {}
verdicts: list[tuple[str, str, bool]] = []
said: list[str] = []  # every answer


# ── the server, from outside

def weights(name: str) -> Path:
    "The model's file: in $SOLOLITH_TEST_MODELS or build/models, else fetched as the page Models does."
    folder = Path(os.environ.get("SOLOLITH_TEST_MODELS") or ROOT / "build" / "models").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    code = ("import sys; from pathlib import Path; from sololith import home; from sololith import models\n"
            "home.models = home.run = Path(sys.argv[1]); print(models.fetch_model(models.known_model(sys.argv[2])))")
    done = subprocess.run([sys.executable, "-c", code, folder, name], capture_output=True, text=True,
                          env=environment(SOLOLITH_HOME=str(folder)))
    if done.returncode: raise SystemExit(done.stderr[-1000:])
    return Path(done.stdout.strip())


class Chat(Server):
    "A server on a fresh workspace with the model; it is talked to as the page does."
    def __init__(self, model: Path):
        super().__init__(Path(tempfile.mkdtemp(prefix="sololith-eval-")) / "workspace")
        for folder in ("models", "apps", "files"): (self.workspace / folder).mkdir(parents=True)
        (self.workspace / "models" / model.name).symlink_to(model)
        (self.workspace / "apps" / "probe.py").write_text(PROBE)
        self.conversation = 0
        self.start()

    def rows(self, sql: str, *args) -> list[dict]: return read(self.workspace / "data.db", sql, *args)
    def probe(self) -> dict: return self.get("/probe").json()
    def send(self, path: str, **form: str) -> None:
        posted = self.post(path, form, HX_Request="true")
        assert posted.status < 500, (path, posted)

    def say(self, text: str, is_new: bool = False) -> dict:
        "Say something; the answer, with its facts, once it has ended."
        self.conversation = 0 if is_new else self.conversation
        posted = self.post("/chat", {"c": self.conversation, "text": text}, HX_Request="true")
        assert posted.status == 200, posted
        (row,) = self.rows("SELECT * FROM messages WHERE role='assistant' ORDER BY id DESC LIMIT 1")
        self.conversation = row["conversation"]
        wait_for(lambda: self.answer(row["id"])["status"] != "running", 1200, "an answer")
        row = self.answer(row["id"])
        assert row["status"] == "done", (row["status"], row["facts"])
        said.append(row["content"])
        return row

    def answer(self, message: int) -> dict:
        (row,) = self.rows("SELECT * FROM messages WHERE id=?", message)
        return row | {"facts": json.loads(row["facts"])}

    def rest(self) -> None:
        "Until the state of the conversation is on disk."
        wait_for(lambda: self.probe()["is_saved"], 60, "the state on disk")

    def warm(self) -> None:
        "Open the panel, and wait until the fixed prompt is read."
        self.get("/chat", HX_Request="true")
        wait_for(lambda: (p := self.probe())["is_loaded"] and p["is_free"], 600, "the model")

    def cpu(self) -> float:
        "Milliseconds that the engine has computed, on all its cores."
        fields = Path(f"/proc/{self.probe()['pid']}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    # ── by hand

    def add(self, title: str, app: str = "tasks") -> int:
        self.send(f"/{app}", title=title)
        return self.rows(f"SELECT max(id) AS id FROM {app}")[0]["id"]

    def complete(self, task: int, value: str = "on") -> None:
        self.send(f"/tasks/{task}/toggle", field="is_done", value=value)

    def rename(self, task: int, title: str) -> None: self.send(f"/tasks/{task}", title=title)
    def delete(self, task: int) -> None: self.send(f"/tasks/{task}/delete")

    def import_csv(self, text: str) -> None:
        page = self.post("/tasks/import", {"text": text}, HX_Request="true").text
        token = re.search(r'name="token"[^>]*value="(\w+)"|value="(\w+)"[^>]*name="token"', page)
        self.send("/tasks/import", token=token[1] or token[2], action="import")

    def hello(self, name: str) -> None:
        self.send("/hello", name=name)
        time.sleep(.5)


# ── telling

def table(names: list[str], lines: list[list]) -> str:
    "As Markdown."
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in line) + " |"
                     for line in [names, ["---"] * len(names), *lines])


def verdict(part: str, what: str, holds: bool) -> None:
    verdicts.append((part, what, holds))
    print(f"{'ok  ' if holds else 'FAIL'} {part}: {what}", flush=True)


def show(part: str, names: list[str], lines: list[list], **more) -> None:
    results[part] = {"names": names, "lines": lines} | more
    print(f"\n## {part}\n\n{table(names, lines)}\n", flush=True)


def fits(text: str, wanted: list[list[str]], forbidden: list[str]) -> bool:
    "Whether there is one of each group, and nothing that is forbidden (words, or /expressions/)."
    has = lambda it: bool(re.search(it[1:-1], text.lower()) if it.startswith("/") else it.lower() in text.lower())
    return all(any(map(has, group)) for group in wanted) and not any(map(has, forbidden))


# ── the parts

SAID = ["Hello!", "What did I just add?", "Which task did I complete?", "What did I rename?", "And what did I add now?",
        "What have I deleted?", "Name one fruit.", "What did I complete last?", "What is the newest name of that task?",
        "How many tasks did I add so far?", "What is gone now?", "Say something kind.", "What did I do just now?",
        "What was renamed?", "Which task is new?", "Did I delete something?", "Name a colour.", "What did I finish?",
        "What changed last?", "What did I do in all, in one sentence?"]


def turns(model: Path, options) -> None:
    "A conversation of 20 turns with changes by hand between them."
    with Chat(model) as chat:
        chat.warm()
        tasks, lines, before = [chat.add(f"Old task {n}") for n in range(6)], [], None
        for n, text in enumerate(SAID, 1):
            if n > 1:
                match n % 5:
                    case 2 | 0: chat.add(f"Errand number {n}")
                    case 3: chat.complete(tasks[n % 6])
                    case 4: chat.rename(tasks[n % 6], f"Changed task {n}")
                    case 1: chat.delete(chat.rows("SELECT min(id) AS n FROM tasks WHERE title LIKE 'Errand%'")[0]["n"])
            computed = chat.cpu()
            row = chat.say(text)
            f, computed = row["facts"], chat.cpu() - computed
            of = lambda size, f=f: f"{min(1, f['reused'] / size):.1%}" if size else ""
            lines.append([n, f["prompt"], f["reused"], f["new"], f["generated"], f["first_ms"], f["ms"],
                          round(f["first_ms"] / f["new"], 1), round(computed / (f["new"] + f["generated"]), 1),
                          of(before and before["prompt"]), of(before and before["prompt"] + before["generated"]),
                          row["content"][:70]])
            print(*lines[-1], flush=True)
            before = f
        show("turns", ["turn", "prompt", "reused", "new", "generated", "first ms", "ms", "first ms per new token",
                       "CPU ms per token", "reused of the old prompt", "of old prompt and answer", "answer"], lines)
    least = min(float(line[9][:-1]) for line in lines[1:])
    verdict("turns", f"at least {least:.1f} % of the old prompt are reused in each of the turns 2–20 (at least 95 %)",
            least >= 95)
    (wall, late_wall), (cpu, late_cpu) = ([statistics.median(line[at] for line in lines[a:b])
                                          for a, b in ((1, 4), (17, 20))] for at in (7, 8))
    verdict("turns", f"a token, read or written, costs {cpu:.0f} ms of CPU in turns 2–4, {late_cpu:.0f} ms in 18–20 (at "
            f"most 1.5 ×); the first one came after {wall:.0f} and {late_wall:.0f} ms for each new token",
            late_cpu <= 1.5 * cpu)


def long_text(tokens: int) -> str:
    "The same text for the same length, of about so many of Qwen's tokens."
    things = "harbour lamp river garden letter winter bridge kettle orchard violin market window".split()
    deeds = "waits follows carries remembers crosses opens paints answers keeps".split()
    kinds, one = "old green quiet narrow distant bright".split(), random.Random(4).choice
    line = lambda: (f"The {one(kinds)} {one(things)} {one(deeds)} the {one(kinds)} {one(things)} "
                    f"behind the {one(things)}.")
    return "\n".join(line() for _ in range(tokens // 12)) + "\nThe keeper of the lighthouse is called Ingrid Solberg.\n"


def most() -> str: return f"at most 2,000 ms{f', × {patience():.1f} for the load of the machine' * (patience() > 1)}"


def restart(model: Path, options) -> None:
    "A long prompt, then the first token after a restart."
    lines = []
    with Chat(model) as chat:
        (chat.workspace / "files" / "long.txt").write_text(long_text(options.tokens))
        chat.warm()
        load = chat.probe()["load_ms"]
        row = chat.say("What is the keeper of the lighthouse called? @files/long.txt", is_new=True)

        def tell(how: str, row: dict, load: int, restore: int | str = "") -> int:
            f = row["facts"]
            lines.append([how, f["prompt"], f["reused"], f["new"], f["first_ms"], load or "", restore,
                          f["first_ms"] - load, row["content"][:60]])
            print(*lines[-1], flush=True)
            return f["first_ms"] - load

        tell(f"read for the first time (the load before it took {load} ms)", row, 0)
        tell("the next turn", chat.say("Say it again, and nothing else."), 0)
        size = 0
        for how, is_killed in (("SIGTERM", False), ("kill -9 after 3 s of rest", True)):
            chat.rest()
            size = max(path.stat().st_size for path in (chat.workspace / ".run" / "states").iterdir())
            if is_killed: time.sleep(3)
            chat.restart(kill=is_killed)
            row = chat.say("And once more?")          # at once: it waits for the load
            p = chat.probe()
            took = tell(f"{how}, asked at once", row, p["load_ms"], p.get("restore_ms", "none"))
            f = row["facts"]
            verdict("restart", f"{how}: the first token after {f['first_ms']} ms, {took} ms besides the load of the "
                    f"model ({most()} besides it); {f['new']} of {f['prompt']} tokens read", took <= 2000 * patience())
        chat.rest()
        chat.restart()
        chat.warm()
        p = chat.probe()
        row = chat.say("Are you sure?")
        took = tell("SIGTERM, the panel opened before", row, 0, chat.probe().get("restore_ms", "none"))
        verdict("restart", f"the panel opened before, and the model loaded ({p['load_ms']} ms): the first token after "
                f"{took} ms ({most()})", took <= 2000 * patience())
    show("restart", ["how", "prompt", "reused", "new", "first ms", "of it load", "restore ms", "besides the load",
                     "answer"], lines, state_bytes=size)


def aware(model: Path, options) -> None:
    "20 questions about what was done by hand."
    lines = []
    with Chat(model) as chat:
        chat.warm()

        def ask(question: str, wanted: list[list[str]], forbidden: list[str] = (), is_new: bool = False) -> None:
            row = chat.say(question, is_new)
            lines.append(["yes" if fits(row["content"], wanted, forbidden) else "NO", question, row["content"][:160],
                          " and ".join(" or ".join(group) for group in wanted), row["facts"]["ms"]])
            print(*lines[-1][:3], flush=True)

        bank = chat.add("Call the bank")
        ask("What did I just do?", [["call the bank"], ["add", "creat"]], is_new=True)
        milk = chat.add("Buy oat milk")
        ask("Which task did I add last?", [["oat milk"]])
        chat.complete(bank)
        ask("Which task did I complete?", [["call the bank"]], ["oat milk"])
        chat.rename(milk, "Buy soy milk")
        ask("What is the new name of the task that I renamed?", [["soy milk"]])
        junk = chat.add("Sell the piano")
        chat.delete(junk)
        ask("Which task did I delete?", [["piano"]], ["soy milk"])
        ask("Did I delete the task about the bank?", [["no", "not", "n't"]], ["/^yes/"])

        chat.hello("Ada")
        ask("Which pipeline did I run?", [["hello"]], is_new=True)
        chat.import_csv("title\nWater the plants\nFeed the fish\nPost the parcel\n")
        ask("How many tasks did I just import?", [["3", "three"]])
        chat.complete(bank, "")
        ask("Which task did I reopen?", [["call the bank"]])
        chat.add("Holiday in Norway", "notes")
        ask("What is the title of the note that I added?", [["norway"]])
        chat.send("/tasks", title="")
        ask("Was I shown an error just now? What did it say?", [["title", "missing", "filled"]], ["/^no\\b/"])
        chat.send(f"/tasks/{bank}/toggle", field="is_urgent", value="on")
        ask("Which error was I shown last?", [["switch", "is_done"]])

        plumber = chat.add("Phone the plumber")
        at = f"{datetime.now():%H:%M}"
        ask("At what time did I add the task about the plumber?", [[at, at.lstrip("0")]], is_new=True)
        chat.delete(plumber)
        chat.send("/undo")
        ask("What did I undo?", [["plumber", "delet"]])
        chat.get("/journal")
        chat.get("/notes")
        ask("Which page did I open last?", [["notes"]])
        ask("Have I sent any e-mails from here today?", [["no", "not", "n't"]], ["/^yes/"])
        chat.send("/profiles", name="Northwind Ltd")
        ask("Which profile did I add?", [["northwind"]])
        chat.send(f"/tasks/{milk}", priority="high")
        ask("Whose priority did I change, and to what?", [["soy milk"], ["high"]])
        for title in ("Book a table", "Charge the camera"): chat.add(title)
        ask("Name the two tasks that I added last.", [["book a table"], ["camera"]], ["piano"])
        ask("Did I complete the task 'Book a table'?", [["no", "not", "n't"]], ["/^yes/"])
    right = sum(line[0] == "yes" for line in lines)
    show("aware", ["right", "question", "answer", "wanted", "ms"], lines)
    verdict("aware", f"{right} of {len(lines)} questions about what was done are answered rightly (at least 16)",
            right >= 16)


FACTS = [("Remember that my cat is called Momo.", "What is my pet's name?", "momo"),
         ("Remember: the door code of the office is 4711.", "Which number opens the office?", "4711"),
         ("Please remember that I am allergic to peanuts.", "Is there a food that I must not eat?", "peanut"),
         ("Remember that my sister Clara lives in Lyon.", "In which city is Clara at home?", "lyon"),
         ("Remember that our team meeting is on Thursdays at 10.", "When do we meet as a team?", "thursday"),
         ("Remember that I prefer tea to coffee.", "Which hot drink should you offer me?", "tea"),
         ("Remember that the licence plate of my car is KX 204 B.", "What does the plate of my car say?", "kx 204"),
         ("Remember that my dentist is Dr. Okafor.", "Who looks after my teeth?", "okafor"),
         ("Remember that the wifi password is blue-heron-9.", "How do I get into the wifi?", "blue-heron-9"),
         ("Remember that invoices go to Mrs. Lindqvist.", "To whom do I send an invoice?", "lindqvist")]


def memory(model: Path, options) -> None:
    "Ten facts in plain words, a restart, a new conversation, and questions in other words."
    lines = []
    with Chat(model) as chat:
        chat.warm()
        for fact, _, _ in FACTS: print(chat.say(fact)["content"][:80].replace("\n", " "), flush=True)
        kept = len(chat.rows("SELECT * FROM memories"))
        chat.restart()
        for n, (_, question, wanted) in enumerate(FACTS):
            row = chat.say(question, is_new=n == 0)
            told = any(wanted in r["content"].lower() for r in chat.rows(
                "SELECT content FROM messages WHERE role='memories' AND conversation=?", chat.conversation))
            lines.append(["yes" if fits(row["content"], [[wanted]], []) else "NO", "yes" if told else "NO", question,
                          row["content"][:120], wanted])
            print(*lines[-1][:4], flush=True)
    right, told = (sum(line[n] == "yes" for line in lines) for n in (0, 1))
    show("memory", ["right", "told to the model", "question", "answer", "wanted"], lines, kept=kept)
    verdict("memory", f"{kept} of {len(FACTS)} facts are kept", kept == len(FACTS))
    verdict("memory", f"{told} of {len(FACTS)} reach the model when asked for in other words (at least 8)", told >= 8)
    verdict("memory", f"{right} of {len(FACTS)} are answered rightly (at least 8)", right >= 8)


DEEDS = "added|created|deleted|completed|updated|removed|marked|scheduled|renamed|saved|booked|ordered|sent|set up"
CLAIMS = [rf"/\bi(?:'ve| have|'ll| will)?(?: just| now| already)? (?:{DEEDS})\b/",
          rf"/\b(?:has|have) been (?:{DEEDS})\b/", rf"/\b(?:is|are|was|were) (?:now |successfully )?(?:{DEEDS})\b/"]


TALK = ["Good morning!", "Thanks, that helps.", "Some day I might buy a boat.",
        "I really should tidy up my tasks one of these days.", "You could just delete everything, haha."]


def talk(model: Path, options) -> None:
    "Small talk, in which nothing is to be claimed to have been done."
    lines = []
    with Chat(model) as chat:
        chat.warm()
        chat.add("Call the bank")
        for n, text in enumerate(TALK):
            row = chat.say(text, is_new=n == 0)
            lines.append(["yes" if fits(row["content"], [], CLAIMS) else "NO", text, row["content"][:200]])
            print(*lines[-1], flush=True)
        done = chat.rows("SELECT summary FROM journal WHERE actor='model'")
    right = sum(line[0] == "yes" for line in lines)
    show("talk", ["claims nothing", "said", "answer"], lines)
    verdict("talk", f"{right} of {len(lines)} answers claim no deed (at least 4), and {len(done)} were done",
            right >= 4 and not done)


PARTS: dict[str, Callable] = dict(turns=turns, restart=restart, aware=aware, memory=memory, talk=talk)
ABOUT = {name: part.__doc__ for name, part in PARTS.items()} | {
    "marks": "Answers of all parts that go on with what only Sololith writes into the prompt."}


def keep(options, model: Path, began: float, path: Path) -> None:
    "Write what there is so far."
    about = dict(model=model.name, at=f"{datetime.now():%Y-%m-%d %H:%M}", seconds=round(time.monotonic() - began),
                 tokens_of_an_answer=TOKENS, cores=os.cpu_count(), machine=platform.machine(),
                 python=platform.python_version(), load_before=options.load, load_after=round(os.getloadavg()[0], 1))
    path.parent.mkdir(exist_ok=True)
    verdicts.sort(key=lambda found: list(ABOUT).index(found[0]))
    whole = {"about": about, "verdicts": verdicts, "parts": results}
    path.with_suffix(".json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    found = [["ok" if holds else "**FAIL**", part, what] for part, what, holds in verdicts]
    parts = [f"# The chat with {model.stem}, {about['at']}",
             ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in about.items()) + ".",
             table(["", "part", "verdict"], found),
             *[f"## {part}\n\n{ABOUT[part]}\n\n{table(made['names'], made['lines'])}"
               for part, made in results.items()]]
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all, unless some are named")
    parser.add_argument("--model", default=DEFAULT, help="a name of the catalogue")
    parser.add_argument("--tokens", type=int, default=4000, help="of the long text in the part restart")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS: parser.error(f"there is no part {part}: {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    model, began, options.load = weights(options.model), time.monotonic(), round(os.getloadavg()[0], 1)
    path = Path(__file__).parent / "results" / f"chat-{datetime.now():%Y-%m-%d}"
    if options.model != DEFAULT: path = path.with_name(f"{path.name}-{options.model.replace('.', '_')}")
    if options.parts and path.with_suffix(".json").exists():  # what is not run anew stays
        before = json.loads(path.with_suffix(".json").read_text())
        results.update({part: found for part, found in before["parts"].items() if part not in options.parts})
        verdicts.extend(tuple(found) for found in before["verdicts"] if found[0] not in options.parts)
    for part in options.parts or PARTS:
        at = time.monotonic()
        try: PARTS[part](model, options)
        except AssertionError as e: verdict(part, f"it broke off: {str(e)[:300]}", False)
        results.setdefault(part, {"names": ["nothing"], "lines": []})["seconds"] = round(time.monotonic() - at)
        keep(options, model, began, path)
    if not options.parts:
        marked = [text for text in said if re.search(r"\[(app events|memories|attached|what was said)", text)]
        show("marks", ["answer"], [[text[:200]] for text in marked])
        verdict("marks", f"{len(marked)} of {len(said)} answers go on with marks of the prompt (at most 0)", not marked)
        keep(options, model, began, path)
    print(f"\n{sum(holds for *_, holds in verdicts)} of {len(verdicts)} verdicts hold; {path.relative_to(ROOT)}.md")
    return 0 if all(holds for *_, holds in verdicts) else 1


if __name__ == "__main__": raise SystemExit(main())
