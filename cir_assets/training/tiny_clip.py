"""Pre-training of ``tiny_clip``, the embedded backbone, on rendered clothes and their full descriptions.

Pictures and descriptions come from a name-space of random numbers of their own, so no picture of any wardrobe
is among them. Run it with ``make tiny-clip`` or ``python -m cir_assets.training.tiny_clip --out <folder>``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from cir_assets.datasets.wardrobe.drawing import render
from cir_assets.datasets.wardrobe.garments import shows
from cir_assets.datasets.wardrobe.generation import plan_wardrobe, pretraining_pair
from cir_assets.datasets.wardrobe.language import vocabulary_corpus
from cir_assets.engines.cores import granted_cores
from cir_assets.engines.progress import ProgressFactory, terminal_progress
from cir_assets.models.backbone import Backbone
from cir_assets.models.transformers_network import TransformersNetwork
from cir_assets.pictures.preparing import prepare_picture
from cir_assets.store.files import write_folder_whole, write_whole
from cir_assets.training.loop import TrainingDiverged

START, END = "<|startoftext|>", "<|endoftext|>"
RESOLUTION = 64
CHUNK = 256


PROBED = ("colour", "accent", "pattern", "sleeves", "neckline", "length", "fit", "belt", "pockets", "print")
"""Attributes whose linear readability from image features is measured."""

PROBE_PENALTY = 1e-2
"""Of the ridge regression that reads attributes from image features of unit variance."""


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
    """Tokens at most; it stops earlier once every word of the language is one."""
    vocabulary_garments: int = 20_000
    """Garments spoken of in the sentences the tokenizer is trained on."""
    text_length: float = 0.5
    """Length of text features in the end, as a share of image features'; see ``shorten_text_features``."""
    held_out: int = 1_000
    """Pairs never trained on, among which it is measured."""
    probed: int = 3_000
    """Pictures of a wardrobe of its own from which attributes are read; two thirds fit, one third measure."""


def tiny_tokenizer(vocabulary: int, seed: int, garments: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of the wardrobe's language: lower case, CLIP's two special tokens.

    Being byte-level it takes any text: an unknown word becomes more pieces, never an unknown token.

    Args:
        vocabulary: number of tokens at most, the 256 bytes and the special tokens counted.
        seed: of the sentences it is trained on.
        garments: how many garments those sentences speak of, three sentences each.
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
    tokenizer.train_from_iterator(vocabulary_corpus(seed, garments), trainer)
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, start), (END, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, model_max_length=77
    )


