"""How good an encoder is on proteins it has not seen."""
