"""Real rows: every value of two Criteo files against pyarrow."""

import json

import pyarrow as pa
import pytest
import torch
from pyarrow import orc

from sparrow.io import Dataset
from sparrow.knobs import data_folder
from sparrow.types import ColumnSpec

_FOLDER = data_folder() / "criteo_orc"
pytestmark = pytest.mark.skipif(
    not _FOLDER.is_dir(), reason=f"no Criteo rows in {_FOLDER}; set SPARROW_DATA to the folder that has criteo_orc"
)

_NUMBERS = [f"i{index}" for index in range(1, 14)]
_IDS = [f"c{index}" for index in range(1, 27)]
_COLUMNS = [
    ColumnSpec("label", kind="dense", dtype=torch.float32),
    *(ColumnSpec(name, kind="dense", default=-7.0, dtype=torch.float32) for name in _NUMBERS),
    *_IDS,
]


def test_every_value_of_two_parts(rows_of):
    dataset = Dataset([_FOLDER / "part-2.orc", _FOLDER / "part-5.orc"], _COLUMNS, batch_size=1024)
    batches = list(dataset)
    table = pa.concat_tables(orc.read_table(path) for path in dataset.files)
    assert dataset.num_rows == table.num_rows == sum(batch.num_samples for batch in batches)
    for name in _IDS:
        assert [row for batch in batches for row in rows_of(batch[name])] == table.column(name).to_pylist()
    for name in ("label", *_NUMBERS):
        expected = torch.tensor([(row or [-7.0])[0] for row in table.column(name).to_pylist()], dtype=torch.float32)
        assert torch.equal(torch.cat([batch[name] for batch in batches]), expected)


def test_resuming_in_the_middle_of_a_part(rows_of):
    whole = Dataset(_FOLDER, ["c1", "label"], batch_size=777)
    rows = [row for batch in whole for row in rows_of(batch["c1"])]
    dataset = Dataset(_FOLDER, ["c1", "label"], batch_size=777)
    batches = iter(dataset)
    num_seen = sum(next(batches).num_samples for _ in range(20))
    state = json.loads(json.dumps(dataset.state_dict()))
    resumed = Dataset(_FOLDER, ["label", "c1"], batch_size=1000, prefetch=0)
    resumed.load_state_dict(state)
    assert [row for batch in resumed for row in rows_of(batch["c1"])] == rows[num_seen:]
