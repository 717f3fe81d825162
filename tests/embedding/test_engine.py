"""EmbeddingEngine: all features in one call equal one loop per feature, sample and id."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparrow.embedding import EmbeddingEngine, EmbeddingOption
from sparrow.errors import ConfigError, DataError
from sparrow.optim import SparseOptimizer
from sparrow.tables import Normal
from sparrow.types import Batch, Group, Ragged
from tests_support import ids as any_id

NUM_SAMPLES = 4


def ragged(rows: list[list[int]], weights: bool = False) -> Ragged:
    offsets = torch.tensor([0, *[len(row) for row in rows]]).cumsum(0)
    values = torch.tensor([id for row in rows for id in row], dtype=torch.int64)
    return Ragged(values, (offsets,), torch.arange(1, values.numel() + 1).float() if weights else None)


def engine() -> EmbeddingEngine:
    """Features of two dims, two of which share a table; `one` is looked up first though declared last."""
    normal = Normal(std=1.0)
    return EmbeddingEngine(
        {
            "many": EmbeddingOption(dim=3, combiner="mean", initializer=normal),
            "wide": EmbeddingOption(dim=5, initializer=normal),
            "shared": EmbeddingOption(dim=3, table="one", initializer=normal),
            "one": EmbeddingOption(dim=3, initializer=normal),
        }
    )


def vector_of(model: EmbeddingEngine, feature: str, id: int) -> Tensor:
    """One id's row, by a batch of its own (the others empty)."""
    columns = {name: ragged([[id] if name == feature else []]) for name in model.options}
    return model(Batch.of(columns))[feature][0].detach()


rows = st.lists(st.lists(any_id, max_size=4), min_size=NUM_SAMPLES, max_size=NUM_SAMPLES)


@given(many=rows, wide=rows, shared=rows, one=st.lists(any_id, min_size=NUM_SAMPLES, max_size=NUM_SAMPLES), weighted=st.booleans())
def test_one_call_equals_a_loop(
    many: list[list[int]], wide: list[list[int]], shared: list[list[int]], one: list[int], weighted: bool
) -> None:
    model = engine()
    out = model(Batch.of({"many": ragged(many, weighted), "wide": ragged(wide), "shared": ragged(shared), "one": torch.tensor(one)}))
    model.eval()
    position = 0
    for sample in range(NUM_SAMPLES):
        weights = [float(position + k + 1) if weighted else 1.0 for k in range(len(many[sample]))]
        position += len(many[sample])
        total = sum((w * vector_of(model, "many", id) for w, id in zip(weights, many[sample], strict=True)), torch.zeros(3))
        assert torch.allclose(out["many"][sample], total / sum(weights) if weights else total, atol=1e-5)
        assert torch.allclose(out["wide"][sample], sum((vector_of(model, "wide", id) for id in wide[sample]), torch.zeros(5)), atol=1e-5)
        assert torch.allclose(out["shared"][sample], sum((vector_of(model, "one", id) for id in shared[sample]), torch.zeros(3)), atol=1e-5)
        assert torch.equal(out["one"][sample], vector_of(model, "one", one[sample]))


def test_tables_count_ids_apart_and_shared_together() -> None:
    model = engine()
    model(
        Batch.of({"many": torch.tensor([1, 2]), "wide": torch.tensor([1, 1]), "shared": torch.tensor([1, 3]), "one": torch.tensor([1, 4])})
    )
    by_table = {table.name: group.num_ids(table.name) for group in model.groups for table in group.tables}
    assert by_table == {"many": 2, "wide": 1, "one": 3}


def test_user_side_group_is_embedded_once_per_user() -> None:
    model = EmbeddingEngine({"item": EmbeddingOption(dim=2), "user": EmbeddingOption(dim=2)})
    sample_to_row = torch.tensor([0, 0, 1])
    batch = Batch(
        {
            "sample": Group({"item": torch.tensor([7, 8, 9])}, 3),
            "user": Group({"user": torch.tensor([70, 80])}, 2, sample_to_row),
        }
    )
    out = model(batch)
    assert out["item"].shape == (3, 2)
    assert out["user"].shape == (2, 2)
    assert int(model.groups[0].blocks.meta[: model.groups[0].num_rows, 2].sum()) == 5, "each user counts once, not once a sample"
    joined = out["user"][sample_to_row]
    flat = model.eval()(Batch.of({"item": torch.tensor([7, 8, 9]), "user": torch.tensor([70, 70, 80])}))
    assert torch.equal(joined, flat["user"])


