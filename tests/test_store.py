"""The SQLite file: tables typed both ways, the journal and undo, transactions, schema, settings, search, backups."""
import asyncio
import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

import apsw
import pytest
from helpers import chapter

store_, base, fields_ = chapter("store"), chapter("base"), chapter("fields")
db, table, store, Problem, actor, cause = store_.db, store_.table, store_.store, base.Problem, store_.actor, store_.cause
Text, Tags, Json, Email = fields_.Text, fields_.Tags, fields_.Json, fields_.Email


@dataclass
class Recipe:
    title: str
    servings: int = 2
    course: Literal["starter", "main", "dessert"] = "main"
    is_cooked: bool = False
    cook_by: date | None = None
    price: Decimal | None = None
    notes: Text = ""
    tags: Tags = field(default_factory=list)
    data: Json = None


@pytest.fixture
def file(tmp_path):
    "A fresh database, open in this process."
    db.open(tmp_path / "data.db")
    yield tmp_path / "data.db"
    db.close()


@pytest.fixture
def recipes(file): return table(Recipe)


def reopen(path):
    db.close()
    db.open(path)


def dump(*apps: str) -> dict:
    "All that is kept of these tables, search text included."
    rows = {app: db.query(f'SELECT * FROM "{app}" ORDER BY id') for app in apps}
    return rows | {"searchable": sorted(db.search("a", 10_000) + db.search("r", 10_000))}


def entries() -> list[dict]: return db.entries(limit=-1)


# ─── MiniDataAPI

def test_what_is_inserted_comes_back_typed(recipes, file):
    given = {"title": "Soup", "servings": 4, "course": "starter", "is_cooked": True, "cook_by": date(2026, 12, 24), "price": Decimal("9.90"), "notes": "a\nb", "tags": ["hot", "ö"], "data": {"a": [1]}}
    made = recipes.insert(**given)
    reopen(file)
    for record in (made, recipes[made.id], recipes()[0]):
        assert isinstance(record, Recipe) and record.id == 1
        assert {n: getattr(record, n) for n in given} == given
        assert all(type(getattr(record, n)) is type(v) for n, v in given.items())


def test_insert_takes_a_record_a_dict_or_keywords(recipes):
    made = [recipes.insert(Recipe("A", servings=3)), recipes.insert({"title": "B", "servings": "3"}), recipes.insert(title="C", servings=3), recipes.insert({"title": "x"}, title="D", servings=3)]
    assert [(r.id, r.title, r.servings) for r in made] == [(1, "A", 3), (2, "B", 3), (3, "C", 3), (4, "D", 3)]
    assert recipes.insert(title="E").servings == 2 and recipes.insert(title="F").tags == []


def test_wrong_values_are_all_named_and_nothing_is_written(recipes):
    with pytest.raises(Problem) as caught: recipes.insert(title="", servings="many", cook_by="soon")
    assert caught.value.status == 422 and set(caught.value.fields) == {"title", "servings", "cook_by"}
    assert caught.value.fields["cook_by"] == "cook_by is 'soon', which is not a date. Give a date such as 2026-12-24."
    with pytest.raises(Problem, match=r"^recipes has no field tilte\. Did you mean title\?$"): recipes.insert(tilte="Soup")
    assert recipes() == [] and entries() == []


def test_update_changes_what_is_given_and_nothing_else(recipes):
    soup = recipes.insert(title="Soup", servings=4, tags=["hot"])
    assert recipes.update(id=soup.id, title="Stew").title == "Stew"
    assert (recipes[soup.id].servings, recipes[soup.id].tags) == (4, ["hot"])
    record = recipes[soup.id]
    record.servings, record.is_cooked = 6, True
    recipes.update(record)
    assert (recipes[soup.id].title, recipes[soup.id].servings, recipes[soup.id].is_cooked) == ("Stew", 6, True)
    recipes.update({"id": soup.id, "servings": None, "tags": []}, title="Broth")
    assert (recipes[soup.id].title, recipes[soup.id].servings, recipes[soup.id].tags) == ("Broth", 2, [])


def test_an_update_that_changes_nothing_is_not_in_the_journal(recipes):
    soup = recipes.insert(title="Soup")
    recipes.update(recipes[soup.id])
    recipes.update(id=soup.id, title=" Soup ")
    assert len(entries()) == 1


def test_upsert_updates_what_is_there_and_inserts_what_is_not(recipes):
    first = recipes.upsert(title="A")
    assert recipes.upsert(id=first.id, title="B").id == first.id and len(recipes()) == 1
    assert recipes.upsert(id=77, title="C").id == 77 and recipes.upsert(Recipe("D")).id == 78
    assert [r.title for r in recipes(order_by="id")] == ["B", "C", "D"]


