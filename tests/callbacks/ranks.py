"""Training processes of one job, which find one another by the environment, as a cluster's launcher starts them."""

from __future__ import annotations

import os
import socket
import tempfile

from tests.conftest import ROOT
from tests.forks import Forked, ForkServer

LIMIT = 600.0
"""Seconds after which a job is given up."""


class Ranks:
    """``python -m module arguments``, once for each rank; one alone when ``count`` is 1."""

    def __init__(self, programs: ForkServer, module: str, *arguments: str, count: int = 2) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if count > 1:
            shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "WORLD_SIZE": str(count)}
        self._said = [tempfile.TemporaryFile("w+") for _ in range(count)]  # noqa: SIM115  (closed with the job)
        self.processes: list[Forked] = []
        for rank, said in enumerate(self._said):
            own = {**shared, "LOCAL_RANK": str(rank)} if count > 1 else shared
            command = ["python", "-m", module, *arguments]
            self.processes.append(programs.start(command, ROOT, own, (said, said)))

    def wait(self) -> list[int]:
        """The exit statuses."""
        try:
            return [process.wait(LIMIT) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def printed(self) -> str:
        """What all of them wrote."""
        whole = ""
        for said in self._said:
            said.seek(0)
            whole += said.read()
        return whole
