"""Who makes messages move: thin loops over the pipeline, one module per role."""
