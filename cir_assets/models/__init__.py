"""Backbones, the Combiner, and how models are saved. Knows no Dagster."""
