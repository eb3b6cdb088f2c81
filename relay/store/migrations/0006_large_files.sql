-- Files that are linked from a mail. storage is the URL of the place, without a login; key is the name there.
-- Removed once remove_at has come, which is later than expires_at where that did not succeed.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    message_pk TEXT NOT NULL,
    storage TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    remove_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX files_by_end ON files (remove_at);
CREATE INDEX files_by_tenant ON files (tenant_id);