def tiny_model(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """Build the untrained CLIPModel, about 1.8 M parameters, features of dimension 128.

    A ViT of 4 layers of width 160 on 64 tokens of 8 x 8 pixels, and a text tower of 3 layers of width 128.
    """
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
    """Render a stretch of pre-training pairs: pixels uint8 (count, 64, 64, 3) and as many descriptions.

    Args:
        seed: of the endless row of pairs.
        first: the first pair's place in it.
        count: how many pairs.
        progress: where it is told how far the rendering is.
        workers: processes; None takes one a granted core, and 1 renders in this process.
    """
    pixels = np.empty((count, RESOLUTION, RESOLUTION, 3), dtype=np.uint8)
    descriptions: list[str] = []
    starts = range(first, first + count, CHUNK)
    ends = [min(start + CHUNK, first + count) for start in starts]
    stretches = ([seed] * len(starts), starts, ends)
    workers = min(workers or granted_cores(), len(starts))
    with ExitStack() as stack:
        shown = stack.enter_context(progress("render pairs", count, "pairs"))
        if workers > 1:
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            rendered = stack.enter_context(pool).map(_render_pairs, *stretches)
        else:
            rendered = map(_render_pairs, *stretches)
        for part, said in rendered:
            pixels[len(descriptions) : len(descriptions) + len(said)] = part
            descriptions += said
            shown.advance(len(said))
    return pixels, descriptions


def pretrain(
    settings: PretrainingSettings,
    device: str,
    checkpoint: Path,
    progress: ProgressFactory = terminal_progress,
) -> Backbone:
    """Train the embedded backbone from nothing with a symmetric contrastive loss.

    The state of every epoch is written to ``checkpoint``, beside first; a training of the same settings that
    was broken off goes on after its last whole epoch and ends with the same weights.

    Args:
        settings: the hyper-parameters; they fix the result on one kind of device and number of threads.
        device: cpu or cuda.
        checkpoint: file of the state, left for the caller to remove.
        progress: where it is told how far the work is.

    Raises:
        TrainingDiverged: when the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    tokenizer = tiny_tokenizer(settings.vocabulary, settings.seed, settings.vocabulary_garments)
    backbone = Backbone(TransformersNetwork(tiny_model(tokenizer), tokenizer), "untrained", device)
    model = backbone.model.requires_grad_(True)
    pixels, descriptions = pretraining_pairs(settings.seed, 0, settings.pairs, progress)
    tokens = backbone.tokenise(descriptions)
    steps_an_epoch = settings.pairs // settings.batch_size
    steps = settings.epochs * steps_an_epoch
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.warm_up))
    state = _read_checkpoint(checkpoint, settings)
    if state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
    done = int(state.get("epochs", 0))
    with progress("pre-train tiny_clip", steps, "steps") as bar:
        bar.advance(done * steps_an_epoch)
        for epoch, rows in _batches(settings, done):
            image = backbone.image_features_with_gradient(pixels[rows])
            text = backbone.encode_texts([tokens[row] for row in rows])
            loss = _symmetric_loss(image, text, model.logit_scale.exp())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingDiverged(f"pre-training: the loss is {value}; set a lower learning rate")
            bar.advance(1, f"loss {value:.4f}")
            if schedule.last_epoch % steps_an_epoch == 0:
                states = {
                    "settings": asdict(settings),
                    "epochs": epoch + 1,
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                }
                with write_whole(checkpoint) as beside:
                    torch.save(states, beside)
    model.requires_grad_(False)
    shorten_text_features(backbone, pixels[: settings.held_out], descriptions[: settings.held_out], settings)
    return backbone


def shorten_text_features(
    backbone: Backbone, pixels: NDArray[np.uint8], descriptions: Sequence[str], settings: PretrainingSettings
) -> None:
    """Scale the text projection until text features are ``settings.text_length`` as long as image features.

    The contrastive loss sees directions only and leaves the lengths to chance, but stage 1 begins from the sum
    of raw features, where they weigh a caption against a picture. Cosines stay as they are.

    Args:
        backbone: changed in place.
        pixels: uint8 (n, 64, 64, 3), pictures it was trained on.
        descriptions: theirs.
        settings: the hyper-parameters.
    """
    image = _image_features(backbone, pixels).norm(dim=1).mean()
    text = backbone.text_features(descriptions).norm(dim=1).mean()
    with torch.no_grad():
        backbone.model.text_projection.weight.mul_(settings.text_length * image / text)


def measure(backbone: Backbone, settings: PretrainingSettings) -> dict[str, float]:
    """Measure a pre-trained backbone on what it was not trained on; everything in percent.

    Retrieval among ``settings.held_out`` pairs in both directions, and how often a linear reading of the
    image feature gives each attribute, on pictures of a wardrobe of its own.
    """
    held_out = pretraining_pairs(settings.seed, settings.pairs, settings.held_out, terminal_progress)
    return held_out_figures(backbone, *held_out) | attribute_accuracies(
        backbone, settings.probed, settings.seed
    )


def held_out_figures(
    backbone: Backbone, pixels: NDArray[np.uint8], descriptions: Sequence[str]
) -> dict[str, float]:
    """Recalls at 1 and 10 among pairs, text to image and image to text, in percent."""
    image = functional.normalize(_image_features(backbone, pixels), dim=1)
    text = functional.normalize(backbone.text_features(descriptions), dim=1)
    scores = text @ image.T
    own = scores.diagonal()
    ranks = {"text_to_image": (scores > own[:, None]).sum(1), "image_to_text": (scores > own[None, :]).sum(0)}
    return {
        f"{direction}_recall_at_{k}": round(100 * float((rank < k).float().mean()), 2)
        for direction, rank in ranks.items()
        for k in (1, 10)
    }


def attribute_accuracies(backbone: Backbone, pictures: int, seed: int) -> dict[str, float]:
    """Read every attribute from image features by ridge regression; percent right on the last third.

    An accent that nothing is drawn in is left out of its figure, as nobody could see it.
    """
    wardrobe = plan_wardrobe(max(pictures, 3 * len(PROBED)), seed).pictures[:pictures]
    order = np.random.default_rng(seed).permutation(len(wardrobe))
    probed_garments = [wardrobe[place] for place in order]
    pixels = np.stack(
        [
            prepare_picture(
                render(picture.garment, Random(f"probe/{seed}/{picture.image}")), RESOLUTION, "targetpad"
            )
            for picture in probed_garments
        ]
    )
    features = _image_features(backbone, pixels).double().cpu().numpy()
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    accuracies = {}
    for attribute in PROBED:
        seen = np.array([shows(picture.garment, attribute) for picture in probed_garments])
        values = np.array([str(getattr(picture.garment, attribute)) for picture in probed_garments])[seen]
        inputs = features[seen]
        names, labels = np.unique(values, return_inverse=True)
        fitted = 2 * len(inputs) // 3
        gram = inputs[:fitted].T @ inputs[:fitted] / fitted + PROBE_PENALTY * np.eye(inputs.shape[1])
        readings = np.linalg.solve(gram, inputs[:fitted].T @ np.eye(len(names))[labels[:fitted]])
        right = (inputs[fitted:] @ readings).argmax(1) == labels[fitted:]
        accuracies[f"{attribute}_accuracy"] = round(100 * float(right.mean()), 1)
    return accuracies


def _image_features(backbone: Backbone, pixels: NDArray[np.uint8]) -> Tensor:
    return torch.cat(
        [backbone.encode_images(pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)]
    )


def _read_checkpoint(checkpoint: Path, settings: PretrainingSettings) -> dict[str, Any]:
    """Read the state of a training with these settings; empty if there is none."""
    if not checkpoint.is_file():
        return {}
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return state if state["settings"] == asdict(settings) else {}


def _render_pairs(seed: int, start: int, end: int) -> tuple[NDArray[np.uint8], list[str]]:
    pairs = [pretraining_pair(seed, index) for index in range(start, end)]
    prepared = [prepare_picture(Image.fromarray(picture), RESOLUTION, "targetpad") for picture, _ in pairs]
    return np.stack(prepared), [description for _, description in pairs]


def _batches(settings: PretrainingSettings, done: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for epoch in range(done, settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(settings.pairs)
        for start in range(0, settings.pairs - settings.batch_size + 1, settings.batch_size):
            yield epoch, order[start : start + settings.batch_size]


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
    """Write weights (float32 safetensors), configuration and tokenizer, beside first.

    A model card that is there already (README.md) is kept.
    """
    with write_folder_whole(folder) as beside:
        backbone.model.save_pretrained(beside)
        backbone.tokenizer.save_pretrained(beside)
        if (folder / "README.md").is_file():
            shutil.copy2(folder / "README.md", beside / "README.md")


def main() -> None:
    """Make the embedded backbone again and print how good it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder the model is written to; its README.md is kept"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=int, default=PretrainingSettings.pairs)
    parser.add_argument("--epochs", type=int, default=PretrainingSettings.epochs)
    given = parser.parse_args()
    started = time.perf_counter()
    settings = PretrainingSettings(pairs=given.pairs, epochs=given.epochs)
    out: Path = given.out
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    backbone = pretrain(settings, given.device, checkpoint, terminal_progress)
    save(backbone, out)
    checkpoint.unlink(missing_ok=True)
    parameters = sum(p.numel() for p in backbone.model.parameters())
    minutes = round((time.perf_counter() - started) / 60, 1)
    figures = measure(backbone, settings)
    print(json.dumps({"parameters": parameters, "minutes": minutes, **figures}, indent=2))


if __name__ == "__main__":
    main()
