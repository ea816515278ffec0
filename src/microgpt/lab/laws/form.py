"""The shapes a law can have, each with its value, its gradient and its local slopes.

Every form is a sum of terms that are straight lines in logarithms, so that its logarithm is a logsumexp:

    log L = logsumexp(e, a − alpha log N, b − beta log D)        L = E + A/N^alpha + B/D^beta,  E = exp e, …

(Hoffmann et al. 2022, equation 10). Parameters `theta` are in logarithms for E, A and B and plain for the exponents:
all fits and intervals are made there, and positive coefficients stay positive. Shapes: (fits, parameters) for theta,
(fits, points) for a value, (fits, parameters, points) for a gradient.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from microgpt.lab.laws.points import Floats, Points

Axis = Literal["params", "tokens", "flop"]
Name = Literal[
    "full", "no-floor", "params", "params-no-floor", "tokens", "tokens-no-floor", "compute", "repeated", "joint"
]

LETTERS: Final[dict[str, tuple[str, str]]] = {
    "params": ("A", "alpha"),
    "tokens": ("B", "beta"),
    "flop": ("K", "alpha_C"),
}
EXPONENTS: Final = frozenset(exponent for _, exponent in LETTERS.values())
LARGEST_EXPONENT: Final = 300.0  # the largest exponent of e that is taken: beyond it nothing is learned from overflow
LARGEST_LOG: Final = 700.0  # the largest logarithm that is taken of a coefficient or a loss
TINY: Final = 1e-300


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a form reads of a run, in logarithms, moved so that their mean is zero: then coefficients and exponents
    are told apart well. `repeats` counts the passes beyond the first over the same documents."""

    params: Floats  # (points,) log N − centre
    tokens: Floats  # (points,) log D − centre
    fresh: Floats  # (points,) log of the different tokens seen − the same centre
    repeats: Floats  # (points,)
    flop: Floats  # (points,) log C − both centres
    centre_params: float
    centre_tokens: float


def inputs(found: Points, centres: tuple[float, float] | None = None) -> Inputs:
    """The inputs of points, about their own centre or about another's."""
    log_params, log_tokens = np.log(found.params), np.log(found.tokens)
    if centres is None:
        centres = float(log_params.mean()), float(log_tokens.mean())
    fresh = np.log(np.minimum(found.tokens, found.unique))
    repeats = np.maximum(found.epochs - 1, 0.0)
    params, tokens = centres
    flop = np.log(found.flop) - params - tokens
    return Inputs(log_params - params, log_tokens - tokens, fresh - tokens, repeats, flop, params, tokens)


def _finite(logs: Floats) -> Floats:
    """The exponential of logarithms, finite also where runs that no law fits have led far away."""
    return np.asarray(np.exp(np.minimum(logs, LARGEST_LOG)))


def _added(heights: Floats, shares: Floats) -> Floats:
    """logsumexp over terms (fits, points) of heights (fits, terms, points); writes its derivative by each height."""
    highest = heights.max(axis=1)
    np.exp(np.maximum(heights - highest[:, None], -LARGEST_EXPONENT), out=shares)
    total = shares.sum(axis=1)
    shares /= total[:, None]
    return np.asarray(highest + np.log(total))


