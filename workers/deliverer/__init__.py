"""Forwarding: claims due domains, talks to their servers, records what they answered."""
