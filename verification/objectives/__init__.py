"""Objectives compared: tiny models at equal tokens, several seeds, on real and simulated proteins, beside n-grams.

New here: a row of the table (rows.py), a corpus, a column.
"""
