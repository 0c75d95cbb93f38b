"""Vision-language models and segmenters of a few hundred thousand random weights, built from their real classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Import it where tiny models run: several threads for a matrix of 32² wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tokenizer() -> Any:
    """Bytes as tokens, with the special tokens of the Qwen family."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    return Qwen2TokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
                              "vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"},
    )  # fmt: skip


def qwen(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """Return a tiny model and its processor; `kind` is qwen2_vl, qwen2_5_vl or qwen3_vl."""
    import transformers as t

    words = tokenizer()
    ids = {
        name: words.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("image_pad", "video_pad", "vision_start", "vision_end", "im_end", "endoftext")
    }
    text = {
        "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
        "bos_token_id": ids["endoftext"], "eos_token_id": ids["im_end"], "pad_token_id": ids["endoftext"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    shared = {"image_token_id": ids["image_pad"], "video_token_id": ids["video_pad"],
              "vision_start_token_id": ids["vision_start"], "vision_end_token_id": ids["vision_end"]}  # fmt: skip
    if kind == "qwen2_vl":
        vision = {
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
        }
        config, model, processor = t.Qwen2VLConfig, t.Qwen2VLForConditionalGeneration, t.Qwen2VLProcessor
    elif kind == "qwen2_5_vl":
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        }
        config, model, processor = t.Qwen2_5_VLConfig, t.Qwen2_5_VLForConditionalGeneration, t.Qwen2_5_VLProcessor
    else:
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }
        text = {**text, "head_dim": 16, "rope_parameters": {**text["rope_parameters"], "mrope_interleaved": True}}
        config, model, processor = t.Qwen3VLConfig, t.Qwen3VLForConditionalGeneration, t.Qwen3VLProcessor
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = model(config(text_config=text, vision_config=vision, tie_word_embeddings=False, **shared))
    made.generation_config.eos_token_id = ids["im_end"]
    made.generation_config.pad_token_id = ids["endoftext"]
    patch = {"patch_size": vision["patch_size"], "merge_size": 2}
    pictures = t.Qwen2VLImageProcessor(**patch, size={"shortest_edge": 28 * 28, "longest_edge": 128 * 128})
    video_kind = t.Qwen3VLVideoProcessor if kind == "qwen3_vl" else t.Qwen2VLVideoProcessor
    return made.eval(), processor(pictures, words, video_kind(**patch), chat_template=TEMPLATE)


def teach(model: Any, processor: Any, question: str, answer: str, shape: tuple[int, int], steps: int = 150) -> float:
    """Train a tiny model until it gives one answer to a question, whatever the picture; return the last loss."""
    rng = np.random.default_rng(0)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    whole = f"{text}{answer}<|im_end|>"
    length = len(processor.tokenizer(whole)["input_ids"]) - len(processor.tokenizer(text)["input_ids"])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(steps):
        picture = rng.integers(0, 255, (*shape, 3), dtype=np.uint8) // rng.integers(1, 8)
        inputs = processor(text=[whole], images=[picture.astype(np.uint8)], return_tensors="pt")
        labels = inputs["input_ids"].clone()
        labels[:, :-length] = -100
        loss = model(**inputs, labels=labels).loss
        optimiser.zero_grad()
        if float(loss.detach()) < 0.02:
            break
        loss.backward()
        optimiser.step()
    model.eval()
    return float(loss.detach())


def saved_qwen(folder: Path, kind: str, *lesson: Any) -> Path:
    """Write a tiny model as a repository holds it; with a lesson (question, answer, shape), one that was taught it."""
    model, processor = qwen(kind)
    if lesson:
        teach(model, processor, *lesson)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def sam(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """Return a tiny segmenter of transformers and its processor; `kind` is sam, sam2 or sam3_tracker."""
    import transformers as t

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "sam":
            vision = t.SamVisionConfig(
                hidden_size=32, output_channels=16, num_hidden_layers=2, num_attention_heads=2, image_size=64,
                patch_size=8, num_pos_feats=8, mlp_ratio=2.0, window_size=4, global_attn_indexes=[1], mlp_dim=64,
            )  # fmt: skip
            prompt = t.SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=8)
            mask = t.SamMaskDecoderConfig(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
            model = t.SamModel(
                t.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)
            )
            size = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
            small = {"mask_size": {"longest_edge": 16}, "mask_pad_size": {"height": 16, "width": 16}}
            return model.eval(), t.SamProcessor(t.SamImageProcessor(**size, **small))
        if kind == "sam2":
            model = t.Sam2Model(_sam2_config(t))
            return model.eval(), t.Sam2Processor(t.Sam2ImageProcessor(size={"height": 128, "width": 128}))
        model = t.Sam3TrackerModel(_sam3_config(t))
        return model.eval(), t.Sam3TrackerProcessor(t.Sam3ImageProcessor(size={"height": 56, "width": 56}))


def _sam2_config(t: Any) -> Any:
    backbone = t.Sam2HieraDetConfig(
        hidden_size=16, num_attention_heads=1, image_size=[128, 128], patch_kernel_size=[7, 7], patch_stride=[4, 4],
        blocks_per_stage=[1, 2, 2, 1], embed_dim_per_stage=[16, 32, 64, 128], global_attention_blocks=[4],
        num_attention_heads_per_stage=[1, 2, 4, 8], window_size_per_stage=[8, 4, 8, 4],
        window_positional_embedding_background_size=[7, 7],
    )  # fmt: skip
    vision = t.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[128, 64, 32, 16], fpn_hidden_size=16,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    prompt = t.Sam2PromptEncoderConfig(hidden_size=16, image_size=128, patch_size=16, mask_input_channels=8)
    mask = t.Sam2MaskDecoderConfig(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
    return t.Sam2Config(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)


def _sam3_config(t: Any) -> Any:
    backbone = t.Sam3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14,
        window_size=2, global_attn_indexes=[1], pretrain_image_size=56,
    )  # fmt: skip
    vision = t.Sam3VisionConfig(
        backbone_config=backbone, fpn_hidden_size=16, backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]]
    )
    prompt = t.Sam3TrackerPromptEncoderConfig(hidden_size=16, image_size=56, patch_size=14, mask_input_channels=8)
    mask = t.Sam3TrackerMaskDecoderConfig(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16)
    return t.Sam3TrackerConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)


def library_sam(seed: int = 0, *, side: int = 64) -> Any:
    """Return a tiny segmenter of the library segment-anything."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam(
            image_encoder=ImageEncoderViT(
                img_size=side, patch_size=8, embed_dim=32, depth=2, num_heads=2, out_chans=16, window_size=4,
                use_rel_pos=True, global_attn_indexes=(1,),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=16, image_embedding_size=(side // 8,) * 2, input_image_size=(side,) * 2, mask_in_chans=8
            ),
            mask_decoder=MaskDecoder(
                transformer=TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=2),
                num_multimask_outputs=3, transformer_dim=16, iou_head_depth=2, iou_head_hidden_dim=16,
            ),
            pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375],
        )  # fmt: skip
    return model.eval()
