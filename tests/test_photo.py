"""Any file that somebody uploads becomes upright 8-bit RGB, or a sentence that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torchvision.transforms import v2

from drtam.explain import PhotoError, load_photo, prepare
from drtam.explain.photo import fit


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """48 x 32, red on the left, blue on the right."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:, :24, 0] = 200
    pixels[:, 24:, 2] = 200
    return Image.fromarray(pixels)


def close(ours: Image.Image, expected: Image.Image, tolerance: int = 8) -> bool:
    difference = np.abs(np.asarray(ours, int) - np.asarray(expected, int))
    return ours.mode == "RGB" and ours.size == expected.size and difference.mean() <= tolerance


def test_a_path_where_nothing_is_is_said_to_be_missing_and_not_damaged(tmp_path):
    with pytest.raises(PhotoError, match="could not be opened: No such file or directory"):
        load_photo(tmp_path / "missing.jpg")
    with pytest.raises(PhotoError, match="could not be opened: Is a directory"):
        load_photo(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_16_bit_grey_is_scaled_and_not_clipped(encode, kind):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    grey = np.asarray(load_photo(encode(Image.fromarray(ramp), kind)).convert("L"), float)
    assert np.abs(grey - ramp / 257).max() <= 1


@pytest.mark.parametrize(("kind", "scale"), [(np.float32, 1), (np.int32, 1e8)])
def test_a_tiff_of_32_bits_uses_its_own_range(encode, kind, scale):
    ramp = (np.linspace(-3, 7, 64 * 64) * scale).astype(kind).reshape(64, 64)
    if kind is np.float32:
        ramp[0, 1] = np.nan
    grey = np.asarray(load_photo(encode(Image.fromarray(ramp), "TIFF")).convert("L"), float)
    assert grey.min() == 0
    assert grey.max() == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white_and_not_the_hidden_colour(picture, encode, mode):
    hidden = picture.convert("RGBA")
    hidden.putalpha(Image.fromarray(np.tile(np.uint8([0] * 24 + [255] * 24), (32, 1))))
    if mode == "P":
        file = encode(hidden.quantize(8), "PNG")
    else:
        file = encode(hidden.convert(mode), "PNG")
    seen = np.asarray(load_photo(file))
    assert (seen[:, :20] > 250).all()
    assert (seen[:, 28:] < 250).any(axis=2).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(picture, encode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transpose that the camera applied
    stored = picture.transpose(undo[orientation]) if orientation > 1 else picture
    upright = load_photo(encode(stored, "PNG", exif=exif))
    assert close(upright, picture, tolerance=0)
    assert close(prepare(upright, 64).pixels, prepare(picture, 64).pixels, tolerance=0)


def test_a_colour_profile_is_converted_to_srgb(picture, encode):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    assert close(load_photo(encode(picture, "PNG", icc_profile=lab.tobytes())), picture, 1)
    assert close(load_photo(encode(picture, "PNG", icc_profile=b"no profile")), picture, 0)


def test_a_long_side_is_scaled_down(encode):
    photo = load_photo(encode(Image.new("RGB", (3000, 1500)), "JPEG"), max_side=500)
    assert photo.size == (500, 250)


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (480, 640), (1200, 200), (100, 799)])
def test_the_whole_photo_is_seen_at_about_the_size_asked_for(size):
    width, height = fit(*size, 224)
    assert width % 32 == height % 32 == 0
    assert 0.8 * 224**2 <= width * height <= 1.25 * 224**2
    assert width / height == pytest.approx(size[0] / size[1], rel=0.2)


def test_the_proportions_of_usual_photos_are_nearly_kept():
    assert fit(4032, 3024, 128) == (160, 128)
    assert fit(4032, 3024, 96) == (128, 96)
    assert fit(2160, 3840, 224) == (160, 288)
    for side in range(1000, 2001, 25):
        for size, off in ((64, 0.3), (96, 0.2), (128, 0.16), (224, 0.1), (512, 0.05)):
            width, height = fit(side, 1000, size)
            assert width * 1000 / (height * side) == pytest.approx(1, rel=off), (side, size)
            assert fit(1000, side, size) == (height, width)


def test_the_tensor_is_torchvisions_normalisation_of_the_pixels(lion):
    prepared = prepare(lion, 160)
    expected = v2.Compose(
        [
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(prepared.pixels)
    torch.testing.assert_close(prepared.tensor[0], expected.as_subclass(torch.Tensor))
    assert prepared.tensor.shape[2:] == prepared.pixels.size[::-1]


@pytest.mark.parametrize("size", [0, 31, 1025, -5])
def test_an_analysis_size_out_of_range_is_refused(lion, size):
    with pytest.raises(ValueError, match=f"size must be from 32 to 1024, not {size}"):
        prepare(lion, size)
