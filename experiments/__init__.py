"""The programs that train, audit and report; the only ones that know Hydra."""
