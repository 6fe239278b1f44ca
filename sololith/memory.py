"""What the model remembers, and the person can read, search, edit and delete on the page Memories.

    remember("My cat is called Momo.")                      # always; or lifetime="conversation", "turn"
    recall("what is my cat called?")                        # the memories that share words with a text, best first

Found memories are put at the end of a conversation, each once, never into what was said before. One of a `turn` is told
in the next turn and then forgotten. The words are looked up in SQLite's full text index; meaning is not.
"""
from dataclasses import dataclass
from typing import Any, Literal
from .crud import BaseApp
from .base import *
from .fields import Text
from .store import db, store
from .tools import tool

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


@tool(name="remember", kind="add", rehearses=True)
def remember_tool(text: str) -> None:
    "Keep a fact about the person for all later conversations."
    remember(text)


@tool(name="recall", reads=True, is_usual=False)
def recall_tool(text: str) -> str:
    "Look up what is remembered about something."
    return "\n".join(m.text for m in recall(text, 10)) or "Nothing is remembered about that."


def recall(text: str, limit: int = 5, conversation: int | None = None) -> list[Any]:
    "The memories that a text is about, best first: those of always, and those of a conversation."
    found = [i for _, i in db.related(text, limit * 4, memories.ready().name)]
    known = {m.id: m for m in memories(f"id IN ({','.join('?' * len(found))})", found)}
    fitting = [known[i] for i in found if i in known]
    return [m for m in fitting if m.lifetime == "always" or m.conversation == conversation][:limit]
