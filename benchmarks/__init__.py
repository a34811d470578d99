"""Each prints a table against a peer, measured in one run."""
