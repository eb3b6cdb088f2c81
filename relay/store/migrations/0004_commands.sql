-- What commands need: mail held by hand, what of a tenant is open, keys of calls that may be repeated, who did what.

-- Held by hand until it is released, whatever becomes of its batch.
ALTER TABLE messages ADD COLUMN held_at DOUBLE PRECISION;

CREATE INDEX messages_open ON messages (tenant_id, pk) WHERE final_at IS NULL;
CREATE INDEX recipients_suspended ON recipients (priority) WHERE state = 'suspended';

-- A deleted message some of whose events are still to be reported, or were reported after it went.
CREATE TABLE deleted_messages (
    pk TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    deleted_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX deleted_messages_by_tenant ON deleted_messages (tenant_id, pk);

-- owner is a tenant, or empty for the admin; answer is what was answered the first time.
CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    ingress TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    answer TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (owner, ingress, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Who did what through the API; never what was in the request.
CREATE TABLE command_log (
    pk TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    caller TEXT NOT NULL,
    tenant_id TEXT,
    method TEXT NOT NULL,
    route TEXT NOT NULL,
    target TEXT,
    status BIGINT NOT NULL
);

CREATE INDEX command_log_by_tenant ON command_log (tenant_id, pk);

-- Rejections belong to no message, so they are found by their age.
CREATE INDEX events_rejected ON events (tenant_id, seq) WHERE kind = 'rejected';
