"""Statistics of columns: sketches against exact numbers, however the rows are cut, and the page they are shown on."""

import html.parser
import json
import math
import re
import shutil
import subprocess
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sparrow.cli.main import main
from sparrow.errors import DataError
from sparrow.io.stats.columns import ColumnStats
from sparrow.io.stats.page import page_of
from sparrow.io.stats.scan import scan
from sparrow.io.stats.sketches import Distinct, Moments, Quantiles, TopItems

_FLOATS = st.lists(st.floats(-1e9, 1e9) | st.integers(-5, 5).map(float), min_size=1, max_size=200)


def _halves(sketch, values, cut):
    whole, first, second = sketch(), sketch(), sketch()
    array = np.array(values)
    for one, part in ((whole, array), (first, array[:cut]), (second, array[cut:])):
        one.update(part, np.ones(len(part), dtype=np.int64))
    first.merge(second)
    return whole, first


@settings(max_examples=100, deadline=None)
@given(_FLOATS, st.integers(0, 200))
def test_moments_are_those_of_numpy(values, cut):
    for moments in _halves(Moments, values, cut):
        assert (moments.count, moments.min, moments.max) == (len(values), min(values), max(values))
        assert moments.num_zeros == values.count(0.0)
        assert moments.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9 * max(map(abs, values)))
        assert moments.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-7 * max(map(abs, values)))
        assert moments.are_whole == all(value == int(value) for value in values)


@settings(max_examples=100, deadline=None)
@given(_FLOATS, st.integers(0, 200), st.floats(0, 1))
def test_quantiles_are_within_their_error(values, cut, share):
    whole, merged = _halves(Quantiles, values, cut)
    exact = sorted(values)[int(share * (len(values) - 1))]
    for quantiles in (whole, merged):
        assert quantiles.at(share) == pytest.approx(exact, rel=Quantiles.ERROR + 1e-9, abs=1e-12)
        assert quantiles.count == len(values)
    assert whole.histogram(min(values), max(values), 7) == merged.histogram(min(values), max(values), 7)
    assert sum(whole.histogram(min(values), max(values), 7)) == len(values)


def test_what_is_not_finite_is_counted_apart():
    moments, quantiles = Moments(), Quantiles()
    for sketch in (moments, quantiles):
        sketch.update(np.array([math.nan, math.inf, -math.inf, 0.0, 2.0]), np.array([3, 1, 1, 2, 2]))
    assert (moments.num_nans, moments.num_infinite, moments.num_zeros, moments.count, moments.mean) == (3, 2, 2, 4, 1.0)
    assert (quantiles.count, quantiles.at(0.0), quantiles.at(1.0)) == (4, 0.0, pytest.approx(2.0, rel=0.01))
    assert math.isnan(Quantiles().at(0.5))
    assert math.isnan(Moments().std)


