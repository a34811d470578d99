"""What a run looks like: one page with its curve, its proteins and what they resemble.

New here: a picture, a table, a verdict.
"""
