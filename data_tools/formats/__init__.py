"""The forms in which proteins come: LMDB, tables, alignments, tables of clusters."""
