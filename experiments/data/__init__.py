"""Data sets of the programs, as LightningDataModules: MNIST, CIFAR-10, diabetes for regression, and a synthetic one."""

from experiments.data.cifar import CIFAR10DataModule
from experiments.data.clusters import ClustersDataModule
from experiments.data.diabetes import DiabetesDataModule
from experiments.data.mnist import MNISTDataModule

__all__ = ["CIFAR10DataModule", "ClustersDataModule", "DiabetesDataModule", "MNISTDataModule"]
