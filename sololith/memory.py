"""What the model remembers, and the person can read, search, edit and delete on the page Memories.

    remember("My cat is called Momo.")                      # always; or lifetime="conversation", "turn"
    recall("what is my cat called?")                        # the memories that share words with a text, best first

Found memories are put at the end of a conversation, each once, never into what was said before. One of a `turn` is told
in the next turn and then forgotten. The words are looked up in SQLite's full text index; meaning is not.
"""
import re
from dataclasses import dataclass
from typing import Any, Literal
from .crud import BaseApp
from .base import *
from .fields import Text
from .store import db, store

# Words that say nothing of what a question is about.
COMMON = set("""about and are aus bei can das dem den der did die does dir for from had has hast have hat how ich ist know
    konnte mein meine mir mit remember sag say sich sind tell that the their them they this und und von was were what when
    where which who why wie wir with wo you your über""".split())
LONGEST_MEMORY = 2000  # characters


@dataclass
class Memory:
    "Something that the model is to know: always, in one conversation, or in the next turn only."
    text: Text
    lifetime: Literal["always", "conversation", "turn"] = "always"
    conversation: int | None = None


class MemoriesApp(BaseApp):
    "What the model knows about you and your work. What you change here, it is told from then on."
    record, section, readonly = Memory, "system", ("conversation",)

    def columns(self) -> list[str]: return ["text", "lifetime"]

    def prepare_insert(self, data: dict) -> dict:
        if len(data.get("text") or "") > LONGEST_MEMORY:
            raise Problem(f"A memory has at most {LONGEST_MEMORY:,} characters.",
                fix="Keep a note, and remember where it is.")
        if data.get("lifetime") != "conversation": return data | {"conversation": None}
        if here := data.get("conversation") or store.get("ui.chat"): return data | {"conversation": here}
        raise Problem("There is no conversation yet.", fix="Say something first, or choose another lifetime.")

    def prepare_update(self, record: Any, data: dict) -> dict:
        return self.prepare_insert({"lifetime": record.lifetime, "conversation": record.conversation} | data)


memories = MemoriesApp()


def remember(text: str, lifetime: Literal["always", "conversation", "turn"] = "always",
        conversation: int | None = None) -> Any:
    "Keep something for the model; the memory. What is known already is not kept twice. Raises Problem where it is empty."
    known = memories("text=? AND lifetime=? AND conversation IS ?", [text.strip(), lifetime, conversation], limit=1)
    return known[0] if known else memories.insert(text=text.strip(), lifetime=lifetime, conversation=conversation)


def recall(text: str, limit: int = 5, conversation: int | None = None) -> list[Any]:
    "The memories that a text is about, best first: those of always, and those of a conversation."
    words = {w[:-1] if len(w) > 4 else w for w in re.findall(r"[^\W_]{3,}", text.lower()) if w not in COMMON}
    if not words: return []
    start = db.numbers[memories.ready().name] << 40
    found = db.query("""SELECT rowid - ?1 AS id FROM search WHERE search MATCH ?2 AND rowid BETWEEN ?1 AND ?1 + (1 << 40)
        ORDER BY bm25(search) LIMIT ?3""", [start, "title : (" + " OR ".join(f'"{w}"*' for w in words) + ")", limit * 4])
    known = {m.id: m for m in memories(f"id IN ({','.join('?' * len(found))})", [row["id"] for row in found])}
    fitting = [known[row["id"]] for row in found if row["id"] in known]
    return [m for m in fitting if m.lifetime == "always" or m.conversation == conversation][:limit]
