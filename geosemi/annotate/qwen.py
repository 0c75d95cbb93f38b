"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL through transformers, on this machine.

What the numbers of their boxes mean differs: Qwen2.5-VL gives pixels of the picture as its processor resized it,
Qwen2-VL and Qwen3-VL give 0 … 1000. Licences differ too: of Qwen2.5-VL the 7B model is Apache-2.0, the 3B one is for
research only, the 72B one has a licence of its own; Qwen3-VL is Apache-2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from geosemi.annotate.boxes import Frame
from geosemi.annotate.speaker import Query, Reply
from geosemi.annotate.weights import loading, on_device, revision_of
from geosemi.errors import ConfigError, ResourceError

DEFAULT = "Qwen/Qwen2.5-VL-7B-Instruct"  # Apache-2.0
FRAMES = {"qwen2_vl": Frame.MILLE, "qwen2_5_vl": Frame.SEEN, "qwen3_vl": Frame.MILLE, "qwen3_vl_moe": Frame.MILLE}


class QwenSpeaker:
    """A Qwen-VL model.

    Args:
        model: the model, on its device.
        processor: its processor, with tokenizer and chat template.
        name: of its weights.
        revision: of its weights.
        max_tokens: longest answer.
        batch: pictures at a time.
    """

    workers = 1

    def __init__(
        self, model: Any, processor: Any, *, name: str, revision: str = "", max_tokens: int = 2048, batch: int = 1
    ) -> None:
        kind = str(model.config.model_type)
        if kind not in FRAMES:
            raise ConfigError(
                f"`{name}` is a `{kind}`, of which it is not known what its boxes mean",
                hint=f"choose a Qwen-VL model ({', '.join(FRAMES)}), or serve it and use `--provider openai --frame …`",
            )
        self.frame = FRAMES[kind]
        self.batch = batch
        pictures = processor.image_processor
        self.multiple = int(pictures.patch_size) * int(pictures.merge_size)
        self._patch = int(pictures.patch_size)
        self._model, self._processor = model.eval(), processor
        self._tokens = max_tokens
        self._processor.tokenizer.padding_side = "left"  # answers of a batch begin together
        self._identity = {
            "provider": "qwen",
            "model": name,
            "revision": revision,
            "decoding": {"greedy": True, "max_tokens": max_tokens, "dtype": str(model.dtype).removeprefix("torch.")},
        }
        if getattr(model, "is_loaded_in_4bit", False):
            self._identity["decoding"] = {**self._decoding, "bits": 4}

    @property
    def _decoding(self) -> dict[str, Any]:
        decoding = self._identity["decoding"]
        assert isinstance(decoding, dict)
        return decoding

    @property
    def identity(self) -> Mapping[str, Any]:
        """Provider, model, revision and decoding."""
        return self._identity

    def ask(self, queries: Sequence[Query]) -> list[Reply]:
        """Return a reply to each query: greedy, so the same picture gives the same answer.

        Raises:
            ResourceError: the device has not enough memory.
        """
        inputs = self._inputs(queries)
        try:
            with torch.inference_mode():
                out = self._model.generate(**inputs, max_new_tokens=self._tokens, do_sample=False)
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"{len(queries)} pictures at a time do not fit into the device's memory",
                hint="take a smaller `--batch` or `--picture`, `--four-bit`, or a smaller model",
            ) from error
        answers = out[:, inputs["input_ids"].shape[1] :]
        return [
            self._reply(answer, int(mask.sum()), grid)
            for answer, mask, grid in zip(
                answers, inputs["attention_mask"], inputs["image_grid_thw"].tolist(), strict=True
            )
        ]

    def give_up(self) -> None:
        """Let the batch that runs end; its answers are kept."""

    def _inputs(self, queries: Sequence[Query]) -> Any:
        texts = [
            self._processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": query.question}]}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for query in queries
        ]
        images = [Image.fromarray(np.ascontiguousarray(query.rgb)) for query in queries]
        return self._processor(text=texts, images=images, padding=True, return_tensors="pt").to(self._model.device)

    def _reply(self, answer: torch.Tensor, asked: int, grid: Sequence[int]) -> Reply:
        ends = self._model.generation_config.eos_token_id
        known = torch.tensor([ends] if isinstance(ends, int) else list(ends or ()), device=answer.device)
        stops = torch.isin(answer, known).nonzero()[:, 0].tolist()
        said = answer[: stops[0]] if stops else answer
        text = self._processor.tokenizer.decode(said, skip_special_tokens=True)
        seen = (int(grid[1]) * self._patch, int(grid[2]) * self._patch)
        return Reply(text.strip(), not stops, seen, asked, len(said) + bool(stops))


def load_qwen(
    name: str = DEFAULT,
    *,
    revision: str | None = None,
    device: str = "auto",
    four_bit: bool = False,
    max_tokens: int = 2048,
    batch: int = 1,
) -> QwenSpeaker:
    """Load a Qwen-VL model, in bfloat16 on a GPU and float32 on a CPU.

    Args:
        name: repository on the Hugging Face hub, or a folder.
        revision: commit, tag or branch of the repository.
        device: auto, cpu, cuda, cuda:1 or mps.
        four_bit: NF4 weights, which take a quarter of the memory; needs the package bitsandbytes and a GPU.
        max_tokens: longest answer.
        batch: pictures at a time.

    Raises:
        WeightsUnavailable: the weights are neither on disk nor to be had.
        ConfigError: it is no Qwen-VL model, or the device is not there.
    """
    import transformers  # noqa: PLC0415 - seconds that a helper of other providers saves

    place = on_device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    weights: dict[str, Any] = {"dtype": torch.float32 if place.type == "cpu" else torch.bfloat16}
    if four_bit:
        if place.type != "cuda":
            raise ConfigError("`--four-bit` needs a CUDA GPU", hint="leave it out")
        weights["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        weights["device_map"] = {"": place}
    with loading(name):
        config = transformers.AutoConfig.from_pretrained(name, **options)
    if config.model_type not in FRAMES:
        raise ConfigError(
            f"`{name}` is a `{config.model_type}`, no Qwen-VL model", hint=f"choose e.g. `--model {DEFAULT}`"
        )
    with loading(name):
        processor = transformers.AutoProcessor.from_pretrained(name, **options)
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            name, use_safetensors=True, **weights, **options
        )
    if not four_bit:
        model = model.to(place)
    commit = revision_of(model, revision)
    return QwenSpeaker(model, processor, name=name, revision=commit, max_tokens=max_tokens, batch=batch)
