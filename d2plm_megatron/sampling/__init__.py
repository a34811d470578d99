"""How noise becomes proteins. Pure mathematics: of the encoder no more is known than that it answers.

New here: a sampler.
"""
