"""Proteins that evolved on the computer."""
