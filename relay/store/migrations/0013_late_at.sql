-- When a mail is to be told of as late, because its client asked for that (RFC 2852, by-mode N).

ALTER TABLE messages ADD COLUMN late_at DOUBLE PRECISION;

CREATE INDEX messages_late ON messages (late_at) WHERE late_at IS NOT NULL AND final_at IS NULL;
