"""Files of a checkpoint: written once with a checksum, read back only when it still holds."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors_torch
from torch import Tensor

from sparrow.errors import CheckpointError

_PIECE_BYTES = 1 << 20
_DTYPE_OF_CODE = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPE_OF_CODE.values()}
ASK_FOR_ANOTHER = "the checkpoint is damaged: load an older one, or copy this one again from where it was whole"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file as the manifest knows it. path: relative to the checkpoint, with `/`. crc32: of all its bytes (zlib, ISO 3309)."""

    path: str
    num_bytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of a stored tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} {list(self.shape)}"


def spec_of(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.dtype, tuple(tensor.shape))


def write_file(folder: Path, path: str, content: bytes) -> FileEntry:
    """Write a new file, on the disk when this returns. Raises `OSError`."""
    target = folder / path
    with open(target, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(path, len(content), zlib.crc32(content))


def write_tensors(folder: Path, path: str, tensors: Mapping[str, Tensor]) -> FileEntry:
    """Write a new safetensors file. Cost: two copies of the tensors in host memory while it is written.

    Raises:
        CheckpointError: names a tensor the format cannot hold (sparse, quantized, meta, a dtype it has no name for).
        OSError: the system stopped it.
    """
    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.dtype not in DTYPES.values():
            raise CheckpointError(
                f"{path}: tensor {name!r} is {tensor.dtype}, {tensor.layout} on {tensor.device}; convert it to a plain dense tensor"
            )
        if name == "__metadata__":
            raise CheckpointError(f"{path}: a tensor may not be called {name!r}, the format keeps that name for itself; rename it")
        host = tensor.detach().cpu().contiguous()
        # The library refuses tensors that share memory (tied weights, views of one buffer): each is stored whole.
        if host.untyped_storage().data_ptr() in storages:
            host = host.clone()
        storages.add(host.untyped_storage().data_ptr())
        ready[name] = host
    try:
        content = safetensors_torch.save(ready)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot store these tensors ({error})") from error
    return write_file(folder, path, content)


def check_file(folder: Path, entry: FileEntry, *, checksum: bool) -> None:
    """Raise `CheckpointError` naming the file unless it is there, of the size stored and, where asked, of the checksum stored.

    Cost: with `checksum`, reads the file once, 1 MiB at a time.
    """
    path = folder / entry.path
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{path}: not a file; {ASK_FOR_ANOTHER}")
        if found.st_size != entry.num_bytes:
            raise CheckpointError(f"{path}: {found.st_size} bytes, the manifest says {entry.num_bytes}; {ASK_FOR_ANOTHER}")
        if checksum:
            crc32 = 0
            with open(path, "rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    crc32 = zlib.crc32(piece, crc32)
            _check_crc32(path, entry, crc32)
    except OSError as error:
        raise _read_failure(path, error) from error


def read_file(folder: Path, entry: FileEntry) -> bytes:
    """Return the bytes of a file whose checksum holds; raises `CheckpointError` otherwise."""
    check_file(folder, entry, checksum=False)
    path = folder / entry.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _read_failure(path, error) from error
    _check_crc32(path, entry, zlib.crc32(content))
    return content


def read_tensors(folder: Path, entry: FileEntry) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file whose checksum holds, in host memory of their own."""
    try:
        # The library orders tensors by size of type; sorted, the order is at least nobody's secret.
        return dict(sorted(safetensors_torch.load(read_file(folder, entry)).items()))
    except (SafetensorError, AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{folder / entry.path}: not a safetensors file ({error}); {ASK_FOR_ANOTHER}") from error


def read_specs(folder: Path, entry: FileEntry) -> dict[str, TensorSpec]:
    """Return name -> dtype and shape of a safetensors file, reading only its header."""
    path = folder / entry.path
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (not a dict: it cannot be iterated)
            return {name: TensorSpec(_DTYPE_OF_CODE[part.get_dtype()], tuple(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, KeyError, OSError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}); {ASK_FOR_ANOTHER}") from error


def _check_crc32(path: Path, entry: FileEntry, crc32: int) -> None:
    if crc32 != entry.crc32:
        raise CheckpointError(f"{path}: its checksum is {crc32:08x}, the manifest says {entry.crc32:08x}; {ASK_FOR_ANOTHER}")


def _read_failure(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"{path}: the manifest names this file, but it is missing; {ASK_FOR_ANOTHER}")
    return CheckpointError(f"{path}: cannot be read ({error.strerror}); check its permissions and its disk")
