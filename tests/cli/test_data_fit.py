"""`sparrow data fit`, and training, evaluating and resuming on what it wrote."""

import json

import numpy as np
import pytest
import yaml

from pipelines.clicks import config_for, summary_of, write_config
from sparrow.features import FeatureEngine
from sparrow.io import Dataset


@pytest.fixture
def declared(clicks, tmp_path):
    config = config_for(clicks / "train", clicks / "eval", tmp_path / "run", epochs=1)
    config["features"] = [
        {"name": "i{1..2}", "transforms": [{"fill": 0.0}, "log1p", "zscore"]},
        {"name": "c1", "transforms": [{"vocabulary": {"min_count": 5}}]},
        {"name": "c2", "transforms": [{"bucketize": {"quantiles": 4}}]},
        {"name": "title", "transforms": [{"vocabulary": {"min_count": 2, "oov_buckets": 3}}]},
    ]
    config["model"]["sparse"] = ["c1", "c2", "title"]
    return write_config(tmp_path / "run.yaml", config)


def test_fit_then_train_evaluate_and_resume(declared, tmp_path, sparrow, clicks):
    out = tmp_path / "features.json"
    done = sparrow("data", "fit", declared, "--out", out)
    assert done.code == 0, done.err
    assert "mean" in done.out
    assert "vocabulary of" in done.out
    # The figures are those of NumPy on the same rows.
    fitted = {feature.name: feature for feature in FeatureEngine.load(out).features}
    logs = [
        np.log1p(np.maximum(batch["i1"].values.numpy() if batch["i1"].lengths()[row] else 0.0, 0.0)).sum()
        for batch in Dataset(clicks / "train", ["i1"], batch_size=1)
        for row in range(1)
    ]
    scaled = fitted["i1"].expression.transform
    assert np.isclose(scaled.mean, np.mean(logs), rtol=1e-9)
    assert np.isclose(scaled.std, np.std(logs), rtol=1e-9)

    done = sparrow("train", declared, f"features={out}")
    assert done.code == 0, done.err
    run = tmp_path / "run"
    assert (run / "features.json").read_bytes() == out.read_bytes()
    out.unlink()
    done = sparrow("eval", run, "--json")
    assert done.code == 0, done.err
    metrics = json.loads(done.out)
    assert {key: metrics[key] for key in ("auc", "log_loss")} == {key: summary_of(run)["eval"][key] for key in ("auc", "log_loss")}
    done = sparrow("train", declared, f"features={run / 'features.json'}", "run.epochs=2", "--resume")
    assert done.code == 0, done.err


def test_a_resumed_run_keeps_its_features(declared, tmp_path, sparrow):
    out, other = tmp_path / "features.json", tmp_path / "other.json"
    assert sparrow("data", "fit", declared, "--out", out).code == 0
    assert sparrow("train", declared, f"features={out}", "run.max_steps=5").code == 0
    content = yaml.safe_load(declared.read_text())
    content["features"][1]["transforms"] = [{"vocabulary": {"min_count": 9}}]
    write_config(declared, content)
    assert sparrow("data", "fit", declared, "--out", other).code == 0
    done = sparrow("train", declared, f"features={other}", "--resume")
    assert done.code == 2
    assert f"{other}: its features are not those of the run to resume" in done.err


def test_training_on_what_is_not_fitted_says_what_to_do(declared, sparrow):
    done = sparrow("train", declared)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "error: feature 'i1': zscore is not fitted" in done.err
    assert "sparrow data fit" in done.err


def test_a_feature_without_data_is_one_line(declared, tmp_path, sparrow):
    content = yaml.safe_load(declared.read_text())
    content["features"][1]["transforms"] = [{"vocabulary": {"min_count": 10**6}}]
    done = sparrow("data", "fit", write_config(declared, content), "--out", tmp_path / "f.json")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "feature 'c1', column 'c1': vocabulary: none of" in done.err
    assert not (tmp_path / "f.json").exists()
