"""Moves every living id of a map into a larger, empty one. `ops/id_map.py` describes the tensors."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("rehash_(Tensor(a!) new_lines, Tensor(b!) new_headers, Tensor lines, Tensor headers) -> ()")


@library.shape_function("rehash_")
def _shapes(new_lines: Tensor, new_headers: Tensor, lines: Tensor, headers: Tensor) -> None:
    return None


def rehash_(new_lines: Tensor, new_headers: Tensor, lines: Tensor, headers: Tensor) -> None:
    """Fill an empty map with the living ids of another; rows keep their numbers, erased ids are left behind.

    Args:
        new_lines, new_headers: an empty map of the same tables and salts, each segment with room for the living ids. Mutated.
        lines, headers: the map to copy; not changed.

    Raises: RuntimeError naming the table whose new segment is too small; nothing is written then for that table.
    Cost: both maps walked nearly in order, 64 bytes a line read and written.
    """
    torch.ops.sparrow.rehash_.default(new_lines, new_headers, lines, headers)
