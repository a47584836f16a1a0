"""Data sets: parse, validate and bring into one common table form. Knows no Dagster and no torch."""
