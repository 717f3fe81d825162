"""Saving and loading checkpoints: what is visible under its name is whole."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from sparrow.errors import ConfigError
from sparrow.saver import layout
from sparrow.saver.manifest import read_manifest
from sparrow.saver.read import check_dense_fits, check_stores_fit, read_chunks, read_state, verify_files
from sparrow.saver.tensor_files import read_tensors
from sparrow.saver.write import sync_folder, write_checkpoint
from sparrow.types import RowStore


@dataclass(frozen=True, slots=True)
class Loaded:
    """What of a checkpoint is not rows: its step, the dense tensors by name (on the CPU), and the nested state."""

    step: int
    dense: dict[str, Tensor]
    state: dict[str, Any]


class Saver:
    """Checkpoints of one run in one folder, written by one process at a time. The layout is in `docs/checkpoints.md`.

    Args:
        folder: made with the first save. Checkpoints are its folders `step-00001234`; other files in it are left alone.
        keep: checkpoints kept, at least 1: the one just saved and those of the highest smaller steps. Later steps, left by a run that
            went further, are not touched.
    """

    def __init__(self, folder: str | PathLike[str], keep: int = 3) -> None:
        if keep < 1:
            raise ConfigError(f"Saver: keep is {keep}; expected at least 1")
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, stores: Mapping[str, RowStore], dense: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Save everything and return the checkpoint's folder, `folder/step-<step>`; it is on the disk then.

        Args:
            step: at least 0. A checkpoint of the same step is replaced.
            stores: name -> rows. They must not change meanwhile.
            dense: name -> tensor, any device. Tied tensors are each stored whole; strides are not kept.
            state: None, bool, int, float, str, list, tuple, dict (any of these as keys) and tensors, nested. Comes back equal.

        Raises:
            CheckpointError: the disk is full or read-only, or a value cannot be stored: names it. Nothing half-written is left, and what
                was saved before is still there.

        Warns `RuntimeWarning` where the checkpoint was saved but an older one could not be removed.
        Cost: every byte is written once and flushed; memory for three times the largest chunk, or the dense tensors.
        """
        if step < 0:
            raise ConfigError(f"Saver: step is {step}; expected at least 0")
        temporary = self.folder / layout.temporary_name(step)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # First, so that what a killed save left does not fill the disk.
            layout.clean(self.folder)
            write_checkpoint(temporary, step, stores, dense, state)
            published = self._publish(temporary, step)
        except OSError as error:
            raise layout.write_failure(self.folder, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._remove_older(step)
        return published

    def latest(self) -> Path | None:
        """Return the checkpoint of the highest step, or None where there is none."""
        checkpoints = self.checkpoints()
        return checkpoints[-1] if checkpoints else None

    def checkpoints(self) -> list[Path]:
        """Return all checkpoints of the folder, by ascending step. Raises `CheckpointError` where the folder cannot be read."""
        return list(layout.list_checkpoints(self.folder).values())

    def load(self, path: str | PathLike[str], stores: Mapping[str, RowStore], dense: Mapping[str, Tensor] | None = None) -> Loaded:
        """Load the rows of the checkpoint folder `path` into `stores` and return the rest.

        Args:
            stores: empty stores, by the names they were saved under. Mutated.
            dense: the model's dense tensors, only to compare: where given, names, shapes and dtypes must be those saved. Not mutated.

        Raises:
            CheckpointError: names file and key, or store, table and field. All checks (checksums, sizes, names, shapes, the model)
                come before any store is touched.

        Cost: reads the checkpoint twice, to check and to load; memory for three times the largest chunk beside the rows.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        check_stores_fit(folder, manifest, stores)
        verify_files(folder, manifest)
        if dense is not None:
            check_dense_fits(folder, manifest, dense)
        loaded = Loaded(manifest.step, read_tensors(folder, manifest.dense), read_state(folder, manifest))
        for entry in manifest.stores:
            stores[entry.name].adopt(entry.description)
        for entry in manifest.stores:
            stores[entry.name].load(read_chunks(folder, entry, entry.chunks))
        return loaded

    def _publish(self, temporary: Path, step: int) -> Path:
        """Give a finished folder its name. At every instant a checkpoint of this step that was readable before still is."""
        published = self.folder / layout.published_name(step)
        aside = self.folder / layout.replaced_name(step)
        is_replacing = published.exists()
        if is_replacing:
            published.rename(aside)
        try:
            temporary.rename(published)
        except OSError:
            if is_replacing:
                aside.rename(published)
            raise
        sync_folder(self.folder)
        return published

    def _remove_older(self, step: int) -> None:
        older = [(path, other) for other, path in layout.list_checkpoints(self.folder).items() if other < step]
        try:
            layout.clean(self.folder)
            for path, other in older[: max(0, len(older) - self.keep + 1)]:
                layout.remove_checkpoint(path, other)
        except OSError as error:
            warnings.warn(
                f"{self.folder}: {layout.published_name(step)} was saved, but an older checkpoint could not be removed "
                f"({error.strerror}: {os.fspath(error.filename or self.folder)}); remove it by hand",
                RuntimeWarning,
                stacklevel=3,
            )
