"""Handwritten digits as a LightningDataModule, to try things on, and the base of data modules like it."""

from lipreg.data.digits import DigitsDataModule
from lipreg.data.in_memory import InMemoryDataModule

__all__ = ["DigitsDataModule", "InMemoryDataModule"]
