"""Values are kept and come back the same, and are shown whatever they are."""
import csv
import io
import json
import math
import pickle
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest
from helpers import chapter, patience

values, base = chapter("values"), chapter("base")
keep, load, show, rows_of, csv_of = values.keep, values.load, values.show, values.rows_of, values.csv_of
EVIL = '<script>alert("x")</script>'


@pytest.fixture(autouse=True)
def workspace(tmp_path):
    before = base.home.path
    yield base.home.at(tmp_path / "w").make()
    base.home.at(before)


class Colour(Enum): RED = "red"


@dataclass
class Point:
    x: int
    y: str = EVIL


def html(value, **options) -> str: return base.to_xml(base.Div(show(value, **options)))


# ─── keeping

@pytest.mark.parametrize("value", [None, True, 0, -3, 1.5, 2**80, "", "text", "ü\0\n", [], {}, [1, [2, {"a": None}]], {"a": [date(2026, 1, 2)]},
    date(2026, 12, 24), datetime(2026, 12, 24, 18, 0, 0, 5), time(18, 30), Decimal("1.10"), Path("files/x"), b"\0\xff", (1, 2), {1, 2}, {1: 2},
    {"$": 1}, {"$": ["date", "x"]}, Colour.RED, Point(1), [Point(1), Point(2, "b")], "a\udc80b", "x" * 100_000, b"x" * 100_000, list(range(50_000)),
    range(3), complex(1, 2), frozenset("ab")], ids=lambda v: type(v).__name__ if isinstance(v, frozenset) else repr(v)[:30])
def test_what_is_kept_comes_back_the_same_and_of_its_type(value):
    found = load(keep(value, "runs/1/step"))
    assert found == value and type(found) is type(value)


def test_numbers_that_json_lacks_come_back():
    found = load(keep([math.nan, math.inf, -math.inf], "v"))
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf]


def test_subclasses_of_plain_types_keep_their_class():
    class_ = type(load(keep(base.FT("p", (), {}), "v")))
    assert class_ is base.FT
    assert isinstance(load(keep(True, "v")), bool) and type(load(keep(1, "v"))) is int


def test_small_plain_values_can_be_read_in_the_database():
    assert keep({"a": "ü"}, "v") == 'json:{"a": "ü"}'
    assert keep(date(2026, 12, 24), "v") == 'json:{"$": ["date", "2026-12-24"]}'


def test_a_large_value_becomes_one_file_that_is_named_by_its_content(workspace):
    kept = keep("x" * 70_000, "runs/12/table")
    kind, digest, name = kept.split(":")
    assert kind == "file" and name.startswith("runs/12/table-") and len(kept) < 200 and len(digest) == 64
    assert keep("x" * 70_000, "runs/12/table") == kept and keep("y" * 70_000, "runs/12/table") != kept
    assert len(list((workspace.files / "runs" / "12").iterdir())) == 2, "and nothing half written lies about"


@pytest.mark.parametrize("harm", ["changed", "cut", "gone", "another"])
def test_a_file_that_is_not_what_was_kept_is_refused(workspace, harm):
    kept = keep(b"x" * 70_000, "v")
    path = workspace.files / kept.split(":")[2]
    if harm == "changed": path.write_bytes(b"y" + path.read_bytes()[1:])
    if harm == "cut": path.write_bytes(path.read_bytes()[:-1])
    if harm == "gone": path.unlink()
    if harm == "another": path.write_bytes((workspace.files / keep(b"z" * 70_000, "v").split(":")[2]).read_bytes())
    with pytest.raises(base.Problem, match="is gone, or is not what was kept"): load(kept)


def test_a_file_is_not_unpickled_before_its_hash_is_known(workspace):
    class Boom:
        def __reduce__(self): return (pytest.fail, ("it was unpickled",))
    kept = keep(b"x" * 70_000, "v")
    (workspace.files / kept.split(":")[2]).write_bytes(pickle.dumps(Boom()))
    with pytest.raises(base.Problem): load(kept)


