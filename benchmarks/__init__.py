"""What each step costs, beside its floor and a rival: ``python -m benchmarks``."""
