"""What users type: recipes run from the command line, and what is said before anything is trained.

New here: a command or an option that every recipe has.
"""
