"""Growth appends blocks and enlarges the map; no row of weights or optimizer state changes its address or its bits."""

import torch

from sparrow.tables import Normal, TableGroup, TableOptions


def test_addresses_and_values_survive_growth() -> None:
    group = TableGroup("g", [TableOptions(name=name, dim=4, rule="adam", initializer=Normal(std=1.0)) for name in "ab"], rows_per_block=64)
    ids = torch.arange(100)
    offsets = torch.tensor([0, 50, 100])
    first = group.lookup(ids, offsets, insert=True)
    weights = {block.data_ptr(): block.clone() for block in group.blocks.weights[:1]}
    slots = [block.data_ptr() for block in group.blocks.element_slots]
    ids_before, lines = group.blocks.row_ids.data_ptr(), group.map.lines.shape[0]
    for start in range(1000, 20_000, 1000):
        more = torch.arange(start, start + 1000)
        group.lookup(more, torch.tensor([0, 500, 1000]), insert=True)
    assert group.map.lines.shape[0] > lines, "the map must have grown for this test to mean anything"
    assert len(group.blocks.weights) > 200
    assert group.blocks.row_ids.data_ptr() == ids_before, "ids and metadata lie in addresses set aside for their growth"
    assert group.blocks.weights[0].data_ptr() in weights
    assert torch.equal(group.blocks.weights[0], weights[group.blocks.weights[0].data_ptr()])
    assert [block.data_ptr() for block in group.blocks.element_slots[: len(slots)]] == slots
    again = group.lookup(ids, offsets, insert=True)
    assert torch.equal(again.rows, first.rows)
