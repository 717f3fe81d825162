"""What lookup_rows does, query by query."""

import torch
from torch import Tensor

from sparrow.ops import row_lists
from sparrow.ops.lookup_rows.op import MATCH, PLACE


def lookup_rows(
    queries: list[Tensor],
    query_offsets: list[Tensor],
    keys: list[Tensor],
    key_offsets: list[Tensor],
    items: list[Tensor],
    columns: Tensor,
) -> list[Tensor]:
    out = []
    for x, (answer, bits) in enumerate(columns.view(-1, 2).tolist()):
        of_default = bits.to_bytes(8, "little", signed=True)[: items[x].element_size()]
        default = torch.frombuffer(bytearray(of_default), dtype=items[x].dtype)
        found = [items[x][:0]]
        query_rows, key_rows = row_lists.lists_of(queries[x], query_offsets[x]), row_lists.bounds_of(keys[x], key_offsets[x])
        for asked, (begin, end) in zip(query_rows, key_rows, strict=True):
            known = keys[x][begin:end].tolist()
            for query in asked.tolist():
                place = known.index(query) if query in known else -1
                if answer == MATCH:
                    found.append(torch.tensor([int(place >= 0)]))
                elif answer == PLACE:
                    found.append(torch.tensor([place + 1]))
                else:
                    found.append(default if place < 0 else items[x][begin + place : begin + place + 1])
        out.append(torch.cat(found))
    return out
