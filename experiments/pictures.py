"""Photos as they are stored, since their annotations count stored pixels."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from drtam.explain.photo import to_rgb


def open_photo(path: Path, size: tuple[int, int]) -> Image.Image:
    """A photo, RGB: its pixels become what they become in the page.

    Args:
        path: of the file.
        size: width and height that it must have; where only the photo turned as its EXIF data
            say has them, it is turned.

    Raises:
        ValueError: it is missing or damaged, or has another size.
    """
    stored = opened(path)
    photo = to_rgb(stored, turn=stored.size != size)
    if photo.size != size:
        raise ValueError(
            f"{path} has {photo.width} x {photo.height} pixels, but its annotations are for "
            f"{size[0]} x {size[1]}: use the photo that was annotated"
        )
    return photo


def open_labels(path: Path) -> Image.Image:
    """The classes of a photo's pixels: the indices of a palette, or greys.

    Raises:
        ValueError: the file is missing or damaged, or holds colours.
    """
    labels = opened(path)
    if labels.mode not in ("P", "L"):
        raise ValueError(
            f"{path} must hold the class of each pixel, as a palette or grey PNG: it has the "
            f"colours of mode {labels.mode}"
        )
    return labels


def opened(path: Path) -> Image.Image:
    """An image as it is stored.

    Raises:
        ValueError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: copy it there, or take it off the list")
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise ValueError(f"{path} is no photo, or damaged ({error}): copy it again") from error
