"""How processes are started and grouped, with GPUs and without.

New here: a launcher or a cluster (launched.py), a private part of Megatron (its door, megatron).
"""
