"""The engines of a search: each proposes molecules."""
