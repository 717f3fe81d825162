"""For each query of a row, what lies beside the equal key of the same row of another column."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define(
    "lookup_rows(Tensor[] queries, Tensor[] query_offsets, Tensor[] keys, Tensor[] key_offsets, Tensor[] items, Tensor columns) -> Tensor[]"
)
library.triton_body("lookup_rows", "sparrow.ops.lookup_rows.triton")


@library.shape_function("lookup_rows")
def _shapes(
    queries: list[Tensor],
    query_offsets: list[Tensor],
    keys: list[Tensor],
    key_offsets: list[Tensor],
    items: list[Tensor],
    columns: Tensor,
) -> list[Tensor]:
    return [one.new_empty(asked.numel()) for one, asked in zip(items, queries, strict=True)]


def lookup_rows(
    queries: list[Tensor],
    query_offsets: list[Tensor],
    keys: list[Tensor],
    key_offsets: list[Tensor],
    items: list[Tensor],
    columns: Tensor,
) -> list[Tensor]:
    """Return, for each of X results, what lies beside each query's first equal key of the same row.

    Args:
        queries: for each result, int64 [Q].
        query_offsets: for each result, int64 [R + 1]: row r asks for the queries from offsets[r] to offsets[r + 1]; an empty tensor where
            each row has one.
        keys: for each result, int64 [K].
        key_offsets: for each result, of the keys' rows, as many, in the same way.
        items: for each result, [K], what lies beside the keys, of any dtype of 1, 2, 4 or 8 bytes; for PLACE and MATCH an empty int64 tensor.
        columns: int64 [X, 2], on the CPU: ITEM, PLACE or MATCH of `answers`, and for ITEM the bits of what a query without a key gets (`ops.value_bits`).

    Returns:
        For each result [Q], aligned with its queries: items; or, int64, the key's place in its row counted from 1, 0 where there is none
        (PLACE), or 1 where there is one, else 0 (MATCH).

    Errors: what is wrong, by result and argument, and row.
    Cost: a pass over ids, offsets and items. A short row compares every pair, eight at a time; a long one takes a few nanoseconds an id. On
    CUDA one launch for all results, which compares every pair of a row.
    """
    return torch.ops.sparrow.lookup_rows.default(queries, query_offsets, keys, key_offsets, items, columns)
