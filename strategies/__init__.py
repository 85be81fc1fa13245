"""Strategies: the allocator, and the fixed mixes it is held against."""
