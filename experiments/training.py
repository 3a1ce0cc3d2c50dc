"""Training that can be killed at any moment and gives the same weights when it goes on."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from experiments.recipe import Optimisation
from experiments.schedule import rate_at
from experiments.task import Batch, Part, Task, seed_of

Weights = tuple[Tensor, ...] | list[Tensor]
BOOKKEEPING = ("epoch", "loss", "rate", "photos_per_second")  # in a row of the log


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        recipe: its settings.
        out: folder of its files.
        seed: of everything random.
        identity: all settings; a training only goes on with the same ones.
        accumulate: parts into which each process cuts its share of a batch, to save memory.
        save_seconds: between two saves; 0 saves after every step.
    """

    recipe: Optimisation
    out: Path
    seed: int
    identity: dict[str, Any]
    accumulate: int = 1
    save_seconds: float = 300


def rising_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """An exponential average for ``AveragedModel`` whose decay rises to ``decay``.

    After n steps it is at most (1 + n) / (10 + n): the average of a short training would
    otherwise be mostly the weights of its first step.
    """

    def average(averaged: Weights, now: Weights, steps: Tensor | int) -> None:
        risen = (1 + int(steps)) / (10 + int(steps))
        update = get_ema_multi_avg_fn(min(decay, risen))  # type: ignore[no-untyped-call]
        update(averaged, now, steps)

    return average


