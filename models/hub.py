"""Checkpoints in repositories of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # the first that a repository has is taken
MAX_BYTES = 400_000_000


def download(repository: str, folder: Path | None = None) -> Path:
    """The file with the weights in a public model repository, such as ``user/name``.

    A token of this machine is not used: whoever asks need not be whose token it is.

    Args:
        repository: its name.
        folder: where the file goes; by default the hub's own cache.

    Raises:
        ValueError: the name is none, the hub cannot be reached or has no such repository, or
            the repository holds no file with weights of at most 400 MB.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"A repository is named user/name, not {repository[:100]!r}.")
    try:
        files = HfApi(token=False).model_info(repository, files_metadata=True).siblings or []
        fitting = [file for file in files if (file.size or 0) <= MAX_BYTES]
        for suffix in SUFFIXES:
            for file in fitting:
                if file.rfilename.endswith(suffix):
                    name = file.rfilename
                    return Path(hf_hub_download(repository, name, cache_dir=folder, token=False))
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise ValueError(f"The hub has no public model {repository}.") from error
    except Exception as error:  # each release of huggingface_hub raises others without a network
        raise ValueError(
            "The Hugging Face hub cannot be reached: download the file and upload it here."
        ) from error
    raise ValueError(
        f"{repository} holds no file with weights ({', '.join(SUFFIXES)}) of at most 400 MB."
    )
