"""Frozen teachers around methods: the loss by hand, the images they see, and where they are not."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from tiny_teachers import TINY, told
from torch import Tensor
from witness import noise

from geosemi.config import load_settings
from geosemi.data.normalise import IMAGENET_MEAN, IMAGENET_STD, Radiometry
from geosemi.errors import ConfigError
from geosemi.methods.base import Method, Progress
from geosemi.methods.build import build_method
from geosemi.methods.distiller import Distiller
from geosemi.methods.fixmatch import FixMatch
from geosemi.methods.settings import MethodSettings
from geosemi.methods.settings.distill import DistillSettings
from geosemi.models.fused import FusedSegmenter
from geosemi.models.light import LightSegmenter
from geosemi.models.teachers import build_teacher

START = Progress(0, 10)


def light(seed: int, bands: int = 3) -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LightSegmenter(bands=bands, classes=3)


def make(name: str = "rs_mtdf", **settings: object) -> Method:
    parsed = TypeAdapter(MethodSettings).validate_python(told(name) | settings)
    return build_method(parsed, light(0), another=light).train()


def watch(method: Method, monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """Note what each teacher is shown."""
    seen: list[list[Tensor]] = []
    for teacher in method.distiller._teachers:  # type: ignore[union-attr,operator]
        shown: list[Tensor] = []
        inner = teacher._hidden[0]
        monkeypatch.setattr(inner, "forward", lambda x, f=inner.forward, s=shown: (s.append(x), f(x))[1])
        seen.append(shown)
    return seen


def test_the_loss_by_hand():
    """L = (L_x + L_u + L_dis) / 3, L_dis the mean of both teachers' mean squared differences."""
    batch, method = noise(0, side=32), make()
    plain = build_method(TypeAdapter(MethodSettings).validate_python({"name": "fixmatch"}), light(0), another=light)
    assert isinstance(method, FixMatch)
    losses = method(batch, START)
    student = copy.deepcopy(make().student)  # as it was before its batch norm saw this batch
    assert isinstance(student, FusedSegmenter)
    assert batch.unlabelled is not None
    u = batch.unlabelled
    x = torch.cat([batch.labelled.image, torch.where(u.boxes[0][:, None], u.strong[0].flip(0), u.strong[0])])
    deep = student.core.encode(x)[-1]
    small = F.interpolate(x, size=(28, 28), mode="bilinear", align_corners=True)
    square = student.core.features(small)[-1]
    wanted = []
    for n, (name, seen) in enumerate((("dinov2_tiny", deep), ("clip_tiny", square))):
        target = build_teacher(name, "random", revision=None).eval()(x)
        said = student.translators[n](seen.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        said = F.interpolate(said, size=target.shape[-2:], mode="bilinear", align_corners=True)
        wanted.append((said - target).square().mean())
    assert losses["distill"].item() == pytest.approx((wanted[0] + wanted[1]).item() / 2 / 3, rel=1e-4)
    # what is not the teachers' is that of `fixmatch` on the same logits, at two thirds: L = (L_x + L_u) / 2 there
    unfused = make(distill=TINY | {"fuse": False})(batch, START)
    for key, loss in plain.train()(batch, START).items():
        assert unfused[key].item() == pytest.approx(loss.item() * 2 / 3, rel=1e-6)
    assert make(distill=TINY | {"weight": 3})(batch, START)["distill"].item() == pytest.approx(
        3 * losses["distill"].item()
    )


@pytest.mark.parametrize(("name", "images"), [
    ("supervised", [4]), ("rs_mtdf", [8]), ("unimatch_v2", [4, 8]), ("fixmatch_v1", [8, 4]), ("cps", [8, 8]),
])  # fmt: skip
def test_teachers_see_what_networks_saw_with_gradient(name: str, images: list[int], monkeypatch: pytest.MonkeyPatch):
    method, batch = make(name, distill=TINY), noise(1, side=32)
    dino, clip = watch(method, monkeypatch)
    losses = method(batch, START)
    assert [len(x) for x in dino] == [len(x) for x in clip] == images
    torch.testing.assert_close(dino[0][:4], batch.labelled.image)
    assert losses["distill"] > 0
    with torch.no_grad():
        method.predictor()(batch.labelled.image)
    assert len(dino) == len(images)
    assert method.distiller._passes == []  # type: ignore[union-attr]


def test_teachers_are_in_no_state_average_parameter_or_copy():
    method = make()
    wanted = {f"{who}.{key}" for who in ("student", "teacher") for key in method.student.state_dict()}  # type: ignore[operator,union-attr]
    assert set(method.state_dict()) == wanted
    assert all(key.split(".")[0] in ("student", "teacher") for key, _ in method.named_parameters())
    frozen = [t._hidden[0] for t in method.distiller._teachers]  # type: ignore[union-attr,operator]
    mine = {id(p) for module in frozen for p in module.parameters()}
    assert mine
    assert not mine & {id(p) for p in method.parameters()}
    assert not any(p.requires_grad for module in frozen for p in module.parameters())
    before = [p.clone() for module in frozen for p in module.parameters()]
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=1.0)
    torch.stack(list(method.train()(noise(0, side=32), START).values())).sum().backward()
    optimizer.step()
    method.after_step(START)
    assert all(torch.equal(a, p) for a, p in zip(before, (p for m in frozen for p in m.parameters()), strict=True))
    assert not any(module.training for module in frozen)


