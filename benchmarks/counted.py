"""counted: what operators would do on a GPU, counted where there is none. Not a measurement.

    python -m benchmarks counted [NAME...] [--dim 64] [--ids 8192]

Kernels are compiled for sm_90 and run instruction by instruction by the machine of tests/ptx, on small inputs. Of each operator: how many
times the bytes that must move are moved, in whole sectors of 32 bytes as warps ask for them; and issue slots of warps for every 128 bytes
that must move. An H200 has 25 slots in the time its memory moves 128 bytes (132 processors, four slots a cycle of 1.75 GHz, 4.8 TB/s), and
kernels use about half: one far above 12 is bound by its instructions and cannot keep memory busy.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.harness import ROOT, Options, Result
from benchmarks.operators import has_gpu_body, operator_names, unknown_name
from benchmarks.ops import list_columns, tables
from sparrow.errors import ConfigError

_SECTOR = 32
# Of operators on columns: enough to fill tiles.
_NUM_COLUMNS, _NUM_ROWS, _NUM_VALUES = 4, 512, 4096


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="operators; all of them by default")
    parser.add_argument("--dim", type=int, default=64, help="values of a row")
    parser.add_argument("--ids", type=int, default=8192, help="ids of a call")


def run(options: Options) -> Iterable[Result]:
    if unknown := unknown_name(options.more.names):
        raise ConfigError(unknown)
    dim, num_ids = options.more.dim, options.more.ids
    if dim < 1:
        raise ConfigError(f"--dim is {dim}, expected at least 1")
    if num_ids < 64 or num_ids & (num_ids - 1):
        raise ConfigError(f"--ids is {num_ids}, expected a power of two from 64 on; 8192 fills every kernel's tiles")
    sys.path.insert(0, str(ROOT / "tests"))
    for name in options.more.names or operator_names():
        if has_gpu_body(name):
            yield from _counted(name, dim, num_ids)
        elif options.more.names:
            yield Result(name, "left out", "", None, note="runs on the CPU only")


class _TritonBodies(TorchDispatchMode):
    """Has operators of ours run their Triton bodies on tensors of the CPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "sparrow":
            name = function._schema.name.removeprefix("sparrow::")
            function = getattr(importlib.import_module(f"sparrow.ops.{name.rstrip('_')}.triton"), name)
        return function(*args, **(kwargs or {}))


def _counted(name: str, dim: int, num_ids: int) -> Iterable[Result]:
    sizes = tables.Sizes(map_ids=2 * num_ids, load=0.5, num_rows=num_ids, rows_per_block=num_ids // 2, batch_ids=num_ids, dim=dim)
    module = importlib.import_module(f"benchmarks.ops.{name}")
    replaced = {
        "compared": _count,
        "sizes_of": lambda _: sizes,
        "NUM_COLUMNS": _NUM_COLUMNS,
        "many_columns": lambda _: _NUM_COLUMNS,
        "rows_of": lambda _: _NUM_ROWS,
        "values_of": lambda _: _NUM_VALUES,
    }
    # What a module imported is its own.
    names = [(owner, attribute) for owner in (module, tables, list_columns) for attribute in replaced.keys() & vars(owner).keys()]
    before = [getattr(owner, attribute) for owner, attribute in names]
    for owner, attribute in names:
        setattr(owner, attribute, replaced[attribute])
    try:
        for result in module.run(Options(quick=True)):
            yield Result(f"{name}: {result.case}", result.metric, result.unit, result.sparrow, note=result.note)
    except Exception as error:
        yield Result(name, "failed", "", None, note=f"FAILED, {type(error).__name__}: {' '.join(str(error).split())[:200]}", met=False)
    finally:
        for (owner, attribute), value in zip(names, before, strict=True):
            setattr(owner, attribute, value)


def _count(
    options: Options,
    case: str,
    items: int,
    functions: Mapping[str, Callable[[], object]],
    *,
    must_move_bytes: int = 0,
    before: Callable[[], object] | None = None,
    **_: Any,
) -> Result:
    """Stands for `harness.compared`: counts one call of "sparrow"."""
    from ptx import launch
    from ptx.cost import slots

    if before is not None:
        before()
    launches: list[tuple[str, Any]] = []
    with launch.emulated(watch=lambda kernel, counts: launches.append((kernel, counts))), _TritonBodies():
        functions["sparrow"]()
    told, taken, moved = [], 0.0, 0
    for kernel, counts in launches:
        own = sum(slots(opcode) * number for opcode, number in counts.instructions.items())
        sectors = _SECTOR * sum(counts.sectors.values())
        taken, moved = taken + own, moved + sectors
        told.append(f"{kernel} {own / must_move_bytes * 128:.1f} slots, {sectors / must_move_bytes:.2f}x")
    note = f"moves {moved / must_move_bytes:.2f}x; " + ", ".join(told)
    return Result(case, "issue slots / 128 B", "", taken / must_move_bytes * 128, note=note)
