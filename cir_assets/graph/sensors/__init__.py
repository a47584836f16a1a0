"""Sensors: what looks every few seconds, a module each; telling people is in ``graph.notifications``."""
