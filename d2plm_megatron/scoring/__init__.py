"""What a trained model says about given proteins, in files: scores, effects of mutations, embeddings.

New here: whatever a person wants to know from a model about proteins that there are.
"""
