"""One module a step of the graph, in its order: read inputs, call the library, record what was made."""
