"""Proteins on disk and their way into a batch."""
