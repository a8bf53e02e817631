"""Convolutional networks: bounds beside the papers' own, and large networks on one core.

    python -m benchmarks.conv tightness      # the networks of Avant & Morgansen, from LIPREG_DATA/avant
    python -m benchmarks.conv audits         # exact audits of a small network trained on LIPREG_DATA/mnist
    python -m benchmarks.conv alexnet        # time and memory of a global and a local bound of one 224 x 224 image,
                                             # on the CPU, and on a GPU where there is one
    python -m benchmarks.conv vgg16 cuda     # on one of the two alone

Each writes benchmarks/results/conv_NAME.json and prints a table; ``page`` puts those of tightness and
of large networks into docs/choosing.md.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.environment import markdown, read_result, write_result, write_tables
from experiments.image_models import alexnet, cnn, vgg16
from lipreg import L2Ball, LinfBall, LocalLipschitz, Margin, Vector, capture
from lipreg.bounds import Analysis, analyse
from lipreg.budget import Budget
from lipreg.estimators import ESTIMATORS, frozen_analysis
from lipreg.estimators.witnesses.witness import best_witness
from lipreg.results import Certificate
from lipreg.words import written

AVANT = Path(os.environ.get("LIPREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "avant"
WIDTHS = {"alexnet": 0.003, "vgg16": 0.04}
RADII = (0.001, 0.01, 0.1, 1.0, 10.0)
NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"


def avant(name: str) -> tuple[nn.Module, Tensor]:
    """A trained network of Avant & Morgansen 2023 and its nominal image, in float64."""
    net = nn.Sequential()
    for i, layer in enumerate(json.loads((AVANT / f"{name}.json").read_text(encoding="utf-8"))["layers"]):
        settings = {key: value for key, value in layer.items() if key not in ("op", "name")}
        net.add_module(layer.get("name", f"layer{i}"), getattr(nn, layer["op"])(**settings))
    net.load_state_dict(torch.load(AVANT / f"{name}.pt", weights_only=True))
    x0 = torch.load(AVANT / f"{name}_x0.pt", weights_only=True)["x0"]
    return net.eval().double(), x0.double()


def tightness() -> list[dict[str, Any]]:
    """The whole output in l2 against the image: the papers' bound, and ours with every pre-activation bound."""
    rows = []
    for name in ("mnist", "cifar10"):
        net, x = avant(name)
        graph = capture(net, x).frozen()
        for radius in RADII:
            problem = LocalLipschitz(L2Ball(radius), Vector(), scope="pointed", p=2)
            began = time.process_time()
            with torch.no_grad():
                placed = problem.place(x, graph(x))
                papers = analyse(graph, placed, ("ball",))
                full = analyse(graph, placed)
            found = {"papers": ESTIMATORS["affine_relu"].intervals(papers, Budget())[0].upper}
            # a backward pass for each unstable unit: only where they are some thousands
            unstable = int(full.unstable_units())
            few = ("deviation",) if unstable <= 3000 else ()
            for bound in ("affine_relu", "abs_chain", "fastlip", *few):
                found[bound] = ESTIMATORS[bound].intervals(full, Budget())[0].upper
            gradient = graph.gradients(
                {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}, placed.rows
            )
            at_image = float(placed.combine(gradient))
            lower = max(at_image, steepest(full))
            best = min(found.values())
            rows.append(
                {"network": name, "radius": radius, "undecided units": unstable}
                | {key: f"{value:.6g}" for key, value in found.items()}
                | ({} if few else {"deviation": ""})
                | {"gradient at the image": f"{at_image:.4g}", "best lower": f"{lower:.4g}"}
                | {"best over lower": f"{best / lower:.3g}"}
                | {"papers over best": f"{found['papers'] / best:.3g}", "CPU s": f"{time.process_time() - began:.1f}"}
            )
            print(rows[-1], flush=True)
    return rows


