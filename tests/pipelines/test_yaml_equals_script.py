"""`configs/criteo_deepfm.yaml` and `examples/criteo_deepfm.py` are one run: the same bits from both."""

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import orc

from pipelines.clicks import log_lines, rows_and_weights, summary_of
from sparrow.pipelines.load_config import load_run_config
from sparrow.pipelines.run import evaluate_run, train_run

ROOT = Path(__file__).parents[2]


def write_criteo(path, num_rows, seed):
    """One file of the real files' columns and types: lists of at most one value."""
    random = np.random.default_rng(seed)

    def column(values, type_, missing):
        return pa.array([[] if absent else [value] for value, absent in zip(values, missing, strict=True)], pa.list_(type_))

    present = np.zeros(num_rows, bool)
    columns = {"label": column((random.random(num_rows) < 0.3).astype(float).tolist(), pa.float64(), present)}
    for k in range(1, 14):
        columns[f"i{k}"] = column(random.integers(-2, 900, num_rows).astype(float).tolist(), pa.float64(), random.random(num_rows) < 0.2)
    for k in range(1, 27):
        columns[f"c{k}"] = column(
            random.integers(-(2**63), 2**63 - 1, 30)[random.integers(0, 30, num_rows)].tolist(), pa.int64(), random.random(num_rows) < 0.1
        )
    orc.write_table(pa.table(columns), str(path))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The script's run and the configuration's, on the same small files, two epochs."""
    folder = tmp_path_factory.mktemp("criteo")
    for part in range(3):
        write_criteo(folder / f"part-{part}.orc", 1200, part)
    files = [str(folder / f"part-{part}.orc") for part in range(3)]
    spec = importlib.util.spec_from_file_location("criteo_deepfm", ROOT / "examples" / "criteo_deepfm.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.train_and_evaluate(files[:2], files[2:], run_folder=str(folder / "script"), progress=False)
    changes = {"data.train": f"[{files[0]}, {files[1]}]", "data.eval": files[2], "run.folder": str(folder / "yaml")}
    train_run(load_run_config(ROOT / "configs" / "criteo_deepfm.yaml", changes), progress=False)
    return folder


def test_metrics_and_weights_are_bit_equal(runs):
    script, configured = summary_of(runs / "script"), summary_of(runs / "yaml")
    assert script["eval"] == configured["eval"]
    assert script["train"] == configured["train"]
    assert script["table_rows"] == configured["table_rows"]
    assert sum(script["table_rows"].values()) > 1000
    assert log_lines(runs / "script") == log_lines(runs / "yaml")
    assert rows_and_weights(runs / "script") == rows_and_weights(runs / "yaml")


def test_the_resolved_configuration_runs_the_same_again(runs):
    again = load_run_config(runs / "yaml" / "config.yaml", {"run.folder": str(runs / "again")})
    train_run(again, progress=False)
    assert rows_and_weights(runs / "again") == rows_and_weights(runs / "yaml")


def test_evaluating_the_saved_run_gives_its_metrics(runs, monkeypatch):
    expected = summary_of(runs / "yaml")["eval"]
    evaluated = evaluate_run(runs / "yaml")
    checkpoint = evaluated.pop("checkpoint")
    assert evaluated == expected
    monkeypatch.chdir(Path(checkpoint).parent)
    assert evaluate_run(Path(checkpoint).name)["auc"] == expected["auc"]
