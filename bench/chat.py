"""What we add to a model's words: CPU a token, and the way from the model's socket to the tab's. `python bench/chat.py`

The scripted model of the tests sends 5,000 tokens at 500 a second, by Ollama's protocol and by OpenAI's, as paragraphs,
as one block of code that does not end (the worst case: an open block is drawn again and again), and as a list. A
WebSocket hears them as a tab does. The delay of a token is from when it was sent until a message came that has it; the
server gathers for some 30 ms on purpose, so half of that is no cost of ours.
"""
import bisect
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests")]
from helpers import Server, p95, read, wait_for  # noqa: E402
from model_server import ModelServer  # noqa: E402
from run import report, rows  # noqa: E402

TOKENS, RATE = 5000, 500
SHAPES = {"paragraphs": lambda n: f"w{n} " + "\n\n" * (n % 60 == 59),
          "one block of code": lambda n: "```\n" * (n == 0) + f"w{n} " + "\n" * (n % 12 == 11),
          "a list": lambda n: "- " * (n % 15 == 0) + f"w{n} " + "\n" * (n % 15 == 14)}


class Told:
    "The pieces of an answer; `sent[n]` is when piece n had gone out, which is when the next one is asked for."
    def __init__(self, shape): self.shape, self.sent = shape, []

    def __iter__(self) -> Iterator[str]:
        for n in range(TOKENS):
            yield self.shape(n)
            self.sent.append(time.perf_counter())


def seconds_of(pid: int) -> float:
    "CPU that a process has used, in the kernel and outside."
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def newest(server: Server) -> dict:
    sql = "SELECT * FROM messages WHERE role='assistant' ORDER BY id DESC LIMIT 1"
    return read(server.workspace / "data.db", sql)[0]


def measured(server: Server, model: ModelServer, shape) -> tuple[float, float, float, int]:
    "One answer: CPU ms a token, the delays' p50 and p95 in ms, messages to the tab."
    told, came, done, count = Told(shape), {}, threading.Event(), 0
    model.says(pieces=told, rate=RATE)

    def hear() -> None:
        nonlocal count
        while not done.is_set():
            try: message = json.loads(tab.recv(timeout=.2))
            except TimeoutError: continue
            now = time.perf_counter()
            if not message.get("answer"): continue
            count += 1
            if found := re.findall(r"w(\d+)", "".join(message["blocks"])): came[int(found[-1])] = now

    with server.ws() as tab:
        ear = threading.Thread(target=hear)
        ear.start()
        before = seconds_of(server.pid)
        server.post("/chat", {"c": 0, "text": "Go on."}, HX_Request="true")
        time.sleep(TOKENS / RATE)
        wait_for(lambda: newest(server)["status"] != "running", 120, "the end")
        spent = seconds_of(server.pid) - before
        done.set()
        ear.join()
    said = newest(server)
    assert said["status"] == "done" and re.findall(r"w\d+", said["content"])[-1] == f"w{TOKENS - 1}", said["facts"]
    heard, delays = sorted(came), []
    for n, at in enumerate(told.sent):
        if (after := bisect.bisect_left(heard, n)) < len(heard): delays.append((came[heard[after]] - at) * 1000)
    return spent * 1000 / TOKENS, statistics.median(delays), statistics.quantiles(delays, n=20)[-1], count


def page_meanwhile(server: Server, model: ModelServer) -> float:
    model.says(pieces=Told(SHAPES["paragraphs"]), rate=RATE)
    with server.ws() as tab:
        ear = threading.Thread(target=lambda: [None for _ in tab])
        ear.start()
        server.post("/chat", {"c": 0, "text": "Go on."}, HX_Request="true")
        time.sleep(1)
        took = p95(lambda: server.get("/tasks"), 40)
        assert newest(server)["status"] == "running"
        wait_for(lambda: newest(server)["status"] != "running", 120, "the end")
    ear.join()
    return took


def main() -> int:
    for protocol in ("ollama", "openai"):
        folder = Path(tempfile.mkdtemp(prefix="sololith-bench-")) / "workspace"
        with ModelServer() as model, Server(folder).start(env={"OLLAMA_HOST": f"127.0.0.1:{model.port}"}) as server:
            if protocol == "openai":
                assert server.post("/models/server", {"url": f"{model.url}/v1", "model": "scripted"}).status == 200
            server.get("/chat", HX_Request="true")
            for name, shape in SHAPES.items():
                cpu, half, most, count = measured(server, model, shape)
                report(f"{protocol}, {name}: CPU a streamed token", cpu, None, 5, "ms")
                report(f"{protocol}, {name}: model to tab, p50 ({count} messages)", half, None, 100, "ms")
                report(f"{protocol}, {name}: model to tab, p95", most, None, 200, "ms")
            report(f"{protocol}: another page meanwhile, p95", page_meanwhile(server, model), None, 100, "ms")
            report(f"{protocol}: memory after {(len(SHAPES) + 1) * TOKENS:,} tokens", server.memory(), None, 90, "MB")
    over = [row[0] for row in rows if not row[5]]
    print(f"\n{len(rows) - len(over)} of {len(rows)} budgets hold" + (f"; over: {', '.join(over)}" if over else ""))
    return 1 if over else 0


if __name__ == "__main__": raise SystemExit(main())
