"""Reference points in records: exact, small, told once a run, with the classes there, and left out on request."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lipreg
from lipreg import LinfBall, LocalLipschitz
from lipreg.errors import InvalidInput
from lipreg.outputs import Logit
from lipreg.records import COMBINED, AuditRecord, PointRecord, from_line, read_records, to_line
from lipreg.runs import recorded_runs


def points(count: int = 3, size: int = 4) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small network, points and labels, some of them wrong."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(size, 8), nn.ReLU(), nn.Linear(8, 3))
    return net, torch.rand(count, size), torch.arange(count) % 3


@pytest.mark.parametrize("shape", [(5,), (1, 4, 4), (3, 2, 2)])
def test_a_point_comes_back_bit_by_bit(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape) * 1e-3
    record = PointRecord.of(x, "run", "id", 2)
    back = from_line(to_line(record))
    assert back == record and isinstance(back, PointRecord)
    assert back.x.tobytes() == x.tobytes() and back.x.shape == shape


@pytest.mark.parametrize(
    "change",
    [
        {"packed": "!!"},
        {"packed": "AAAA"},
        {"shape": [5]},
        {"shape": [-1, -4]},
        {"shape": [2]},
        {"reference": "0" * 16},
        {"shape": [10**12]},
    ],
)
def test_a_damaged_point_is_refused(change: dict[str, object]) -> None:
    data = json.loads(to_line(PointRecord.of(np.arange(4.0), "run", "id", 0))) | change
    with pytest.raises(InvalidInput, match="point"):
        from_line(json.dumps(data))


def test_what_a_point_takes_of_a_file() -> None:
    """The sizes that the docs name: an image of bytes takes less than its own witness, which is text."""
    rng = np.random.default_rng(0)
    digit = np.zeros((28, 28))
    digit[6:22, 6:22] = rng.integers(0, 256, (16, 16)) / 255
    photo = rng.integers(0, 256, (3, 32, 32)) / 255
    sizes = [len(to_line(PointRecord.of(x, "run", "0" * 32, 0))) for x in (digit, photo)]
    assert sizes[0] < 3_000 and sizes[1] < 24_000
    assert sizes[1] < len(json.dumps(photo.ravel().tolist()))


def test_audits_keep_their_points_and_the_classes_there(tmp_path: Path) -> None:
    net, x, y = points()
    path = tmp_path / "records.jsonl"
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.2)), x, y, budget=20, records=path)
    (run,) = recorded_runs(read_records(path))
    assert run.points == tuple(r for r in found.records if isinstance(r, PointRecord))
    exact = {r.point: r for r in run.audits if r.estimator == COMBINED}
    for point in run.points:
        own = exact[point.point]
        assert np.array_equal(point.x, x[point.point].double().numpy()) and point.reference == own.reference
        with torch.no_grad():
            deep = net.double()
            assert own.predicted == int(deep(x[point.point].double()).argmax())
            assert own.witness is not None
            assert own.witness_class == int(deep(torch.tensor(own.witness, dtype=torch.float64)).argmax())
        assert own.correct == (own.predicted == own.label)


def test_points_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    net, x, y = points()
    path = tmp_path / "records.jsonl"
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.2)), x, y, budget=20, records=path, keep_points=False)
    assert not [r for r in (*read_records(path), *found.records) if isinstance(r, PointRecord)]


def test_drawn_points_have_the_indices_of_the_data_set() -> None:
    net, x, y = points(count=12)
    drawn = lipreg.Population(x, y, until=4)
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.1)), population=drawn, budget=20)
    kept = {r.point: r for r in found.records if isinstance(r, PointRecord)}
    assert sorted(kept) == sorted(p.point for p in found.points)
    assert all(np.array_equal(kept[p.point].x, x[p.point].double().numpy()) for p in found.points)


def test_no_class_is_told_where_none_is_at_stake() -> None:
    net, x, _ = points()
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.2), Logit(0)), x, budget=20)
    assert {(r.predicted, r.witness_class) for r in found.records if isinstance(r, AuditRecord)} == {(None, None)}


def test_a_comparison_keeps_the_points_of_both() -> None:
    (one, x, y), (other, _, _) = points(), points()
    found = lipreg.compare(one, other, LocalLipschitz(LinfBall(0.2)), x, y, budget=20)
    assert [len(run.points) for run in found.runs] == [3, 3]
    assert {r.reference for r in found.runs[0].points} == {r.reference for r in found.runs[1].points}


def test_records_of_schema_6_are_read() -> None:
    """As the version before wrote them: no points, no classes there, no command."""
    net, x, y = points(count=1)
    found = lipreg.audit(net, LocalLipschitz(LinfBall(0.2)), x, y, budget=20)
    for record in found.records:
        if isinstance(record, PointRecord):
            continue
        new = ("predicted", "witness_class", "command", "commit", "changed")
        data = {k: v for k, v in json.loads(to_line(record)).items() if k not in new} | {"schema": 6}
        assert type(from_line(json.dumps(data))) is type(record)
