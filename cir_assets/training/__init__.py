"""Losses, stage 1, stage 2 and the resumable loop they share. Knows no Dagster and no DuckDB."""
