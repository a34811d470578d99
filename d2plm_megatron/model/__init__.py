"""The encoder: Megatron's GPT model made bidirectional, on packed proteins, and all that it is built from.

New here: a layer (its parameters are named in config/parameters.py, too), a kernel (backend.py), a head.
"""
