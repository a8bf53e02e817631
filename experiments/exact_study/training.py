"""One training of the study, as an ordinary loop: the same for a run and its twin but for the term."""

from __future__ import annotations

import torch
from torch import nn

from experiments.exact_study.designs import EARLY
from experiments.exact_study.parts import Images
from experiments.exact_study.questions import Question
from experiments.exact_study.terms import term

BATCH = 128


def train(
    penalty: str, strength: float, seed: int, rate: float, epochs: int, data: Images, question: Question
) -> nn.Module:
    """A trained network, in evaluation mode; global random states stay as they are.

    Args:
        penalty, strength: what is added to the loss; of early stopping, the strength divides the epochs.
        seed: of the initial weights, the order of the batches, and what penalties draw.
        rate: of Adam, which falls linearly to 0 over the training.
        epochs: through the data.
        data: the training part.
        question: that penalties are about, with its network.
    """
    x, y = data
    net = question.design.network(seed)
    added = term(penalty, strength, net, question, seed)
    epochs = max(1, round(epochs / strength)) if penalty == EARLY else epochs
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    steps = epochs * -(-len(x) // BATCH)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=order).split(BATCH):
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            if added is not None:
                loss = loss + added(x[batch], y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
    return net.eval()
