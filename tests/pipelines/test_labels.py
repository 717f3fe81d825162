"""Labels are 0 or 1 of any dtype, one a row; the first that is not is named with its file and row."""

import pytest
import torch

from sparrow.errors import DataError
from sparrow.pipelines.labels import labels_of
from sparrow.types import Batch, Ragged, RowSpan

ORIGIN = (RowSpan("a.orc", 100, 2), RowSpan("b.orc", 0, 2))


def batch(column):
    return Batch.of({"y": column}, origin=ORIGIN)


def ragged(values, offsets=(0, 1, 2, 3, 4)):
    return Ragged(torch.tensor(values), (torch.tensor(offsets),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.int8, torch.bool])
@pytest.mark.parametrize("kind", ["dense", "width", "ragged"])
def test_labels_of_any_kind_become_float32(dtype, kind):
    values = torch.tensor([0, 1, 1, 0], dtype=dtype)
    column = {"dense": values, "width": values.view(4, 1), "ragged": Ragged(values, (torch.arange(5),))}[kind]
    labels = labels_of(batch(column), "y")
    assert labels.dtype == torch.float32
    assert labels.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "column, message",
    [
        (torch.tensor([0.0, 1.0, 2.0, 5.0]), r"b.orc, row 0: label column 'y' is 2.0; expected 0 or 1"),
        (torch.tensor([0.0, torch.nan, 1.0, 0.0]), r"a.orc, row 101: label column 'y' is nan; expected 0 or 1"),
        (torch.tensor([0.0, 1.0, 0.0, 1.0 - 1e-12], dtype=torch.float64), r"b.orc, row 1: label column 'y' is 0.99999999"),
        (torch.tensor([-1, 0, 1, 0]), r"a.orc, row 100: label column 'y' is -1; expected 0 or 1"),
        (ragged([0.0, 1.0, 3.0, 0.0]), r"b.orc, row 0: label column 'y' is 3.0"),
        (ragged([0.0, 1.0, 1.0], (0, 1, 1, 2, 3)), r"a.orc, row 101: label column 'y' holds 0 values; expected exactly one"),
        (ragged([0.0, 1.0, 1.0, 1.0, 1.0], (0, 1, 2, 4, 5)), r"b.orc, row 0: label column 'y' holds 2 values; expected exactly one"),
        (torch.zeros(4, 2), r"label column 'y' holds 2 values a row; expected exactly one"),
        (Ragged(torch.zeros(4, dtype=torch.uint8), (torch.arange(5),)), r"label column 'y' holds strings; expected one number a row"),
    ],
)
def test_the_first_bad_label_is_named(column, message):
    with pytest.raises(DataError, match=message):
        labels_of(batch(column), "y")


def test_an_absent_label_column_is_named_with_the_nearest():
    with pytest.raises(DataError, match="no column 'labels'; did you mean 'label'"):
        labels_of(Batch.of({"label": torch.zeros(2)}), "labels")
