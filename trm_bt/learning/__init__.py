"""Samples, the network, its training, checkpoints and the policy."""
