"""The certified radius of points, one after the other, and the table of what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lipreg.command.words import number
from lipreg.errors import InvalidInput
from lipreg.estimators.radius import CertifiedRadius, certified_radii
from lipreg.graph import capture
from lipreg.words import aligned


def radii(
    network: nn.Module, x: Tensor, y: Tensor | None, asked: Mapping[str, Any], on_point: Callable[[int], None]
) -> list[CertifiedRadius]:
    """The radius of each point.

    Args:
        network: a module.
        x, y: reference points ``(batch, *shape)``; classes ``(batch,)``, else the network's own.
        asked: norm, bounds and data range, as ``certified_radii`` takes them.
        on_point: called with the number of points that are done.
    """
    graph, found = capture(network, x).frozen(), []
    for i in range(len(x)):
        found += certified_radii(graph, x[i : i + 1], None if y is None else y[i : i + 1], **asked)
        on_point(i + 1)
    return found


def radii_text(found: Sequence[CertifiedRadius], asked: Mapping[str, Any]) -> str:
    """What was asked: norm, scope, region and bounds; then a line a point, aligned."""
    rows = [("point", "class", "nearest rival", "margin", "constant", "certified radius")]
    for i, at in enumerate(found):
        rival = "misclassified" if at.rival is None else str(at.rival)
        rows.append((str(i), str(at.label), rival, f"{at.margin:.4g}", number(at.constant), f"{at.radius:.5g}"))
    norm = {"1": "l1", "2": "l2", "inf": "l\u221e"}[str(asked["p"])]
    region = f"balls in {norm}, {_range(asked['low'], asked['high'])}"
    head = f"certified radius in {norm}: pointed scope, {region}, bound by {' or '.join(asked['bounds'])}"
    return "\n".join([head, "", *aligned(rows, left=0)])


def write_radii(found: Sequence[CertifiedRadius], path: str | Path) -> None:
    """Writes the radii, one JSON object a line, each with the number of its point.

    Raises:
        InvalidInput: a path that cannot be written.
    """
    text = "".join(json.dumps({"point": i, **asdict(at)}) + "\n" for i, at in enumerate(found))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}", where="out", accepted="a file") from None


def _range(low: float | None, high: float | None) -> str:
    ends = ("-\u221e" if low is None else f"{low:g}", "\u221e" if high is None else f"{high:g}")
    return "no data range" if low is high is None else f"data range [{ends[0]}, {ends[1]}]"
