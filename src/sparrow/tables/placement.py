"""Where a group lives, and how small things travel between the host and a device that it does not wait for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparrow.errors import TableError

HOST = torch.device("cpu")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor of the host on `device`, which the current stream may read at once; the host does not wait for it.

    Raises `TableError` while a CUDA graph is captured: its replays would copy from memory that holds something else by then.
    """
    if device == HOST:
        return values
    if is_capturing(device):
        raise TableError(
            "a CUDA graph is being captured: its replays would repeat what the host says of this step, and insert ids it makes no "
            "room for; leave lookups and updates of tables out of the graph"
        )
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def is_capturing(device: torch.device) -> bool:
    """Return whether the current stream of `device` records a CUDA graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


class LateCopy:
    """Copies of a device's tensors on the host, which come when the device gets there; nobody waits for them unless by `wait`.

    values: the copies, to be read when `is_done`.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        device = tensors[0].device
        on_cuda = device.type == "cuda"
        # What was pinned for copies gone by is used again by torch.
        self.values = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=on_cuda) for tensor in tensors]
        for value, tensor in zip(self.values, tensors, strict=True):
            value.copy_(tensor, non_blocking=True)
        self._event: torch.cuda.Event | None = None
        if on_cuda:
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def is_done(self) -> bool:
        return self._event is None or self._event.query()

    def wait(self) -> None:
        if self._event is not None:
            self._event.synchronize()
