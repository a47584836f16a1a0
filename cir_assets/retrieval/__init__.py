"""Ranking, metrics, confidence intervals. Arrays in, arrays out."""
