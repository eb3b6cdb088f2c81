"""Where the bytes of a file come from, one module a source.

Each raises AttachmentUnavailable when it may work later, AttachmentGone when it will not; both with
a text for the client that tells nothing of the network it was asked in.
"""
