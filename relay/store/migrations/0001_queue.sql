-- The queue: who may send, what was accepted, where each recipient stands, what happened.
-- Ids and times are made by the caller; text that holds JSON says so.

CREATE TABLE instance (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('epoch', 0);

-- A living process. Its epoch is the fence under which it leases recipients; it is never used again.
CREATE TABLE nodes (
    epoch BIGINT PRIMARY KEY,
    node_id TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL
);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    weight BIGINT NOT NULL,
    client_base_url TEXT,
    client_sync_path TEXT,
    client_attachment_path TEXT,
    client_auth TEXT,
    callback_secret TEXT,
    rate_limits TEXT,
    large_file_config TEXT,
    keep_content_days DOUBLE PRECISION,
    bounce_return_path TEXT,
    dsn TEXT,
    suppression TEXT,
    suspended_batches TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE api_keys (
    key_hash TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION
);

CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id);

CREATE TABLE credentials (
    username TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    secret_kind TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    senders TEXT NOT NULL,
    accounts TEXT NOT NULL,
    networks TEXT NOT NULL,
    legacy BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX credentials_by_tenant ON credentials (tenant_id);

-- version grows with each change of what a connection depends on.
CREATE TABLE accounts (
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    username TEXT,
    password TEXT,
    use_tls BOOLEAN,
    tls TEXT NOT NULL,
    tls_given BOOLEAN NOT NULL,
    verify BOOLEAN NOT NULL,
    ca_file TEXT,
    kind TEXT NOT NULL,
    ttl BIGINT NOT NULL,
    limit_per_minute BIGINT,
    limit_per_hour BIGINT,
    limit_per_day BIGINT,
    limit_behavior TEXT NOT NULL,
    batch_size BIGINT,
    max_connections BIGINT NOT NULL,
    max_messages_per_connection BIGINT NOT NULL,
    weight BIGINT NOT NULL,
    rank BIGINT NOT NULL,
    sender_domains TEXT NOT NULL,
    rewrite_from TEXT,
    is_pec_account BOOLEAN NOT NULL,
    imap_host TEXT,
    imap_port BIGINT,
    imap_user TEXT,
    imap_password TEXT,
    imap_folder TEXT,
    imap_ssl BOOLEAN,
    version BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- How many mails left by an account in one second: what every sliding window is counted from.
CREATE TABLE limits (
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    second BIGINT NOT NULL,
    mails BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, account_id, second)
);

CREATE TABLE messages (
    pk TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT,
    priority BIGINT NOT NULL,
    sender TEXT NOT NULL,
    ret TEXT,
    envid TEXT,
    has_8bit BOOLEAN NOT NULL,
    has_utf8_headers BOOLEAN NOT NULL,
    longest_line BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    ingress TEXT NOT NULL,
    message_id TEXT,
    batch_code TEXT,
    metadata TEXT,
    record TEXT NOT NULL,
    is_pec BOOLEAN NOT NULL,
    on_unknown TEXT NOT NULL,
    max_attempts BIGINT,
    deferred_ts DOUBLE PRECISION,
    expires_at DOUBLE PRECISION,
    accepted_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    open_recipients BIGINT NOT NULL,
    final_at DOUBLE PRECISION
);

CREATE UNIQUE INDEX messages_by_id ON messages (tenant_id, id);
CREATE INDEX messages_by_tenant ON messages (tenant_id, pk);
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at IS NOT NULL AND final_at IS NULL;

-- The bytes, apart from the rows that change.
CREATE TABLE contents (
    message_pk TEXT PRIMARY KEY,
    body BYTEA NOT NULL
);

-- due_at says when; owner, claim and begun_at are set while a node has it (begun_at: the upstream may have it).
CREATE TABLE recipients (
    message_pk TEXT NOT NULL,
    n BIGINT NOT NULL,
    address TEXT NOT NULL,
    notify TEXT,
    orcpt TEXT,
    state TEXT NOT NULL,
    lane TEXT NOT NULL,
    priority BIGINT NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    owner BIGINT,
    claim BIGINT,
    begun_at DOUBLE PRECISION,
    attempts BIGINT NOT NULL,
    unknowns BIGINT NOT NULL,
    account_id TEXT,
    code BIGINT,
    reply TEXT,
    tried_at DOUBLE PRECISION,
    final_at DOUBLE PRECISION,
    PRIMARY KEY (message_pk, n)
);

-- Only what is due stands here, so a claim costs the same whatever waits behind.
CREATE INDEX recipients_due ON recipients (lane, priority, message_pk, n) WHERE state = 'queued';
CREATE INDEX recipients_waiting ON recipients (due_at) WHERE state = 'deferred';
CREATE INDEX recipients_leased ON recipients (owner, claim) WHERE state = 'sending';

-- One try to hand a message to an account; outcomes is a JSON list, one object a recipient.
CREATE TABLE attempts (
    message_pk TEXT NOT NULL,
    seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION NOT NULL,
    outcomes TEXT NOT NULL,
    PRIMARY KEY (message_pk, seq)
);

-- What happened; report is 'none', 'waiting' (in the outbox), 'done' or 'parked'. data is JSON.
CREATE TABLE events (
    message_pk TEXT NOT NULL,
    seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    n BIGINT,
    kind TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    data TEXT NOT NULL,
    report TEXT NOT NULL,
    PRIMARY KEY (message_pk, seq)
);

CREATE INDEX events_outbox ON events (tenant_id, seq) WHERE report = 'waiting';
