"""`find_or_insert_`, plainly: the specification its other bodies are tested against."""

import torch
from torch import Tensor

from sparrow.ops import id_map


def find_or_insert_(
    lines: Tensor, headers: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, ids: Tensor, table_offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.full((ids.numel(),), id_map.NO_ROW, dtype=torch.int32)
    new_positions: list[int] = []
    for table in range(headers.shape[0]):
        for position in range(int(table_offsets[table]), int(table_offsets[table + 1])):
            row, is_new = _find_or_insert_one(lines, headers[table], ranges, counters, free_rows, int(ids[position]))
            rows[position] = row
            if is_new:
                new_positions.append(position)
    positions = torch.full((ids.numel(),), -1, dtype=torch.int32)
    positions[: len(new_positions)] = torch.tensor(new_positions, dtype=torch.int32)
    return rows, positions, torch.tensor([len(new_positions)])


def _find_or_insert_one(lines: Tensor, header: Tensor, ranges: Tensor, counters: Tensor, free_rows: Tensor, id: int) -> tuple[int, bool]:
    if id == id_map.EMPTY:
        is_new = int(header[id_map.HEADER_SIDE_ROW]) == id_map.NO_ROW
        if is_new:
            header[id_map.HEADER_SIDE_ROW] = _take_row(counters, free_rows)
        return int(header[id_map.HEADER_SIDE_ROW]), is_new
    range_index, place = probe(lines, header, ranges, id)
    if place is None:
        counters[id_map.COUNTER_FAILED] += 1
        return id_map.NO_ROW, False
    line, slot = place
    row_of = lines.view(torch.int32)[line]
    if lines[place] == id_map.EMPTY:
        lines[place] = id
        ranges[range_index, id_map.RANGE_NUM_KEYS] += 1
    elif row_of[id_map.FIRST_ROW_INT32 + slot] == id_map.NO_ROW:
        ranges[range_index, id_map.RANGE_NUM_DEAD] -= 1
    else:
        return int(row_of[id_map.FIRST_ROW_INT32 + slot]), False
    row_of[id_map.FIRST_ROW_INT32 + slot] = _take_row(counters, free_rows)
    return int(row_of[id_map.FIRST_ROW_INT32 + slot]), True


def _take_row(counters: Tensor, free_rows: Tensor) -> int:
    if counters[id_map.COUNTER_FREE] > 0:
        counters[id_map.COUNTER_FREE] -= 1
        return int(free_rows[counters[id_map.COUNTER_FREE]])
    counters[id_map.COUNTER_ROWS] += 1
    return int(counters[id_map.COUNTER_ROWS]) - 1


def probe(lines: Tensor, header: Tensor, ranges: Tensor, id: int) -> tuple[int, tuple[int, int] | None]:
    """Return (range, (line, slot) of `id`, or of the empty slot that proves it absent, or None where every line is full)."""
    mixed = id_map.mix(torch.tensor(id), int(header[id_map.HEADER_SALT]))
    fraction, bits = id_map.fraction_of(mixed, header), int(header[id_map.HEADER_RANGE_BITS])
    index = int(header[id_map.HEADER_FIRST_RANGE]) + int(id_map.range_of(fraction, bits))
    first, num_lines = int(ranges[index, id_map.RANGE_FIRST_LINE]), int(ranges[index, id_map.RANGE_NUM_LINES])
    position = int(id_map.home_line(fraction, bits, num_lines))
    step = 1 + (int(mixed) & (id_map.JUMP_LINES - 1))
    for _ in range(num_lines + 1):
        for slot in range(id_map.IDS_PER_LINE):
            if int(lines[first + position, slot]) in (id, id_map.EMPTY):
                return index, (first + position, slot)
        position = (position + step) % num_lines
        step = 1
    return index, None
