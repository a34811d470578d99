"""Proteins on disk and their way into a batch.

New here: an order of proteins, a way to pack them.
"""
