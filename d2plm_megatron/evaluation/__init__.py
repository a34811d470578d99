"""How good an encoder is on proteins it has not seen.

New here: a measure of how good a model is.
"""
