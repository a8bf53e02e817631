"""Two networks that are compared as they are: nothing is said of trainings, because nothing is known of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import lipreg
from lipreg.records import RunRecord, Source, Sources
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.runs import find_entries
from lipreg.reporting.tables import comparison_text
from lipreg.runs import recorded_runs
from lipreg.transfer import Comparison, likeness
from tests.test_likeness import pair

OF_TRAINING = ("epoch", "initial weights", "seed", "another training", "untrained", "first step", "batches")


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """Two networks of one start, of which one took a step."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        moved[0].weight.mul_(0.5)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.1))
    return lipreg.compare(moved, net, problem, torch.rand(2, 2), torch.tensor([0, 1]))


def test_nothing_is_said_of_starts_seeds_or_epochs_of_two_networks(compared: Comparison) -> None:
    text = comparison_text(compared) + repr(compared)
    assert [word for word in OF_TRAINING if word in text] == []
    assert "because nothing is recorded of how the two networks came about." in text
    assert "Means over 2 reference points; tightness" in text
    assert (compared.epoch, compared.likeness.same_start, compared.untrained) == (None, None, False)


def test_two_networks_have_a_verdict(compared: Comparison) -> None:
    assert "No verdict" not in comparison_text(compared) and "by about the same factor" in comparison_text(compared)


def test_records_that_are_of_no_training_have_no_start() -> None:
    records = [replace(r, of_training=False) if isinstance(r, RunRecord) else r for r in pair(("a", "b"), (1, 1))]
    mine, twin = recorded_runs(records)
    assert (mine.start, twin.start, likeness(mine, twin).same_start) == (None, None, None)
    assert "epochs" not in mine.said() and "seed" not in mine.said()


def test_a_page_of_such_records_says_nothing_of_trainings_either(tmp_path: Path) -> None:
    records = [
        replace(r, of_training=False, seed=None) if isinstance(r, RunRecord) else replace(r, epoch=0)
        for r in pair(("", ""), (None, None))
    ]
    sources = Sources((Source("records.jsonl", tuple(records)),))
    (entry,), _ = find_entries(sources.files)
    assert entry.last is not None and entry.last.epoch is None and not entry.trouble
    page = write_runs_report(sources, tmp_path / "report.html").read_text()
    words = page[page.index('<section class="entry"') : page.index("</section>", page.index('<section class="entry"'))]
    assert [word for word in OF_TRAINING if word in words] == []
