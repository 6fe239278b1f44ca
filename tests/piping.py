"""Drive runs from outside, as their pages do: start one by its form, answer its steps, look how it stands.

    run = begin(server, "hello", name="Ann").until("waiting")
    run.answer("greeting", tone="cool").until("done")
    assert run["letter"]["value"].startswith("Ann.")
"""
import re
import time
from pathlib import Path

import apsw
from helpers import Answer, Server, patience, wait_for
from helpers import read as rows

HTMX = {"HX_Request": "true"}


def write(database: Path, sql: str, *args) -> None:
    "What would take long by hand: many runs, a schedule that is due."
    connection = apsw.Connection(str(database))
    try:
        connection.set_busy_timeout(10_000)
        with connection: connection.execute(sql, args)
    finally: connection.close()


def card(html: str, step: str) -> str:
    "One step's part of a run's page."
    found = re.search(rf'<section id="step-{step}".*?</section>', html, re.S)
    assert found, f"no card of {step} in {html[-2000:]}"
    return found[0]


class Driven:
    "A run, by its number."
    def __init__(self, server: Server, run_id: int): self.server, self.id, self.url = server, run_id, f"/runs/{run_id}"

    def state(self) -> str:
        "Its status as its page shows it; `running` as long as it can be cancelled."
        html = self.server.get(f"{self.url}/live?since={10**9}", **HTMX).text
        found = re.search(r"status-(\w+)", html)
        assert found, html
        return "running" if '"cancel"' in html else found[1]

    def until(self, *status: str, limit: float = 15) -> "Driven":
        wanted = status or ("done", "failed", "waiting", "cancelled", "interrupted")
        now, since = "", time.monotonic()
        while now not in wanted:  # what has come to rest elsewhere is given a moment: an outer run goes on by itself
            if (new := self.state()) != now: now, since = new, time.monotonic()
            elif time.monotonic() - since > (limit if now == "running" else 1.5) * patience(): break
            time.sleep(0.02)
        assert now in wanted, f"{now}, not {wanted}: {[(s['name'], s['status'], s['error']) for s in self.steps()]}"
        return self

    def export(self) -> dict: return self.server.get(f"{self.url}/export.json").json()
    def steps(self) -> list[dict]: return self.export()["steps"]
    def statuses(self) -> dict[str, str]: return {s["name"]: s["status"] for s in self.steps()}
    def values(self) -> dict: return {s["name"]: s["value"] for s in self.steps()}
    def __getitem__(self, step: str) -> dict: return next(s for s in self.steps() if s["name"] == step)
    def page(self) -> str: return self.server.get(self.url).text
    def card(self, step: str) -> str: return card(self.page(), step)
    def raw(self) -> dict[str, dict]:
        return {r["name"]: r for r in rows(self.server.workspace / "data.db", "SELECT * FROM steps WHERE run=?", self.id)}

    def version(self, step: str) -> str:
        html = self.server.get(f"{self.url}/steps/{step}", **HTMX).text
        found = re.search(r'name="_version" value="(\d+)"', html)
        assert found, html
        return found[1]

    def send(self, step: str, version: str | None = None, **answers) -> Answer:
        "A step's form, as a tab sends it."
        return self.server.post(f"{self.url}/steps/{step}", {**answers, "_version": version or self.version(step)}, **HTMX)

    def answer(self, step: str, **answers) -> "Driven":
        answered = self.send(step, **answers)
        assert answered.status == 200, answered
        return self

    def act(self, act: str, **more) -> Answer: return self.server.post(f"{self.url}/act", {"act": act, **more}, **HTMX)

    def do(self, act: str, **more) -> "Driven":
        answered = self.act(act, **more)
        assert answered.status == 200, answered
        return self

    def ends_within(self, seconds: float) -> float:
        "How long it takes from now until it is no longer at work."
        began = time.monotonic()
        wait_for(lambda: self.state() != "running", seconds * patience() + 5, "its end")
        took = time.monotonic() - began
        assert took < seconds * patience(), f"it took {took:.1f} s"
        return took


def sent(server: Server, pipeline: str, **answers) -> Answer: return server.post(f"/{pipeline}", answers, **HTMX)


def begin(server: Server, pipeline: str, **answers) -> Driven:
    "Send the form of a pipeline's page."
    answer = sent(server, pipeline, **answers)
    assert answer.status == 200 and answer.headers.get("HX-Redirect"), answer
    return Driven(server, int(answer.headers["HX-Redirect"].rpartition("/")[2]))
