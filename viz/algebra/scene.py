"""What the figure is filled with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from PIL import Image
from torch import Tensor

from drtam import Descriptors, DRTAMTrace, Factors
from drtam.explain import DRTAMSteps, Embedding, ResidualCheck, RTAMSteps

Pass = Literal["initial", "complement"]
MARKS: dict[Pass, str] = {"initial": "I", "complement": "C"}
INDEX = {"c": "channel", "h": "row", "w": "column"}


def split_key(key: str) -> tuple[Pass | None, str]:
    """The pass that a node belongs to, and the rest of its key; all of it outside the passes."""
    first, _, rest = key.partition(".")
    for which in MARKS:
        if which == first:
            return which, rest
    return None, key


@dataclass(frozen=True)
class Scene:
    """One photo at one DRTAM layer.

    Attributes:
        trace: of the layer, for one photo; its output may be missing.
        check: of its residual descriptors.
        output_mean: (1, H, W), the mean of X_out over C.
        steps: that led to the trace.
        photo: the pixels that the network saw.
        note: ``untrained``, or nothing.
    """

    trace: DRTAMTrace
    check: ResidualCheck
    output_mean: Tensor
    steps: DRTAMSteps
    photo: Image.Image
    note: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H and W."""
        channels, height = self.trace.descriptors.ch.shape[1:]
        return channels, height, self.trace.descriptors.hw.shape[2]

    @cached_property
    def cell(self) -> tuple[int, int, int]:
        """Channel, row and column where A is largest: the number that the text follows."""
        _, height, width = self.shape
        flat = int(self.trace.attention()[0].argmax())
        return flat // (height * width), flat // width % height, flat % width

    def rtam(self, which: Pass) -> RTAMSteps:
        """The steps of that pass."""
        return self.steps.initial if which == "initial" else self.steps.complement

    def factors(self, which: Pass) -> Factors:
        """The factors of that pass."""
        return self.trace.initial if which == "initial" else self.trace.complement

    def descriptors(self, which: Pass) -> Descriptors:
        """What that pass was given."""
        return self.trace.descriptors if which == "initial" else self.trace.residual

    def embedding(self, which: Pass, axis: str) -> Embedding:
        """How the factor ``c``, ``h`` or ``w`` of that pass came about."""
        found: Embedding = getattr(self.rtam(which), axis)
        return found
