"""Backtrader analyzers: the labelling analyzer."""
