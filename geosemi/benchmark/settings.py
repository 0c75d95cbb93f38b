"""What a benchmark compares, as its YAML says it. Nothing here imports torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from geosemi.settings import Settings

Percent = Annotated[float, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0)]
MAX_SEEDS = 16  # 2^16 sign patterns are counted one by one


class Ground(Settings):
    """Scenes that are mapped whole and scored.

    Attributes:
        images: folder or glob of scenes.
        labels: folder with a label of the same name for each, raster or vector.
    """

    images: str
    labels: str


class OfDataset(Settings):
    """One data set of a benchmark.

    Attributes:
        config: what its runs have in common, a file as for `geosemi train --config`.
        override: settings of this data set alone, by dotted key.
        test: scenes that lie outside of the config's data; without it, those that the config keeps for testing.
        published: whose published table stands beside the results.
    """

    config: str
    override: dict[str, Any] = Field(default_factory=dict)
    test: Ground | None = None
    published: Literal["potsdam", "loveda", "deepglobe"] | None = None


class BenchmarkSettings(Settings):
    """Data sets × ratios × arms × seeds; every combination is a run.

    Attributes:
        title: above the tables.
        datasets: by name.
        methods: names, or `all` that geosemi has.
        leave_out: methods that `all` does not mean here.
        arms: further things to compare, or settings of a method above: name → settings by dotted key. An arm that is
            named like a method is that method; others say `method.name`, or have that of the config.
        ratios: percent of the training blocks that are labelled.
        seeds: of weights, order and augmentation; ground is divided alike for all.
        protocol: a preset of `geosemi.metrics.PRESETS`.
        baseline: the arm that all others are held against, with the same seeds; None for none.
        override: settings of all runs, by dotted key; those of a data set and of an arm win over them.
    """

    title: str = "Benchmark"
    datasets: dict[str, OfDataset] = Field(min_length=1)
    methods: Literal["all"] | tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    ratios: tuple[Percent, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1, max_length=MAX_SEEDS)
    protocol: str = "default"
    baseline: str | None = "supervised"
    override: dict[str, Any] = Field(default_factory=dict)

    @field_validator("methods", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        if not isinstance(value, str | list | tuple):
            raise ValueError("write `all`, or names of methods")
        return (value,) if isinstance(value, str) and value != "all" else value

    @field_validator("ratios", "seeds")
    @classmethod
    def _once(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise ValueError("a value stands twice")
        return values

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.methods and not self.arms:
            raise ValueError("name `methods` or `arms`")
        return self
