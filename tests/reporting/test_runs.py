"""Record files become runs, and runs find their twins: by name in their file, else by seed in another."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lipreg.errors import CrossingBounds, InvalidInput
from lipreg.records import AuditRecord, EpochRecord, Record, RunRecord, Source, read_sources, to_line
from lipreg.reporting.html import write_runs_report
from lipreg.reporting.naming import what_differs
from lipreg.reporting.page_data import page_data
from lipreg.reporting.runs import Entry, find_entries
from lipreg.reporting.seeds import columns, metric_heading, seed_groups
from lipreg.transfer import compare
from tests.reporting.conftest import audit, build


def job(seed: int = 0, weight: float = 0.01, **settings: Any) -> list[Record]:
    """A regularised run and its twin, named as every job of a sweep names them; both start from the seed's weights."""
    found: list[Record] = []
    for r in build("regularised", "twin"):
        if isinstance(r, RunRecord):
            r = replace(r, seed=seed, weight=weight if r.twin else 0.0, settings={"seed": seed, **settings})
        elif isinstance(r, AuditRecord):
            name = f"start {seed}" if r.epoch == 0 else f"{r.run} {seed} {r.epoch}"
            r = replace(r, fingerprint=name)
        found.append(r)
    return found


def of(records: Sequence[Record], run: str) -> tuple[Record, ...]:
    return tuple(r for r in records if r.run == run)


def only(sources: list[Source]) -> Entry:
    (entry,), left_out = find_entries(sources)
    assert left_out == []
    return entry


def test_jobs_with_the_same_run_names_are_kept_apart() -> None:
    entries, left_out = find_entries([Source("a", tuple(job(0))), Source("b", tuple(job(1)))])
    assert [(e.label, e.regularised.run.source, e.twin and e.twin.run.source) for e in entries] == [
        ("weight 0.01, seed 0", "a", "a"),
        ("weight 0.01, seed 1", "b", "b"),
    ]
    assert left_out == []
    assert entries[0].last == compare(job(0), "regularised")
    assert sorted(entries[0].comparisons) == [0, 5, 10]


def test_a_twin_in_another_file_is_found_by_seed() -> None:
    records = job(3)
    other = of(job(4), "twin")
    entries, _ = find_entries(
        [Source("a", of(records, "regularised")), Source("b", other), Source("c", of(records, "twin"))]
    )
    assert entries[0].twin is not None and entries[0].twin.run.source == "c"
    assert entries[0].last is not None and entries[0].last.movement == compare(records, "regularised").movement
    assert [e.regularised.run.source for e in entries] == ["a", "b"], "the twin of another seed stands alone"


def test_a_run_that_names_no_twin_is_joined_by_seed_too() -> None:
    records = [replace(r, twin=None) if isinstance(r, RunRecord) else r for r in job(3)]
    entry = only([Source("a", of(records, "regularised")), Source("b", of(records, "twin"))])
    assert entry.twin is not None and entry.twin.run.source == "b" and entry.last is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, seed=9) if isinstance(r, RunRecord) else r,
        lambda r: replace(r, weight=0.1) if isinstance(r, RunRecord) else r,
        lambda r: replace(r, settings={"model": {"hidden": [8]}}) if isinstance(r, RunRecord) else r,
        lambda r: replace(r, fingerprint="elsewhere") if isinstance(r, AuditRecord) and r.epoch == 0 else r,
        lambda r: r if isinstance(r, EpochRecord) else replace(r, question={**r.question, "scope": "pointed"}),
    ],
    ids=["seed", "weight", "settings", "initial weights", "question"],
)
def test_what_is_no_twin_is_not_taken_for_one(change: Callable[[Record], Record]) -> None:
    records = job(3)
    twin = tuple(change(r) for r in of(records, "twin"))
    entries, _ = find_entries([Source("a", of(records, "regularised")), Source("b", twin)])
    first = entries[0]
    assert first.twin is None and first.comparisons == {}
    assert first.trouble.startswith("no twin: no run of weight 0 with seed 3")


