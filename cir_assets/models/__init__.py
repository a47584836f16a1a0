"""Backbones, preprocessing, the Combiner, and how models are saved. Knows no Dagster."""
