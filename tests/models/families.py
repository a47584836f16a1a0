"""Backbones of every family at reduced size: true architectures, random weights, tokenizers trained on the spot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from cir_assets.training.tiny_clip import tiny_tokenizer

NARROW = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SENTENCES = ["is red with longer sleeves", "the same dress but blue", "has no belt and is much darker"] * 20

FAMILIES = (
    "clip",
    "clip_openai",
    "clip_patch14",
    "metaclip_2",
    "siglip",
    "siglip_without_json",
    "siglip2_fixed",
    "siglip2",
)
"""As the Hub holds them: OpenAI's CLIP with vocab.json and merges.txt; SigLIP with sentencepiece's file, with and
without tokenizer.json; SigLIP 2 with Gemma's tokenizer, of fixed resolution under SigLIP's name, of flexible under its
own."""


def write_tokenizer(family: str, folder: Path) -> tuple[int, dict[str, int | None]]:
    """Train a family's tokenizer and write its files; gives how many tokens it knows, and its special ones."""
    if family.startswith("siglip2"):
        return _write_gemma(folder)
    if family.startswith("siglip"):
        return _write_sentencepiece(folder, with_json=family == "siglip")
    if family == "clip_openai":
        return _write_clip(folder)
    tokenizer = _multilingual() if family == "metaclip_2" else tiny_tokenizer(400, seed=3, garments=200)
    tokenizer.save_pretrained(folder)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return len(tokenizer), {name: getattr(tokenizer, name) for name in names}


def _write_clip(folder: Path) -> tuple[int, dict[str, int | None]]:
    """OpenAI's files: bytes in pairs, the last piece of a word marked, with the class CLIPTokenizer."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[start, end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.model.save(str(folder))
    config = {
        "add_prefix_space": False,
        "bos_token": start,
        "do_lower_case": True,
        "eos_token": end,
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": end,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": end,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab_size(), {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}


def _multilingual() -> PreTrainedTokenizerFast:
    """A unigram tokenizer as MetaCLIP 2's is: end token last, padding of its own."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def _write_sentencepiece(folder: Path, *, with_json: bool) -> tuple[int, dict[str, int | None]]:
    """SigLIP's files: ``spiece.model``, the class SiglipTokenizer, and ``tokenizer.json`` beside them or not."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        vocab_size=80,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    special = {"lstrip": True, "normalized": False, "rstrip": True, "single_word": False, "special": True}
    config = {
        "added_tokens_decoder": {"1": {"content": "</s>", **special}, "2": {"content": "<unk>", **special}},
        "additional_special_tokens": [],
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "eos_token": "</s>",
        "model_input_names": ["input_ids"],
        "model_max_length": 64,
        "pad_token": "</s>",
        "processor_class": "SiglipProcessor",
        "sp_model_kwargs": {},
        "tokenizer_class": "SiglipTokenizer",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    if with_json:
        ids = range(pieces.get_piece_size())
        tokenizer = Tokenizer(
            models.Unigram([(pieces.id_to_piece(i), pieces.get_score(i)) for i in ids], unk_id=2)
        )
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.Lowercase(),
                normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
                normalizers.Replace(Regex(r"\s+"), " "),
                normalizers.Strip(),
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
        tokenizer.save(str(folder / "tokenizer.json"))
    return pieces.get_piece_size(), {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 1}


def _write_gemma(folder: Path) -> tuple[int, dict[str, int | None]]:
    """SigLIP 2's files: Gemma's tokenizer, which keeps capitals, with its end token switched on."""
    tokenizer = Tokenizer(models.BPE(fuse_unk=True, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=160, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES + [sentence.title() for sentence in SENTENCES], trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "add_bos_token": False,
        "add_eos_token": True,
        "additional_special_tokens": ["<mask>"],
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_input_names": ["input_ids"],
        "model_max_length": 1_000_000_000_000_000_019_884_624_838_656,
        "pad_token": "<pad>",
        "padding_side": "right",
        "processor_class": "SiglipProcessor",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab_size(), {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


def write_family(family: str, folder: Path) -> Path:
    """Write a small model of one family with its tokenizer and preprocessing, as the Hub holds them."""
    torch.manual_seed(11)
    model: Any
    folder.mkdir(parents=True, exist_ok=True)
    known, special = write_tokenizer(family, folder)
    # A tokenizer class may add special tokens of its own.
    text = {**NARROW, "vocab_size": known + 8, **special}
    clip_colours = {"image_mean": [0.481, 0.457, 0.408], "image_std": [0.268, 0.261, 0.275]}
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    if family in ("clip", "clip_openai"):
        model = CLIPModel(
            CLIPConfig(
                text_config={**text, "max_position_embeddings": 77, "projection_dim": 16},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8, "projection_dim": 16},
                projection_dim=16,
            )
        )
    elif family == "clip_patch14":
        # As H/14: patches of 14, towers of different widths, and the ordinary GELU.
        model = CLIPModel(
            CLIPConfig(
                text_config={
                    **text,
                    "max_position_embeddings": 77,
                    "projection_dim": 24,
                    "hidden_act": "gelu",
                },
                vision_config={
                    **NARROW,
                    "hidden_size": 64,
                    "image_size": 56,
                    "patch_size": 14,
                    "projection_dim": 24,
                    "hidden_act": "gelu",
                },
                projection_dim=24,
            )
        )
    elif family == "metaclip_2":
        model = MetaClip2Model(
            MetaClip2Config(
                text_config={**text, "max_position_embeddings": 77, "projection_dim": 16},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8, "projection_dim": 16},
                projection_dim=16,
            )
        )
    elif family in ("siglip", "siglip_without_json", "siglip2_fixed"):
        model = SiglipModel(
            SiglipConfig(
                text_config={**text, "max_position_embeddings": 20, "projection_size": 32},
                vision_config={**NARROW, "image_size": 32, "patch_size": 8},
            )
        )
    else:
        model = Siglip2Model(
            Siglip2Config(
                text_config={**text, "max_position_embeddings": 20, "projection_size": 32},
                vision_config={**NARROW, "num_patches": 16, "patch_size": 8},
            )
        )
    model.save_pretrained(folder)
    colours = clip_colours if "clip" in family and not family.startswith("sig") else half
    (folder / "preprocessor_config.json").write_text(json.dumps(colours))
    return folder


def in_shards(folder: Path) -> Path:
    """The same weights in three files, as large models have them; the second is returned."""
    weights = load_file(folder / "model.safetensors")
    names = [f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)]
    place = {name: names[row % 3] for row, name in enumerate(sorted(weights))}
    for shard in names:
        held = {name: value for name, value in weights.items() if place[name] == shard}
        save_file(held, folder / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": place}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return folder / names[1]