def test_equal_twins_of_several_jobs_are_one_and_different_ones_are_ambiguous() -> None:
    records = job(3)
    mine, twin = Source("a", of(records, "regularised")), of(records, "twin")
    found = find_entries([mine, Source("b", twin), Source("c", twin)])[0][0]
    assert found.twin is not None and found.twin.run.source == "b"
    longer = tuple(replace(r, fingerprint="x") if isinstance(r, AuditRecord) and r.epoch == 10 else r for r in twin)
    ambiguous = find_entries([mine, Source("b", twin), Source("c", longer)])[0][0]
    assert ambiguous.twin is None and "2 different runs could be it (b, c)" in ambiguous.trouble


def test_labels_say_in_which_settings_runs_differ() -> None:
    files = [
        Source("a", tuple(job(0, 0.01, problem={"region": {"radius": 0.1}}))),
        Source("b", tuple(job(1, 0.02, problem={"region": {"radius": 0.1}}))),
        Source("c", tuple(job(1, 0.02, problem={"region": {"radius": 0.2}}))),
        Source("d", tuple(job(1, 0.02, problem={"region": {"radius": 0.2}}))),
    ]
    assert [e.label for e in find_entries(files)[0]] == [
        "weight 0.01, seed 0, radius 0.1",
        "weight 0.02, seed 1, radius 0.1",
        "weight 0.02, seed 1, radius 0.2 (c)",
        "weight 0.02, seed 1, radius 0.2 (d)",
    ]


def test_labels_name_objects_by_their_class() -> None:
    hinge, log = ({"_target_": "lipreg.penalties.Hinge", "target": 5.0}, {"_target_": "lipreg.penalties.Log"})
    settings = [{"weight": 0.01, "penalty": penalty} for penalty in (hinge, log)]
    files = [Source(name, tuple(job(0, 0.01, regularizer=own))) for name, own in zip("ab", settings, strict=True)]
    labels = [e.label for e in find_entries(files)[0]]
    assert labels == ["weight 0.01, seed 0, penalty Hinge, target 5", "weight 0.01, seed 0, penalty Log"]


def test_seeds_are_put_together() -> None:
    files = [Source(f"{seed}{weight}", tuple(job(seed, weight))) for weight in (0.01, 0.1) for seed in (0, 1, 2)]
    files.append(Source("single", tuple(job(0, 1.0))))
    entries, _ = find_entries(files)
    groups = seed_groups(entries)
    assert [(g.name, len(g.members)) for g in groups] == [("weight 0.01", 3), ("weight 0.1", 3)]
    cells = groups[0].cells(metric_heading(entries))
    assert cells["bound moved"] == ("0.25\n0.25 to 0.25", 0.25)
    assert cells["accuracy"].words == "91.0%\n91.0% to 91.0%"
    assert cells["transfer"].value == pytest.approx(0.5)
    shown = page_data(entries)["groups"][0]["cells"]
    assert list(shown) == columns("accuracy") and shown["bound moved"] == {"words": "0.25\n0.25 to 0.25", "value": 0.25}


def test_a_seed_that_was_trained_again_is_no_second_seed() -> None:
    def began(seed: int, hour: int, scale: float = 1.0) -> Source:
        records = [
            replace(r, started=f"2026-01-01T{hour:02}:00:00") if isinstance(r, RunRecord) else r for r in job(seed)
        ]
        logged = [replace(r, metrics={"val_accuracy": scale}) if isinstance(r, EpochRecord) else r for r in records]
        return Source(f"{seed} {hour}", tuple(logged))

    entries, _ = find_entries([began(0, 2, 0.75), began(0, 1, 0.25)])
    assert len(entries) == 2 and seed_groups(entries) == []
    entries, _ = find_entries([began(0, 2, 0.75), began(0, 1, 0.25), began(1, 3, 0.75)])
    (group,) = seed_groups(entries)
    assert len(group.members) == 2 and group.cells("accuracy")["accuracy"].words == "75.0%\n75.0% to 75.0%"


def test_a_line_of_another_question_costs_one_run_and_is_named(tmp_path: Path) -> None:
    records = [
        replace(r, question={**r.question, "scope": "pointed"})
        if isinstance(r, AuditRecord) and (r.run, r.epoch, r.point, r.estimator) == ("regularised", 10, 0, "lp")
        else r
        for r in job(0)
    ]
    (entry,), ((_, reason),) = find_entries([Source("a", tuple(records))])
    assert (
        entry.alone
        and entry.regularised.run.label == "twin"
        and reason.startswith("run regularised: ")
        and "scope" in reason
    )


