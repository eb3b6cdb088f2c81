-- Failed logins and wrong tokens, so that all nodes know of a guesser. A name is stored as a digest;
-- the row without one is the line in which a place waits that tries many names. Times are Unix seconds.

CREATE TABLE login_failures (
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    failures BIGINT NOT NULL,
    free_at DOUBLE PRECISION NOT NULL,
    last_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (place, name)
);

CREATE INDEX login_failures_old ON login_failures (last_at);
