"""The networks that a visitor can choose: trained ones that are here, and untrained ones."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.models.detection import MaskRCNN, MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights

from drtam.explain.photo import IMAGENET_MEAN, IMAGENET_STD
from models import Spec, build_model
from models.build import Placement, with_places
from models.checkpoints import CheckpointError, blank, describe, load_checkpoint
from models.complexity import Complexity, complexity
from models.description import Description
from models.paper import find_row, measure
from models.published import load_published

CHECKPOINTS = Path(__file__).parent.parent / "assets" / "checkpoints"
IMAGENET_SIZE = 224  # pixels
ATTENTION_NAMES = {"drtam": "DRTAM", "cbam": "CBAM", "ca": "CA"}
BACKBONE_NAMES = {
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "resnet152": "ResNet-152",
    "mobilenet_v2": "MobileNetV2-1.0",
    "mobilenet_v2_075": "MobileNetV2-0.75",
    "mobilenet_v2_050": "MobileNetV2-0.5",
    "maskrcnn_resnet18": "Mask R-CNN ResNet-18",
    "maskrcnn_resnet50": "Mask R-CNN ResNet-50",
    "maskrcnn_resnet101": "Mask R-CNN ResNet-101",
    "fcn_resnet50": "FCN ResNet-50",
    "fcn_resnet101": "FCN ResNet-101",
}


@dataclass(frozen=True)
class Untrained:
    """A network with random weights, the same ones for the same seed.

    With ``places`` one without attention, explained where others have theirs.
    """

    backbone: str = "resnet50"
    attention: str | None = "drtam"
    s: int = 3
    n: int = 1
    r: int = 32
    seed: int = 0
    placement: Placement = "block"
    places: bool = False
    input_size: ClassVar[int] = IMAGENET_SIZE  # side in pixels of the photos that suit it

    @property
    def label(self) -> str:
        """As the page writes it."""
        return f"{_name(self.spec)}, untrained, seed {self.seed}"

    @property
    def spec(self) -> Spec:
        """What ``build_model`` builds, for the classes of the paper's data sets.

        Raises:
            ValueError: there is no such network.
        """
        classes = len(class_names(self.backbone))
        return Spec(self.backbone, self.attention, self.s, self.n, self.r, self.placement, classes)


@dataclass(frozen=True)
class Embedded:
    """A trained checkpoint under ``assets/checkpoints``; ``places`` as in ``Untrained``."""

    path: Path
    places: bool = False

    @property
    def label(self) -> str:
        """As the page writes it."""
        return f"{_name(self.about.spec)}, trained ({self.path.stem})"

    @property
    def input_size(self) -> int:
        """Side in pixels of the photos that suit it."""
        return self.about.input_size

    @property
    def about(self) -> Description:
        """What the checkpoint says of itself."""
        return _describe(self.path)

    @property
    def sha256(self) -> str:
        """Of the file."""
        return sha256(self.path)

    @property
    def card(self) -> str:
        """What stands in its card after the title, as Markdown; empty where it has none."""
        card = self.path.with_suffix(".md")
        return card.read_text("utf-8").partition("\n\n")[2] if card.exists() else ""


@dataclass(frozen=True)
class Opened:
    """A checkpoint that a visitor brought: ours, or of the authors of an attention module.

    Attributes:
        path: where it lay; the page deletes files after an hour.
        input_size: side in pixels of the photos that suit it, which other people's do not say.
        sha256: of the file.
    """

    path: Path
    input_size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Opened:
        """The checkpoint in a file; what is wrong with it shows when it is loaded."""
        size = describe(path).input_size if _is_ours(path) else IMAGENET_SIZE
        return cls(path, size, sha256(path) if path.exists() else "")

    @property
    def label(self) -> str:
        """As the page writes it."""
        file = re.sub(r"[^\w. -]", "_", self.path.name)  # it may stand in Markdown
        return f"{_name(load(self).spec)}, from {file}"


@lru_cache(maxsize=64)
def sha256(path: Path) -> str:
    """Of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


Source = Untrained | Embedded | Opened
_damaged: dict[Path, str] = {}  # checkpoints that are here and cannot be used, and why
_describe = lru_cache(maxsize=64)(describe)


