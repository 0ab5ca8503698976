"""The parts of Emu3.5: transformer, vision tokenizer, text tokenizer, vocabulary, prompts, files.

Knows how the network computes and how its files look; not how tokens are chosen (engine) nor how
weights are learned (training).
"""
