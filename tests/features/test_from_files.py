"""From a Parquet file to features: strings, lists, maps with weights, shared rows and padding, against Python's own lists and dicts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from features.columns import rows_of
from sparrow.errors import DataError
from sparrow.features import Feature, FeatureEngine
from sparrow.io import Dataset, SharedRows
from sparrow.ops.hashes import fingerprint
from sparrow.types import Batch, Ragged

WORDS = ["red", "", "bl\N{LATIN SMALL LETTER U WITH DIAERESIS}e", "red", "a word that is longer than sixteen bytes"]
TAGS = [["x", "y", "z"], [], ["z"], ["x", "x"], ["y"]]
PRICES = [{3: 0.5, 1: 2.0, 2: 1.0}, {}, {7: 4.0}, {3: 8.0}, {1: 1.0, 3: 0.25}]
ITEMS = [3, 1, 7, 3, 2]
USERS = [9, 9, 4, 4, 4]
HISTORIES = [[3, 1, 3], [3, 1, 3], [2], [2], [2]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    table = pa.table({
        "word": WORDS,
        "tags": TAGS,
        "item": pa.array(ITEMS, pa.int32()),
        "user": USERS,
        "history": pa.array(HISTORIES, pa.list_(pa.int64())),
        "price": pa.array([list(row.items()) for row in PRICES], pa.map_(pa.int64(), pa.float32())),
        "never read": ["?"] * 5,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def hashed(text: str) -> int:
    return fingerprint(text.encode())


@pytest.mark.parametrize("groups", [None, SharedRows("user", ["history"], "user")])
def test_features_of_a_file_are_those_of_its_rows(path: str, groups: SharedRows | None) -> None:
    engine = FeatureEngine([
        Feature("word").select("word").hash("farm"),
        Feature("tags").select("tags").truncate(2, keep="tail").hash("farm"),
        Feature("dearest").select("price").top(1),
        Feature("price of item").select("item").lookup("price", default=-1),
        Feature("seen").select("item").match("history"),
        Feature("once").select("history").unique(),
    ])  # fmt: skip
    assert [spec.name for spec in engine.columns] == ["word", "tags", "price", "item", "history"]
    read = [*engine.columns, *([] if groups is None else ["user"])]
    dataset = Dataset(path, read, batch_size=3, tail="pad", groups=None if groups is None else [groups])
    row = 0
    for batch in dataset:
        assert "never read" not in batch
        out = engine(batch)
        assert (out.num_samples, out.num_padding, out.origin) == (3, batch.num_padding, batch.origin)
        assert list(out.groups) == (["sample"] if groups is None else ["sample", "user"])
        here = slice(row, row + 3 - batch.num_padding)
        got = {name: rows_of(out[name])[: 3 - batch.num_padding] for name in ("word", "tags", "dearest", "price of item", "seen")}
        assert got["word"] == [hashed(word) for word in WORDS[here]]
        assert got["tags"] == [[hashed(tag) for tag in tags[-2:]] for tags in TAGS[here]]
        assert got["dearest"] == [[max(prices, key=prices.__getitem__)] if prices else [] for prices in PRICES[here]]
        assert got["price of item"] == [prices.get(item, -1) for item, prices in zip(ITEMS[here], PRICES[here], strict=True)]
        assert got["seen"] == [int(item in history) for item, history in zip(ITEMS[here], HISTORIES[here], strict=True)]
        once, rows_read = rows_of(out["once"]), out.group_of("once").sample_to_row
        place = range(3) if rows_read is None else rows_read.tolist()
        assert [once[place[k]] for k in range(3 - batch.num_padding)] == [list(dict.fromkeys(history)) for history in HISTORIES[here]]
        dearest = out["dearest"]
        assert isinstance(dearest, Ragged)
        assert dearest.weights is not None
        best = [max(prices.values()) for prices in PRICES[here] if prices]
        assert dearest.weights.tolist()[: len(best)] == best
        row += 3 - batch.num_padding
    assert row == 5


def test_a_value_of_a_file_that_is_refused_is_named_by_file_and_row(path: str) -> None:
    engine = FeatureEngine([Feature("f").select("item").vocabulary([1, 3], missing="error")])
    with pytest.raises(DataError, match=rf"^feature 'f', column 'item', {path}, row 2: 7 is not in the vocabulary of 2 keys"):
        list(map(engine, Dataset(path, engine.columns, batch_size=2)))


def test_a_model_with_features_inside_compiles() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = FeatureEngine([Feature("f").select("x").fill(0.0).log1p()])
            self.linear = torch.nn.Linear(1, 1)

        def forward(self, batch: Batch) -> torch.Tensor:
            return self.linear(self.features(batch)["f"][:, None])

    model, batch = Model(), Batch.of({"x": torch.rand(4)})
    assert torch.equal(torch.compile(model, backend="eager")(batch), model(batch))


@pytest.mark.parametrize("kind", [pa.float64(), pa.int64(), pa.list_(pa.float32())])
def test_a_null_is_filled_whether_the_file_has_numbers_or_lists(tmp_path: Path, kind: pa.DataType) -> None:
    """What fills a column tells the reader what a null reads: one that every use agrees on."""
    values = [1, None, 3]
    rows = [None if value is None else [value] for value in values] if pa.types.is_list(kind) else values
    pq.write_table(pa.table({"x": pa.array(rows, kind), "y": pa.array(rows, kind)}), tmp_path / "nulls.parquet")
    x, y = Feature("x").select("x").fill(-1), Feature("y").select("y")
    engine = FeatureEngine([x, Feature("log").select("x").fill(-1).log1p(), y.fill(0), Feature("other").select("y").fill(5)])
    assert [(spec.name, spec.default) for spec in engine.columns] == [("x", -1), ("y", None)]
    (batch,) = Dataset(str(tmp_path / "nulls.parquet"), engine.columns[:1], batch_size=8)
    assert rows_of(FeatureEngine([x])(batch)["x"]) == [1, -1, 3]
    if not pa.types.is_list(kind):
        # Two fills that differ leave it to the reader, who names what to give.
        with pytest.raises(DataError, match=r"nulls.parquet, row group 0, row 1.*'y'|column 'y'.*null"):
            list(Dataset(str(tmp_path / "nulls.parquet"), engine.columns, batch_size=8))


def test_a_column_that_is_a_feature_itself_is_read_as_it_is() -> None:
    engine = FeatureEngine([Feature("raw").select("x"), Feature("filled").select("x").fill(0)])
    assert [spec.default for spec in engine.columns] == [None]
