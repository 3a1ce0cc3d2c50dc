"""Photos: any file that somebody may upload, to the pixels and the tensor that a network sees."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass, replace
from itertools import product
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from drtam.explain import decoding

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
MAX_PIXELS = 50_000_000
MIN_SIDE = 8
MAX_ASPECT = 8
BAND = 500_000  # pixels that are converted at once
STRIDE = 32  # of ResNet and MobileNetV2: sides are multiples, so that no pixel is cut off
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the EXIF orientation


class PhotoError(ValueError):
    """A photo that cannot be used; the message tells a visitor what to do."""


@dataclass(frozen=True)
class Prepared:
    """A photo as the network sees it.

    Attributes:
        tensor: (1, 3, H, W), float32, normalised.
        pixels: the same pixels before normalisation, RGB, W x H.
    """

    tensor: Tensor
    pixels: Image.Image


def load_photo(source: str | os.PathLike[str] | BinaryIO, max_side: int = 1536) -> Image.Image:
    """Decode a photo to upright 8-bit sRGB; of an animation the first frame.

    Transparency is laid over white, 16-bit and floating point greys are scaled to 8 bits, and
    an embedded colour profile is converted to sRGB. One photo is decoded at a time.

    Args:
        source: a path, or a file opened for reading bytes.
        max_side: a photo with a longer side is scaled down to it.

    Raises:
        PhotoError: missing, not a photo in one of ``FORMATS``, damaged, over ``MAX_PIXELS``,
            over what ``decoding`` allows, a side under ``MIN_SIDE``, or longer than
            ``MAX_ASPECT`` times its width.
    """
    try:
        return _to_rgb(_decode(source, max_side), max_side)
    except PhotoError:
        raise
    except decoding.TooMuchError as error:
        raise PhotoError(f"{error}: scale it down, or save it as a plain JPEG.") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"This photo has more than {MAX_PIXELS // 1_000_000} million pixels: "
            "scale it down and try again."
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise PhotoError(f"This photo could not be opened: {error.strerror}.") from error
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise PhotoError(
            "This file could not be read as a photo. It may be damaged or of another kind: "
            f"save it as JPEG or PNG and try again. ({', '.join(FORMATS)} are understood.)"
        ) from error


def to_rgb(image: Image.Image, *, turn: bool = True) -> Image.Image:
    """An opened image as 8-bit sRGB in its own size, converted as ``load_photo`` does.

    Args:
        image: of any mode.
        turn: upright, if its EXIF data says so; else as it is stored.
    """
    side = max(image.size)
    decoded = _shrunk(image, side)
    return _to_rgb(decoded if turn else replace(decoded, turn=None), side)


def check_size(width: int, height: int) -> None:
    """Raise ``PhotoError`` for a size that is of no use, or that would not fit in memory."""
    if width * height > MAX_PIXELS:
        raise PhotoError(
            f"This photo has {width} x {height} pixels, more than "
            f"{MAX_PIXELS // 1_000_000} million: scale it down and try again."
        )
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"This photo has {width} x {height} pixels: each side needs at least {MIN_SIDE}."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PhotoError(
            f"This photo has {width} x {height} pixels: crop it so that one side is at most "
            f"{MAX_ASPECT} times the other."
        )


@dataclass(frozen=True)
class _Decoded:
    """A photo that still lies on its side, with its transparency, in its own colours.

    Attributes:
        image: in 8 bits, at least twice as long as it is to become where it was longer.
        turn: what sets it upright.
        profile: of its colours.
    """

    image: Image.Image
    turn: Image.Transpose | None
    profile: bytes | None


def _decode(source: str | os.PathLike[str] | BinaryIO, max_side: int) -> _Decoded:
    with decoding.bounded(source) as file, Image.open(file, formats=FORMATS) as image:
        stored = image.size
        check_size(*stored)
        image.draft("RGB", (max_side, max_side))
        decoding.check(image, file, stored)
        image.seek(0)
        return _shrunk(image, max_side)


def _to_rgb(decoded: _Decoded, max_side: int) -> Image.Image:
    small = decoded.image
    small.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if decoded.turn is not None:
        small = small.transpose(decoded.turn)
    alpha = small.getchannel("A") if small.mode in ("LA", "RGBA") else None
    rgb = _to_srgb(small, decoded.profile)
    if alpha is not None:
        white = Image.new("RGB", rgb.size, "white")
        rgb = Image.composite(rgb, white, alpha)
    return rgb


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF data is no reason to refuse a photo
        return 1
    return found if isinstance(found, int) else 1


def _shrunk(image: Image.Image, max_side: int) -> _Decoded:
    """Converted band by band, so that a large photo is in memory once."""
    factor = max(1, max(image.size) // (2 * max_side))
    rows = factor * max(1, BAND // (image.width * factor))
    boxes = [
        (0, top, image.width, min(top + rows, image.height))
        for top in range(0, image.height, rows)
    ]
    limits = _limits(image, boxes)
    whole: Image.Image | None = None
    for box in boxes:
        part = _eight_bits(image.crop(box), limits).reduce(factor)
        if whole is None:
            whole = Image.new(part.mode, (part.width, math.ceil(image.height / factor)))
        whole.paste(part, (0, box[1] // factor))
    assert whole is not None
    return _Decoded(whole, _TURNS.get(_orientation(image)), image.info.get("icc_profile"))


def _limits(image: Image.Image, boxes: list[tuple[int, int, int, int]]) -> tuple[float, float]:
    """What becomes black and white in a grey of more than 8 bits."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    if not image.mode.startswith(("I", "F")):
        return 0.0, 255.0
    low, high = math.inf, -math.inf  # 32 bits say nothing of their range
    for box in boxes:
        band = np.asarray(image.crop(box))
        band = band[np.isfinite(band)]
        if band.size:
            low, high = min(low, float(band.min())), max(high, float(band.max()))
    return (low, high) if low < high else (0.0, 1.0)


