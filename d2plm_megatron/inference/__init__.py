"""Trained models, read back from runs and checkpoints.

New here: whatever a trained model is asked for, be it to score, to embed or to teach another.
"""
