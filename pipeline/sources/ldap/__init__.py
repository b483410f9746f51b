"""Addresses from a directory over LDAP (RFC 4511)."""
