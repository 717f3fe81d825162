"""The Python blocks of docs/data.md run as they stand, and the page names every option."""

import dataclasses
import inspect
import pathlib
import re
import shutil
from typing import Any, get_args

import fsspec
import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from sparrow.io import Dataset
from sparrow.io.cutting import Tail
from sparrow.io.formats import Csv, Orc, Parquet, TFRecord
from sparrow.io.formats.known import FORMATS
from tfrecord_writer import write_examples

_PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text()
_BLOCKS = re.findall(r"^```python\n(.*?)^```", _PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the page reads."""
    for name in ("clicks", "by_content", "logs"):
        (tmp_path / name).mkdir()
    table = pa.table({"label": [0.0, 1.0] * 30, "c1": [[row, row] for row in range(60)], "title": [str(row) for row in range(60)]})
    for part in range(2):
        orc.write_table(table, str(tmp_path / "clicks" / f"part-{part}.orc"))
    parquet.write_table(table, tmp_path / "by_content" / "data")
    (tmp_path / "logs" / "part-0").write_text("label,c1\n1,2\n")
    with pa.ipc.new_stream(tmp_path / "rows.arrows", table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "rows.tsv").write_text("label\tc1\n1\t2\n")
    (tmp_path / "criteo.txt").write_text("0\t5\t68fd\n1\t\\N\t\n")
    write_examples(tmp_path / "examples.tfrecord", [{"ids": ("int64", [1, 2]), "label": ("float", [1.0])}] * 5)
    for day, hour in (("20261101", "03"), ("20261102", "03"), ("20261102", "04")):
        path = tmp_path / "events" / f"ds={day}" / f"hour={hour}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        shutil.copy(tmp_path / "by_content" / "data", path)
    types: dict[str, Any] = {
        "price": pa.array([1.5, None]),
        "pair": pa.array([[1.0, 2.0], [3.0, 4.0]]),
        "clicked_at": pa.array([0, 1_000_000], pa.timestamp("us")),
        "embedding": pa.array([[0.0] * 4] * 2, pa.list_(pa.float32(), 4)),
        "tags": pa.array([[(1, 0.5)], []], pa.map_(pa.int64(), pa.float64())),
        "word": pa.array(["a", None]),
    }
    parquet.write_table(pa.table(types), tmp_path / "types.parquet")
    flat = {"label": [0.0, 1.0, 0.0], "user_id": ["a", "a", "b"], "age": [30, 30, 40], "history": [[1, 2], [1, 2], [3]]}
    parquet.write_table(pa.table(flat), tmp_path / "flat.parquet")
    requests = {"label_0": [[0.0, 1.0]], "item_0": [[7, 8]], "history_1": [[[1, 2], [3]]], "_indicator_1": [[1, 0]]}
    parquet.write_table(pa.table(requests), tmp_path / "requests.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    fsspec.filesystem("memory").store.clear()


def test_every_example_runs_and_every_dataset_can_be_read(folder, monkeypatch, capsys):
    names: dict[str, Any] = {}
    made = []
    for block in _BLOCKS:
        exec(compile(block, "data.md", "exec"), names)
        if "Dataset" in names and not made:

            def recorded(*arguments, **options):
                made.append((arguments, options))
                return Dataset(*arguments, **options)

            names["Dataset"] = recorded
            made.append((("clicks", ["c1"]), {"batch_size": 64}))
    assert len(made) >= 18
    for arguments, options in made:
        assert sum(batch.num_samples for batch in Dataset(*arguments, **options)) > 0, arguments
    assert "Counter({'files': 2, 'rows': 0})" in capsys.readouterr().out


def test_the_first_example_says_what_comes(folder):
    names: dict[str, Any] = {}
    exec(_BLOCKS[0].replace("batch_size=1024", "batch_size=10"), names)
    assert names["batch"].locate(3).endswith("part-1.orc, row 53")
    assert names["dataset"].epoch == 1


def test_the_page_shows_every_format_and_option():
    code = "".join(_BLOCKS)
    for name in FORMATS:
        assert f'"{name}"' in code, name
    for suffix in {suffix for one in FORMATS.values() for suffix in one.suffixes}:
        assert f"`{suffix}`" in _PAGE, suffix
    options = [name for name in inspect.signature(Dataset.__init__).parameters if name not in ("self", "paths", "columns", "batch_size")]
    for option in options:
        assert f"{option}=" in code, option
    for tail in get_args(Tail):
        assert f'"{tail}"' in code, tail
    for one in (Csv, Orc, Parquet, TFRecord):
        for field in dataclasses.fields(one):
            if field.compare:  # the others are no options
                assert f"{field.name}=" in _PAGE or field.name == "features", field.name
