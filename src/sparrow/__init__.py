"""Sparrow: sparse rows for PyTorch. `import sparrow` needs torch and numpy only; rooms load with their first use."""

__version__ = "0.1.0"