@pytest.mark.parametrize("value", [(n for n in range(3)), lambda: 1, open, __import__("threading").Lock(), [lambda: 1]], ids=["generator", "lambda", "open", "lock", "list"])
def test_what_cannot_be_kept_is_a_problem_that_says_what_can(value):
    if value is open: assert load(keep(value, "v")) is open; return
    with pytest.raises(base.Problem, match="which cannot be kept") as problem: keep(value, "v")
    assert "Return text, numbers" in problem.value.fix


def test_a_value_whose_pickling_raises_is_a_problem():
    class Odd:
        def __getstate__(self): raise KeyError("state")
    with pytest.raises(base.Problem, match="Odd, which cannot be kept"): keep(Odd(), "v")


def test_a_value_without_end_is_a_problem():
    loop: list = []
    loop.append(loop)
    found = load(keep(loop, "v"))
    assert found[0] is found
    deep: list = []
    for _ in range(100_000): deep = [deep]
    with pytest.raises(base.Problem, match="cannot be kept"): keep(deep, "v")


def test_a_full_disk_is_a_problem(workspace):
    workspace.files.rmdir()
    workspace.files.write_text("in the way")
    with pytest.raises(base.Problem) as problem: keep("x" * 70_000, "runs/v")
    assert problem.value.status == 507


def test_an_artifact_has_a_name_of_its_own(workspace):
    one, other = values.artifact("report.csv", "a"), values.artifact("report.csv", b"b")
    assert one != other and one.startswith("artifacts/report-") and one.endswith(".csv")
    assert (workspace.files / one).read_text() == "a" and (workspace.files / other).read_text() == "b"
    assert "." not in values.artifact("README", "x").rpartition("/")[2]


@pytest.mark.parametrize("name", ["../../x.csv", "/etc/x.csv", "a/../../../x.csv", ""])
def test_an_artifact_stays_in_files(workspace, name):
    try: made = values.artifact(name, "a")
    except base.Problem: return
    assert (workspace.files / made).resolve().is_relative_to(workspace.files)


# ─── tables

def frames():
    import pandas as pd
    import polars as pl
    data = {"n": [3, 1, None], "word": ["b", "a", EVIL], "day": [date(2026, 1, 1), None, date(2025, 1, 1)]}
    dicts = [{"n": n, "word": w, "day": d} for n, w, d in zip(*data.values(), strict=True)]
    return {"pandas": pd.DataFrame(data), "polars": pl.DataFrame(data), "dicts": dicts, "dataclasses": [Point(3, "b"), Point(1, "a"), Point(2, EVIL)]}


@pytest.mark.parametrize("kind", ["pandas", "polars", "dicts", "dataclasses"])
def test_a_table_of_any_library_is_kept_and_has_rows_that_sort(kind):
    frame = load(keep(frames()[kind], "v"))
    rows = rows_of(frame)
    assert rows.names[0] in ("n", "x") and rows.count == 3
    plain = [[values.cell(v) for v in row] for row in rows.some(0, 3, None, False)]
    assert [row[1] for row in plain] == ["b", "a", EVIL]
    assert [list(r)[1] for r in rows.some(0, 3, 1, False)] == sorted(["b", "a", EVIL])
    assert [list(r)[1] for r in rows.some(0, 2, 1, True)] == ["b", "a"]
    up = [values.cell(list(r)[0]) for r in rows.some(0, 3, 0, False)]
    assert up == ([1, 2, 3] if kind == "dataclasses" else [1, 3, None]), "what is missing comes last"


@pytest.mark.parametrize("kind", ["pandas", "polars", "dicts", "dataclasses"])
def test_a_table_is_shown_escaped_and_void_cells_are_void(kind):
    shown = html(frames()[kind])
    assert "<script" not in shown and "&lt;script" in shown and "nan" not in shown.lower().replace("nanosec", "") and "NaT" not in shown
    assert shown.count("<tr") == 4


def test_series_and_frames_with_an_index_are_tables():
    import pandas as pd
    import polars as pl
    assert rows_of(pd.Series([1, 2], name="s")).names == ["s"]
    assert rows_of(pl.Series("s", [1, 2])).names == ["s"]
    grouped = pd.DataFrame({"k": ["a", "a", "b"], "v": [1, 2, 3]}).groupby("k").sum()
    assert rows_of(grouped).names == ["k", "v"] and [list(r) for r in rows_of(grouped).some(0, 9, None, False)] == [["a", 3], ["b", 3]]


