"""Benchmarks: ratios against a peer, or a ceiling, measured in the same run."""
