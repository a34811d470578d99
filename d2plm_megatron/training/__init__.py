"""Training: the engine (encoder, optimizer, average), the step, the loop, what is written and shown."""
