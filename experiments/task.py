"""What the trainer asks of a task, and how a task that reads files gets its samples in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Batch = TypeVar("Batch")
Key = TypeVar("Key")
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Part:
    """The share of one batch that a process takes at once.

    Attributes:
        indices: of its samples, (B,).
        epoch: that they are drawn in.
    """

    indices: Tensor
    epoch: int


class Task(Protocol[Batch]):
    """What is learned, from which samples, and how well.

    Attributes:
        classes: the name of each class.
        headline: what the command prints of the measures at the end: their keys by name.
    """

    classes: tuple[str, ...]
    headline: ClassVar[dict[str, str]]

    def __len__(self) -> int:
        """Number of samples to train on."""

    def feed(self, parts: Iterator[Part]) -> Iterator[Batch]:
        """The samples of each part. May read ahead: nothing here depends on global randomness."""

    def running(self, model: nn.Module) -> nn.Module:
        """What ``loss`` runs: the model, or a module around it."""

    def loss(self, runs: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, whose randomness is torch's global generator's."""

    def measure(self, model: nn.Module) -> dict[str, float]:
        """How well the model does on the validation part, by name."""


def seed_of(*numbers: int) -> int:
    """A seed that depends on all the numbers."""
    return int(np.random.SeedSequence([n % 2**32 for n in numbers]).generate_state(1)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator of the CPU starts from a seed; afterwards it goes on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        yield


def load(
    read: Callable[[Key], Sample], batches: Iterable[Sequence[Key]], workers: int
) -> Iterator[list[Sample]]:
    """The samples of every batch of keys, in order, read ahead by ``workers`` processes.

    Torch's generators are the caller's: a sample that needs randomness has its seed in its key.
    With 0 workers this process reads, when a batch is asked for.

    Raises:
        ValueError: as ``read`` raised it.
    """
    loader = DataLoader(
        _Reader(read),
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=workers,
        generator=torch.Generator(),
    )
    for batch in loader:
        for sample in batch:
            if isinstance(sample, ValueError):
                raise sample
        yield batch


class _Reader(Dataset[Sample | ValueError], Generic[Key, Sample]):
    """Keys to samples; errors come back as values, without a worker's traceback around them."""

    def __init__(self, read: Callable[[Key], Sample]) -> None:
        self.read = read

    def __getitem__(self, key: Key) -> Sample | ValueError:
        try:
            return self.read(key)
        except ValueError as error:
            return error
