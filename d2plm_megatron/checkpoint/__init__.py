"""Checkpoints: their tensors in terms of the whole model, so that any layout reads what any other wrote.

New here: a form in which weights are written for others, or read from them, a command on checkpoints.
"""
