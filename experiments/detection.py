"""Finding objects with Mask R-CNN: its losses, and the average precision."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection import MaskRCNN
from torchvision.transforms import v2
from tqdm import tqdm

from drtam.explain.recording import evaluating
from experiments.coco import Coco
from experiments.mixed_precision import autocast
from experiments.precision import average_precision
from experiments.recipe import DetectionRecipe
from experiments.task import Part, load, seed_of, seeded

Target = dict[str, Tensor]  # boxes (N, 4), labels (N,), masks (N, H, W)
AUGMENT = v2.Compose([v2.RandomHorizontalFlip(), v2.ToPureTensor()])


class Detector(nn.Module):
    """Mask R-CNN with the backbone in its ``working_type`` and the rest in float32.

    torchvision makes anchors of the type of the feature maps, and bfloat16 would round their
    corners to multiples of 8 pixels in a large photo.

    Args:
        model: of ``build_model``.
        size: shorter side of the photos; the longer one has at most 5/3 of it.
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        assert isinstance(model, MaskRCNN)
        self.model = model
        model.transform.min_size, model.transform.max_size = (size,), size * 5 // 3

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        """Photos (3, H, W) in [0, 1] to the losses in training mode, else to what is found."""
        model = self.model
        scaled, targets = model.transform(images, targets)
        x = scaled.tensors.contiguous(memory_format=torch.channels_last)
        with autocast(x.device):
            maps = model.backbone(x)
        maps = {name: values.float() for name, values in maps.items()}
        proposals, losses = model.rpn(scaled, maps, targets)
        found, more = model.roi_heads(maps, proposals, scaled.image_sizes, targets)
        if self.training:
            return losses | more
        sizes = [image.shape[-2:] for image in images]
        return model.transform.postprocess(found, scaled.image_sizes, sizes)


class Detection:
    """A ``Task``. Photos without objects are left out of the training, as the toolbox does.

    Args:
        recipe: of the training.
        train: photos to learn from.
        val: photos to be measured on.
        device: where the network is.
        seed: of the flips.
        workers: processes that read photos.

    Raises:
        ValueError: the two parts have different categories, or no photo of ``val`` has objects.
    """

    headline: ClassVar[dict[str, str]] = {"box AP": "box_AP", "mask AP": "mask_AP"}

    def __init__(
        self,
        recipe: DetectionRecipe,
        train: Coco,
        val: Coco,
        device: torch.device,
        *,
        seed: int,
        workers: int,
    ) -> None:
        if (train.categories, train.classes) != (val.categories, val.classes):
            raise ValueError(f"{train.path} and {val.path} must list the same categories")
        if not val.with_objects():
            raise ValueError(f"{val.path} must have objects on a photo, or nothing is measured")
        self.recipe, self.train, self.val, self.classes = recipe, train, val, train.classes
        self.device, self.seed, self.workers = device, seed, workers
        self.ids = train.with_objects()

    def __len__(self) -> int:
        return len(self.ids)

    def feed(self, parts: Iterator[Part]) -> Iterator[list[tuple[Tensor, Target]]]:
        """Photos, (3, H, W) uint8, and what is to be found on them."""
        keys = (
            [(self.ids[i], seed_of(self.seed, part.epoch, i)) for i in part.indices.tolist()]
            for part in parts
        )
        return load(self._read, keys, self.workers)

    def _read(self, key: tuple[int, int]) -> tuple[Tensor, Target]:
        name, seed = key
        objects = self.train.objects(name)
        photo = _pixels(self.train, name)
        with seeded(seed):
            sample: tuple[Tensor, Target] = AUGMENT(
                tv_tensors.Image(photo),
                {
                    "boxes": tv_tensors.BoundingBoxes(
                        torch.from_numpy(objects.boxes),
                        format=tv_tensors.BoundingBoxFormat.XYXY,
                        canvas_size=tuple(photo.shape[-2:]),
                    ),
                    "labels": torch.from_numpy(objects.labels),
                    "masks": tv_tensors.Mask(torch.from_numpy(objects.masks)),
                },
            )
        return sample

    def running(self, model: nn.Module) -> nn.Module:
        """A ``Detector`` whose heads learn from as many regions as the recipe says."""
        detector = Detector(model, self.recipe.size)
        detector.model.roi_heads.fg_bg_sampler.batch_size_per_image = self.recipe.regions
        return detector

    def loss(self, runs: nn.Module, batch: list[tuple[Tensor, Target]]) -> Tensor:
        """The sum of Mask R-CNN's five losses."""
        images = [image.to(self.device) / 255 for image, _ in batch]
        targets = [{k: v.to(self.device) for k, v in target.items()} for _, target in batch]
        return torch.stack(list(runs(images, targets).values())).sum()

    def measure(self, model: nn.Module) -> dict[str, float]:
        """See ``average_precision``."""
        return measure(model, self.val, self.recipe.size, self.device, self.workers)


@torch.no_grad()
def measure(
    model: nn.Module, photos: Coco, size: int, device: torch.device, workers: int
) -> dict[str, float]:
    """The average precision of a network that sees the photos with a shorter side of ``size``."""
    detector, found = Detector(model, size), list[dict[str, Any]]()
    with evaluating(detector):
        keys = ([key] for key in photos.ids)
        batches = load(partial(_pixels, photos), keys, workers)
        for key, (image,) in zip(
            photos.ids, tqdm(batches, "measuring", len(photos.ids), leave=False), strict=True
        ):
            (one,) = detector([image.to(device) / 255])
            found += _as_results(one, key, photos.categories)
    return average_precision(photos.truth, found)


def _pixels(photos: Coco, key: int) -> Tensor:
    return v2.functional.pil_to_tensor(photos.photo(key))  # type: ignore[no-any-return]


def _as_results(
    found: Target, key: int, categories: tuple[int | None, ...]
) -> Iterator[dict[str, Any]]:
    """What is found on one photo, in COCO's format."""
    masks = (found["masks"][:, 0] > 0.5).byte().cpu().numpy()
    rows = zip(*(found[name].tolist() for name in ("boxes", "labels", "scores")), strict=True)
    for mask, ((x0, y0, x1, y1), label, score) in zip(masks, rows, strict=True):
        yield {
            "image_id": key,
            "category_id": categories[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
            "segmentation": rle.encode(np.asfortranarray(mask)),
        }
