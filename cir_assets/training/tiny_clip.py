"""Pre-training of ``tiny_clip``, the embedded backbone, on rendered clothes and their full descriptions.

Run it with ``make tiny-clip`` or ``python -m cir_assets.training.tiny_clip --out <folder>``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from cir_assets.datasets.wardrobe.generation import pretraining_pair
from cir_assets.datasets.wardrobe.language import vocabulary_corpus
from cir_assets.models.backbone import Backbone
from cir_assets.models.preprocessing import prepare_picture
from cir_assets.progress import ProgressFactory, terminal_progress

START, END = "<|startoftext|>", "<|endoftext|>"
RESOLUTION = 64
CHUNK = 256


@dataclass(frozen=True)
class PretrainingSettings:
    """How the embedded backbone is made; the defaults made the weights that ship."""

    pairs: int = 40_000
    """Distinct pairs of picture and description."""
    epochs: int = 4
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05
    """Share of the steps over which the learning rate rises; it falls as a cosine afterwards."""
    seed: int = 1
    vocabulary: int = 640
    held_out: int = 1_000


def tiny_tokenizer(vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the wardrobe's language, lower case, with CLIP's two special tokens.

    Being byte-level it takes any text: an unknown word becomes more pieces, never an unknown token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(vocabulary_corpus(seed, 20_000), trainer)
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, start), (END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, model_max_length=77
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """An untrained CLIPModel of 1.3 M parameters: 4-layer ViT of width 160, 3-layer text tower of width 128."""
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 77,
            "projection_dim": 128,
            **special,
        },
        vision_config={
            "hidden_size": 160,
            "intermediate_size": 480,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "image_size": RESOLUTION,
            "patch_size": 8,
            "projection_dim": 128,
        },
        projection_dim=128,
    )
    return CLIPModel(config)


def pretraining_pairs(
    seed: int, first: int, count: int, progress: ProgressFactory, workers: int | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels uint8 (count, 64, 64, 3) and descriptions of a stretch of pre-training pairs."""
    pixels = np.empty((count, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    descriptions: list[str] = []
    starts = range(first, first + count, CHUNK)
    ends = [min(start + CHUNK, first + count) for start in starts]
    with (
        progress("render pairs", count, "pairs") as shown,
        ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        for part, said in pool.map(_render_pairs, [seed] * len(starts), starts, ends):
            pixels[len(descriptions) : len(descriptions) + len(said)] = part
            descriptions += said
            shown.advance(len(said))
    return pixels, descriptions


def pretrain(settings: PretrainingSettings, device: str, progress: ProgressFactory) -> tuple[Backbone, dict[str, float]]:
    """Train the embedded backbone from nothing; also its retrieval figures on held-out pairs, in percent."""
    torch.manual_seed(settings.seed)
    tokenizer = tiny_tokenizer(settings.vocabulary, settings.seed)
    backbone = Backbone(tiny_model(tokenizer), tokenizer, "untrained", device)
    model = backbone.model.requires_grad_(True)
    pixels, descriptions = pretraining_pairs(settings.seed, 0, settings.pairs, progress)
    tokens = backbone.tokenise(descriptions)
    steps = settings.epochs * (settings.pairs // settings.batch_size)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.warm_up))
    with progress("pre-train tiny_clip", steps, "steps") as shown:
        for rows in _batches(settings):
            image = backbone.image_features_with_gradient(pixels[rows])
            text = backbone.encode_texts([tokens[row] for row in rows])
            loss = _symmetric_loss(image, text, model.logit_scale.exp())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            shown.advance(1, f"loss {loss.item():.4f}")
    model.requires_grad_(False)
    held_out = pretraining_pairs(settings.seed, settings.pairs, settings.held_out, progress)
    return backbone, held_out_figures(backbone, *held_out)


def held_out_figures(backbone: Backbone, pixels: NDArray[np.uint8], descriptions: Sequence[str]) -> dict[str, float]:
    """Text to image and image to text recalls among the held-out pairs, in percent."""
    image = functional.normalize(
        torch.cat([backbone.encode_images(part) for part in np.array_split(pixels, max(1, len(pixels) // 256))]), dim=1
    )
    text = functional.normalize(backbone.text_features(descriptions), dim=1)
    scores = text @ image.T
    own = scores.diagonal()
    ranks = {"text_to_image": (scores > own[:, None]).sum(1), "image_to_text": (scores > own[None, :]).sum(0)}
    return {
        f"{direction}_recall_at_{k}": round(100 * float((rank < k).float().mean()), 2)
        for direction, rank in ranks.items()
        for k in (1, 10)
    }


def _render_pairs(seed: int, start: int, end: int) -> tuple[NDArray[np.uint8], list[str]]:
    pairs = [pretraining_pair(seed, index) for index in range(start, end)]
    prepared = [prepare_picture(Image.fromarray(picture), RESOLUTION, "targetpad") for picture, _ in pairs]
    return np.stack(prepared), [description for _, description in pairs]


def _batches(settings: PretrainingSettings) -> Iterator[NDArray[np.int64]]:
    for epoch in range(settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(settings.pairs)
        for start in range(0, settings.pairs - settings.batch_size + 1, settings.batch_size):
            yield order[start : start + settings.batch_size]


def _rate(step: int, steps: int, warm_up: float) -> float:
    rising = max(1, int(steps * warm_up))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _symmetric_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    logits = scale * functional.normalize(image, dim=1) @ functional.normalize(text, dim=1).T
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def save(backbone: Backbone, folder: Path) -> None:
    """Write weights (float32 safetensors), configuration and tokenizer, beside first; a model card is kept."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    backbone.model.save_pretrained(beside)
    backbone.tokenizer.save_pretrained(beside)
    if (folder / "README.md").is_file():
        shutil.copy2(folder / "README.md", beside / "README.md")
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def main() -> None:
    """Make the embedded backbone again and print how good it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder the model is written to")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=PretrainingSettings.pairs)
    parser.add_argument("--epochs", type=int, default=PretrainingSettings.epochs)
    given = parser.parse_args()
    started = time.perf_counter()
    settings = PretrainingSettings(pairs=given.pairs, epochs=given.epochs)
    backbone, figures = pretrain(settings, given.device, terminal_progress)
    save(backbone, given.out)
    parameters = sum(p.numel() for p in backbone.model.parameters())
    print(json.dumps({"parameters": parameters, "minutes": round((time.perf_counter() - started) / 60, 1), **figures}))


if __name__ == "__main__":
    main()
