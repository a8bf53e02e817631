"""Arguments that another one holds: the message shows what to write, with the values given, and what it shows works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

import lipreg
from lipreg import Budget, LipschitzPenalty, Points, Settings
from lipreg.auditing import Attack, Processes
from lipreg.callbacks import AuditLog, Epochs, LipschitzAudit, LipschitzRegularizer
from lipreg.errors import InvalidInput, LipregError
from lipreg.penalties import Hinge
from lipreg.reporting.verdicts import HOW
from tests.callbacks.cases import PROBLEM


def read(batch: Any) -> Any:
    return batch["x"], batch["y"]


X, Y = torch.rand(2, 4), torch.tensor([0, 1])
SHARED: list[tuple[dict[str, Any], str]] = [
    ({"penalty": "hinge", "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty": Hinge(1.0), "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty": {"kind": "hinge"}, "penalty_options": {"target": 5.0}}, "penalty=Hinge(target=5.0)"),
    ({"penalty_options": {"k": 3}}, "penalty=WorstK(k=3)"),
    ({"penalty": "log", "penalty_options": None}, "penalty=Log()"),
    ({"schedule": "cosine", "schedule_options": {"batches": 9, "end": 0.5}}, "schedule=Cosine(batches=9, end=0.5)"),
    ({"seed": 7}, "points=Points('all', seed=7)"),
    ({"points": 4, "seed": 7}, "points=Points(4, seed=7)"),
    ({"points": (X, Y), "ignore_index": 2}, "points=Points((x, y), ignore_index=2)"),
    ({"points": X, "ignore_index": 2}, "points=Points(x, ignore_index=2)"),
    ({"points": Points(4, seed=1), "ignore_index": 2}, "points=Points(4, seed=1, ignore_index=2)"),
    (
        {"penalty": "hinge", "penalty_options": {"target": 1.0}, "points": 4, "seed": 7},
        "penalty=Hinge(target=1.0), points=Points(4, seed=7)",
    ),
]
OF_THE_CALLBACK: list[tuple[dict[str, Any], str]] = [
    ({"points": 4, "fixed_points": True}, "points=Points(4, fixed=True)"),
    ({"batch_to_inputs": read}, "points=Points('all', batch_to_inputs=read)"),
    (
        {"points": 4, "fixed_points": True, "seed": 2, "batch_to_inputs": read, "ignore_index": 0},
        "points=Points(4, fixed=True, seed=2, batch_to_inputs=read, ignore_index=0)",
    ),
]


OF_AN_AUDIT: list[tuple[dict[str, Any], str]] = [
    ({"gap": 0.1}, "budget=Budget(seconds=60.0, gap=0.1)"),
    ({"budget": 5, "gap": 0.1, "nodes": 100}, "budget=Budget(seconds=5, nodes=100, gap=0.1)"),
    ({"budget": Budget(7.0, gap=0.2), "nodes": 9}, "budget=Budget(seconds=7.0, nodes=9, gap=0.2)"),
    ({"solver": "highs", "sdp_solver": "CLARABEL"}, "settings=Settings(solver='highs', sdp_solver='CLARABEL')"),
    ({"points": 4, "seed": 3}, "settings=Settings(seed=3)"),
    ({"workers": 2}, "executor=Processes(2)"),
    ({"workers": "auto"}, "executor=Processes('auto')"),
    ({"workers": 1}, "executor='inline'"),
    ({"workers": 1, "executor": "processes"}, "executor=Processes(1)"),
    ({"background": True}, "executor=Beside()"),
    ({"background": True, "workers": 2, "waiting": 3}, "executor=Beside(executor=Processes(2), waiting=3)"),
    ({"background": False}, "executor='inline'"),
    ({"at_start": False}, "every_n_epochs=Epochs(every=1, at_start=False)"),
    ({"every_n_epochs": 5, "at_end": False}, "every_n_epochs=Epochs(every=5, at_end=False)"),
    ({"name": "robust"}, "log='robust'"),
    ({"background": True, "executor": Processes(2)}, "executor=Beside(executor=Processes(count=2))"),
    ({"budget": Budget(5.0, memory=10**6), "gap": 0.1}, "budget=Budget(seconds=5.0, memory=1000000, gap=0.1)"),
    ({"seed": 3, "settings": Settings(threads=2)}, "settings=Settings(threads=2, seed=3)"),
    ({"metric": "m", "log": "bar"}, "log=AuditLog(name='bar', metric='m')"),
    ({"metric": "m", "log": AuditLog("bar")}, "log=AuditLog(name='bar', metric='m')"),
    ({"at_start": False, "every_n_epochs": Epochs(4)}, "every_n_epochs=Epochs(every=4, at_start=False)"),
    ({"progress": False, "metric": "f1"}, "log=AuditLog(progress=False, metric='f1')"),
    ({"certificates": True}, "log=AuditLog(certificates=True)"),
    ({"certificates": True, "log": "bar"}, "log=AuditLog(name='bar', certificates=True)"),
    (
        {"certificates": False, "log": AuditLog("bar", calibration=(X, Y), attack=Attack(5), certificates=True)},
        "log=AuditLog(name='bar', calibration=(x, y), attack=Attack(steps=5), certificates=False)",
    ),
    ({"calibration": (X, Y)}, "log=AuditLog(calibration=(x, y))"),
    ({"attack": None, "log": "bar"}, "log=AuditLog(name='bar', attack=None)"),
    ({"log": {"certificates": True, "name": "bar"}}, "log=AuditLog(name='bar', certificates=True)"),
    ({"scale_free": False}, "log=AuditLog(calibration=None, attack=None)"),
    ({"scale_free": True}, "log=AuditLog()"),
    ({"scale_free": {"calibration": 50, "attack": None}}, "log=AuditLog(calibration=50, attack=None)"),
    (
        {"scale_free": {"calibration": None}, "certificates": True, "log": AuditLog("bar", attack=None)},
        "log=AuditLog(name='bar', calibration=None, attack=None, certificates=True)",
    ),
    ({"reference_points": (X, Y)}, "points=(x, y)"),
    ({"ignore_index": 2}, "points=Points(8, ignore_index=2)"),
    ({"points": 4, "batch_to_inputs": read}, "points=Points(4, batch_to_inputs=read)"),
    (
        {"points": 4, "ignore_index": 2, "gap": 0.5, "at_start": False, "name": "a", "workers": 2},
        "points=Points(4, ignore_index=2), budget=Budget(seconds=60.0, gap=0.5), executor=Processes(2), "
        "every_n_epochs=Epochs(every=1, at_start=False), log='a'",
    ),
]


def penalty(**arguments: Any) -> LipschitzPenalty:
    return LipschitzPenalty(None, PROBLEM, **arguments)


def regularizer(**arguments: Any) -> LipschitzRegularizer:
    return LipschitzRegularizer(PROBLEM, **arguments)


def audit(**arguments: Any) -> LipschitzAudit:
    return LipschitzAudit(PROBLEM, **arguments)


@pytest.mark.parametrize(("arguments", "form"), OF_AN_AUDIT)
def test_the_message_of_an_audit_shows_what_to_write(arguments: dict[str, Any], form: str) -> None:
    with pytest.raises(InvalidInput) as told:
        audit(**arguments)
    assert told.value.where == "LipschitzAudit"
    assert told.value.todo.startswith(f"Write {form}"), told.value.todo
    names: dict[str, Any] = {"x": X, "y": Y, "read": read}
    exec(told.value.todo.removeprefix(f"Write {form}").strip(" ()"), names)
    assert audit(**eval(f"dict({form})", names)).problem is PROBLEM, "what it says can be written"


@pytest.mark.parametrize("door", [lipreg.auditing.audit, lipreg.compare])
def test_workers_of_a_function_are_an_executor(door: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match=r"workers=2.*part of executor=.*Write executor=Processes\(2\)"):
        door(None, None, workers=2)


@pytest.mark.parametrize(
    ("make", "arguments", "form"),
    [(make, *case) for make in (regularizer, penalty) for case in SHARED]
    + [(regularizer, *case) for case in OF_THE_CALLBACK],
)
def test_the_message_shows_what_to_write(make: Callable[..., Any], arguments: dict[str, Any], form: str) -> None:
    with pytest.raises(InvalidInput) as told:
        make(**arguments)
    assert told.value.where == ("LipschitzRegularizer" if make is regularizer else "LipschitzPenalty")
    assert told.value.todo.startswith(f"Write {form} (from lipreg")
    told_imports = told.value.todo.removeprefix(f"Write {form} (").removesuffix(")")
    names: dict[str, Any] = {"x": X, "y": Y, "read": read}
    exec(told_imports, names)
    assert make(**eval(f"dict({form})", names)).problem is PROBLEM, "what it says can be written"


ANYTHING: list[Any] = [{"zzz": 1}, "zork", ["zork", 3], object(), Budget, -3.5, {"_target_": "lipreg.Budget"}]
FORMS: list[tuple[Callable[..., Any], str, Any, str]] = [
    (audit, "every_n_epochs", {"every": 5, "at_start": False}, "every_n_epochs=Epochs(every=5, at_start=False)"),
    (audit, "every_n_epochs", {"evry": 5}, "every_n_epochs=Epochs(every=5)"),
    (audit, "budget", {"seconds": 5, "gap": 0.1}, "budget=Budget(seconds=5, gap=0.1)"),
    (audit, "budget", {"second": 5}, "budget=Budget(seconds=60.0)"),
    (audit, "points", {"which": 4, "seed": 3}, "points=Points(which=4, seed=3)"),
    (audit, "settings", {"seed": 3}, "settings=Settings(seed=3)"),
    (audit, "settings", "seed", "settings=Settings(seed=1)"),
    (audit, "log", ["audit"], 'log=AuditLog("audit")'),
    (audit, "budget", Budget, "budget=Budget(seconds=60.0)"),
    (audit, "estimators", "fastlip", "estimators=['fastlip']"),
    (audit, "estimators", 3, "estimators=['fastlip', 'branch_and_bound']"),
    (audit, "module", 3, "module='net'"),
    (penalty, "points", {"which": 4}, "points=Points(which=4)"),
    (penalty, "bound", ["affine_relu"], 'bound=Bound("affine_relu")'),
    (regularizer, "log_bound", "yes", ""),
    (regularizer, "module", {"net": 1}, "module='net'"),
    (AuditLog, "attack", {"steps": 5}, "attack=Attack(steps=5)"),
    (lipreg.LocalLipschitz, "region", {"radius": 0.1}, "region=LinfBall(0.1)"),
    (lambda **given: lipreg.LocalLipschitz(lipreg.LinfBall(0.1), **given), "output", "logit", "output=Logit(0)"),
]


@pytest.mark.parametrize(("make", "argument", "value", "form"), FORMS)
def test_another_kind_of_value_is_refused_with_a_form_that_can_be_written(
    make: Callable[..., Any], argument: str, value: Any, form: str
) -> None:
    with pytest.raises(InvalidInput) as told:
        make(**{argument: value})
    assert told.value.accepted
    before, _, written = told.value.todo.rpartition("Write ")
    if form:
        names: dict[str, Any] = {}
        exec(written.removeprefix(form).removesuffix(", say").strip(" ()"), names)
        assert written.startswith(form), told.value.todo
        assert make(**eval(f"dict({form})", names)) is not None, "what it says can be written"
    meant = {"evry": "every", "second": "seconds"}.get(next(iter(value))) if isinstance(value, dict) else None
    assert (f"(did you mean {meant!r}?)" in before) == (meant is not None)


DOORS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (lipreg.audit, {"x": X, "y": Y}),
    (lipreg.certify, {"x": X, "y": Y}),
    (lipreg.estimate, {"x": X, "y": Y}),
    (lipreg.general_position, {"x": X, "y": Y}),
    (lipreg.compare, {"twin": torch.nn.Linear(4, 3), "x": X, "y": Y}),
    (lipreg.derivative_range, {"x": X, "y": Y}),
    (LipschitzAudit, {}),
    (LipschitzRegularizer, {}),
    (LipschitzPenalty, {}),
]
TEXTS = {"run", "twin", "folder", "name", "module", "records", "log"}


@pytest.mark.parametrize(("door", "given"), DOORS, ids=[door.__name__ for door, _ in DOORS])
def test_whatever_is_passed_for_an_argument_is_refused_with_what_is_accepted(
    door: Callable[..., Any], given: dict[str, Any]
) -> None:
    parameters = inspect.signature(door).parameters
    usual: dict[str, Any] = {"problem": PROBLEM, **given}
    usual |= {"network": torch.nn.Linear(4, 3)} if "network" in parameters else {}
    for argument in [name for name in parameters if name != "where"]:  # of messages alone
        for value in ANYTHING:
            if (isinstance(value, str) and argument in TEXTS) or (value is Budget and "progress" in argument):
                continue  # which is one
            with pytest.raises(LipregError) as told:
                door(**{**usual, argument: value})
            assert told.value.accepted, (argument, value, told.value)


def test_settings_of_hydra_are_told_what_makes_the_object() -> None:
    with pytest.raises(InvalidInput, match=r"hydra\.utils\.instantiate makes the object of such settings"):
        audit(budget={"_target_": "lipreg.Budget", "seconds": 5})


def test_options_of_a_kind_that_is_not_known_are_shown_as_plain_data() -> None:
    with pytest.raises(InvalidInput, match=r"Write penalty=\{'kind': 'own', 'height': 3\}"):
        regularizer(penalty="own", penalty_options={"height": 3})


@pytest.mark.parametrize("make", [regularizer, penalty])
def test_a_misspelt_argument_is_python_s_own_error(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'wieght'\. Did you mean 'weight'\?$"):
        make(wieght=1.0)
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'zzz'$"):
        make(zzz=1.0)
    with pytest.raises(TypeError, match="positional argument"):
        LipschitzRegularizer(PROBLEM, "affine_relu")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "wrong", "meant"),
    [
        (AuditLog, "certificate", "certificates"),
        (Epochs, "at_strat", "at_start"),
        (Budget, "second", "seconds"),
        (Settings, "sead", "seed"),
        (Attack, "step", "steps"),
        (Points, "fixd", "fixed"),
    ],
)
def test_a_misspelt_option_is_named_with_the_one_that_is_nearly_it(make: Any, wrong: str, meant: str) -> None:
    said = rf"^{make.__name__}\(\) got an unexpected keyword argument '{wrong}'\. Did you mean '{meant}'\?$"
    with pytest.raises(TypeError, match=said):
        make(**{wrong: True})


def test_options_of_a_log_as_plain_data_are_spelled_too() -> None:
    with pytest.raises(InvalidInput, match=r"got 'certificate' \(did you mean 'certificates'\?\)"):
        audit(log={"certificate": True})


@pytest.mark.parametrize("name", ["exact", "combined"])
def test_what_all_estimators_prove_together_needs_no_asking(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"'combined'.* is in every audit.*is 'branch_and_bound'"):
        audit(estimators=["fastlip", name])
    with pytest.raises(AttributeError, match=r"AuditResult\.exact is named points\[i\]\.combined now"):
        _ = object.__new__(lipreg.AuditResult).exact


def test_what_pages_advise_can_be_written() -> None:
    form = HOW.partition("log=")[2].partition(";")[0]
    assert eval(form, {"AuditLog": AuditLog, "x": X, "y": Y}).calibration[0] is X


def test_the_signatures_are_short_and_seen() -> None:
    own = [name for name in inspect.signature(LipschitzRegularizer).parameters]
    assert own[:6] == ["problem", "bound", "quantity", "weight", "penalty", "schedule"]
    assert len(own) <= 12
    assert len(inspect.signature(lipreg.LipschitzPenalty).parameters) <= 12
    names = ["problem", "points", "estimators", "budget", "every_n_epochs", "run", "twin", "folder"]
    assert list(inspect.signature(LipschitzAudit).parameters)[:8] == names
    assert len(inspect.signature(LipschitzAudit).parameters) <= 12
