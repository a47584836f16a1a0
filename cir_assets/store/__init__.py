"""DuckDB files: the feature cache, result tables, publishing; and the ledger of what was made from what. Knows no torch."""
