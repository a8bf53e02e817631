"""The command line: which subcommand, how it ends, and the message when it cannot be done."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

from lipreg.command import flags
from lipreg.command.check import paths
from lipreg.ctrl_c import is_ctrl_c
from lipreg.words import capitalised

MISTAKE, DEFECT, INTERRUPTED = 1, 3, 130
"""Exit codes: what is wanted cannot be done, an error of another kind, or a Ctrl-C with nothing to keep.

0 is success, and 2 a command line that is none. A command that was stopped by a signal, and kept what it had, returns the
number of the signal added to 128.
"""

_EPILOG = """exit codes:
  0    done
  1    what was asked for cannot be done; one line says why, and what can be
  2    the command line cannot be read
  3    an error that nobody foresaw; --debug shows its traceback
  130  interrupted by Ctrl-C, 143 by SIGTERM: what is proved by then is printed and kept
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    Args:
        arguments: without the program's name; default those of this process.
    """
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        options.own.error(f"unrecognized arguments: {' '.join(unknown)}")
    if "" not in sys.path:
        sys.path.insert(0, "")  # networks of the working directory, as python -m has them
    try:
        module, _, name = options.run.rpartition(".")
        with warnings.catch_warnings():
            warnings.showwarning = _warned
            return getattr(importlib.import_module(module), name)(options) or 0
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if is_ctrl_c(error):
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        if options.debug:
            traceback.print_exc()
        return _report_error(error)


def parser() -> argparse.ArgumentParser:
    """The whole command line; what a command runs is named and not loaded, so that help does not wait for torch."""
    top = argparse.ArgumentParser(
        prog="lipreg",
        description="Certified local Lipschitz constants of a network that lies in a file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, about: str, *groups: object, module: str = "programs") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=f"{capitalised(about)}.")
        command.set_defaults(run=f"lipreg.command.{module}.{name}", own=command)
        for group in groups:
            group(command)  # type: ignore[operator]
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return command

    asking = flags.network, flags.data, flags.question
    keeping = flags.search, flags.records, flags.name
    add("audit", "the constant at each point, as a proved interval", *asking, flags.population, *keeping, flags.kept)
    add("bounds", "upper bounds without a search, beside each other", *asking, flags.estimators, flags.time_and_memory)
    add("radius", "how far each point can move before its class can change", *asking[:2], flags.radius)
    add(
        "compare",
        "how far bound and constant moved between two networks",
        *asking,
        flags.twin,
        flags.records,
    )
    add("report", "the page of all records below a folder", flags.report)
    add("check", "both ends of certificates, re-derived from their files", paths, module="check")
    add("version", "what is installed: versions, solvers, threads, devices", module="version")
    return top


def _warned(
    message: Warning | str,
    category: object,
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints a warning in one line: where in the code it was raised is of no use to whoever typed a command."""
    print(f"lipreg: {' '.join(str(message).split())}", file=file or sys.stderr)


def _report_error(error: Exception) -> int:
    """Prints in one line what went wrong, and returns the exit code."""
    from lipreg.auditing.executors import CannotStart
    from lipreg.errors import LipregError, UnsupportedModel

    text = " ".join(str(error).split())
    if isinstance(error, UnsupportedModel) and "lipreg.Select(" in text:
        text += " In a shell name a function that returns it, package.module:function, in place of the class."
    elif isinstance(error, UnsupportedModel) and "--module" not in text and "--shape" not in text:
        text += " A part of the network, its logits say, is asked for with --module NAME."
    print(f"{type(error).__name__}: {text}", file=sys.stderr)
    if isinstance(error, LipregError | CannotStart | OSError):  # what the system refuses, a full disk, is no defect
        return MISTAKE
    print("Run it again with --debug for the traceback.", file=sys.stderr)
    return DEFECT
