"""Files as they are attached: what they are by their octets, what archives hold, what documents would run.

Readers of our own, over a window of octets. None raises on any octets, none follows what a file says of itself further than its
octets go, and whatever is unpacked comes out of one `Budget` per message, so that no nesting multiplies it.
"""
