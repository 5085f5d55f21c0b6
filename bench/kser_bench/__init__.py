"""The bench by subjects: `bench/run` puts them together."""
