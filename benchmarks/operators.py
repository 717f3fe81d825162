"""operators: every benchmark of ops/, or those named, on one device, with a plot. `sparrow bench ops` is this.

    python -m benchmarks operators [NAME...] [--device cuda] [--json FILE] [--svg FILE] [--seconds N] [--quick]

An operator that fails is a line of its own and the others still run: a lent GPU should not be lost to one mistake. Exit code 1 then.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from benchmarks.harness import ROOT, Options, Result, copy_bandwidth
from benchmarks.roofline import write_svg
from sparrow.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="operators; all of them by default")
    parser.add_argument("--svg", type=Path, help="write the plot of bytes a second against a plain copy here")
    parser.add_argument("--seconds", type=float, help="begin no operator after this time; what is left out is named")


def operator_names() -> list[str]:
    """Return every operator that has a benchmark, sorted."""
    return sorted(path.parent.name for path in (ROOT / "src" / "sparrow" / "ops").glob("*/op.py"))


def unknown_name(names: Sequence[str]) -> str:
    """Return what to say of the first name that is no operator; empty where there is none."""
    known = operator_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            return f"no operator {name!r}" + (f"; did you mean {near[0]!r}?" if near else "") + f" There are {', '.join(known)}"
    return ""


def run(options: Options) -> Iterable[Result]:
    names = list(dict.fromkeys(options.more.names)) or operator_names()
    if unknown := unknown_name(names):
        raise ConfigError(unknown)
    if options.more.svg is not None and not options.more.svg.parent.is_dir():
        raise ConfigError(f"--svg {options.more.svg}: there is no folder {options.more.svg.parent}; make it, or name another")
    began, results = time.monotonic(), []
    for name in names:
        is_late = options.more.seconds is not None and time.monotonic() - began > options.more.seconds
        for result in [_left_out(name, options)] if is_late else _measured(name, options):
            results.append(result)
            yield result
    if options.more.svg is not None:
        write_svg(options.more.svg, results, options.device, copy_bandwidth(options.device))


def _measured(name: str, options: Options) -> Iterable[Result]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        if options.device == "cuda" and not has_gpu_body(name):
            yield Result(name, "left out", "", None, note="runs on the CPU only")
            return
        module = importlib.import_module(f"benchmarks.ops.{name}")
        for result in module.run(options):
            yield dataclasses.replace(result, case=f"{name}: {result.case}")
    except ModuleNotFoundError as error:
        yield Result(name, "left out", "", None, note=f"left out: needs the package {error.name!r}")
    except Exception as error:
        traceback.print_exc()
        message = " ".join(str(error).split()) or "the answers differ"
        yield Result(name, "failed", "", None, note=f"FAILED, {type(error).__name__}: {message[:200]}", met=False)


def has_gpu_body(name: str) -> bool:
    """Return whether the operator of a folder of ops/ is registered for CUDA. Operators that mutate end in an underscore."""
    importlib.import_module(f"sparrow.ops.{name}.op")
    forms = [form for form in (name, f"{name}_") if hasattr(torch.ops.sparrow, form)]
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(f"sparrow::{form}", "CUDA") for form in forms)


def _left_out(name: str, options: Options) -> Result:
    return Result(name, "left out", "", None, note=f"left out: {options.more.seconds:g} s were over", met=False)
