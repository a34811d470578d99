"""Checkpoints: their folder, their tensors in terms of the whole model, and encoders read back from them.

New here: a form in which weights are written for others, a command on checkpoints.
"""
