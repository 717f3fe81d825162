"""What tests of several rooms share: ids chosen to break maps, what a map holds, and processes."""

import os
import subprocess
import sys

import torch
from hypothesis import strategies as st
from torch import Tensor

from sparrow.ops import id_map

# Zero, the ends of the range (the least is the map's empty marker), equal low or high bits, powers of two, runs.
ADVERSARIAL_IDS = [
    0,
    -1,
    -(2**63),
    2**63 - 1,
    -(2**63) + 1,
    1,
    2,
    3,
    2**32,
    2**32 + 1,
    2**48,
    -(2**48),
    *[k << 20 for k in range(4, 12)],
    *[-(k << 52) for k in range(1, 5)],
]

ids = st.one_of(st.sampled_from(ADVERSARIAL_IDS), st.integers(-(2**63), 2**63 - 1), st.integers(0, 40))


def id_lists(max_size: int) -> st.SearchStrategy[list[int]]:
    """Lists of ids with repeats."""
    return st.lists(ids, max_size=max_size)


def id_map_content(lines: Tensor, headers: Tensor, ranges: Tensor) -> list[list[tuple[int, int]]]:
    """Return (id, row) of every key of every range, sorted; and check what the format says of lines."""
    found = []
    for first, num_lines, num_keys, num_dead in ranges.tolist():
        own = lines[first : first + num_lines]
        ids, rows = own[:, : id_map.IDS_PER_LINE], own.view(torch.int32)[:, id_map.FIRST_ROW_INT32 :]
        taken = ids != id_map.EMPTY
        assert not (taken[:, 1:] & ~taken[:, :-1]).any(), "slots fill from 0"
        assert rows[:, id_map.IDS_PER_LINE].eq(-(2**31)).all(), "the filler stays"
        rows = rows[:, : id_map.IDS_PER_LINE]
        assert int(taken.sum()) == num_keys
        assert int((taken & (rows == id_map.NO_ROW)).sum()) == num_dead
        assert own[~taken.any(1)].eq(id_map.EMPTY).all(), "an empty line is empty throughout"
        found.append(sorted(zip(ids[taken].tolist(), rows[taken].tolist(), strict=True)))
    return found


def fresh_environment(**environment: str) -> dict[str, str]:
    """Return the environment of a process of one thread. TRITON_INTERPRET is unset there unless given: it is read at import.

    PYTHONPATH given comes before the inherited one, which may be how this process found the package.
    """
    if "PYTHONPATH" in environment:
        paths = [environment["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return {**inherited, "OMP_NUM_THREADS": "1", **environment}


def run_python(code: str, *, stdin: str = "", timeout_seconds: float = 300, **environment: str) -> str:
    """Return what `code` prints in a fresh interpreter, in a `fresh_environment`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        env=fresh_environment(**environment),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
