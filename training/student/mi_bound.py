"""A measurement of I(Z;V), the information that the states of both passes share."""

import math

import torch
from torch import Tensor

FEWEST_ROWS = 8
MOST_ROWS = 1024  # every row of a half is compared with every other

# The grids that a critic is chosen from. An infinite ridge keeps a state as it is. A sharpness of 0
# is a critic that knows nothing, so its bound is 0.
RIDGES = (math.inf, 10.0, 1.0, 0.1, 0.01, 0.001)
UNIFORM = 0.01  # share of the critic: costs 0.01 nats at most; no row then costs over log 100
SHARPNESSES = torch.cat([torch.zeros(1), torch.logspace(-1, 4, 21)]).double()


def information_bound(predict: Tensor, explain: Tensor) -> float | None:
    """A lower bound on I(Z;V) in nats, from the states [N,D] of both passes, one row an example.

    None if there are fewer than FEWEST_ROWS rows, or states that are not finite.

    InfoNCE (arXiv 1807.03748) asks which of M explain states belongs to a predict state. Any guess
    q(i | states) gives a bound, log M + E log q(i). Here q is a softmax over the log-densities of
    a Gaussian around a linear guess of the explain state, mixed with a little of the uniform
    distribution. It is fitted on one half of the rows and judged on the other, then the other way
    round; the mean is returned. The halves are always the same, and no row judges itself.

    A critic this simple may miss much of what the states share. The bound is at most log(N / 2),
    and around 0 for independent states. With teacher forcing, states hold their targets. What the
    targets share counts too.
    """
    drawn = torch.randperm(len(predict), generator=torch.Generator().manual_seed(0))[:MOST_ROWS]
    z, v = predict[drawn].double(), explain[drawn].double()
    if len(z) < FEWEST_ROWS or not (z.isfinite().all() and v.isfinite().all()):
        return None
    even, odd = slice(0, None, 2), slice(1, None, 2)
    bounds = [_fit_and_judge(z, v, *halves) for halves in ((even, odd), (odd, even))]
    return sum(bounds) / 2


def _fit_and_judge(z: Tensor, v: Tensor, fit: slice, judge: slice) -> float:
    # both passes end in the same decoder, so their states share one scale
    variance = (z[fit].var(dim=0) + v[fit].var(dim=0)) / 2
    scale = (variance + variance.mean()).sqrt().clamp(min=1e-12)
    z, v = (z - z[fit].mean(dim=0)) / scale, (v - v[fit].mean(dim=0)) / scale
    length = v[fit].square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
    z, v = z / length, v / length

    # Ridge regression of v − z on z, in its dual form: with no evidence, a state guesses itself.
    eigenvalues, basis = torch.linalg.eigh(z[fit] @ z[fit].T)
    eigenvalues = eigenvalues.clamp(min=0)
    unit = eigenvalues.mean().clamp(min=1e-12)
    coordinates, residual = basis.T @ (v - z)[fit], (v - z)[fit]
    best = (-math.inf, math.inf, 0.0)
    for ridge in RIDGES:
        shrunk = eigenvalues / (eigenvalues + ridge * unit)
        error = residual - basis @ (shrunk.unsqueeze(1) * coordinates)
        leverage = (basis.square() * shrunk).sum(dim=1, keepdim=True) + 1 / len(basis)  # the mean's
        guess = v[fit] - error / (1 - leverage).clamp(min=1e-6)  # without the row that it guesses
        bounds = _bounds(guess, v[fit], SHARPNESSES)
        best = max(best, (bounds.max().item(), ridge, SHARPNESSES[bounds.argmax()].item()))
    _, ridge, sharpness = best

    weights = basis / (eigenvalues + ridge * unit) @ coordinates
    guess = z[judge] + z[judge] @ z[fit].T @ weights
    return _bounds(guess, v[judge], torch.tensor([sharpness])).item()


def _bounds(guess: Tensor, v: Tensor, sharpnesses: Tensor) -> Tensor:
    """InfoNCE's bound for the critic −sharpness · |guess − v|², for each sharpness."""
    affinity = 2 * guess @ v.T - v.square().sum(dim=1)  # less what all candidates have in common
    found = torch.stack([(s * affinity).softmax(dim=1).diagonal() for s in sharpnesses])
    mixed = (1 - UNIFORM) * found + UNIFORM / len(v)
    return math.log(len(v)) + mixed.log().mean(dim=1)
