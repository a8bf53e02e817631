"""Data sets as LightningDataModules. Each loads its third parties when it is set up."""

from lipreg.data.clusters import ClustersDataModule
from lipreg.data.digits import DigitsDataModule
from lipreg.data.in_memory import InMemoryDataModule
from lipreg.data.mnist import MNISTDataModule

__all__ = ["ClustersDataModule", "DigitsDataModule", "InMemoryDataModule", "MNISTDataModule"]
