"""What the settings of every method share."""

from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from geosemi.methods.settings.distill import DistillSettings
from geosemi.purify.rules import PurifySettings, Rules
from geosemi.settings import Settings


class OfMethod(Settings):
    """Settings of one method, and what `geosemi methods` says of it.

    Attributes:
        idea: the method in one line.
        source: the paper, `–` for none.
        unpurified: why there are no pseudo-labels to purify; told to those who ask for it.
        name: what tells the methods apart.
        distill: frozen teachers whose features the method's networks learn; None: there are none.
    """

    idea: ClassVar[str]
    source: ClassVar[str]
    unpurified: ClassVar[str] = "it learns from no pseudo-labels"

    name: str
    distill: DistillSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _purifiable(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "purify" not in content or "purify" in cls.model_fields:
            return content
        asked = content["purify"]
        if asked is not None and not (isinstance(asked, dict) and asked.get("mode") == "off"):
            raise ValueError(
                f"`{content.get('name')}` has nothing to purify: {cls.unpurified}; choose a method with pseudo-labels, "
                "such as `semiearth`, or leave `purify` out"
            )
        return {key: value for key, value in content.items() if key != "purify"}

    def rules(self) -> Rules | None:
        """Return the rules of purification, None where there is none."""
        return None

    @property
    def judged(self) -> bool:
        """Whether opinions are held against truth."""
        return False


class PseudoLabelled(OfMethod):
    """Settings of all methods that learn from pseudo-labels.

    Attributes:
        purify: how an opinion is weighed against pseudo-labels before they are learnt; None: none is heard.
    """

    purify: PurifySettings | None = None

    @model_validator(mode="after")
    def _released_behind_its_filter(self) -> Self:
        # the released rules raise no confidence above .73, which takes two classes: only behind a filter are they idle
        if self.purify is not None and self.purify.mode == "released" and self.last_filter < 0.75:
            own = f"`{self.name}` has one of {self.last_filter:g}" if self.last_filter else f"`{self.name}` has none"
            raise ValueError(
                "mode `released` repeats code that changes nothing behind a threshold of .95; "
                f"{own}; choose `recommended` or `paper`"
            )
        return self

    @property
    def last_filter(self) -> float:
        """Confidence from which a pseudo-label is learnt, where purification has no filter of its own."""
        return 0.0

    def rules(self) -> Rules | None:
        """Return the rules of purification, None for `off`."""
        rules = None if self.purify is None else self.purify.rules()
        if self.purify is None or rules is None:
            return None
        own = self.purify.mode == "paper" or self.purify.post_threshold is not None
        return rules if own else replace(rules, post_threshold=self.last_filter)

    @property
    def judged(self) -> bool:
        """Whether opinions are held against truth."""
        return self.purify is not None and self.purify.trust == "measured"


class Thresholded(PseudoLabelled):
    """Numbers of all methods that learn from pseudo-labels they are sure of.

    Attributes:
        threshold: τ, confidence from which a pseudo-label is trained on.
        warm_up: share of the run over which the weight of pseudo-labels grows (exp(−5 (1 − t)²)). 0 as released, where
            the backbone is pretrained; a network that starts from scratch first calls everything the commonest class,
            is sure of it, and with 0 learns that from itself.
    """

    threshold: float = Field(default=0.95, ge=0, lt=1)
    warm_up: float = Field(default=0.0, ge=0, le=1)

    @property
    def last_filter(self) -> float:
        """τ; with purification that has a filter of its own, it holds for crops without opinions."""
        return self.threshold