def test_images_are_mapped_to_what_teachers_were_trained_with(monkeypatch: pytest.MonkeyPatch):
    """Four 16-bit bands, blue first: raw → normalised by the trainer → unit colours → each teacher's own."""
    radiometry = Radiometry(
        low=(0.0, 10.0, 20.0, 0.0), high=(1000.0, 2010.0, 3020.0, 1.0), mean=(400.0, 500.0, 600.0, 0.5),
        std=(100.0, 200.0, 300.0, 0.1), rgb=(2, 1, 0),
    )  # fmt: skip
    teachers = [{"name": "dinov2_tiny"}, {"name": "clip_tiny", "normalise": "clip"}]
    settings = TypeAdapter(MethodSettings).validate_python(
        {"name": "supervised", "distill": TINY | {"teachers": teachers}}
    )
    method = build_method(settings, light(0, bands=4), another=light, radiometry=radiometry).train()
    dino, clip = watch(method, monkeypatch)
    raw = torch.rand(2, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * 1000
    batch = noise(0, count=2, side=32)
    labelled = type(batch.labelled)(radiometry.normalise(raw), batch.labelled.label)
    method(type(batch)(labelled), START)
    colours = radiometry.to_unit(raw)[:, [2, 1, 0]]
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(dino[0], (colours - mean) / std, atol=1e-4, rtol=1e-4)
    own = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    mean, std = (torch.tensor(v)[:, None, None] for v in own)
    torch.testing.assert_close(clip[0], (colours - mean) / std, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("bands", "given", "wanted"), [
    (3, None, (0, 1, 2)), (1, None, (0, 0, 0)), (2, None, (0, 1, 1)), (5, None, (0, 1, 2)), (5, (4, 3, 2), (3, 2, 1)),
])  # fmt: skip
def test_which_bands_are_shown(bands: int, given: tuple[int, int, int] | None, wanted: tuple[int, int, int]):
    settings = DistillSettings(teachers=["dinov2_tiny"], bands=given)
    radiometry = Radiometry((0.0,) * bands, (1.0,) * bands, (0.0,) * bands, (1.0,) * bands)
    assert Distiller(settings, bands=bands, radiometry=radiometry)._bands == wanted


def test_a_band_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="names band 4, the images have 3") as caught:
        Distiller(DistillSettings(teachers=["dinov2_tiny"], bands=(1, 2, 4)), bands=3, radiometry=None)
    assert "count from 1" in caught.value.hint


@pytest.mark.parametrize(("content", "words"), [
    ({"teachers": ["dinov2_huge"]}, "dinov2_huge"),
    ({"teachers": []}, "teachers"),
    ({"teachers": ["clip_tiny", "clip_tiny"]}, "a teacher is named twice: clip_tiny, clip_tiny"),
    ({"teachers": [{"name": "dinov2_base", "normalise": "clip"}]}, "`normalise: clip` is for CLIP"),
    ({"keep": 1}, "write `fuse: false`"),
    ({"bands": [0, 1, 2]}, "bands count from 1"),
])  # fmt: skip
def test_wrong_settings_are_told(content: dict[str, object], words: str, tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"method.name": "cutmix", "method.distill": content}, [], has_gpu=False)
    assert words in str(caught.value)
    with pytest.raises(ConfigError, match=r"set `method\.distill`"):
        load_settings(None, {"model.fusion": {"branches": [{"dim": 3}]}}, [], has_gpu=False)
