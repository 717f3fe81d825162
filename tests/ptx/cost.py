"""What PTX instructions cost: issue slots of a warp, about.

PTX is not what runs: moves vanish, 64-bit integers take two instructions, and IEEE division is a routine. The weights follow what ptxas
makes of our kernels for sm_90; `tests/ptx_machine` compares their sums with its instructions.
"""

from __future__ import annotations

_FREE = {"mov", "bra", "cvta", "ret", "exit"}


def slots(opcode: tuple[str, ...]) -> float:
    """Return how many issue slots of its warp an instruction takes, about."""
    root, kind = opcode[0], opcode[-1]
    if root in _FREE or (root, "param") == opcode[:2]:
        return 0
    if root in ("div", "rem", "rcp", "sqrt"):
        return {"f32": 9, "f64": 26, "s32": 22, "u32": 18, "s64": 90, "u64": 80}.get(kind, 20)
    if root == "cvt":
        return 0.5 if kind in ("u32", "s32", "u16") and opcode[-2][1:] in ("64", "32") else 1
    if kind in ("s64", "u64", "b64") and root in (
        "add",
        "sub",
        "shl",
        "shr",
        "and",
        "or",
        "xor",
        "not",
        "neg",
        "selp",
        "setp",
        "min",
        "max",
    ):
        return 2
    if root in ("mul", "mad") and kind in ("s64", "u64") and "wide" not in opcode:
        return 4
    return 1
