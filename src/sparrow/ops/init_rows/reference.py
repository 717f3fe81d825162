"""`init_rows_`, plainly."""

from __future__ import annotations

from torch import Tensor

from sparrow.ops.init_rows.normal_table import PIECES, TABLE

_MASK = 0xFFFFFFFF
TAIL = 97711072  # floor(2^32 P(z < -2))


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Return the four words of Philox-4x32-10 (Salmon et al., SC 2011)."""
    for _ in range(10):
        product0, product1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(product1 >> 32) ^ counter[1] ^ key[0], product1 & _MASK, (product0 >> 32) ^ counter[3] ^ key[1], product0 & _MASK]
        key = [(key[0] + 0x9E3779B9) & _MASK, (key[1] + 0xBB67AE85) & _MASK]
    return counter


def normal_value(word: int) -> float:
    """Return the standard normal value of a random word: top bit the sign, the rest m the tail probability (m + 0.5) / 2^32."""
    m = word & 0x7FFFFFFF
    octave = max(m.bit_length() - 1, 0)
    low = 0.0 if octave == 0 else float(1 << octave)
    width = (2.0 if octave == 0 else low) / PIECES
    position = (m - low) / width
    piece = int(position)
    t = position - piece
    c0, c1, c2, c3 = TABLE[octave * PIECES + piece]
    z = ((c3 * t + c2) * t + c1) * t + c0
    return -z if word >> 31 else z


def without_tails(word: int) -> int:
    """Return the word whose magnitude is squeezed into those within two standard deviations."""
    return (word & 0x80000000) | (TAIL + (((word & 0x7FFFFFFF) * (2**31 - TAIL)) >> 31))


def initial_value(seed: int, id: int, column: int, initializer: int, a: float, b: float) -> float:
    """Return one first value, before it is rounded to the weight dtype."""
    if initializer == 0:
        return a
    word = philox([id & _MASK, (id >> 32) & _MASK, column // 4, 0], [seed & _MASK, (seed >> 32) & _MASK])[column % 4]
    if initializer == 1:
        return a + (b - a) * ((word + 0.5) * 2.0**-32)
    return a + b * normal_value(without_tails(word) if initializer == 3 else word)


def init_rows_(
    weights: list[Tensor], element_slots: list[Tensor], row_slots: list[Tensor], row_ids: Tensor, meta: Tensor, rows: Tensor,
    ids: Tensor, table_offsets: Tensor, positions: Tensor, num_positions: Tensor, seeds: Tensor,
    initializer: int, parameters: Tensor, slot_values: Tensor,
) -> None:  # fmt: skip
    rows_per_block, dim = weights[0].shape
    num_element_slots = element_slots[0].shape[1] // dim if element_slots else 0
    for position in positions[: int(num_positions)].tolist():
        row, id = int(rows[position]), int(ids[position])
        if row < 0:
            continue
        table = int((table_offsets[1:] <= position).sum())
        block, inside = divmod(row, rows_per_block)
        for column in range(dim):
            weights[block][inside, column] = initial_value(int(seeds[table]), id, column, initializer, *parameters[table].tolist())
        for slot in range(num_element_slots):
            element_slots[block][inside, slot * dim : (slot + 1) * dim] = slot_values[table, slot]
        for slot in range(slot_values.shape[1] - num_element_slots):
            row_slots[block][inside, slot] = slot_values[table, num_element_slots + slot]
        row_ids[row] = id
        meta[row] = meta.new_tensor([0, 0, 0, table])
