"""What overlap_rows counts."""

# By their numbers in `columns`; op.py says what each is.
KINDS = ("count", "ratio", "jaccard", "contains", "equal", "any")
