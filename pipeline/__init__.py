"""The domain: what a message is, what may happen to it, where facts are kept. No loops, no processes."""