@pytest.mark.parametrize("number", [0, 1, 10, 1000, 30_000, 60_000, 1_000_000])
def test_distinct_values_are_estimated_within_the_error(number):
    generator = np.random.default_rng(number)
    hashes = generator.integers(0, 2**64, number, dtype=np.uint64)
    whole, first, second = Distinct(), Distinct(), Distinct()
    whole.update(np.concatenate([hashes, hashes[: number // 2]]))
    first.update(hashes[: number // 3])
    second.update(hashes[number // 4 :])
    first.merge(second)
    assert whole.estimate() == first.estimate()
    assert abs(whole.estimate() - number) <= max(2, 4 * Distinct.STANDARD_ERROR * number)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30).map(lambda value: value * value // 20), min_size=1, max_size=400), st.integers(1, 5), st.integers(1, 12))
def test_frequent_values_are_found_and_their_counts_are_within_the_error(monkeypatch_capacity, values, num_parts, capacity):
    with monkeypatch_capacity(capacity):
        parts = [TopItems() for _ in range(num_parts)]
        for index, part in enumerate(parts):
            counted = Counter(values[index::num_parts])
            part.update(list(counted), list(counted.values()))
        merged = parts[0]
        for part in parts[1:]:
            merged.merge(part)
        exact, kept = Counter(values), dict(merged.top(1000))
        assert merged.total == len(values)
        assert merged.error <= len(values) / (capacity + 1)
        assert len(kept) <= capacity
        for value, count in exact.items():
            assert count - merged.error <= kept.get(value, 0) <= count


@pytest.fixture(scope="module")
def monkeypatch_capacity():
    import contextlib

    @contextlib.contextmanager
    def patched(capacity):
        before, TopItems.CAPACITY = TopItems.CAPACITY, capacity
        try:
            yield
        finally:
            TopItems.CAPACITY = before

    return patched


_VALUES = {
    "number": (pa.float64(), st.floats(-100, 100)),
    "whole": (pa.int32(), st.integers(-9, 9)),
    "ids": (pa.list_(pa.int64()), st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=5)),
    "text": (pa.string(), st.text(max_size=4)),
    "words": (pa.list_(pa.string()), st.lists(st.sampled_from(["a", "bb", ""]), max_size=4)),
    "flag": (pa.bool_(), st.booleans()),
    "map": (pa.map_(pa.int64(), pa.float32()), st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1, width=32)), max_size=3)),
    "nested": (pa.list_(pa.list_(pa.int64())), st.lists(st.lists(st.integers(0, 5), max_size=3), max_size=3)),
    "fixed": (pa.list_(pa.float32(), 2), st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2)),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["x", "yy"])),
}


@pytest.mark.parametrize("kind", _VALUES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_column_of_any_type_is_counted_as_a_loop_would(kind, data):
    file_type, strategy = _VALUES[kind]
    rows = data.draw(st.lists(st.none() | strategy, min_size=1, max_size=30))
    array = pa.array(rows, file_type)
    cut = data.draw(st.integers(0, len(rows)))
    stats, other = ColumnStats(kind, str(file_type)), ColumnStats(kind, str(file_type))
    stats.update(array[:cut])
    other.update(array[cut:])
    stats.merge(other)
    found = stats.summary()
    json.dumps(found, allow_nan=False)
    assert found["rows"] == len(rows)
    assert found["missing"] == sum(row is None or (isinstance(row, list | str) and len(row) == 0) for row in rows)
    flat = [value for row in rows if row is not None for value in (row if isinstance(row, list) else [row])]
    if kind == "nested":
        flat = [value for inner in flat for value in inner]
    if kind == "map":
        flat = [key for key, _ in flat]
    assert found["values"] == len(flat)
    if flat:
        counted = Counter(flat)
        assert found["distinct"] == len(counted)
        if "top" in found:
            assert found["top"][0]["count"] == counted.most_common(1)[0][1]
        if "numbers" in found:
            assert (found["numbers"]["min"], found["numbers"]["max"]) == (min(flat), max(flat))
    lists = [row or [] for row in rows] if kind in ("ids", "words", "map", "nested") else None
    if lists is not None:
        assert found["lengths"]["max"] == max(map(len, lists))
        assert found["lengths"]["mean"] == pytest.approx(np.mean([len(row) for row in lists]))


def _write(path, **columns):
    parquet.write_table(pa.table(columns), path, row_group_size=7)


def test_files_are_scanned_with_their_partition_keys_up_to_a_row(tmp_path):
    for day in (1, 2):
        (tmp_path / f"ds={day}").mkdir()
        _write(tmp_path / f"ds={day}" / "0.parquet", x=list(range(20)))
    seen = []
    whole = scan(tmp_path, progress=seen.append)
    assert (whole.num_rows, whole.is_whole, seen[-1]) == (40, True, 40)
    summary = whole.summary()["columns"]
    assert summary["ds"]["top"] == [{"value": "1", "count": 20}, {"value": "2", "count": 20}]
    assert summary["x"]["distinct"] == 20
    some = scan(tmp_path, ["x"], max_rows=23)
    assert (some.num_rows, some.is_whole, [column.name for column in some.columns]) == (23, False, ["x"])
    with pytest.raises(DataError, match=r"0.parquet: no column 'y'; known: "):
        scan(tmp_path, ["y"])
    _write(tmp_path / "ds=2" / "0.parquet", x=["a"])
    with pytest.raises(DataError, match="column 'x' has type string, but int64 in the first file"):
        scan(tmp_path)
    (tmp_path / "ds=2" / "0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"0.parquet: is truncated|0.parquet: is a damaged"):
        scan(tmp_path)


def _run(*arguments):
    """Run `sparrow data stats`; return its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main(["data", "stats", *map(str, arguments)])
    return stopped.value.code


_HOSTILE = '<script>alert("1")</script>&amp;\x00\u202e'


@pytest.fixture
def page(tmp_path):
    generator = np.random.default_rng(0)
    _write(
        tmp_path / "0.parquet",
        label=(generator.random(300) < 0.1).astype(float),
        price=[None if one < -0.2 else float(one) for one in generator.normal(size=300)],
        history=[list(map(int, generator.integers(0, 50, length))) for length in generator.integers(0, 40, 300)],
        **{_HOSTILE: [_HOSTILE] * 300},
        nothing=pa.array([None] * 300, pa.int64()),
    )
    out = tmp_path / "page.html"
    assert _run(tmp_path / "0.parquet", "--html", out) == 0
    return out


class _Page(html.parser.HTMLParser):
    """Checks that tags close in order, and collects texts and ids."""

    VOID = frozenset({"meta", "rect", "line"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.texts, self.tags = [], [], [], Counter()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.ids += [value for name, value in attrs if name == "id"]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_escaped_and_needs_nothing_else(page):
    text = page.read_text()
    parsed = _Page()
    parsed.feed(text)
    assert parsed.open == []
    assert parsed.ids == ["overview", "c0", "c1", "c2", "c3", "c4"]
    assert parsed.tags["script"] == parsed.tags["link"] == parsed.tags["img"] == 0
    assert not re.search(r"https?:|url\(|@import", text)
    assert any("<script>alert" in one for one in parsed.texts)
    assert parsed.tags["svg"] >= 4


def test_the_page_is_drawn_by_a_browser(page):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine, so nobody drew the page: apt-get install chromium")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = _Page()
    drawn.feed(done.stdout)
    assert drawn.ids == ["overview", "c0", "c1", "c2", "c3", "c4"]
    for text in ("Columns", "missing", "distinct", "lengths", "length, p99", "values", "most frequent", "p50", "label", "history"):
        assert text in drawn.texts, text
    assert done.stdout.count("<svg") >= 4
    assert "<script" not in done.stdout


def test_the_command_prints_a_table_or_json_and_keeps_a_page_it_cannot_write_whole(tmp_path, capsys, monkeypatch):
    _write(tmp_path / "0.parquet", x=[1.0, 2.0, None], ids=[[1, 1], [2], []])
    assert _run(tmp_path / "0.parquet", "--columns", "ids", "--json") == 0
    (column,) = json.loads(capsys.readouterr().out)["columns"].values()
    assert (column["missing"], column["values"], column["top"][0]) == (1, 3, {"value": 1, "count": 2})
    monkeypatch.setenv("COLUMNS", "100")
    assert _run(tmp_path / "0.parquet") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 120
    assert "33.33%" in out
    assert _run(tmp_path / "0.parquet", "--html", tmp_path / "no" / "page.html") == 2
    assert "the page cannot be written" in capsys.readouterr().err


def test_a_page_of_many_columns_and_no_rows(tmp_path):
    _write(tmp_path / "0.parquet", **{f"c{index}": pa.array([], pa.int64()) for index in range(300)})
    text = page_of(scan(tmp_path / "0.parquet").summary(), "none")
    parsed = _Page()
    parsed.feed(text)
    assert parsed.open == []
    assert len(parsed.ids) == 301
