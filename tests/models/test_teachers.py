"""Frozen teachers: the same numbers as transformers', and a way out where weights are missing."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geosemi.errors import WeightsUnavailable
from geosemi.models.clip import ClipSize, ClipVision
from geosemi.models.dinov2 import DinoSegmenter
from geosemi.models.pretrained import read_backbone
from geosemi.models.teachers import CLIP, DINO, ClipTeacher, DinoTeacher, branch_of, build_teacher

SHARED = Path(__file__).parents[2] / ".." / "shared" / "weights" / "dinov2-small"


def image(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("prefix", ["", "vision_model."])
def test_clip_says_what_transformers_has_before_the_last_norm(tmp_path: Path, prefix: str):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = CLIPVisionConfig(
            hidden_size=48,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=28,
            patch_size=14,
        )
        theirs = CLIPVisionModel(config).eval()
    # not as initialised: a norm that does nothing and a bias of 0 would hide a mistake
    for parameter in theirs.parameters():
        parameter.data = parameter.data + 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    state = {f"{prefix}{k.removeprefix('vision_model.')}": v.clone() for k, v in theirs.state_dict().items()}
    state["text_model.final_layer_norm.weight"] = torch.ones(3)  # CLIP's other half is passed over
    save_file(state, tmp_path / "model.safetensors")
    ours = build_teacher("clip_tiny", str(tmp_path), revision=None).eval()
    with torch.no_grad():
        wanted = theirs(pixel_values=image(28)).last_hidden_state[:, 1:]
        found = ours(image(28)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    resized = torch.nn.functional.interpolate(image(40), size=(28, 28), mode="bilinear", align_corners=True)
    assert torch.equal(ours(image(40)), ours(resized))


def test_clip_reads_its_own_names(tmp_path: Path):
    teacher = build_teacher("clip_tiny", "random", revision=None)
    assert isinstance(teacher, ClipTeacher)
    save_file({k: v + 1 for k, v in teacher.vision.vit.state_dict().items()}, tmp_path / "clip.safetensors")
    again = build_teacher("clip_tiny", str(tmp_path / "clip.safetensors"), revision=None)
    assert torch.equal(again.vision.vit.pos_embed, teacher.vision.vit.pos_embed + 1)  # type: ignore[union-attr]


def test_dinov2_says_what_the_segmenter_sees_last():
    """The segmenter itself is compared with transformers in test_dinov2.py."""
    teacher = build_teacher("dinov2_tiny", "random", revision=None)
    whole = DinoSegmenter(DINO["dinov2_tiny"], bands=3, classes=2, pretrained=False)
    whole.backbone.load_state_dict(teacher.backbone.state_dict())  # type: ignore[union-attr]
    assert torch.equal(teacher(image(56)), whole.encode(image(56))[-1])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the DINOv2 weights are not here")
def test_dinov2_reads_the_weights_of_the_hub():
    teacher = build_teacher("dinov2_small", str(SHARED), revision=None)
    state = read_backbone(SHARED / "model.safetensors", bands=3)
    assert all(torch.equal(tensor, state[key]) for key, tensor in teacher.backbone.state_dict().items())  # type: ignore[union-attr]


def test_dinov2_takes_the_nearest_multiple_of_its_patch():
    teacher = build_teacher("dinov2_tiny", "default", revision=None)
    assert isinstance(teacher, DinoTeacher)
    shapes = {side: tuple(teacher(image(side)).shape) for side in (28, 32, 36, 5)}
    assert shapes == {28: (2, 32, 2, 2), 32: (2, 32, 2, 2), 36: (2, 32, 3, 3), 5: (2, 32, 1, 1)}


def test_sizes_are_the_published_ones():
    assert {name: branch_of(name).model_dump() for name in ("dinov2_base", "clip_large")} == {
        "dinov2_base": {"dim": 768, "side": None},
        "clip_large": {"dim": 1024, "side": 224},
    }
    assert not (set(DINO) & set(CLIP))
    with torch.device("meta"):
        large = ClipVision(CLIP["clip_large"])
    # CLIP ViT-L/14 has 303,179,776 parameters without projection, 2,048 of them in the last norm, which is not ours
    assert sum(p.numel() for p in large.parameters()) == 303_179_776 - 2 * 1024


def test_random_teachers_are_the_same_in_every_run():
    before = torch.get_rng_state()
    torch.manual_seed(1)
    first = build_teacher("clip_tiny", "random", revision=None).state_dict()
    torch.manual_seed(2)
    again = build_teacher("clip_tiny", "default", revision=None).state_dict()
    torch.set_rng_state(before)
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    with torch.device("cpu"):
        other = ClipVision(ClipSize("", 24, 1, 2, side=28))
    save_file(other.vit.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"the teacher `clip_tiny`: .* does not hold the vision") as caught:
        build_teacher("clip_tiny", str(tmp_path), revision=None)
    assert "leave this teacher out" in caught.value.hint
    with pytest.raises(WeightsUnavailable, match="the teacher `dinov2_base`: `nowhere` does not exist") as caught:
        build_teacher("dinov2_base", "nowhere", revision=None)
    assert "hf download facebook/dinov2-base model.safetensors --local-dir dinov2_base" in caught.value.hint
