"""Attacks on everything that reads what others wrote: each damages something valid, and a reader must notice.

New here: an attack on a reader.
"""
