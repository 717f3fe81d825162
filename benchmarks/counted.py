"""counted: what operators would do on a GPU, counted where there is none. Not a measurement.

    python -m benchmarks counted [NAME...] [--dim 64] [--ids 8192]

Kernels are compiled for sm_90 and run instruction by instruction by the machine of tests/ptx, on small inputs. Of each operator: bytes that
warps' accesses move, in whole sectors of 32 bytes, against those that must move; and issue slots of warps for every 128 bytes that must
move. An H200 has some 25 slots a processor's 128 bytes of bandwidth (132 processors, four slots a cycle of 1.75 GHz, 4.8 TB/s) and issues in
perhaps half of them: an operator above about 12 cannot keep its memory busy.
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
from benchmarks.ops import tables
from sparrow.errors import ConfigError

_SECTOR = 32


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="operators; all of them by default")
    parser.add_argument("--dim", type=int, default=64, help="values of a row")
    parser.add_argument("--ids", type=int, default=8192, help="ids of a call")


def run(options: Options) -> Iterable[Result]:
    if unknown := unknown_name(options.more.names):
        raise ConfigError(unknown)
    sys.path.insert(0, str(ROOT / "tests"))
    for name in options.more.names or operator_names():
        if has_gpu_body(name):
            yield from _counted(name, options.more.dim, options.more.ids)


class _TritonBodies(TorchDispatchMode):
    """Has operators of ours run their Triton bodies on tensors of the CPU."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "sparrow":
            name = function._schema.name.removeprefix("sparrow::")
            function = getattr(importlib.import_module(f"sparrow.ops.{name.rstrip('_')}.triton"), name)
        return function(*args, **(kwargs or {}))


def _counted(name: str, dim: int, num_ids: int) -> Iterable[Result]:
    sizes = tables.Sizes(map_ids=2 * num_ids, load=0.5, num_rows=num_ids, rows_per_block=num_ids // 2, batch_ids=num_ids, dim=dim)
    module: Any = importlib.import_module(f"benchmarks.ops.{name}")
    shared: Any = tables
    module.compared = shared.compared = _count
    module.sizes_of = shared.sizes_of = lambda _: sizes
    try:
        for result in module.run(Options(quick=True)):
            yield Result(f"{name}: {result.case}", result.metric, result.unit, result.sparrow, note=result.note)
    except Exception as error:
        yield Result(name, "failed", "", None, note=f"FAILED, {type(error).__name__}: {' '.join(str(error).split())[:200]}", met=False)


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
