"""Two networks that are compared as they are: nothing is said of trainings, because nothing is known of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import lipreg
from lipreg.comparisons import NetworkComparison
from lipreg.records import RunRecord, Source, Sources, read_sources
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.runs import find_entries
from lipreg.reporting.tables import comparison_text
from lipreg.runs import recorded_runs
from lipreg.transfer import likeness
from tests.test_likeness import pair

OF_TRAINING = ("epoch", "initial weights", "seed", "another training", "untrained", "first step", "batches")


@pytest.fixture(scope="module")
def compared() -> NetworkComparison:
    """Two networks of one start, of which one took a step."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2))
    moved = copy.deepcopy(net)
    with torch.no_grad():
        moved[0].weight.mul_(0.5)
    problem = lipreg.LocalLipschitz(lipreg.LinfBall(0.1))
    return lipreg.compare(moved, net, problem, torch.rand(2, 2), torch.tensor([0, 1]))


def test_nothing_is_said_of_starts_seeds_or_epochs_of_two_networks(compared: NetworkComparison) -> None:
    text = comparison_text(compared) + repr(compared)
    assert [word for word in OF_TRAINING if word in text] == []
    assert "because nothing is recorded of how the two networks came about." in text
    assert "Means over 2 reference points; tightness" in text
    assert (compared.epoch, compared.likeness.same_start, compared.untrained) == (None, None, False)


def test_two_networks_have_a_verdict(compared: NetworkComparison) -> None:
    assert "No verdict" not in comparison_text(compared) and "by about the same factor" in comparison_text(compared)


def test_records_that_are_of_no_training_have_no_start() -> None:
    records = [replace(r, of_training=False) if isinstance(r, RunRecord) else r for r in pair(("a", "b"), (1, 1))]
    mine, twin = recorded_runs(records)
    assert (mine.start, twin.start, likeness(mine, twin).same_start) == (None, None, None)
    assert "epochs" not in mine.summary() and "seed" not in mine.summary()


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


def test_the_views_say_the_same_and_call_nothing_regularised(compared: NetworkComparison, tmp_path: Path) -> None:
    assert compared.table() + "\n" == comparison_text(compared)
    frame = compared.frame()
    assert len(frame) == len(compared.rows()) and not frame.penalised.any()
    told = [r for r in compared.records if isinstance(r, RunRecord)]
    assert [r.run for r in told] == ["network", "twin"] and told[0].twin_id == told[1].id
    assert {r.run_id for r in compared.records} == {r.id for r in told}
    page = compared.html(tmp_path / "page.html").read_text(encoding="utf-8")
    shown = page[page.index("<body") : page.index("<script")]
    words = shown[: shown.index("What the numbers mean")]
    for text in (compared.table(), repr(compared), words):
        assert "egularised" not in text and "penalty" not in text and "E_reg" not in text
    assert "How far did the truth move?" in words and '<span class="run">Network</span>' in words


def test_what_was_saved_gives_the_comparison_again(compared: NetworkComparison, tmp_path: Path) -> None:
    path = compared.save(tmp_path / "records.jsonl")
    (entry,), left_out = find_entries(read_sources([path]).files)
    assert not left_out and entry.last is not None
    assert entry.last.movement == compared.movement and entry.last.roles == ("network", "twin")
