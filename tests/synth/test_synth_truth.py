"""The truth: its AUCs, what the oracle knows, and that training cannot see any of it."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import orc
from sklearn.metrics import roc_auc_score

from sparrow.synth import SynthReport, SynthSpec, generate
from sparrow.synth.rows import blocks_of_rows
from sparrow.synth.truth import Counts, Truth, sigmoid


def rows_of(spec, stream, num_rows):
    return list(blocks_of_rows(spec.columns, spec.seed, stream, num_rows))


def labels_of(folder):
    parts = [orc.ORCFile(path).read(["label"])["label"] for path in sorted(folder.glob("*.orc"))]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks]).combine_chunks().flatten().to_numpy()


def counted(spec):
    """Ids and pairs of the training rows in plain dictionaries."""
    ids, pairs = Counter(), Counter()
    for rows in rows_of(spec, "train", spec.rows):
        for name, ranks in rows.ranks.items():
            ids.update((name, rank) for rank in ranks[ranks >= 0].tolist())
        for pair in spec.columns.interactions:
            left, right = rows.ranks[pair.left][:, 0].tolist(), rows.ranks[pair.right][:, 0].tolist()
            pairs.update((pair.left, pair.right, a, b) for a, b in zip(left, right, strict=True) if a >= 0 and b >= 0)
    return ids, pairs


def test_bayes_auc_is_scikit_learns(small_spec, small_data):
    truth = Truth.of(small_spec)
    chances = np.concatenate([sigmoid(truth.logits(rows)) for rows in rows_of(small_spec, "eval", small_spec.eval_rows)])
    # Metrics read predictions as float32.
    assert small_data.bayes_auc == pytest.approx(roc_auc_score(labels_of(small_data.eval_folder), chances.astype(np.float32)), abs=1e-12)


def test_learnable_auc_is_that_of_an_oracle_made_of_dictionaries(small_spec, small_data):
    ids, pairs = counted(small_spec)
    truth = Truth.of(small_spec)
    shape = small_spec.columns
    scores = []
    for rows in rows_of(small_spec, "eval", small_spec.eval_rows):
        total = np.full(rows.num_rows, truth.intercept)
        for numeric in shape.numerics:
            total += truth.numeric_effects(numeric, rows.numerics[numeric.name])
        for column in shape.ids:
            effects = truth.id_effects(column, rows.ranks[column.name])
            known = [[ids[column.name, rank] >= 20 for rank in row] for row in rows.ranks[column.name].tolist()]
            total += (effects * np.array(known)).sum(axis=1)
        for pair in shape.interactions:
            both = zip(rows.ranks[pair.left][:, 0].tolist(), rows.ranks[pair.right][:, 0].tolist(), strict=True)
            total += truth.pair_effects(pair, rows) * np.array([pairs[pair.left, pair.right, a, b] >= 20 for a, b in both])
        scores.append(sigmoid(total).astype(np.float32))
    expected = roc_auc_score(labels_of(small_data.eval_folder), np.concatenate(scores))
    # The sums differ in the last places, which can order two of 8000 rows the other way.
    assert small_data.learnable_auc == pytest.approx(expected, abs=1e-7)


def test_counts_are_exact(small_spec):
    ids, pairs = counted(small_spec)
    counts = Counts.none(small_spec)
    for rows in rows_of(small_spec, "train", small_spec.rows):
        counts.add(rows, small_spec)
    for name, array in counts.ids.items():
        assert {rank: int(array[rank]) for rank in np.flatnonzero(array).tolist()} == {
            rank: n for (column, rank), n in ids.items() if column == name
        }
    for (left, right), array in counts.pairs.items():
        width = small_spec.columns.id_column(right).cardinality
        seen = {divmod(key, width): int(array[key]) for key in np.flatnonzero(array).tolist()}
        assert seen == {(a, b): n for (one, other, a, b), n in pairs.items() if (one, other) == (left, right)}


def test_known_shares(small_spec, small_data):
    ids, pairs = counted(small_spec)
    num_ids = num_known_ids = num_pairs = num_known_pairs = 0
    for rows in rows_of(small_spec, "eval", small_spec.eval_rows):
        for name, ranks in rows.ranks.items():
            present = ranks[ranks >= 0].tolist()
            num_ids += len(present)
            num_known_ids += sum(ids[name, rank] >= 20 for rank in present)
        for pair in small_spec.columns.interactions:
            for a, b in zip(rows.ranks[pair.left][:, 0].tolist(), rows.ranks[pair.right][:, 0].tolist(), strict=True):
                if a >= 0 and b >= 0:
                    num_pairs += 1
                    num_known_pairs += pairs[pair.left, pair.right, a, b] >= 20
    assert small_data.known_ids == pytest.approx(num_known_ids / num_ids)
    assert small_data.known_pairs == pytest.approx(num_known_pairs / num_pairs)


def test_the_oracle_lies_between_chance_and_bayes(small_spec, small_data, tmp_path):
    # The optimum is the expected one: on 8000 rows an AUC has a standard error of 0.006, a paired difference far less.
    assert 0.6 < small_data.learnable_auc < small_data.bayes_auc + 0.002
    ignorant = generate(tmp_path / "ignorant", dataclasses.replace(small_spec, known_after=10**6))
    omniscient = generate(tmp_path / "omniscient", dataclasses.replace(small_spec, known_after=1))
    assert ignorant.bayes_auc == omniscient.bayes_auc == small_data.bayes_auc
    assert ignorant.learnable_auc < small_data.learnable_auc < omniscient.learnable_auc <= omniscient.bayes_auc + 0.002
    assert (ignorant.known_ids, ignorant.known_pairs) == (0, 0)


@pytest.mark.parametrize("click_rate", [0.03, 0.5])
def test_the_click_rate_is_the_one_asked_for(tmp_path, small_spec, click_rate):
    report = generate(tmp_path / "made", dataclasses.replace(small_spec, click_rate=click_rate))
    assert report.click_rate == labels_of(report.train_folder).mean()
    assert report.eval_click_rate == labels_of(report.eval_folder).mean()
    # Calibrated on 131072 rows, drawn on 20000.
    assert abs(report.click_rate - click_rate) < 6 * (click_rate * (1 - click_rate) * (1 / 20_000 + 1 / 131_072)) ** 0.5


def test_labels_follow_the_true_probabilities(small_spec, small_data):
    truth = Truth.of(small_spec)
    chances = np.concatenate([sigmoid(truth.logits(rows)) for rows in rows_of(small_spec, "train", small_spec.rows)])
    labels = labels_of(small_data.train_folder)
    for decile in np.array_split(np.argsort(chances), 10):
        spread = np.sqrt((chances[decile] * (1 - chances[decile])).sum())
        assert abs(labels[decile].sum() - chances[decile].sum()) < 5 * spread


def test_effects_have_the_deviation_and_mean_they_claim(small_spec):
    """Over rows drawn with nothing missing the mean is 0 and the deviation `effect`, but for what a sample moves them."""
    shape = small_spec.columns
    full = dataclasses.replace(
        small_spec, shape=dataclasses.replace(shape, ids=tuple(dataclasses.replace(column, missing=0.0) for column in shape.ids))
    )
    truth, rows = Truth.of(full), rows_of(full, "train", 131_072)
    for column in full.columns.ids:
        effects = np.concatenate([truth.id_effects(column, block.ranks[column.name])[:, 0] for block in rows])
        effects = effects[effects != 0]
        assert abs(effects.mean()) < 0.03 * column.effect
        assert effects.std() == pytest.approx(column.effect, rel=0.03)
    for pair in full.columns.interactions:
        effects = np.concatenate([truth.pair_effects(pair, block) for block in rows])
        assert abs(effects.mean()) < 0.03 * pair.effect
        assert effects.std() == pytest.approx(pair.effect, rel=0.03)
        left = np.concatenate([block.ranks[pair.left][:, 0] for block in rows])
        for rank in range(3):
            # No main effect: its mean over any one id is 0.
            assert abs(effects[left == rank].mean()) < 0.06 * pair.effect


def test_training_files_hold_no_trace_of_the_truth(small_spec, small_data):
    assert sorted(path.name for path in small_data.folder.iterdir()) == ["eval", "train", "truth.json"]
    truth = Truth.of(small_spec)
    hidden = [truth.logits(rows) for rows in rows_of(small_spec, "train", small_spec.rows)]
    for path in small_data.train_folder.iterdir():
        table = orc.ORCFile(path).read()
        assert set(table.column_names) == {"label", "i1", "i2", "c1", "c2", "c3", "m1", "s1"}
        logits = set(np.concatenate([*hidden, *map(sigmoid, hidden)]).tolist())
        for name in ("i1", "i2"):
            assert not logits & set(table[name].combine_chunks().flatten().to_numpy().tolist())


def test_truth_json_holds_the_report(small_spec, small_data):
    stored = json.loads((small_data.folder / "truth.json").read_text())
    assert stored["report"]["bayes_auc"] == small_data.bayes_auc
    assert stored["report"]["learnable_auc"] == small_data.learnable_auc
    assert stored["spec"]["seed"] == small_spec.seed
    assert SynthReport.read(small_data.folder) == small_data


def test_a_spec_that_names_the_default_shape_equals_one_that_names_none():
    spec = SynthSpec(rows=10)
    assert spec.describe() == dataclasses.replace(spec, shape=spec.columns).describe()
