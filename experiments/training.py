"""Training that can be killed at any moment and gives the same weights when it goes on."""

from __future__ import annotations

import csv
import os
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from experiments.accuracy import measure
from experiments.augment import Augment
from experiments.photos import Photos
from experiments.recipe import Recipe
from experiments.schedule import rate_at

TEMPERATURE, SOFT_SHARE = 2.0, 0.5  # of distillation


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        recipe: its settings.
        out: folder of its files.
        seed: of order, crops and mixes.
        identity: all settings; a training only goes on with the same ones.
        mean: of the normalisation.
        std: likewise.
        accumulate: parts into which each process cuts its share of a batch, to save memory.
        save_seconds: between two saves; 0 saves after every step.
    """

    recipe: Recipe
    out: Path
    seed: int
    identity: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    accumulate: int = 1
    save_seconds: float = 300


class Training:
    """Model, averaged model and optimizer, from the first step or where an earlier run stopped.

    Randomness is drawn anew for every part of every step from seed, step and part, so a step
    does not depend on what ran before it, nor on how many processes share its parts.
    """

    def __init__(
        self, job: Job, model: nn.Module, train: Photos, device: torch.device, *, fast: bool
    ) -> None:
        self.job, self.device = job, device
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
        self.steps_per_epoch = len(train.labels) // recipe.batch
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"batch must be at most the {len(train.labels)} photos, not {recipe.batch}"
            )
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.averaged = (
            AveragedModel(
                self.model,
                multi_avg_fn=get_ema_multi_avg_fn(recipe.ema),  # type: ignore[no-untyped-call]
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
        runs: nn.Module = torch.compile(self.model) if fast else self.model  # type: ignore[assignment]
        self.runs = DistributedDataParallel(runs) if dist.is_initialized() else runs
        self.train = train
        self.augment = Augment(recipe, len(train.classes), job.mean, job.std)

    @property
    def result(self) -> nn.Module:
        """The network that the training is for."""
        return self.model if self.averaged is None else self.averaged.module

    def run(self, val: Photos, teacher: nn.Module | None = None) -> None:
        """Train to the end of the recipe, with a progress bar and a log."""
        total = self.job.recipe.epochs * self.steps_per_epoch
        log = SummaryWriter(self.job.out / "log", purge_step=self.step) if self.rank == 0 else None
        saved = started = time.monotonic()
        first = self.step  # that this process measures the speed of
        bar = tqdm(
            total=total * self.job.recipe.batch,
            initial=self.step * self.job.recipe.batch,
            unit="photo",
            unit_scale=True,
            disable=self.rank > 0,
        )
        while self.step < total:
            self.losses.append(self.advance(teacher))
            bar.update(self.job.recipe.batch)
            if self.step % self.steps_per_epoch == 0:
                done = (self.step - first) * self.job.recipe.batch
                if log is not None:
                    self._close_epoch(val, log, done / (time.monotonic() - started))
                bar.set_postfix(self.history[-1] if self.history else {})
                started, first, self.losses = time.monotonic(), self.step, []
                self.save()
            elif time.monotonic() - saved >= self.job.save_seconds:
                self.save()
                saved = time.monotonic()
        bar.close()
        if log is not None:
            log.close()

    def advance(self, teacher: nn.Module | None = None) -> float:
        """One step of the optimizer; returns the mean loss of the batch."""
        recipe, job = self.job.recipe, self.job
        epoch, within = divmod(self.step, self.steps_per_epoch)
        generator = torch.Generator().manual_seed(_seed(job.seed, epoch, -1))
        order = torch.randperm(len(self.train.labels), generator=generator)
        batch = order[within * recipe.batch : (within + 1) * recipe.batch]
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * rate_at(recipe, self.step / self.steps_per_epoch)
        self.optimizer.zero_grad()
        losses = []
        for k in range(job.accumulate):
            part = self.rank * job.accumulate + k
            torch.manual_seed(_seed(job.seed, self.step, part))
            last = k == job.accumulate - 1
            wait = isinstance(self.runs, DistributedDataParallel) and not last
            with self.runs.no_sync() if wait else nullcontext():  # type: ignore[operator]
                loss = self._loss(batch.chunk(self.parts)[part], teacher)
                (loss / job.accumulate).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self.optimizer.step()
        self.step += 1
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        loss = torch.stack(losses).mean()
        if self.world > 1:
            dist.all_reduce(loss)
        return float(loss) / self.world

    def _loss(self, indices: Tensor, teacher: nn.Module | None) -> Tensor:
        chosen = indices.numpy()
        images = torch.from_numpy(self.train.images[chosen]).to(self.device)
        labels = torch.from_numpy(self.train.labels[chosen]).to(self.device)
        x, targets = self.augment(images, labels)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.runs(x)
        smoothing = self.job.recipe.label_smoothing
        hard = cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if teacher is None:
            return hard
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            taught = teacher(x)
        soft = kl_div(
            (logits.float() / TEMPERATURE).log_softmax(1),
            (taught.float() / TEMPERATURE).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - SOFT_SHARE) * hard + SOFT_SHARE * TEMPERATURE**2 * soft

    def _close_epoch(self, val: Photos, log: SummaryWriter, speed: float) -> None:
        """Measure, and write the row of the epoch."""
        job = self.job
        found = measure(self.result, val, job.recipe.size, job.mean, job.std, self.device)
        row = {
            "epoch": self.step // self.steps_per_epoch,
            "loss": float(np.mean(self.losses)),
            "rate": self.optimizer.param_groups[0]["lr"],
            **asdict(found),
            "photos_per_second": speed,
        }
        self.history.append(row)
        for name, value in row.items():
            log.add_scalar(name, value, self.step)
        with (job.out / "log.csv").open("w", newline="") as file:
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
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def _resume(self) -> None:
        path = self.job.out / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
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


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence([n % 2**32 for n in numbers]).generate_state(1)[0])
