"""Trained models, read back from runs and checkpoints."""
