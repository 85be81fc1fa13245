"""The rules for bars, and their findings."""