def test_odd_frames_are_shown():
    import pandas as pd
    import polars as pl
    for odd in (pd.DataFrame(), pd.DataFrame({"a": []}), pl.DataFrame(), pd.DataFrame([[1, 2]], columns=["same", "same"]),
            pd.DataFrame({"mixed": [1, "a", None, date(2026, 1, 1)]}), pd.DataFrame({"nested": [[1], {"a": 2}]}),
            pd.DataFrame({("a", "b"): [1]}), pd.DataFrame({"c": pd.Categorical(["x", "y"])}), pd.DataFrame({"t": pd.to_datetime(["2026-01-01", None])}),
            pl.DataFrame({"l": [[1, 2]], "s": [{"a": 1}]}), pd.DataFrame({1: [1], None: [2]}),
            pd.DataFrame([[1, 2]], columns=["index", "b"], index=["x"]), pd.DataFrame({"b": [1]}, index=pd.Index(["x"], name="b"))):
        rows = rows_of(odd)
        for by in (None, *range(len(rows.names))):
            for down in (False, True): html(odd, at="/v", params={"sort": f"{'-' * down}{by}" if by is not None else ""})
        "".join(csv_of(rows))


def test_rows_with_different_names_have_all_of_them():
    rows = rows_of([{"a": 1}, {"b": 2}, {}])
    assert rows.names == ["a", "b"] and [list(r) for r in rows.some(0, 3, None, False)] == [[1, None], [None, 2], [None, None]]
    assert rows_of([{1: 2}]).names == ["1"] and "2" in html([{1: 2}]), "whatever the names are"
    assert rows_of([]) is None and rows_of([1]) is None and rows_of([{"a": 1}, 2]) is None and rows_of("ab") is None


def test_mixed_cells_sort_numbers_before_texts_before_nothing():
    rows = rows_of([{"a": v} for v in ("b", 2, None, 1.5, "a", True)])
    assert [list(r)[0] for r in rows.some(0, 9, 0, False)] == [True, 1.5, 2, "a", "b", None]


def test_a_table_pages_and_sorts_at_its_address():
    table = [{"n": n} for n in range(120)]
    first = html(table, at="/v")
    assert "1–50 of 120" in first and "/v?sort=&amp;page=2" in first and 'href="/v.csv"' in first and "Previous" not in first
    last = html(table, at="/v", params={"page": "99", "sort": "-0"})
    assert "101–120 of 120" in last and ">19<" in last and "Next" not in last and "n ↓" in last
    for params in ({"page": "-1"}, {"page": "x"}, {"sort": "7"}, {"sort": "x"}, {"sort": "--0"}, {"sort": "9" * 30}, {"page": "9" * 30}, {"sort": "²"}):
        assert "of 120" in html(table, at="/v", params=params)


def test_a_large_table_is_shown_quickly():
    import time as clock

    import pandas as pd
    frame = pd.DataFrame({f"c{n}": range(200_000) for n in range(20)})
    began = clock.perf_counter()
    assert len(html(frame, at="/v", params={"sort": "-3"})) < 200_000
    assert clock.perf_counter() - began < 0.5 * patience()


def test_csv_holds_every_row_and_nothing_that_a_spreadsheet_would_run():
    table = [{"a": "=1+1", "b": n, "c": None} for n in range(2500)] + [{"a": 'say "hi"\nü', "b": -1, "c": "@x"}]
    pieces = list(csv_of(rows_of(table)))
    found = list(csv.reader(io.StringIO("".join(pieces))))
    assert len(found) == 2502 and found[1] == ["'=1+1", "0", ""] and found[-1] == ['say "hi"\nü', "-1", "'@x"] and len(pieces) > 2


# ─── showing

