"Notes: what you want to keep, in Markdown."
from sololith import *


@dataclass
class Note:
    "A page of your own words."
    title: str
    body: Markdown = ""


notes = crud(Note)
