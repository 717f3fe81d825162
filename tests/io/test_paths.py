"""Where files come from: partition folders, URLs, filesystems of pyarrow and fsspec, patterns, many files."""

import glob
import itertools
import json
import os
import pathlib
import sys
import time

import fsspec
import pyarrow as pa
import pytest
import torch
from pyarrow import fs, parquet

from sparrow.errors import ConfigError, DataError
from sparrow.io import Dataset, Shuffle
from sparrow.io.files import SourceFile, find_files
from sparrow.types import ColumnSpec


def _write(path, *values, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"x": pa.array(values, pa.int64()), **columns}), path, row_group_size=2)


def _read(paths, columns=("x",), **options):
    batches = list(Dataset(paths, list(columns), batch_size=3, **options))
    return [row for batch in batches for row in batch["x"].tolist()]


@pytest.fixture
def partitioned(tmp_path):
    """ds=20261102 before ds=20261101 in time of writing; hours in the order of names."""
    for number, (day, hour) in enumerate(itertools.product(["20261102", "20261101"], ["10", "09"])):
        _write(tmp_path / f"ds={day}" / f"hour={hour}" / "part-0.parquet", 10 * number, 10 * number + 1)
    (tmp_path / "ds=20261101" / "_SUCCESS").touch()
    _write(tmp_path / "ds=20261101" / "_temporary" / "part-0.parquet", 99)
    _write(tmp_path / ".hidden" / "part-0.parquet", 99)
    return tmp_path


def test_partition_folders_are_read_in_order_and_give_columns(partitioned, rows_of):
    columns = ["x", "ds", ColumnSpec("hour", dtype=torch.int32)]
    assert _read(partitioned) == [30, 31, 20, 21, 10, 11, 0, 1]
    dataset = Dataset(partitioned, columns, batch_size=3)
    batches = list(dataset)
    assert [day for batch in batches for day in rows_of(batch["ds"])] == [b"20261101"] * 4 + [b"20261102"] * 4
    assert torch.cat([batch["hour"] for batch in batches]).tolist() == [9, 9, 10, 10] * 2
    assert batches[0]["hour"].dtype == torch.int32
    assert dataset.schema == {"x": "int64", "ds": "string", "hour": "int64"}
    assert batches[1].locate(2) == f"{partitioned}/ds=20261102/hour=09/part-0.parquet, row 1"
    assert dataset.num_rows == 8


def test_partition_keys_alone_and_of_one_partition(partitioned, rows_of):
    (batch,) = Dataset(partitioned / "ds=20261101", ["hour", "ds"], batch_size=100)
    assert rows_of(batch["hour"]) == [b"09", b"09", b"10", b"10"]
    assert rows_of(batch["ds"]) == [b"20261101"] * 4
    (batch,) = Dataset(str(partitioned / "ds=*" / "hour=10" / "*"), [ColumnSpec("ds", dtype=torch.float64)], batch_size=100)
    assert batch["ds"].tolist() == [20261101.0] * 2 + [20261102.0] * 2


def test_the_state_tells_partitions_apart(partitioned, tmp_path):
    dataset = Dataset(partitioned, ["x", "ds"], batch_size=3)
    next(iter(dataset))
    state = json.loads(json.dumps(dataset.state_dict()))
    assert [name for name, _ in state["files"]["listed"]][:2] == [
        "ds=20261101/hour=09/part-0.parquet",
        "ds=20261101/hour=10/part-0.parquet",
    ]
    again = Dataset(partitioned, ["x", "ds"], batch_size=10)
    again.load_state_dict(state)
    assert [batch["x"].tolist() for batch in again] == [[21, 10, 11, 0, 1]]
    (partitioned / "ds=20261101").rename(partitioned / "ds=20261103")
    with pytest.raises(DataError, match=r"file 0 was ds=20261101/hour=09/part-0.parquet, now it is ds=20261102/hour=09/part-0.parquet"):
        Dataset(partitioned, ["x", "ds"], batch_size=3).load_state_dict(state)


