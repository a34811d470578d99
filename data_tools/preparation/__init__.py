"""From raw proteins to clean, split training data, piece by piece."""
