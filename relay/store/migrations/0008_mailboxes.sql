-- Mailboxes that mail comes back to: how far each was read, by whom, and what was acted on.

-- tenant_id and account_id are empty for the instance's own. source says which mailbox this is about: another one
-- is read from its start. uid_validity and last_uid: RFC 3501 §2.3.1.1. owner is the epoch of the node that reads it.
CREATE TABLE mailboxes (
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    source TEXT NOT NULL,
    uid_validity BIGINT,
    last_uid BIGINT NOT NULL,
    owner BIGINT,
    due_at DOUBLE PRECISION NOT NULL,
    looked_at DOUBLE PRECISION,
    failures BIGINT NOT NULL,
    failing_since DOUBLE PRECISION,
    error TEXT,
    PRIMARY KEY (tenant_id, account_id)
);

-- A mail that was acted on, or could not be read: digest is SHA-256 of what was read of it, and holds when the
-- server counts its mails anew. is_marked: the mailbox shows it (the mail is flagged, moved, deleted).
CREATE TABLE mailbox_mails (
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    uid_validity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    is_readable BOOLEAN NOT NULL,
    is_marked BOOLEAN NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant_id, account_id, digest)
);

CREATE INDEX mailbox_mails_unmarked ON mailbox_mails (tenant_id, account_id) WHERE NOT is_marked;
CREATE INDEX mailbox_mails_by_age ON mailbox_mails (seen_at);
CREATE INDEX accounts_with_mailbox ON accounts (tenant_id, id) WHERE imap_host IS NOT NULL;
