"Hello: three steps that show what a pipeline is. A question, a choice that follows from it, a letter."
from sololith import *

greet = pipeline("Hello", "Three steps that show what a pipeline is: a question, a choice, a letter.")


@greet.step
def name(name: str = "World"):
    "Whom shall we greet?"
    return name.strip()


@greet.step
def greeting(name, tone: Literal["warm", "cool"] = "warm"):
    "How shall it sound?"
    return f"Dear {name}" if tone == "warm" else f"{name}."


@greet.step
async def letter(greeting, ask: Ask) -> Markdown:
    "The letter, ready to be sent: the model writes it, where there is one."
    if await ask.is_ready(): return await ask(f"Write a friendly letter of two lines. It begins with: {greeting}")
    return f"{greeting},\n\nthis is the first of many letters that your own machine writes.\n\n*Yours, Sololith*"
