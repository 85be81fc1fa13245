"""Which parts of the network and its training earn their place, out of sample."""
