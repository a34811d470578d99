"""From raw proteins to clean, split training data, piece by piece.

New here: a rule of cleaning, a way to hold out.
"""
