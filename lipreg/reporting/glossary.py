"""What the numbers mean, in a line each."""

from __future__ import annotations

TERMS = (
    ("regional constant", "The largest slope between any two points of the region around a reference point."),
    (
        "pointed constant",
        "The largest slope between the reference point itself and any other point of its region; never above the "
        "regional one, and never compared with it.",
    ),
    (
        "certified interval",
        "The exact constant lies in [lower, upper]: a point was found that attains the lower end, and a proof holds "
        "for the upper end. Lower ends are printed rounded down, upper ends rounded up.",
    ),
    (
        "bound",
        "What the penalty lowers during training. It is never below the exact constant, but may be far above it.",
    ),
    ("LP relaxation", "A tighter upper bound, from the exact problem with its on/off choices relaxed to fractions."),
    (
        "tightness",
        "Bound / exact constant, over points the geometric mean. 1 is a perfect bound; 5 says that the bound is five times "
        "too large.",
    ),
    (
        "movement",
        "Regularised / twin. 0.5 says that it is half of what it is in the twin.",
    ),
    (
        "transfer",
        "Movement of the exact constant / movement of the bound, in logarithms. 1: every per cent taken off the bound "
        "came off the truth. 0: only the bound moved. Negative: the truth went the other way.",
    ),
    (
        "certified radius",
        "Logit margin / constant, cut to the region: no smaller change of the input, within the data range, alters the "
        "predicted class.",
    ),
    (
        "rank correlation",
        "Spearman's, of bound and exact constant over all points and epochs. 1: the bound ranks them right.",
    ),
)

CERTIFICATES = (
    ("exact", "Both ends are proved and meet, to a relative 1e-5: this is the constant."),
    ("bracket", "Both ends are proved, with a gap between them."),
    ("upper", "The constant is at most this: proved by lipreg's own arithmetic; a solver's word is no proof."),
    ("lower", "The constant is at least this: the witness, a point evaluated again on the network, attains it."),
    ("estimate", "A number near the constant that proves nothing."),
)
