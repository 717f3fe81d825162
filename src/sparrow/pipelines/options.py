"""How a run is driven."""

from __future__ import annotations

import os
from dataclasses import dataclass

from sparrow.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerOptions:
    """Settings of a `Trainer`.

    label:         column of labels, one a sample.
    group:         column of the users whose own AUCs an evaluation averages to GAUC; its data set must read it. None: no GAUC.
    run_folder:    where metrics, summary and checkpoints go; None writes nothing.
    seed:          recorded in the summary; give the same to `seed_everything` before the model is built.
    save_every:    steps between checkpoints; None saves at the end (and at a stop) only.
    keep:          checkpoints kept.
    log_every:     steps between lines of `metrics.jsonl`; their loss and AUC are over these steps.
    progress:      whether to show progress: a bar on a terminal, lines otherwise.
    max_grad_norm: clip the one norm of all gradients, dense and sparse, to this; None does not clip.
    capture:       take steps as replays of a CUDA graph: of tables on a GPU, a dense optimizer that is capturable, batches of one shape
                   (docs/gpu.md). Others are taken one by one.
    config:        text left as `config.yaml` in the run folder once the run has begun; None leaves the file alone.
    features:      text left as `features.json` beside it: the model's features, as serving loads them.
    """

    label: str = "label"
    group: str | None = None
    run_folder: str | os.PathLike[str] | None = None
    seed: int = 0
    save_every: int | None = None
    keep: int = 3
    log_every: int = 50
    progress: bool = True
    max_grad_norm: float | None = None
    capture: bool = False
    config: str | None = None
    features: str | None = None

    def __post_init__(self) -> None:
        for name in ("save_every", "keep", "log_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}, expected at least 1")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}, expected a positive number")
