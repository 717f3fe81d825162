"""Generation as an operation: all or nothing, repeatable, and clear about what is wrong."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from sparrow.errors import ConfigError, DataError
from sparrow.synth import IdColumn, Interaction, NumericColumn, Shape, SynthReport, SynthSpec, generate

KILLED = """
import sys
from sparrow.synth import SynthSpec, generate

def progress(num_done, num_rows):
    print(num_done, flush=True)

generate(sys.argv[1], SynthSpec(rows=10_000_000), progress)
"""


def test_a_killed_generation_leaves_nothing_that_looks_finished(tmp_path, small_spec):
    target = tmp_path / "made"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout.readline().strip() == "16384"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [f".made.partial-{process.pid}"]
    # The next generation cleans up after it.
    generate(target, dataclasses.replace(small_spec, rows=100, eval_rows=100))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_generation_under_way_elsewhere_is_left_alone(tmp_path, small_spec):
    other = tmp_path / f".made.partial-{os.getppid()}"
    other.mkdir()
    generate(tmp_path / "made", dataclasses.replace(small_spec, rows=100, eval_rows=100))
    assert other.exists()


def test_an_exception_leaves_nothing(tmp_path, small_spec):
    def progress(num_done, num_rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "made", small_spec, progress)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_all_rows(tmp_path, small_spec):
    seen = []
    generate(tmp_path / "made", dataclasses.replace(small_spec, rows=20_000, eval_rows=300), lambda done, total: seen.append((done, total)))
    assert seen == [(16_384, 20_300), (20_000, 20_300), (20_300, 20_300)]


def test_the_same_data_set_is_not_made_twice(small_spec, small_data):
    before = {path: path.stat().st_mtime_ns for path in small_data.folder.rglob("*")}
    again = generate(small_data.folder, small_spec)
    assert again == dataclasses.replace(small_data, reused=True)
    assert {path: path.stat().st_mtime_ns for path in small_data.folder.rglob("*")} == before


def test_another_data_set_is_not_overwritten(small_spec, small_data):
    with pytest.raises(ConfigError, match=r"of another seed \(5, asked for 7\)"):
        generate(small_data.folder, dataclasses.replace(small_spec, seed=7))
    with pytest.raises(ConfigError, match="of another shape"):
        generate(small_data.folder, dataclasses.replace(small_spec, shape=None))


def test_a_folder_of_other_things_is_not_touched(tmp_path, small_spec):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds no data set"):
        generate(tmp_path, small_spec)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="holds no data set"):
        generate(tmp_path / "thesis.txt", small_spec)


def test_an_empty_folder_is_filled(tmp_path, small_spec):
    (tmp_path / "made").mkdir()
    generate(tmp_path / "made", dataclasses.replace(small_spec, rows=100, eval_rows=100))
    assert (tmp_path / "made" / "truth.json").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, small_spec):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write the data set") as caught:
        generate(tmp_path / "file" / "made", small_spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99, "spec": {}}', '{"format": 1, "spec": {}, "report": {}}', "\0\xff"])
def test_a_damaged_truth_file_is_named(tmp_path, small_spec, text):
    (tmp_path / "truth.json").write_text(text)
    with pytest.raises(DataError, match=r"truth\.json"):
        SynthReport.read(tmp_path)
    with pytest.raises(DataError, match=r"truth\.json"):
        generate(tmp_path, small_spec)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rows", 0),
        ("rows", 1.5),
        ("rows", True),
        ("rows", 2**31),
        ("eval_rows", 1),
        ("seed", -1),
        ("seed", 2**63),
        ("rows_per_file", 0),
        ("known_after", 0),
        ("click_rate", 0),
        ("click_rate", 1),
        ("click_rate", float("nan")),
    ],
)
def test_a_spec_names_the_bad_setting(key, value):
    with pytest.raises(ConfigError, match=key):
        SynthSpec(**({"rows": 100} | {key: value}))


C1 = IdColumn(name="c1", cardinality=10, zipf=1.0)
C2 = IdColumn(name="c2", cardinality=10, zipf=1.0)
I1 = NumericColumn(name="i1", centre=1.0, spread=1.0)


@pytest.mark.parametrize(
    ("numerics", "ids", "interactions", "message"),
    [
        ((), (C1, C1), (), "'c1' is named twice"),
        ((dataclasses.replace(I1, name="label"),), (), (), "'label' is named twice"),
        ((dataclasses.replace(I1, missing=1.0),), (), (), "i1: missing"),
        ((dataclasses.replace(I1, spread=0.0),), (), (), "i1: centre"),
        ((dataclasses.replace(I1, centre=30.0, spread=3.0),), (), (), "2\\*\\*53"),
        ((dataclasses.replace(I1, slope=-1.0),), (), (), "i1: slope"),
        ((), (dataclasses.replace(C1, cardinality=1),), (), "c1: cardinality"),
        ((), (dataclasses.replace(C1, zipf=-1.0),), (), "c1: zipf"),
        ((), (dataclasses.replace(C1, missing=-0.1),), (), "c1: missing"),
        ((), (dataclasses.replace(C1, effect=float("nan")),), (), "c1: effect"),
        ((), (dataclasses.replace(C1, max_length=0),), (), "c1: max_length"),
        ((), (dataclasses.replace(C1, max_length=2, text=True),), (), "c1: a column of strings"),
        ((), (dataclasses.replace(C1, max_length=2, missing=0.5),), (), "c1: missing"),
        ((), (C1, C2), (Interaction(left="c1", right="C2", effect=1.0),), "no id column 'C2'"),
        ((), (C1, C2), (Interaction(left="c1", right="c1", effect=1.0),), "joins a column with itself"),
        ((), (C1, C2), (Interaction(left="c1", right="c2", effect=1.0, rank=5),), "rank is 5"),
        ((), (C1, C2), (Interaction(left="c1", right="c2", effect=-1.0),), "effect is -1.0"),
        ((), (C1, C2), (Interaction(left="c1", right="c2", effect=1.0),) * 2, "c1 x c2 is named twice"),
        ((), (C1, dataclasses.replace(C2, max_length=2)), (Interaction(left="c1", right="c2", effect=1.0),), "columns of one id"),
        ((), (C1, dataclasses.replace(C2, cardinality=2**25)), (Interaction(left="c1", right="c2", effect=1.0),), "possible pairs"),
    ],
)
def test_a_shape_names_the_bad_column(numerics, ids, interactions, message):
    with pytest.raises(ConfigError, match=message):
        Shape(numerics=numerics, ids=ids, interactions=interactions)
