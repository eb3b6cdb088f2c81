-- Mail that comes back: what it is recognised by, what it does, and the addresses that are not written to.

-- The client named the envelope's sender itself: no signed return address is put in its place.
ALTER TABLE messages ADD COLUMN keeps_sender BOOLEAN NOT NULL DEFAULT FALSE;

CREATE INDEX messages_by_message_id ON messages (message_id);

-- code is the status of RFC 3463.
ALTER TABLE recipients ADD COLUMN bounced_at DOUBLE PRECISION;
ALTER TABLE recipients ADD COLUMN bounce_type TEXT;
ALTER TABLE recipients ADD COLUMN bounce_code TEXT;
ALTER TABLE recipients ADD COLUMN bounce_reason TEXT;

-- address is canonical and in lower case; until is null where it never ends.
CREATE TABLE suppressions (
    tenant_id TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION,
    PRIMARY KEY (tenant_id, address)
);

CREATE INDEX suppressions_ending ON suppressions (until) WHERE until IS NOT NULL;