def test_values_of_partition_keys(tmp_path, rows_of):
    _write(tmp_path / "k=a%2Fb%20%3D" / "flag=True" / "0.parquet", 1)
    _write(tmp_path / "k=__HIVE_DEFAULT_PARTITION__" / "flag=0" / "0.parquet", 2)
    _write(tmp_path / "k=" / "flag=1" / "0.parquet", 3)
    columns = ["x", ColumnSpec("k", kind="ragged"), ColumnSpec("flag", dtype=torch.bool)]
    (batch,) = Dataset(tmp_path, columns, batch_size=10)
    assert list(zip(batch["x"].tolist(), rows_of(batch["k"]), batch["flag"].tolist(), strict=True)) == [
        (3, [b""], True),
        (2, [], False),
        (1, [b"a/b ="], True),
    ]
    with pytest.raises(DataError, match=r"0.parquet: its folder says flag=True, which is no torch.int64; ask for another dtype"):
        list(Dataset(tmp_path, [ColumnSpec("flag", dtype=torch.int64)], batch_size=1))
    with pytest.raises(DataError, match="column 'k', row 0: a null, and the column has no default"):
        list(Dataset(tmp_path / "k=__HIVE_DEFAULT_PARTITION__", [ColumnSpec("k", kind="dense", dtype=torch.int64)], batch_size=1))


def test_a_column_of_the_file_goes_before_a_folder(tmp_path):
    _write(tmp_path / "x=7" / "0.parquet", 1, 2)
    assert _read(tmp_path) == [1, 2]
    _write(tmp_path / "y=1" / "0.parquet", 3)
    with pytest.raises(DataError, match=r"y=1/0.parquet: no column 'z'"):
        Dataset(tmp_path / "y=1", ["z"], batch_size=1)
    with pytest.raises(DataError, match=r"y=1/0.parquet: column 'y' has type .*|y=1/0.parquet: no column 'q'; known: x, y"):
        Dataset(tmp_path / "y=1", ["q"], batch_size=1)


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def _copy(folder, memory, root):
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            memory.pipe_file(f"/{root}/{path.relative_to(folder)}", path.read_bytes())


def test_urls_of_fsspec(partitioned, memory, rows_of):
    _copy(partitioned, memory, "bucket/clicks")
    local = Dataset(partitioned, ["x", "ds"], batch_size=3)
    remote = Dataset("memory://bucket/clicks", ["x", "ds"], batch_size=3)
    assert remote.files[0] == "memory://bucket/clicks/ds=20261101/hour=09/part-0.parquet"
    for here, there in zip(local, remote, strict=True):
        assert torch.equal(here["x"], there["x"])
        assert rows_of(here["ds"]) == rows_of(there["ds"])
    batches = iter(local)
    next(batches)
    remote.load_state_dict(local.state_dict())  # the files were copied; the position holds
    assert [x for batch in remote for x in batch["x"].tolist()] == [21, 10, 11, 0, 1]
    with pytest.raises(DataError, match=r"memory://bucket/no: no such file or folder; the nearest folder that exists is memory://bucket$"):
        Dataset("memory://bucket/no", ["x"], batch_size=1)


_PATTERNS = [
    "ds=*/hour=1?/*.parquet",
    "**/*.parquet",
    "ds=20261101/**",
    "*/hour=[01]9/part-0.parquet",
    "**/hour=10/*",
    "no/*",
    "ds=*/*.parquet",
]


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_patterns_match_alike_everywhere(partitioned, memory, pattern):
    _copy(partitioned, memory, "b")
    matches = sorted(glob.glob(f"{partitioned}/{pattern}", recursive=True))
    expected = [path[len(str(partitioned)) + 1 :] for path in matches if pathlib.Path(path).is_file()]
    assert bool(expected) == (pattern not in ("no/*", "ds=*/*.parquet"))
    for paths, options in ((f"memory://b/{pattern}", {}), (f"/b/{pattern}", {"filesystem": memory})):
        if not expected:
            with pytest.raises(DataError, match="no file matches this pattern"):
                find_files(paths, **options)
            continue
        found = [file.path for file in find_files(paths, **options)]
        assert [path.partition("b/")[2] for path in found] == expected


def test_filesystems_of_pyarrow(partitioned):
    assert _read(f"file://{partitioned}") == _read(partitioned)
    subtree = fs.SubTreeFileSystem(str(partitioned), fs.LocalFileSystem())
    assert _read("ds=20261101", filesystem=subtree) == [30, 31, 20, 21]
    assert _read("", filesystem=subtree) == _read(partitioned)
    assert _read("ds=*/hour=09/*", filesystem=subtree) == [30, 31, 10, 11]
    with pytest.raises(ConfigError, match=r"filesystem is a str; expected one of pyarrow.fs or of fsspec"):
        _read("x", filesystem="s3")