@pytest.mark.parametrize(["value", "shown"], [(None, "—"), ("", "—"), (True, "✓"), (False, "–"), (12345, "12,345"), (7, ">7<"), (1.5, ">1.5<"), (Decimal("1.10"), "1.10"),
    (date(2026, 12, 24), "24 Dec 2026"), (datetime(2026, 12, 24, 18, 5), "24 Dec 2026 18:05"), (time(18, 5), "18:05"), (b"abc", "3 bytes"), (Colour.RED, "red"),
    (["a", "b"], 'class="chip">a<'), ([1, 2], "[1, 2]"), ({"a": 1}, "{\n \"a\": 1\n}"), (Point(1, "p"), '"x": 1'), ("x" * 30_000, "… of 30,000 characters"),
    (["w" * 500] * 600, "… of 600"), ({"a": "y" * 90_000}, "characters"), ("a\udc80", "a?"), ({"k": "a\udc80"}, "?"), ((1, "a"), "(1, "), (object, "class"), (math.nan, "nan")])
def test_every_value_is_shown(value, shown):
    text = html(value).replace("&quot;", '"').replace("&#39;", "'")
    assert shown in text and len(text.encode()) < 150_000


@pytest.mark.parametrize("value", [EVIL, [EVIL], {EVIL: EVIL}, Point(1), [Point(1)], (EVIL,), Path(EVIL), {1: EVIL}, [[EVIL]], Decimal, type(EVIL, (), {})()], ids=lambda value: type(value).__name__[:20])
def test_what_is_shown_is_escaped(value): assert "<script" not in html(value)


def display(**methods):
    return type("Shown", (), {name: (lambda self, found=found, **_: found) for name, found in methods.items()})()


def test_jupyters_display_protocol_counts():
    foreign = html(display(_repr_html_=f"<b>bold</b>{EVIL}"))
    assert "<iframe" in foreign and 'sandbox=""' in foreign and "<script" not in foreign, "foreign HTML is framed, and runs nothing"
    assert 'src="data:image/svg+xml;base64,' in html(display(_repr_svg_="<svg/>"))
    assert 'src="data:image/png;base64,iVBOR' in html(display(_repr_png_=b"\x89PNG\r\n"))
    assert "<strong>b</strong>" in html(display(_repr_markdown_=f"**b** {EVIL}")) and "<script" not in html(display(_repr_markdown_=EVIL))
    assert "<iframe" in html(display(_repr_html_="<p>", _repr_png_=b"x")), "the richest first"
    assert "<img" in html(display(_repr_html_=None, _repr_png_=b"x")), "what gives nothing is passed over"
    assert "<strong>" in html(display(_repr_mimebundle_={"text/markdown": "**b**"})) and "<strong>" in html(display(_repr_mimebundle_=({"text/markdown": "**b**"}, {})))
    assert "iVBOR" in html(display(_repr_mimebundle_={"image/png": "iVBOR"})) and "—" not in html(display(_repr_mimebundle_=None))


def test_an_object_that_draws_itself_is_let():
    assert "<h3>mine</h3>" in html(display(__ft__=base.H3("mine")))


def test_a_class_is_not_asked_to_draw_itself():
    class Drawn:
        def __ft__(self): return base.B("x")
        def _repr_html_(self): return "x"
    html(Drawn)
    html(display)


def test_a_figure_is_kept_as_its_picture():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    kept = keep(figure, "runs/1/plot")
    plt.close(figure)
    picture = load(kept)
    assert picture.png.startswith(b"\x89PNG") and 'src="data:image/png;base64,' in html(picture)


def test_a_frame_keeps_its_types():
    import pandas as pd
    frame = pd.DataFrame({"day": pd.to_datetime(["2026-01-01"]), "n": [1], "c": pd.Categorical(["x"])})
    assert load(keep(frame, "v")).dtypes.equals(frame.dtypes)


def test_a_path_in_files_is_a_link(workspace):
    (workspace.files / "a b.txt").write_text("x")
    assert 'href="/files/a%20b.txt"' in html(workspace.files / "a b.txt") and "href" not in html(Path("/etc/passwd"))


def test_answers_are_kept_as_data():
    answers = json.loads(chapter("pipeline").answers_text({"e": Colour.RED, "d": date(2026, 1, 2), "j": {"$": 1}, "t": "x"}))
    assert answers == {"e": "red", "d": {"$": ["date", "2026-01-02"]}, "j": '{"$":1}', "t": "x"}
