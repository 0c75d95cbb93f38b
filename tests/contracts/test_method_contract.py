"""What every method promises, run over `METHODS` and some compositions with the small network that ships."""

import math
import os
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from tiny_teachers import TINY, told
from torch.nn.parallel import DistributedDataParallel

from geosemi.data.batch import Batch, Labelled, Unlabelled
from geosemi.errors import InputError
from geosemi.methods.base import IGNORE, Method, Progress
from geosemi.methods.build import METHODS, build_method
from geosemi.methods.settings import MethodSettings
from geosemi.models.light import LightSegmenter
from geosemi.models.segmenter import Segmenter

CLASSES, BANDS, SIZE = 3, 4, 32
START = Progress(0, 60)
# methods as they are, and with what can be put around them
CASES: dict[str, dict[str, object]] = {name: told(name) for name in METHODS} | {
    "unimatch_v2, purified": {"name": "unimatch_v2", "purify": {}},
    "unimatch_v2, distilled": {"name": "unimatch_v2", "distill": TINY},
    "semiearth, distilled": {"name": "semiearth", "distill": TINY | {"fuse": False}},
    "cps, purified": {"name": "cps", "cutmix": False, "purify": {"mode": "paper"}},
    "semiearth, measured": {"name": "semiearth", "purify": {"trust": "measured"}},
}
# what learns by gradients, where it is more than the student
TRAINED = {
    "cps": ("student.", "peer."),
    "cct": ("student.", "auxiliary."),
    "dwl": ("student.", "pseudo_head."),
    "allspark": ("student.", "among."),
    "muca": ("student.", "across."),
}


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def network(seed: int) -> LightSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LightSegmenter(bands=BANDS, classes=CLASSES)


def make(name: str, seed: int = 0, **settings: object) -> Method:
    parsed = TypeAdapter(MethodSettings).validate_python(CASES[name] | settings)
    if "threshold" in type(parsed).model_fields and "threshold" not in settings:
        parsed = parsed.model_copy(update={"threshold": 0.4})  # a network without training is never 95 % sure
    return build_method(parsed, network(seed), another=network, seed=seed).train()


