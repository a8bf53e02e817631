"""The study's questions of MNIST: their parts, networks and rows, and which penalties and seeds their designs have."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from experiments.exact_study import __main__ as program
from experiments.exact_study import rows as rows_module
from experiments.exact_study.choosing import Choosing, short
from experiments.exact_study.designs import MNIST, MNIST_CONV, PENALTIES, TWIN, Design
from experiments.exact_study.parts import Parts, parts
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.rows import Job, do, flags
from experiments.exact_study.tables import state
from experiments.exact_study.terms import term
from experiments.exact_study.views import RESULTS
from experiments.result_file import ResultFile
from tests.experiments.test_exact_study import Planted, key

FOLDER = Path(os.environ["LIPREG_DATA"]) / "mnist"
SHAPED = {"mnist": (MNIST, 784 * 32 + 32 * 32 + 320 + 74), "mnist_conv": (MNIST_CONV, 68 + 296 + 730)}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="MNIST is not here")
def test_no_image_of_mnist_is_in_two_parts_and_no_audited_point_belongs_to_two_seeds() -> None:
    found = [parts(seed, MNIST) for seed in (0, 1)]
    for own in found:
        each = [key(part[0]) for part in (own.training, own.selection, own.calibration, own.audit)]
        assert [len(one) for one in each] == [MNIST.training, MNIST.selection, MNIST.calibration, MNIST.points]
        assert all(not one & other for i, one in enumerate(each) for other in each[i + 1 :])
        assert own.place == slice(0, MNIST.points)
        assert 0 <= float(own.training[0].min()) < float(own.training[0].max()) == 1
    assert key(found[0].calibration[0]) == key(found[1].calibration[0])
    assert not key(found[0].audit[0]) & key(found[1].audit[0])


@pytest.mark.parametrize("question", list(SHAPED))
def test_networks_are_those_of_the_design_and_every_term_has_a_gradient(question: str) -> None:
    design, count = SHAPED[question]
    state = torch.get_rng_state()
    net, again = design.network(3), design.network(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    x, y = torch.rand(4, *design.shape, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    assert net(x).shape == (4, 10)
    assert set(design.penalties) < set(PENALTIES)
    for name in design.penalties:
        net.zero_grad()
        added = term(name, 0.05, net, QUESTIONS[question], 0)
        if added is not None:
            added(x, y).backward()
            assert sum(float(p.grad.abs().sum()) for p in net.parameters() if p.grad is not None) > 0, name


def drawn(seed: int, design: Design) -> Parts:
    """Blobs of brightness at one of ten places, in place of images."""
    generator = torch.Generator().manual_seed(seed)

    def images(count: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(10, (count,), generator=generator)
        x = 0.3 * torch.rand(count, 28, 28, generator=generator)
        for row, digit in zip(x, y.tolist(), strict=True):
            row[2 + 4 * (digit // 2) : 8 + 4 * (digit // 2), 4 + 12 * (digit % 2) : 12 + 12 * (digit % 2)] += 0.6
        return x.reshape(count, *design.shape), y

    sizes = (design.training, design.selection, design.calibration, design.audit)
    return Parts(*(images(count) for count in sizes), slice(0, design.points))  # type: ignore[arg-type]


def test_a_row_of_the_convolutional_network_has_intervals_that_hold_what_samples_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = replace(MNIST_CONV, training=64, selection=40, calibration=40, audit=2, points=2, seconds=1.5)
    asked = replace(QUESTIONS["mnist_conv"], design=few)
    made: list[nn.Module] = []

    def keeping(*given: Any) -> nn.Module:
        made.append(train(*given))
        return made[-1]

    train = rows_module.train
    monkeypatch.setitem(QUESTIONS, "mnist_conv", asked)
    monkeypatch.setattr(rows_module, "parts", drawn)
    monkeypatch.setattr(rows_module, "train", keeping)
    job = Job("mnist_conv", "run", "jacobian", 0.01, 0, 0.03, 2)
    row = json.loads(json.dumps(do(job), allow_nan=False))
    assert Job.of(row) == job
    assert len(row["margins"]) == 2 and flags(row["held"], few.held).shape == (42,)
    assert set(row["audits"]) == {"0.02", "0.08"}
    x, y = drawn(0, few).audit
    net, generator = made[0].double(), torch.Generator().manual_seed(1)
    for radius, audit in row["audits"].items():
        assert set(audit["bounds"]) == {"jacobian_crown", "affine_relu"}
        for i, (low, high) in enumerate(audit["exact"]):
            found = 0.0
            for _ in range(30):
                step = float(radius) * (2 * torch.rand(x[i].shape, generator=generator, dtype=torch.float64) - 1)
                at = (x[i].double() + step).clamp(0, 1)
                jacobian = torch.autograd.functional.jacobian(lambda z: net(z[None])[0], at).flatten(1)
                found = max(found, float((jacobian[y[i]] - jacobian).abs().sum(1).max()))
            upper = min(audit["bounds"]["jacobian_crown"][i], high or float("inf"))
            assert 0 < low <= upper and found <= upper * (1 + 1e-9)


def test_a_question_has_the_penalties_the_seeds_and_the_file_of_its_design(tmp_path: Path) -> None:
    planted, done = Planted(0.003), []

    def pretended(job: Job) -> dict[str, Any]:
        done.append(job)
        return {**vars(job), "accuracy": planted(job)["accuracy"] if job.stage == "choice" else 0.9, "last": True}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(program, "do", pretended)
        course = program.Course(ResultFile(tmp_path / "rows.jsonl", program.asked_by("mnist")), Console(quiet=True))
        course.go(["mnist_conv"], [["fastlip", "spectral"], ["witnesses"]], range(5))
    trained = [(job.penalty, job.seed) for job in done if job.stage == "run"]
    assert set(trained) == {(name, seed) for name in (TWIN, "fastlip") for seed in (0, 1)}
    assert len(trained) == 2 * (1 + len(MNIST_CONV.ladder))
    assert {(job.question, job.seed) for job in done if job.stage == "choice"} == {("mnist", 100), ("mnist", 101)}
    limit = Choosing("mnist", lambda job: course.rows[job]).of("fastlip").limit
    strengths = {job.strength for job in done if job.stage == "run"} - {0.0}
    assert strengths == {short(limit * step) for step in MNIST_CONV.ladder}
    assert {(job.rate, job.epochs) for job in done if job.stage == "run"} == {(0.03, 20)}
    assert state([], "mnist_conv", []).startswith("0 of 26 runs are done")


def test_committed_rows_are_of_today_s_designs() -> None:
    for data, path in zip(("digits", "mnist"), RESULTS, strict=True):
        file = ResultFile(path, program.asked_by(data))
        assert {QUESTIONS[row["question"]].design.data for row in file.rows} == {data}
        for row in file.rows:
            design = QUESTIONS[row["question"]].design
            assert row["penalty"] in (TWIN, *design.penalties, *design.searched)
        assert len({Job.of(row) for row in file.rows}) == len(file.rows)
