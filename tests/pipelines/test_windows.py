"""Training on windows one after the other, tested on the next, resumable inside of one."""

import json

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.io import Dataset, Windows
from sparrow.pipelines import EvaluateNext, Trainer


class _Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.5, -0.25]))

    def forward(self, batch):
        return self.weight[0] * batch["x"] + self.weight[1]


@pytest.fixture
def days(tmp_path):
    """Three days of 20, 13 and 9 rows; x numbers all rows."""
    begin = 0
    for day, size in (("20261101", 20), ("20261103", 13), ("20261102", 9)):
        folder = tmp_path / "days" / f"ds={day}"
        folder.mkdir(parents=True)
        rows = range(begin, begin + size)
        table = pa.table({"x": pa.array([row / 10 for row in rows], pa.float32()), "row": list(rows), "label": [row % 2 for row in rows]})
        parquet.write_table(table, folder / "0.parquet", row_group_size=4)
        begin += size
    return tmp_path / "days"


def _windows(days, **options):
    return Windows.by_key(days, "ds", lambda paths: Dataset(paths, ["x", "row", "label"], **{"batch_size": 6, **options}))


def _rows(batches):
    return [row for batch in batches for row in batch["row"].tolist()]


_OF_DAYS = [list(range(20)), list(range(33, 42)), list(range(20, 33))]


def test_each_window_is_an_epoch_in_order(days):
    windows = _windows(days)
    assert (len(windows), windows.names) == (3, ("20261101", "20261102", "20261103"))
    seen = []
    while windows.epoch < len(windows):
        seen.append(_rows(windows))
    assert seen == _OF_DAYS
    assert list(windows) == []
    assert _rows(windows.dataset_of(1)) == _OF_DAYS[1]


def test_it_can_stop_anywhere_and_go_on(days):
    for stop in range(9):
        windows = _windows(days)
        seen = []
        while len(seen) < stop and windows.epoch < 3:
            for batch in windows:
                seen.append(batch)
                if len(seen) == stop:
                    break
        state = json.loads(json.dumps(windows.state_dict()))
        resumed = _windows(days, batch_size=4)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        rest = []
        while resumed.epoch < 3:
            rest += _rows(resumed)
        assert _rows(seen) + rest == [row for day in _OF_DAYS for row in day]


def test_states_and_windows_that_make_no_sense_are_refused(days):
    windows = _windows(days)
    for state in (None, {}, {"window": -1, "inside": None, "windows": []}, {"window": True, "inside": None, "windows": []}):
        with pytest.raises(CheckpointError, match="of no sequence of windows"):
            windows.load_state_dict(state)
    with pytest.raises(ConfigError, match="in window 7"):
        windows.load_state_dict({"window": 7, "inside": None, "windows": ["x"]})
    with pytest.raises(ConfigError, match="in window 1, 20261105; now 20261102"):
        windows.load_state_dict({"window": 1, "inside": None, "windows": ["20261105"]})
    with pytest.raises(ConfigError, match="no window 3; there are 3"):
        windows.dataset_of(3)
    with pytest.raises(ConfigError, match="there is no window"):
        Windows({}, lambda paths: windows.dataset_of(0))
    with pytest.raises(DataError, match=r"0.parquet: it is in no folder hour=VALUE"):
        Windows.by_key(days, "hour", lambda paths: windows.dataset_of(0))


def _trained(days, folder, stops=()):
    """Train to the end in sessions that end at `stops` steps; return weights and the results of the tests."""
    for max_steps in (*stops, None):
        model = _Model()
        windows = _windows(days)
        tests = EvaluateNext(windows)
        trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), progress=False, run_folder=str(folder), hooks=[tests])
        trainer.fit(windows, epochs=len(windows), max_steps=max_steps, resume=folder.exists())
    return model.weight.tolist(), tests.results


def test_a_model_is_trained_on_each_and_tested_on_the_next(days, tmp_path):
    weights, results = _trained(days, tmp_path / "whole")
    assert [(name, metrics["num_samples"]) for name, metrics in results.items()] == [("20261102", 9), ("20261103", 13)]
    # The model that is tested on a window has seen those before it, and no more.
    model, windows = _Model(), _windows(days)
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), progress=False)
    trainer.fit(windows, epochs=1)
    assert trainer.evaluate(windows.dataset_of(1)) == results["20261102"]
    assert _trained(days, tmp_path / "cut", stops=(2, 4, 5)) == (weights, results)


def test_what_a_window_leaves_out_is_counted(days):
    (days / "ds=20261101" / "1.parquet").write_bytes(b"PAR1")
    windows = _windows(days, on_error="skip")
    assert len(_rows(windows)) == 20
    assert windows.dataset_of(0).counters == {"skipped_files": 0, "skipped_pieces": 0, "skipped_rows": 0, "filtered_rows": 0}
    dataset = windows.dataset_of(0)
    list(dataset)
    assert dataset.counters["skipped_files"] == 1
