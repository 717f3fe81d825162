"""The id map of a group and its growth: room is made before an insert can need it."""

from __future__ import annotations

import torch
from torch import Tensor

from sparrow.ops import id_map
from sparrow.ops.find.op import find
from sparrow.ops.rehash.op import rehash_

_FIRST_MAX_KEYS = 256
_GROWTH_FACTOR = 2


class IdMap:
    """Tensors of the map (`ops/id_map.py` describes them) and the decision when a segment grows."""

    def __init__(self, salts: list[int]) -> None:
        self.lines, self.headers = id_map.empty_id_map([_FIRST_MAX_KEYS] * len(salts), salts)
        self.counters = torch.zeros(2, dtype=torch.int64)

    def salt(self, table: int) -> int:
        return int(self.headers[table, id_map.HEADER_SALT])

    def set_salts(self, salts: list[int]) -> None:
        """Take other salts. The map must be empty: the salt decides where an id lies."""
        assert int(self.counters[0]) == 0, "salts of a map that holds ids cannot change"
        self.headers[:, id_map.HEADER_SALT] = torch.tensor(salts)

    def num_ids(self, table: int) -> int:
        """Return how many living ids `table` holds."""
        header = self.headers[table]
        side = int(header[id_map.HEADER_SIDE_ROW]) != id_map.NO_ROW
        return int(header[id_map.HEADER_NUM_KEYS] - header[id_map.HEADER_NUM_DEAD]) + side

    def make_room(self, ids: Tensor, offsets: Tensor) -> None:
        """Grow every segment that inserting the distinct `ids` (table t owns `ids[offsets[t]:offsets[t + 1]]`) would overfill."""
        num_keys, max_keys = self.headers[:, id_map.HEADER_NUM_KEYS], self.headers[:, id_map.HEADER_MAX_KEYS]
        # The cheap upper bound first: every id is new. Only where it fails are the new ids counted.
        if not bool((num_keys + offsets.diff() > max_keys).any()):
            return
        is_new = find(self.lines, self.headers, ids, offsets) == id_map.NO_ROW
        new_before = torch.cat([torch.zeros(1, dtype=torch.int64), is_new.cumsum(0)])
        needed = num_keys + new_before[offsets].diff()
        full = needed > max_keys
        if not bool(full.any()):
            return
        # Whoever is half full grows too: segments of one group fill together, and one copy of the arena then serves them all.
        grows = full | (needed * 2 > max_keys)
        self._resize(torch.where(grows, torch.maximum(max_keys * _GROWTH_FACTOR, needed * 3 // 2), max_keys), grows)

    def _resize(self, max_keys: Tensor, grows: Tensor) -> None:
        salts = self.headers[:, id_map.HEADER_SALT].tolist()
        new_lines, new_headers = id_map.empty_id_map(max_keys.tolist(), salts)
        growing = new_headers[grows]
        rehash_(new_lines, growing, self.lines, self.headers[grows])
        for table in (~grows).nonzero().squeeze(1).tolist():
            old, new = self.headers[table], new_headers[table]
            first_old, first_new, num_lines = (
                int(old[id_map.HEADER_FIRST_LINE]),
                int(new[id_map.HEADER_FIRST_LINE]),
                int(old[id_map.HEADER_NUM_LINES]),
            )
            new_lines[first_new : first_new + num_lines] = self.lines[first_old : first_old + num_lines]
            new[id_map.HEADER_NUM_KEYS :] = old[id_map.HEADER_NUM_KEYS :]
        new_headers[grows] = growing
        self.lines, self.headers = new_lines, new_headers

    def rows_of(self, table: int) -> Tensor:
        """Return the rows, int64, of every living id of `table`, in map order."""
        header = self.headers[table]
        first = int(header[id_map.HEADER_FIRST_LINE])
        lines = self.lines[first : first + int(header[id_map.HEADER_NUM_LINES])]
        rows = lines.view(torch.int32)[:, id_map.FIRST_ROW_INT32 : id_map.FIRST_ROW_INT32 + id_map.IDS_PER_LINE]
        occupied = (lines[:, : id_map.IDS_PER_LINE] != id_map.EMPTY) & (rows != id_map.NO_ROW)
        living = rows[occupied].long()
        side = header[id_map.HEADER_SIDE_ROW]
        return living if int(side) == id_map.NO_ROW else torch.cat([living, side.reshape(1)])