def test_audits_without_a_run_record_are_shown_alone() -> None:
    entry = only([Source("a", tuple(r for r in build() if isinstance(r, AuditRecord) and r.run == "twin"))])
    assert (entry.twin is None and entry.trouble == "" and entry.label == "twin, seed None") or entry.label == "twin"
    assert entry.regularised.bound == "affine_relu"
    assert [p.combined.upper for p in entry.regularised.points[10].values()] == [5.0, 10.0, 20.0]
    data = page_data([entry])
    assert [side["role"] for side in data["sides"]] == ["alone"]
    (words,) = data["questions"]
    assert words.startswith("regional Lipschitz constant of AllMargins over LinfBall of radius 0.05 cut to [0.0, 1.0]")


def test_runs_that_cannot_be_compared_are_shown_and_said_to_be() -> None:
    records = [
        replace(r, functional="another") if isinstance(r, AuditRecord) and r.run == "twin" else r for r in job(0)
    ]
    entries, left_out = find_entries([Source("a", tuple(records)), Source("b", tuple(job(1)))])
    assert entries[0].twin is None and "not compared with twin" in entries[0].trouble
    assert entries[1].last is not None and left_out == []


def test_records_that_do_not_fit_together_are_left_out_and_named() -> None:
    twice = [*job(0), audit("regularised", 10, 1, "lp", 0.0, 99.0, fingerprint="another network")]
    empty = (RunRecord("regularised", "twin", 7, "affine_relu", 0.1),)
    entries, left_out = find_entries([Source("a", tuple(twice)), Source("b", empty), Source("c", tuple(job(1)))])
    assert [(e.regularised.run.source, e.regularised.run.label, e.alone) for e in entries] == [
        ("c", "regularised", False),
        ("a", "twin", True),
    ], "the twin of a run that cannot be shown is shown alone"
    assert [name for name, _ in left_out] == ["b", "a"]
    assert "different weights" in left_out[1][1] and "nothing was audited" in left_out[0][1]


def test_contradicting_proofs_are_never_shown() -> None:
    wrong = [*job(0), audit("regularised", 10, 0, "lp", 0.0, 1.0, fingerprint="regularised 0 10")]
    lines = tuple(range(11, 11 + len(wrong)))
    with pytest.raises(CrossingBounds, match=rf"^a, line {lines[-1]} and a, line \d+: run 'regularised', epoch 10"):
        find_entries([Source("b", tuple(job(1)), lines=lines), Source("a", tuple(wrong), lines=lines)])


# ---------------------------------------------------------------- files


