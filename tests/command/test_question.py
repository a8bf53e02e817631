"""Questions in files: what they hold, what they are composed of, and how mistakes are said."""

from __future__ import annotations

import errno
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import lipreg
from lipreg.command.main import MISTAKE, main
from lipreg.command.points import reference_points
from lipreg.command.question_file import read_question
from lipreg.errors import InvalidInput
from lipreg.records import PopulationRecord, read_records
from tests.command.test_command import ASKED, NETWORK, Points
from tests.command.test_command import files as files


def test_a_question_in_a_file_is_that_of_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    group = Path(lipreg.__file__).parent / "conf" / "problem" / "linf_margins.yaml"
    assert read_question(group) == lipreg.LocalLipschitz(lipreg.LinfBall(0.05, low=0.0, high=1.0))
    assert main(["bounds", *NETWORK, "--question", str(group)]) == 0
    in_file = capsys.readouterr().out
    assert main(["bounds", *ASKED, "--low", "0", "--high", "1"]) == 0
    assert capsys.readouterr().out == in_file
    for text, said in (
        ("_target_: os.system\ncommand: id\n", r"classes of lipreg: lipreg.LinfBall, \.\.\.$"),
        ("defaults: [linf_margins]\nregion: {_target_: lipreg.UnitCube}\n", r"UnitCube\(\)\. Keys of a default stay"),
        ("_target_: lipreg.LinfBall\nradius: 0.1\n", "holds no question"),
        ("_target_: lipreg.LocalLipschitz\nregions: 1\n", "unexpected keyword"),
        ("defaults: [linf_margin]\n", "did you mean 'linf_margins'"),
        ("defaults: [q]\n", "a default of itself"),
        ("defaults: [{audit: exact}]\n", "among the defaults"),
        ("- 1\n", "holds no question"),
        ("defaults: [linf_margins]\nscope: ${scope}\n", "resolves references"),
        ("a: [", "cannot read"),
    ):
        Path("q.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInput, match=said):
            read_question("q.yaml")


def test_a_question_is_composed_of_its_defaults_as_hydra_does(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("defaults: [linf_margins_pointed]\nregion: {radius: 0.25}\noutput: {_target_: lipreg.AllLogits}\n")
    (tmp_path / "over.yaml").write_text("defaults: [own, _self_]\nregion: {high: null}\n")
    (tmp_path / "under.yaml").write_text("defaults: [_self_, own]\nregion: {radius: 1.0}\n")
    (tmp_path / "whole.yaml").write_text("defaults: [{problem: own}]\nproblem: {scope: regional}\nseed: 1\n")
    shutil.copytree(Path(lipreg.__file__).parent / "conf" / "problem", tmp_path / "problem")
    for name in ("linf_margins", "linf_margins_pointed"):
        shutil.copy(tmp_path / "problem" / f"{name}.yaml", tmp_path)
    shutil.copy(own, tmp_path / "problem")
    for name in ("own", "over", "under", "whole"):
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            cfg = compose(name)
        assert read_question(tmp_path / f"{name}.yaml") == instantiate(cfg.get("problem", cfg))
    assert read_question("l2_margins") == lipreg.LocalLipschitz(lipreg.L2Ball(0.5, low=0.0, high=1.0))


def test_what_a_shell_can_do_about_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("d.npy", np.random.default_rng(0).random((2, 4), dtype=np.float32))
    asked = ["bounds", "tests.loading.test_networks:Net", "--data", "d.npy", "--radius", "0.05"]
    assert main([*asked, "--module", "body"]) == MISTAKE
    assert "a column of a .csv (--labels NAME), or --output vector" in capsys.readouterr().err
    assert main(["audit", *asked[1:], "--output", "vector", "--records", "/dev/null"]) == MISTAKE
    assert "/dev/null is no file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--nodes", "3"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "usage: lipreg bounds" in said and "unrecognized arguments: --nodes 3" in said

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Full())
        assert main([*asked, "--module", "body", "--output", "vector"]) == MISTAKE
    assert "No space left on device" in capsys.readouterr().err


def test_of_a_data_module_all_validation_data_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    module = "tests.command.test_command:Points"
    asked = ["audit", NETWORK[0], "--weights", "w.pt", "--module", "body", "--data", module, "--radius", "0.05"]
    assert main([*asked, "--until", "2", "--estimators", "affine_relu", "--records", "r.jsonl"]) == 0
    printed = capsys.readouterr().out
    (drawn,) = (r for r in read_records("r.jsonl") if isinstance(r, PopulationRecord))
    x, y = Points().val_dataloader().dataset.tensors  # type: ignore[attr-defined]
    assert f"2 of the {len(x)} points of the data set were drawn at random" in printed and drawn.size == len(x)
    for held, own in zip(reference_points(Points(), None, whole=True), (x, y), strict=True):
        assert held is not None and torch.equal(held, own)  # in the order of the data, which indices are of
    assert main([*asked, "--until", "2", "--estimators", "affine_relu", "--above", "0.25", "--together"]) == 0
    printed = capsys.readouterr().out
    assert "of the points have a constant above 0.25" in printed and "hold all together with a confidence" in printed
    for flag in (["--above", "1"], ["--together"], ["--confidence", "0.9"]):
        assert main([*asked, "--points", "2", *flag]) == MISTAKE
        assert f"{flag[0]} without --until" in capsys.readouterr().err
    assert main([*asked, "--until", "2", "--points", "2"]) == MISTAKE
    assert "--points beside --until" in capsys.readouterr().err