def test_delete_and_look_ups_of_what_is_not_there_say_so(recipes):
    soup = recipes.insert(title="Soup")
    recipes.delete(soup.id)
    for lookup in (lambda: recipes[soup.id], lambda: recipes.delete(soup.id), lambda: recipes.update(id=soup.id, title="x"), lambda: recipes["1"], lambda: recipes[2**70],
                   lambda: recipes[None], lambda: recipes[-1], lambda: recipes.update(title="x"), lambda: recipes.delete("1 OR 1")):
        with pytest.raises(Problem, match=r"^There is no recipe .+ in recipes\. It may have been deleted: see the journal\.$") as caught: lookup()
        assert caught.value.status == 404
    assert soup.id not in recipes and recipes.count() == 0


def test_an_id_that_is_taken_or_makes_no_sense_is_refused(recipes):
    recipes.insert(id=5, title="Soup")
    for record_id in (5, "abc", -1, 0, 2**62, 2**70, 1.5, True):
        with pytest.raises(Problem, match=f"{str(record_id)[:20]}.*id"): recipes.insert(id=record_id, title="Stew")
    assert [r.title for r in recipes()] == ["Soup"]


def test_ids_are_never_used_again(recipes):
    first = recipes.insert(title="A")
    recipes.delete(first.id)
    assert recipes.insert(title="B").id == first.id + 1


def test_where_values_are_bound_and_never_spliced(recipes):
    evil = "x' OR '1'='1"
    for title in (evil, "Soup", "a;b"): recipes.insert(title=title)
    assert [r.title for r in recipes(where="title = ?", where_args=[evil])] == [evil]
    assert recipes.count("title = ?", [evil]) == 1 and len(recipes(where="title = ? OR title = ?", where_args=["Soup", "a;b"])) == 2
    assert [r.title for r in recipes.xtra(title=evil)()] == [evil]
    assert len(recipes(where="title=? OR 1", where_args=["Soup"])) == 3
    assert len(recipes.xtra(title="Soup")(where="1 OR title=?", where_args=["none"])) == 1, "the limit holds whatever `where` says"


def test_order_limit_and_offset(recipes):
    for title, servings, price in (("a", 3, "10"), ("b", 1, "9.5"), ("c", 3, "100")): recipes.insert(title=title, servings=servings, price=price)
    titles = lambda **given: "".join(r.title for r in recipes(**given))
    assert titles(order_by="title desc") == "cba" and titles(order_by="servings, title DESC") == "bca" and titles(order_by="id") == "abc"
    assert titles(order_by="price") == "bac", "as numbers, not as text"
    assert titles(order_by="id", limit=1, offset=1) == "b" and titles(order_by="id", offset=2) == "c" and titles(limit=0) == ""


@pytest.mark.parametrize("order", ["nothing", "title; DROP TABLE recipes", "title up", "title desc, 1", "(select 1)", "title -- x", "title desc desc", "-title", "titel"])
def test_an_order_that_makes_no_sense_is_refused(recipes, order):
    recipes.insert(title="a")
    with pytest.raises(Problem, match="recipes cannot be ordered by"): recipes(order_by=order)
    assert recipes.count() == 1


def test_xtra_limits_a_table_of_its_own_and_is_not_sticky(recipes):
    recipes.insert(title="Soup", course="starter")
    desserts = recipes.xtra(course="dessert")
    cake = desserts.insert(title="Cake")
    assert cake.course == "dessert" and [r.title for r in desserts()] == ["Cake"] and desserts.count() == 1
    assert [r.title for r in recipes()] == ["Soup", "Cake"], "the shared table stays as it was"
    assert recipes.insert(title="Stew").course == "main"
    for action in (lambda: desserts[1], lambda: desserts.update(id=1, title="x"), lambda: desserts.delete(1)):
        with pytest.raises(Problem, match="There is no recipe 1"): action()
    assert 1 not in desserts and cake.id in desserts
    assert [r.title for r in desserts.xtra(title="Cake")()] == ["Cake"] and desserts.xtra(title="Soup")() == [] and desserts.count() == 1
    assert desserts.insert(title="Pie", course="main").course == "dessert", "what is fixed wins"
    with pytest.raises(Problem, match="course is 'cake'"): recipes.xtra(course="cake")


def test_plural_names():
    assert [store_.plural(w) for w in ("Recipe", "ToDo", "Category", "Day", "Box", "Class", "Church", "Dish", "HTTPCall")] == \
        ["recipes", "to_dos", "categories", "days", "boxes", "classes", "churches", "dishes", "httpcalls"]


@pytest.mark.parametrize("name", ["settings", "numbers", "journal", "search", "sqlite_sequence", "SETTINGS", "search_data"])
def test_a_record_cannot_take_over_a_table_of_ours(file, name):
    "crud(Setting) would make its table `settings`, which is where `store` lives."
    before = db.query("SELECT name, sql FROM sqlite_master ORDER BY name")
    with pytest.raises(Problem, match=rf"{name}"): table(Recipe, name).insert(title="x")
    assert db.query("SELECT name, sql FROM sqlite_master ORDER BY name") == before


# ─── the journal

