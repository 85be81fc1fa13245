"""Which settings to ship, chosen by nested walk-forward on history up to 2011."""
