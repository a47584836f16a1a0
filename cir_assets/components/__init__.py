"""The components: from one YAML file to a data set's assets, checks, jobs and schedule.

What stands in ``__all__`` is what ``dg list components`` finds in every environment this package is installed in.
"""

from cir_assets.components.backbones import Backbones
from cir_assets.components.dataset import Dataset

__all__ = ["Backbones", "Dataset"]
