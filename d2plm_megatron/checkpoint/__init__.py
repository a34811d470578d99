"""Checkpoints: their folder, their tensors in terms of the whole model, and encoders read back from them."""
