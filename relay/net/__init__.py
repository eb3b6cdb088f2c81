"""HTTP calls to addresses that a client named: the only way out of this process but SMTP."""
