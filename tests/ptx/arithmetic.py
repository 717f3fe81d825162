"""What instructions without memory compute: a function of NumPy arrays for each. IEEE arithmetic of NumPy is that of `.rn` instructions.

A function takes the opcode's modifiers and the values of its operands, unsigned integers as registers hold them, and returns the result
and its type. What a GPU would do otherwise than IEEE (`.ftz`, `.approx`) is refused: kernels that must give the bits of a CPU have none.
"""

from __future__ import annotations

import fractions
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

TYPES: dict[str, Any] = {
    "pred": np.bool_,
    "b8": np.uint8, "u8": np.uint8, "s8": np.int8,
    "b16": np.uint16, "u16": np.uint16, "s16": np.int16, "f16": np.float16, "bf16": np.uint16,
    "b32": np.uint32, "u32": np.uint32, "s32": np.int32, "f32": np.float32,
    "b64": np.uint64, "u64": np.uint64, "s64": np.int64, "f64": np.float64,
}  # fmt: skip
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_REFUSED = {"ftz", "approx", "full", "rm", "rp", "rz"}


def size_of(kind: str) -> int:
    return np.dtype(TYPES[kind]).itemsize


def as_type(value: Values, kind: str) -> Values:
    """Read registers, or bits of a constant, as values of a type: the lower bits where the type is narrower."""
    dtype = np.dtype(TYPES[kind])
    if value.dtype == np.bool_:
        return value
    if value.dtype.itemsize != dtype.itemsize:
        value = value.astype(UNSIGNED[dtype.itemsize])
    return value.view(dtype)


