"""The rows of the paper's Tables 1-4, as printed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from models.build import Spec

_BACKBONES = {
    "ResNet-50": "resnet50",
    "ResNet-101": "resnet101",
    "ResNet50": "resnet50",  # Table 4 writes it so
    "ResNet101": "resnet101",
    "MobileNetV2-1.0": "mobilenet_v2",
    "MobileNetV2-0.75": "mobilenet_v2_075",
}
_SETTINGS = {1: "SN", 2: "NS", 3: "rSN", 4: "r"}  # the columns that each table prints


@dataclass(frozen=True)
class PaperRow:
    """One printed row: a network on ImageNet-1K.

    Attributes:
        table: its number.
        row: backbone, attention and the settings that the table prints; unique in the table.
        spec: the network that it describes.
        params: millions, printed with two digits.
        gflops: printed with two digits.
        top1: accuracy in percent, printed with three digits.
        top5: likewise.
    """

    table: int
    row: str
    spec: Spec
    params: float
    gflops: float
    top1: float
    top5: float


def _row(
    table: int,
    printed: str,
    params: float,
    gflops: float,
    top1: float,
    top5: float,
    **settings: Any,
) -> PaperRow:
    backbone, _, attention = printed.partition(" + ")
    spec = Spec(_BACKBONES[backbone], attention.lower() or None, **settings)
    if attention:
        values = (f"{name}={getattr(spec, name.lower())}" for name in _SETTINGS[table])
        printed = " ".join((printed, *values))
    return PaperRow(table, printed, spec, params, gflops, top1, top5)


# Section 4.2 fixes what a table does not print: S=3; N=1, or N=4 for MobileNetV2; r=32.
ROWS = (
    _row(1, "ResNet-50", 25.56, 4.12, 76.432, 93.032),
    _row(1, "ResNet-50 + DRTAM", 26.83, 4.14, 77.184, 93.620, s=2),
    _row(1, "ResNet-50 + DRTAM", 26.83, 4.14, 77.366, 93.560, s=3),
    _row(1, "ResNet-50 + DRTAM", 26.83, 4.14, 76.984, 93.478, s=4),
    _row(1, "MobileNetV2-1.0", 3.50, 0.32, 71.592, 90.380),
    _row(1, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 72.930, 91.118, s=2),
    _row(1, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.084, 91.170, s=3),
    _row(1, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 72.854, 91.067, s=4),
    _row(2, "ResNet-50", 25.56, 4.12, 76.432, 93.032),
    _row(2, "ResNet-50 + DRTAM", 26.83, 4.14, 77.366, 93.560, n=1),
    _row(2, "ResNet-50 + DRTAM", 26.83, 4.14, 76.960, 93.552, n=2),
    _row(2, "ResNet-50 + DRTAM", 26.83, 4.14, 77.286, 93.584, n=4),
    _row(2, "MobileNetV2-1.0", 3.50, 0.32, 71.592, 90.380),
    _row(2, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.084, 91.170, n=1),
    _row(2, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 72.858, 90.988, n=2),
    _row(2, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.140, 90.974, n=4),
    _row(2, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.130, 90.948, n=8),
    _row(3, "ResNet-50 + DRTAM", 26.83, 4.14, 77.366, 93.560, r=32),
    _row(3, "ResNet-50 + DRTAM", 28.09, 4.15, 77.172, 93.460, r=16),
    _row(3, "ResNet-101 + DRTAM", 46.96, 7.89, 77.946, 94.000, r=32),
    _row(3, "ResNet-101 + DRTAM", 49.33, 7.89, 78.234, 93.914, r=16),
    _row(3, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.140, 90.974, r=32, n=4),
    _row(3, "MobileNetV2-1.0 + DRTAM", 4.08, 0.33, 73.040, 91.080, r=16, n=4),
    _row(4, "ResNet50", 25.56, 4.12, 76.432, 93.032),
    _row(4, "ResNet50 + CBAM", 26.83, 4.12, 77.100, 93.388, r=32),
    _row(4, "ResNet50 + CBAM", 28.09, 4.14, 77.188, 93.584, r=16),
    _row(4, "ResNet50 + CA", 27.47, 4.16, 76.736, 93.260, r=32),
    _row(4, "ResNet50 + CA", 29.36, 4.19, 76.900, 93.356, r=16),
    _row(4, "ResNet50 + DRTAM", 26.83, 4.14, 77.366, 93.560, r=32),
    _row(4, "ResNet50 + DRTAM", 28.09, 4.15, 77.172, 93.460, r=16),
    _row(4, "ResNet101", 44.55, 7.85, 77.856, 93.778),
    _row(4, "ResNet101 + CBAM", 46.96, 7.85, 78.042, 93.858, r=32),
    _row(4, "ResNet101 + CBAM", 49.33, 7.88, 78.118, 94.020, r=16),
    _row(4, "ResNet101 + CA", 48.17, 7.92, 77.960, 94.062, r=32),
    _row(4, "ResNet101 + CA", 51.74, 7.98, 77.908, 94.020, r=16),
    _row(4, "ResNet101 + DRTAM", 46.96, 7.89, 77.946, 94.000, r=32),
    _row(4, "ResNet101 + DRTAM", 49.33, 7.89, 78.234, 93.914, r=16),
    _row(4, "MobileNetV2-1.0", 3.50, 0.32, 71.592, 90.380),
    _row(4, "MobileNetV2-1.0 + CBAM", 4.08, 0.32, 72.924, 90.968, r=16),
    _row(4, "MobileNetV2-1.0 + CA", 3.95, 0.33, 73.034, 91.106, r=32),
    _row(4, "MobileNetV2-1.0 + DRTAM", 3.80, 0.33, 73.140, 90.974, r=32, n=4),
    _row(4, "MobileNetV2-0.75", 2.64, 0.22, 69.442, 88.814),
    _row(4, "MobileNetV2-0.75 + CBAM", 2.96, 0.23, 71.404, 90.058, r=16),
    _row(4, "MobileNetV2-0.75 + CA", 2.89, 0.23, 71.206, 90.086, r=32),
    _row(4, "MobileNetV2-0.75 + DRTAM", 2.81, 0.23, 71.468, 90.088, r=32, n=4),
)


def find_row(spec: Spec) -> PaperRow | None:
    """The paper's row for a network, from the last table that has it; None if it is nowhere.

    Settings that do not change the network are ignored: S and N without DRTAM, and all of them
    without attention.
    """
    if spec.attention is None:
        spec = Spec(spec.backbone, num_classes=spec.num_classes)
    elif spec.attention != "drtam":
        spec = replace(spec, s=Spec.s, n=Spec.n, implementation=Spec.implementation)
    return next((row for row in reversed(ROWS) if row.spec == spec), None)