def _joined(heights: Floats, gamma: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """log(E + (x^(1/γ) + y^(1/γ))^γ) for the logs of E, x and y (fits, 3, points), and its derivative by log γ, both
    (fits, points); writes the derivative by each height. That of γ log Σ exp(u/γ) by γ is the entropy of the shares."""
    inner, outer = shares[:, 1:], np.empty((len(heights), 2, heights.shape[2]))
    excess = gamma * _added(heights[:, 1:] / gamma[:, None], inner)
    entropy = -(inner * np.log(np.maximum(inner, TINY))).sum(axis=1)
    value = _added(np.stack([heights[:, 0], excess], axis=1), outer)
    shares[:, 0] = outer[:, 0]
    inner *= outer[:, 1:]
    return value, outer[:, 1] * gamma * entropy


@dataclass(frozen=True)
class Form:
    """A law: its floor if it has one, its axes, whether repeated tokens count for less, and whether terms are joined.

    With `repeated`, D is replaced by the effective U + U R* (1 − exp(−R / R*)), where U are the different tokens, R
    the repeats and R* = exp(rho) is fitted (Muennighoff et al. 2023, equation 5). With `joint`, the Skaling law (Videau
    et al. 2026, arXiv 2608.07222), size and length are no separate sums:
    L = E + ((A/N^alpha)^(1/gamma) + (B/D^beta)^(1/gamma))^gamma. At gamma 1 that is the full law; below it a small
    model gains less from length, as in the law of Kaplan et al. 2020 (equation 1.5), which has gamma = beta and no
    floor. For endless data or size what is left is A/N^alpha or B/D^beta, and the best size still grows as FLOP to
    beta / (alpha + beta).

    `fixed` parameters have a value of theta that is not fitted; a `tied` one has that of another. They keep their place
    in theta, have no gradient there, and what stands there is not read.
    """

    name: Name
    floor: bool
    axes: tuple[Axis, ...]
    repeated: bool = False
    joint: bool = False
    fixed: tuple[tuple[str, float], ...] = ()
    tied: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Parameters in the order of theta: coefficients, exponents, and log R or log gamma."""
        coefficients = ["E"] * self.floor + [LETTERS[axis][0] for axis in self.axes]
        return (
            *coefficients,
            *(LETTERS[axis][1] for axis in self.axes),
            *["R"] * self.repeated,
            *["gamma"] * self.joint,
        )

    @property
    def size(self) -> int:
        return len(self.names)

    @property
    def free(self) -> int:
        """How many parameters are fitted."""
        return self.size - len(self.fixed) - len(self.tied)

    def bound(self, theta: Floats) -> Floats:
        """theta with its fixed and tied parameters in their place."""
        if self.free == self.size:
            return theta
        out, place = theta.copy(), self.names.index
        for name, value in self.fixed:
            out[..., place(name)] = value
        for name, other in self.tied:
            out[..., place(name)] = out[..., place(other)]
        return out

    def effective(self, theta: Floats, given: Inputs) -> tuple[Floats, Floats]:
        """Log effective tokens and their derivative by rho, each (fits, points)."""
        if not self.repeated:
            return given.tokens[None, :], np.zeros((1, 1))
        scale = np.exp(theta[:, -1:])
        fading = np.exp(-given.repeats / scale)
        grown = 1 + scale * (1 - fading)
        return given.fresh + np.log(grown), (scale * (1 - fading) - given.repeats * fading) / grown

    def log_loss(self, theta: Floats, given: Inputs) -> tuple[Floats, Floats]:
        """The log of the loss (fits, points) and its gradient (fits, parameters, points)."""
        first, terms = int(self.floor), int(self.floor) + len(self.axes)
        theta = self.bound(theta)
        tokens, by_rho = self.effective(theta, given)
        measured = {"params": given.params[None, :], "tokens": tokens, "flop": given.flop[None, :]}
        heights = np.empty((len(theta), terms, len(given.params)))  # (fits, terms, points)
        heights[:] = theta[:, :terms, None]
        for k, axis in enumerate(self.axes):
            heights[:, first + k] -= theta[:, terms + k, None] * measured[axis]
        gradient = np.empty((len(theta), self.size, len(given.params)))
        if self.joint:
            value, gradient[:, -1] = _joined(heights, np.exp(theta[:, -1:]), gradient[:, :terms])
        else:
            value = _added(heights, gradient[:, :terms])
        for k, axis in enumerate(self.axes):
            np.multiply(gradient[:, first + k], -measured[axis], out=gradient[:, terms + k])
        if self.repeated:
            gradient[:, -1] = -gradient[:, terms - 1] * theta[:, terms + len(self.axes) - 1, None] * by_rho
        for name, other in self.tied:
            gradient[:, self.names.index(other)] += gradient[:, self.names.index(name)]
        for name, _ in (*self.fixed, *self.tied):
            gradient[:, self.names.index(name)] = 0
        return value, gradient

    def moved(self, theta: Floats, centre_params: float, centre_tokens: float) -> Floats:
        """theta for inputs about zero, from theta for inputs about a centre; negative centres lead back."""
        first, terms = int(self.floor), int(self.floor) + len(self.axes)
        centre = {"params": centre_params, "tokens": centre_tokens, "flop": centre_params + centre_tokens}
        out = self.bound(theta.copy())
        for k, axis in enumerate(self.axes):
            out[..., first + k] += out[..., terms + k] * centre[axis]
        return out

    def loss(self, theta: Floats, at: Points) -> Floats:
        """Nats per token at some points, for theta about zero: (points,) for one theta, else (fits, points)."""
        value = _finite(self.log_loss(np.atleast_2d(theta), inputs(at, (0.0, 0.0)))[0])
        return value[0] if theta.ndim == 1 else value

    def slopes(self, theta: Floats, at: Points) -> dict[str, Floats]:
        """dL/dN and dL/dD in nats per parameter and per token, at each point (points,), for one theta."""
        theta = self.bound(theta)
        value, gradient = self.log_loss(theta[None, :], inputs(at, (0.0, 0.0)))
        first, terms = int(self.floor), int(self.floor) + len(self.axes)
        found: dict[str, Floats] = {}
        for k, axis in enumerate(self.axes):
            relative = -theta[terms + k] * gradient[0, first + k]  # d log L / d log x
            if axis == "tokens" and self.repeated:
                relative = relative * self._growth(theta, at)
            found[axis] = np.exp(value[0]) * relative / getattr(at, axis)
        return found

    def _growth(self, theta: Floats, at: Points) -> Floats:
        """d log effective tokens / d log tokens."""
        given, scale = inputs(at, (0.0, 0.0)), np.exp(theta[-1])
        fading = np.exp(-given.repeats / scale)
        return np.where(given.repeats > 0, fading * (1 + given.repeats) / (1 + scale * (1 - fading)), 1.0)

    def natural(self, theta: Floats) -> dict[str, Floats]:
        """Parameters as people write them: E, A, B, alpha, beta, R; each as theta has fits."""
        theta = self.bound(theta)
        return {
            name: theta[..., k] if name in EXPONENTS else _finite(theta[..., k]) for k, name in enumerate(self.names)
        }


FORMS: Final[dict[str, Form]] = {
    form.name: form
    for form in (
        Form("full", True, ("params", "tokens")),
        Form("no-floor", False, ("params", "tokens")),
        Form("params", True, ("params",)),
        Form("params-no-floor", False, ("params",)),
        Form("tokens", True, ("tokens",)),
        Form("tokens-no-floor", False, ("tokens",)),
        Form("compute", True, ("flop",)),
        Form("repeated", True, ("params", "tokens"), repeated=True),
        Form("joint", True, ("params", "tokens"), joint=True),
    )
}
