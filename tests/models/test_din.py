"""DIN against plain arithmetic on the rows it holds: sample by sample, behaviour by behaviour."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparrow.errors import ConfigError, DataError
from sparrow.features import Feature
from sparrow.models import DIN, Dice
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.tables import Normal, table_groups
from sparrow.types import Batch, Group, Ragged, RowSpan

NAMES = ("x", "item", "kinds", "age", "past_item", "past_kinds", "past_delay", "seen_item")
FEATURES = [Feature(name).select(name) for name in NAMES]
SEQUENCES: list[dict[str, str | None]] = [{"past_delay": None, "past_kinds": "kinds", "past_item": "item"}, {"seen_item": "item"}]
DIM = 3

ITEM, KINDS, AGE, X = [7, 8, 7, 9], [[1], [2, 3], [1], []], [30, 30, 40, 50], [0.5, -1.0, 2.0, 0.0]
PAST_ITEM = [[7, 9], [], [8, 8, 7], [9]]
PAST_KINDS = [[[1, 2], []], [], [[3], [3], [1]], [[2]]]
PAST_DELAY = [[0, 1], [], [2, 2, 0], [1]]
SEEN_ITEM = [[], [], [9, 7], [8]]


def ragged(rows: list[list[Any]], dtype: torch.dtype = torch.int64) -> Ragged:
    """Lists, or lists of lists, as a column."""
    offsets = []
    while True:
        offsets.append(torch.tensor([0, *map(len, rows)]).cumsum(0))
        rows = [value for row in rows for value in row]
        if not rows or not isinstance(rows[0], list):
            return Ragged(torch.tensor(rows, dtype=dtype), tuple(offsets))


def batch() -> Batch:
    return Batch.of(
        {
            "x": torch.tensor(X), "item": torch.tensor(ITEM), "kinds": ragged(KINDS), "age": torch.tensor(AGE),
            "past_item": ragged(PAST_ITEM), "past_kinds": ragged(PAST_KINDS), "past_delay": ragged(PAST_DELAY),
            "seen_item": ragged(SEEN_ITEM),
        },
        origin=(RowSpan("part-0.orc", 40, 4),),
    )  # fmt: skip


def din(**changed: Any) -> DIN:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "dense": ["x"], "sparse": ["item", "kinds", "age"], "sequences": SEQUENCES, "dim": DIM, "hidden": (5,), "attention_hidden": (4,),
        "initializer": Normal(std=0.5),
    }  # fmt: skip
    return DIN(FEATURES, **{**settings, **changed})


def trained(model: DIN, steps: int = 3, of: Batch | None = None) -> list[float]:
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=0.02), SparseOptimizer(model, lr=0.02))
    losses = []
    for _ in range(steps):
        logits = model.train()(of or batch()).float()
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([1.0, 0.0, 1.0, 0.0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def rows_by_id(model: nn.Module) -> dict[tuple[str, int], Tensor]:
    return {
        (chunk.table, id): chunk.weights[index]
        for group in table_groups(model)
        for chunk in group.export()
        for index, id in enumerate(chunk.ids.tolist())
    }


def activated(model: nn.Module, place: str, values: Tensor) -> Tensor:
    """Dice (in eval mode) or PReLU of a vector, from the state at `place`."""
    state = {name.removeprefix(f"{place}."): value for name, value in model.state_dict().items() if name.startswith(f"{place}.")}
    if "weight" in state:
        return torch.stack([s if s > 0 else slope * s for s, slope in zip(values, state["weight"], strict=True)])
    shares = [
        1 / (1 + math.exp(-(s - mean) / math.sqrt(variance + 1e-8)))
        for s, mean, variance in zip(values.tolist(), state["mean"].tolist(), state["variance"].tolist(), strict=True)
    ]
    return torch.stack([p * s + (1 - p) * alpha * s for p, s, alpha in zip(shares, values, state["alpha"], strict=True)])


def expected_logit(model: DIN, sample: int, pooling: str) -> Tensor:
    """The published sum, one behaviour after the other."""
    rows, weights = rows_by_id(model), dict(model.named_parameters())

    def vector(table: str, ids: list[int]) -> Tensor:
        return sum((rows[table, id] for id in ids), torch.zeros(DIM))

    item, kinds = vector("item", [ITEM[sample]]), vector("kinds", KINDS[sample])
    first = [
        (vector("item", [i]), vector("kinds", k), vector("past_delay", [d]))
        for i, k, d in zip(PAST_ITEM[sample], PAST_KINDS[sample], PAST_DELAY[sample], strict=True)
    ]
    second = [(vector("item", [i]),) for i in SEEN_ITEM[sample]]
    interests = []
    for index, (behaviours, target) in enumerate([(first, [item, kinds]), (second, [item])]):
        scores = []
        for behaviour in behaviours:
            products = [one * other for one, other in zip(behaviour, target, strict=False)]
            unit = torch.cat([*behaviour, *target, *products])
            place = f"units.{index}"
            if pooling in ("attention", "softmax"):
                hidden = activated(model, f"{place}.rest.0", weights[f"{place}.first.weight"] @ unit + weights[f"{place}.first.bias"])
                scores.append((weights[f"{place}.rest.1.weight"] @ hidden + weights[f"{place}.rest.1.bias"])[0])
        if pooling == "softmax":
            scores = [score.exp() / sum(other.exp() for other in scores) for score in scores]
        elif pooling in ("sum", "mean"):
            scores = [torch.tensor(1.0 if pooling == "sum" else 1 / max(len(behaviours), 1))] * len(behaviours)
        width = (3 if index == 0 else 1) * DIM
        interests.append(sum((score * torch.cat(list(one)) for score, one in zip(scores, behaviours, strict=True)), torch.zeros(width)))
    inputs = torch.cat([item, kinds, vector("age", [AGE[sample]]), *interests, torch.tensor([X[sample]])])
    hidden = activated(model, "mlp.1", weights["mlp.0.weight"] @ inputs + weights["mlp.0.bias"])
    return (weights["mlp.2.weight"] @ hidden + weights["mlp.2.bias"])[0]


@pytest.mark.parametrize("pooling", ["attention", "softmax", "sum", "mean"])
@pytest.mark.parametrize("activation", ["dice", "prelu"])
def test_din_is_the_published_sum(pooling: str, activation: str) -> None:
    model = din(pooling=pooling, activation=activation)
    trained(model)
    model.eval()
    logits = model(batch())
    assert logits.unique().numel() == 4
    for sample, logit in enumerate(logits):
        assert torch.allclose(logit, expected_logit(model, sample, pooling), atol=1e-5)


def test_the_tables_are_those_of_the_target() -> None:
    model = din()
    model(batch())
    assert {table for table, _ in rows_by_id(model)} == {"item", "kinds", "age", "past_delay"}
    assert {id for table, id in rows_by_id(model) if table == "item"} == {7, 8, 9}


def shared_batch() -> tuple[Batch, Batch]:
    """Histories of two users that five samples read, as a group of their own and written out."""
    rows = [0, 2, 2, 0, 2]
    columns = {"past_item": PAST_ITEM, "past_kinds": PAST_KINDS, "past_delay": PAST_DELAY, "seen_item": SEEN_ITEM}
    own = {"x": torch.tensor([*X, 1.0]), "item": torch.tensor([*ITEM, 8]), "kinds": ragged([*KINDS, [3]])}
    user = {name: ragged(column) for name, column in columns.items()} | {"age": torch.tensor(AGE)}
    shared = Batch({"sample": Group(own, 5), "user": Group(user, 4, torch.tensor(rows))})
    written = {name: ragged([column[row] for row in rows]) for name, column in columns.items()} | {
        "age": torch.tensor([AGE[row] for row in rows])
    }
    return shared, Batch.of({**own, **written})


@pytest.mark.parametrize("pooling", ["attention", "softmax", "sum", "mean"])
def test_histories_that_samples_share_give_what_copies_give(pooling: str) -> None:
    model = din(pooling=pooling)
    trained(model)
    model.eval()
    shared, copies = shared_batch()
    assert torch.allclose(model(shared), model(copies), atol=1e-6)
    gradients = []
    for one in (shared, copies):
        model.zero_grad()
        model(one).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    for mine, other in zip(*gradients, strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize("pooling", ["attention", "softmax", "sum", "mean"])
def test_batches_without_a_behaviour(pooling: str) -> None:
    """All histories empty, and no sample at all: a rank that has no rows left still takes part in the step."""
    model = din(pooling=pooling)
    trained(model)
    empty = {name: ragged([[]] * 4) for name in ("past_item", "past_delay", "seen_item")}
    kinds = {
        "past_kinds": Ragged(torch.zeros(0, dtype=torch.int64), (torch.zeros(5, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)))
    }
    without = Batch.of({**{name: batch()[name] for name in ("x", "item", "kinds", "age")}, **empty, **kinds})
    assert all(math.isfinite(loss) for loss in trained(model, of=without))
    nothing = Batch.of(
        {name: ragged([]) for name in ("kinds", "past_item", "past_delay", "seen_item")}
        | {"x": torch.zeros(0), "item": torch.zeros(0, dtype=torch.int64), "age": torch.zeros(0, dtype=torch.int64)}
        | {"past_kinds": Ragged(torch.zeros(0, dtype=torch.int64), (torch.zeros(1, dtype=torch.int64),) * 2)}
    )
    before = model.eval()(batch())
    logits = model.train()(nothing)
    assert logits.shape == (0,)
    logits.sum().backward()
    assert torch.equal(model.eval()(batch()), before)  # statistics of no row move nothing


@pytest.mark.parametrize("pooling", ["attention", "softmax", "sum", "mean"])
@pytest.mark.parametrize("activation", ["dice", "prelu"])
def test_training_lowers_the_loss(pooling: str, activation: str) -> None:
    losses = trained(din(pooling=pooling, activation=activation), steps=40)
    assert losses[-1] < losses[0] / 2


def test_attention_learns_which_behaviour_counts() -> None:
    """The label is whether the target is in the history, of 8 items: a sum of behaviours cannot tell which of them the target is."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(0, 8, (512, 1), generator=generator)
    past = torch.rand(512, 8, generator=generator).argsort(1)[:, :4]
    labels = (past == items).any(1).float()
    assert 0.4 < labels.mean() < 0.6
    one = Batch.of({"item": items[:, 0], "past_item": past})
    torch.manual_seed(0)
    features = [Feature("item").select("item"), Feature("past_item").select("past_item")]
    # No MLP: whatever is learned about the pair of target and behaviour is learned by the scores.
    model = DIN(features, dense=[], sparse=["item"], sequences=[{"past_item": "item"}], dim=8, hidden=(), initializer=Normal(std=0.3))
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=0.01), SparseOptimizer(model, lr=0.01))
    for _ in range(200):
        loss = nn.functional.binary_cross_entropy_with_logits(model(one), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((model.eval()(one) > 0) == (labels == 1)).float().mean() > 0.95


def test_weights_of_a_history_weigh_its_vectors() -> None:
    features = [Feature("item").select("item"), Feature("past_item").select("past_item")]
    model = DIN(features, dense=[], sparse=["item"], sequences=[{"past_item": "item"}], dim=2, hidden=(), pooling="sum")
    past = Ragged(torch.tensor([7, 8]), (torch.tensor([0, 2]),), torch.tensor([2.0, 0.5]))
    logit = model(Batch.of({"item": torch.tensor([7]), "past_item": past}))
    rows, weights = rows_by_id(model), dict(model.named_parameters())
    inputs = torch.cat([rows["item", 7], 2 * rows["item", 7] + 0.5 * rows["item", 8]])
    assert torch.allclose(logit, weights["mlp.0.weight"] @ inputs + weights["mlp.0.bias"], atol=1e-6)


def test_dice_in_training_uses_the_batch() -> None:
    torch.manual_seed(0)
    dice = Dice(2)
    nn.init.constant_(dice.alpha, 0.25)
    inputs = torch.randn(6, 2) * 3 + 1
    mean, variance = inputs.mean(0), inputs.var(0, unbiased=False)
    share = 1 / (1 + torch.exp(-(inputs - mean) / (variance + 1e-8).sqrt()))
    assert torch.allclose(dice(inputs), share * inputs + (1 - share) * 0.25 * inputs, atol=1e-5)
    assert torch.allclose(dice.mean, 0.1 * mean, atol=1e-6)
    assert torch.allclose(dice.variance, 0.9 + 0.1 * inputs.var(0), atol=1e-5)
    # One row has no variance: what was learned before serves.
    one, before = inputs[:1], (dice.mean.clone(), dice.variance.clone())
    assert torch.equal(dice.train()(one), dice.eval()(one))
    assert torch.equal(dice.mean, before[0])
    assert torch.equal(dice.variance, before[1])


def test_a_cast_model_computes_in_its_dtype_and_trains_float32_rows() -> None:
    model = din()
    exact = model.eval()(batch())
    cast = model.bfloat16()
    assert cast(batch()).dtype == torch.bfloat16
    assert torch.allclose(cast(batch()).float(), exact, atol=0.05)
    trained(cast)
    assert {chunk.weights.dtype for group in table_groups(cast) for chunk in group.export()} == {torch.float32}


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ConfigError, match="'past_itm' is not a declared feature; did you mean 'past_item'"):
        din(sequences=[{"past_itm": "item"}])
    with pytest.raises(ConfigError, match="'item' is named twice"):
        din(sequences=[{"item": "item"}])
    with pytest.raises(ConfigError, match="'seen_item' is named twice"):
        din(sequences=[{"seen_item": "item"}, {"seen_item": "item"}])
    with pytest.raises(ConfigError, match="at least one sparse"):
        din(sparse=[])
    with pytest.raises(ConfigError, match=r"sequence 0: 'past_item' shares the table of 'items', .*did you mean 'item'"):
        din(sequences=[{"past_item": "items"}])
    with pytest.raises(ConfigError, match=r"sequence 0: none of \['past_delay'\] shares"):
        din(sequences=[{"past_delay": None}])
    with pytest.raises(ConfigError, match="at least one sequence"):
        din(sequences=[])
    with pytest.raises(ConfigError, match="unknown pooling 'attenton'; did you mean 'attention'"):
        din(pooling="attenton")
    with pytest.raises(ConfigError, match="unknown activation 'relu'"):
        din(activation="relu")
    with pytest.raises(ConfigError, match="attention_hidden is empty"):
        din(attention_hidden=())


