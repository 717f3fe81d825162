"""Seam: a batch may hold user-side columns once a user, joined to its samples by `sample_to_row`."""

import pytest
import torch

from sparrow.errors import DataError
from sparrow.types import Batch, Group, Ragged, RowSpan

# Samples 0..4 belong to users 2, 0, 0, 1, 2.
_SAMPLE_TO_ROW = [2, 0, 0, 1, 2]
_HISTORY = [[1, 2, 3], [], [4]]
_ORIGIN = (RowSpan("a.orc", 7, 2), RowSpan("b.orc", 0, 3))


def _history():
    lengths = torch.tensor([len(row) for row in _HISTORY])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return Ragged(torch.tensor([item for row in _HISTORY for item in row]), (offsets,))


@pytest.fixture
def batch():
    sample = Group({"label": torch.tensor([0.0, 1, 0, 0, 1]), "item": torch.arange(5)}, 5)
    user = Group({"age": torch.tensor([20, 30, 40]), "history": _history()}, 3, torch.tensor(_SAMPLE_TO_ROW))
    return Batch({"sample": sample, "user": user}, _ORIGIN)


@pytest.mark.parametrize("order", [["sample", "user"], ["user", "sample"]])
def test_samples_are_counted_by_any_group(batch, order):
    assert Batch({name: batch.groups[name] for name in order}).num_samples == 5
    assert Batch({"user": batch.groups["user"]}).num_samples == 5


def test_columns_are_found_in_their_group_and_stored_once(batch):
    assert list(batch) == ["label", "item", "age", "history"]
    assert "history" in batch
    assert "user" not in batch
    assert batch.group_of("age") is batch.groups["user"]
    assert batch.group_of("label").sample_to_row is None
    assert batch["age"].shape == (3,)
    assert batch["history"].num_rows == 3


def test_the_join_gives_each_sample_the_row_of_its_user(batch):
    group = batch.group_of("age")
    assert group.columns["age"][group.sample_to_row].tolist() == [[20, 30, 40][row] for row in _SAMPLE_TO_ROW]
    history = batch["history"]
    joined = [history.values[history.offsets[0][row] : history.offsets[0][row + 1]].tolist() for row in group.sample_to_row.tolist()]
    assert joined == [_HISTORY[row] for row in _SAMPLE_TO_ROW]


def test_an_unknown_column_is_named_with_the_nearest_of_all_groups(batch):
    with pytest.raises(DataError, match="the batch has no column 'histroy'; did you mean 'history'"):
        batch["histroy"]


def test_samples_not_rows_are_located(batch):
    assert [batch.locate(sample) for sample in range(5)] == ["a.orc, row 7", "a.orc, row 8", "b.orc, row 0", "b.orc, row 1", "b.orc, row 2"]
    assert batch.locate(5) == "sample 5 of the batch"
    assert Batch(batch.groups).locate(1) == "sample 1 of the batch"


def test_a_batch_moves_whole(batch):
    moved = batch.to("meta")
    tensors = [moved["label"], moved["item"], moved["age"], moved["history"].values, moved["history"].offsets[0]]
    assert all(tensor.is_meta for tensor in [*tensors, moved.groups["user"].sample_to_row])
    assert moved.groups["sample"].sample_to_row is None
    assert (moved.num_samples, moved.origin, list(moved)) == (5, batch.origin, list(batch))
    assert not batch["label"].is_meta
    same = batch.to("cpu")
    assert all(torch.equal(same[name], batch[name]) for name in ("label", "item", "age"))


def test_groups_of_one_batch_must_not_differ_in_rows():
    with pytest.raises(DataError, match=r"equal rows, got \{'age': 3, 'label': 5\}"):
        Batch.of({"age": torch.zeros(3), "label": torch.zeros(5)})
    whole = Batch.of({"age": torch.zeros(3), "history": _history()}, origin=_ORIGIN)
    assert (whole.num_samples, whole.origin, whole.group_of("age").sample_to_row) == (3, _ORIGIN, None)
    assert Batch.of({}).num_samples == 0
    assert Batch({}).num_samples == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_packed_batch_is_one_buffer_that_moves_at_once(batch, device):
    packed = batch.packed()
    assert packed.buffer is not None
    begin, end = packed.buffer.data_ptr(), packed.buffer.data_ptr() + packed.buffer.numel()
    tensors = [packed["label"], packed["item"], packed["age"], packed["history"].values, packed["history"].offsets[0]]
    tensors.append(packed.groups["user"].sample_to_row)
    for tensor in tensors:
        assert begin <= tensor.data_ptr() < end
        assert (tensor.data_ptr() - begin) % 64 == 0
    assert packed["label"].tolist() == batch["label"].tolist()
    assert packed["history"].values.tolist() == batch["history"].values.tolist()
    assert packed.groups["user"].sample_to_row.tolist() == _SAMPLE_TO_ROW
    assert (packed.origin, packed.num_padding, packed.num_samples) == (batch.origin, 0, 5)
    moved = packed.to(device)
    assert moved.buffer.device.type == device
    for name in batch:
        ours, theirs = (one[name] if isinstance(one[name], torch.Tensor) else one[name].values for one in (batch, moved))
        assert (ours.dtype, ours.shape, theirs.device.type) == (theirs.dtype, theirs.shape, device)
        if device == "cpu":
            assert torch.equal(ours, theirs)


def test_a_packed_batch_may_be_empty_or_share_tensors():
    offsets = torch.tensor([0, 0])
    empty = Ragged(torch.empty(0, dtype=torch.int64), (offsets,))
    packed = Batch.of({"a": empty, "b": empty, "c": torch.zeros(1, 3)}).packed().to("cpu")
    assert packed["a"].check("a").num_rows == 1
    assert packed["a"].offsets[0].data_ptr() == packed["b"].offsets[0].data_ptr()
    assert packed["c"].shape == (1, 3)
    assert Batch.of({"x": torch.empty(0)}).packed()["x"].shape == (0,)
