"""The folder of a run: `config.yaml`, `metrics.jsonl`, `summary.json`, `checkpoints/`."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sparrow.errors import ConfigError

_FILES = ("metrics.jsonl", "summary.json", "checkpoints")
# More than a file system keeps inside an inode: a full disk must show before the training, not after it.
_PROBE_BYTES = 1 << 16


def holds_run(path: Path) -> bool:
    """Return whether a run began in the folder `path`, be it one that a kill ended before its first line."""
    return any((path / name).exists() for name in ("config.yaml", *_FILES))


FEATURES_FILE = "features.json"


class RunFolder:
    """Writes what a run leaves behind. Every failure to write names the folder.

    Args:
        path: made where absent. Checked for being writable at once: a run must not fail after hours for want of it.
        resume: whether an earlier run may be continued here; otherwise the folder must hold none.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool) -> None:
        self.path = Path(path)
        earlier = [name for name in _FILES if (self.path / name).exists()]
        if earlier and not resume:
            raise ConfigError(
                f"{self.path} holds an earlier run ({', '.join(earlier)}); continue it with --resume (resume=True), or name another folder"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error
        self._replace(".writable", "x" * _PROBE_BYTES)
        (self.path / ".writable").unlink()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append one JSON line to `metrics.jsonl`."""
        try:
            with (self.path / "metrics.jsonl").open("a") as stream:
                stream.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise self._failure(error) from error

    def cut_metrics(self, step: int) -> None:
        """Drop the lines of `metrics.jsonl` after `step`: a resumed run writes these again. A line a kill left half-written goes too."""
        kept = []
        try:
            for line in (self.path / "metrics.jsonl").read_bytes().splitlines():
                if json.loads(line)["step"] > step:
                    break
                kept.append(line.decode() + "\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure(error) from error
        except (ValueError, KeyError, TypeError):
            pass  # the half-written line: nothing of this run comes after it
        self._replace("metrics.jsonl", "".join(kept))

    def read_finished(self, step: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return (summary, last line of `metrics.jsonl`) where a session ended at `step` by itself, else None."""
        try:
            summary = json.loads((self.path / "summary.json").read_bytes())
            line = json.loads((self.path / "metrics.jsonl").read_bytes().splitlines()[-1])
            is_finished = not summary["stopped"] and summary["step"] == line["step"] == step
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return (summary, line) if is_finished else None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`; a reader sees the old one or the new one, never a half."""
        self._replace("summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def write_config(self, text: str) -> None:
        """Write `config.yaml`."""
        self._replace("config.yaml", text)

    def write_features(self, text: str) -> None:
        """Write `features.json`."""
        self._replace(FEATURES_FILE, text)

    def _replace(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.tmp"
        try:
            with temporary.open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"cannot write to the run folder {self.path}: {error.strerror or error}; free space or permissions, or name another run folder"
        )
