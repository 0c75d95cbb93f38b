"""Where does the time of a training step go, and what makes it shorter?

    python benchmarks/train.py methods                                # every method with `light`
    python benchmarks/train.py networks                               # one network of each kind, `fixmatch`
    python benchmarks/train.py switches --model light                 # bf16, compile, channels-last … against plain
    python benchmarks/train.py loader                                 # what waits for data, by workers
    python benchmarks/train.py passes --model dinov2_small            # may two passes be one?
    python benchmarks/train.py sizes                                  # parameters and forward of every network

The real loader, augmentation, method, trainer and optimiser run on sample_data; pretrained weights are left out, for
they change no time. Every case is a process of its own, so that peak memory is its own: over what the process held
before the first step. A clock is read where one part of a step ends and the next begins: `data` is what the loop waits
for chips, `augment` makes crops of them, `forward` is the method's losses (the passes of teachers and peers with it),
`backward`, `update` the optimiser, `after` the method's `after_step` (moving averages), `rest` the loop itself. Medians
over steps, the first ones left out.

On a CPU one thread is used and CPU seconds are counted, which neighbours on a shared machine disturb least; where
workers read, and on a GPU, it is the clock on the wall (after a synchronisation at each mark).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
PARTS = ("data", "augment", "forward", "backward", "update", "after", "rest")
KINDS = ("light", "segformer_b0", "deeplabv3plus_r50", "deeplabv2", "upernet_convnext_tiny", "dinov2_small")
SWITCHES: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "bf16": {"set": ["train.precision=bf16"]},
    "torch.compile": {"compile": True},
    "channels-last weights": {"channels_last": True},
    "half the batch, twice": {"halved": True},
    "checkpointed blocks": {"checkpointed": True},
    "freed memory kept": {"keep_memory": True},
}
TEACHER = REPO.parent / "shared" / "weights" / "dinov2-small"
WARM = 3  # first steps, which are not counted


def main() -> None:
    """Run one experiment, or one case of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "case"])
    parser.add_argument("--model", default="light")
    parser.add_argument("--models", nargs="+", default=KINDS)
    parser.add_argument("--method", default="fixmatch")
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--switches", nargs="+", default=list(SWITCHES), choices=list(SWITCHES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--batch", type=int, default=4, help="labelled crops a step, and as many unlabelled ones")
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--rounds", type=int, default=1, help="times that all cases are run in turn; the best counts")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], help="further settings, key=value")
    parser.add_argument("--only", help="of `case`: what to run, in JSON")
    args = parser.parse_args()
    if args.experiment == "case":
        print(json.dumps(measured(json.loads(args.only))))
    else:
        EXPERIMENTS[args.experiment](args)


def of_methods(args: argparse.Namespace) -> None:
    from geosemi.methods.build import METHODS

    cases = {name: case(args, method=name) for name in args.methods or METHODS}
    if "rs_mtdf" in cases:  # of its teachers the smallest: the published two fit no CPU
        teacher = f"method.distill.teachers=[{{name: dinov2_small, weights: {TEACHER}}}]"
        cases["rs_mtdf"]["set"] = [*args.set, teacher]
    table("method", run_all(cases, args.rounds), against="supervised")


def of_networks(args: argparse.Namespace) -> None:
    cases = {name: case(args, model=name) for name in args.models}
    table("network", run_all(cases, args.rounds), against="light")


def of_switches(args: argparse.Namespace) -> None:
    cases = {name: case(args) | SWITCHES[name] for name in args.switches}
    table(f"{args.model}, {args.method}", run_all(cases, args.rounds), against="plain")


def of_loader(args: argparse.Namespace) -> None:
    cases = {f"{n} workers": case(args) | {"workers": n, "wall": True} for n in args.workers}
    table(f"{args.model}, {args.method}", run_all(cases, args.rounds), against=next(iter(cases)))


def case(args: argparse.Namespace, **change: Any) -> dict[str, Any]:
    keys = ("model", "method", "device", "crop", "batch", "steps", "set")
    return {key: getattr(args, key) for key in keys} | change


