"""Figures that judge a run."""
