"""What a user would write instead: FAISS behind FastAPI, plainly. ``python -m benchmarks.plain_search EXPORT PORT``."""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np
import polars as pl
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from cir_assets.models.backbone import Backbone
from cir_assets.models.saving import load_combiner, load_text_encoder


class Asked(BaseModel):
    """What is searched for."""

    dataset: str
    reference: str
    text: str
    top: int = 24


def plain_app(storage: Path) -> FastAPI:
    """The same models and features, a flat index of FAISS, and a function that is called in FastAPI's threads."""
    version = next((storage / "search" / "many" / "tiny_clip" / "small").glob("*/"))
    features, norms = np.load(version / "features.npy"), np.load(version / "norms.npy")
    images = pl.read_parquet(version / "pictures.parquet")["image"].to_list()
    row_of = {image: row for row, image in enumerate(images)}
    backbone = Backbone.load(storage / "backbones" / "tiny_clip")
    load_text_encoder(storage / "models" / "text_encoder", backbone)
    combiner = load_combiner(storage / "models" / "combiner")
    index = faiss.IndexFlatIP(features.shape[1])
    index.add(features)
    app = FastAPI()

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/search")
    def search(asked: Asked) -> list[dict[str, object]]:
        row = row_of[asked.reference]
        with torch.inference_mode():
            picture = torch.from_numpy(features[row] * norms[row])[None]
            query, _ = combiner.combine(picture, backbone.text_features([asked.text]))
        scores, rows = index.search(query.numpy(), asked.top + 1)
        found = [
            (other, score)
            for other, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
            if other != row
        ]
        return [{"image": images[other], "score": score} for other, score in found[: asked.top]]

    return app


if __name__ == "__main__":
    uvicorn.run(plain_app(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning")
