"""``python -m cir_assets.graph.daemon``: Dagster's daemon as ``services`` starts it."""

from cir_assets.graph.private import run_daemon

if __name__ == "__main__":
    run_daemon()
