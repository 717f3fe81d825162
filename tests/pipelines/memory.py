"""The least a trainer can be given: rows in memory and a linear model."""

import torch
from torch import nn

from sparrow.types import Batch, RowSpan


class MemoryDataset:
    """Batches of x [rows, 3] and label [rows], with the position a trainer saves."""

    def __init__(self, x, label, batch_size=8):
        self.x, self.label, self.batch_size = x, label, batch_size
        self.epoch = self.row = 0

    @property
    def num_rows(self):
        return self.label.shape[0]

    def __iter__(self):
        while self.row < self.num_rows:
            begin, self.row = self.row, min(self.row + self.batch_size, self.num_rows)
            origin = (RowSpan("rows.orc", begin, self.row - begin),)
            yield Batch.of({"x": self.x[begin : self.row], "label": self.label[begin : self.row]}, origin=origin)
        self.epoch, self.row = self.epoch + 1, 0

    def state_dict(self):
        return {"epoch": self.epoch, "row": self.row}

    def load_state_dict(self, state):
        self.epoch, self.row = state["epoch"], state["row"]


class Linear(nn.Module):
    """Logits of a linear layer on x; remembers in which mode it ran."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.modes = []

    def forward(self, batch):
        self.modes.append(self.training)
        return self.layer(batch["x"]).squeeze(1)


def rows(num_rows=40, seed=0):
    """x and labels that x predicts in part."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, 3, generator=generator)
    label = (x.sum(1) + torch.randn(num_rows, generator=generator) > 0).float()
    return x, label


def linear(seed=0):
    """A model and its optimizer, the same first weights for one seed."""
    torch.manual_seed(seed)
    model = Linear()
    return model, torch.optim.Adam(model.parameters(), lr=0.1)
