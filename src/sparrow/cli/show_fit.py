"""What `sparrow data fit` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sparrow.features import Feature
from sparrow.features.explain import step_text
from sparrow.features.expression import Expression, in_order
from sparrow.features.transforms.numbers import Bucketize, MinMax, ZScore
from sparrow.features.transforms.vocabulary import Vocabulary


def print_fitted(fitted: Sequence[tuple[Feature, Feature]], out: Path) -> None:
    """Print what each feature learned, and where the features went."""
    console = Console()
    if not fitted:
        console.print("no feature learns from data", highlight=False)
    else:
        table = Table("feature", "column", "learned", show_edge=False, pad_edge=False)
        for before, after in fitted:
            for part in _learned(before, after):
                table.add_row(*map(escape, (after.name, ", ".join(part.columns()), _text(part.transform))))
        console.print(table, highlight=False)
    console.print(f"features: {escape(str(out))}; train on them with features={escape(str(out))}", highlight=False, soft_wrap=True)


def _learned(before: Feature, after: Feature) -> Iterator[Expression]:
    """Yield the parts of a feature that data gave."""
    if before.expression is not None and after.expression is not None:
        pairs = zip(in_order([before.expression]), in_order([after.expression]), strict=True)
        yield from (new for old, new in pairs if old.transform != new.transform)


def _text(transform: object) -> str:
    if isinstance(transform, Vocabulary):
        return (
            f"vocabulary of {len(transform.keys):,}: {', '.join(map(repr, transform.keys[:2]))}{', ...' if len(transform.keys) > 2 else ''}"
        )
    if isinstance(transform, Bucketize):
        return f"{len(transform.boundaries) + 1} buckets: {', '.join(f'{number:.6g}' for number in transform.boundaries)}"
    if isinstance(transform, ZScore):
        return f"mean {transform.mean:.6g}, standard deviation {transform.std:.6g}"
    if isinstance(transform, MinMax):
        return f"from {transform.low:.6g} to {transform.high:.6g}"
    return step_text(transform)