def steepest(analysis: Analysis, steps: int = 60) -> float:
    """The best quotient |f(x) - f(x0)| / |x - x0| of gradient ascents that start along the image's singular vectors."""
    graph, placed = analysis.graph, analysis.placed
    region, radius = placed.region, placed.region.radius
    center = region.center
    at_center = graph.patterns(graph.values(center))
    jacobian = graph.gradients({i: s.unsqueeze(1) for i, s in at_center.items()}, placed.rows)[0].flatten(1)
    directions = torch.linalg.svd(jacobian, full_matrices=False).Vh[:6].reshape(-1, *region.shape)
    x, best = center + radius * torch.cat([directions, -directions]), 0.0
    origin = graph(center)
    for step in range(steps):
        witness = best_witness(analysis, 0, region.project(x.unsqueeze(0))[0])
        best = best if witness is None else max(best, witness.attained)
        x = x.detach().requires_grad_()
        quotient = (graph(x) - origin).norm(dim=1) / (x - center).flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad(quotient.sum(), x)
        size = gradient.flatten(1).norm(dim=1).reshape(-1, *(1,) * len(region.shape))
        x = region.project((x.detach() + 0.5 * 0.02 ** (step / steps) * radius * gradient / size).unsqueeze(0))[0]
    return best


def large(name: str, only: str | None = None, width: float | None = None, radius: float = 0.1) -> list[dict[str, Any]]:
    """A global and a local bound of one image, beside one forward and backward pass of the network in float32.

    On the CPU in CPU seconds, and on a GPU, where there is one, by the clock; bounds in float64 on both.

    Args:
        only: "cpu" or "cuda"; None for both.
        width: relative width at which each certified norm is narrow enough; the bounds hold whatever it is. Default: that
            of ``WIDTHS``.
    """
    rows = []
    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    for device in devices if only is None else (only,):
        clock = Clock(device)
        torch.manual_seed(0)
        net = {"alexnet": alexnet, "vgg16": vgg16}[name]().eval().to(device)
        x = torch.rand(1, 3, 224, 224).to(device)
        passes = []
        for _ in range(4):
            began = clock()
            net(x.requires_grad_()).amax().backward()
            passes.append(clock() - began)
            net.zero_grad(set_to_none=True)
        one_pass, x = min(passes[1:]), x.detach().double()
        began = clock()
        with torch.no_grad():
            graph = capture(net, x).frozen() if device == "cpu" else capture(net.double(), x).live()
        del net
        frozen = clock() - began
        for kind, methods, bound in (
            ("local", ("ball", "interval"), "affine_relu"),
            ("global", ("interval",), "spectral"),
        ):
            problem = LocalLipschitz(L2Ball(radius), Vector(), scope="pointed", p=2)
            began = clock()
            with torch.no_grad():
                analysis = analyse(graph, problem.place(x, graph(x)), methods, width=width or WIDTHS[name])
                (found,) = ESTIMATORS[bound].intervals(analysis, Budget())
            seconds = clock() - began
            rows.append(
                {
                    "network": name,
                    "device": device,
                    "bound": f"{kind} ({bound})",
                    "value": f"{found.upper:.6g}",
                    "certificate": found.detail,
                    "freezing s": f"{frozen:.1f}",
                    "seconds": f"{seconds:.1f}",
                    "forward and backward s": f"{one_pass:.3f}",
                    "ratio": f"{(seconds + frozen) / one_pass:.0f}",
                    "peak GiB": f"{clock.peak():.2f}",
                }
            )
            print(rows[-1], flush=True)
    return rows


class Clock:
    """CPU seconds of this process, or seconds of a GPU's work; and the most memory used so far, in GiB."""

    def __init__(self, device: str) -> None:
        self.gpu = device == "cuda"

    def __call__(self) -> float:
        if not self.gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def peak(self) -> float:
        if self.gpu:
            return torch.cuda.max_memory_allocated() / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def digits(kind: str) -> tuple[Tensor, Tensor]:
    """The pixels in [0, 1] and labels of "train" or "t10k", from MNIST's idx files."""
    folder = AVANT.parent / "mnist"
    pixels = gzip.decompress((folder / f"{kind}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{kind}-labels-idx1-ubyte.gz").read_bytes())
    x = torch.from_numpy(np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())
    return x.float() / 255, torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).copy()).long()


