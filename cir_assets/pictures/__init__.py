"""Pictures: opened, decoded ahead, prepared, scanned, made small. Knows no torch, Dagster or DuckDB."""
