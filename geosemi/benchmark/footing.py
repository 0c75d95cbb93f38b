"""What a run was scored on, and whether two runs stand on the same ground: only then a difference is the method's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from geosemi.benchmark.runs import Result
from geosemi.settings import dotted

TESTED = "test"  # the ground of runs that have any for testing
# more pictures without labels, other bands and opinions are what a method may make use of; its ground stays the same
_OF_THE_METHOD = {"data.unlabelled", "data.opinions", "data.bands"}
_MET = {
    "labelled": "LEAKY because the labels of some of them were trained on",
    "unlabelled": "of which training saw some without their labels",
    "validation": "of which some chose the best step, which flatters",
}
_VALIDATED = (
    "There is no test ground: scored on the validation ground at the last step, not at the best one, because the best "
    "of many looks at the ground that is reported flatters."
)
_BESIDE = {
    "block": (
        "{} blocks lie in scenes whose other blocks were trained on. No step of training saw them, but their "
        "neighbours share flight, light and season with them, so scores say little about a new scene."
    ),
    "patch": (
        "LEAKY: divided by patch as in the papers. {} patches touch training patches, so scores are optimistic and say "
        "little about new ground."
    ),
}
_UNITS = {"block": "blocks", "patch": "patches"}
_BRIEFLY = {
    "scene": "",
    "block": ", in scenes whose other blocks were trained on",
    "patch": ": LEAKY, they touch training patches",
}


@dataclass(frozen=True, slots=True)
class Footing:
    """The ground of a run.

    Attributes:
        scored: `TESTED`, or else which part of the data stands in for it.
        unit: what was divided; blocks and patches lie in scenes that were trained on, and patches touch.
        scenes: that were scored, as far as they are known by name.
        seen: test scenes that the run met: part of the split → names.
        labelled: labelled blocks, and of how many.
        settings: those that say what the data are and how they are divided, by dotted key.
    """

    scored: str
    unit: Literal["scene", "block", "patch"]
    scenes: tuple[str, ...]
    seen: Mapping[str, Sequence[str]]
    labelled: tuple[int, int]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, result: Result) -> Self:
        """Return that of a finished run."""
        facts, told = result.facts, result.run.settings.model_dump(mode="json", include={"data", "split"})
        return cls(
            result.ground,
            unit="patch" if result.run.leaky else "block" if _beside(result) else "scene",
            scenes=tuple(facts.get("scenes", ())),
            seen=facts.get("seen", {}),
            labelled=(int(facts["labelled_blocks"]), int(facts["train_blocks"])),
            settings={key: value for key, value in dotted(told) if key not in _OF_THE_METHOD},
        )

    @property
    def leak(self) -> str:
        """What stands beside the name wherever it stands, or nothing."""
        if "labelled" in self.seen:
            return "LEAKY test scenes"
        return "LEAKY split by patch" if self.unit == "patch" else ""

    @property
    def blocks(self) -> str:
        """How much was labelled, in words."""
        return f"{self.labelled[0]} of {self.labelled[1]} training blocks labelled"

    def against(self, other: "Footing") -> list[str]:
        """Return in a few words each what is not as with another run; nothing where the two can be compared."""
        keys = [
            f"`{k}`" for k in sorted({*self.settings, *other.settings}) if self.settings.get(k) != other.settings.get(k)
        ]
        found = [", ".join(keys)] if keys else []
        if self.scored != other.scored:
            found.append(f"scored on {self.scored} rather than {other.scored}")
        if set(self.scenes) != set(other.scenes):
            found.append("other scenes are scored")
        if self.labelled != other.labelled:
            found.append(f"{self.blocks} rather than {other.labelled[0]} of {other.labelled[1]}")
        if self.leak != other.leak:
            found.append(self.leak or "not leaky")
        return found

    @property
    def brief(self) -> str:
        """What was scored, as a caption has it."""
        if self.scored != TESTED:
            return f"validation ground at the last step{_BRIEFLY[self.unit]}"
        if self.seen:
            return "whole test scenes, but the runs met some of them"
        if self.unit == "scene":
            return "whole test scenes that no step saw"
        return f"test {_UNITS[self.unit]}{_BRIEFLY[self.unit]}"

    def told(self) -> list[str]:
        """Say in sentences what figures on this ground are worth."""
        if self.scored != TESTED:
            return [_VALIDATED, *([_BESIDE[self.unit].format("Validation")] if self.unit != "scene" else [])]
        if self.seen:
            return [f"Scored on whole test scenes, {_MET[part]}: {', '.join(n)}." for part, n in self.seen.items()]
        if self.unit == "scene":
            return ["Scored on whole test scenes that no step of training or model choice saw."]
        return [
            f"Only the {_UNITS[self.unit]} that were kept for testing are scored.",
            _BESIDE[self.unit].format("Test"),
        ]


def _beside(result: Result) -> bool:
    """Tell whether other windows of the scored scenes were trained on."""
    if "beside" in result.facts:
        return bool(result.facts["beside"])
    told = result.run.settings  # results of before do not say
    by_name = told.data.validation or told.data.test or told.data.lists
    return told.split.unit == "block" and result.run.test is None and not by_name
