"""New proteins from a trained encoder.

New here: a form of prompt or of output.
"""
