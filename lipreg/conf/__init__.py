"""Configuration groups for any Hydra program: ``hydra.searchpath: [pkg://lipreg.conf]``. Their targets are all in lipreg."""