def test_each_write_is_one_entry_that_says_who_what_and_why(recipes):
    tokens = actor.set("model"), cause.set("turn 7")
    try: soup = recipes.insert(title="Soup")
    finally: actor.reset(tokens[0]), cause.reset(tokens[1])
    recipes.update(id=soup.id, servings=4, is_cooked=True)
    recipes.delete(soup.id)
    deleted, changed, added = entries()
    assert (added["actor"], added["cause"], added["app"], added["verb"], added["record_id"], added["summary"]) == ("model", "turn 7", "recipes", "insert", 1, "added “Soup”")
    assert (changed["actor"], changed["cause"], changed["verb"]) == ("person", "", "update")
    assert changed["summary"] == "changed “Soup”: servings 2 → 4, is_cooked no → yes"
    assert json.loads(changed["before"]) == {"servings": 2, "is_cooked": 0} and json.loads(changed["after"]) == {"servings": 4, "is_cooked": 1}
    assert added["before"] is None and json.loads(added["after"])["title"] == "Soup" and deleted["after"] is None and json.loads(deleted["before"])["servings"] == 4
    assert deleted["summary"] == "deleted “Soup”"
    assert abs(datetime.fromisoformat(added["at"]).timestamp() - time.time()) < 60 and added["at"].endswith("+00:00")


def test_summaries_stay_short(recipes):
    soup = recipes.insert(title="x" * 10_000, notes="y" * 10_000)
    recipes.update(id=soup.id, title="z" * 10_000, notes="n" * 10_000)
    assert all(len(e["summary"]) <= 200 for e in entries())


def test_entries_are_paged_newest_first(recipes):
    for n in range(12): recipes.insert(title=f"r{n}")
    assert [e["id"] for e in db.entries(limit=5)] == [12, 11, 10, 9, 8] and [e["id"] for e in db.entries(limit=5, offset=10)] == [2, 1]
    assert [e["record_id"] for e in db.entries("app=? AND record_id=?", ["recipes", 3])] == [3]
    assert db.last_id() == 12 and db.last_id("recipes", 3) == 3 and db.last_id("recipes", 99) == 0


@pytest.mark.parametrize("sql", [
    "DELETE FROM journal", "DELETE FROM journal WHERE id=1", "UPDATE journal SET summary='nothing'", "UPDATE journal SET actor='model'", "UPDATE journal SET before=NULL, after=NULL",
    "UPDATE journal SET at='2000-01-01'", "UPDATE journal SET id=99 WHERE id=1", "UPDATE journal SET part_of=1", "UPDATE journal SET cause='x'", "UPDATE journal SET undone_by=NULL WHERE id=2", "UPDATE journal SET undone_by=1 WHERE id=2",
    "INSERT OR REPLACE INTO journal(id, at, actor, cause, app, verb, summary) VALUES (1, '', '', '', '', '', 'other')", "REPLACE INTO journal SELECT * FROM journal",
    "INSERT INTO journal(id, at, actor, cause, app, verb, summary) VALUES (1, '', '', '', '', '', 'x') ON CONFLICT(id) DO UPDATE SET summary='other'", "UPDATE OR REPLACE journal SET id=1 WHERE id=2"])
def test_the_journal_is_append_only_even_for_sql(recipes, file, sql):
    "From our own connection and from any other program's."
    recipes.insert(title="Soup")
    recipes.insert(title="Stew")
    db.undo(2)
    before = db.query("SELECT * FROM journal ORDER BY id")
    with pytest.raises(apsw.ConstraintError): db.execute(sql)
    with contextlib.closing(sqlite3.connect(file)) as other:
        with pytest.raises(sqlite3.DatabaseError, match="append-only"): other.execute(sql)
        other.rollback()
    assert db.query("SELECT * FROM journal ORDER BY id") == before
    assert recipes.insert(title="Cake").id == 3, "and it still works"


# ─── undo and redo

def test_undo_takes_back_an_insert_an_update_and_a_delete(recipes):
    soup = recipes.insert(title="Soup")
    recipes.update(id=soup.id, servings=9)
    recipes.delete(soup.id)
    assert db.undo()["summary"] == "undo: deleted “Soup”" and recipes[soup.id].servings == 9
    assert db.undo()["record_id"] == soup.id and recipes[soup.id].servings == 2
    db.undo()
    assert recipes() == []
    with pytest.raises(Problem, match=r"^There is nothing to undo\.") as caught: db.undo()
    assert caught.value.status == 404


def test_undo_of_an_undo_is_redo_and_so_on(recipes):
    soup = recipes.insert(title="Soup")
    last = recipes.update(id=soup.id, servings=9) and db.last_id()
    for expected, verb in ((2, "undo"), (9, "redo"), (2, "undo"), (9, "redo")):
        entry = db.undo(last)
        assert recipes[soup.id].servings == expected and entry["verb"] == verb
        assert entry["summary"] == f"{verb}: changed “Soup”: servings 2 → 9"
        assert db.entries("id=?", [last])[0]["undone_by"] == entry["id"]
        last = entry["id"]


def test_redo_without_an_entry_takes_back_the_newest_undo(recipes):
    for title in "abc": recipes.insert(title=title)
    db.undo(), db.undo()
    assert len(recipes()) == 1
    db.undo(redo=True)
    assert [r.title for r in recipes()] == ["a", "b"]
    db.undo(redo=True)
    assert [r.title for r in recipes()] == ["a", "b", "c"]
    with pytest.raises(Problem, match="nothing to redo"): db.undo(redo=True)
    db.undo()
    assert [r.title for r in recipes()] == ["a", "b"], "what was redone last is undone first"


