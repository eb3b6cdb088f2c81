"""The JSON of the REST API as models: what is taken, what is answered. OpenAPI is made from them.

model: what all have in common. message, account, tenant, credential: one resource each. node: its
health and status.
"""
