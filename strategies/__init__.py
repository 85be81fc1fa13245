"""Strategies: the allocator and its benchmarks."""
