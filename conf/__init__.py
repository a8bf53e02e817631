"""The configuration groups, as a package: Hydra finds them with ``hydra.searchpath: [pkg://lipreg.conf]``."""
