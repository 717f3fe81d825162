"""Columns on disk -> batches of tensors. `docs/io.md` is the page for users."""

from sparrow.io.dataset import Dataset as Dataset
