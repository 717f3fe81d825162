"""Where a group lives, and how small things travel between the host and a device that it does not wait for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sparrow.errors import TableError
from sparrow.tables.recording import current_recording

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
            "room for; leave lookups and updates of tables out of it, or capture the step by sparrow.optim.CapturedStep"
        )
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def fixed(values: Tensor, device: torch.device) -> Tensor:
    """As `sent`, of what a step sends in the same words each time: in a captured step it is sent once, and must not be written to."""
    recording = current_recording()
    if recording is None or device == HOST:
        return sent(values, device)
    return recording.constant(values, lambda: sent(values, device))


def send_into(values: Tensor, target: Tensor) -> None:
    """Copy a tensor of the host into one of a device, for what the current stream does next. The host does not wait, and may write to
    `values` at once."""
    target.copy_(values.pin_memory() if target.is_cuda else values, non_blocking=True)


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


@functools.cache
def _graph_stream(device: torch.device) -> torch.cuda.Stream:
    # One for all captures: what torch and others keep by stream is then kept once.
    return torch.cuda.Stream(device)


class StepGraph:
    """A CUDA graph, and the stream that its step is taken on before it is captured: what caches keep by stream, the capture then finds."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream, self._graph = device, _graph_stream(device), torch.cuda.CUDAGraph()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Run what is inside on the graph's stream, after what the current one does and before what it will do."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            current.wait_stream(self._stream)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Capture what is inside; it does not run. Waits for the device. Threads that read ahead may go on meanwhile."""
        # torch does not give the current stream back where the end of a capture fails.
        graph = torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local")
        with torch.cuda.stream(torch.cuda.current_stream(self._device)), graph:
            yield

    def replay(self) -> None:
        self._graph.replay()

    def drop(self) -> None:
        """Give its memory back, once the device is done with it."""
        torch.cuda.current_stream(self._device).synchronize()
        self._graph.reset()