def test_an_entry_is_undone_once(recipes):
    recipes.insert(title="Soup")
    db.undo(1)
    with pytest.raises(Problem, match=r"^Entry 1 is undone already, by entry 2\. Undo that one to redo this\.$") as caught: db.undo(1)
    assert caught.value.status == 409
    for missing in (99, 2**62, 2**70, -5):
        with pytest.raises(Problem, match=r"^There is no journal entry -?\d+\. See `sololith journal`\.$"): db.undo(missing)


def test_a_conflict_is_told_and_nothing_is_changed(recipes):
    soup = recipes.insert(title="Soup")
    first = recipes.update(id=soup.id, servings=4, is_cooked=True) and db.last_id()
    recipes.update(id=soup.id, servings=6)
    before = dump("recipes", "journal")
    with pytest.raises(Problem, match=r"^“Soup” has changed since: servings is 6, not 4\. Undo the later change \(entry 3\) first\.$") as caught: db.undo(first)
    assert caught.value.status == 409 and dump("recipes", "journal") == before
    db.undo(3), db.undo(first)
    assert (recipes[soup.id].servings, recipes[soup.id].is_cooked) == (2, False)


def test_a_change_of_another_field_is_no_conflict(recipes):
    soup = recipes.insert(title="Soup")
    first = recipes.update(id=soup.id, servings=4) and db.last_id()
    recipes.update(id=soup.id, title="Stew")
    db.undo(first)
    assert (recipes[soup.id].title, recipes[soup.id].servings) == ("Stew", 2)


def test_undo_of_what_was_deleted_since_is_a_conflict(recipes):
    soup = recipes.insert(title="Soup")
    changed = recipes.update(id=soup.id, servings=4) and db.last_id()
    recipes.delete(soup.id)
    for entry in (1, changed):
        with pytest.raises(Problem, match=r"^“Soup” has been deleted since\. Undo entry 3 first\.$"): db.undo(entry)
    db.undo(3)
    assert recipes[soup.id].servings == 4


def test_a_group_is_one_entry_and_one_undo(recipes):
    with db.group("recipes", "import", "imported 3 recipes") as head:
        for title in "abc": recipes.insert(title=title)
        with db.group("recipes", "update", "joins the outer one") as inner: recipes.update(id=1, servings=5)
    assert inner == head and [e["verb"] for e in db.entries("part_of IS NULL")] == ["import"] and len(db.entries("part_of=?", [head])) == 4
    db.undo()
    assert recipes() == []
    redone = db.undo(redo=True)
    assert redone["summary"] == "redo: imported 3 recipes" and [r.servings for r in recipes()] == [5, 2, 2]
    db.undo(redone["id"])
    assert recipes() == []


def test_a_group_with_one_conflict_is_left_whole(recipes):
    with db.group("recipes", "import", "imported") as head:
        for title in "abcde": recipes.insert(title=title)
    recipes.update(id=3, servings=9)
    before = dump("recipes", "journal")
    with pytest.raises(Problem, match="“c” has changed since"): db.undo(head)
    assert dump("recipes", "journal") == before


def test_a_part_of_a_group_can_be_undone_alone_and_the_rest_after_it(recipes):
    with db.group("recipes", "import", "imported") as head:
        for title in "abc": recipes.insert(title=title)
    part = db.entries("part_of=? AND record_id=2", [head])[0]["id"]
    db.undo(part)
    assert [r.title for r in recipes()] == ["a", "c"]
    db.undo(head)
    assert recipes() == []


def test_a_failed_group_leaves_nothing(recipes):
    with pytest.raises(Problem), db.group("recipes", "import", "imported"):
        recipes.insert(title="a")
        recipes.insert(title="")
    assert recipes() == [] and entries() == [] and db.search("a") == []
    recipes.insert(title="b")
    assert entries()[0]["part_of"] is None, "the group is over"


