-- Files that go with a mail: where each comes from, and what became of it. Big mails in parts.

-- What of a content is over 1 MB, in pieces of 1 MB; contents has the first.
CREATE TABLE content_parts (
    message_pk TEXT NOT NULL,
    n BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (message_pk, n)
);

-- False while something is still to be fetched or taken out; the first attempt makes it true.
ALTER TABLE messages ADD COLUMN is_prepared BOOLEAN NOT NULL DEFAULT TRUE;

-- One file of a message, in the order of the mail. source is what it is fetched by, NULL once it needs not
-- be fetched any more; auth is sealed. from_end_bytes is its place while it is missing: so many bytes of the
-- content follow it. state is 'waiting', 'inserted' or 'linked'; got is 'given', 'fetched', 'memory' or 'disk'.
CREATE TABLE attachments (
    message_pk TEXT NOT NULL,
    n BIGINT NOT NULL,
    mode TEXT NOT NULL,
    source TEXT,
    auth TEXT,
    filename TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    disposition TEXT NOT NULL,
    content_id TEXT,
    md5 TEXT,
    from_end_bytes BIGINT,
    state TEXT NOT NULL,
    got TEXT,
    size_bytes BIGINT,
    sha256 TEXT,
    link TEXT,
    link_expires_at DOUBLE PRECISION,
    PRIMARY KEY (message_pk, n)
);
