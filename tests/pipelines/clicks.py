"""Small click files, a configuration that reads them, and what a checkpoint of such a run holds."""

import functools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import yaml
from pyarrow import orc

from sparrow.saver import Saver
from sparrow.saver.manifest import read_manifest
from sparrow.saver.read import read_state


def click_table(num_rows, seed, **replaced):
    """Rows like those of the real files: lists of at most one number, lists of ids, one string. `replaced`: column -> its rows."""
    random = np.random.default_rng(seed)
    columns = {
        "label": pa.array([[float(value)] for value in random.random(num_rows) < 0.3], pa.list_(pa.float64())),
        "i1": pa.array([[float(value)] if value > 2 else [] for value in random.integers(0, 50, num_rows)], pa.list_(pa.float64())),
        "i2": pa.array([[float(value)] for value in random.integers(0, 9, num_rows)], pa.list_(pa.float64())),
        "c1": pa.array([[int(value)] for value in random.zipf(1.3, num_rows) % 10_000], pa.list_(pa.int64())),
        "c2": pa.array([random.integers(-(2**62), 2**62, size % 4).tolist() for size in range(num_rows)], pa.list_(pa.int64())),
        "title": pa.array([f"title {value}" for value in random.integers(0, 40, num_rows)], pa.string()),
    }
    return pa.table({**columns, **replaced})


def write_clicks(folder, num_files=2, rows_per_file=300, seed=0):
    """Write part-0.orc, part-1.orc, ... into a new folder, several stripes each; return it."""
    folder.mkdir(parents=True)
    for index in range(num_files):
        orc.write_table(
            click_table(rows_per_file, seed + index), str(folder / f"part-{index}.orc"), batch_size=128, stripe_size=512,
            compression="uncompressed",
        )  # fmt: skip
    return folder


@functools.cache
def shared_clicks(session_folder):
    """Return the one folder of this session: train/ (2 files, 600 rows) and eval/ (1 file, 200 rows)."""
    folder = session_folder / "clicks"
    write_clicks(folder / "train")
    write_clicks(folder / "eval", num_files=1, rows_per_file=200, seed=7)
    return folder


def config_for(train, test, run_folder, **run):
    """A run that uses torch's generator in every step (dropout), several ids a sample, and hashed strings."""
    return {
        "model": {"name": "deepfm", "dense": ["i{1,2}"], "sparse": ["c{1..2}", "title"], "dim": 4, "hidden": [8], "dropout": 0.5},
        "features": [
            {"name": "i{1..2}", "transforms": [{"fill": 0.0}, "log1p"]},
            {"name": "c{1..2}"},
            {"name": "title", "transforms": [{"hash": "farm"}, {"mod": 1000}]},
        ],
        "data": {"train": str(train), "eval": None if test is None else str(test), "batch_size": 32},
        "optimizer": {"sparse": {"rule": "adam", "lr": 0.01}},
        "run": {"folder": str(run_folder), "epochs": 2, "threads": 1, "log_every": 10, **run},
    }


def write_config(path, config):
    path.write_text(yaml.safe_dump(config))
    return path


def log_lines(run_folder):
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "samples_per_second")} for line in lines]


def summary_of(run_folder):
    return json.loads((run_folder / "summary.json").read_text())


def rows_and_weights(run_folder):
    """Bytes of the newest checkpoint's tables (ids, weights, slots, metadata) and dense tensors, by file."""
    newest = Saver(run_folder / "checkpoints").latest()
    files = [*sorted((newest / "tables").rglob("*.safetensors")), newest / "dense.safetensors"]
    assert len(files) > 1
    return {str(Path(file).relative_to(newest)): file.read_bytes() for file in files}


def optimizer_and_generator(run_folder):
    """State of the newest checkpoint's optimizer and of torch's generator; tensors as (dtype, shape, bytes): == means equal bits."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return str(value.dtype), list(value.shape), value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    newest = Saver(run_folder / "checkpoints").latest()
    state = read_state(newest, read_manifest(newest))
    return plain({"torch_rng": state["torch_rng"], "optimizer": state["parts"]["optimizer"]})
