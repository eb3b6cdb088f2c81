"""Files that are too big to travel: stored elsewhere, and linked from the mail.

policy: what a tenant wants. place: a storage URL. storages, clouds, local: where files are put.
tickets: the links that we answer ourselves. files: uploads. large: the preparer's questions
answered. expiry: what ends.
"""
