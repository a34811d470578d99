"""How good an encoder is on proteins it has not seen.

New here: a number that says how good a model is on a data set, or against measured values.
"""
