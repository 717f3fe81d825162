"""Columns on disk -> batches of tensors. `docs/data.md` is the page for users."""

from sparrow.io.dataset import Dataset as Dataset
