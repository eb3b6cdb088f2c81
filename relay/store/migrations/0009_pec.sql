-- Certified mail (PEC): the receipts as they came, and for whom one is still awaited.

-- number counts the receipts of a message from 1. identity is the same whenever the same receipt comes again. id is
-- the client's id of the message, which may be gone by then. at: when it was certified; recipients: JSON list.
CREATE TABLE receipts (
    message_pk TEXT NOT NULL,
    number BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    identity TEXT NOT NULL,
    kind TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    received_at DOUBLE PRECISION NOT NULL,
    recipients TEXT NOT NULL,
    error TEXT,
    detail TEXT,
    provider TEXT,
    provider_id TEXT,
    size_bytes BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (message_pk, number)
);

CREATE UNIQUE INDEX receipts_once ON receipts (message_pk, identity);
CREATE INDEX receipts_by_id ON receipts (tenant_id, id, message_pk);
CREATE INDEX receipts_by_age ON receipts (received_at);

-- A recipient whose mail left by a certified account, until a receipt comes or the time is over.
CREATE TABLE pec_waits (
    message_pk TEXT NOT NULL,
    n BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    sent_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (message_pk, n)
);

CREATE INDEX pec_waits_by_age ON pec_waits (sent_at);
