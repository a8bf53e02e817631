"""Convolutional networks: bounds beside the papers' own, and large networks on one core.

    python -m benchmarks.conv tightness      # the networks of Avant & Morgansen, from LIPREG_DATA/avant
    python -m benchmarks.conv audits         # exact audits of a small network trained on LIPREG_DATA/mnist
    python -m benchmarks.conv alexnet        # time and memory of a global and a local bound of one 224 x 224 image
    python -m benchmarks.conv vgg16

Each writes benchmarks/results/conv_NAME.json and prints a table.
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

from benchmarks.environment import markdown, write_result
from experiments.image_models import alexnet, digit_convolutions, vgg16
from lipreg import L2Ball, LinfBall, LocalLipschitz, Margin, Vector, capture
from lipreg.bounds import analyse
from lipreg.estimators import ESTIMATORS, Effort, frozen_analysis

AVANT = Path(os.environ.get("LIPREG_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "avant"
RADII = (0.001, 0.01, 0.1, 1.0, 10.0)


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
            found = {"papers": ESTIMATORS["affine_relu"].intervals(papers, Effort())[0].upper}
            # a backward pass for each undecided unit: only where they are some thousands
            undecided = int(full.unstable_units())
            few = ("deviation",) if undecided <= 3000 else ()
            for bound in ("affine_relu", "abs_chain", "fastlip", *few):
                found[bound] = ESTIMATORS[bound].intervals(full, Effort())[0].upper
            gradient = graph.gradients(
                {i: s.unsqueeze(1) for i, s in graph.patterns(graph.values(x)).items()}, placed.rows
            )
            at_image = float(placed.combine(gradient))
            best = min(found.values())
            rows.append(
                {"network": name, "radius": radius, "undecided units": undecided}
                | {key: f"{value:.6g}" for key, value in found.items()}
                | ({} if few else {"deviation": ""})
                | {"gradient at the image": f"{at_image:.4g}", "best over gradient": f"{best / at_image:.3g}"}
                | {"papers over best": f"{found['papers'] / best:.3g}", "CPU s": f"{time.process_time() - began:.1f}"}
            )
            print(rows[-1], flush=True)
    return rows


def large(name: str, width: float = 1e-2, radius: float = 0.1) -> list[dict[str, Any]]:
    """A global and a local bound of one image, beside one forward and backward pass of the network in float32."""
    torch.manual_seed(0)
    net = {"alexnet": alexnet, "vgg16": vgg16}[name]().eval()
    x = torch.rand(1, 3, 224, 224)
    passes = []
    for _ in range(4):
        began = time.process_time()
        net(x.requires_grad_()).amax().backward()
        passes.append(time.process_time() - began)
        net.zero_grad(set_to_none=True)
    one_pass = min(passes[1:])
    x = x.detach().double()
    began = time.process_time()
    graph = capture(net, x).frozen()
    del net
    frozen = time.process_time() - began
    rows = []
    for kind, methods, bound in (("global", ("interval",), "spectral"), ("local", ("ball", "interval"), "affine_relu")):
        problem = LocalLipschitz(L2Ball(radius), Vector(), scope="pointed", p=2)
        began = time.process_time()
        with torch.no_grad():
            analysis = analyse(graph, problem.place(x, graph(x)), methods, width=width)
            (found,) = ESTIMATORS[bound].intervals(analysis, Effort())
        seconds = time.process_time() - began
        rows.append(
            {
                "network": name,
                "bound": f"{kind} ({bound})",
                "value": f"{found.upper:.6g}",
                "certificate": found.detail,
                "freezing s": f"{frozen:.1f}",
                "CPU s": f"{seconds:.1f}",
                "forward and backward s": f"{one_pass:.3f}",
                "ratio": f"{(seconds + frozen) / one_pass:.0f}",
                "peak GiB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}",
            }
        )
        print(rows[-1], flush=True)
    return rows


def digits(kind: str) -> tuple[Tensor, Tensor]:
    """The pixels in [0, 1] and labels of "train" or "t10k", from MNIST's idx files."""
    folder = AVANT.parent / "mnist"
    pixels = gzip.decompress((folder / f"{kind}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{kind}-labels-idx1-ubyte.gz").read_bytes())
    x = torch.from_numpy(np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())
    return x.float() / 255, torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8).copy()).long()


def audits(points: int = 6, seconds: float = 120.0) -> list[dict[str, Any]]:
    """Margins to the runner-up around test digits, l_inf radius 1/255: two convolutions of stride 2 and 100 units."""
    torch.manual_seed(0)
    net, (x, y) = digit_convolutions(), digits("train")
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    for some in torch.randperm(len(x)).split(128):
        adam.zero_grad()
        nn.functional.cross_entropy(net(x[some]), y[some]).backward()
        adam.step()
    x, y = digits("t10k")
    problem = LocalLipschitz(LinfBall(1 / 255, low=0.0, high=1.0), Margin())
    rows = []
    for i in range(points):
        analysis = frozen_analysis(net, problem, x[i : i + 1], y[i : i + 1])
        row: dict[str, Any] = {"digit": i, "undecided units": int(analysis.unstable_units())}
        known = None
        for name in ("fastlip", "lp", "deviation", "sampling", "mip"):
            began = time.perf_counter()
            effort = Effort(seconds=seconds, known=() if known is None else (known,))
            (found,) = ESTIMATORS[name].intervals(analysis, effort)
            known = found if known is None else known.intersect(found)
            row[name] = f"{found.lower if name == 'sampling' else found.upper:.5g}"
            if name == "mip":
                row |= {"gap": f"{found.gap:.1e}", "status": found.status.value}
                row |= {"mip s": f"{time.perf_counter() - began:.0f}"}
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    torch.set_num_threads(1)
    name, *settings = sys.argv[1:] or ["tightness"]
    tables = {"tightness": tightness, "audits": audits}
    rows = tables[name]() if name in tables else large(name, *map(float, settings))
    print(markdown(rows))
    print(f"written to {write_result(f'conv_{name}', rows)}")


if __name__ == "__main__":
    main()
