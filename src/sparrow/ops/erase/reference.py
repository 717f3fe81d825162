"""`erase_`, plainly."""

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.find_or_insert.reference import probe


def erase_(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> Tensor:
    rows = torch.full((ids.numel(),), id_map.NO_ROW, dtype=torch.int32)
    for table in range(headers.shape[0]):
        for position in range(int(table_offsets[table]), int(table_offsets[table + 1])):
            rows[position] = _erase_one(lines, headers[table], ranges, int(ids[position]))
    return rows


def _erase_one(lines: Tensor, header: Tensor, ranges: Tensor, id: int) -> int:
    if id == id_map.EMPTY:
        row = int(header[id_map.HEADER_SIDE_ROW])
        header[id_map.HEADER_SIDE_ROW] = id_map.NO_ROW
        return row
    index, place = probe(lines, header, ranges, id)
    if place is None or int(lines[place]) != id:
        return id_map.NO_ROW
    row_of = lines.view(torch.int32)[place[0]]
    row = int(row_of[id_map.FIRST_ROW_INT32 + place[1]])
    row_of[id_map.FIRST_ROW_INT32 + place[1]] = id_map.NO_ROW
    ranges[index, id_map.RANGE_NUM_DEAD] += int(row != id_map.NO_ROW)
    return row
