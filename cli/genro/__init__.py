"""Moving from genro-mail-proxy: what its database holds, brought by the routes that all use.

source: reading that database, on SQLite or PostgreSQL, without changing it. translation: from its
rows to what our API takes. judge: whether that will be taken, and why not. giver: giving it to an
instance. mover: all of it in order, and the count.
"""
