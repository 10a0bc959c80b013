"""Models on the Hugging Face hub: pull and push; needs the extra ``hub``.

huggingface_hub decides where the hub is and who may write: ``HF_ENDPOINT``, ``HF_HOME``, its login.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molvae.errors import ModelFolderError
from molvae.model.parts import ALL_FILES, OPTIONAL

__all__ = ["SCHEME", "pull", "push"]

SCHEME = "hf://"


def pull(name: str) -> Path:
    """The folder of ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``, downloaded once.

    Only the files of a model folder are downloaded; loading verifies them.

    Raises:
        ModelFolderError: the library is missing, or there is no such model.
    """
    repository, _, revision = name.removeprefix(SCHEME).partition("@")
    hub = _library(name)
    try:
        folder = hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=list(ALL_FILES)
        )
    except Exception as error:  # its network layers raise many kinds
        raise _failed(name, error) from error
    return Path(folder)


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Upload a model folder as ``OWNER/NAME``, which is created if needed; returns its address.

    Raises:
        ModelFolderError: the library is missing, or the hub refuses.
    """
    repository = name.removeprefix(SCHEME)
    hub = _library(name)
    try:
        api = hub.HfApi()
        address = api.create_repo(repository, private=private, exist_ok=True)
        # Optional files of the model that was there before would not belong to this one.
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(ALL_FILES),
            delete_patterns=list(OPTIONAL),
        )
        # The page that the hub shows.
        api.upload_file(
            repo_id=repository, path_or_fileobj=folder / "card.md", path_in_repo="README.md"
        )
    except Exception as error:
        raise _failed(name, error) from error
    return str(address)


def _library(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ModelFolderError(
            f"'{name}': models on the hub need the extra: pip install 'molvae[hub]'"
        ) from None
    return huggingface_hub


def _failed(name: str, error: Exception) -> ModelFolderError:
    words = str(error).strip().splitlines() or [type(error).__name__]
    return ModelFolderError(f"'{name}': the hub says: {words[0]}")
