"""What is installed: versions, solvers, threads, devices."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform

_REQUIRED = ("lipreg", "torch", "numpy", "scipy", "highspy", "cvxpy", "scs", "clarabel", "pytorch-lightning")
_OPTIONAL = ("gurobipy", "pyscipopt", "onnx", "pandas", "rich", "matplotlib", "ray")


def version(options: argparse.Namespace) -> None:
    """Prints what is installed."""
    import torch

    print(f"python {platform.python_version()}")
    for name in (*_REQUIRED, *_OPTIONAL):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    print(f"threads: {torch.get_num_threads()} of {os.cpu_count()} cores")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"devices: {', '.join(['cpu', *devices])}")
