"""Models on the hub, against a hub that is a folder."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from molvae import MolVAE
from molvae.errors import ModelFolderError
from molvae.model.checkpoint import load_model, save_model
from molvae.realism.plausibility import Plausibility
from tests.molecules import facts


class FolderHub:
    """The functions of huggingface_hub that are used; a repository is a folder."""

    def __init__(self, root):
        self.root, self.downloads = root, []

    def snapshot_download(self, repo_id, *, revision, allow_patterns):
        self.downloads.append((repo_id, revision))
        if not (self.root / repo_id).is_dir():
            raise RuntimeError(f"404: no repository {repo_id}\nand much more")
        cache = self.root / "cache" / repo_id
        cache.mkdir(parents=True, exist_ok=True)
        for path in (self.root / repo_id).iterdir():
            if path.name in allow_patterns:
                shutil.copy(path, cache)
        return str(cache)

    def create_repo(self, repo_id, *, private, exist_ok):
        if repo_id.startswith("stranger/"):
            raise PermissionError("403: not yours")
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        return f"hub/{repo_id}" + (" (private)" if private else "")

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, delete_patterns):
        for name in delete_patterns:
            (self.root / repo_id / name).unlink(missing_ok=True)
        for path in Path(folder_path).iterdir():
            if path.name in allow_patterns:
                shutil.copy(path, self.root / repo_id)

    def upload_file(self, *, repo_id, path_or_fileobj, path_in_repo):
        shutil.copy(path_or_fileobj, self.root / repo_id / path_in_repo)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = FolderHub(tmp_path / "hub")
    module = SimpleNamespace(snapshot_download=hub.snapshot_download, HfApi=lambda: hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return hub


def test_a_model_goes_to_the_hub_and_comes_back(tiny_run, hub):
    model = MolVAE.load(tiny_run)
    assert model.push_to_hub("me/mine") == "hub/me/mine"
    assert model.push_to_hub("me/hidden", private=True).endswith("(private)")
    assert "Model card" in (hub.root / "me/mine/README.md").read_text()
    back = MolVAE.from_pretrained("hf://me/mine@v2")
    assert hub.downloads == [("me/mine", "v2")]
    np.testing.assert_allclose(back.encode(["CCO"]), model.encode(["CCO"]), atol=1e-6)


def test_optional_parts_go_with_the_model_and_are_replaced(tiny_model, hub, tmp_path):
    table = Plausibility.of([facts("CCO")])
    save_model(tmp_path / "with", replace(tiny_model, plausibility=table))
    save_model(tmp_path / "without", tiny_model)
    for name, expected in (("with", 1), ("without", None)):
        MolVAE.load(tmp_path / name).push_to_hub("me/mine")
        shutil.rmtree(hub.root / "cache", ignore_errors=True)
        result = load_model("hf://me/mine").plausibility
        assert (result and result.molecules) == expected


def test_what_comes_from_the_hub_is_verified(tiny_run, hub):
    MolVAE.load(tiny_run).push_to_hub("me/mine")
    weights = hub.root / "me/mine/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        load_model("hf://me/mine")


def test_refusals_of_the_hub_are_reported(tiny_run, hub):
    with pytest.raises(ModelFolderError, match=r"hf://no/such.* 404: no .* no/such$"):
        load_model("hf://no/such")
    with pytest.raises(ModelFolderError, match=r"stranger/x.* 403: not yours"):
        MolVAE.load(tiny_run).push_to_hub("stranger/x")


def test_without_the_library_the_extra_is_named(tiny_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelFolderError, match=r"pip install 'molvae\[hub\]'"):
        load_model("hf://me/mine")
    with pytest.raises(ModelFolderError, match=r"pip install 'molvae\[hub\]'"):
        MolVAE.load(tiny_run).push_to_hub("me/mine")
