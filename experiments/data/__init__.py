"""Data sets of the programs, as LightningDataModules: MNIST, and a synthetic one of any input dimension."""

from experiments.data.clusters import ClustersDataModule
from experiments.data.mnist import MNISTDataModule

__all__ = ["ClustersDataModule", "MNISTDataModule"]
