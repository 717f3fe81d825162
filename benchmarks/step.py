"""step: forward, backward and update of tables: `device_step` on a GPU, `embedding_step` on a CPU. `sparrow bench step` is this."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable

from benchmarks import device_step, embedding_step
from benchmarks.harness import Options, Result

_QUICK = ["--rows", "400", "--batch", "32", "--tables", "5", "--cells", "one-hot 16 rowwise_adagrad", "--no-stages"]


def run(options: Options) -> Iterable[Result]:
    """Both with their own options at their defaults; run them by name to change these."""
    module = embedding_step if options.device == "cpu" else device_step
    parser = argparse.ArgumentParser()
    module.arguments(parser)
    more = parser.parse_args(_QUICK if options.quick and options.device == "cpu" else [])
    yield from module.run(dataclasses.replace(options, more=more))
