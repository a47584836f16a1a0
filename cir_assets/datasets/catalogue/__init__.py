"""One's own catalogue: a folder of pictures, and one table of triplets or none.

``folder`` says what lies below a folder, ``table`` reads a file into cells, ``columns`` knows what its columns mean,
``names`` which picture a cell names, ``rows`` makes triplets of cells, ``splits`` and ``galleries`` place them, and
``reading`` puts it all together.
"""

from cir_assets.datasets.catalogue.reading import read_catalogue

__all__ = ["read_catalogue"]
