"""One table of many explained photos, for a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ui.folder import Job, replace

NAME = "layers.csv"
STATISTICS = ("mean", "spread", "entropy")
SIDES = ("ch", "cw", "hw")
Row = dict[str, str | float]


def write(jobs: Sequence[Job], out: Path) -> None:
    """``OUT/layers.csv`` of what is explained so far, a row for each photo and layer.

    Its columns are the photo, the class that Grad-CAM explains and its probability, the layer,
    of each of its attention maps mean, spread and entropy (``MapStatistics``), and for DRTAM
    ``residual_error_ch`` and so on, and ``added``, as README.txt in a photo's folder has them.
    """
    done = [job for job in jobs if job.is_done]
    rows = [row for job in tqdm(done, desc=NAME, unit="photo") for row in _rows(job)]
    if not rows:
        return
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    table.writeheader()
    table.writerows(rows)
    replace(out / NAME, text.getvalue().encode())


def _rows(job: Job) -> Iterator[Row]:
    folder = job.out / job.name
    record = json.loads((folder / "record.json").read_text("utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        target = int(arrays["target"])
        photo: Row = {
            "photo": str(job.name),
            "class": (record["target"] or {"name": ""})["name"],  # a detector may find nothing
            "probability": float(arrays["probabilities"][target]),
        }
        for layer in [key.removesuffix("/gradcam") for key in arrays if key.endswith("/gradcam")]:
            row = {**photo, "layer": layer}
            for key in arrays:
                if key.startswith(f"{layer}/statistics/"):
                    names = [f"{key.rpartition('/')[2]}_{each}" for each in STATISTICS]
                    row |= zip(names, arrays[key].tolist(), strict=True)
            if f"{layer}/residual_error" in arrays:
                names = [f"residual_error_{side}" for side in SIDES]
                row |= zip(names, arrays[f"{layer}/residual_error"].tolist(), strict=True)
            if f"{layer}/added" in arrays:
                row["added"] = float(arrays[f"{layer}/added"])
            yield row
