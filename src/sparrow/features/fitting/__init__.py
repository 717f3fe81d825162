"""Transforms whose parameters come from data: what is gathered in one pass, and what they become."""