def _name(spec: Spec) -> str:
    name = BACKBONE_NAMES[spec.backbone]
    if spec.attention is None:
        return name
    chunks = f"S={spec.s}, N={spec.n}, " if spec.attention == "drtam" else ""
    where = ", after stages" if spec.placement == "stage" else ""
    return f"{ATTENTION_NAMES[spec.attention]}-{name} ({chunks}r={spec.r}{where})"


@dataclass(frozen=True)
class Network:
    """A network, ready to explain a photo.

    Attributes:
        model: frozen, in evaluation mode, on the CPU; ``devices.run`` runs it.
        spec: what ``build_model`` built.
        classes: the name of each class, no two alike.
        mean: of the normalisation; a detector normalises by itself.
        std: likewise.
        trained: whether the weights have seen data.
    """

    model: nn.Module
    spec: Spec
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    trained: bool


@lru_cache(maxsize=6)
def load(source: Source) -> Network:
    """The network of a source; the last six are kept.

    Raises:
        ValueError: a checkpoint is missing, damaged or unknown; the message is for visitors.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if isinstance(source, Untrained):
        spec = source.spec
        model, names = build_model(**asdict(spec), seed=source.seed), class_names(spec.backbone)
    elif isinstance(source, Opened) and not _is_ours(source.path):
        model = load_published(source.path)
        spec = model.spec  # type: ignore[assignment]
        names = class_names(spec.backbone)
        if spec.num_classes != len(names):
            names = tuple(f"class {k}" for k in range(spec.num_classes))
    else:
        checkpoint = load_checkpoint(source.path)
        model, about = checkpoint.model, checkpoint.description
        spec, names, mean, std = about.spec, about.classes, about.mean, about.std
    if not isinstance(source, Opened) and source.places:
        model = with_places(model)
    if isinstance(model, MaskRCNN):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    model = model.eval().requires_grad_(False)
    trained = not isinstance(source, Untrained)
    return Network(model, spec, distinct(names), mean, std, trained)


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Class names, those that stand for several classes with the class's number."""
    times = Counter(names)
    return tuple(name if times[name] == 1 else f"{name} ({k})" for k, name in enumerate(names))


def _is_ours(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    try:
        describe(path)
    except CheckpointError:
        return False
    return True


@lru_cache(maxsize=64)
def cost(source: Source) -> tuple[Complexity, int]:
    """Parameters and GFLOPs as the paper's tables count them, and the side of the image."""
    row = find_row(spec_of(source))
    if row is not None:
        return measure(row), row.input_size
    return complexity(blank(spec_of(source))), 224


def spec_of(source: Source) -> Spec:
    """What network a source holds; raises as ``load`` does."""
    return source.spec if isinstance(source, Untrained) else load(source).spec


def class_names(backbone: str) -> tuple[str, ...]:
    """Those of the data set that the paper trains it on, from torchvision's descriptions."""
    if backbone.startswith("maskrcnn"):  # COCO; torchvision's list has gaps
        names = MaskRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
        return tuple(name for name in names if name != "N/A")
    weights = FCN_ResNet50_Weights if backbone.startswith("fcn") else ResNet50_Weights
    return tuple(weights.DEFAULT.meta["categories"])


def embedded() -> list[Embedded]:
    """The trained checkpoints, DRTAM's first; without those of ``damaged``."""
    found = [source for source in _files() if _usable(source, lambda source: source.about)]
    order = [*ATTENTION_NAMES, None]
    return sorted(found, key=lambda source: order.index(source.about.spec.attention))


def damaged() -> list[str]:
    """Why checkpoints that are here cannot be offered, a sentence each; loads them all."""
    return [_damaged[source.path] for source in _files() if not _usable(source, load)]


def _files() -> list[Embedded]:
    return [Embedded(path) for path in sorted(CHECKPOINTS.glob("*.safetensors"))]


def _usable(source: Embedded, read: Callable[[Embedded], object]) -> bool:
    """Whether a checkpoint has never failed to be read, this time included."""
    try:
        read(source)
    except CheckpointError as error:
        _damaged[source.path] = str(error)
    return source.path not in _damaged


def catalogue() -> dict[str, Source]:
    """What the page offers by its label, the default first."""
    sources: list[Source] = [
        *(source for source in embedded() if source.about.spec.attention is not None),
        Untrained(),
        Untrained("resnet18"),
        Untrained("resnet101", r=16),
        Untrained("mobilenet_v2", n=4),
        Untrained(attention="cbam", r=16),
        Untrained(attention="ca"),
    ]
    return {source.label: source for source in sources}
