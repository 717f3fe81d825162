"""GAUC against counting pairs group by group in Python's fractions; how samples are split never shows."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sparrow.errors import CheckpointError, ConfigError, DataError
from sparrow.metrics import GAUC
from sparrow.types import Stateful
from tests_support import ids

few_values = st.sampled_from([0.0, -0.0, 2.0**-149, 0.1, 0.25, 0.25 + 2.0**-25, 0.5, 1.0])
users = st.one_of(st.integers(0, 3), ids)
samples = st.lists(st.tuples(st.one_of(st.floats(0, 1, width=32), few_values), st.booleans(), users), max_size=60)


def feed(metric, rows, cuts=()):
    for part in np.split(np.arange(len(rows)), sorted(cut % (len(rows) + 1) for cut in cuts)):
        predictions = torch.tensor([rows[i][0] for i in part], dtype=torch.float32)
        metric.update(predictions, torch.tensor([float(rows[i][1]) for i in part]), torch.tensor([rows[i][2] for i in part]).long())
    return metric


def counted(rows):
    """(mean or None, groups, groups and samples of one class), by a loop over users and all their pairs."""
    by_user = {}
    for prediction, label, user in rows:
        by_user.setdefault(user, ([], []))[label].append(float(np.float32(prediction)))
    total = weight = left_out = samples_left_out = 0
    for negatives, positives in by_user.values():
        size = len(negatives) + len(positives)
        if not negatives or not positives:
            left_out, samples_left_out = left_out + 1, samples_left_out + size
            continue
        wins = sum(Fraction(2 * (p > n) + (p == n), 2) for p in positives for n in negatives)
        total, weight = total + size * wins / (len(positives) * len(negatives)), weight + size
    return (total / weight if weight else None), len(by_user), left_out, samples_left_out


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


@given(samples, st.lists(st.integers(0, 60), max_size=5))
def test_gauc_equals_counting_pairs_of_each_user(rows, cuts):
    gauc = feed(GAUC(), rows, cuts)
    mean, num_groups, left_out, samples_left_out = counted(rows)
    if mean is None:
        assert math.isnan(gauc.compute())
        assert math.isnan(gauc.error_bound())
    else:
        # Products are rounded to float64, of less than 64 groups; the sum and the division once.
        assert gauc.compute() == pytest.approx(float(mean), abs=2.0**-50)
        assert gauc.error_bound() == 0
    assert (gauc.num_groups, gauc.num_groups_left_out, gauc.num_samples_left_out) == (num_groups, left_out, samples_left_out)


@given(samples, st.integers(0, 6), st.lists(st.integers(0, 60), max_size=5), st.randoms())
def test_coarse_gauc_stays_within_its_bound_and_does_not_see_the_split(rows, spare, cuts, random):
    mean, num_groups, *_ = counted(rows)
    max_cells = max(1, num_groups + spare)
    gauc = feed(GAUC(max_cells), rows)
    if mean is not None:
        assert abs(gauc.compute() - float(mean)) <= gauc.error_bound() + 1e-15
        if len({(np.float32(p) + 0, user) for p, _, user in rows}) <= max_cells:
            assert gauc.error_bound() == 0
    assert gauc.state_dict()["keys"].numel() <= max_cells
    other = feed(GAUC(max_cells), random.sample(rows, len(rows)), cuts)
    assert same(other.compute(), gauc.compute())
    assert same(other.error_bound(), gauc.error_bound())


@given(samples)
def test_which_numbers_users_have_does_not_show(rows):
    names = {user: index for index, user in enumerate(sorted({user for *_, user in rows}, key=lambda user: -user))}
    assert same(feed(GAUC(), rows).compute(), feed(GAUC(), [(p, y, names[user]) for p, y, user in rows]).compute())


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=40))
def test_one_group_has_the_auc_of_sklearn(rows):
    gauc = feed(GAUC(), [(p, y, 7) for p, y in rows])
    if len({y for _, y in rows}) == 2:
        expected = roc_auc_score([y for _, y in rows], np.array([p for p, _ in rows], np.float32))
        assert gauc.compute() == pytest.approx(expected, abs=1e-12)
    else:
        assert math.isnan(gauc.compute())


def test_the_first_and_the_last_user_of_an_update_count():
    """Users are found wherever their samples are, cut by a batch's border or not."""
    gauc = GAUC()
    gauc.update(torch.tensor([0.9, 0.1, 0.2]), torch.tensor([1, 0, 1]), torch.tensor([1, 1, 2]))
    gauc.update(torch.tensor([0.8, 0.6, 0.4]), torch.tensor([0, 1, 0]), torch.tensor([2, 3, 3]))
    assert gauc.compute() == (2 * 1 + 2 * 0 + 2 * 1) / 6


