"""FarmHash Fingerprint64 of strings and of integers."""

import torch
from torch import Tensor

from sparrow.ops import library

library.define("farm_hash(Tensor values, Tensor offsets) -> Tensor")
library.define("farm_hash_ints(Tensor ids) -> Tensor")


@library.shape_function("farm_hash")
def _shapes(values: Tensor, offsets: Tensor) -> Tensor:
    return offsets.new_empty(offsets.shape[0] - 1)


@library.shape_function("farm_hash_ints")
def _shapes_of_ints(ids: Tensor) -> Tensor:
    return ids.new_empty(ids.numel())


def farm_hash(values: Tensor, offsets: Tensor) -> Tensor:
    """Return the fingerprint of each string, int64 [S]: all 64 bits, read as signed.

    Args:
        values: uint8 [N], the strings' bytes end to end.
        offsets: int64 [S + 1]; string s is `values[offsets[s]:offsets[s + 1]]`.

    Equal to TensorFlow's `tf.fingerprint(..., "farmhash64")` on every input.
    Cost: the bytes read once; about 10 ns for a short string.
    Source: FarmHash, Fingerprint64 (Pike and Alakuijala, 2014).
    """
    return torch.ops.sparrow.farm_hash.default(values, offsets)


def farm_hash_ints(ids: Tensor) -> Tensor:
    """Return the fingerprint of each integer's eight little-endian bytes, int64 [N]. `ids`: int64 [N]."""
    return torch.ops.sparrow.farm_hash_ints.default(ids)
