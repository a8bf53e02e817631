"""The study of penalties by exact constants: its parts, terms, choices and rows, and that it goes on from what is there."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.optimize import linprog
from torch import Tensor, nn

from experiments.exact_study import __main__ as program
from experiments.exact_study import rows as rows_module
from experiments.exact_study.choosing import Choosing, runs
from experiments.exact_study.designs import DIGITS, MIXED, PENALTIES, TWIN
from experiments.exact_study.parts import Parts
from experiments.exact_study.parts import parts as parts_of
from experiments.exact_study.questions import QUESTIONS
from experiments.exact_study.rows import Job, audited, bits, do, flags
from experiments.exact_study.small_boxes import SMALL, SmallBoxes
from experiments.exact_study.terms import OWN_BOUNDS, term
from experiments.exact_study.training import BATCH, train
from experiments.exact_study.witnesses import AUDITED, EVERY, AtWitnesses
from experiments.result_file import ResultFile
from lipreg import LipschitzPenalty
from lipreg.errors import InvalidInput
from tests.experiments.test_train import composed_as

LINF = QUESTIONS["linf"]
LADDER, POINTS, SEEDS, network = DIGITS.ladder, DIGITS.points, DIGITS.rule.seeds, DIGITS.network


def parts(seed: int) -> Parts:
    return parts_of(seed, DIGITS)


def key(x: Tensor) -> set[bytes]:
    return {each.numpy().tobytes() for each in x}


# ---------------------------------------------------------------- parts


def test_no_image_is_in_two_parts_and_held_out_parts_are_the_same_for_all_seeds() -> None:
    apart = key(parts(0).calibration[0]), key(parts(0).audit[0])
    for seed in (0, 1, *SEEDS):
        own = parts(seed)
        assert [len(part[0]) for part in (own.training, own.selection)] == [DIGITS.training, DIGITS.selection]
        found = [key(part[0]) for part in (own.training, own.selection, own.calibration, own.audit)]
        assert (found[2], found[3]) == apart
        for i, one in enumerate(found):
            assert not any(one & other for other in found[i + 1 :])
    assert not torch.equal(parts(0).training[0], parts(1).training[0])
    assert len(parts(0).calibration[0]) == DIGITS.calibration


def test_no_audited_point_belongs_to_two_seeds() -> None:
    x = parts(0).audit[0]
    found = [key(x[parts(seed).place]) for seed in range(5)]
    assert [len(each) for each in found] == [POINTS] * 5
    assert len(set.union(*found)) == 5 * POINTS


# ---------------------------------------------------------------- training, by a loop of its own


def by_hand(penalty: str, weight: float, rate: float, epochs: int) -> list[Tensor]:
    """The same training in plain torch, the absolute chain and the Jacobian's norm written out."""
    net = network(0)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    x, y = parts(0).training
    optimizer, order = torch.optim.Adam(net.parameters(), lr=rate), torch.Generator().manual_seed(0)
    step, steps = 0, epochs * math.ceil(len(x) / BATCH)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps)
            step += 1
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            low, high = (x[batch] - 0.05).clamp(min=0), (x[batch] + 0.05).clamp(max=1)
            room, on = (high > low).float(), []
            for layer in layers[:2]:
                if penalty == "jacobian":
                    low = high = low if layer is not layers[0] else x[batch]
                middle, reach = layer((low + high) / 2), (high - low) / 2 @ layer.weight.abs().T
                on.append((middle + reach > 0).float().unsqueeze(1))
                low, high = (middle - reach).relu(), (middle + reach).relu()
            rows = layers[2].weight[y[batch]].unsqueeze(1) - layers[2].weight.unsqueeze(0)
            first, second = layers[0].weight, layers[1].weight
            if penalty == "abs_chain":
                rows, first, second = rows.abs(), first.abs(), second.abs()
            if penalty != TWIN:
                slope = ((rows * on[1]) @ second * on[0]) @ first
                loss = loss + weight * (slope.abs() * room.unsqueeze(1)).sum(2).amax(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [parameter.detach() for parameter in net.parameters()]


@pytest.mark.parametrize("penalty", [TWIN, "abs_chain", "jacobian"])
def test_a_training_is_that_of_a_plain_loop(penalty: str) -> None:
    before = torch.get_rng_state()
    net = train(penalty, 0.01, 0, 0.03, 1, parts(0).training, LINF)
    assert torch.equal(torch.get_rng_state(), before)
    for mine, other in zip(net.parameters(), by_hand(penalty, 0.01, 0.03, 1), strict=True):
        torch.testing.assert_close(mine.detach(), other, rtol=1e-3, atol=1e-4)


def test_early_stopping_divides_the_epochs() -> None:
    data = parts(0).training
    stopped, short = train("early_stopping", 3.0, 0, 0.03, 3, data, LINF), train(TWIN, 0.0, 0, 0.03, 1, data, LINF)
    assert all(torch.equal(a, b) for a, b in zip(stopped.parameters(), short.parameters(), strict=True))


# ---------------------------------------------------------------- audits, by enumeration


def enumerated(net: nn.Module, x: np.ndarray, y: int, radius: float) -> float:
    """The constant as the largest over all linear pieces that have an interior, each found by a linear program."""
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    weights = [(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in linear]
    low, high = np.maximum(x - radius, 0), np.minimum(x + radius, 1)
    best = 0.0

    def inside(rows: list[np.ndarray], ends: list[float]) -> bool:
        if not rows:
            return True
        sides = np.hstack([np.array(rows), np.linalg.norm(rows, axis=1)[:, None]])
        found = linprog(
            np.r_[np.zeros(64), -1.0], A_ub=sides, b_ub=ends, bounds=[*zip(low, high, strict=True), (None, 1)]
        )
        return found.status == 0 and -found.fun > 1e-10

    def descend(
        layer: int, unit: int, slope: np.ndarray, shift: np.ndarray, on: list[int], rows: Any, ends: Any
    ) -> None:
        nonlocal best
        if layer == 2:
            gradients = (weights[2][0][y] - weights[2][0]) @ slope
            best = max(best, np.abs(gradients[:, high > low]).sum(1).max())
            return
        if unit == len(slope):
            kept = np.array(on, dtype=float)
            matrix, bias = weights[layer + 1]
            following = (matrix * kept) @ slope, (matrix * kept) @ shift + bias
            if layer == 1:
                following = kept[:, None] * slope, shift
            descend(layer + 1, 0, *following, [], rows, ends)
            return
        row, off = slope[unit], float(shift[unit])
        middle, reach = row @ (low + high) / 2 + off, np.abs(row) @ (high - low) / 2
        for phase, possible in ((1, middle + reach > 0), (0, middle - reach < 0)):
            sign = -1 if phase else 1
            open_unit = abs(middle) < reach
            more = ([*rows, sign * row], [*ends, -sign * off]) if open_unit else (rows, ends)
            if possible and (not open_unit or inside(*more)):
                descend(layer, unit + 1, slope, shift, [*on, phase], *more)

    descend(0, 0, *weights[0], [], [], [])
    return best


def test_audits_have_the_constants_of_an_enumeration_and_closed_forms_lie_above() -> None:
    net = train("abs_chain", 0.003, 0, 0.03, 12, parts(0).training, LINF)
    x, y = (part[:POINTS] for part in parts(0).audit)
    ahead = rows_module._margins(net, x, y)
    row = audited(net, LINF, rows_module.bounds_of(TWIN), 0.05, (x, y), ahead, slice(0, POINTS))
    for i in range(2):
        truth = enumerated(net, x[i].double().numpy(), int(y[i]), 0.05)
        low, high = row["exact"][i]
        assert low <= truth * (1 + 1e-9)
        assert truth <= high * (1 + 1e-9)
    assert row["status"] == ["proved"] * POINTS
    for name, bounds in row["bounds"].items():
        assert all(low <= bound for (low, _), bound in zip(row["exact"], bounds, strict=True)), name
        told = [bound * 0.05 < margin for bound, margin in zip(bounds, ahead.tolist(), strict=True)]
        assert flags(row["certified"][name], POINTS).tolist() == told


def test_bits_are_read_back() -> None:
    told = torch.rand(97, generator=torch.Generator().manual_seed(0)) > 0.3
    assert flags(bits(told), 97).tolist() == told.tolist()


def test_a_row_is_plain_and_finds_its_job_again(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(LINF, design=replace(DIGITS, points=2))
    monkeypatch.setitem(QUESTIONS, "linf", few)
    job = Job("linf", "run", "fastlip", 0.01, 1, 0.03, 8)
    row = json.loads(json.dumps(do(job), allow_nan=False))
    assert Job.of(row) == job
    assert row["accuracy"] == pytest.approx(flags(row["selection"], DIGITS.selection).mean())
    assert set(row["audits"]) == {"0.05", "0.15"}
    assert set(row["audits"]["0.05"]["bounds"]) == {"jacobian_crown", "fastlip"}
    small, large = row["audits"]["0.05"]["exact"], row["audits"]["0.15"]["exact"]
    assert all(one[0] <= other[1] for one, other in zip(small, large, strict=True))


# ---------------------------------------------------------------- terms


@pytest.mark.parametrize("question", list(QUESTIONS))
@pytest.mark.parametrize("penalty", [name for name in (*PENALTIES, *MIXED) if name != "early_stopping"])
def test_every_term_has_a_gradient_in_both_questions(penalty: str, question: str) -> None:
    net = network(0)
    x, y = (part[:32] for part in parts(0).training)
    added = term(penalty, 0.05, net, QUESTIONS[question], 0)
    assert added is not None
    value = added(x, y)
    value.backward()
    assert value.dim() == 0
    assert sum(float(p.grad.abs().sum()) for p in net.parameters() if p.grad is not None) > 0
    assert set(OWN_BOUNDS) <= {*PENALTIES, *MIXED}


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_the_loss_of_small_boxes_is_above_that_of_points_in_them(p: float) -> None:
    net, radius = network(3), 0.3
    x, y = (part[:16] for part in parts(0).training)
    boxes, size = SmallBoxes(net, radius, p, 0), SMALL * radius
    worst = boxes._worst(x, y)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        step = (2 * torch.rand(x.shape, generator=generator) - 1) * (size if p == math.inf else size / 8)
        outputs = net((x + step).clamp(0, 1))
        ahead = outputs - outputs.gather(1, y.unsqueeze(1))
        assert (ahead <= worst[:, 1:].masked_fill(nn.functional.one_hot(y, 10).bool(), math.inf) + 1e-5).all()
    moved = boxes._attacked(x, y)
    assert float(torch.linalg.vector_norm(moved - x, ord=p, dim=1).max()) <= (1 - SMALL) * radius + 1e-6
    assert nn.functional.cross_entropy(net(moved), y) > nn.functional.cross_entropy(net(x), y)


def test_the_loop_penalises_the_constants_that_the_engine_finds() -> None:
    net = train(TWIN, 0.0, 0, 0.03, 10, parts(0).training, LINF)
    x, y = (part[:AUDITED] for part in parts(0).training)
    penalty = LipschitzPenalty(net, LINF.problem(0.05), quantity="jacobian", weight=1.0)
    added = AtWitnesses(penalty, net, LINF.problem(0.05))
    with torch.no_grad():
        *before, after = [float(added(x, y)) for _ in range(EVERY + 1)]
    assert len(set(before)) == 1
    row = audited(net, LINF, (), 0.05, (x, y), x.new_zeros(AUDITED).double(), slice(0, AUDITED))
    assert after == pytest.approx(np.mean([low for low, _ in row["exact"]]), rel=1e-3)
    assert after > 1.1 * before[0]


# ---------------------------------------------------------------- choices


class Planted:
    """Accuracy falls by two points a decade of strength beyond ``limit``; 0.01 at 160 epochs is the best by a point."""

    def __init__(self, limit: float) -> None:
        self.limit, self.asked = limit, []

    def __call__(self, job: Job) -> dict[str, Any]:
        assert job not in self.asked
        assert job.stage == "choice"
        self.asked.append(job)
        lost = 0.02 * max(0.0, math.log10(job.strength / self.limit)) if job.strength else 0.0
        tuned = {(0.01, 160): 0.01, (0.03, 320): 0.009, (0.03, 160): 0.005}.get((job.rate, job.epochs), 0.0)
        return {"accuracy": 0.95 - lost + tuned}


class Remembering:
    def __init__(self, do: Any) -> None:
        self.do, self.rows = do, {}

    def __call__(self, job: Job) -> dict[str, Any]:
        if job not in self.rows:
            self.rows[job] = self.do(job)
        return self.rows[job]


@pytest.mark.parametrize("limit", [0.003, 1e-7])
def test_a_penalty_is_tuned_and_its_strengths_end_where_a_point_is_lost(limit: float) -> None:
    choosing = Choosing("linf", Remembering(Planted(limit)))
    found, twin = choosing.of("fastlip"), choosing.twin()
    assert (found.rate, found.epochs) == (twin.rate, twin.epochs) == (0.01, 160)
    lost = limit * math.sqrt(10)  # where a point is lost
    assert lost / math.sqrt(3) * 0.9 < found.limit <= lost * 1.05
    assert found.strengths(LADDER) == pytest.approx([found.limit * step for step in LADDER], rel=0.06)
    assert all(job.seed in SEEDS for job in choosing.need.rows)  # type: ignore[attr-defined]


def test_runs_are_seed_by_seed_with_the_twin_first() -> None:
    choosing = Choosing("linf", Remembering(Planted(0.003)))
    choices = {name: choosing.of(name) for name in ("jacobian", "witnesses", "early_stopping")}
    assert choices["witnesses"] == choices["jacobian"]
    found = runs("linf", choices, choosing.twin(), [0, 1])
    assert len(set(found)) == len(found) == 2 * (1 + 3 * len(LADDER))
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    assert [job.penalty for job in found if job.penalty == TWIN] == [found[0].penalty, found[16].penalty]


# ---------------------------------------------------------------- the course


def test_the_course_goes_on_from_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted, done = Planted(0.003), []

    def pretended(job: Job) -> dict[str, Any]:
        if len(done) == 70:
            raise KeyboardInterrupt
        done.append(job)
        return {**vars(job), "accuracy": planted(job)["accuracy"] if job.stage == "choice" else 0.9, "last": True}

    monkeypatch.setattr(program, "do", pretended)
    path, console = tmp_path / "rows.jsonl", Console(quiet=True)
    cfg = composed_as("exact_study", f"results.digits={path}", "groups=[[fastlip],[jacobian]]", "seeds=[0,1]")
    with pytest.raises(KeyboardInterrupt):
        program.Course(ResultFile(path, program.asked_by("digits")), console).go(["linf"], cfg.groups, cfg.seeds)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"question":"linf","sta')  # what a kill leaves
    monkeypatch.setattr(program, "do", lambda job: pretended(job))
    interrupted, done[:] = list(done), []
    program.Course(ResultFile(path, program.asked_by("digits")), console).go(["linf"], cfg.groups, cfg.seeds)
    assert not set(interrupted) & set(done)
    rows = ResultFile(path).rows
    assert len(rows) == len({Job.of(row) for row in rows}) == len(interrupted) + len(done)
    assert sum(row["stage"] == "run" for row in rows) == 2 * (1 + 2 * len(LADDER))
    done.clear()
    program.Course(ResultFile(path, program.asked_by("digits")), console).go(["linf"], cfg.groups, cfg.seeds)
    assert not done


def test_what_there_is_not_is_refused() -> None:
    program.check(composed_as("exact_study"))
    with pytest.raises(InvalidInput, match="penalty 'dropout'"):
        program.check(composed_as("exact_study", "groups=[[dropout]]"))
    with pytest.raises(InvalidInput, match="question 'l1'"):
        program.check(composed_as("exact_study", "questions=[l1]"))
