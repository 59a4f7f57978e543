"""Judging models and embeddings: scores with intervals, probes, requirements and leak checks."""
