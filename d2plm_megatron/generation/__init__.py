"""New proteins from a trained encoder.

New here: a sampler, a form of prompt.
"""
