"""The flags that commands share, in groups."""

from __future__ import annotations

import argparse
from typing import Any


def network(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the network."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "model", metavar="MODEL", help="package.module:ClassOrFactory, or a file that ends in .onnx or .pt2"
    )
    group.add_argument("--weights", metavar="FILE", help="a state_dict, or a checkpoint of Lightning's")
    group.add_argument(
        "--arguments", metavar="JSON", help="of the class or factory; default the checkpoint's hyperparameters"
    )
    group.add_argument(
        "--module", metavar="NAME", help="the submodule that is meant, or the value at which a file ends"
    )


def data(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the points."""
    group = parser.add_argument_group("points")
    files = ".npy, .npz, .pt or .csv of x, and perhaps y; or a data module, package.module:Class"
    group.add_argument("--data", metavar="DATA", required=True, help=files)
    group.add_argument("--data-arguments", metavar="JSON", help="of the data module")
    group.add_argument("--labels", metavar="NAME", help="the column or entry of the labels (default y, if it is there)")
    shape = "of one input, where the file has it flat (an .onnx or .pt2 says it itself)"
    group.add_argument("--shape", metavar="N,N,...", type=_sizes, help=shape)
    count = "the first so many of a file (default all); so many drawn from a data module's validation data"
    group.add_argument("--points", metavar="N", type=int, help=count)
    group.add_argument("--points-seed", metavar="N", type=int, help="of that draw (default 0)")


def question(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the question: region, functional, scope and norms, or a file."""
    group = parser.add_argument_group("question", "either a file or flags")
    file = "a LocalLipschitz with _target_, which may have defaults, as in lipreg/conf/problem; or a name of one there"
    group.add_argument("--question", "--config", metavar="YAML", help=file)
    group.add_argument(
        "--region", choices=("linf", "l2", "l1", "cube", "space"), help="around each point (default linf)"
    )
    group.add_argument("--radius", type=float, metavar="R", help="of the ball")
    group.add_argument("--low", type=float, help="the data range, which cuts the ball")
    group.add_argument("--high", type=float)
    group.add_argument(
        "--output",
        metavar="WHAT",
        help="margins (of the class, the default), pairs, logits, logit:K, margin:K:J, vector",
    )
    group.add_argument("--scope", choices=("regional", "pointed"), help="default regional")
    group.add_argument("--p", choices=("1", "2", "inf"), help="norm of input distances (default the ball's)")
    group.add_argument("--q", choices=("1", "2", "inf"), help="norm of output distances, for vector")


def estimators(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that names methods."""
    parser.add_argument("--estimators", metavar="NAME,NAME", type=_names, help="default the usual ones")


def time_and_memory(parser: argparse.ArgumentParser, default: str = "60") -> Any:
    """Adds the flags of a ``lipreg.Budget`` that bounds without a search have, and returns their group."""
    group = parser.add_argument_group("budget", "where it ends, what is proved by then is a result like any other")
    seconds = "for everything after loading, shared by all points, and by both networks of a comparison"
    group.add_argument("--seconds", type=float, metavar="S", help=f"{seconds} (default {default})")
    memory = (
        "of what is worked on at once, in bytes, or as 1e9, 512MiB, 2GB (default 256MiB); what needs more is in parts"
    )
    group.add_argument("--memory", metavar="SIZE", help=memory)
    return group


def budget(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for what a search may spend, as a ``lipreg.Budget`` has it: the defaults are its own."""
    group = time_and_memory(parser)
    nodes = "of branch and bound at each point, in all (default no limit)"
    group.add_argument("--nodes", type=int, metavar="N", help=nodes)
    group.add_argument(
        "--gap", type=float, metavar="G", help="(upper - lower) / upper at which a search may end (default 0)"
    )


def search(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a search: methods, budget, executor and seed."""
    estimators(parser)
    budget(parser)
    parser.add_argument("--executor", choices=("inline", "processes"), default="inline", help="where searches run")
    parser.add_argument("--seed", type=int, default=0)


def population(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for statements about all points from some that are drawn."""
    about = "audit points that are drawn at random, for statements about all of them"
    group = parser.add_argument_group("data set", about)
    rules = "so many points are drawn; or quantile:0.9:0.1, mean:0.1, above:260:0.05: until it is known so well"
    group.add_argument("--until", metavar="N|RULE", help=rules)
    group.add_argument("--confidence", type=float, metavar="C", help="of each statement over the draw (default 0.95)")
    above = "counts the points above a value that is named before there is any result; may be repeated"
    group.add_argument("--above", type=float, action="append", metavar="VALUE", help=above)
    group.add_argument("--together", action="store_true", help="the confidence is that all statements hold together")


def records(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the files of results."""
    about = "adds the records of each point to a .jsonl file as it is done; the same command again goes on from there"
    parser.add_argument("--records", metavar="FILE", help=about)
    parser.add_argument("--html", metavar="FILE", help="writes the page of the results")


def kept(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for what records hold, and what lies beside them."""
    about = (
        "writes beside the records from what `lipreg check` re-derives both ends of exact points; as much time again"
    )
    parser.add_argument("--certificates", action="store_true", help=about)
    hashes = "records hold hashes of the points and not the points, which pages then cannot show beside their witnesses"
    parser.add_argument("--no-points", dest="keep_points", action="store_false", help=hashes)


def name(parser: argparse.ArgumentParser) -> None:
    """Adds the flag for the network's name."""
    parser.add_argument("--name", help="what the network is called in records and page (default MODEL)")


def radius(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of certified radii."""
    group = parser.add_argument_group("radius")
    group.add_argument("--p", choices=("1", "2", "inf"), default="2", help="norm of distances (default 2)")
    group.add_argument(
        "--bounds",
        metavar="NAME,NAME",
        type=_names,
        default=["affine_relu", "fastlip", "jacobian_crown"],
        help="the smallest counts, the cheapest first (default affine_relu,fastlip,jacobian_crown)",
    )
    group.add_argument("--low", type=float, help="the data range")
    group.add_argument("--high", type=float)
    group.add_argument("--out", metavar="FILE", help="writes the radii, one JSON object a line")
    time_and_memory(parser, default="no limit")


def twin(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the other network of a comparison."""
    search(parser)
    group = parser.add_argument_group("the network that it is compared with")
    group.add_argument("--twin", metavar="MODEL", help="default MODEL itself, with other weights")
    group.add_argument("--twin-weights", metavar="FILE")
    group.add_argument("--twin-arguments", metavar="JSON")
    group.add_argument("--twin-module", metavar="NAME")
    group.add_argument("--bound", default="affine_relu", help="whose movement is compared (default affine_relu)")


def report(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the page."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folders or record files")
    parser.add_argument("--html", metavar="FILE", default="report.html", help="default report.html")
    parser.add_argument("--metric", help="the logged metric that is shown")


def _names(text: str) -> list[str]:
    """The names in a list, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, where N,N,... is accepted") from None
