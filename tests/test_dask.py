"each() on a real Dask cluster: two worker processes on this machine, one of which is killed in the middle."
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import apsw
import pytest
from helpers import cli, wait_for

distributed = pytest.importorskip("distributed")

HEAVY = '''
"Heavy: work for more than one machine."
from sololith import *
import os, time

heavy = pipeline("Heavy")
SHIFT = 1000

def work(n):
    time.sleep(0.02)
    if n == 13: raise ValueError("thirteen")
    return n + SHIFT, os.getpid()

@heavy.step
def numbers(count: int = 200):
    return list(range(count))

@heavy.step
def done(numbers):
    found = list(each(numbers, work))
    return {"values": [n for n, _ in found], "workers": sorted({pid for _, pid in found}), "here": os.getpid()}
'''


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
                                  dashboard_address=None, silence_logs=50) as cluster:
        with distributed.Client(cluster) as client:
            client.wait_for_workers(2)
            yield cluster, client


def address(cluster) -> str: return cluster.scheduler_address.replace("tcp://", "dask://")


def kill_when_busy(workspace, pid: int) -> int:
    "kill -9 a worker once some items are done; how many then were."
    database = apsw.Connection(str(workspace / "data.db"), flags=apsw.SQLITE_OPEN_READONLY)
    database.set_busy_timeout(5000)
    count = lambda: database.execute("SELECT count(*) FROM items WHERE run = (SELECT max(id) FROM runs)").get
    now = wait_for(lambda: (n := count()) > 60 and n < 400 and n, 60, "some items to be done")
    os.kill(pid, signal.SIGKILL)
    return now


def run(workspace, *args: str) -> dict:
    done = cli("run", "heavy", *args, "--json", "--workspace", str(workspace), limit=90)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["value"]


def test_the_same_pipeline_gives_the_same_here_and_on_a_cluster_of_which_a_worker_dies(cluster, workspace, plugin):
    plugin("heavy", HEAVY)
    here = run(workspace, "--count", "40")
    assert here["workers"] == [here["here"]]

    pids = list(cluster[1].run(os.getpid).values())
    assert len(pids) == 2
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill_when_busy, workspace, pids[0])
        there = run(workspace, "--count", "400", "--executor", address(cluster[0]))
    done_before = killing.result()
    assert 0 < done_before < 390  # it was in the middle
    assert there["values"] == [n + 1000 for n in range(400) if n != 13]
    assert there["here"] not in there["workers"] and pids[1] in there["workers"]
    wait_for(lambda: len(cluster[1].scheduler_info()["workers"]) == 2, 20, "the worker that its nanny starts again")


def test_what_failed_on_the_cluster_is_kept_with_its_item(cluster, start, plugin):
    plugin("heavy", HEAVY)
    server = start()
    done = server.cli("run", "heavy", "--count", "20", "--executor", address(cluster[0]), "--json", limit=60)
    run_id = json.loads(done.stdout)["run"]
    page = server.get(f"/runs/{run_id}").text
    assert "1 items failed" in page and "13: ValueError: thirteen" in re.sub(r"<[^>]+>", "", page)


def test_a_cluster_that_is_not_there_is_said_so(workspace, plugin):
    plugin("heavy", HEAVY)
    done = cli("run", "heavy", "--executor", "dask://127.0.0.1:9", "--workspace", str(workspace), limit=60)
    assert done.returncode == 1 and "No Dask cluster answers at 127.0.0.1:9." in done.stderr
    done = cli("run", "heavy", "--executor", "spark://x", "--workspace", str(workspace), limit=60)
    assert done.returncode == 1 and "spark://x is no executor." in done.stderr