def test_urls_that_nothing_opens(monkeypatch):
    with pytest.raises(ConfigError, match=r"foo://: neither pyarrow \(.*\) nor fsspec \(Protocol not known: foo\) opens it"):
        Dataset("foo://a/b", ["x"], batch_size=1)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r"memory://: pyarrow does not open it \(.*\); install fsspec"):
        Dataset("memory://a/b", ["x"], batch_size=1)


def test_one_filesystem_serves_all_files_of_a_bucket(memory, tmp_path):
    for index in range(3):
        _write(tmp_path / f"{index}.parquet", index)
    _copy(tmp_path, memory, "b")
    files = find_files([f"memory://b/{index}.parquet" for index in (2, 0, 1)])
    assert len({id(file.place.filesystem) for file in files}) == 1
    assert _read([f"memory://b/{index}.parquet" for index in (2, 0, 1)]) == [2, 0, 1]
    with pytest.raises(ConfigError, match=r"names memory://b/1.parquet twice"):
        find_files(["memory://b/1.parquet", "memory://b"])


def test_hive_files_without_a_suffix(tmp_path):
    for name in ("000001_0", "000000_0"):
        _write(tmp_path / "ds=1" / name, int(name[5]))
    assert _read(tmp_path) == [0, 1]
    _write(tmp_path / "ds=2" / "a.PARQUET", 7)
    assert _read(tmp_path) == [7]  # where some files say what they are, the others are not data


def test_files_numbered_behind_the_suffix(tmp_path):
    for part in (1, 0):
        _write(tmp_path / f"clicks.parquet-0000{part}-of-00002", part)
    (tmp_path / "dataset_info.json").write_text("{}")
    assert _read(tmp_path) == [0, 1]


def test_of_many_files_only_the_first_is_opened_before_its_rows_come(tmp_path, monkeypatch):
    _write(tmp_path / "00000.parquet", 1, 2, 3)
    data = (tmp_path / "00000.parquet").read_bytes()
    for index in range(1, 1000):
        (tmp_path / f"{index:05}.parquet").write_bytes(data)
    opened = []
    really_open = SourceFile.open
    monkeypatch.setattr(SourceFile, "open", lambda file: opened.append(file.path) or really_open(file))
    dataset = Dataset(tmp_path, ["x"], batch_size=2, prefetch=0)
    assert next(iter(dataset))["x"].tolist() == [1, 2]
    assert set(opened) == {str(tmp_path / "00000.parquet")}


@pytest.mark.parametrize("options", [{}, {"shuffle": Shuffle(1)}, {"rank": 3, "world_size": 8}], ids=["in order", "shuffled", "a rank"])
def test_the_first_batch_of_ten_thousand_files_comes_in_half_a_second(tmp_path, options):
    """By the processor's time, the least of three: others may have the processor meanwhile. And the state of them is small."""
    _write(tmp_path / "00000.parquet", 1, 2, 3)
    data = (tmp_path / "00000.parquet").read_bytes()
    for index in range(1, 10_000):
        (tmp_path / f"{index:05}.parquet").write_bytes(data)
    seconds = []
    for _ in range(3):
        began = time.process_time()
        dataset = Dataset(tmp_path, ["x"], batch_size=2, **options)
        assert next(iter(dataset)).num_samples == 2
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.5
    assert len(json.dumps(dataset.state_dict())) < 100_000


def test_a_file_written_to_with_the_same_size_is_noticed(tmp_path):
    for index in range(2):
        _write(tmp_path / f"{index}.parquet", index, 5)
    dataset = Dataset(tmp_path, ["x"], batch_size=1, prefetch=0)
    batches = iter(dataset)
    next(batches)
    path = tmp_path / "1.parquet"
    status = path.stat()
    data = path.read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"1.parquet: changed while in use, it was written to since; make the dataset anew"):
        list(batches)
    # Changed while its rows are being read: noticed at its end.
    dataset = Dataset(tmp_path, ["x"], batch_size=1, prefetch=0)
    batches = iter(dataset)
    next(batches)
    (tmp_path / "0.parquet").write_bytes(data)
    os.utime(tmp_path / "0.parquet", ns=(0, 1))
    with pytest.raises(DataError, match=r"0.parquet: changed while in use"):
        list(batches)
