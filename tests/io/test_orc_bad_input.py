"""Files and paths that are not what they should be: one clear line each, and never another exception."""

import os
import random
import shutil

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.io import Dataset
from sparrow.types import ColumnSpec, Ragged

_TABLE = pa.table(
    {
        "x": list(range(60)),
        "f": [i / 2 for i in range(60)],
        "s": [str(i) * (i % 3) for i in range(60)],
        "l": [[i] * (i % 3) for i in range(60)],
        "w": [[str(i)] * (i % 3) for i in range(60)],
        "b": [i % 2 == 0 for i in range(60)],
    }
)


def _refused(message, paths, columns=("x",), kind=DataError, **options):
    """Reading all of it fails with one line that holds `message`; returns the line."""
    with pytest.raises(kind, match=message) as caught:
        list(Dataset(paths, list(columns), batch_size=8, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_paths_that_stand_for_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.log").write_text("x\n1\n")
    _refused(
        rf"{tmp_path}/no/part-0.orc: no such file or folder; the nearest folder that exists is {tmp_path}$", tmp_path / "no" / "part-0.orc"
    )
    _refused("the folder has no files of a known suffix .it holds no files; known: .orc, ", tmp_path / "empty")
    _refused("the folder has no files of a known suffix .it holds 1 other files, such as a.log", tmp_path / "log")
    _refused("no file matches this pattern", str(tmp_path / "*.orc"))
    _refused("paths is empty", [], kind=ConfigError)


def test_files_are_found_by_folder_glob_list_and_read_by_content(write_orc, tmp_path):
    parts = [pa.table({"x": [index]}) for index in range(3)]
    folder = write_orc(*parts)
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.orc.crc").write_bytes(b"crc")
    (folder / ".hidden.orc").write_bytes(b"not ORC")

    def read(paths):
        return [int(x) for batch in Dataset(paths, ["x"], batch_size=1) for x in batch["x"]]

    assert read(folder) == read(str(folder)) == read(str(folder / "part-?.orc")) == [0, 1, 2]
    assert read([folder / "part-2.orc", str(folder / "part-0.orc")]) == [2, 0]
    shutil.copy(folder / "part-1.orc", tmp_path / "renamed.parquet")
    assert read(tmp_path / "renamed.parquet") == [1]
    _refused("part-1.orc twice", [folder / "part-1.orc", folder], kind=ConfigError)


def test_files_that_are_no_orc_say_what_they_are(write_orc, tmp_path):
    pyarrow.parquet.write_table(_TABLE, tmp_path / "p.orc")
    (tmp_path / "empty.orc").touch()
    (tmp_path / "text.orc").write_text("label,i1\n1,2\n" * 100)
    whole = (write_orc(_TABLE) / "part-0.orc").read_bytes()
    (tmp_path / "half.orc").write_bytes(whole[: len(whole) // 2])
    _refused("p.orc: is a Parquet file, expected ORC; .*leave format= out", tmp_path / "p.orc", format="orc")
    _refused(r"empty.orc: the file is empty \(0 bytes\)", tmp_path / "empty.orc")
    _refused("text.orc: is not an ORC file .it begins with b'label,i1'", tmp_path / "text.orc")
    _refused("half.orc: is truncated: .* after", tmp_path / "half.orc")


def test_files_without_rows_are_skipped_unless_all_are(write_orc):
    none = pa.table({"x": pa.array([], pa.int64())})
    some = pa.table({"x": [1, 2]})
    folder = write_orc(none, some, none, none, some, none)
    dataset = Dataset(folder, ["x"], batch_size=3)
    assert [batch["x"].tolist() for batch in dataset] == [[1, 2, 1], [2]]
    assert dataset.num_rows == 4
    assert _refused("part-0.orc: no rows at all", write_orc(none))
    assert _refused("part-0.orc and the other 1 files: no rows at all", write_orc(none, none))


def test_a_later_file_that_differs_is_named_by_the_reader_thread(write_orc):
    first = pa.table({"x": [1, 2], "y": [1.0, 2.0]})
    folder = write_orc(first, pa.table({"x": [1, 2]}))
    _refused("part-1.orc: no column 'y'; did|part-1.orc: no column 'y'; known: x", folder, ["x", "y"])
    folder = write_orc(first, pa.table({"x": [1.0, 2.0]}))
    assert "part-0.orc" in _refused("part-1.orc: column 'x' has type double, but int64 in", folder)
    folder = write_orc(first, pa.table({"x": [[1], [2]]}))
    _refused("part-1.orc: column 'x' has type list<item: int64>, but int64 in", folder)


def test_a_later_file_of_another_type_is_read_where_the_spec_makes_both_alike(write_orc):
    folder = write_orc(pa.table({"x": [1, 2]}), pa.table({"x": pa.array([3], pa.int8())}), pa.table({"x": [[4.0]]}))
    dataset = Dataset(folder, [ColumnSpec("x", kind="dense", dtype=torch.int64)], batch_size=4)
    assert [batch["x"].tolist() for batch in dataset] == [[1, 2, 3, 4]]


def test_bad_rows_are_counted_from_the_start_of_their_file(write_orc):
    good = pa.table({"x": list(range(10))})
    folder = write_orc(good, pa.table({"x": [*range(7), None, 8]}), stripe_rows=3)
    _refused("part-1.orc: column 'x', row 7: a null", folder)


def test_a_file_deleted_or_replaced_while_in_use(write_orc):
    folder = write_orc(_TABLE, _TABLE, _TABLE)
    dataset = Dataset(folder, ["x"], batch_size=8)
    (folder / "part-1.orc").unlink()
    with pytest.raises(DataError, match=r"part-1.orc: the file is gone"):
        list(dataset)
    shutil.copy(write_orc(_TABLE.slice(5)) / "part-0.orc", folder / "part-1.orc")
    with pytest.raises(DataError, match=r"part-1.orc: changed while in use"):
        list(dataset)
    with pytest.raises(DataError, match=r"part-1.orc: changed while in use"):
        dataset.num_rows  # noqa: B018


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_without_permission(write_orc):
    path = write_orc(_TABLE) / "part-0.orc"
    path.chmod(0)
    _refused("cannot be opened .*ermission", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": []}, "columns is empty"),
        ({"columns": "x"}, r"give a list, such as \['x'\]"),
        ({"columns": ["x", ColumnSpec("x")]}, "columns names 'x' twice"),
        ({"columns": [1]}, "columns holds 1"),
        ({"columns": ["x"], "batch_size": 0}, "batch_size is 0"),
        ({"columns": ["x"], "batch_size": 2.0}, "batch_size is 2.0"),
        ({"columns": ["x"], "prefetch": -1}, "prefetch is -1"),
    ],
    ids=str,
)
def test_arguments_that_can_never_be_right(write_orc, arguments, message):
    with pytest.raises(ConfigError, match=message):
        Dataset(write_orc(_TABLE), **{"batch_size": 1, **arguments})


def _read_all(path):
    """Read every column; what comes must be well formed whatever the bytes are."""
    dataset = Dataset(path, _TABLE.schema.names, batch_size=7, prefetch=1)
    num_rows = 0
    for batch in dataset:
        for name in batch:
            column = batch[name]
            if isinstance(column, Ragged):
                column.check(name)
                assert column.num_rows == batch.num_samples
            else:
                assert column.shape == (batch.num_samples,)
        num_rows += batch.num_samples
    assert num_rows == dataset.num_rows
    return num_rows


def _problem_of(path):
    try:
        _read_all(path)
    except DataError as error:
        return str(error)
    return None


@settings(max_examples=40, deadline=None)
@given(fraction=st.floats(0, 1, exclude_max=True), compression=st.sampled_from(["uncompressed", "zlib", "zstd"]))
def test_a_file_cut_anywhere_is_refused(write_orc, fraction, compression):
    path = write_orc(_TABLE, stripe_rows=20, compression=compression) / "part-0.orc"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(DataError, match=f"^{path}: "):
        _read_all(path)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), compression=st.sampled_from(["uncompressed", "zlib", "zstd"]))
def test_damaged_bytes_give_a_data_error_or_well_formed_batches(write_orc, seed, compression):
    """ORC has no checksums: a changed value byte cannot be noticed, but nothing may crash, and no other exception may escape."""
    path = write_orc(_TABLE, stripe_rows=20, compression=compression) / "part-0.orc"
    damaged = bytearray(path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 2, 8])):
        # Half of the damage goes to the footers, which are small and hold all structure.
        place = chance.randrange(len(damaged)) if chance.random() < 0.5 else len(damaged) - 1 - chance.randrange(500)
        damaged[place] = chance.randrange(256)
    path.write_bytes(damaged)
    problem = _problem_of(path)
    assert problem is None or (problem.startswith(str(path)) and "\n" not in problem)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {},
        {"version": 1},
        {"epoch": -1},
        {"taken": "7"},
        {"deal": True},
        {"dealt": 2**63},
        {"deal": 2},
        {"rank": 1},
        {"world_size": 0},
        {"shuffle": [1]},
        {"shuffle": [-1, 1, 1]},
        {"base": None},
        {"base": {"begun": 1, "left": [[0, [[1, 2], [2, 3]]]]}},
        {"base": {"begun": 1, "left": [[0, [[2, 1]]]]}},
        {"base": {"begun": 1, "left": [[1, [[1, 2]]]]}},
        {"base": {"begun": 9, "left": []}},
        {"columns": "x"},
        {"files": {}},
        {"files": {"num_files": 1, "digest": "", "listed": [[1]]}},
    ],
    ids=str,
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(write_orc, broken):
    dataset = Dataset(write_orc(_TABLE), ["x"], batch_size=8)
    next(iter(dataset))
    before = dataset.state_dict()
    with pytest.raises(CheckpointError, match="the reader's state"):
        dataset.load_state_dict(broken if not broken else {**before, **broken})
    assert dataset.state_dict() == before


def test_a_state_beyond_the_end_of_its_file_is_refused(write_orc):
    dataset = Dataset(write_orc(_TABLE), ["x"], batch_size=8)
    dataset.load_state_dict({**dataset.state_dict(), "taken": 61})
    with pytest.raises(DataError, match="the saved position is row 61 of it and the files read with it, but they have 60"):
        next(iter(dataset))
