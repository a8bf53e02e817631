"""Two interleaved half circles with noise."""

import math

import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset


def half_circles(count: int, noise: float, seed: int) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=draw)
    angle = math.pi * torch.rand(count, generator=draw)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    x = torch.where(y.bool().unsqueeze(1), lower, upper)
    return TensorDataset(x + noise * torch.randn(x.shape, generator=draw), y)


class Moons(L.LightningDataModule):
    def __init__(self, train: int = 256, val: int = 128, noise: float = 0.12, batch_size: int = 32):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str | None = None) -> None:
        self.train_set = half_circles(self.hparams.train, self.hparams.noise, seed=0)
        self.val_set = half_circles(self.hparams.val, self.hparams.noise, seed=1)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_set, batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val_set, batch_size=self.hparams.batch_size)
