"""Trained models, read back from runs and checkpoints.

New here: whatever a trained model is asked about single proteins: scores, embeddings, explanations.
"""