@given(samples, samples)
def test_state_continues_where_it_was_taken(before, after):
    metric = feed(GAUC(), before)
    assert isinstance(metric, Stateful)
    resumed = GAUC()
    resumed.load_state_dict(metric.state_dict())
    value = metric.compute()
    assert same(resumed.compute(), value)
    feed(resumed, after)
    assert same(metric.compute(), value)
    assert same(resumed.compute(), feed(GAUC(), before + after).compute())
    resumed.reset()
    assert math.isnan(resumed.compute())
    assert resumed.num_groups == 0


def test_what_the_metric_keeps_is_its_own():
    groups, gauc = torch.tensor([1, 1, 2, 2]), GAUC()
    gauc.update(torch.tensor([0.1, 0.9, 0.9, 0.1]), torch.tensor([0, 1, 0, 1]), groups)
    groups.fill_(3)
    assert gauc.compute() == 0.5
    assert gauc.num_groups == 2


def test_memory_is_bounded():
    gauc = GAUC(max_cells=2048)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        predictions = torch.rand(1000, generator=generator)
        gauc.update(predictions, torch.rand(1000, generator=generator) < predictions, torch.randint(0, 100, (1000,), generator=generator))
    assert 0 < gauc.error_bound() < 0.25
    assert sum(part.nbytes for part in gauc.state_dict().values() if isinstance(part, torch.Tensor)) <= 28 * 2048


def test_billions_of_samples_of_a_user_do_not_overflow():
    many, gauc = 2**33 + 1, GAUC()
    counts = {"positives": torch.tensor([many, 0, 1, 0]), "negatives": torch.tensor([0, many, 1, 3])}
    keys = torch.tensor([1, 2, 5, 6], dtype=torch.int32)
    gauc.load_state_dict({**gauc.state_dict(), "groups": torch.tensor([1, 1, 2, 2]), "keys": keys, **counts})
    # All positives of user 1 lie below all negatives; that of user 2 ties with one negative and loses to three.
    assert gauc.compute() == pytest.approx(5 / 8 / (2 * many + 5), rel=1e-12)
    assert gauc.num_samples_left_out == 0


def test_more_groups_than_cells_are_an_error():
    gauc = GAUC(max_cells=3)
    with pytest.raises(DataError, match="more than 3 groups; raise max_cells"):
        gauc.update(torch.full((4,), 0.5), torch.tensor([0, 1, 0, 1]), torch.arange(4))


def test_wrong_input_is_named_and_nothing_is_added():
    gauc = GAUC()
    half, label = torch.tensor([0.5, 0.5]), torch.tensor([0, 1])
    for groups in (torch.tensor([1.0, 2.0]), torch.tensor([1]), torch.tensor([[1], [2]])):
        with pytest.raises(DataError, match="expected an integer a sample"):
            gauc.update(half, label, groups)
    with pytest.raises(DataError, match=r"sample 1 .* prediction nan"):
        gauc.update(torch.tensor([0.5, math.nan]), label, torch.tensor([1, 1]))
    assert gauc.num_groups == 0
    with pytest.raises(ConfigError, match="max_cells is 0"):
        GAUC(0)
    with pytest.raises(CheckpointError, match="make them equal"):
        GAUC(5).load_state_dict(GAUC(4).state_dict())
