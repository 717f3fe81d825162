"""What the tests of map_values share: running chains by both bodies, and strings as columns."""

import itertools

import torch
from torch import Tensor

from sparrow.ops.map_values import reference
from sparrow.ops.map_values.op import map_values
from sparrow.ops.map_values.steps import Chain, Source, Step, pack


def strings_of(strings: list[bytes]) -> tuple[Tensor, Tensor]:
    """Return the bytes, end to end, and the offsets."""
    offsets = torch.tensor([0, *itertools.accumulate(map(len, strings))])
    return torch.tensor(list(b"".join(strings)), dtype=torch.uint8), offsets


def same_bits(one: Tensor, two: Tensor) -> bool:
    """Whether two tensors hold the same bits; NaN is one value, whatever its payload."""
    if one.dtype != two.dtype or one.shape != two.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, two)
    whole = {torch.float32: torch.int32, torch.float64: torch.int64}[one.dtype]
    return torch.equal(one.isnan(), two.isnan()) and torch.equal(one[~one.isnan()].view(whole), two[~two.isnan()].view(whole))


def run(chains: list[Chain], values: list[Tensor], offsets: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Run chains compiled, check that the reference agrees to the bit and that nothing given was changed."""
    packed = pack(chains, [value.dtype for value in values])
    before = [tensor.clone() for tensor in (*values, *offsets)]
    outputs, counts = map_values(values, offsets, packed)
    for tensor, copy in zip((*values, *offsets), before, strict=True):
        assert torch.equal(tensor.view(torch.uint8), copy.view(torch.uint8)), "an input was changed"
    expected, expected_counts = reference.map_values(values, offsets, packed.chains, packed.steps, packed.tables)
    for number, (got, wanted) in enumerate(zip(outputs, expected, strict=True)):
        assert got.dtype == packed.dtypes[number]
        assert same_bits(got, wanted), f"chain {number}: {got} is not {wanted}"
    assert torch.equal(counts, expected_counts)
    return outputs, counts


def mapped(values: Tensor, *steps: Step) -> Tensor:
    """Return what one chain makes of each value."""
    return run([Chain(0, steps=steps)], [values], [])[0][0]


def mapped_strings(strings: list[bytes], *steps: Step) -> Tensor:
    """Return what one chain makes of each string."""
    values, offsets = strings_of(strings)
    return run([Chain(0, 0, Source.BYTES, steps)], [values], [offsets])[0][0]