class Training(Generic[Batch]):
    """Model, averaged model and optimizer, from the first step or where an earlier run stopped.

    Randomness is drawn anew for every part of every step from seed, step and part, so a step
    does not depend on what ran before it, nor on how many processes share its parts.

    Args:
        job: what to do.
        model: every module of it in the mode, training or evaluation, that it is trained in.
        task: samples, loss and measures.
        device: where the model goes.
        fast: compile it.
    """

    def __init__(
        self, job: Job, model: nn.Module, task: Task[Batch], device: torch.device, *, fast: bool
    ) -> None:
        self.job, self.task, self.device = job, task, device
        self.rank, self.world = (
            (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        )
        self.parts = self.world * job.accumulate
        recipe = job.recipe
        if recipe.batch % self.parts:
            raise ValueError(
                f"batch must be a multiple of processes x accumulate = {self.parts}, "
                f"not {recipe.batch}"
            )
        self.steps_per_epoch = len(task) // recipe.batch
        if self.steps_per_epoch == 0:
            raise ValueError(f"batch must be at most the {len(task)} photos, not {recipe.batch}")
        self.steps = recipe.epochs * self.steps_per_epoch
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = (
            AveragedModel(
                self.model,
                multi_avg_fn=rising_average(recipe.ema),
                use_buffers=True,
            )
            if recipe.ema
            else None
        )
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=recipe.rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        self.step = 0
        self.losses: list[float] = []  # of the steps of this epoch
        self.history: list[dict[str, float]] = []
        self._resume()
        runs = task.running(self.model)
        if fast:
            runs = torch.compile(runs)  # type: ignore[assignment]
        self.runs = DistributedDataParallel(runs) if dist.is_initialized() else runs

    @property
    def result(self) -> nn.Module:
        """The network that the training is for."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step == self.steps

    @property
    def measured(self) -> dict[str, float]:
        """What the task measured after the last epoch."""
        return {k: v for k, v in self.history[-1].items() if k not in BOOKKEEPING}

    def run(self) -> None:
        """Train to the end of the recipe, with a progress bar and a log."""
        log = None
        if self.rank == 0:
            log = SummaryWriter(self.job.out / "log", purge_step=self.step + 1)
        saved = started = time.monotonic()
        first = self.step  # that this process measures the speed of
        bar = tqdm(
            total=self.steps * self.job.recipe.batch,
            initial=self.step * self.job.recipe.batch,
            unit="photo",
            unit_scale=True,
            disable=self.rank > 0,
        )
        batches = self.task.feed(self._parts())
        while not self.ended:
            self.losses.append(self._advance(batches))
            bar.update(self.job.recipe.batch)
            if self.step % self.steps_per_epoch == 0:
                done = (self.step - first) * self.job.recipe.batch
                if log is not None:
                    self._close_epoch(log, done / (time.monotonic() - started))
                bar.set_postfix(self.history[-1] if self.history else {})
                started, first, self.losses = time.monotonic(), self.step, []
                self.save()
            elif time.monotonic() - saved >= self.job.save_seconds:
                self.save()
                saved = time.monotonic()
        bar.close()
        if log is not None:
            log.close()

    def _parts(self) -> Iterator[Part]:
        """This process's parts of the batches that are left."""
        batch, mine = self.job.recipe.batch, self.rank * self.job.accumulate
        ordered = -1
        for step in range(self.step, self.steps):
            epoch, within = divmod(step, self.steps_per_epoch)
            if epoch != ordered:
                generator = torch.Generator().manual_seed(seed_of(self.job.seed, epoch, -1))
                order, ordered = torch.randperm(len(self.task), generator=generator), epoch
            parts = order[within * batch : (within + 1) * batch].chunk(self.parts)
            for indices in parts[mine : mine + self.job.accumulate]:
                yield Part(indices, epoch)

    def _advance(self, batches: Iterator[Batch]) -> float:
        """One step of the optimizer; returns the mean loss of the batch."""
        recipe, job = self.job.recipe, self.job
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * rate_at(recipe, self.step / self.steps_per_epoch)
        self.optimizer.zero_grad()
        losses = []
        for k in range(job.accumulate):
            batch = next(batches)
            torch.manual_seed(seed_of(job.seed, self.step, self.rank * job.accumulate + k))
            last = k == job.accumulate - 1
            wait = isinstance(self.runs, DistributedDataParallel) and not last
            with self.runs.no_sync() if wait else nullcontext():  # type: ignore[operator]
                loss = self.task.loss(self.runs, batch)
                (loss / job.accumulate).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self.optimizer.step()
        self.step += 1
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        loss = torch.stack(losses).mean()
        if self.world > 1:
            dist.all_reduce(loss)
        value = float(loss) / self.world
        if not math.isfinite(value):
            raise ValueError(f"the loss of step {self.step} is {value}: try a smaller --rate")
        return value

    def _close_epoch(self, log: SummaryWriter, speed: float) -> None:
        """Measure, and write the row of the epoch."""
        row = {
            "epoch": self.step // self.steps_per_epoch,
            "loss": float(np.mean(self.losses)),
            "rate": self.optimizer.param_groups[0]["lr"],
            **self.task.measure(self.result),
            "photos_per_second": speed,
        }
        self.history.append(row)
        for name, value in row.items():
            log.add_scalar(name, value, self.step)
        with (self.job.out / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(self.history)

    def save(self) -> None:
        """Write the state, all or nothing; the first process does."""
        if self.rank > 0:
            return
        state = {
            "identity": self.job.identity,
            "step": self.step,
            "losses": self.losses,
            "history": self.history,
            "model": self.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        path = self.job.out / "state.pt"
        new = path.with_suffix(".new")
        try:
            with new.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter
            new.unlink(missing_ok=True)
            raise ValueError(
                f"{path} could not be written ({error}): make room for it, then the same command "
                "goes on from what was saved before"
            ) from error
        os.replace(new, path)

    def _resume(self) -> None:
        path = self.job.out / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises very different things
            raise ValueError(
                f"{path} is damaged: put a copy of it there, or delete it to start again"
            ) from error
        if state["identity"] != self.job.identity:
            changed = [k for k, v in self.job.identity.items() if state["identity"].get(k) != v]
            raise ValueError(
                f"{self.job.out} holds a training with another {', '.join(changed)}: "
                "give the same settings to go on with it, or another --out"
            )
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.losses = state["step"], state["losses"]
        self.history = state["history"]
