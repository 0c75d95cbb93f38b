"""Boxes refined by the real classes of all Segment Anything models, with tiny random weights."""

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from safetensors.torch import save_file
from tiny_models import one_thread  # noqa: F401 - a fixture

from geosemi.annotate.boxes import Box
from geosemi.annotate.drawing import refine
from geosemi.annotate.pictures import Stretch
from geosemi.annotate.sam import SegmentAnything, TransformersSam, load_refiner
from geosemi.errors import ConfigError, WeightsUnavailable
from geosemi.geo.scene import Tile
from geosemi.geo.window import Window

KINDS = ("library", "sam", "sam2", "sam3_tracker")
RGB = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
BOXES = np.random.default_rng(1).uniform((0, 0, 45, 40), (40, 40, 85, 80), (40, 4)).astype(np.float32)


def refiner(kind: str):
    if kind == "library":
        return SegmentAnything(tiny_models.library_sam(), "tiny")
    return TransformersSam(*tiny_models.sam(kind), "tiny")


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_has_one_mask_on_the_pixels_of_the_picture(kind: str):
    masks, scores = zip(*refiner(kind).masks(RGB, BOXES), strict=True)
    assert len(masks) == 40  # more than go at a time
    assert {(m.shape, m.dtype) for m in masks} == {((90, 140), np.dtype(bool))}
    assert all(0 <= s <= 1 for s in scores)
    again = [next(iter(refiner(kind).masks(RGB, BOXES[n : n + 1])))[0] for n in (0, 35)]
    assert np.array_equal(again[0], masks[0])  # a prompt does not see the others
    assert (again[1] != masks[35]).mean() < 1e-3
    assert not np.array_equal(masks[0], masks[35])  # and the box matters
    assert not torch.is_inference_mode_enabled()  # although a generator was left in the middle


@pytest.mark.parametrize("kind", KINDS[1:])
def test_embedded_once_is_the_same_as_embedded_for_each_box(kind: str):
    """Against a plain call of the model with picture and box together, as its own documentation shows it."""
    model, processor = tiny_models.sam(kind)
    found = [mask for mask, _ in TransformersSam(model, processor, "tiny").masks(RGB, BOXES[:3])]
    for box, mask in zip(BOXES, found, strict=False):
        inputs = processor(images=RGB, input_boxes=[[box.tolist()]], return_tensors="pt")
        with torch.no_grad():
            out = model(pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"], multimask_output=False)
        sizes = [inputs["original_sizes"], *([inputs["reshaped_input_sizes"]] if kind == "sam" else [])]
        (whole,) = processor.post_process_masks(out.pred_masks, *sizes)
        assert (whole[0, 0].numpy() != mask).mean() < 1e-3


def test_the_library_gives_what_its_own_predictor_gives():
    from segment_anything import SamPredictor

    model = tiny_models.library_sam()
    predictor = SamPredictor(model)
    predictor.set_image(RGB)
    for box, (mask, _) in zip(BOXES, SegmentAnything(model, "tiny").masks(RGB, BOXES[:3]), strict=False):
        own, _, _ = predictor.predict(box=box, multimask_output=False)
        predictor.set_image(RGB)  # ours leaves it without a picture
        assert (own[0] != mask).mean() < 1e-3


class Whole:
    """Takes the box itself for the mask, and remembers what it was given."""

    name = "whole"

    def masks(self, rgb, boxes):
        self.rgb, self.boxes = rgb, boxes
        for left, top, right, bottom in boxes.astype(int):
            mask = np.zeros(rgb.shape[:2], bool)
            mask[top:bottom, left:right] = True
            yield mask, 0.75


def test_prompts_are_pixels_of_the_tile_and_masks_lie_on_it():
    tile = Tile(np.full((3, 50, 60), 7, np.uint8), np.ones((50, 60), bool), Window(100, 200, 50, 60))
    whole = Whole()
    boxes = [Box(0, 210, 105, 230, 120), Box(2, 220, 110, 240, 130)]
    drawn = refine(boxes, tile, Stretch((0,) * 3, (255,) * 3), whole, np.uint8)
    assert whole.rgb.shape == (50, 60, 3)
    assert whole.boxes.tolist() == [[10, 5, 30, 20], [20, 10, 40, 30]]
    assert drawn.scores == (0.75, 0.75)
    expected = np.zeros((50, 60), np.uint8)
    expected[5:20, 10:30] |= 1
    expected[10:30, 20:40] |= 4
    assert np.array_equal(drawn.bits, expected)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_saved_model_is_loaded_from_its_folder(kind: str, tmp_path: Path):
    model, processor = tiny_models.sam(kind)
    folder = tmp_path / f"tiny-{kind}"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    loaded = load_refiner(str(folder), device="cpu")
    assert loaded.name == f"tiny-{kind}"
    few = BOXES[:2]
    for (mine, score), (theirs, other) in zip(loaded.masks(RGB, few), refiner(kind).masks(RGB, few), strict=True):
        assert (mine != theirs).mean() < 1e-3
        assert score == pytest.approx(other, abs=1e-4)


@pytest.mark.slow
def test_weights_of_the_library_are_told_by_their_shapes(tmp_path: Path):
    from segment_anything import sam_model_registry

    path = tmp_path / "sam_vit_b.safetensors"
    model = sam_model_registry["vit_b"]()
    save_file(model.state_dict(), path)
    loaded = load_refiner(str(path), device="cpu")
    assert loaded.name == "segment-anything sam_vit_b"


def test_weights_that_are_none(tmp_path: Path):
    with pytest.raises(WeightsUnavailable, match="does not exist"):
        load_refiner(str(tmp_path / "sam.safetensors"), device="cpu")
    pickle = tmp_path / "sam_vit_b.pth"
    pickle.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ConfigError, match="is no safetensors file") as caught:
        load_refiner(str(pickle), device="cpu")
    assert "docs/annotate.md" in caught.value.hint
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(ConfigError, match="holds no SAM"):
        load_refiner(str(other), device="cpu")
    other.write_bytes(b"nonsense")
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        load_refiner(str(other), device="cpu")
    with pytest.raises(WeightsUnavailable, match="`nobody/no-sam` cannot be loaded") as missing:
        load_refiner("nobody/no-sam", device="cpu")
    assert "hf download" in missing.value.hint
    with pytest.raises(ConfigError, match="`--device cuda:7` is not there"):
        load_refiner("nobody/no-sam", device="cuda:7")
