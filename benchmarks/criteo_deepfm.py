"""DeepFM on the real Criteo rows, leave one part out: AUC and samples/s beside the same network in plain PyTorch.

    python -m benchmarks criteo_deepfm [--runs SEEDS]      (default: 8 seeds of 7 parts)

Each part is the test set once a seed; both sides train on the other parts in file order. AUC differences are paired by (part, seed);
their standard error is taken over seeds.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from benchmarks import plain_deepfm
from benchmarks.harness import ROOT, Options, Result
from sparrow.errors import DataError

DEFAULT_RUNS = 7


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("criteo_deepfm_example", ROOT / "examples" / "criteo_deepfm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parts_of(data: Path) -> list[str]:
    files = sorted(map(str, (data / "criteo_orc").glob("part-*.orc")))
    if len(files) < 2:
        raise DataError(f"{data / 'criteo_orc'} holds {len(files)} part-*.orc, at least two are needed; name the data folder by --data")
    return files


def run(options: Options) -> Iterable[Result]:
    sparrow, files = _example(), parts_of(options.data)
    num_seeds = 8 if options.runs == DEFAULT_RUNS else options.runs
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    seed_differences: list[float] = []
    for seed in range(1, num_seeds + 1):
        for left_out, test in enumerate(files):
            train = [path for index, path in enumerate(files) if index != left_out]
            summary = sparrow.train_and_evaluate(train, [test], seed=seed, progress=False)
            mine = {**summary["eval"], "samples_per_second": summary["samples_per_second"]}
            pairs.append((mine, plain_deepfm.train_and_evaluate(train, [test], seed=seed)))
        of_seed = pairs[-len(files) :]
        means = [statistics.mean(pair[side]["auc"] for pair in of_seed) for side in (0, 1)]
        seed_differences.append(means[0] - means[1])
        print(f"seed {seed}: mean AUC sparrow {means[0]:.4f}, plain {means[1]:.4f}", flush=True)
    yield from _results(pairs, seed_differences)


def _results(pairs: list[tuple[dict[str, float], dict[str, float]]], seed_differences: list[float]) -> Iterable[Result]:
    name = "plain PyTorch"
    for key in ("auc", "log_loss"):
        mine, plain = (statistics.mean(pair[side][key] for pair in pairs) for side in (0, 1))
        yield Result(f"mean {key}, {len(pairs)} pairs", key, "", mine, name, plain)
    yield Result("mean paired AUC difference", "auc difference", "", statistics.mean(seed_differences))
    # The parts of one seed start from the same weights, so their differences move together: the seeds are the independent samples.
    if len(seed_differences) > 1:
        error = statistics.stdev(seed_differences) / len(seed_differences) ** 0.5
        yield Result(f"its standard error over {len(seed_differences)} seeds", "auc difference", "", error)
    mine, plain = (statistics.median(pair[side]["samples_per_second"] for pair in pairs) for side in (0, 1))
    yield Result("training, reading included", "throughput", "1/s", mine, name, plain, mine / plain)
