"""Write the lock files from the versions installed in the running environment.

`make lock` runs this inside `.venv`. It starts at the requirements declared in pyproject.toml, follows the metadata of the
installed distributions, and pins what it reaches, so that a package which merely happens to be installed stays out.
Markers are evaluated for every supported Python on Linux; an installed version that a requirement refuses is an error.
"""

from __future__ import annotations

import sys
import tomllib
from collections import deque
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
PROGRAMS = ("digits", "views")
"""The extras that the programs of a checkout need, and with them `make train`."""
RUNTIME_HEADER = """\
# Exact versions of all that lipreg and a checkout's programs need, for Python 3.11 to 3.13 on Linux, with or without a GPU.
# Written by `make lock` from the versions installed in .venv and the requirements in pyproject.toml; do not edit.
# Install torch first, held to these versions, then the rest as it is written (`make env` does both):
#   pip install -c requirements.lock torch=={torch}
#   pip install --no-deps -r requirements.lock
"""
DEV_HEADER = """\
# The tools for tests and checks (dependency group "dev"), on top of the runtime versions.
# Written by `make lock` like requirements.lock; do not edit.
-r requirements.lock
"""


def main() -> None:
    """Write requirements.lock and requirements-dev.lock at the root of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    runtime = closure([*project["project"]["dependencies"], *(text for name in PROGRAMS for text in extras[name])])
    dev = closure(project["dependency-groups"]["dev"])
    header = RUNTIME_HEADER.format(torch=runtime["torch"])
    write(ROOT / "requirements.lock", header, runtime)
    write(ROOT / "requirements-dev.lock", DEV_HEADER, {name: dev[name] for name in dev.keys() - runtime.keys()})


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """Return the installed version of everything that `requirements` reach, by canonical name.

    Raises:
        SystemExit: A requirement is not installed, or installed in a version that it refuses.
    """
    pins: dict[str, str] = {}
    queue = deque((Requirement(text), "pyproject.toml", "") for text in requirements)
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement, wanted_by, extra = queue.popleft()
        if not applies(requirement, extra):
            continue
        name = canonicalize_name(requirement.name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"lock: {name} is not installed; {wanted_by} needs '{requirement}'") from None
        version = Version(distribution.version)
        if not requirement.specifier.contains(version, prereleases=True):
            raise SystemExit(f"lock: {name} {version} is installed, but {wanted_by} needs '{requirement}'")
        pins[name] = version.public  # torch 2.13.0, whichever build (+cpu, +cu130) is installed here
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                queue.extend((Requirement(text), name, wanted) for text in distribution.requires or ())
    return pins


def applies(requirement: Requirement, extra: str) -> bool:
    """Return whether a requirement, met while following `extra`, holds on any supported Python on Linux."""
    if requirement.marker is None:
        return not extra
    machine = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "extra": extra}
    environments = (
        {**default_environment(), **machine, "python_version": v, "python_full_version": f"{v}.0"} for v in PYTHONS
    )
    return any(requirement.marker.evaluate(environment) for environment in environments)


def write(path: Path, header: str, pins: dict[str, str]) -> None:
    """Write one lock file and say so."""
    path.write_text(header + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)), encoding="utf-8")
    print(f"{path.name}: {len(pins)} packages", file=sys.stderr)


if __name__ == "__main__":
    main()