def test_stack_is_a_view_in_the_engines_order_and_a_copy_otherwise() -> None:
    model = EmbeddingEngine({name: EmbeddingOption(dim=2, initializer=Normal(std=1.0)) for name in "abc"})
    out = model(Batch.of({name: torch.tensor([1, 2]) for name in "abc"}))
    expected = torch.stack([out["a"], out["b"], out["c"]], dim=1)
    assert torch.equal(out.stack(["a", "b", "c"]), expected)
    assert out.stack(["a", "b", "c"]).data_ptr() == out["a"].data_ptr()
    assert torch.equal(out.stack(["c", "a"]), expected[:, [2, 0]])


@pytest.mark.parametrize("num_rows", [0, 1])
def test_batches_of_no_ids(num_rows: int) -> None:
    model = engine()
    empty = ragged([[]] * num_rows)
    out = model(Batch.of({"many": empty, "wide": empty, "shared": empty, "one": empty}))
    assert out["wide"].shape == (num_rows, 5)
    assert out["many"].eq(0).all()
    out["many"].sum().backward()


def test_wrong_columns_are_named() -> None:
    model = EmbeddingEngine({"colour": EmbeddingOption(dim=2)})
    with pytest.raises(DataError, match="did you mean 'color'"):
        model(Batch.of({"color": torch.tensor([1])}))
    with pytest.raises(DataError, match=r"'colour'.*float32"):
        model(Batch.of({"colour": torch.tensor([1.0])}))
    nested = Ragged(torch.tensor([1]), (torch.tensor([0, 1]), torch.tensor([0, 1])))
    with pytest.raises(DataError, match=r"'colour'.*one level"):
        model(Batch.of({"colour": nested}))


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        EmbeddingOption(dim=2, combiner="meen")
    with pytest.raises(ConfigError, match="did you mean 'adam'"):
        EmbeddingEngine({"a": EmbeddingOption(dim=2, rule="adm")})
    with pytest.raises(ConfigError, match=r"'b'.*'t'"):
        EmbeddingEngine({"a": EmbeddingOption(dim=2, table="t"), "b": EmbeddingOption(dim=2, table="t", initializer=Normal(std=3.0))})
    with pytest.raises(ConfigError, match="at least one"):
        EmbeddingEngine({})


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (Ragged(torch.tensor([5, 6, 7]), (torch.tensor([2, 2, 3]),)), "offsets run from 2 to 3"),
        (Ragged(torch.tensor([5, 6, 7]), (torch.tensor([0, 1, 2]),)), "expected 0 to 3"),
        (torch.ones(2, 2, 2, dtype=torch.int64), r"\[2, 2, 2\]"),
    ],
)
def test_ids_that_would_reach_another_sample_are_refused(column: Ragged | Tensor, named: str) -> None:
    with pytest.raises(DataError, match=f"'a'.*{named}"):
        EmbeddingEngine({"a": EmbeddingOption(dim=2)})(Batch.of({"a": column}))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_narrow_integer_ids_are_the_same_ids(dtype: torch.dtype) -> None:
    model = EmbeddingEngine({name: EmbeddingOption(dim=2, initializer=Normal(std=1.0)) for name in "abc"})
    wide = torch.tensor([3, 5, 3])
    model(Batch.of({"a": wide, "b": wide, "c": wide}))
    expected = model.eval()(Batch.of({"a": wide, "b": wide, "c": wide}))
    narrow = wide.to(dtype)
    pooled = narrow if dtype == torch.uint8 else Ragged(narrow, (torch.arange(4),))  # a Ragged of uint8 is strings
    found = model(Batch.of({"a": narrow, "b": narrow, "c": pooled}))
    for feature in "abc":
        assert torch.equal(found[feature], expected[feature])


def test_truth_values_are_no_ids() -> None:
    with pytest.raises(DataError, match=r"'a'.*bool"):
        EmbeddingEngine({"a": EmbeddingOption(dim=2)})(Batch.of({"a": torch.tensor([True])}))


