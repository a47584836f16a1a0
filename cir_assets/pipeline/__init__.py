"""What each step of a pipeline does over a storage folder: by hand in a notebook, or as an asset of the graph.

Every step is a ``Step``; ``run`` makes its result or finds the one made before from the same inputs. Nothing here knows
Dagster: ``cir_assets.graph`` shows these steps as assets, and adds nothing to what they do.
"""
