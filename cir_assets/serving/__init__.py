"""Search with the champion: what is exported for it, the search itself, its API and its page. No Dagster in here."""
