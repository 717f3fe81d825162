"""What `make demo` runs: make click data whose truth is known, train a DeepFM on it, and see how near the truth it comes.

    python examples/demo.py [FOLDER]        (default: demo)

Two bars, or the exit code is 1: the AUC lies within 0.01 of what these rows can teach, and closes at least 70% of the gap from the
best logistic regression to it. Data and baseline are kept in the folder: a second run starts training at once.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from sparrow.errors import ConfigError
from sparrow.features import Feature
from sparrow.io import Dataset
from sparrow.models import DeepFM
from sparrow.optim import CombinedOptimizer, SparseOptimizer
from sparrow.pipelines import LearningRateSchedule, RunFolder, Trainer, seed_everything
from sparrow.synth import SynthReport, SynthSpec, fit_logistic_baseline, generate

SPEC = SynthSpec(rows=600_000, eval_rows=100_000, seed=1)
SEED, EPOCHS, BATCH_SIZE, LR = 1, 2, 512, 1e-3
NUMBERS = [f"i{k}" for k in range(1, 14)]
IDS = [*(f"c{k}" for k in range(1, 27)), "m1", "m2", "m3"]
MARK = "made-by-demo"  # from before the first step on, so that an interrupted demo's run is known too
NEAR_LEARNABLE, GAP_CLOSED = 0.01, 0.7


def boundaries() -> list[float]:
    """Return bucket boundaries for counts: every one up to a few, then growing by six tenths, beyond a million."""
    found = [0, 1]
    while found[-1] < 2e6:
        found.append(max(found[-1] + 1, round(found[-1] * 1.6)))
    return [float(boundary) for boundary in found]


def features() -> list[Feature]:
    """Numbers as buckets (a missing one has its own), ids as they are, the string hashed."""
    numbers = [Feature(name).select(name).fill(-1.0).bucketize(boundaries()) for name in NUMBERS]
    return [*numbers, *[Feature(name).select(name) for name in IDS], Feature("s1").select("s1").hash("farm")]


def make_data(folder: Path) -> SynthReport:
    print(f"1. click data: {SPEC.rows:,} rows to train on, {SPEC.eval_rows:,} to evaluate on, labels from a hidden model", flush=True)
    report = generate(folder / "data", SPEC)
    print(f"   {'already there' if report.reused else f'made in {report.seconds:.0f} s'}: {report.train_folder}")
    print(f"   the truth itself reaches AUC {report.bayes_auc:.4f}; what these rows can teach, {report.learnable_auc:.4f}")
    return report


def baseline_auc(folder: Path, data: SynthReport) -> float:
    """Return the evaluation AUC of the best logistic regression, from the folder where an equal data set was fitted before."""
    print("2. baseline: logistic regression on all ids and numbers, L2 chosen on held-out training rows", flush=True)
    kept = folder / "baseline.json"
    spec = dataclasses.asdict(SPEC)
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("spec") == json.loads(json.dumps(spec)):
        print(f"   already there: AUC {known['eval_auc']:.4f}")
        return float(known["eval_auc"])
    fit = fit_logistic_baseline(data.train_folder, data.eval_folder, numerics=NUMBERS, ids=[*IDS, "s1"])
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps({"spec": spec, **dataclasses.asdict(fit)}, indent=2, allow_nan=False))
    temporary.replace(kept)
    print(f"   AUC {fit.eval_auc:.4f} in {fit.seconds:.0f} s ({fit.num_ids:,} ids, C = {fit.best_c:g})")
    return fit.eval_auc


def remove_earlier(run_folder: Path) -> None:
    """Remove what an earlier demo left. Raises `ConfigError` for a folder that holds anything else."""
    if not run_folder.exists():
        return
    is_empty = run_folder.is_dir() and not any(run_folder.iterdir())
    if not is_empty and not (run_folder / MARK).exists():
        raise ConfigError(f"{run_folder} holds no run of this demo (no file {MARK}), so it stays; remove it, or give another FOLDER")
    shutil.rmtree(run_folder)


def train(data: SynthReport, run_folder: Path) -> dict[str, Any]:
    print(f"3. DeepFM: {EPOCHS} epochs, tables grow as ids are seen", flush=True)
    remove_earlier(run_folder)
    run_folder.mkdir(parents=True)
    (run_folder / MARK).touch()
    # One thread: for a net this small a second one gains little on an idle machine and costs much on a busy one.
    torch.set_num_threads(1)
    seed_everything(SEED)
    names = [*NUMBERS, *IDS, "s1"]
    model = DeepFM(features(), dense=[], sparse=names, dim=8, hidden=(128, 64), seed=SEED)
    optimizer = CombinedOptimizer(torch.optim.Adam(model.parameters(), lr=LR), SparseOptimizer(model, lr=LR))
    # The last epoch at a tenth of the rate: it settles what the first has found.
    schedule = LearningRateSchedule(torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1), each="epoch")
    columns = ["label", *model.columns]
    rows = Dataset(data.train_folder, columns, batch_size=BATCH_SIZE)
    held_out = Dataset(data.eval_folder, columns, batch_size=4096)
    trainer = Trainer(model, optimizer, run_folder=run_folder, seed=SEED, log_every=250, save_every=1000, keep=1, hooks=[schedule])
    return trainer.fit(rows, epochs=EPOCHS, evaluate_on=held_out)


def judge(summary: dict[str, Any], data: SynthReport, baseline: float, seconds: float) -> bool:
    """Print how the run did and return whether it cleared both bars; `summary` gets the three AUCs."""
    auc = summary["eval"]["auc"]
    closed = (auc - baseline) / (data.learnable_auc - baseline)
    near, enough = data.learnable_auc - auc <= NEAR_LEARNABLE, closed >= GAP_CLOSED
    summary["demo"] = {
        "auc": auc,
        "logistic_regression_auc": baseline,
        "learnable_auc": data.learnable_auc,
        "bayes_auc": data.bayes_auc,
        "gap_closed": closed,
        "passed": near and enough,
    }
    print(f"\n   logistic regression {baseline:.4f}   DeepFM {auc:.4f}   learnable {data.learnable_auc:.4f}   truth {data.bayes_auc:.4f}")
    print(f"   within {data.learnable_auc - auc:.4f} of the learnable AUC (at most {NEAR_LEARNABLE}): {'yes' if near else 'NO'}")
    print(f"   closes {closed:.0%} of the gap from logistic regression (at least {GAP_CLOSED:.0%}): {'yes' if enough else 'NO'}")
    rows = sum(summary["table_rows"].values())
    print(f"   {summary['samples_per_second']:,.0f} samples/s, {rows:,} table rows, {seconds:.0f} s in all")
    return near and enough


def main() -> int:
    began = time.perf_counter()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")
    remove_earlier(folder / "run")  # a refusal comes before the work
    data = make_data(folder)
    baseline = baseline_auc(folder, data)
    run_folder = folder / "run"
    summary = train(data, run_folder)
    if summary["stopped"]:
        return 130
    passed = judge(summary, data, baseline, time.perf_counter() - began)
    RunFolder(run_folder, resume=True).write_summary(summary)
    print(f"\nsaved: {run_folder} (summary.json, metrics.jsonl, checkpoints/)")
    print("try next:")
    print(f"   .venv/bin/sparrow inspect {run_folder}")
    print("   .venv/bin/sparrow data synth data/clicks --rows 100000 --eval-rows 20000")
    print(
        "   .venv/bin/sparrow train configs/criteo_deepfm.yaml data.train=data/clicks/train data.eval=data/clicks/eval run.folder=runs/mine"
    )
    print("   docs/features.md, examples/criteo_deepfm.py")
    return 0 if passed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigError as error:
        sys.exit(f"error: {error}")
