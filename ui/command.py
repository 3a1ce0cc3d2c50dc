"""The command line: photos in folders, explained into folders.

Example:
    python -m drtam explain holiday/ lion.jpg --checkpoint runs/drtam/model.safetensors --out maps
    torchrun --nproc-per-node 8 -m drtam explain holiday/ --checkpoint F --out maps

Each photo gets a folder OUT/PHOTO with what the page's ZIP holds and a report.html; README.txt
in it says what is what. OUT/layers.csv has a row for each photo and layer: mean, spread and
entropy of its attention maps, and how far its residual descriptors are from exact ones. Run
again, the command goes on where it was stopped. Each process of torchrun takes its share; on
several machines they have to see the same OUT. A photo that has its folder is not explained again.

It ends with 0, with 1 if there were photos that could not be explained, with 2 if it could not
start or go on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import distributed
from tqdm import tqdm

from ui import folder, summary
from ui.batches import Failure, explained
from ui.compute import SIZES, own_size
from ui.folder import FolderError, Job
from ui.networks import Opened, load
from ui.record import machine_record, network_record

WAIT = timedelta(days=7)  # of the first process for the last one


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's."""

    rank: int
    world: int


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        source = Opened.of(given.checkpoint)
        with _processes() as share:
            if load(source).spec.attention is None:
                raise FolderError(f"{given.checkpoint} has no attention, hence no map to explain")
            jobs = folder.jobs(given.photos, given.out)
            given.size = given.size or own_size(source)
            if given.target is not None:
                given.target = _class(given.target, load(source).classes)
            settings = {
                "network": network_record(source),
                "asked": {"size": given.size, "target": given.target},
                "charts_as_pictures": given.charts_as_pictures,
            }
            folder.prepare(given.out, settings, machine_record())
            failures = _gathered(_run(jobs, source, given, share), share)
            if share.rank == 0:
                summary.write(jobs, given.out)
            return _report(failures, len(jobs), share)
    except (ValueError, OSError) as error:  # of the checkpoint, the folders, the target, the disk
        print(f"python -m drtam explain: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m drtam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain = parser.add_subparsers(required=True, metavar="explain").add_parser(
        "explain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = explain.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="photos, or folders of photos")
    add("--checkpoint", required=True, type=Path, metavar="F", help=".safetensors, .pth or .pt")
    add("--out", required=True, type=Path, metavar="DIR", help="where the results go")
    sizes = f"{SIZES[0]} to {SIZES[1]}"
    add("--size", type=_size, help=f"analysis resolution, {sizes} (default: the network's own)")
    add(
        "--target",
        metavar="CLASS",
        help="that Grad-CAM explains, its name or number (default: each photo's best)",
    )
    add("--batch", type=int, default=8, choices=range(1, 257), metavar="N", help="(default 8)")
    add(
        "--charts-as-pictures",
        action="store_true",
        help="PNG and SVG of the charts too, by Chrome where it is found: half a second each",
    )
    return parser


def _size(text: str) -> int:
    size = int(text)
    if not SIZES[0] <= size <= SIZES[1]:
        raise argparse.ArgumentTypeError(f"must be from {SIZES[0]} to {SIZES[1]}, not {size}")
    return size


def _class(asked: str, classes: Sequence[str]) -> int:
    """The number of a class that is given by its name or its number."""
    if asked in classes:
        return classes.index(asked)
    if asked.isdecimal() and int(asked) < len(classes):
        return int(asked)
    near = get_close_matches(asked, classes, n=5, cutoff=0.4)
    raise FolderError(
        f"--target must be from 0 to {len(classes) - 1} or the name of a class"
        + (f", such as {', '.join(near)}" if near else "")
        + f", not {asked}"
    )


@contextmanager
def _processes() -> Iterator[Share]:
    """This process among those that torchrun started, or alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Share(0, 1)
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    distributed.init_process_group("gloo", timeout=WAIT)
    try:
        yield Share(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def _run(
    jobs: list[Job], source: Opened, given: argparse.Namespace, share: Share
) -> list[Failure]:
    """Explain this process's share of the photos; returns those that could not be."""
    failures = []
    chunks = folder.chunks(jobs, given.batch)[share.rank :: share.world]
    total = sum(map(len, chunks))
    with tqdm(total=total, unit="photo", disable=share.rank > 0) as bar:
        for chunk in chunks:
            unfinished = [job for job in chunk if not job.is_done]
            bar.update(len(chunk) - len(unfinished))
            if not unfinished:
                continue
            for job, found in explained(chunk, source, given.size, given.target, given.batch):
                if isinstance(found, Failure):
                    failures.append(found)
                elif not job.is_done:
                    job.write(found, charts_as_pictures=given.charts_as_pictures)
                bar.update(job in unfinished)
    return failures


def _gathered(failures: list[Failure], share: Share) -> list[Failure]:
    """Those of all processes. None may end before: torchrun stops all when one ends with 1."""
    if share.world == 1:
        return failures
    gathered: list[list[Failure]] = [[] for _ in range(share.world)]
    distributed.all_gather_object(gathered, failures)
    return [failure for theirs in gathered for failure in theirs]


def _report(failures: list[Failure], count: int, share: Share) -> int:
    if share.rank > 0:
        return 0
    for failure in failures:
        print(f"{failure.path}: {failure.why}", file=sys.stderr)
    print(f"{count - len(failures)} of {count} photos are explained.", file=sys.stderr)
    return 1 if failures else 0
