"""How an opinion and a teacher are weighed: three named sets of rules, and the settings that choose among them.

The paper (SemiEarth, arXiv 2602.00202, Eqs. 5 to 11) leaves open how image-level scores become pixel-level ones, what
silence and disagreement among classes mean, and which filter comes last. docs/methods.md says why each set reads it so.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from geosemi.settings import Settings

Mode = Literal["off", "paper", "released", "recommended"]
Fusion = Literal["eq10", "noisy_or", "max"]
Trust = Literal["full", "measured"]


@dataclass(frozen=True, slots=True)
class Rules:
    """One reading of VLM-PP.

    Attributes:
        evidence: how class bits become a score v per class. `share` is Eq. 9, in which γ cancels: 1/M for M classes on
            a pixel; `gamma` is γ/M; `softmax` is the released code's softmax over γ and 0, at most .39 for 5 classes.
        fusion: how the score of the teacher's own class joins the teacher's confidence c.
        ambiguous: what happens where several classes cover a pixel and the teacher's is none of them: the `first`
            replaces it, or the pixel is kept out of the loss (`drop`).
        tau_conf: τ, pixels with c below are purified (Eq. 5).
        gamma: γ, the score of a class that was seen (Eq. 8).
        conflict_max_conf: the opinion's class replaces the teacher's only where c is below.
        post_threshold: confidence from which a pixel is trained on, after purification.
    """

    evidence: Literal["share", "gamma", "softmax"]
    fusion: Fusion
    ambiguous: Literal["first", "drop"]
    tau_conf: float = 0.7
    gamma: float = 0.95
    conflict_max_conf: float = 0.7
    post_threshold: float = 0.95


RULES: dict[str, Rules] = {
    "paper": Rules("share", "eq10", "first", post_threshold=0.7),
    "released": Rules("softmax", "eq10", "first", conflict_max_conf=0.3),
    "recommended": Rules("gamma", "noisy_or", "drop"),
}


class PurifySettings(Settings):
    """Which rules purify pseudo-labels. What is left out is the mode's own value.

    Attributes:
        mode: `paper` reads the paper's equations pixel by pixel; `released` repeats the published code, which cannot
            change training, and serves as a reference; `recommended` lets agreement help; `off` trusts the teacher.
        tau_conf: see `Rules`; the conflict limit, and in mode `paper` the last filter, follow it unless given.
        gamma: see `Rules`.
        fusion: see `Rules`.
        conflict_max_conf: see `Rules`.
        post_threshold: see `Rules`.
        trust: `full` believes every class of the opinion alike; `measured` compares opinion and teacher on the labelled
            crops while training, and shrinks or silences the classes on which the opinion is worse.
    """

    mode: Mode = "recommended"
    trust: Trust = "full"
    tau_conf: float | None = Field(default=None, gt=0, le=1)
    gamma: float | None = Field(default=None, gt=0, lt=1)
    fusion: Fusion | None = None
    conflict_max_conf: float | None = Field(default=None, ge=0, le=1)
    post_threshold: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _fixed_modes_take_no_numbers(self) -> Self:
        given = [*self._given(), *(["trust: measured"] if self.trust == "measured" else [])]
        if self.mode in {"off", "released"} and given:
            raise ValueError(f"mode `{self.mode}` is fixed, leave out {', '.join(f'`{name}`' for name in given)}")
        return self

    def rules(self) -> Rules | None:
        """Return the rules of the mode with the given values in place, None for `off`."""
        if self.mode == "off":
            return None
        given = self._given()
        if self.tau_conf is not None:
            followers = ("conflict_max_conf", "post_threshold") if self.mode == "paper" else ("conflict_max_conf",)
            given = dict.fromkeys(followers, self.tau_conf) | given
        return replace(RULES[self.mode], **given)

    def _given(self) -> dict[str, Any]:
        return self.model_dump(exclude={"mode", "trust"}, exclude_none=True)
