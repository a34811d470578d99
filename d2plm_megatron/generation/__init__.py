"""New proteins from a trained encoder."""
