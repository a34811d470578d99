"""Proteins that evolved on the computer.

New here: an ancestor, a kind of mutation.
"""
