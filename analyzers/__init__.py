"""Backtrader analyzers: labels, decisions, weights and turnover of a run."""
