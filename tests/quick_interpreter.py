"""Triton's interpreter, in a process of its own that runs nothing else: import this before a kernel is run."""

from __future__ import annotations

import inspect
from typing import Any

import triton.language as tl
import triton.runtime.interpreter as interpreter


class _Kept:
    """What a kernel is given for the language it has replaced, where that was replaced before and stays so."""

    def restore(self) -> None:
        pass


_patch, _patched = interpreter._patch_lang, set[tuple[str, ...]]()


def _patch_once(function: Any) -> Any:
    """Replace `triton.language` by what interprets it, once: Triton does so anew for every kernel and every function a kernel calls,
    which is a third of what interpretation takes."""
    known = tuple(sorted({value.__name__ for value in function.__globals__.values() if inspect.ismodule(value) and value in (tl, tl.core)}))
    if known not in _patched:
        _patch(function)
        _patched.add(known)
    return _Kept()


interpreter._patch_lang = _patch_once
