"""Files that a stranger may send as a checkpoint, and the message that refuses each."""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from models import Spec, build_model
from models.description import Description

KEY = "drtam_lens"
CODE = "which could run code"
NONE = "damaged|no file of torch.save|holds more than|holds no|absurdly many"


@dataclass(frozen=True)
class Case:
    """A file, and the pattern of the message that refuses it; it has to be read if empty."""

    name: str
    suffix: str
    content: bytes
    says: str


def checkpoints(sentinel: Path) -> list[Case]:
    """Every case.

    Args:
        sentinel: a path that code in these files would create.
    """
    whole = list(sound())
    return [*whole, *pickles(sentinel), *archives(), *safetensors(whole[0].content)]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def saved(content: Any, **options: Any) -> bytes:
    """As torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def sound() -> Iterator[Case]:
    """What is no attack has to go on working."""
    network = build_model("mobilenet_v2_050", "ca", num_classes=3, seed=1)
    about = Description(network.spec, ("a", "b", "<b>c"), 64, (0.1,) * 3, (0.5,) * 3)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    yield Case("a checkpoint", ".safetensors", save(tensors, {KEY: about.to_json()}), "")
    plain = {name: torch.rand(3, 3) for name in ("conv.weight", "conv.bias")}
    wrapped = {"state_dict": plain, "epoch": 3, "best": torch.tensor(0.5), "arch": "resnet50"}
    says = "holds no attention of DRTAM, CBAM or CA"
    for name, options in {"": {}, "old ": {"_use_new_zipfile_serialization": False}}.items():
        yield Case(f"a sound {name}file of torch.save", ".pth", saved(wrapped, **options), says)


def pickles(sentinel: Path) -> Iterator[Case]:
    """Code, and pickles that grow."""
    evil = Touch(sentinel)
    old = {"_use_new_zipfile_serialization": False}
    for suffix in (".pth", ".safetensors"):
        yield Case(f"a pickle with code {suffix}", suffix, pickle.dumps(evil), f"{CODE}|{NONE}")
        yield Case(f"code by torch.save {suffix}", suffix, saved(evil), CODE)
        yield Case(f"code by old torch.save {suffix}", suffix, saved(evil, **old), CODE)
    yield Case("code among weights", ".pth", saved({"state_dict": {"a": evil}}), CODE)
    yield Case("a whole model", ".pth", saved(torch.nn.Linear(2, 2)), CODE)
    grow = b"\x80\2" + b"c_codecs\nencode\n" * 34 + b"X\4\0\0\0aaaaX\6\0\0\0latin1\x86R"
    grow += b"X\3\0\0\0hex\x86R" * 33 + b"."
    for name, program in {
        "bytes that double 33 times": grow,
        "100 GB of zeros": b"\x80\2cbuiltins\nbytearray\n\x8a\5\0\0\0\0\x17\x85R.",
        "a tensor of 100 GB": b"\x80\2ctorch\nFloatTensor\n\x8a\5\0\0\0\0\x06\x85R.",
        "a million operations": b"\x80\2" + b"]" + b"q\0" * 500_000 + b".",
        "deep nesting": b"\x80\2" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a string that is not there": b"\x80\2X\xff\xff\xff\x7fabc.",
        "a long without end": b"\x80\2\x8b\xff\xff\xff\x7f1.",
        "nothing": b"",
    }.items():
        yield Case(
            f"pickle of {name}", ".pth", archive({"x/data.pkl": program}), NONE + "|" + CODE
        )
        yield Case(f"old pickle of {name}", ".pth", old_file(program), NONE + "|" + CODE)
    for name, content in {
        "zeros": bytes(5000),
        "HTML": b"<!doctype html>not found",
        "a byte": b"\x80",
        "PK": b"PK",
        "a cut archive": saved({"a": torch.zeros(2)})[:300],
        "an old file that is cut": saved({"a": torch.zeros(99)}, **old)[:-99],
        "an archive of TorchScript": archive({"x/data.pkl": b"", "x/constants.pkl": b"N."}),
        "a tar": tar(),
    }.items():
        yield Case(name, ".pth", content, NONE + "|" + CODE)


def old_file(program: bytes) -> bytes:
    """A pickle where the format of before torch 1.6 has its state dict."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    return b"".join(pickle.dumps(part, 2) for part in head) + program + pickle.dumps([], 2)


