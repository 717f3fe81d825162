"""Makes a data set: files to train on, files to evaluate on, and the truth about them in a file that training never opens."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sparrow.errors import ConfigError, DataError
from sparrow.metrics import AUC
from sparrow.synth.rows import blocks_of_rows
from sparrow.synth.spec import SynthSpec
from sparrow.synth.truth import Counts, Truth, sigmoid
from sparrow.synth.write import PartWriter, table_of

TRUTH_FILE = "truth.json"
# Part of what a spec means: raise it whenever equal specs begin to give other rows.
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthReport:
    """What was made.

    click_rate, eval_click_rate: share of clicks among the rows drawn.
    bayes_auc:     AUC of the true probabilities on the evaluation rows. No model is expected to do better.
    learnable_auc: AUC there of an oracle that knows the effect of an id, or of a pair, exactly where the training rows show it at
                   least `known_after` times, and takes the population mean effect elsewhere.
                   Both are nan where the evaluation rows are all of one label; `truth.json` then says null.
    known_ids, known_pairs: share of the ids, and of the pairs, in evaluation rows whose effect the oracle knows.
    seconds:       wall time of making it. reused: whether the folder held it already.
    """

    folder: pathlib.Path
    rows: int
    eval_rows: int
    click_rate: float
    eval_click_rate: float
    bayes_auc: float
    learnable_auc: float
    known_ids: float
    known_pairs: float
    seconds: float
    reused: bool = False

    @property
    def train_folder(self) -> pathlib.Path:
        return self.folder / "train"

    @property
    def eval_folder(self) -> pathlib.Path:
        return self.folder / "eval"

    @staticmethod
    def read(folder: str | os.PathLike[str]) -> SynthReport:
        """Return the report of a data set made earlier. Raises `DataError` naming the file where it cannot be read."""
        path = pathlib.Path(folder) / TRUTH_FILE
        _, values = _read_truth(path)
        return SynthReport(folder=pathlib.Path(folder), **values)


def generate(folder: str | os.PathLike[str], spec: SynthSpec, progress: Callable[[int, int], None] | None = None) -> SynthReport:
    """Write the data set of `spec`: `train/part-*.orc`, `eval/part-*.orc` and `truth.json`, and return what it is like.

    Args:
        folder: must not exist, be empty, or hold this very data set; then nothing is written and the report says `reused`.
        progress: called after every block of rows with (rows written, rows in all).

    The folder appears whole or not at all: files are written to a hidden folder beside it, which is renamed at the end.
    Rows follow from the spec alone, `rows_per_file` aside. Memory: one block of 16384 rows, 4 bytes for each possible id and
    each possible pair of an interaction, and the evaluation AUC's histogram. Cost: about 10 microseconds a row on one core.

    Raises `ConfigError` where the folder holds anything else or cannot be written.
    """
    target = pathlib.Path(folder).absolute()
    if (target / TRUTH_FILE).exists():
        return _reuse(target, spec)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} exists and holds no data set of `sparrow data synth`; name another folder, or empty this one")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        values = _write_all(partial, spec, progress)
        partial.rename(target)
    except OSError as error:
        raise ConfigError(f"{target}: cannot write the data set: {error.strerror or error}; free space or name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return SynthReport(folder=target, **values)


def _write_all(partial: pathlib.Path, spec: SynthSpec, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    start = time.perf_counter()
    truth, counts = Truth.of(spec), Counts.none(spec)
    tally = _EvalTally()
    num_done = num_clicks = 0
    for split, num_rows in (("train", spec.rows), ("eval", spec.eval_rows)):
        with PartWriter(partial / split, spec.rows_per_file) as writer:
            for rows in blocks_of_rows(spec.columns, spec.seed, split, num_rows):
                logits = truth.logits(rows)
                clicks = rows.chance < sigmoid(logits)
                writer.write(table_of(rows, clicks.astype(np.float64), spec.columns, spec.seed))
                if split == "train":
                    counts.add(rows, spec)
                    num_clicks += int(clicks.sum())
                else:
                    tally.add(clicks, logits, truth.logits(rows, known=counts), counts.known_shares(rows, spec))
                num_done += rows.num_rows
                if progress is not None:
                    progress(num_done, spec.rows + spec.eval_rows)
    values = {"rows": spec.rows, "eval_rows": spec.eval_rows, "click_rate": num_clicks / spec.rows, **tally.values()}
    values["seconds"] = round(time.perf_counter() - start, 3)
    report = {name: None if math.isnan(value) else value for name, value in values.items()}
    content = {"format": _FORMAT, "spec": spec.describe(), "intercept": truth.intercept, "report": report}
    text = json.dumps(content, indent=1, allow_nan=False)
    (partial / TRUTH_FILE).write_text(text + "\n")
    return values


class _EvalTally:
    """The AUCs, streamed."""

    def __init__(self) -> None:
        self._bayes, self._learnable = AUC(), AUC()
        self._num_rows = self._num_clicks = 0
        self._shares = np.zeros(4)

    def add(self, clicks: Any, logits: Any, learnable_logits: Any, shares: Any) -> None:
        labels = torch.from_numpy(clicks)
        self._bayes.update(torch.from_numpy(sigmoid(logits)), labels)
        self._learnable.update(torch.from_numpy(sigmoid(learnable_logits)), labels)
        self._num_rows += len(clicks)
        self._num_clicks += int(clicks.sum())
        self._shares += shares

    def values(self) -> dict[str, float]:
        known_ids, num_ids, known_pairs, num_pairs = self._shares
        return {
            "eval_click_rate": self._num_clicks / self._num_rows,
            "bayes_auc": self._bayes.compute(),
            "learnable_auc": self._learnable.compute(),
            "known_ids": float(known_ids / max(num_ids, 1)),
            "known_pairs": float(known_pairs / max(num_pairs, 1)),
        }


def _reuse(target: pathlib.Path, spec: SynthSpec) -> SynthReport:
    found, _ = _read_truth(target / TRUTH_FILE)
    wanted = json.loads(json.dumps(spec.describe()))
    different = sorted(key for key in wanted if found.get(key) != wanted[key])
    if different:
        key = different[0]
        detail = "" if key == "shape" else f" ({found.get(key)!r}, asked for {wanted[key]!r})"
        raise ConfigError(f"{target} holds a synthetic data set of another {key}{detail}; name another folder, or remove this one")
    return dataclasses.replace(SynthReport.read(target), reused=True)


def _read_truth(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        truth = json.loads(path.read_text())
        if truth["format"] != _FORMAT:
            raise DataError(
                f"{path} is of format {truth['format']!r}, this version makes format {_FORMAT}; remove the folder and generate it again"
            )
        wanted = {field.name for field in dataclasses.fields(SynthReport)} - {"folder", "reused"}
        values = {name: truth["report"][name] for name in wanted}
        return dict(truth["spec"]), {name: math.nan if value is None else value for name, value in values.items()}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not the truth file of a synthetic data set ({error!r}); remove the folder and generate it again"
        ) from error


def _remove_abandoned(target: pathlib.Path) -> None:
    """Remove what killed processes left: hidden folders of this target whose process is gone."""
    prefix = f".{target.name}.partial-"
    for path in target.parent.iterdir():
        process = path.name.removeprefix(prefix)
        if path.name.startswith(prefix) and process.isdecimal() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
