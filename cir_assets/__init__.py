"""Composed image retrieval as a living graph of Dagster assets."""