def test_300_random_changes_and_undos_taken_back_end_where_they_began(recipes):
    "Every entry, newest first, undos and redos among them: the state is the one before, search text and all."
    dice = random.Random(20261224)
    for n in range(5): recipes.insert(title=f"ra{n}", tags=["a"])
    began, first, done, conflicts = dump("recipes"), db.last_id(), 0, 0
    while done < 300:
        ids = [r.id for r in recipes()]
        match dice.choice("iiuuuuddnnerg") if len(ids) < 25 else "d":
            case "i": recipes.insert(title=f"a{done}", servings=dice.randint(0, 3), notes=dice.choice(["", "ra", "rb"]), price=dice.choice([None, "1.50"]))
            case "u" if ids: recipes.update(id=dice.choice(ids), **dice.choice([{"servings": dice.randint(0, 3)}, {"title": f"r{done}"}, {"is_cooked": dice.random() < .5, "notes": ""}, {"cook_by": dice.choice([None, "2026-01-02"])}, {"tags": ["r", "x"]}]))
            case "d" if ids: recipes.delete(dice.choice(ids))
            case "g" if ids:
                with db.group("recipes", "update", "several"):
                    for record_id in dice.sample(ids, min(3, len(ids))): recipes.update(id=record_id, servings=dice.randint(0, 3))
                    recipes.insert(title="ra group")
            case "n" | "e" | "r" as kind:  # the newest, any that still stands, the newest undo; a conflict must change nothing
                standing = [e["id"] for e in db.entries("part_of IS NULL AND undone_by IS NULL AND verb != 'undo' AND id > ?", [first], limit=-1)]
                if not standing: continue
                before = dump("recipes", "journal")
                try: db.undo(*{"n": (None,), "e": (dice.choice(standing),), "r": (None, True)}[kind])
                except Problem:
                    assert dump("recipes", "journal") == before
                    conflicts += 1
                    continue
            case _: continue
        done += 1
    assert conflicts > 3 and len(entries()) > 250
    for entry in db.entries("part_of IS NULL AND id > ?", [first], limit=-1):
        at, chain = entry, 0
        while at["undone_by"]: at, chain = db.entries("id=?", [at["undone_by"]])[0], chain + 1  # whatever stands for it now
        if chain % 2 == 0: db.undo(at["id"])
    assert dump("recipes") == began


# ─── transactions

def test_a_transaction_is_all_or_nothing_and_nests(recipes):
    heard = []
    db.listeners.append(heard.append)
    try:
        with db.transaction():
            recipes.insert(title="a")
            with contextlib.suppress(ZeroDivisionError), db.transaction():
                recipes.insert(title="b")
                _ = 1 / 0
            recipes.insert(title="c")
            assert heard == [] and len(recipes()) == 2, "read your own writes; listeners hear after the commit"
        assert [r.title for r in recipes()] == ["a", "c"]
        assert [[e["summary"] for e in batch] for batch in heard] == [["added “a”", "added “c”"]]
        with pytest.raises(ZeroDivisionError), db.transaction():
            recipes.insert(title="d")
            _ = 1 / 0
        assert [r.title for r in recipes()] == ["a", "c"] and len(heard) == 1 and len(entries()) == 2
    finally: db.listeners.remove(heard.append)


def test_a_table_made_in_a_transaction_that_fails_is_made_again(file):
    fresh = table(Recipe, "fresh")
    with pytest.raises(ZeroDivisionError), db.transaction():
        fresh.insert(title="a")
        _ = 1 / 0
    assert fresh() == [] and fresh.insert(title="b").title == "b" and db.search("b") == [("fresh", 1)]


def test_nobody_outside_sees_half_a_transaction(recipes):
    seen = list(recipes())
    with db.transaction():
        recipes.insert(title="a")
        other = threading.Thread(target=lambda: seen.append(len(recipes())))
        other.start()
        other.join(5)
        assert not other.is_alive(), "readers do not wait for a writer"
    assert seen == [0] and len(recipes()) == 1


def test_an_await_inside_a_transaction_mixes_nothing_up(recipes):
    "Two tasks share a thread, so the lock alone would let the second one into the first one's transaction."
    assert recipes() == []

    async def slow():
        with db.transaction():
            recipes.insert(title="slow")
            await asyncio.sleep(0.02)
            recipes.insert(title="slow too")

    async def quick():
        await asyncio.sleep(0.01)
        assert recipes.count() == 0, "what is not committed is not seen"
        recipes.insert(title="quick")

    async def both(): return await asyncio.gather(slow(), quick(), return_exceptions=True)
    outcome = asyncio.run(both())
    refused = [e for e in outcome if isinstance(e, RuntimeError)]
    assert refused and all("await" in str(e) for e in refused)
    assert [r.title for r in recipes()] in (["slow", "slow too"], []), "never a part of it"
    recipes.insert(title="after")
    assert recipes()[-1].title == "after" and db.depth == 0


def test_16_threads_write_and_read_and_undo_at_once(recipes):
    "Each knows what it did; together nothing is lost, doubled or mixed up."
    errors, barrier = [], threading.Barrier(16)

    def work(n: int) -> None:
        try:
            barrier.wait()
            for k in range(8):
                mine = recipes.insert(title=f"t{n}-{k}", servings=n)
                with db.group("recipes", "update", f"group {n}"):
                    recipes.update(id=mine.id, servings=n + 100)
                    recipes.update(id=mine.id, is_cooked=True)
                assert (recipes[mine.id].title, recipes[mine.id].servings) == (f"t{n}-{k}", n + 100)
                if k % 2:
                    head = db.entries("part_of IS NULL AND summary=?", [f"group {n}"], limit=1)[0]["id"]
                    db.undo(head)
                    assert recipes[mine.id].servings == n
                with contextlib.suppress(Problem), db.transaction():
                    recipes.update(id=mine.id, title="never")
                    raise Problem("no")
        except BaseException as e: errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads: t.start()
    for t in threads: t.join(60)
    assert not errors, errors[0]
    assert recipes.count() == 128 and sorted(r.title for r in recipes()) == sorted(f"t{n}-{k}" for n in range(16) for k in range(8))
    for head in db.entries("verb='update' AND part_of IS NULL", limit=-1):
        parts = db.entries("part_of=?", [head["id"]])
        assert len(parts) == 2 and len({p["record_id"] for p in parts}) == 1, "no group holds another thread's change"
    assert db.one("PRAGMA integrity_check") == "ok" and db.depth == 0 and db.pending == []


