"""The command line: how an operator sees the gateway and steers it. One module per noun, over the same calls as the workers."""
