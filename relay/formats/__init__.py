"""Bytes to values and back: addresses, heads, mails composed and re-encoded. Pure."""