def tar() -> bytes:
    """As torch saved before 0.1.10."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
        if not any(name.endswith("/version") for name in members):
            file.writestr("x/version", "3\n")
    return buffer.getvalue()


def archives() -> Iterator[Case]:
    """ZIP bombs, and archives that lie."""
    honest = saved({"a": torch.zeros(50_000_000, dtype=torch.uint8)})
    with zipfile.ZipFile(io.BytesIO(honest)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    del honest
    yield Case(
        "a ZIP bomb", ".pth", archive(members, zipfile.ZIP_DEFLATED), "is compressed, as torch"
    )
    program = {"x/data.pkl": bytes(50_000_000)}
    yield Case("a pickle in a ZIP bomb", ".pth", archive(program, zipfile.ZIP_LZMA), "compressed")
    small = saved({"a": torch.zeros(64)})
    sizes = struct.pack("<II", 256, 256)
    assert sizes in small
    lie = small.replace(sizes, struct.pack("<II", 2**31, 2**31))
    yield Case("an archive that promises 2 GB", ".pth", lie, "promises more|damaged")
    many = archive({f"x/data/{i}": b"" for i in range(60_000)})
    yield Case("an archive of 60,000 files", ".pth", many, "absurdly many parts")
    empty = torch.zeros(0)
    for count, says in ((9_000, "holds none of"), (30_000, "holds 30000 tensors, more")):
        modules = range(count)
        names = {f"layer{i}.drtam.ipa_channel_encoder.c_conv1d.weight": empty for i in modules}
        yield Case(f"{count} attention modules", ".pth", saved(names), says)
    huge = saved({"a": torch.zeros(1).expand(10**9)})
    yield Case("a tensor of 4 GB by one number", ".pth", huge, "promises more numbers")


def header(content: Any, data: bytes = b"") -> bytes:
    """A safetensors file with any header."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(**more: Any) -> dict[str, Any]:
    """Two numbers, in a header."""
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **more}


def safetensors(whole: bytes) -> Iterator[Case]:
    """Headers and descriptions that lie, and weights that do not fit."""
    damaged = "damaged or incomplete|not a safetensors file"
    for name, content in {
        "nothing": b"",
        "cut header": whole[:100],
        "cut tensors": whole[:-1],
        "a byte too many": whole + b"\0",
        "a header of 2 ** 60 bytes": struct.pack("<Q", 2**60) + whole[8:],
        "a header of -1 bytes": b"\xff" * 8 + whole[8:],
        "a shape of 10 ** 12": header({"a": tensor(shape=[10**6, 10**6])}, bytes(8)),
        "a shape that overflows": header({"a": tensor(shape=[2**33, 2**33])}, bytes(8)),
        "a negative shape": header({"a": tensor(shape=[-2])}, bytes(8)),
        "a shape of text": header({"a": tensor(shape="2")}, bytes(8)),
        "NaN as a shape": header({"a": tensor(shape=[float("nan")])}, bytes(8)),
        "an unknown type": header({"a": tensor(dtype="F31")}, bytes(8)),
        "offsets backwards": header({"a": tensor(data_offsets=[8, 0])}, bytes(8)),
        "offsets behind the end": header({"a": tensor(data_offsets=[0, 2**50])}, bytes(8)),
        "tensors that overlap": header({"a": tensor(), "b": tensor()}, bytes(8)),
        "a hole": header({"a": tensor(), "b": tensor(data_offsets=[16, 24])}, bytes(24)),
        "deep nesting": header(b'{"a":' * 100_000),
        "a header of spaces": header(b"{" + b" " * 5_000_000 + b"}", bytes(8)),
        "metadata of lists": header({"__metadata__": {KEY: []}}),
    }.items():
        yield Case(f"safetensors with {name}", ".safetensors", content, damaged)
    twice = b'{"a":' + json.dumps(tensor()).encode()
    twice = header(twice + b"," + twice[1:] + b"}", bytes(8))
    yield Case("safetensors with a name twice", ".safetensors", twice, f"{damaged}|does not say")
    empty = json.dumps(tensor(shape=[0], data_offsets=[0, 0]))
    for count, says in ((100_000, "holds 100000 tensors"), (200_000, "a header of")):
        names = ",".join(f'"{i}":{empty}' for i in range(count))
        content = header(f"{{{names}}}".encode())
        yield Case(f"{count} tensors", ".safetensors", content, says)
    yield Case("no description", ".safetensors", save({"a": torch.zeros(2)}), "does not say which")
    yield from descriptions()
    yield from weights(load(whole), json.loads(whole[8 : 8 + struct.unpack("<Q", whole[:8])[0]]))


