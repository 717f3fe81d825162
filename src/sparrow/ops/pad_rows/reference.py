"""What pad_rows does, item by item."""

import torch
from torch import Tensor

from sparrow.ops.row_options import LEFT, TAIL


def pad_rows(values: list[Tensor], offsets: list[Tensor], columns: Tensor, mask: bool = False) -> list[Tensor]:
    outputs, first = [], 0
    for column, (num_levels, *lengths, kept, side, padding) in enumerate(columns.tolist()):
        levels = [level.tolist() for level in offsets[first : first + num_levels]]
        first += num_levels
        # The position of the item at each place, and -1 where there is none.
        places = [place for row in range(len(levels[0]) - 1) for place in _places(levels, lengths, row, kept, side)]
        index = torch.tensor(places, dtype=torch.int64)
        if mask:
            outputs.append((index >= 0).float())
            continue
        out = torch.tensor([padding]).view(values[column].dtype)[:1].repeat(index.numel())
        out[index >= 0] = values[column][index[index >= 0]]
        outputs.append(out)
    return outputs


def _places(levels: list[list[int]], lengths: list[int], row: int, kept: int, side: int) -> list[int]:
    elements = list(range(levels[0][row], levels[0][row + 1]))
    length = lengths[0]
    if len(elements) > length:
        elements = elements[len(elements) - length :] if kept == TAIL else elements[:length]
    if len(levels) == 1:
        item_places, places = 1, elements
    else:
        item_places = 1
        for of_level in lengths[1 : len(levels)]:
            item_places *= of_level
        places = [place for element in elements for place in _places(levels[1:], lengths[1:], element, kept, side)]
    missing = [-1] * ((length - len(elements)) * item_places)
    return missing + places if side == LEFT else places + missing
