"""The forms in which proteins come: LMDB, tables, alignments, tables of clusters.

New here: a file format of proteins.
"""
