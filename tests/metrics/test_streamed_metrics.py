"""AUC and log loss against scikit-learn and against counting pairs; how samples are split never shows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.metrics import AUC, LogLoss
from sparrow.types import Stateful

probabilities = st.floats(0, 1, width=32)
few_values = st.sampled_from([0.0, -0.0, 2.0**-149, 0.1, 0.25, 0.25 + 2.0**-25, 0.5, 1.0])
samples = st.lists(st.tuples(st.one_of(probabilities, few_values), st.booleans()), max_size=60)


def feed(metric, rows, cuts=()):
    for part in np.split(np.arange(len(rows)), sorted(cut % (len(rows) + 1) for cut in cuts)):
        predictions = torch.tensor([rows[i][0] for i in part], dtype=torch.float32)
        metric.update(predictions, torch.tensor([float(rows[i][1]) for i in part]))
    return metric


def counted_auc(rows):
    """Wins and half-ties over all (positive, negative) pairs, in exact integers."""
    positives = [np.float32(p) for p, y in rows if y]
    negatives = [np.float32(p) for p, y in rows if not y]
    twice_wins = sum(2 * (p > n) + (p == n) for p in positives for n in negatives)
    return int(twice_wins) / (2 * len(positives) * len(negatives)) if positives and negatives else math.nan


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


@given(samples)
def test_auc_equals_counting_pairs(rows):
    auc = feed(AUC(), rows)
    assert same(auc.compute(), counted_auc(rows))
    assert same(auc.error_bound(), 0.0 if not math.isnan(auc.compute()) else math.nan)


@given(samples, st.integers(1, 6), st.lists(st.integers(0, 60), max_size=5), st.randoms())
def test_coarse_auc_stays_within_its_bound_and_does_not_see_the_split(rows, max_distinct, cuts, random):
    auc = feed(AUC(max_distinct), rows)
    exact = counted_auc(rows)
    assert same(auc.compute(), exact) or abs(auc.compute() - exact) <= auc.error_bound() + 1e-15
    if len({np.float32(p) + 0 for p, _ in rows}) <= max_distinct:
        assert same(auc.compute(), exact)
    shuffled = random.sample(rows, len(rows))
    other = feed(AUC(max_distinct), shuffled, cuts)
    assert same(other.compute(), auc.compute())
    assert same(other.error_bound(), auc.error_bound())


@pytest.mark.parametrize("levels", [2, 50, 1 << 24])
def test_auc_equals_sklearn_on_many_samples(levels):
    generator = torch.Generator().manual_seed(levels)
    predictions = (torch.rand(50_000, generator=generator) * levels).floor() / levels
    labels = (torch.rand(50_000, generator=generator) < predictions).to(torch.int64)
    expected = roc_auc_score(labels.numpy(), predictions.numpy())
    auc = AUC()
    for part in torch.arange(50_000).split(777):
        auc.update(predictions[part], labels[part])
    assert auc.compute() == pytest.approx(expected, abs=1e-12)
    coarse = AUC(max_distinct=512)
    coarse.update(predictions, labels)
    assert abs(coarse.compute() - expected) <= coarse.error_bound() + 1e-12
    assert coarse.error_bound() < 0.01 or levels == 2
    assert coarse.state_dict()["keys"].numel() <= 512
    # What a checkpoint carries is bounded, as `Stateful` asks: 20 bytes a distinct prediction, 20 MiB by default.
    assert sum(part.nbytes for part in coarse.state_dict().values() if isinstance(part, torch.Tensor)) <= 20 * 512


@given(samples.filter(len), st.lists(st.integers(0, 60), max_size=5), st.randoms())
def test_log_loss_equals_sklearn_and_does_not_see_the_split(rows, cuts, random):
    loss = feed(LogLoss(), rows)
    clipped = np.clip(np.array([np.float32(p) for p, _ in rows], np.float64), 2.0**-23, 1 - 2.0**-23)
    assert loss.compute() == pytest.approx(log_loss([y for _, y in rows], clipped, labels=[False, True]), rel=1e-12, abs=2.0**-48)
    assert feed(LogLoss(), random.sample(rows, len(rows)), cuts).compute() == loss.compute()


def test_log_loss_of_long_updates_does_not_see_the_split():
    generator = torch.Generator().manual_seed(1)
    predictions, labels = torch.rand(100_003, generator=generator), torch.randint(0, 2, (100_003,), generator=generator)
    whole, parts = LogLoss(), LogLoss()
    whole.update(predictions, labels)
    for part in torch.arange(100_003).split(37):
        parts.update(predictions[part], labels[part])
    assert parts.compute() == whole.compute()
    assert whole.compute() == pytest.approx(log_loss(labels.numpy(), predictions.double().numpy()), rel=1e-12)


def test_log_loss_clips_certain_mistakes():
    loss = LogLoss(epsilon=0.125)
    loss.update(torch.tensor([0.0, 1.0]), torch.tensor([1, 0]))
    assert loss.compute() == pytest.approx(math.log(8), rel=1e-12)


@pytest.mark.parametrize("make", [AUC, LogLoss, lambda: AUC(max_distinct=3)])
@given(samples, samples)
@settings(max_examples=40)
def test_state_continues_where_it_was_taken(make, before, after):
    metric = feed(make(), before)
    assert isinstance(metric, Stateful)
    resumed = make()
    resumed.load_state_dict(metric.state_dict())
    assert same(resumed.compute(), metric.compute())
    # The state is a snapshot: going on with one changes nothing in the other.
    value = metric.compute()
    feed(resumed, after)
    assert same(metric.compute(), value)
    assert same(resumed.compute(), feed(make(), before + after).compute())
    resumed.reset()
    assert math.isnan(resumed.compute())


@pytest.mark.parametrize(("first", "second"), [(AUC(4), AUC(5)), (LogLoss(1e-3), LogLoss(1e-4))])
def test_state_of_another_setting_is_refused(first, second):
    with pytest.raises(CheckpointError, match="make them equal"):
        second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("metric", [AUC(), LogLoss()])
@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([0.5, math.nan], [1.0, 0.0], "sample 1 .* prediction nan"),
        ([0.5, 1.25], [1.0, 0.0], "sample 1 .* prediction 1.25"),
        ([-1e-9, 0.5], [1.0, 0.0], "sample 0 .* prediction -1e-09"),
        ([0.5, 0.5], [1.0, math.nan], "sample 1 .* label nan"),
        ([0.5, 0.5], [2, 0], "sample 0 .* label 2"),
        ([0.5, 0.5], [1.0], r"\[2\] and labels \[1\]"),
        ([[0.5], [0.5]], [[1.0], [0.0]], "one prediction a sample"),
        ([1, 0], [1, 0], "torch.int64"),
    ],
)
def test_bad_samples_are_named_and_none_is_added(metric, predictions, labels, message):
    with pytest.raises(DataError, match=message):
        metric.update(torch.tensor(predictions), torch.tensor(labels))
    assert math.isnan(metric.compute())


@pytest.mark.parametrize("label", [0, 1])
def test_auc_of_one_class_is_nan(label):
    auc = AUC()
    auc.update(torch.tensor([0.25, 0.5]), torch.tensor([label, label]))
    assert math.isnan(auc.compute())
    assert math.isnan(auc.error_bound())


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="max_distinct is 0"):
        AUC(0)
    with pytest.raises(ConfigError, match=r"epsilon is 0\.5"):
        LogLoss(0.5)