def constant(number: int, kind: str) -> Values:
    if kind == "pred":
        return np.array([bool(number)])
    bits = 8 * size_of(kind)
    return as_type(np.array([number & ((1 << bits) - 1)], UNSIGNED[bits // 8]), kind)


def _is_float(kind: str) -> bool:
    return kind[0] == "f"


def _add(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    return a + b


def _sub(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    return a - b


def _wide(kind: str) -> str:
    return {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}[kind]


def _high(a: Values, b: Values) -> Values:
    """Return the upper half of products, by Python's integers."""
    bits = 8 * a.dtype.itemsize
    pairs = zip(*np.broadcast_arrays(a, b), strict=True)
    return np.array([(int(x) * int(y)) >> bits for x, y in pairs], dtype=a.dtype)


def _mul(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    if "wide" in mods:
        return a.astype(TYPES[_wide(kind)]) * b.astype(TYPES[_wide(kind)])
    return _high(a, b) if "hi" in mods else a * b


def _mad(mods: set[str], kind: str, a: Values, b: Values, c: Values) -> Values:
    return _mul(mods, kind, a, b) + c


def _fma(mods: set[str], kind: str, a: Values, b: Values, c: Values) -> Values:
    out = a * b + c
    for i, (x, y, z) in enumerate(zip(*np.broadcast_arrays(a, b, c), strict=True)):
        if np.isfinite(x) and np.isfinite(y) and np.isfinite(z):
            exact = fractions.Fraction(float(x)) * fractions.Fraction(float(y)) + fractions.Fraction(float(z))
            if exact != 0:
                out[i] = _rounded(exact, kind)
    return out


def _rounded(exact: fractions.Fraction, kind: str) -> Any:
    """Round to float64 (Python's division of integers is exact to the last bit), or to float32 where that is no double rounding."""
    double = np.float64(exact.numerator / exact.denominator)
    if kind == "f64":
        return double
    single = np.float32(double)
    # Between two float32, float64 may have rounded onto their middle.
    other = np.nextafter(single, np.float32(np.inf if double > single else -np.inf))
    middle = (fractions.Fraction(float(single)) + fractions.Fraction(float(other))) / 2 if np.isfinite(other) else None
    if middle is not None and double == float(middle) and exact != middle:
        return max(single, other) if exact > middle else min(single, other)
    return single


def _div(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    if _is_float(kind):
        return a / b
    by = np.where(b == 0, 1, b).astype(a.dtype)
    quotient = np.abs(a) // np.abs(by) if kind[0] == "s" else a // by
    if kind[0] == "s":
        quotient = np.where((a < 0) != (by < 0), -quotient, quotient)
    return np.where(b == 0, ~np.zeros_like(a), quotient).astype(a.dtype)


def _rem(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    return (a - _div(mods, kind, a, b) * b).astype(a.dtype)


def _smaller(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    if not _is_float(kind):
        return np.minimum(a, b)
    both = np.where((a == b) & np.signbit(a), a, np.where((a == b), b, np.minimum(a, b)))
    return both if "NaN" in mods else np.where(np.isnan(a), b, np.where(np.isnan(b), a, both))


def _larger(mods: set[str], kind: str, a: Values, b: Values) -> Values:
    if not _is_float(kind):
        return np.maximum(a, b)
    both = np.where((a == b) & ~np.signbit(a), a, np.where((a == b), b, np.maximum(a, b)))
    return both if "NaN" in mods else np.where(np.isnan(a), b, np.where(np.isnan(b), a, both))


def _shl(mods: set[str], kind: str, a: Values, by: Values) -> Values:
    bits = 8 * a.dtype.itemsize
    return np.where(by >= bits, 0, a << np.minimum(by, bits - 1).astype(a.dtype)).astype(a.dtype)


def _shr(mods: set[str], kind: str, a: Values, by: Values) -> Values:
    bits = 8 * a.dtype.itemsize
    shifted = a >> np.minimum(by, bits - 1).astype(a.dtype)
    return shifted if kind[0] == "s" else np.where(by >= bits, 0, shifted).astype(a.dtype)


def _bfe(mods: set[str], kind: str, a: Values, begin: Values, length: Values) -> Values:
    bits = 8 * a.dtype.itemsize
    begin, length = begin.astype(np.int64) & 255, length.astype(np.int64) & 255
    if (begin + length > bits).any() or (length == 0).any():
        raise NotImplementedError("bfe beyond the register")
    left = (bits - begin - length).astype(a.dtype)
    return (a << left) >> (bits - length).astype(a.dtype)


def _bfi(mods: set[str], kind: str, a: Values, b: Values, begin: Values, length: Values) -> Values:
    begin, length = begin.astype(np.uint64), length.astype(np.uint64)
    mask = (((np.uint64(1) << length) - np.uint64(1)) << begin).astype(b.dtype)
    return (b & ~mask) | ((a << begin.astype(a.dtype)) & mask)


def _prmt(mods: set[str], kind: str, a: Values, b: Values, selector: Values) -> Values:
    both = (b.astype(np.uint64) << np.uint64(32)) | a.astype(np.uint64)
    out = np.zeros(np.broadcast(a, b, selector).shape, np.uint32)
    for i in range(4):
        nibble = (selector.astype(np.uint64) >> np.uint64(4 * i)) & np.uint64(15)
        byte = (both >> ((nibble & np.uint64(7)) * np.uint64(8))) & np.uint64(255)
        sign = np.where(byte >= 128, np.uint64(255), np.uint64(0))
        out |= (np.where(nibble >= 8, sign, byte) << np.uint64(8 * i)).astype(np.uint32)
    return out


def _lop3(mods: set[str], kind: str, a: Values, b: Values, c: Values, table: Values) -> Values:
    out = np.zeros(np.broadcast(a, b, c).shape, a.dtype)
    for i in range(8):
        if int(table[0]) >> i & 1:
            out |= (a if i & 4 else ~a) & (b if i & 2 else ~b) & (c if i & 1 else ~c)
    return out


def _shf(mods: set[str], kind: str, a: Values, b: Values, by: Values) -> Values:
    by = by.astype(np.uint64) & np.uint64(31) if "wrap" in mods else np.minimum(by, 32).astype(np.uint64)
    both = (b.astype(np.uint64) << np.uint64(32)) | a.astype(np.uint64)
    return ((both << by) >> np.uint64(32)).astype(np.uint32) if "l" in mods else (both >> by).astype(np.uint32)


def _popc(mods: set[str], kind: str, a: Values) -> Values:
    return np.array([int(x).bit_count() for x in a], np.uint32)


def _clz(mods: set[str], kind: str, a: Values) -> Values:
    return np.array([8 * a.dtype.itemsize - int(x).bit_length() for x in a], np.uint32)


def _brev(mods: set[str], kind: str, a: Values) -> Values:
    bits = 8 * a.dtype.itemsize
    return np.array([int(f"{int(x):0{bits}b}"[::-1], 2) for x in a], a.dtype)


def _not(mods: set[str], kind: str, a: Values) -> Values:
    return ~a


def _neg(mods: set[str], kind: str, a: Values) -> Values:
    return -a if _is_float(kind) else (~a + a.dtype.type(1)).astype(a.dtype)


# Name -> (function, types of operands where they are not that of the instruction). The result's type is that of the instruction.
SIMPLE: dict[str, tuple[Callable[..., Values], dict[int, str]]] = {
    "add": (_add, {}), "sub": (_sub, {}), "mul": (_mul, {}), "div": (_div, {}), "rem": (_rem, {}), "fma": (_fma, {}),
    "min": (_smaller, {}), "max": (_larger, {}),
    "and": (lambda mods, kind, a, b: a & b, {}), "or": (lambda mods, kind, a, b: a | b, {}), "xor": (lambda mods, kind, a, b: a ^ b, {}),
    "not": (_not, {}), "neg": (_neg, {}), "abs": (lambda mods, kind, a: np.abs(a), {}),
    "copysign": (lambda mods, kind, a, b: np.copysign(b, a), {}),
    "sqrt": (lambda mods, kind, a: np.sqrt(a), {}), "rcp": (lambda mods, kind, a: (a.dtype.type(1) / a), {}),
    "shl": (_shl, {1: "u32"}), "shr": (_shr, {1: "u32"}), "shf": (_shf, {}),
    "bfe": (_bfe, {1: "u32", 2: "u32"}), "bfi": (_bfi, {2: "u32", 3: "u32"}), "prmt": (_prmt, {}), "lop3": (_lop3, {}),
    "popc": (_popc, {}), "clz": (_clz, {}), "brev": (_brev, {}),
    "selp": (lambda mods, kind, a, b, p: np.where(p, a, b), {2: "pred"}),
    "mov": (lambda mods, kind, a: a, {}), "cvta": (lambda mods, kind, a: a, {}),
}  # fmt: skip
RESULT_OF_32_BITS = {"popc", "clz"}


def refused(opcode: tuple[str, ...]) -> bool:
    """Whether an instruction rounds otherwise than a CPU. `.rz` and the like are those of conversions to integers."""
    return opcode[0] not in ("cvt", "ld", "st") and bool(_REFUSED & set(opcode))


def compared(how: str, kind: str, a: Values, b: Values) -> Values:
    """Return what `setp.how.kind` compares. Of floats, names that end in `u` hold where one is NaN."""
    if how in ("num", "nan"):
        either = np.isnan(a) | np.isnan(b)
        return either if how == "nan" else ~either
    unordered = False
    if _is_float(kind):
        unordered = how.endswith("u") and how != "equ"[:2]
        how = how[:-1] if unordered else how
    how = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(how, how)
    function = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}[how]
    found = function(a, b)
    if _is_float(kind):
        either = np.isnan(a) | np.isnan(b)
        found = found | either if unordered else found & ~either
    return np.asarray(found)


def converted(mods: tuple[str, ...], a: Values) -> Values:
    """Return what `cvt` with these modifiers makes of values of its source type; types are the last two modifiers."""
    to, source = mods[-2], mods[-1]
    if "sat" in mods or "ftz" in mods:
        raise NotImplementedError(f"cvt.{'.'.join(mods)}")
    if source == "bf16":
        a, source = (a.astype(np.uint32) << np.uint32(16)).view(np.float32), "f32"
    if to == "bf16":
        return _to_bfloat16(a)
    if _is_float(source) and _is_float(to):
        whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
        rounding = next((whole[one] for one in mods if one in whole), None)
        return (a if rounding is None else rounding(a)).astype(TYPES[to])
    if _is_float(source):
        return _to_integers(mods, a, source, to)
    return a.astype(TYPES[to])


def _to_bfloat16(a: Values) -> Values:
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)
    return np.where(np.isnan(a), np.uint16(0x7FFF), rounded)


def _to_integers(mods: tuple[str, ...], a: Values, source: str, to: str) -> Values:
    """Rounded and clamped to the type's range. NaN is 0, or the lowest number where source or result has 64 bits."""
    whole = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
    rounding = next(whole[one] for one in mods if one in whole)
    info = np.iinfo(TYPES[to])
    nan = 0 if source != "f64" and info.bits < 64 else 1 << (info.bits - 1)
    answers = []
    for one in rounding(a.astype(np.float64)):
        if np.isnan(one):
            answers.append(nan - (1 << info.bits) if info.min < 0 and nan else nan)
        else:
            answers.append(int(min(max(one, -1e30), 1e30)))
    return np.array([min(max(one, int(info.min)), int(info.max)) for one in answers], dtype=TYPES[to])
