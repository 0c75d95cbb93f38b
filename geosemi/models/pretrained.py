"""Where pretrained weights come from, and how those of DINOv2 are named.

A file, a folder or a Hugging Face repository; always safetensors, never a pickle, never a repository's own code. Two
ways of naming the tensors are in use: the original one, which timm keeps and so do we, and the one of the `Dinov2Model`
checkpoints on the hub, which is renamed here. Our own files keep the first: transformers renamed its modules between
releases, so a bundle named after them would load in some of its versions only.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from torch import Tensor

from geosemi.errors import WeightsUnavailable
from geosemi.models.tensorfile import read_tensors

_FILE = "model.safetensors"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_UNUSED = {"mask_token"}  # only DINOv2's own pretraining uses it
_NAMES = (  # of the hub's checkpoints → original
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)


def locate(weights: str, *, revision: str | None) -> Path:
    """Return the safetensors file that is meant: a file, a folder that holds one, or a hub id.

    A hub id is looked up in the cache first, so that what was downloaded once needs no network again.

    Args:
        weights: path or `owner/name`.
        revision: commit of the hub repository; None takes its main branch.

    Raises:
        WeightsUnavailable: nothing is there, and nothing could be downloaded.
    """
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        if (path / _FILE).is_file():
            return path / _FILE
        raise WeightsUnavailable(
            f"the folder `{path}` holds no `{_FILE}`", hint="save the backbone as safetensors there, or name its file"
        )
    if not _HUB_ID.fullmatch(weights):
        raise WeightsUnavailable(
            f"`{weights}` does not exist",
            hint=f"give a .safetensors file, a folder with `{_FILE}`, or a hub id such as `facebook/dinov2-small`",
        )
    return _from_hub(weights, revision)


def _from_hub(repository: str, revision: str | None) -> Path:
    try:
        return Path(hf_hub_download(repository, _FILE, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        pass  # not in the cache yet
    try:
        return Path(hf_hub_download(repository, _FILE, revision=revision))
    except (OSError, ValueError) as error:  # no network, no such repository or revision, no permission, no disk
        folder = repository.rsplit("/", maxsplit=1)[-1]
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsUnavailable(
            f"the weights `{repository}` are neither here nor could they be downloaded: {cause}",
            hint=f"on a machine with a network: `hf download {repository} {_FILE} --local-dir {folder}`, copy the "
            "folder here and set `model.weights` to it; or set `model.weights: null` to train from scratch",
        ) from error


def read_backbone(path: Path, *, bands: int) -> dict[str, Tensor]:
    """Return float32 tensors by their original names, the first layer fitted to `bands`.

    Raises:
        UnsafeInput: the file is a pickle.
        BundleError: the file cannot be read as safetensors.
        WeightsUnavailable: the file holds no vision transformer.
    """
    state = _original_names({name: tensor.float() for name, tensor in read_tensors(path).tensors.items()})
    first = state.get("patch_embed.proj.weight")
    if first is None or first.dim() != 4 or first.shape[1] != 3:
        raise WeightsUnavailable(
            f"`{path}` holds no DINOv2 backbone for RGB images",
            hint="give the weights of `facebook/dinov2-small`, `-base` or `-large`, as safetensors",
        )
    broken = sorted(name for name, tensor in state.items() if not torch.isfinite(tensor).all())
    if broken:
        raise WeightsUnavailable(
            f"`{path}` holds NaN or infinite numbers in `{broken[0]}`", hint="download or copy the file again"
        )
    state["patch_embed.proj.weight"] = fit_bands(first, bands)
    return state


def fit_bands(weight: Tensor, bands: int) -> Tensor:
    """Return a first layer (D, 3, p, p) for images of `bands` bands: (D, bands, p, p).

    Three bands keep the weights as they are. With more, the first three stay red, green and blue and each further band
    starts as their mean; with fewer, every band starts as the mean. All are scaled by 3 / bands, so that a grey image
    repeated over all bands gives what it gave in RGB.
    """
    if bands == 3:
        return weight
    mean = weight.mean(dim=1, keepdim=True)
    kept = weight if bands > 3 else weight[:, :0]
    return torch.cat([kept, mean.expand(-1, bands - kept.shape[1], -1, -1)], dim=1) * (3 / bands)


def rename(name: str, rules: Iterable[tuple[str, str]]) -> str:
    """Return the other name of a tensor; each rule, pattern and replacement, sees what the one before left."""
    for pattern, other in rules:
        name = re.sub(pattern, other, name)
    return name


def _original_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {rename(name, _NAMES): tensor for name, tensor in state.items()}
    for name in [n for n in renamed if ".attention.attention.query." in n]:
        parts = [renamed.pop(name.replace(".query.", f".{part}."), None) for part in ("query", "key", "value")]
        joined = [part for part in parts if part is not None]
        renamed[name.replace(".attention.attention.query.", ".attn.qkv.")] = torch.cat(joined)
    return {name: tensor for name, tensor in renamed.items() if name not in _UNUSED}