def test_closed_it_says_so(recipes):
    db.close()
    for action in (lambda: recipes(), lambda: recipes.insert(title="a"), lambda: store["a"], lambda: db.undo()):
        with pytest.raises(Problem, match="No workspace is open"): action()


# ─── schema

def model(name: str, **hints):
    "A record class made on the spot: name=(type, default) or name=type."
    body = {"__annotations__": {n: h[0] if isinstance(h, tuple) else h for n, h in hints.items()}} | {n: h[1] for n, h in hints.items() if isinstance(h, tuple)}
    return dataclass(kw_only=True)(type(name, (), body))


def test_a_new_field_adds_a_column_with_its_default(file):
    table(model("Dish", title=str), "dishes").insert(title="Soup")
    reopen(file)
    dishes = table(model("Dish", title=str, servings=(int, 4), is_done=bool, due=(date | None, None), tags=(Tags, field(default_factory=list)), note=(str, "it's \"new\""), price=(Decimal, Decimal("1.5")), rank=(int, -3), flag=(bool, True),
                         needed=str, when=(date, date(2026, 1, 2))), "dishes")
    old = dishes[1]
    assert (old.title, old.servings, old.is_done, old.due, old.tags, old.note, old.price, old.rank, old.flag, old.needed, old.when) == ("Soup", 4, False, None, [], "it's \"new\"", Decimal("1.5"), -3, True, "", date(2026, 1, 2))
    assert dishes.update(id=1, servings=5).servings == 5


def test_a_removed_field_keeps_its_data_and_undo_brings_that_back_too(file):
    full = model("Dish", title=str, secret=(str, ""))
    table(full, "dishes").insert(title="Soup", secret="with love")
    reopen(file)
    slim = table(model("Dish", title=str), "dishes")
    assert not hasattr(slim[1], "secret") and slim.insert(title="Stew").id == 2
    slim.update(id=1, title="Broth")
    slim.delete(1)
    db.undo()
    reopen(file)
    assert (table(full, "dishes")[1].title, table(full, "dishes")[1].secret) == ("Broth", "with love")
    assert table(full, "dishes")[2].secret == ""


@pytest.mark.parametrize("old,new", [(str, int), (int, str), (str, date), (date, datetime), (int, bool), (int, float), (str, Tags), (Json, str), (Literal["a", "b"], Literal[1, 2]), (float, Decimal)])
def test_a_changed_type_is_refused_with_a_hint_and_the_data_stays(file, old, new):
    table(model("Dish", title=str, thing=(old, None)), "dishes").insert(title="Soup")
    before = db.query("SELECT * FROM dishes"), db.query("PRAGMA table_info(dishes)")
    reopen(file)
    with pytest.raises(Problem, match=r"^dishes\.thing is kept as .+, and the new type wants .+\. Give the field another name \(say thing_2\), and copy what you need"):
        table(model("Dish", title=str, extra=(int, 0), thing=(new, None)), "dishes")()
    assert (db.query("SELECT * FROM dishes"), db.query("PRAGMA table_info(dishes)")) == before, "nor is the new field added"


@pytest.mark.parametrize("old,new", [(str, Text), (str, Email | None), (Text, fields_.Markdown), (str, Literal["Soup", "x"]), (str | None, str), (int, int | None), (Literal["Soup"], str), (fields_.Url, str)])
def test_a_type_that_is_kept_in_the_same_way_may_be_widened(file, old, new):
    table(model("Dish", title=str, thing=(old, None)), "dishes").insert(title="Soup")
    reopen(file)
    dishes = table(model("Dish", title=str, thing=(new, None)), "dishes")
    assert dishes[1].title == "Soup" and dishes.count() == 1


def test_undo_works_for_an_app_that_is_not_loaded(recipes, file):
    soup = recipes.insert(title="Soup", price="3.20")
    recipes.delete(soup.id)
    reopen(file)
    assert db.undo()["app"] == "recipes" and db.search("soup") == [("recipes", 1)]
    assert table(Recipe)[1].price == Decimal("3.20")


def test_odd_names_are_quoted(file):
    "A field may be called like an SQL keyword, a table like anything."
    words = table(model("Word", order=str, group=(int, 0), select=(str, ""), default=(str, "")), 'odd "name"; --')
    made = words.insert(order="a", group=3, select="b")
    assert words(where='"group"=?', where_args=[3], order_by="order desc")[0].select == "b" and words.update(id=made.id, default="c").default == "c"
    words.delete(made.id)
    db.undo()
    assert words.count() == 1


# ─── store

