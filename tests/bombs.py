"""Photos of a corpus that are small files and cost much, or promise what they do not hold."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from corpus import NO_PHOTO, SIZE, Case, chunk, encoded, picture, png, small_photos
from PIL import Image


def photos() -> list[Case]:
    """Every case of the corpus."""
    return [*small_photos(), *sizes(), *bombs(), *large()]


def sizes() -> Iterator[Case]:
    """Small, narrow and large ones, most of which promise more than they hold."""
    for width, height, says in (
        (1, 1, "at least 8"),
        (7, 7, "at least 8"),
        (1, 20000, "at least 8"),
        (20000, 1, "at least 8"),
        (20000, 7, "at least 8"),
        (20, 20000, "crop it"),
        (65, 8, "crop it"),
        (30000, 30000, "scale it down"),
        (13000, 13000, "scale it down"),
        (7100, 7100, "scale it down"),
        (2**31 - 1, 2**31 - 1, "scale it down"),
        (0, 100, NO_PHOTO),
    ):
        yield Case(f"{width} x {height} PNG", png(width, height), says)
    for width, height in ((8, 8), (64, 8), (8, 64)):
        content = encoded(picture((width, height)), "PNG")
        yield Case(f"{width} x {height} PNG", content, size=(width, height))
    bmp = bytearray(encoded(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 30000, 30000)
    yield Case("30000 x 30000 BMP", bytes(bmp), "scale it down")
    gif = bytearray(encoded(picture(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield Case("65535 x 65535 GIF", bytes(gif), "scale it down")
    jpeg = encoded(picture(), "JPEG")
    place = jpeg.index(b"\xff\xc0") + 5
    large = jpeg[:place] + struct.pack(">HH", 65500, 65500) + jpeg[place + 4 :]
    yield Case("65500 x 65500 JPEG", large, "scale it down")
    tiff = encoded(picture(), "TIFF")
    for tag in (b"\0\1\4\0\1\0\0\0", b"\1\1\4\0\1\0\0\0"):
        place = tiff.index(tag) + 8
        tiff = tiff[:place] + struct.pack("<I", 30000) + tiff[place + 4 :]
    yield Case("30000 x 30000 TIFF", tiff, "scale it down")
    webp = b"VP8X" + struct.pack("<II", 10, 0) + b"\xfe\x3f\0" * 2 + b"VP8L" + bytes(8)
    yield Case(
        "16383 x 16383 WebP",
        b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
        f"scale it down|{NO_PHOTO}",
    )
    avif = encoded(picture(), "AVIF")
    place = avif.index(b"ispe") + 8
    large = avif[:place] + struct.pack(">II", 16000, 16000) + avif[place + 8 :]
    yield Case("16000 x 16000 AVIF", large, f"scale it down|{NO_PHOTO}")


def bombs() -> Iterator[Case]:
    """Small files that cost much time or memory where nobody counts."""
    many = "too many small pieces"
    blank = encoded(Image.new("1", (20000, 20000)), "PNG")
    yield Case("400 million pixels that are there", blank, "scale it down")
    yield Case("100 million rows in 48 x 32", png(*SIZE, bytes(100_000_000)), either=True)
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(50_000_000)))
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(picture()))
    for name, before in {
        "a text of 50 MB": text,
        "ten texts of 50 MB": text * 10,
        "a thousand texts of 1 MB": chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6))) * 1000,
        "a profile of 50 MB": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000))),
        "2 ** 31 frames": chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    }.items():
        yield Case(f"PNG with {name}", png(*SIZE, rows, before=before), either=True)
    pieces = chunk(b"teXt", b"") * 300_000
    yield Case("PNG of 300,000 chunks", png(*SIZE, rows, before=pieces), many)
    jpeg = encoded(picture(), "JPEG")
    comments = jpeg[:2] + b"\xff\xfe\0\2" * 300_000 + jpeg[2:]
    yield Case("JPEG of 300,000 comments", comments, many)
    gif = encoded(picture(), "GIF")
    place = 13 + 3 * 2 ** (1 + (gif[10] & 7))
    blocks = gif[:place] + b"\x21\xfe\x01x\0" * 300_000 + gif[place:]
    yield Case("GIF of 300,000 comments", blocks, many)
    frame = gif[place:-1]
    yield Case("GIF of 20,000 frames", gif[:place] + frame * 20_000 + b";", quarters=None)
    yield Case("JPEG of 100 passes", passes(100), "passes, too many for its size")
    yield Case("MPO of 100 passes", passes(100, "MPO"), "passes, too many for its size")
    head = struct.pack("<IiiHHIIiiII", 40, 6000, 6000, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 14 + len(head) + 1024
    header = b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + head + bytes(1024)
    yield Case("BMP of nothing but ends of rows", header + bytes(1_000_000), many)
    tiff = encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_adobe_deflate")
    yield Case(
        "TIFF with a strip of 2 ** 31 rows",
        tiff.replace(
            b"\x16\1\4\0\1\0\0\0" + struct.pack("<I", 64),
            b"\x16\1\4\0\1\0\0\0" + struct.pack("<I", 2**31 - 1),
        ),
        either=True,
    )
    yield Case("TIFF with a tile of 60000 x 60000", tiled(60_000), either=True)
    yield Case("TIFF with a tile of 12000 x 12000", tiled(12_000), either=True)


def passes(count: int, kind: str = "JPEG") -> bytes:
    """A progressive JPEG of 36 million pixels whose first pass comes again and again.

    As MPO, another picture stands behind it.
    """
    more = {"save_all": True, "append_images": [Image.new("L", (8, 8))]} if kind == "MPO" else {}
    jpeg = encoded(Image.new("L", (6000, 6000)), kind, progressive=True, **more)
    first = jpeg.index(b"\xff\xda")
    after = jpeg.index(b"\xff", first + 10)
    while jpeg[after + 1] in (0, *range(0xD0, 0xD8)):
        after = jpeg.index(b"\xff", after + 1)
    return jpeg[:first] + jpeg[first:after] * count + jpeg[after:]


def tiled(side: int) -> bytes:
    """A TIFF of 64 x 64 in one tile that is much larger, and full of zeros."""
    data = zlib.compress(bytes(min(side**2, 150_000_000)))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    end = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324: end, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def large() -> Iterator[Case]:
    """Near the largest that are read, and what has to be refused for its kind."""
    exif = Image.Exif()
    exif[0x0112] = 6
    side, small = 7000, (1024, 1024)
    phone = picture((8160, 6120))
    sideways = phone.transpose(Image.Transpose.ROTATE_90)
    for name, options in {"": {}, "progressive ": {"progressive": True}}.items():
        content = encoded(sideways, "JPEG", exif=exif, **options)
        yield Case(f"{name}JPEG of a phone, 50 megapixels", content, size=(1024, 768))
    too_much = "would take .* MB to decode.*scale it down"
    yield Case("RGB PNG, 50 megapixels", encoded(phone, "PNG", compress_level=1), too_much)
    del phone, sideways
    rgb = picture((6400, 6400))
    for kind, options in {
        "PNG": {"compress_level": 1},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }.items():
        yield Case(f"RGB {kind}, 41 megapixels", encoded(rgb, kind, **options), size=small)
    rgba = rgb.copy()
    rgba.putalpha(255)
    yield Case("RGBA PNG, 41 megapixels", encoded(rgba, "PNG", compress_level=1), size=small)
    del rgb, rgba
    grey = np.zeros((side, side), np.uint16)
    yield Case(
        "16-bit PNG, 49 megapixels",
        encoded(Image.fromarray(grey), "PNG", compress_level=1),
        size=small,
        quarters=None,
    )
    bits = Image.new("P", (side, side))
    yield Case(
        "palette PNG, 49 megapixels",
        encoded(bits, "PNG", transparency=3, compress_level=1),
        size=small,
        quarters=None,
    )
    for kind in ("WEBP", "AVIF"):
        fast = {"lossless": True, "method": 0} if kind == "WEBP" else {"speed": 10}
        yield Case(
            f"{kind} 10 megapixels", encoded(picture((3200, 3200)), kind, **fast), size=small
        )
        yield Case(f"{kind} 16 megapixels", encoded(picture((4000, 4000)), kind, **fast), too_much)