def _eight_bits(image: Image.Image, limits: tuple[float, float]) -> Image.Image:
    """Bits to greys, palettes to RGB(A), and greys of more than 8 bits to 8."""
    if image.mode.startswith(("I", "F")):
        low, high = limits
        grey = np.asarray(image, dtype=np.float64)
        grey = np.nan_to_num(grey, nan=low, posinf=high, neginf=low).clip(low, high)
        return Image.fromarray(np.rint((grey - low) * (255 / (high - low))).astype(np.uint8))
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return image.convert("RGBA")
    plain = {"P": "RGB", "PA": "RGB", "1": "L"}
    return image.convert(plain[image.mode]) if image.mode in plain else image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode in ("RGBA", "LA"):
        image = image.convert(image.mode.removesuffix("A"))
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a damaged profile, or one of another colour space
        if converted is not None:
            return converted
    return image.convert("RGB")


def fit(width: int, height: int, size: int) -> tuple[int, int]:
    """The sides at which a photo is analysed: about size x size pixels, about its proportions.

    Both are multiples of 32, the stride of the backbones; a square photo keeps ``size``
    where that is one. Of the four pairs of multiples around the exact sides it is the one that
    changes the proportions least, where fewer pixels count a half and more pixels an eighth.
    """
    scale = size / (math.sqrt(width * height) * STRIDE)

    def change(pair: tuple[int, ...]) -> float:
        columns, rows = pair
        proportions = math.log(columns * height / (rows * width))
        pixels = math.log(columns * rows * (STRIDE / size) ** 2)
        return abs(proportions) + max(pixels / 8, -pixels / 2)

    exact = (side * scale for side in (width, height))
    around = ((max(1, math.floor(side)), max(1, math.ceil(side))) for side in exact)
    columns, rows = min(product(*around), key=change)
    return columns * STRIDE, rows * STRIDE


def prepare(
    photo: Image.Image,
    size: int = 224,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Prepared:
    """Scale a photo, the whole of it, to the analysis size and normalise it.

    Args:
        photo: of any mode; turned upright if its EXIF data says so.
        size: side of a square with as many pixels as the network is to see, 32 to 1024.
        mean: of the checkpoint's normalisation, for red, green and blue in [0, 1].
        std: likewise.

    Raises:
        ValueError: ``size`` is out of range.
        PhotoError: the photo's size is of no use, see ``load_photo``.
    """
    if not STRIDE <= size <= 1024:
        raise ValueError(f"size must be from {STRIDE} to 1024, not {size}")
    check_size(*photo.size)
    rgb = to_rgb(photo)
    pixels = rgb.resize(fit(*rgb.size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
    values = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    scale = torch.tensor((mean, std)).view(2, 1, 3, 1, 1)
    return Prepared(tensor=(values - scale[0]) / scale[1], pixels=pixels)
