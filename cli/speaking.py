"""Who is asked by `geosemi annotate`: models on this machine or behind a server, and what asking them would take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geosemi.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from geosemi.annotate.boxes import Frame
    from geosemi.annotate.budget import Budget
    from geosemi.annotate.drawing import Refiner
    from geosemi.annotate.plan import Plan
    from geosemi.annotate.settings import TileSettings
    from geosemi.annotate.speaker import Manners, Speaker
    from geosemi.annotate.vocabulary import Vocabulary
    from geosemi.geo.sources import SceneSource
    from geosemi.legend import Legend
    from geosemi.stop import StopFlag


@dataclass(frozen=True)
class Wishes:
    """What the terminal said about models; the names are those of the options."""

    provider: str
    model: str | None
    revision: str | None
    url: str
    key_env: str
    frame: str | None
    max_tokens: int
    workers: int
    timeout: float
    batch: int
    device: str
    four_bit: bool
    refine: str
    budget: float | None
    price: str
    max_requests: int | None


@dataclass(frozen=True)
class Conversation:
    """What is to be asked, and about what.

    Attributes:
        legend: the classes.
        skip: names of classes that are not asked for.
        prompt: a question of the user's own.
        tiles: how scenes are cut and shown.
        wishes: who is asked.
        out: the folder of opinions.
    """

    legend: "Legend"
    skip: tuple[str, ...]
    prompt: Path | None
    tiles: "TileSettings"
    wishes: Wishes
    out: Path

    @property
    def vocabulary(self) -> "Vocabulary":
        """What is asked."""
        from geosemi.annotate.vocabulary import Vocabulary

        return Vocabulary.of(self.legend, skip=self.skip, prompt=self.prompt)

    def hold(self, scenes: "Sequence[SceneSource]", console: "Console", stop: "StopFlag", *, overwrite: bool) -> None:
        """Ask about all scenes and write their opinions."""
        from geosemi.annotate.store import NAME, AnswerStore
        from geosemi.annotate.vision import Annotator
        from geosemi.cli.annotating import folder_for, run

        vocabulary = self.vocabulary
        speaker, refiner = speaker_of(self.wishes), refiner_of(self.wishes)
        annotator = Annotator(speaker, vocabulary, refiner, self.tiles)
        if self.wishes.provider == "qwen" and on_cpu(self.wishes.device):
            console.print("warning  on a CPU a tile takes minutes; a GPU takes seconds", style="yellow", markup=False)
        if vocabulary.left_out:
            console.print(f"not asked for: {', '.join(vocabulary.left_out)}", markup=False)
        folder_for(self.out)
        with AnswerStore(self.out / NAME) as store:
            run(
                scenes, self.out,
                lambda place, out, tell: annotator.annotate(place, out, store, overwrite=overwrite, on_progress=tell),
                console, stop, overwrite=overwrite, kept="answers so far are kept",
            )  # fmt: skip

    def plan(self, scenes: "Sequence[SceneSource]", console: "Console", stop: "StopFlag", *, overwrite: bool) -> None:
        """Print what asking would take; nothing is asked and nothing written."""
        from contextlib import ExitStack

        from geosemi.annotate.plan import Plan, plan_scene
        from geosemi.annotate.store import NAME, AnswerStore
        from geosemi.cli.annotating import is_kept
        from geosemi.cli.bar import bar

        manners, vocabulary, plan = manners_of(self.wishes), self.vocabulary, Plan()
        with ExitStack() as stack:
            there = self.wishes.provider == "openai" and (self.out / NAME).is_file()
            store = stack.enter_context(AnswerStore(self.out / NAME)) if there else None
            for scene in scenes:
                if is_kept(scene, self.out, of=len(scenes), overwrite=overwrite):
                    console.print(f"kept     {scene.name} has an opinion; nobody would be asked", markup=False)
                    continue
                with bar(
                    console, f"counting {scene.name}", stop, kept="nothing was asked", hint="run it again"
                ) as tell:
                    plan += plan_scene(
                        scene.place, manners, vocabulary, tiles=self.tiles, store=store, on_progress=tell
                    )
        for line in _lines(plan, self.wishes):
            print(line)
        console.print("nothing was asked", markup=False)


def on_cpu(device: str) -> bool:
    """Tell whether a model runs on a CPU."""
    from geosemi.annotate.weights import on_device

    return on_device(device).type == "cpu"


def _lines(plan: "Plan", wishes: Wishes) -> Iterator[str]:
    from geosemi.annotate.plan import USUAL_ANSWER

    ground = "" if plan.km2 is None else f"; {plan.km2:,.4g} km²"
    # answers of a model on this machine are filed under what it knows when it is loaded: revision, number format
    counted = wishes.provider == "openai"
    known = f"{plan.known:,} answered before" if counted else "those answered before included"
    yield f"tiles    {plan.ask:,} to ask, {known}, {plan.empty:,} all nodata{ground}"
    yield f"tokens   about {plan.tokens_in:,} in, at most {plan.ask * wishes.max_tokens:,} out"
    prices = budget_of(wishes)
    if prices.price_in + prices.price_out:
        usual, most = plan.cost(prices, USUAL_ANSWER), plan.cost(prices, wishes.max_tokens)
        area = f"; {1000 * usual / plan.km2:,.4g} for 1,000 km²" if plan.km2 else ""
        yield f"cost     about {usual:,.4g} where an answer has {USUAL_ANSWER} tokens, at most {most:,.4g}{area}"
    elif wishes.provider == "openai":
        yield "cost     unknown: give `--price IN,OUT`, of a million tokens"


def speaker_of(wishes: Wishes) -> "Speaker":
    """Return who is asked."""
    if wishes.provider == "openai":
        from geosemi.annotate.server import ServerSpeaker

        manners = manners_of(wishes)
        return ServerSpeaker.from_environment(
            key_env=wishes.key_env, url=wishes.url, model=wishes.model, frame=manners.frame, multiple=manners.multiple,
            max_tokens=wishes.max_tokens, workers=wishes.workers, timeout=wishes.timeout, budget=budget_of(wishes),
        )  # fmt: skip
    _quiet()
    from geosemi.annotate.qwen import DEFAULT, load_qwen

    return load_qwen(
        wishes.model or DEFAULT, revision=wishes.revision, device=wishes.device, four_bit=wishes.four_bit,
        max_tokens=wishes.max_tokens, batch=wishes.batch,
    )  # fmt: skip


@dataclass(frozen=True)
class Unloaded:
    """How a model wants to be asked, without its weights: enough to count with."""

    identity: dict[str, Any]
    frame: "Frame"
    multiple: int


def manners_of(wishes: Wishes) -> "Manners":
    """Return how who is asked wants to be asked; loads and sends nothing."""
    from geosemi.annotate.boxes import Frame

    if wishes.provider != "openai":
        return Unloaded({"provider": wishes.provider}, Frame.SEEN, 28)
    from geosemi.annotate.server import ServerSpeaker, frame_of

    if wishes.model is None:
        raise ConfigError("`--provider openai` needs the name of a model", hint="e.g. `--model qwen3-vl:8b`")
    frame, multiple = frame_of(wishes.model, wishes.frame)
    return ServerSpeaker(wishes.url, wishes.model, frame, multiple=multiple, max_tokens=wishes.max_tokens)


def refiner_of(wishes: Wishes) -> "Refiner | None":
    """Return who makes pixels of boxes; None fills them."""
    if wishes.refine == "none":
        return None
    _quiet()
    from geosemi.annotate.sam import load_refiner

    return load_refiner(wishes.refine, device=wishes.device)


def budget_of(wishes: Wishes) -> "Budget":
    """Return the caps, and the prices that they are counted in."""
    from geosemi.annotate.budget import Budget

    try:
        asked, answered = (float(word) for word in wishes.price.split(","))
        if not (0 <= asked < 1e6 and 0 <= answered < 1e6):
            raise ValueError(wishes.price)
    except ValueError:
        raise ConfigError(
            f"`--price {wishes.price}` is no price", hint="give two numbers: of a million tokens in and out, as 0.2,0.6"
        ) from None
    if wishes.budget is not None and not asked + answered:
        raise ConfigError("`--budget` needs prices to count with", hint="give them: `--price 0.2,0.6`")
    return Budget(requests=wishes.max_requests, money=wishes.budget, price_in=asked, price_out=answered)


def _quiet() -> None:
    """Keep the bars and advice of libraries from the terminal; what fails is told by us."""
    import logging

    import transformers

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