def written(path: Path, records: Sequence[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(to_line(r) + "\n" for r in records), encoding="utf-8")
    return path


def test_every_record_file_below_a_folder_is_read(tmp_path: Path) -> None:
    written(tmp_path / "one" / "records.jsonl", job(0))
    written(tmp_path / "two" / "audits" / "x.jsonl", job(1))
    read = read_sources(tmp_path)
    assert [source.name for source in read.files] == ["one/records.jsonl", "two/audits/x.jsonl"]
    assert read.files[0].records == tuple(job(0)) and read.left_out == ()
    both = read_sources([tmp_path / "one", tmp_path / "two" / "audits" / "x.jsonl", tmp_path / "one"])
    assert [source.name for source in both.files] == ["one/records.jsonl", str(tmp_path / "two" / "audits" / "x.jsonl")]


def test_files_that_hold_no_records_cost_nothing_but_themselves(tmp_path: Path) -> None:
    good = written(tmp_path / "good.jsonl", job(0))
    (tmp_path / "radius.jsonl").write_text(json.dumps({"label": 3}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "list.jsonl").write_text("[1]\n")
    lines = good.read_text().splitlines()
    (tmp_path / "damaged.jsonl").write_text("\n".join([lines[0], "{broken", *lines[1:]]) + "\n")
    (tmp_path / "cut.jsonl").write_text("\n".join([*lines[:4], lines[4][:30]]))
    (tmp_path / "binary.jsonl").write_bytes(b"\x80\x04\xff\xfe\x00")
    crossing = json.dumps(json.loads(lines[-1]) | {"lower": 9.0, "upper": 1.0})
    (tmp_path / "crossing.jsonl").write_text("\n".join([*lines, crossing]) + "\n")
    read = read_sources(tmp_path)
    known = {"cut.jsonl": 4, "damaged.jsonl": 80, "good.jsonl": 80}
    assert {source.name: len(source.records) for source in read.files} == known
    assert [name for name, _ in read.left_out] == [
        *("binary.jsonl", "crossing.jsonl", "damaged.jsonl", "empty.jsonl", "list.jsonl", "radius.jsonl")
    ]
    assert "lower end 9.0 and upper end 1.0" in dict(read.left_out)["crossing.jsonl"]
    page = write_runs_report(read, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "damaged.jsonl: line 2 is damaged and left out (not a record: " in page


def test_a_pickle_in_a_run_folder_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    written(tmp_path / "good.jsonl", job(0))
    for name in ("records.jsonl", "records.pkl", "regularised.ckpt"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    assert [source.name for source in read_sources(tmp_path).files] == ["good.jsonl"]
    assert not (tmp_path / "sprung").exists()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folder or file"):
        read_sources(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="no records"):
        read_sources(tmp_path)
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InvalidInput, match=r"a\.jsonl: holds no records of lipreg"):
        read_sources(tmp_path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["logs/a/version_0/records.jsonl", "logs/b/version_0/records.jsonl"], ["a", "b"]),
        (["a/one/x/r.jsonl", "a/two/y/r.jsonl", "a/two/z/r.jsonl"], ["one/x", "two/y", "two/z"]),
        (["r.jsonl", "a/r.jsonl"], ["r.jsonl", "a"]),
        (["a/r.jsonl", "a/s.jsonl"], ["r.jsonl", "s.jsonl"]),
        (["a/a/r.jsonl", "a/r.jsonl"], ["a", "a/r.jsonl"]),
        (["r.jsonl", "r.jsonl"], ["r.jsonl", "r.jsonl"]),
    ],
)
def test_of_files_what_differs_is_said(files: list[str], told: list[str]) -> None:
    assert what_differs(files) == told


def test_runs_that_nothing_else_tells_apart_have_their_names_or_what_differs_of_their_files() -> None:
    def two(names: tuple[str, str]) -> list[str]:
        sources = [
            Source(f"logs/{place}/version_0/records.jsonl", tuple(build(name, f"twin of {name}")))
            for place, name in zip("ab", names, strict=True)
        ]
        return [entry.label for entry in find_entries(sources)[0]]

    assert [label.rpartition(" (")[2] for label in two(("first", "second"))] == ["first)", "second)"]
    assert [label.rpartition(" (")[2] for label in two(("same", "same"))] == ["a)", "b)"]


def test_labels_of_a_page_keep_what_tells_two_runs_apart() -> None:
    """Long settings come before the last one, and before the file where that alone differs."""
    long: dict[str, Any] = {f"setting_{i}": "x" * 30 for i in range(6)}
    files = [Source(str(n), tuple(job(0, **long, last=n))) for n in (1, 2)]
    again = Source("again", files[1].records)
    entries, _ = find_entries([*files, again, Source("b", tuple(job(1, weight=0.02, other="y" * 150)))])
    labels = [entry["label"] for entry in page_data(entries)["entries"]]
    assert len(labels) == len(set(labels)) == 4 and max(map(len, labels)) == 120, labels
    assert any(label.endswith("last 1") for label in labels)
    assert sum(label.endswith((", last 2 (2)", ", last 2 (again)")) for label in labels) == 2, labels


def test_a_metric_that_nobody_logged_is_refused_in_words_that_fit() -> None:
    bare = [r for r in job(0) if not isinstance(r, EpochRecord)]
    with pytest.raises(
        InvalidInput, match=r"no run has logged\. Accepted: no metric, as no run has logged any"
    ) as refused:
        find_entries([Source("a", tuple(bare))], "x")
    assert "None" not in str(refused.value)
