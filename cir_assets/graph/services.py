"""``python -m cir_assets.graph.services``: Dagster's servers and daemon, as ``cir-assets ui`` starts them.

The arguments are those of ``dagster dev``.
"""

from cir_assets.graph.private import run_services

if __name__ == "__main__":
    run_services()
