"""From raw proteins to clean training data in two splits, block by block."""
