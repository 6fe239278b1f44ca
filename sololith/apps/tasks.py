"Tasks: what is to be done, in your order."
from sololith import *


@dataclass
class Task:
    "Something to do. Drag a row, or press Alt and an arrow, to put it where it belongs."
    title: str
    notes: Text = ""
    due: date | None = None
    is_done: bool = False
    priority: Literal["low", "normal", "high"] = "normal"
    position: int = 0
    profile: Profile | None = None


tasks = crud(Task)
