"""The queue, one file a step of a mail's way through it: accept, claim, settle, wait, recover.

Every write here is a script (see `relay.store.database`) that takes many items, so that one commit
serves them all.
"""
