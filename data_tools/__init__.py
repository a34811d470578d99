"""Everything before training: reading, cleaning, converting, checking and simulating proteins; no GPU, no torch."""
