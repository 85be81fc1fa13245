"""Bars, allocations, crises, features and labels: the one home of every formula."""
