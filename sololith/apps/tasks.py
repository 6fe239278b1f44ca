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


class TasksApp(BaseApp):
    "The built-in task list."
    record = Task

    def columns(self):
        return store.get("ui.columns.tasks") or ["title", "due", "priority",
            "is_done"] + ([] if store.get("profile") else ["profile"])


tasks = TasksApp()
