-- Notifications to senders: whether they were told that their mail is late, and whose tenants want them.

ALTER TABLE messages ADD COLUMN warned_at DOUBLE PRECISION;

UPDATE tenants SET dsn = NULL WHERE dsn NOT IN ('auto', 'smtp', 'always', 'never');
