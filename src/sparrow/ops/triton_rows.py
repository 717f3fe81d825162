"""What Triton bodies over rows share: blocks by address (as `csrc/core/blocks.h`), 16-bit weights (as `half.h`), exact arithmetic.

Only `triton.py` files import this module: it imports Triton.
"""

import functools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from sparrow.errors import BackendError
from sparrow.ops.recorded import keep
from sparrow.ops.tiles import VECTOR_BYTES

TRITON_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def exact(num_warps: int = 4) -> dict[str, object]:
    """Return launch options under which Triton's arithmetic is IEEE: no contraction, no denormals flushed inside div_rn and sqrt_rn."""
    options: dict[str, object] = {"enable_fp_fusion": False, "num_warps": num_warps}
    if torch.version.hip is None:
        options["enable_reflect_ftz"] = False  # libdevice otherwise takes its flushing variants; AMD's has no such switch
    return {} if triton.knobs.runtime.interpret else options


def address_table(blocks: list[Tensor]) -> tuple[Tensor, int]:
    """Return int64 [number of blocks], the address of each, on their device; and the power of two up to 16 that divides them all.

    Nothing waits: addresses travel from pinned memory, once for each list of blocks and stream (a stream that had not made the copy could
    read the table before it arrives). A table says what its addresses are and no more, so one kept longer than its blocks is not wrong.
    """
    device = blocks[0].device
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    table, alignment = _address_table(device, stream, tuple([block.data_ptr() for block in blocks]))
    keep(table)
    return table, alignment


@functools.lru_cache(maxsize=4096)
def _address_table(device: torch.device, stream: int, addresses: tuple[int, ...]) -> tuple[Tensor, int]:
    return on_device(torch.tensor(addresses, dtype=torch.int64), device), math.gcd(VECTOR_BYTES, *addresses)


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Return a copy of a CPU tensor on `device`, which the current stream may read at once; the host does not wait for it.

    Raises `BackendError` while a CUDA graph is captured: its replays would copy from memory that others write meanwhile.
    """
    if device.type != "cuda":
        return values
    if torch.cuda.is_current_stream_capturing():
        raise BackendError("a CUDA graph is being captured, of row blocks not seen before on its stream; run the step once before, there")
    return values.pin_memory().to(device, non_blocking=True)


def expect(tensor: Tensor, name: str, dtype: torch.dtype, *shape: int) -> None:
    """Raise `RuntimeError`, as compiled bodies do, where kernels would misread `tensor`. Values go unchecked: that would wait for them."""
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous():
        how = "" if tensor.is_contiguous() else "not contiguous "
        raise RuntimeError(f"{name} must be {dtype} {list(shape)}, contiguous; got {how}{tensor.dtype} {list(tensor.shape)}")


def compute_type(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that arithmetic on weights of `dtype` is done in. Raises `RuntimeError` where weights cannot be of it."""
    if dtype not in TRITON_TYPES:
        raise RuntimeError(f"weights must be float32, float64, bfloat16 or float16, got {dtype}")
    return torch.float64 if dtype == torch.float64 else torch.float32


class BlockAddresses:
    """Blocks as kernels take them: `table` and the constants of `row_pointers`; of an empty list, a table that is never read.

    width: values a row. shift: the bits of a row's place in its block. num_rows: of all blocks. alignment: of each row, up to 16 bytes.
    """

    def __init__(self, blocks: list[Tensor], name: str, dtype: torch.dtype, like: Tensor) -> None:
        self.table, self.shift, self.width, self.num_rows, self.alignment = like, 0, 0, 0, VECTOR_BYTES
        if not blocks:
            return
        rows_per_block, self.width = blocks[0].shape if blocks[0].dim() == 2 else (0, 0)
        if rows_per_block < 1 or rows_per_block & (rows_per_block - 1):
            raise RuntimeError(f"{name}: rows per block must be a power of two, got blocks {list(blocks[0].shape)}")
        for block in blocks:
            expect(block, f"{name}: blocks", dtype, rows_per_block, self.width)
        self.table, alignment = address_table(blocks)
        self.shift, self.num_rows = rows_per_block.bit_length() - 1, rows_per_block * len(blocks)
        self.alignment = math.gcd(alignment, self.width * blocks[0].element_size())

    def check_beside(self, weights: "BlockAddresses", name: str, width: int) -> None:
        """Raise `RuntimeError` unless these slots are `width` wide and have a row for each of `weights`, at the same place."""
        if self.width != width:
            raise RuntimeError(f"{name} must be {width} wide, got {self.width}")
        if width and (self.shift != weights.shift or self.num_rows < weights.num_rows):
            raise RuntimeError(f"{name} must cover every row of weights, in blocks of as many rows")


