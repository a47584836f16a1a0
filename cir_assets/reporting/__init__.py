"""Plots, contact sheets and the HTML report. Knows no Dagster and no torch."""
