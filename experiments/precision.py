"""Average precision as COCO defines it, of boxes and of masks."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KINDS = {"box": "bbox", "mask": "segm"}
NAMES = ("AP", "AP50", "AP75", "APS", "APM", "APL")  # the first six that COCOeval summarises


def average_precision(truth: COCO, found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The columns of Tables 5 and 6, in percent.

    Args:
        truth: annotations; crowds are neither to be found nor wrong to find.
        found: in COCO's format of results: ``image_id``, ``category_id``, ``score``, ``bbox``
            as x, y, width, height, and ``segmentation`` as RLE.

    Returns:
        ``box_AP``, ``box_AP50`` and so on, then ``mask_AP`` and so on. Sizes of which there
        are no objects are left out.
    """
    measured: dict[str, float] = {}
    for kind, name in KINDS.items():
        with contextlib.redirect_stdout(io.StringIO()):
            values = _summary(truth, found, name)
        measured |= {f"{kind}_{k}": 100 * v for k, v in values.items() if v >= 0}
    return measured


def _summary(truth: COCO, found: Sequence[dict[str, Any]], kind: str) -> dict[str, float]:
    # With a box beside it, a mask would count as small or large by the area of the box.
    one = [{k: v for k, v in item.items() if kind == "bbox" or k != "bbox"} for item in found]
    results = truth.loadRes(one) if one else COCO()
    evaluation = COCOeval(truth, results, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(NAMES, map(float, evaluation.stats), strict=False))