def test_the_store_is_a_dict(file):
    assert isinstance(store, MutableMapping) and len(store) == 0 and dict(store) == {}
    store["theme"], store["n"], store["none"] = {"dark": [1, "ö"]}, 5, None
    assert store["theme"] == {"dark": [1, "ö"]} and store.get("n") == 5 and store.get("missing", 3) == 3 and store.get("none", 3) is None
    assert "theme" in store and "missing" not in store and sorted(store) == ["n", "none", "theme"] and len(store) == 3
    assert dict(store.items()) == {"theme": {"dark": [1, "ö"]}, "n": 5, "none": None}
    store.update(n=6, m=1)
    assert store.pop("m") == 1 and store.setdefault("n", 9) == 6
    del store["theme"]
    with pytest.raises(KeyError): store["theme"]
    with pytest.raises(KeyError): del store["theme"]
    reopen(file)
    assert store["n"] == 6


def test_settings_are_journalled_and_undone(file):
    store["profile"] = 1
    store["profile"] = 2
    del store["profile"]
    assert [e["summary"] for e in entries()] == ["deleted “profile”", "changed “profile”: value 1 → 2", "added “profile”"]
    db.undo(), db.undo()
    assert store["profile"] == 1


def test_how_the_page_looks_is_not_in_the_journal(file):
    store["ui.theme"] = "dark"
    store["ui.theme"] = "light"
    store.setdefault("ui.panel", True)
    del store["ui.panel"]
    assert entries() == [] and store["ui.theme"] == "light" and "ui.panel" not in store


def test_what_is_not_json_is_refused_and_nothing_is_kept(file):
    store["a"] = 1
    for value in (object(), {1, 2}, float("nan"), "\ud800"):
        with pytest.raises((TypeError, ValueError)): store["a"] = value
    assert store["a"] == 1 and len(entries()) == 1


# ─── search

@dataclass
class Note:
    title: str
    body: Text = ""


def test_search_finds_the_beginnings_of_words_with_and_without_marks(recipes):
    for title in ("Crème brûlée", "Äpfel & Birnen", "Straße 7", "Καφές", "pan_fried o'clock", "日本 語"): recipes.insert(title=title)
    find = lambda text: [recipes[i].title for _, i in db.search(text)]
    assert find("creme") == find("CRÈME bru") == find("brul crem") == ["Crème brûlée"]
    assert find("apf birn") == ["Äpfel & Birnen"] and find("ΚΑΦΈ") == ["Καφές"] and find("fried") == find("clock") == ["pan_fried o'clock"] and find("日本") == ["日本 語"]
    assert find("reme") == [] and find("creme soup") == [] and find("") == find("!?*\"'()") == []


@pytest.mark.parametrize("text", ['"', '""', "a\"b", "a*", "NEAR(a b)", "a AND OR", "title:x", "-a", "^a", "(", "a" * 5000, "\x00", "'; DROP TABLE search;--", "a\ud800"])
def test_any_text_can_be_searched_for(recipes, text):
    recipes.insert(title="a")
    assert isinstance(db.search(text), list) and isinstance(recipes(*db.matching("recipes", text)), list)


def test_search_follows_updates_deletes_and_undo(recipes):
    soup = recipes.insert(title="Soup", notes="leek", tags=["winter"], course="starter")
    hit = [("recipes", soup.id)]
    assert db.search("soup") == db.search("leek") == db.search("wint") == db.search("starter") == hit
    recipes.update(id=soup.id, title="Stew", notes="")
    assert db.search("soup") == db.search("leek") == [] and db.search("stew") == hit
    db.undo()
    assert db.search("soup") == db.search("leek") == hit and db.search("stew") == []
    recipes.delete(soup.id)
    assert db.search("soup") == []
    db.undo()
    assert db.search("soup") == hit


def test_search_spans_apps_and_puts_titles_first(recipes):
    notes = table(Note)
    notes.insert(title="Other", body="a soup, more soup")
    recipes.insert(title="Soup")
    assert db.search("soup") == [("recipes", 1), ("notes", 1)] and len(db.search("soup", limit=1)) == 1
    assert recipes.count(*db.matching("recipes", "soup")) == 1 and notes(*db.matching("notes", "soup"))[0].title == "Other" and notes.count(*db.matching("notes", "recipes")) == 0


# ─── backups

