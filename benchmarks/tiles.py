"""tiles: how kernels over rows are best launched on this GPU, beside the rule: what `sparrow tune` does, kept where it keeps it.

python -m benchmarks tiles --device cuda [--dims 128,64] [--seconds N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import torch

from benchmarks.harness import Options, Result
from sparrow.errors import ConfigError
from sparrow.ops.tiles import tiles_file, write_tiles
from sparrow.ops.tune_tiles import seconds_on_gpu, tune


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dims", default="128,64", help="values a row, with commas between")
    parser.add_argument("--seconds", type=float, default=600, help="begin no shape class after this time")


def run(options: Options) -> Iterable[Result]:
    if options.device == "cpu":
        raise ConfigError("tiles are of kernels of a GPU: --device cuda")
    device = torch.device("cuda", torch.cuda.current_device())
    dims = [int(dim) for dim in options.more.dims.split(",")]
    began = time.monotonic()
    for found in tune(device, dims, [torch.float32], ["adam", "sgd"], measure=seconds_on_gpu):
        write_tiles(tiles_file(device), {found.key: found.best})
        note = f"{found.best.rows} rows by {found.best.num_warps} warps"
        rule = f"rule: {found.rule.rows} rows by {found.rule.num_warps}"
        own, their = found.best_seconds * 1e6, found.rule_seconds * 1e6
        yield Result(found.key, "time", "us", own, rule, their, their / own, seconds=found.best_seconds, note=note)
        if time.monotonic() - began > options.more.seconds:
            break