LISTS = [[5, -1, 7], [], [7], [2, 2, 9, 5, 11]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_tile_sets_the_first_vectors_side_by_side(dtype: torch.dtype) -> None:
    normal = Normal(std=1.0)
    model = EmbeddingEngine(
        {
            "tiled": EmbeddingOption(dim=3, table="t", combiner="tile", tile_len=2, initializer=normal, dtype=dtype),
            "alone": EmbeddingOption(dim=3, table="t", initializer=normal, dtype=dtype),
        }
    )
    every = torch.tensor(sorted({id for row in LISTS for id in row}))
    model(Batch.of({"tiled": every.unsqueeze(1), "alone": every}))
    rows = dict(zip(every.tolist(), model.eval()(Batch.of({"tiled": every.unsqueeze(1), "alone": every}))["alone"], strict=True))
    found = model(Batch.of({"tiled": ragged(LISTS), "alone": torch.zeros(4, dtype=torch.int64)}))["tiled"]
    assert found.shape == (4, 2, 3)
    for sample, ids in enumerate(LISTS):
        for place in range(2):
            expected = rows[ids[place]] if place < len(ids) else torch.zeros(3)
            assert torch.equal(found[sample, place], expected.to(found.dtype))


def test_no_combiner_leaves_every_id_its_vector_and_its_gradient() -> None:
    model = EmbeddingEngine({"f": EmbeddingOption(dim=2, combiner="none", rule="sgd", initializer=Normal(std=1.0))})
    batch = Batch.of({"f": ragged(LISTS)})
    before = model(batch)["f"]
    assert isinstance(before, Ragged)
    assert before.offsets[0].tolist() == [0, 3, 3, 4, 9]
    flat = [id for row in LISTS for id in row]
    rows = {id: before.values[position].detach().clone() for position, id in enumerate(flat)}
    for position, id in enumerate(flat):
        assert torch.equal(before.values[position], rows[id])
    grads = torch.arange(18.0).reshape(9, 2)
    before.values.backward(grads)
    SparseOptimizer(model, lr=0.5).step()
    after = model(batch)["f"].values
    for position, id in enumerate(flat):
        expected = rows[id] - 0.5 * sum(grads[other] for other, same in enumerate(flat) if same == id)
        assert torch.allclose(after[position], expected)
    dense = model(Batch.of({"f": torch.tensor([[5, 7], [9, 2]])}))["f"]
    assert dense.shape == (2, 2, 2)
    assert torch.equal(dense[1, 0], model(Batch.of({"f": torch.tensor([9])}))["f"][0])


def test_unpooled_features_in_edge_batches_and_errors() -> None:
    model = EmbeddingEngine({"t": EmbeddingOption(dim=2, combiner="tile", tile_len=3), "n": EmbeddingOption(dim=2, combiner="none")})
    empty = model(Batch.of({"t": ragged([]), "n": ragged([])}))
    assert empty["t"].shape == (0, 3, 2)
    assert empty["n"].values.shape == (0, 2)
    none = model(Batch.of({"t": ragged([[], []]), "n": ragged([[], []])}))
    assert torch.equal(none["t"], torch.zeros(2, 3, 2))
    assert set(none) == {"t", "n"}
    with pytest.raises(ConfigError, match="'t' is not pooled"):
        none.stack(["t"])
    for wrong in ({"combiner": "tile"}, {"combiner": "sum", "tile_len": 2}):
        with pytest.raises(ConfigError, match="tile_len"):
            EmbeddingOption(dim=2, **wrong)


@pytest.mark.parametrize("weighted", [False, True])
def test_sqrtn_divides_by_the_root_of_the_squared_weights(weighted: bool) -> None:
    model = EmbeddingEngine(
        {
            name: EmbeddingOption(dim=3, table="t", combiner=name, initializer=Normal(std=1.0), dtype=torch.float64)
            for name in ("sum", "sqrtn")
        }
    )
    column = ragged(LISTS, weights=weighted)
    found = model(Batch.of({"sum": column, "sqrtn": column}))
    weights = torch.ones(9) if column.weights is None else column.weights
    for sample, (begin, end) in enumerate(itertools.pairwise([0, 3, 3, 4, 9])):
        by = weights[begin:end].double().square().sum().sqrt() if end > begin else torch.tensor(1.0)
        assert torch.allclose(found["sqrtn"][sample], found["sum"][sample] / by)
