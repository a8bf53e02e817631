"""Where a command is to write: checked before it works, not when it is done."""

from __future__ import annotations

from pathlib import Path

from lipreg.errors import InvalidInput


def check_writable(**paths: str | None) -> None:
    """Opens each file as it will be opened, and leaves it as it is; one that was not there is not left behind.

    Args:
        paths: by the flag that names them; None for a flag that was not set.

    Raises:
        InvalidInput: a folder, a place that cannot be written, or one file for two things.
    """
    named = {flag: Path(path) for flag, path in paths.items() if path is not None}
    for flag, path in named.items():
        where, twice = f"--{flag}", [other for other in named if named[other].resolve() == path.resolve()]
        if len(twice) > 1:
            raise InvalidInput(
                f"{path} is that of --{' and --'.join(twice)}", where=where, accepted="a file of its own"
            )
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder", where=where, accepted="a file, whose folder is made")
        new = not path.exists()
        if flag == "records" and not new and not path.is_file():
            accepted = "a file, which is read too, so that an audit goes on from it"
            raise InvalidInput(f"{path} is no file", where=where, accepted=accepted)
        if not new and not path.is_file():  # a pipe or a terminal, whose opening may wait for whoever reads
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
            if new:
                path.unlink()
        except OSError as error:
            got = f"cannot write {path}: {error.strerror or error}"
            raise InvalidInput(got, where=where, accepted="a file in a folder that can be written") from None
