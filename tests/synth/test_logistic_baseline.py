"""The logistic baseline, against scikit-learn fed by plain Python."""

import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import orc
from scipy import sparse
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sparrow.errors import ConfigError, DataError
from sparrow.synth import fit_logistic_baseline
from sparrow.synth.logistic_baseline import _Encoder

NUMERICS, IDS = ("i1", "i2"), ("c1", "c2", "c3", "m1", "s1")


def rows_of(folder):
    return [row for path in sorted(folder.glob("*.orc")) for row in orc.ORCFile(path).read().to_pylist()]


def features_of(row):
    """The one-hot ids of a row, twice where an id stands twice."""
    counted = {}
    for name in IDS:
        for value in [row[name]] if isinstance(row[name], str) else row[name]:
            counted[f"{name}={value}"] = counted.get(f"{name}={value}", 0) + 1
    return counted


def numerics_of(rows, train_rows):
    columns = []
    for name in NUMERICS:
        seen = np.log1p([row[name][0] for row in train_rows if row[name]])
        columns.append([(np.log1p(row[name][0]) - seen.mean()) / seen.std() if row[name] else 0.0 for row in rows])
        columns.append([float(not row[name]) for row in rows])
    return np.array(columns).T


@pytest.fixture(scope="module")
def matrices(small_data):
    """(matrix, labels) of training and of evaluation rows, made by DictVectorizer."""
    train, evaluation = rows_of(small_data.train_folder), rows_of(small_data.eval_folder)
    vectorizer = DictVectorizer().fit(map(features_of, train))

    def encode(rows):
        matrix = sparse.hstack([vectorizer.transform(map(features_of, rows)), numerics_of(rows, train)], format="csr")
        return matrix, np.array([row["label"][0] for row in rows])

    return encode(train), encode(evaluation)


def test_the_matrix_is_that_of_dict_vectorizer(small_data, matrices):
    """Equal up to the order of columns: the products of rows do not depend on it."""
    encoder = _Encoder(NUMERICS, IDS, "label")
    train, labels = encoder.fit(small_data.train_folder)
    evaluation, eval_labels = encoder.transform(small_data.eval_folder)
    (plain_train, plain_labels), (plain_eval, plain_eval_labels) = matrices
    assert (labels == plain_labels).all()
    assert (eval_labels == plain_eval_labels).all()
    assert train.shape == plain_train.shape
    for ours, theirs in (
        (train[:800] @ train[-500:].T, plain_train[:800] @ plain_train[-500:].T),
        (evaluation[:800] @ train[:500].T, plain_eval[:800] @ plain_train[:500].T),
    ):
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=1e-9, atol=1e-9)


def test_the_auc_is_scikit_learns(small_data, matrices):
    report = fit_logistic_baseline(
        small_data.train_folder, small_data.eval_folder, numerics=NUMERICS, ids=IDS, grid=(0.003, 0.1), tolerance=1e-4
    )
    (train, labels), (evaluation, eval_labels) = matrices
    num_kept = len(labels) - len(labels) // 5

    def fitted(c, rows):
        return LogisticRegression(C=c, tol=1e-7, max_iter=1000).fit(train[rows], labels[rows])

    held_out = {c: roc_auc_score(labels[num_kept:], fitted(c, slice(num_kept)).decision_function(train[num_kept:])) for c in (0.003, 0.1)}
    best_c = max(held_out, key=held_out.get)
    expected = roc_auc_score(eval_labels, fitted(best_c, slice(None)).decision_function(evaluation))
    assert report.converged
    assert report.best_c == best_c
    # The two solvers stop at tolerances of their own: the order of rows has settled but for near ties.
    assert report.held_out_aucs == pytest.approx(held_out, abs=1e-4)
    assert report.eval_auc == pytest.approx(expected, abs=1e-4)
    assert report.eval_auc < small_data.learnable_auc
    assert report.num_ids == train.shape[1] - 2 * len(NUMERICS)


def test_the_default_tolerance_is_tight_enough(small_data):
    columns = {"numerics": NUMERICS, "ids": IDS, "grid": (0.03,)}
    quick = fit_logistic_baseline(small_data.train_folder, small_data.eval_folder, **columns)
    slow = fit_logistic_baseline(small_data.train_folder, small_data.eval_folder, **columns, tolerance=1e-4)
    assert quick.converged
    assert quick.iterations < slow.iterations
    assert quick.eval_auc == pytest.approx(slow.eval_auc, abs=2e-3)


def test_without_scikit_learn_the_message_says_how_to_get_it(small_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ConfigError, match="pip install 'scikit-learn"):
        fit_logistic_baseline(small_data.train_folder, small_data.eval_folder, numerics=NUMERICS, ids=IDS)


@pytest.mark.parametrize("settings", [{"grid": ()}, {"grid": (0.0,)}, {"held_out": 1.0}, {"held_out": 0.0}, {"tolerance": 0.0}])
def test_bad_settings_are_named(small_data, settings):
    with pytest.raises(ConfigError, match="logistic baseline: grid"):
        fit_logistic_baseline(small_data.train_folder, small_data.eval_folder, numerics=NUMERICS, ids=IDS, **settings)


def test_one_label_only_is_an_error(tmp_path):
    orc.write_table(pa.table({"label": [[0.0]] * 50, "i1": [[1.0]] * 50, "c1": [[7]] * 50}), tmp_path / "part.orc")
    with pytest.raises(DataError, match="one label only"):
        fit_logistic_baseline(tmp_path, tmp_path, numerics=["i1"], ids=["c1"])