def run_all(cases: Mapping[str, Mapping[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Run cases in turn, each in a process of its own; of each the round with the shortest step counts."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for name, what in cases.items():
            environment = {**os.environ, "OMP_NUM_THREADS": "1"} if what["device"] == "cpu" else None
            command = [sys.executable, __file__, "case", "--only", json.dumps(what)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPO, check=False)
            if done.returncode:
                print(f"{name}: {(done.stderr.strip().splitlines() or ['?'])[-1]}", file=sys.stderr)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            if name not in best or found["step"] < best[name]["step"]:
                best[name] = found
            print(f"{name}: {1000 * found['step']:.0f} ms a step", file=sys.stderr)
    return best


def table(title: str, found: Mapping[str, Mapping[str, Any]], *, against: str) -> None:
    """Print milliseconds a step and part, the share of waiting, peak memory, and the ratio to one row."""
    print(f"| {title} | step, ms | × {against} | {' | '.join(PARTS)} | data, share | peak, MB |")
    print("| --- |" + " --- |" * (len(PARTS) + 4))
    unit = found[against]["step"] if against in found else float("nan")
    for name, row in found.items():
        parts = " | ".join(f"{1000 * row['parts'][part]:.1f}" for part in PARTS)
        share = row["parts"]["data"] / row["step"]
        ratio = row["step"] / unit
        print(f"| {name} | {1000 * row['step']:.1f} | {ratio:.2f} | {parts} | {share:.1%} | {row['peak'] / 1e6:.0f} |")


class Laps:
    """Seconds by part of a step, for every step."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._last = now, now()
        self.steps: list[dict[str, float]] = []
        self._current = dict.fromkeys(PARTS, 0.0)

    def mark(self, part: str) -> None:
        """Count what has passed since the last mark for a part."""
        here = self._now()
        self._current[part] += here - self._last
        self._last = here

    def around(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return a function whose time counts for a part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.mark("rest")
            try:
                return call(*args, **kwargs)
            finally:
                self.mark(part)

        return timed

    def end(self) -> None:
        """Close a step."""
        self.mark("rest")
        self.steps.append(self._current)
        self._current = dict.fromkeys(PARTS, 0.0)


def measured(what: Mapping[str, Any]) -> dict[str, Any]:
    """Train a few steps and return medians in seconds and the peak in bytes."""
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from geosemi.data.augment import Augment
    from geosemi.train.loop import Trainer
    from geosemi.train.prepared import prepare_run
    from geosemi.train.run import build, find_chips, make_fabric
    from geosemi.train.watch import Silent

    if what.get("keep_memory"):
        from geosemi.malloc import keep_freed_memory

        keep_freed_memory()
    settings = settings_of(what)
    fabric = make_fabric(settings)
    prepared = prepare_run(settings, Silent())
    fabric.launch()
    method = build(settings, prepared)
    switch(method, what)
    laps = Laps(clock(what, fabric.device))

    class Timed(Silent):
        def stepped(self, step: int, losses: Mapping[str, float]) -> None:  # noqa: ARG002 - as the loop calls it
            laps.end()

    augment = Augment(prepared.radiometry, settings.augment.model_copy(update={"views": method.strong_views}))
    for name in ("labelled", "unlabelled"):  # the class is frozen and has slots: its methods are timed where they are
        setattr(Augment, name, laps.around(getattr(Augment, name), "augment"))
    method.register_forward_pre_hook(lambda *_: laps.mark("rest"))
    method.register_forward_hook(lambda *_: laps.mark("forward"))
    method.after_step = laps.around(method.after_step, "after")
    fabric.backward = laps.around(fabric.backward, "backward")
    register_optimizer_step_pre_hook(lambda *_: laps.mark("rest"))
    register_optimizer_step_post_hook(lambda *_: laps.mark("update"))
    chips = TimedChips(find_chips(settings, prepared, method, fabric), laps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            method=method,
            chips=chips,
            augment=augment,
            settings=settings.train,
            folder=Path(folder),
            fingerprint="",
            watcher=Timed(),
            validate=None,
            keep=lambda *_: None,
        )
        floor = begin_peak(fabric.device)
        (Path(folder) / "checkpoints").mkdir()
        trainer.fit(fabric, resume=False)
    counted = laps.steps[WARM:]
    times = 2 if what.get("halved") else 1
    return {
        "step": times * statistics.median(sum(step.values()) for step in counted),
        "parts": {part: times * statistics.median(step[part] for step in counted) for part in PARTS},
        "peak": peak(fabric.device) - floor,
        "parameters": sum(p.numel() for p in method.predictor().parameters()),
    }


class TimedChips:
    """A loader whose time counts as `data`."""

    def __init__(self, chips: Any, laps: Laps) -> None:
        self._chips, self._laps = chips, laps
        self.steps_per_epoch = chips.steps_per_epoch

    def steps(self, start: int, stop: int) -> Iterator[Any]:
        """Yield what the loader yields."""
        source = iter(self._chips.steps(start, stop))
        following = self._laps.around(lambda: next(source, None), "data")
        while (chips := following()) is not None:
            yield chips


def settings_of(what: Mapping[str, Any]) -> Any:
    """Return the settings of a run on sample_data: the network from scratch, no validation on the way."""
    from geosemi.config import load_settings

    batch = max(1, what["batch"] // (2 if what.get("halved") else 1))
    options = {
        "data.root": str(REPO / "sample_data"),
        "data.images": "scenes",
        "split.ratio": 10,
        "split.block": 128,
        "model.name": what["model"],
        "method.name": what["method"],
        "chips.size": what["crop"] * 4 // 3,
        "chips.labelled": batch,
        "chips.unlabelled": batch,
        "chips.workers": what.get("workers", 0),
        "augment.size": what["crop"],
        "train.device": what["device"],
        "train.steps": what["steps"],
        "train.audit_chips": 0,
        "train.save_every": what["steps"],
    }
    weights = [] if what["model"] == "light" else ["model.weights=null"]
    return load_settings(None, options, [*weights, *what["set"]], has_gpu=False)


def clock(what: Mapping[str, Any], device: Any) -> Callable[[], float]:
    """Return what tells the time: CPU seconds where only this process computes, else the clock on the wall."""
    import torch

    if device.type == "cpu":
        return time.perf_counter if what.get("wall") else time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def begin_peak(device: Any) -> int:
    """Begin to watch memory; return what is held already, in bytes."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of this process begins anew
    return resident("VmRSS")


def peak(device: Any) -> int:
    """Return the most memory in bytes since `begin_peak`: of the GPU's allocator, or of this process."""
    import torch

    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resident("VmHWM")


def resident(what: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(what))
    return 1024 * int(line.split()[1])


def switch(method: Any, what: Mapping[str, Any]) -> None:
    """Turn on what a case names, from outside: none of these is built into the package."""
    import torch

    if what.get("channels_last"):
        method.to(memory_format=torch.channels_last)
    for network in segmenters(method):
        if what.get("compile"):
            network.encode, network.decode = torch.compile(network.encode), torch.compile(network.decode)
        if what.get("checkpointed"):
            checkpoint(network)


def segmenters(method: Any) -> list[Any]:
    from geosemi.models.segmenter import Segmenter

    return [m for m in method.modules() if isinstance(m, Segmenter)]


def checkpoint(network: Any) -> None:
    """Forget what residual blocks computed, and compute it again on the way back."""
    from torch.utils.checkpoint import checkpoint as again

    names = ("_Residual", "Block", "Bottleneck", "ConvNeXtBlock")
    for block in [m for m in network.modules() if type(m).__name__ in names]:
        forward = block.forward

        def kept(*args: Any, forward: Callable[..., Any] = forward) -> Any:
            return again(forward, *args, use_reentrant=False)

        block.forward = kept


def of_passes(args: argparse.Namespace) -> None:
    """Time two passes against one that does the same: of one network, and of two networks of one shape."""
    import torch
    from torch.func import functional_call, stack_module_state

    from geosemi.models.build import build_segmenter
    from geosemi.models.spec import ModelSpec

    torch.set_num_threads(1)
    spec = ModelSpec(name=args.model, weights=None)
    student, teacher = (build_segmenter(spec, bands=3, classes=6, seed=seed).to(args.device) for seed in (0, 1))
    x, u = (torch.randn(args.batch, 3, args.crop, args.crop, device=args.device) for _ in range(2))
    parameters, buffers = stack_module_state([student, teacher])

    def both(image: Any) -> Any:
        return torch.vmap(lambda p, b, i: functional_call(student, (p, b), (i,)), randomness="different")(
            parameters, buffers, image
        )

    def trained(*losses: Any) -> None:
        torch.stack([loss.square().mean() for loss in losses]).sum().backward()

    ways: dict[str, Callable[[], Any]] = {
        "student on labelled, then on strong crops": lambda: trained(student(x), student(u)),
        "student on both at once": lambda: trained(student(torch.cat([x, u]))),
    }
    now = clock({}, x.device)
    print(f"| {args.model}, forward and backward | ms |\n| --- | --- |")
    for name, seconds in alternately(ways, args.steps, now).items():
        print(f"| {name} | {1000 * seconds:.1f} |")
    student.eval(), teacher.eval()
    apart = {"teacher, then student": lambda: (teacher(x), student(u))}
    one = {"both in one (vmap over stacked weights)": lambda: both(torch.stack([u, x]))}
    print(f"\n| {args.model}, forward alone, evaluation mode | ms |\n| --- | --- |")
    with torch.no_grad():
        try:
            found = alternately(apart | one, args.steps, now)
        except RuntimeError as error:  # vmap lacks a rule for a layer
            found = alternately(apart, args.steps, now)
            print(f"| {next(iter(one))} | not possible: {str(error).splitlines()[0]} |")
        for name, seconds in found.items():
            print(f"| {name} | {1000 * seconds:.1f} |")


def of_sizes(args: argparse.Namespace) -> None:
    """Print parameters, stride and the forward of a window for every network, against `light` in the same run."""
    import torch

    from geosemi.models.build import MODELS, build_segmenter
    from geosemi.models.spec import ModelSpec

    torch.set_num_threads(1)
    window = args.crop if args.crop != 96 else 512
    image = torch.randn(1, 3, window, window, device=args.device)
    light = build_segmenter(ModelSpec(), bands=3, classes=6, seed=0).eval().to(args.device)
    print(f"| network | parameters, M | stride | {window}² window, ms | × light |\n| --- | --- | --- | --- | --- |")
    for name in MODELS:
        model = build_segmenter(ModelSpec(name=name, weights=None), bands=3, classes=6, seed=0).eval().to(args.device)
        with torch.inference_mode():
            found = alternately(
                {"light": lambda: light(image), name: lambda m=model: m(image)}, 3, clock({}, image.device)
            )
        count = sum(p.numel() for p in model.parameters()) / 1e6
        ratio = found[name] / found["light"]
        print(f"| `{name}` | {count:.2f} | {model.stride} | {1000 * found[name]:.0f} | {ratio:.1f} |", flush=True)


def alternately(ways: Mapping[str, Callable[[], Any]], times: int, now: Callable[[], float]) -> dict[str, float]:
    """Return the shortest time of each way, tried in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times + 1):
        for name, way in ways.items():
            began = now()
            way()
            found[name].append(now() - began)
    return {name: min(seconds[1:]) for name, seconds in found.items()}


EXPERIMENTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "methods": of_methods,
    "networks": of_networks,
    "switches": of_switches,
    "loader": of_loader,
    "passes": of_passes,
    "sizes": of_sizes,
}


if __name__ == "__main__":
    main()