def descriptions() -> Iterator[Case]:
    """JSON that is large, deep or of something else."""
    good = asdict(
        Description(Spec("resnet18", num_classes=2), ("a", "b"), 64, (0.5,) * 3, (1,) * 3)
    )
    text = json.dumps({"version": 1, **good})
    for name, value, says in (
        (
            "of 4 MB of lists",
            text.replace('"accuracy": null', f'"accuracy": {{"a": [{"[]," * 1_200_000}0]}}'),
            "Missing",
        ),
        ("of 5 MB", text + " " * 5_000_000, "characters, more than"),
        ("deep", "[" * 1_000_000, "not JSON"),
        ("with a long number", text.replace("64", "6" * 100_000), "not JSON"),
        ("with an infinite number", text.replace("64", "1e999"), "input_size must be"),
        ("with NaN", text.replace("0.5", "NaN"), "mean must be"),
        (
            "with a million classes",
            text.replace('"b"]', '"b"' + ', ""' * 900_000 + "]"),
            "as many",
        ),
        ("with a class of 3 MB", text.replace('"b"]', f'"{"b" * 3_000_000}"]'), "classes must be"),
        ("with a NUL in a class", text.replace('"b"]', '"b\\u0000"]'), "classes must be"),
        ("with a line in a class", text.replace('"b"]', '"b\\n# c"]'), "classes must be"),
        ("with half a character", text.replace('"b"]', '"\\ud800"]'), "classes must be"),
        ("of another architecture", text.replace("resnet18", "vgg16"), "backbone must be"),
        ("of a network of 5 GB", json.dumps({"version": 1, **huge()}), "Missing: bn1"),
    ):
        content = save({"a": torch.zeros(2)}, {KEY: value})
        yield Case(f"description {name}", ".safetensors", content, says)


def huge() -> dict[str, Any]:
    """A description that would take 5 GB if it were believed."""
    spec = Spec("resnet152", "drtam", r=1, num_classes=100_000)
    return asdict(Description(spec, ("x",) * 100_000, 64, (0.5,) * 3, (1,) * 3))


def weights(tensors: dict[str, torch.Tensor], head: dict[str, Any]) -> Iterator[Case]:
    """A sound description of other weights."""
    about = head["__metadata__"]
    first = next(name for name in tensors if name.endswith("weight"))
    changes: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
        "NaN": (lambda t: torch.full_like(t, np.nan), "NaN or infinite weights"),
        "infinity": (lambda t: torch.full_like(t, np.inf), "NaN or infinite weights"),
        "another shape": (lambda t: t[:1].clone(), "Of another shape"),
        "another type": (lambda t: t.to(torch.int8), "Of another shape or type"),
    }
    for name, (change, says) in changes.items():
        content = save({**tensors, first: change(tensors[first])}, about)
        yield Case(f"weights of {name}", ".safetensors", content, says)
    other = build_model("mobilenet_v2_050", "cbam", num_classes=3).state_dict()
    shared = {name: value.clone() for name, value in other.items()}
    yield Case("another network", ".safetensors", save(shared, about), "Unexpected: ")
