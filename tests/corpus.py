"""Files that a stranger may send as a photo, and what has to become of each.

Everything is made here, the same for each run. The picture in those that can be read has a colour
in each quarter, so that a photo that lies on its side, or in wrong colours, shows.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

SIZE = (48, 32)
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 60), (40, 40, 200), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)  # above left, above right, below left, below right
NO_PHOTO = "could not be read as a photo"
READ = {  # format: what to save it with, so that the colours stay
    "AVIF": {"quality": 95},
    "BMP": {},
    "GIF": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}
OTHER = {  # format that Pillow writes and that is no photo here: the mode that it takes
    **dict.fromkeys(("DDS", "EPS", "ICNS", "ICO", "IM", "JPEG2000", "PCX", "PDF", "PPM"), "RGB"),
    **dict.fromkeys(("QOI", "SGI", "TGA", "MPO"), "RGB"),
    **{"MSP": "1", "XBM": "1", "PALM": "1", "SPIDER": "F", "BLP": "P"},
}


@dataclass(frozen=True)
class Case:
    """A file, and what has to become of it.

    Attributes:
        name: what it is.
        content: its bytes.
        says: pattern of the message that refuses it; empty where it has to be read.
        size: that the photo then has.
        quarters: the colours that it then shows; None where they are not checked.
        either: whether it may be read or refused with any sentence: nobody knows what is left.
    """

    name: str
    content: bytes
    says: str = ""
    size: tuple[int, int] = SIZE
    quarters: tuple[tuple[int, int, int], ...] | None = QUARTERS
    either: bool = False


def small_photos() -> list[Case]:
    """All but those of ``bombs``."""
    return [*whole(), *damaged(), *odd(), *turned(), *no_photos()]


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """A colour in each quarter."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    half = height // 2, width // 2
    pixels[: half[0], : half[1]], pixels[: half[0], half[1] :] = RED, GREEN
    pixels[half[0] :, : half[1]], pixels[half[0] :, half[1] :] = BLUE, WHITE
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def whole() -> Iterator[Case]:
    """Sound files of every format that Pillow writes."""
    for kind, options in READ.items():
        yield Case(f"{kind}", encoded(picture(), kind, **options))
    for kind, mode in OTHER.items():
        content = encoded(picture().convert(mode), kind)
        if kind == "MPO":  # a JPEG with more behind it
            yield Case(kind, encoded(picture(), kind, quality=95, subsampling=0))
        else:
            yield Case(kind, content, NO_PHOTO)


def damaged(each: int = 4) -> Iterator[Case]:
    """Sound files of larger pictures, cut off or with some bits flipped."""
    generator = random.Random(0)
    modes = {**dict.fromkeys(READ, "RGB"), **OTHER}
    for kind, mode in modes.items():
        content = encoded(picture((96, 80)).convert(mode), kind)
        for i in range(each):
            cut = content[: generator.randrange(1, len(content))]
            yield Case(f"{kind} cut off {i}", cut, either=True)
            flipped = bytearray(content)
            for _ in range(1 + i * 4):
                flipped[generator.randrange(len(flipped))] ^= 1 << generator.randrange(8)
            yield Case(f"{kind} flipped {i}", bytes(flipped), either=True)


