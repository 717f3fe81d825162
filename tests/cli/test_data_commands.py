"""`sparrow data head` and `schema`: what pyarrow says of the same files, whatever is in them."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc

from sparrow.cli.main import main
from sparrow.cli.show_data import cell_of, text_of

TABLE = pa.table(
    {
        "label": pa.array([0, 1, None], pa.int8()),
        "ids": pa.array([[1, 2], [], None], pa.list_(pa.int64())),
        "title": pa.array(["näh", None, ""]),
        "[red]x[/red]": pa.array([0.5, float("nan"), float("inf")]),
        "tags": pa.array([["a", "b"], None, []], pa.list_(pa.string())),
        "weights": pa.array([[("k", 0.5)], [], None], pa.map_(pa.string(), pa.float64())),
        "at": pa.array([0, None, 86_400_000], pa.timestamp("ms")),
    }
)


@pytest.fixture
def run(capsys):
    """Run a command: return (exit code, standard output, standard error)."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_head_as_json_is_what_pyarrow_reads(tmp_path, run):
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=2)
    code, out, _ = run("data", "head", tmp_path, "--json")
    assert code == 0
    rows = rows_of(out)
    assert [row["label"] for row in rows] == [0, 1, None]
    assert [row["ids"] for row in rows] == [[1, 2], [], None]
    assert [row["title"] for row in rows] == ["näh", None, ""]
    assert [row["[red]x[/red]"] for row in rows] == [0.5, None, None]  # JSON has no NaN
    assert [row["tags"] for row in rows] == [["a", "b"], None, []]
    assert [row["weights"] for row in rows] == [[["k", 0.5]], [], None]
    assert [row["at"] for row in rows] == ["1970-01-01T00:00:00", None, "1970-01-02T00:00:00"]


@pytest.mark.parametrize("num_rows", [1, 3, 4, 5, 9])
def test_head_goes_on_in_the_next_file_and_ends_there(tmp_path, run, num_rows):
    for part in range(2):
        orc.write_table(pa.table({"n": list(range(3 * part, 3 * part + 3))}), str(tmp_path / f"{part}.orc"))
    _, out, _ = run("data", "head", tmp_path, "--json", "--rows", num_rows)
    assert [row["n"] for row in rows_of(out)] == list(range(min(num_rows, 6)))


def test_head_prints_every_column_as_it_is_called(tmp_path, run, monkeypatch):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = run("data", "head", tmp_path)
    assert code == 0
    for text in (*TABLE.column_names, "row 0", "row 2", "[1, 2]", "null", "näh", "nan", "inf"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 60


def test_text_that_is_no_utf8_is_shown_as_escapes(tmp_path, run):
    array = pa.array([b"ok", b"\xff\x00a"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"s": array}), tmp_path / "a.parquet")
    code, out, err = run("data", "head", tmp_path)
    assert code == 0, err
    assert "\\xff\\x00a" in out


def test_keys_of_partition_folders_are_columns(tmp_path, run):
    for day in ("20261101", "20261102"):
        (tmp_path / f"ds={day}").mkdir()
        pq.write_table(pa.table({"n": [1]}), tmp_path / f"ds={day}" / "a.parquet")
    _, out, _ = run("data", "head", tmp_path, "--json")
    assert rows_of(out) == [{"n": 1, "ds": "20261101"}, {"n": 1, "ds": "20261102"}]
    _, out, _ = run("data", "head", tmp_path, "--json", "--columns", "ds")
    assert rows_of(out) == [{"ds": "20261101"}, {"ds": "20261102"}]
    _, out, _ = run("data", "schema", tmp_path, "--json")
    assert [column["name"] for column in json.loads(out)["columns"]] == ["n", "ds"]


def test_schema_counts_and_says_what_a_dataset_makes_of_each_column(tmp_path, run):
    pq.write_table(TABLE.append_column("price", pa.array([None] * 3, pa.decimal128(5, 2))), tmp_path / "a.parquet", row_group_size=2)
    code, out, _ = run("data", "schema", tmp_path / "a.parquet")
    assert code == 0
    assert "Parquet, 3 rows, 2 row groups" in out
    _, out, _ = run("data", "schema", tmp_path / "a.parquet", "--json")
    shown = json.loads(out)
    becomes = {column["name"]: column["becomes"] for column in shown["columns"]}
    assert becomes["label"] == "dense torch.int8 [rows]"
    assert becomes["ids"] == "ragged torch.int64, 1 levels"
    assert becomes["title"] == "ragged bytes, 1 levels"
    assert becomes["tags"] == "ragged bytes, 2 levels"
    assert becomes["price"] == "nothing"
    assert "decimals are not read" in shown["columns"][-1]["reason"]
    assert (shown["num_rows"], shown["num_pieces"], shown["num_bytes"]) == (3, 2, (tmp_path / "a.parquet").stat().st_size)


def test_schema_tells_how_files_differ(tmp_path, run):
    for name, table in (("a", {"x": [1], "y": [1]}), ("b", {"x": [1.5], "z": [1]}), ("c", {"x": [1], "y": [1]})):
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    code, out, _ = run("data", "schema", tmp_path)
    assert code == 0
    assert "3 files: Parquet, 3 rows" in out
    differing = [line for line in out.splitlines() if line.startswith("differs: ")]
    assert [line.partition("b.parquet: ")[2].partition(tmp_path.as_posix())[0] for line in differing] == [
        "column 'x' has type double, int64 in ",
        "no column 'y', which ",
        "column 'z', which ",
    ]


def test_lengths_of_formats_without_a_footer_are_unknown(tmp_path, run):
    (tmp_path / "a.csv").write_text("n,s\n1,a\n2,b\n")
    _, out, _ = run("data", "schema", tmp_path / "a.csv")
    assert "CSV, rows unknown before reading" in out
    _, out, _ = run("data", "head", tmp_path / "a.csv", "--json")
    assert rows_of(out) == [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}]


@pytest.mark.parametrize("command", ["head", "schema"])
def test_what_cannot_be_read_is_one_line(tmp_path, run, command):
    (tmp_path / "empty.orc").write_bytes(b"")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1xxxx")
    for path, reason in (("empty.orc", "empty"), ("cut.parquet", "Parquet"), ("none.orc", "no such file")):
        code, out, err = run("data", command, tmp_path / path)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith(f"error: {tmp_path / path}")
        assert reason in line


def test_an_unknown_column_is_named_with_the_nearest(tmp_path, run):
    orc.write_table(pa.table({"label": [1]}), str(tmp_path / "a.orc"))
    code, _, err = run("data", "head", tmp_path / "a.orc", "--columns", "lable")
    assert code == 2
    assert "did you mean 'label'" in err


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.binary() | st.booleans() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_a_cell_is_short_and_printable_whatever_it_holds(value):
    assert len(cell_of(value)) <= 24
    if not isinstance(value, dict):
        assert "\n" not in text_of(value)


def test_a_long_list_tells_its_length():
    assert cell_of(list(range(1000))).endswith("…] 1,000")
    assert cell_of([1, 2]) == "[1, 2]"
    assert text_of(datetime.date(2026, 11, 21)) == "2026-11-21"