def test_wrong_sequences_are_named() -> None:
    columns = {name: batch()[name] for name in NAMES}
    short = Batch.of({**columns, "past_delay": ragged([[0, 1], [], [2, 2], [1]])}, origin=(RowSpan("part-0.orc", 40, 4),))
    with pytest.raises(DataError, match=r"part-0\.orc, row 42: features 'past_item' and 'past_delay' .* have 3 and 2 behaviours"):
        din()(short)
    shared, _ = shared_batch()
    user = shared.groups["user"]
    short_user = Group({**user.columns, "past_delay": ragged([[0, 1], [], [2, 2], [1]])}, 4, user.sample_to_row)
    with pytest.raises(DataError, match="sample 1 of the batch: features 'past_item' and 'past_delay'"):
        din()(Batch({"sample": shared.groups["sample"], "user": short_user}))
    apart = Batch(
        {
            "sample": Group({**shared.groups["sample"].columns, "past_item": ragged([[]] * 5)}, 5),
            "user": Group({name: column for name, column in user.columns.items() if name != "past_item"}, 4, user.sample_to_row),
        }
    )
    with pytest.raises(DataError, match="'past_item' and 'past_kinds' are of one sequence, but come in different batch groups"):
        din()(apart)
    with pytest.raises(DataError, match=r"'seen_item': a sequence needs a list of behaviours a row, got \[4\]"):
        din()(Batch.of({**columns, "seen_item": torch.tensor([1, 2, 3, 4])}))
    with pytest.raises(DataError, match="'seen_item': embeddings need integer ids"):
        din()(Batch.of({**columns, "seen_item": ragged([[1.0], [], [], []], torch.float32)}))


def test_the_page_of_models_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
