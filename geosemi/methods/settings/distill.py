"""What may be said about frozen teachers whose features a network learns, whatever the method (RS-MTDF)."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from geosemi.settings import Settings, Share

TeacherName = Literal["dinov2_small", "dinov2_base", "dinov2_large", "clip_large", "dinov2_tiny", "clip_tiny"]


class TeacherSettings(Settings):
    """One frozen teacher; its name alone means all of these defaults.

    Attributes:
        name: DINOv2 of three sizes, CLIP ViT-L/14, or a tiny one of either kind with random weights, to try things out.
        weights: `default`, the name's usual weights from the Hugging Face hub; a `.safetensors` file, a folder with
            `model.safetensors`, or a hub id; `random` to measure what the teacher's knowledge is worth.
        revision: commit of the hub repository; None takes its main branch.
        normalise: mean and spread of the colours that the teacher sees: `imagenet`, as released for both kinds, or
            `clip`, what CLIP was trained with.
    """

    name: TeacherName
    weights: str = "default"
    revision: str | None = None
    normalise: Literal["imagenet", "clip"] = "imagenet"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.normalise == "clip" and not self.name.startswith("clip"):
            raise ValueError(f"`normalise: clip` is for CLIP; `{self.name}` was trained with `imagenet`")
        return self


def _named(content: Any) -> Any:
    return {"name": content} if isinstance(content, str) else content


Teacher = Annotated[TeacherSettings, BeforeValidator(_named)]


class DistillSettings(Settings):
    """Numbers of multi-teacher distillation and fusion; the defaults are those of RS-MTDF's code.

    Attributes:
        teachers: one or several, each by its name or with `TeacherSettings`.
        weight: of the distillation loss L_dis in (2 L + weight · L_dis) / 3, where L is the method's own loss.
        hidden: channels between the two layers of a translator.
        fuse: whether what the translators say joins the features that the decoder reads; without, teachers only teach.
        keep: share that those features keep of themselves; the teachers' branches share the rest alike.
        bands: which bands are red, green and blue for the teachers, counted from 1 among those that the network sees;
            the scenes' own red, green and blue if not given, else the first three (a scene of fewer repeats its last).
    """

    teachers: tuple[Teacher, ...] = Field(
        default=(TeacherSettings(name="dinov2_base"), TeacherSettings(name="clip_large")), min_length=1
    )
    weight: float = Field(default=1.0, ge=0)
    hidden: int = Field(default=1024, ge=1)
    fuse: bool = True
    keep: Share = 0.8
    bands: tuple[int, int, int] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError(f"a teacher is named twice: {', '.join(names)}")
        if self.fuse and self.keep == 1:
            raise ValueError("`keep: 1` fuses nothing; write `fuse: false`")
        if self.bands is not None and min(self.bands) < 1:
            raise ValueError(f"bands count from 1, got {list(self.bands)}")
        return self
