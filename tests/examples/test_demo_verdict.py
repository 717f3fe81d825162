"""The demo's verdict: both bars must be cleared, and the three AUCs stand in the summary."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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


def test_bucket_boundaries_increase_past_every_count(demo: ModuleType) -> None:
    boundaries = demo.boundaries()
    assert boundaries == sorted(set(boundaries))
    assert boundaries[-1] > 1e6
