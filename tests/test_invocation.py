"""What was run: commands without secrets, and the commit of the program's repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lipreg.invocation import Commit, command, commit, without_secrets
from lipreg.records import RunRecord


@pytest.mark.parametrize(
    "typed, kept",
    [
        ("--token abc", "--token ***"),
        ("--token=abc", "--token=***"),
        ("+wandb.api_key=abc", "+wandb.api_key=***"),
        ("HF_TOKEN=abc", "HF_TOKEN=***"),
        ("logger={api_key:abc,offline:true}", "logger={api_key:***,offline:true}"),
        ("https://me:word@host/x", "https://***@host/x"),
        ("--verbose seed=3 keyword=7 tokens=9 monkey=1", "--verbose seed=3 keyword=7 tokens=9 monkey=1"),
        ("--key-size 3", "--key-size 3"),
        ("--password --seed 3", "--password --seed 3"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(typed: str, kept: str) -> None:
    assert without_secrets(typed.split(" ")) == kept.split(" ")


def test_a_command_reads_as_it_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["here/train.py", "--lr", "0.1", "--name", "two words"])
    monkeypatch.setenv("SOME_SECRET", "abc")
    assert command() == "python here/train.py --lr 0.1 --name 'two words'"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/lipreg", "audit", "net.onnx"])
    assert command() == "lipreg audit net.onnx"
    monkeypatch.setattr(sys, "argv", ["-c", "x"])
    assert command() == ""


def test_the_commit_is_that_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mine" / "train.py"
    program.parent.mkdir()
    program.write_text("")
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    other = tmp_path / "nothing" / "train.py"
    other.parent.mkdir()
    other.write_text("")

    def git(*words: str) -> str:
        own = ["-c", "user.name=n", "-c", "user.email=e", "-C", str(program.parent)]
        return subprocess.run(["git", *own, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert commit() == Commit(git("rev-parse", "HEAD"), False)
    assert RunRecord("run").invoked().commit == git("rev-parse", "HEAD")
    from lipreg import invocation

    program.write_text("# changed")
    invocation._commit.cache_clear()
    assert commit().changed is True
    monkeypatch.setattr(sys, "argv", [str(other)])
    assert commit() == Commit("", None)
