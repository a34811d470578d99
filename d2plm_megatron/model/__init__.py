"""The encoder: Megatron's GPT model made bidirectional, on packed proteins, and all that it is built from.

New here: a layer, a kernel (backend.py), a head.
"""
