"""The durable queue and everything that must outlive a process.

`database` says what an engine is; `sqlite` and `postgres` are the two; `writer` gathers what waits
into one commit. The other modules hold SQL, each beside the function that runs it.
"""
