"""Whether a message comes from where it says it does.

SPF (RFC 7208), DKIM (RFC 6376), ARC (RFC 8617), DMARC (RFC 9989), and the header in which the results travel (RFC 8601).
"""
