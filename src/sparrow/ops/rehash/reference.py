"""`rehash_`, plainly."""

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.find_or_insert.reference import probe


def rehash_(new_lines: Tensor, new_headers: Tensor, lines: Tensor, headers: Tensor) -> None:
    for table in range(headers.shape[0]):
        first = int(headers[table, id_map.HEADER_FIRST_LINE])
        for line in range(first, first + int(headers[table, id_map.HEADER_NUM_LINES])):
            for slot in range(id_map.IDS_PER_LINE):
                id = int(lines[line, slot])
                row = int(lines.view(torch.int32)[line, id_map.FIRST_ROW_INT32 + slot])
                if id == id_map.EMPTY or row == id_map.NO_ROW:
                    continue
                place = probe(new_lines, new_headers[table], id)
                assert place is not None, "the new segment has room for every living id"
                new_lines[place] = id
                new_lines.view(torch.int32)[place[0], id_map.FIRST_ROW_INT32 + place[1]] = row
                new_headers[table, id_map.HEADER_NUM_KEYS] += 1
        new_headers[table, id_map.HEADER_SIDE_ROW] = headers[table, id_map.HEADER_SIDE_ROW]
