"""The demo's verdict: both bars must be cleared, and the three AUCs stand in the summary."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from sparrow.errors import ConfigError
from sparrow.synth import SynthReport


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).parents[2] / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(learnable_auc: float) -> SynthReport:
    return SynthReport(
        folder=Path("unused"), rows=1, eval_rows=1, click_rate=0.25, eval_click_rate=0.25, bayes_auc=0.9, learnable_auc=learnable_auc,
        known_ids=1.0, known_pairs=1.0, seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("auc", "baseline", "passed"),
    [
        (0.876, 0.73, True),
        (0.869, 0.73, False),  # closes enough of the gap, but is more than 0.01 below what can be learned
        (0.876, 0.872, False),  # near enough, but logistic regression was nearly there
        (0.885, 0.73, True),
    ],
)
def test_both_bars_decide(demo: ModuleType, auc: float, baseline: float, passed: bool) -> None:
    summary = {"eval": {"auc": auc}, "samples_per_second": 1000.0, "table_rows": {"t": 5}}
    assert demo.judge(summary, report(0.88), baseline, 60.0) is passed
    assert summary["demo"]["passed"] is passed
    assert (summary["demo"]["auc"], summary["demo"]["logistic_regression_auc"], summary["demo"]["learnable_auc"]) == (auc, baseline, 0.88)


def test_only_a_run_of_the_demo_is_removed(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "summary.json").write_text("{}")
    monkeypatch.setattr(demo.sys, "argv", ["demo.py", str(tmp_path)])
    # Before any data is made: `make_data` would take minutes.
    monkeypatch.setattr(demo, "make_data", lambda folder: pytest.fail("data was made"))
    with pytest.raises(ConfigError, match=rf"{run} holds no run of this demo.*remove it, or give another FOLDER"):
        demo.main()
    assert (run / "summary.json").read_text() == "{}"
    (run / demo.MARK).touch()
    demo.remove_earlier(run)
    assert not run.exists()
    demo.remove_earlier(run)


def test_the_run_of_an_interrupted_demo_is_removed_by_the_next(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        (tmp_path / "run" / "metrics.jsonl").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "seed_everything", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo.train(report(0.88), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").exists()


def test_bucket_boundaries_increase_past_every_count(demo: ModuleType) -> None:
    boundaries = demo.boundaries()
    assert boundaries == sorted(set(boundaries))
    assert boundaries[-1] > 1e6
