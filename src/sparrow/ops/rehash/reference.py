"""`rehash_`, plainly."""

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.find_or_insert.reference import probe


def rehash_(lines: Tensor, headers: Tensor, ranges: Tensor, old_headers: Tensor, old_ranges: Tensor) -> None:
    for table in range(headers.shape[0]):
        new, old = _ranges_of(headers[table]), _ranges_of(old_headers[table])
        if len(new) != len(old):
            _rebuild(lines, headers[table], ranges, old_ranges, list(new), list(old))
            continue
        for to, source in zip(new, old, strict=True):
            if int(ranges[to, id_map.RANGE_NUM_KEYS]) == id_map.REBUILD:
                _rebuild(lines, headers[table], ranges, old_ranges, [to], [source])


def _ranges_of(header: Tensor) -> range:
    first = int(header[id_map.HEADER_FIRST_RANGE])
    return range(first, first + 2 ** int(header[id_map.HEADER_RANGE_BITS]))


def _lines_of(one: Tensor) -> range:
    first = int(one[id_map.RANGE_FIRST_LINE])
    return range(first, first + int(one[id_map.RANGE_NUM_LINES]))


def _rebuild(lines: Tensor, header: Tensor, ranges: Tensor, old_ranges: Tensor, new: list[int], old: list[int]) -> None:
    row_of = lines.view(torch.int32)
    living = [
        (int(lines[line, slot]), int(row_of[line, id_map.FIRST_ROW_INT32 + slot]))
        for source in old
        for line in _lines_of(old_ranges[source])
        for slot in range(id_map.IDS_PER_LINE)
        if int(lines[line, slot]) != id_map.EMPTY and int(row_of[line, id_map.FIRST_ROW_INT32 + slot]) != id_map.NO_ROW
    ]
    for to in new:
        lines[list(_lines_of(ranges[to]))] = id_map.EMPTY
        ranges[to, id_map.RANGE_NUM_KEYS] = ranges[to, id_map.RANGE_NUM_DEAD] = 0
    for id, row in living:
        index, place = probe(lines, header, ranges, id)
        assert place is not None, "the new range has room for every living id"
        lines[place] = id
        row_of[place[0], id_map.FIRST_ROW_INT32 + place[1]] = row
        ranges[index, id_map.RANGE_NUM_KEYS] += 1
