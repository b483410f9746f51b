"""Who sent a message, as far as that can be proved: the methods that Authentication-Results speaks of (RFC 8601), each a
module, and the field itself. They judge nothing: what a result means for a message is policy, and policy is in
`pipeline/scanning/`.
"""
