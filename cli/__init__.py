"""Commands: one module per noun, over the same calls that the workers use."""
