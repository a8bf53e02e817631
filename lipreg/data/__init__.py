"""Data sets as LightningDataModules. Each loads its third parties when it is set up."""

from lipreg.data.digits import DigitsDataModule

__all__ = ["DigitsDataModule"]
