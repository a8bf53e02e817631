"""Programs that the tests fork end as those of an interpreter of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.forks import ForkServer

ENDS = {
    "print('done', end='')": 0,
    "import sys; print('some', end=''); sys.exit(3)": 3,
    "import sys; sys.exit('a sentence')": 1,
    "import atexit; atexit.register(print, 'at the end'); raise SystemExit": 0,
    "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('waited for'))).start()": 0,
    "raise ValueError('a fault')": 1,
    "import os, signal; os.kill(os.getpid(), signal.SIGTERM)": -15,
}


def test_status_and_words_are_those_of_a_fresh_interpreter(tmp_path: Path) -> None:
    server = ForkServer(())
    for number, (source, status) in enumerate(ENDS.items()):
        program = tmp_path / f"program_{number}.py"
        program.write_text(source, encoding="utf-8")
        command = [sys.executable, str(program)]
        forked = server.run(command, tmp_path, os.environ)
        fresh = subprocess.run(command, capture_output=True, text=True)
        assert forked.returncode == fresh.returncode == status, source
        assert forked.stdout == fresh.stdout, source
        assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:], source
    server.close()