def odd() -> Iterator[Case]:
    """Colours, depths, transparency, animations, profiles and comments that exist."""
    plain = picture()
    yield Case("CMYK JPEG", encoded(plain.convert("CMYK"), "JPEG", quality=95, subsampling=0))
    yield Case("CMYK TIFF", encoded(plain.convert("CMYK"), "TIFF"))
    yield Case("LAB TIFF", encoded(Image.new("LAB", SIZE), "TIFF"), quarters=None)
    yield Case("progressive JPEG", encoded(plain, "JPEG", quality=95, progressive=True), size=SIZE)
    yield Case("interlaced 16-bit RGB PNG", rgb16(plain))
    white = Image.new("RGBA", SIZE, (0, 255, 0, 0))
    white.paste(plain, (0, 0))
    white.paste((9, 99, 199, 0), (24, 16, 48, 32))  # a hidden colour, white when it is seen
    for kind in ("PNG", "TIFF", "WEBP"):
        yield Case(f"RGBA {kind}", encoded(white, kind, **READ[kind]))
    palette = white.quantize(16)
    yield Case("palette PNG with transparency", encoded(palette, "PNG"))
    indexed = plain.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    indexed.paste(200, (24, 16, 48, 32))
    yield Case("GIF with transparency", encoded(indexed, "GIF", transparency=200))
    keyed = Image.fromarray(np.where(np.asarray(plain) == 255, 77, np.asarray(plain)))
    yield Case("PNG with a transparent colour", encoded(keyed, "PNG", transparency=(77,) * 3))
    grey = np.full(SIZE[::-1], 65535, np.uint16)
    grey[:16, :24] = 257 * 90
    expected = ((90,) * 3, WHITE, WHITE, WHITE)
    for kind in ("PNG", "TIFF"):
        yield Case(f"16-bit {kind}", encoded(Image.fromarray(grey), kind), quarters=expected)
    for value in (np.nan, np.inf, -np.inf, 3e38):
        odd = np.full(SIZE[::-1], 2.0, np.float32)
        odd[0, 0], odd[16:] = value, 1.0
        black = None if value == 3e38 else (WHITE, WHITE, (0,) * 3, (0,) * 3)
        yield Case(f"float with {value}", encoded(Image.fromarray(odd), "TIFF"), quarters=black)
    same = Image.fromarray(np.full(SIZE[::-1], 1e30, np.float32))
    yield Case("float, all the same", encoded(same, "TIFF"), quarters=None)
    yield Case("bits", encoded(plain.convert("1"), "PNG"), quarters=None)
    for kind in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        frames = {"save_all": True, "append_images": [Image.new("RGB", SIZE)] * 3}
        yield Case(f"animated {kind}", encoded(plain, kind, **READ[kind], **frames))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for name, profile in {
        "sRGB": srgb,
        "of Lab": lab,
        "cut off": srgb[:200],
        "of zeros": bytes(3000),
        "of nothing": b"no profile",
        "flipped": bytes(byte ^ (i % 97 == 5) for i, byte in enumerate(srgb)),
    }.items():
        yield Case(f"profile {name}", encoded(plain, "PNG", icc_profile=profile), quarters=None)
    jpeg = encoded(plain, "JPEG", quality=95, subsampling=0)
    for name, tail in {"HTML": b"<script>alert(1)</script>", "a ZIP": b"PK\x03\x04" * 9}.items():
        yield Case(f"JPEG and {name}", jpeg + tail)


def rgb16(image: Image.Image) -> bytes:
    """A PNG of three times 16 bits, which Pillow reads and does not write."""
    deep = (np.asarray(image, np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    return png(*image.size, rows, depth=16)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int,
    height: int,
    rows: bytes = bytes(10),
    *,
    depth: int = 8,
    before: bytes = b"",
    compressed: bytes | None = None,
) -> bytes:
    """A PNG that promises a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = zlib.compress(rows) if compressed is None else compressed
    pieces = chunk(b"IHDR", head) + before + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + pieces


def turned() -> Iterator[Case]:
    """EXIF orientations, known, unknown and damaged."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera held it, for transpose
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = picture()
        if orientation in undo:
            stored = stored.transpose(undo[orientation])
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            content = encoded(stored, kind, **READ[kind], exif=exif)
            yield Case(f"{kind} with orientation {orientation}", content)
    exif = Image.Exif()
    exif[0x0112] = 6
    good = exif.tobytes()
    for name, data in {
        "cut off": good[:-7],
        "of zeros": b"Exif\0\0" + bytes(60),
        "of text": b"Exif\0\0MM\0*" + b"?" * 200,
        "that lies": good.replace(b"\0\x01\0\x06", b"\xff\xff\xff\xff"),
    }.items():
        content = encoded(picture(), "JPEG", quality=95, subsampling=0, exif=data)
        yield Case(f"EXIF data {name}", content)


def no_photos() -> Iterator[Case]:
    """Text, code and nothing, named as a photo."""
    for name, content in {
        "nothing": b"",
        "a byte": b"\xff",
        "zeros": bytes(5000),
        "text": b"hello",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "SVG that reads a file": b"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;",
        "HTML": b"<!doctype html><script>alert(1)</script>",
        "a shell script": b"#!/bin/sh\nrm -rf /\n",
        "Python": b"import os; os.system('id')\n",
        "PHP in a GIF": b"GIF89a<?php system($_GET['c']); ?>",
        "MVG": b"push graphic-context\nfill 'url(https://127.0.0.1/)'\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n",
        "a pickle": b"cos\nsystem\n(S'id'\ntR.",
        "a ZIP": b"PK\x05\x06" + bytes(18),
        "the beginning of a JPEG": b"\xff\xd8\xff\xe0garbage",
        "the beginning of a PNG": b"\x89PNG\r\n\x1a\n",
        "the beginning of a GIF": b"GIF89a",
        "the beginning of a TIFF": b"II*\0\x08\0\0\0",
        "the beginning of a WebP": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "the beginning of an AVIF": b"\0\0\0\x1cftypavif",
        "a TIFF whose directories go round": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    }.items():
        yield Case(name, content, NO_PHOTO)
