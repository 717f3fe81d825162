"""One seed for everything a run draws."""

import torch


def seed_everything(seed: int) -> None:
    """Seed torch's generator. Call it before the model is built: dense first values follow it, table rows follow the engines' seeds."""
    torch.manual_seed(seed)