@triton.jit
def row_addresses(table, b_rows, m_rows, SHIFT: tl.constexpr, WIDTH: tl.constexpr, V: tl.constexpr):
    """Addresses [R], int64, of rows of blocks `WIDTH` values of type V wide; those of masked rows mean nothing."""
    b_rows = tl.where(m_rows, b_rows, 0)
    b_blocks = tl.load(table + (b_rows >> SHIFT), mask=m_rows, other=0)
    return b_blocks + (b_rows & ((1 << SHIFT) - 1)).to(tl.int64) * (WIDTH * (V.primitive_bitwidth // 8))


@triton.jit
def column_pointers(b_addresses, b_columns, ALIGNMENT: tl.constexpr, V: tl.constexpr):
    """Pointers [R, C] to values, of type V, of rows at addresses [R, 1]."""
    # The compiler cannot know what a loaded address is a multiple of, and would read value by value.
    return tl.multiple_of(b_addresses.to(tl.pointer_type(V)) + b_columns[None, :], (1, ALIGNMENT))


@triton.jit
def row_pointers(
    table, b_rows, m_rows, b_columns, SHIFT: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr, V: tl.constexpr
):  # fmt: skip
    """Pointers [R, C] to values, of type V, of rows [R] of blocks `WIDTH` wide; those of masked rows must not be read."""
    return column_pointers(row_addresses(table, b_rows, m_rows, SHIFT, WIDTH, V)[:, None], b_columns, ALIGNMENT, V)


@triton.jit
def load_wide(pointers, mask):
    """Load values, those of 16 bits as float32. bfloat16 by its bits: the interpreter's conversion is wrong below the normals."""
    if pointers.dtype.element_ty == tl.bfloat16:
        bits = tl.load(pointers.to(tl.pointer_type(tl.uint16), bitcast=True), mask=mask, other=0)
        b_values = (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    elif pointers.dtype.element_ty == tl.float16:
        b_values = tl.load(pointers, mask=mask, other=0).to(tl.float32)
    else:
        b_values = tl.load(pointers, mask=mask, other=0)
    return b_values


@triton.jit
def narrow_to_bfloat16(x):
    """The bits of float32 values as bfloat16, rounded to nearest even; as `narrow` in csrc/core/half.h."""
    bits = x.to(tl.uint32, bitcast=True)
    b_rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where((bits & 0x7FFFFFFF) > 0x7F800000, (bits >> 16) | 0x40, b_rounded).to(tl.uint16)


@triton.jit
def narrow_to_float16(x):
    """The bits of float32 values as float16, rounded to nearest even; as `narrow` in csrc/core/half.h."""
    bits = x.to(tl.uint32, bitcast=True)
    b_magnitude = bits & 0x7FFFFFFF
    # Adding 2^-1 leaves the value, in units of 2^-24, in the low bits of the sum, rounded to nearest even by the addition.
    b_small = (b_magnitude.to(tl.float32, bitcast=True) + 0.5).to(tl.uint32, bitcast=True) - 0x3F000000
    b_normal = (b_magnitude - 0x38000000 + 0xFFF + ((b_magnitude >> 13) & 1)) >> 13
    b_large = tl.where(b_magnitude > 0x7F800000, 0x7E00, 0x7C00)  # NaN, or beyond the largest
    b_narrow = tl.where(b_magnitude >= 0x47800000, b_large, tl.where(b_magnitude < 0x38800000, b_small, b_normal))
    return (b_narrow | ((bits >> 16) & 0x8000)).to(tl.uint16)


@triton.jit
def store_narrow(pointers, b_values, mask):
    """Store values in the type that `pointers` point to."""
    if pointers.dtype.element_ty == tl.bfloat16:
        tl.store(pointers.to(tl.pointer_type(tl.uint16), bitcast=True), narrow_to_bfloat16(b_values), mask=mask)
    elif pointers.dtype.element_ty == tl.float16:
        tl.store(pointers.to(tl.pointer_type(tl.uint16), bitcast=True), narrow_to_float16(b_values), mask=mask)
    else:
        tl.store(pointers, b_values, mask=mask)


@triton.jit
def divide(x, y):
    """IEEE division of float32 or float64; Triton's own `/` of float32 is an approximation."""
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@triton.jit
def root(x):
    """The IEEE root of float32 or float64."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)
