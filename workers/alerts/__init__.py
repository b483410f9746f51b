"""Looking whether all is well, and telling whoever asked to hear when it is not."""