def trained_on_digits() -> nn.Module:
    """Two convolutions of stride 2 and 100 units, after an epoch of the training digits."""
    torch.manual_seed(0)
    net, (x, y) = cnn(), digits("train")
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for some in torch.randperm(len(x)).split(128):
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[some]), y[some]).backward()
        adam.step()
    return net


def audits(points: int = 6, seconds: float = 120.0) -> list[dict[str, Any]]:
    """Margins to the runner-up around test digits, l_inf radius 1/255: two convolutions of stride 2 and 100 units."""
    net, (x, y) = trained_on_digits(), digits("t10k")
    problem = LocalLipschitz(LinfBall(1 / 255, low=0.0, high=1.0), Margin())
    rows = []
    for i in range(points):
        analysis = frozen_analysis(net, problem, x[i : i + 1], y[i : i + 1])
        row: dict[str, Any] = {"digit": i, "undecided units": int(analysis.unstable_units())}
        known = None
        for name in ("fastlip", "lp", "deviation", "sampling", "branch_and_bound", "mip"):
            began = time.process_time()
            start = () if known is None else (known,)
            (found,) = ESTIMATORS[name].intervals(analysis, Budget(seconds), known=start)
            if ESTIMATORS[name].certificate is not Certificate.BRACKET:  # the two searches start from the same
                known = found if known is None else known.intersect(found)
            searched = ESTIMATORS[name].certificate is Certificate.BRACKET
            if searched:
                row[name] = f"[{found.lower:.5g}, {found.upper:.5g}]"
                row |= {f"{name}: status": found.status.value, f"{name}: s": f"{time.process_time() - began:.0f}"}
            else:
                row[name] = f"{found.lower if name == 'sampling' else found.upper:.5g}"
        rows.append(row)
        print(row, flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows of tightness at the smaller radii, as the page has them."""
    columns = {"papers": "papers' bound", "affine_relu": "`affine_relu`", "fastlip": "`fastlip`"}
    columns |= {"deviation": "`deviation`", "best lower": "best lower bound", "best over lower": "best bound over it"}
    return markdown(
        [
            {"network": NAMES[row["network"]], "l2 radius": f"{row['radius']:g}"}
            | {name: _digits(row[key]) for key, name in columns.items()}
            for row in rows
            if row["radius"] in RADII[:3]
        ]
    )


def large_table() -> str:
    """The rows of the large networks on one core, as the page has them."""
    names, bounds = {"alexnet": "AlexNet", "vgg16": "VGG-16"}, {"local": "local, l2 radius 0.1", "global": "global"}
    return markdown(
        [
            {
                "network": names[name],
                "bound": bounds[row["bound"].split()[0]],
                "value": f"{float(row['value']):.1f}",
                "times the pass": row["ratio"],
                "most memory": f"{float(row['peak GiB']):.1f} GiB",
                "width of each norm": WIDTHS[name],
                "of all together": f"{float(row['certificate'].partition('relative width ')[2].split(',')[0]):.2g}",
            }
            for name in names
            for row in read_result(f"conv_{name}")
        ]
    )


def _digits(text: str) -> str:
    """Four digits; whole numbers up to a million as they are, and nothing of what was not computed."""
    if not text:
        return ""
    value = float(text)
    return f"{value:.0f}" if 1e4 <= value < 1e6 else written(value, 4)


def main() -> None:
    torch.set_num_threads(1)
    name, *settings = sys.argv[1:] or ["tightness"]
    if name == "page":
        write_tables(PAGE, {"conv": table(read_result("conv_tightness")), "large": large_table()})
        return
    tables = {"tightness": tightness, "audits": audits}
    rows = tables[name]() if name in tables else large(name, *settings)
    print(markdown(rows))
    print(f"written to {write_result('_'.join(['conv', name, *settings]), rows)}")


if __name__ == "__main__":
    main()
