-- Delivery reports: who is called and when, what a client would not take yet, and the feed of events.

-- A tenant that is called. beat_at: when it is called though nothing waits; hold_until: not before, whatever
-- waits; quiet_until: the client asked for rest. owner is the epoch of the node that calls it now.
CREATE TABLE reporters (
    tenant_id TEXT PRIMARY KEY,
    beat_at DOUBLE PRECISION NOT NULL,
    hold_until DOUBLE PRECISION NOT NULL,
    quiet_until DOUBLE PRECISION NOT NULL,
    failures BIGINT NOT NULL,
    failing_since DOUBLE PRECISION,
    last_sync_at DOUBLE PRECISION,
    owner BIGINT
);

CREATE INDEX reporters_by_beat ON reporters (beat_at);

INSERT INTO reporters (tenant_id, beat_at, hold_until, quiet_until, failures)
SELECT id, 0, 0, 0, 0 FROM tenants WHERE client_base_url IS NOT NULL;

-- The last number that an event of a tenant has in its feed.
CREATE TABLE feeds (
    tenant_id TEXT PRIMARY KEY,
    last_number BIGINT NOT NULL
);

-- number is the place in the feed, 0 until somebody read it; refused_at is when the client first would not
-- take it. report may also be 'held': the client refused it, or an earlier event of its message.
ALTER TABLE events ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN reported_at DOUBLE PRECISION;
ALTER TABLE events ADD COLUMN refused_at DOUBLE PRECISION;

CREATE INDEX events_held ON events (tenant_id, seq) WHERE report = 'held';
CREATE INDEX events_parked ON events (tenant_id, seq) WHERE report = 'parked';
CREATE INDEX events_feed ON events (tenant_id, number, seq) WHERE kind <> 'accepted' AND kind <> 'replaced';