def test_a_backup_is_whole_while_others_write(recipes, tmp_path):
    folder, stop = tmp_path / "backups", threading.Event()
    recipes.ready()
    folder.mkdir()

    def write():
        while not stop.is_set():
            with db.group("recipes", "import", "two"):
                recipes.insert(title="x")
                recipes.insert(title="y")
    writer = threading.Thread(target=write)
    writer.start()
    try: made = [db.backup(folder) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    for path in made:
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
            assert copy.execute("PRAGMA integrity_check").get == "ok"
            assert copy.execute("SELECT count(*) % 2 FROM recipes").get == 0, "no half of a transaction"
            assert copy.execute("SELECT count(*) FROM journal").get == copy.execute("SELECT count(*) * 3 / 2 FROM recipes").get
    assert not list(folder.glob("*.part"))


def test_ten_backups_are_kept_and_one_a_day_for_seven_days(recipes, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    now = datetime.now()
    for hours in range(1, 24 * 20, 8): (folder / f"{now - timedelta(hours=hours):%Y-%m-%dT%H-%M-%S.%f}.db").write_text("old")
    (folder / "before the party.db").write_text("mine")
    (folder / "x.db.part").write_text("half")
    made = db.backup(folder)
    kept = sorted((p.name for p in folder.glob("2*.db")), reverse=True)
    assert kept[0] == made.name
    assert len([n for n in kept if n >= f"{now - timedelta(hours=65):%Y-%m-%dT%H-%M}"]) >= 9, "the newest ten, whatever their day"
    older = [n[:10] for n in kept[10:]]
    assert len(older) == len(set(older)) >= 3 and min(older) >= f"{now - timedelta(days=7):%Y-%m-%d}"
    assert (folder / "before the party.db").exists(), "what a person put there is the person's"
    assert not (folder / "x.db.part").exists()
    for day in set(older):
        assert max(f"{now - timedelta(hours=h):%Y-%m-%dT%H}" for h in range(1, 24 * 20, 8) if f"{now - timedelta(hours=h):%Y-%m-%d}" == day) in {n[:13] for n in kept}, "of each day the newest"


def test_restore_puts_the_backup_in_place_and_keeps_the_old_one(recipes, tmp_path, file):
    recipes.insert(title="Soup")
    saved = db.copy_to(tmp_path / "saved.db")
    recipes.insert(title="Stew")
    store["a"] = 1
    aside = db.restore(saved)
    assert [r.title for r in recipes()] == ["Soup"] and "a" not in store and db.search("stew") == []
    assert recipes.insert(title="Cake").id == 2, "and writing goes on"
    with contextlib.closing(sqlite3.connect(aside)) as old: assert old.execute("SELECT group_concat(title) FROM recipes").fetchone()[0] == "Soup,Stew"
    reopen(file)
    assert [r.title for r in recipes()] == ["Soup", "Cake"]
    assert saved.exists() and not list(tmp_path.glob("saved.db-*")) and not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("restored*"))


def test_restoring_twice_in_a_second_keeps_both(recipes, tmp_path):
    saved = db.copy_to(tmp_path / "saved.db")
    asides = set()
    for title in "ab":
        recipes.insert(title=title)
        asides.add(db.restore(saved))
    assert len(asides) == 2 and all(p.exists() for p in asides)


@pytest.mark.parametrize("what", ["text", "cut", "scrambled", "empty", "foreign", "folder", "missing"])
def test_what_is_no_backup_is_refused_and_nothing_happens(recipes, tmp_path, what):
    for n in range(200): recipes.insert(title=f"Soup {n}", notes="x" * 200)
    other = tmp_path / "other.db"
    whole = db.copy_to(tmp_path / "whole.db").read_bytes()
    match what:
        case "text": other.write_text("no database " * 100)
        case "cut": other.write_bytes(whole[:len(whole) // 2])
        case "scrambled": other.write_bytes(whole[:8192] + bytes(range(256)) * 64 + whole[8192 + 16384:])
        case "empty": other.write_bytes(b"")
        case "folder": other.mkdir()
        case "foreign":
            with contextlib.closing(sqlite3.connect(other)) as foreign: foreign.execute("CREATE TABLE moz_places (id INTEGER PRIMARY KEY)")
    names = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(Problem, match=r"other\.db (is|cannot|has).+\. [A-Z].+\.$"): db.restore(other)
    assert recipes.count() == 200 and recipes.insert(title="on it goes").id == 201
    assert {p.name for p in tmp_path.iterdir()} == names


def test_a_damaged_file_is_left_as_it_is(recipes, file):
    recipes.insert(title="Soup")
    db.close()
    file.write_bytes(b"x" * 16 + file.read_bytes()[16:])
    broken = file.read_bytes()
    with pytest.raises(store_.Damaged, match=r"data\.db is damaged: .+ `sololith restore` puts the newest good backup in its place"): db.open(file)
    assert file.read_bytes() == broken and db.writer is None


def test_the_file_says_what_its_columns_mean_to_any_other_program(recipes, file):
    "A backup opened with nothing but SQLite still tells a date from a text."
    recipes.insert(title="Soup", cook_by="2026-12-24", is_cooked=True, tags=["a"])
    with contextlib.closing(sqlite3.connect(file)) as other:
        kinds = dict(other.execute("SELECT name, type FROM pragma_table_info('recipes')").fetchall())
        assert (kinds["cook_by"], kinds["is_cooked"], kinds["tags"], kinds["price"], kinds["title"]) == ("TEXT DATE", "INTEGER BOOL", "TEXT TAGS", "TEXT DECIMAL", "TEXT")
        assert other.execute("SELECT cook_by, is_cooked, tags FROM recipes").fetchone() == ("2026-12-24", 1, '["a"]')


def test_the_pragmas_that_keep_what_was_written(recipes):
    for connection in (db.writer, db.reader):
        assert [connection.execute(f"PRAGMA {p}").get for p in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")] == ["wal", 2, 5000, 1]
