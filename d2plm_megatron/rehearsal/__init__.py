"""Ranks of a cluster job rehearsed on a CPU: the real step, on tensors without data, among fake processes.

New here: what a rehearsal counts, a GPU or a link that it knows.
"""
