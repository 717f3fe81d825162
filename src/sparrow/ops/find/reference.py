"""`find`, plainly."""

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.find_or_insert.reference import probe


def find(lines: Tensor, headers: Tensor, ranges: Tensor, ids: Tensor, table_offsets: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.full((ids.numel(),), id_map.NO_ROW, dtype=torch.int32)
    for table in range(headers.shape[0]):
        for position in range(int(table_offsets[table]), int(table_offsets[table + 1])):
            id = int(ids[position])
            if id == id_map.EMPTY:
                rows[position] = headers[table, id_map.HEADER_SIDE_ROW]
                continue
            _, place = probe(lines, headers[table], ranges, id)
            if place is not None and lines[place] == id:
                rows[position] = lines.view(torch.int32)[place[0], id_map.FIRST_ROW_INT32 + place[1]]
    return rows, (rows[: int(table_offsets[-1])] == id_map.NO_ROW).sum().reshape(1)
