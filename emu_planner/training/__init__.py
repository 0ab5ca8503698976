"""Training: data packing, the vision tokenizer, the language model. Knows no robot and no network."""
