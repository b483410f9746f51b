"""The trainable classifier: what words mail is made of, and how often each was in mail that people called good or bad."""