def batch_of(seed: int = 0, count: int = 4) -> Batch:
    """Crops in which the first band shows the class; the opinion knows most of it."""
    generator = torch.Generator().manual_seed(seed)

    def crops() -> tuple[torch.Tensor, torch.Tensor]:
        label = torch.randint(CLASSES, (count, 2, 2), generator=generator)
        label = label.repeat_interleave(SIZE // 2, 1).repeat_interleave(SIZE // 2, 2)
        image = 0.3 * torch.randn(count, BANDS, SIZE, SIZE, generator=generator)
        image[:, 0] += label - 1.0
        return image, label

    (image, label), (weak, hidden) = crops(), crops()
    label[:, :3] = IGNORE
    valid = torch.ones(count, SIZE, SIZE, dtype=torch.bool)
    valid[:, :, -3:] = False
    box = torch.zeros_like(valid)
    box[::2, 4:20, 6:22] = True
    known = torch.nn.functional.one_hot(label.clamp(max=CLASSES - 1), CLASSES).movedim(-1, 1).bool()
    strong = tuple(weak + 0.2 * torch.randn(weak.shape, generator=generator) for _ in range(2))
    opinion = torch.nn.functional.one_hot(hidden, CLASSES).movedim(-1, 1).bool()
    opinion &= torch.rand(count, 1, SIZE, SIZE, generator=generator) < 0.7
    places = tuple(f"scene.tif@{n},0" for n in range(count))
    return Batch(Labelled(image, label, known), Unlabelled(weak, strong, (box, box.flip(0)), valid, opinion, places))


def part_of(batch: Batch, labelled: slice, unlabelled: slice, rows: slice = slice(None)) -> Batch:
    """Some crops of a batch, and some of their rows."""
    some, u = batch.labelled, batch.unlabelled
    assert u is not None
    assert u.opinion is not None
    assert some.opinion is not None
    views = tuple(s[unlabelled, :, rows] for s in u.strong)
    boxes = tuple(b[unlabelled, rows] for b in u.boxes)
    rest = (u.valid[unlabelled, rows], u.opinion[unlabelled, :, rows], u.place[unlabelled])
    return Batch(
        Labelled(some.image[labelled, :, rows], some.label[labelled, rows], some.opinion[labelled, :, rows]),
        Unlabelled(u.weak[unlabelled, :, rows], views, boxes, *rest),
    )


def total(method: Method, batch: Batch, progress: Progress = START) -> torch.Tensor:
    return torch.stack(list(method(batch, progress).values())).sum()


def train(method: Method, batch: Batch, steps: int, start: int = 0, of: int = 60) -> list[float]:
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss = total(method, batch, Progress(step, of))
        loss.backward()
        optimizer.step()
        getattr(method, "module", method).after_step(Progress(step, of))
        losses.append(loss.item())
    return losses


def test_losses_are_finite_scalars_with_names(name):
    losses = make(name)(batch_of(), START)
    assert "supervised" in losses
    for loss in losses.values():
        assert loss.shape == ()
        assert loss.isfinite()
        assert loss >= 0


def test_reports_are_detached_finite_scalars(name):
    method = make(name)
    method(batch_of(), START)
    for value in method.report().values():
        assert value.shape == ()
        assert value.isfinite()
        assert not value.requires_grad


def test_gradient_reaches_the_student_and_no_teacher(name):
    method = make(name)
    total(method, batch_of()).backward()
    trained = {key for key, p in method.named_parameters() if p.requires_grad}
    parts = TRAINED.get(str(CASES[name]["name"]), ("student.",))
    assert trained == {key for key, _ in method.named_parameters() if key.startswith(parts)}
    assert all(any(key.startswith(part) for key in trained) for part in parts)
    for key, parameter in method.named_parameters():
        assert (parameter.grad is not None) == (key in trained), key
        if key in trained:
            assert parameter.grad.any(), key


def test_same_seed_same_losses(name):
    first, again = (train(make(name), batch_of(), 3) for _ in range(2))
    assert first == again
    assert first != train(make(name, seed=1), batch_of(), 3)


def test_state_round_trip_goes_on_with_the_same_loss(name):
    method, other = make(name), make(name, seed=1)
    train(method, batch_of(), 3)
    other.load_state_dict(method.state_dict(), strict=True)
    assert train(other, batch_of(1), 2, start=3) == train(method, batch_of(1), 2, start=3)


@pytest.mark.parametrize("name", [n if n in METHODS else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_learns_one_batch(name):
    method, batch = make(name), batch_of()
    losses = train(method, batch, 60)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    predictor = method.predictor().eval()
    with torch.no_grad():
        found = predictor(batch.labelled.image).argmax(dim=1)
    known = batch.labelled.label != IGNORE
    assert (found == batch.labelled.label)[known].float().mean() > 0.9


def test_nothing_valid_is_a_loss_of_nothing(name):
    batch = batch_of()
    assert batch.unlabelled is not None
    empty = Batch(
        replace(batch.labelled, label=torch.full_like(batch.labelled.label, IGNORE)),
        replace(batch.unlabelled, valid=torch.zeros_like(batch.unlabelled.valid)),
    )
    method = make(name)
    losses = dict(method(empty, START))
    # teachers are asked about all that the student sees
    assert losses.pop("distill", torch.ones(())).item() > 0
    loss = torch.stack(list(losses.values())).sum()
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in method.parameters())
    assert all(value.isfinite() for value in method.report().values())


@pytest.mark.parametrize(("labelled", "unlabelled"), [(1, 1), (1, 3), (4, 1)])
def test_any_number_of_crops_of_any_size(name, labelled, unlabelled):
    method = make(name)
    batch = part_of(batch_of(), slice(labelled), slice(unlabelled), slice(3, 30))
    losses = train(method, batch, 2)
    assert all(map(math.isfinite, losses))


def test_valid_pixels_matter(name):
    batch = batch_of()
    assert batch.unlabelled is not None
    other = replace(batch.unlabelled, valid=batch.unlabelled.valid & (torch.arange(SIZE) > 9))
    late = Progress(40, 60)  # LSST begins with labels alone
    changed = total(make(name), Batch(batch.labelled, other), late) != total(make(name), batch, late)
    assert changed == make(name).needs_unlabelled


def test_batch_norm_can_be_synchronised_over_gpus(name):
    method, plain = make(name), make(name).state_dict()
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(method)
    assert not [m for m in method.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {k: v.shape for k, v in method.state_dict().items()} == {k: v.shape for k, v in plain.items()}


def test_opinions_on_invalid_pixels_do_not_matter(name):
    batch = batch_of()
    assert batch.unlabelled is not None
    assert batch.unlabelled.opinion is not None
    opinion = batch.unlabelled.opinion ^ ~batch.unlabelled.valid[:, None]
    other = Batch(batch.labelled, replace(batch.unlabelled, opinion=opinion))
    assert total(make(name), other) == total(make(name), batch)


def test_labels_alone_are_enough_or_refused(name):
    method, batch = make(name), Batch(batch_of().labelled)
    if not method.needs_unlabelled:
        assert total(method, batch).isfinite()
        return
    with pytest.raises(InputError, match=f"`{type(method).__name__}` learns from unlabelled crops") as caught:
        method(batch, START)
    assert "--method supervised" in caught.value.hint


def test_predictor_has_the_legends_classes(name):
    predictor = make(name).predictor()
    assert isinstance(predictor, Segmenter)
    assert (predictor.classes, predictor.bands) == (CLASSES, BANDS)
    assert predictor.eval()(batch_of().labelled.image).shape == (4, CLASSES, SIZE, SIZE)


def test_opinions_matter_exactly_where_a_method_says_so(name):
    batch, method = batch_of(), make(name)
    assert batch.unlabelled is not None
    silent = Batch(batch.labelled, replace(batch.unlabelled, opinion=None))
    changed = total(make(name), silent).item() != total(method, batch).item()
    assert changed == method.uses_opinions


def test_mixed_precision_keeps_the_losses_in_full_precision(name):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method = make(name)
        loss = total(method, batch_of())
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def _halves(batch: Batch, rank: int) -> Batch:
    half = slice(2 * rank, 2 * rank + 2)
    return part_of(batch, half, half)


def _gradients(method: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key.removeprefix("module."): p.grad for key, p in method.named_parameters() if p.grad is not None}


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), USE_LIBUV="0")
    dist.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    for name in CASES:
        wrapped = DistributedDataParallel(make(name))
        losses = wrapped(_halves(batch_of(), rank), START)
        torch.stack(list(losses.values())).sum().backward()
        save_file(_gradients(wrapped), Path(folder) / f"{name}{rank}.safetensors")
        # on over what happens between steps: averages, blended heads, memories, LSST's new start, trust
        if name == "dwl":
            wrapped = DistributedDataParallel(make(name, blend_every=2))
        train(wrapped, _halves(batch_of(), rank), 8, of=8)
        weights = {k: p.detach().clone() for k, p in wrapped.module.named_parameters()}
        save_file(weights, Path(folder) / f"{name}{rank} trained.safetensors")
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def one_thread():
    """As each rank has: with more, sums end in other bits, and a pixel at the threshold changes sides."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_two_ranks_agree_on_the_mean_gradient(tmp_path):
    torch.multiprocessing.spawn(_rank, (_free_port(), str(tmp_path)), nprocs=2)
    for name in CASES:
        ranks = [load_file(tmp_path / f"{name}{rank}.safetensors") for rank in range(2)]
        alone = []
        for rank in range(2):
            method = make(name)
            total(method, _halves(batch_of(), rank)).backward()
            alone.append(_gradients(method))
        assert set(ranks[0]) == set(alone[0])
        for key, gradient in ranks[0].items():
            assert torch.equal(gradient, ranks[1][key]), (name, key)
            torch.testing.assert_close(gradient, (alone[0][key] + alone[1][key]) / 2, atol=1e-5, rtol=1e-4)
        one, two = (load_file(tmp_path / f"{name}{rank} trained.safetensors") for rank in range(2))
        assert all(torch.equal(one[key], two[key]) for key in one), name
