"""Mail that comes back: mailboxes are looked at by IMAP, and what is in them is acted on once."""
