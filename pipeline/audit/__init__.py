"""Proofs that the log says what it said: exports with a chain of hashes, and looking through the store itself."""
