"""DuckDB files: feature cache, results, publishing; and the ledger of what was made from what. Knows no torch."""
