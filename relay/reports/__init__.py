"""What happened goes back to the clients: batches of events, POSTed to the URL of each tenant.

`entries` and `answer` decide and are pure; `guard` and `post` are the way out; `reporter` drives
them.
"""
