"""Composed image retrieval as a living graph of Dagster assets."""

from cir_assets.engines.cores import wait_for_each_other_briefly

wait_for_each_other_briefly()
