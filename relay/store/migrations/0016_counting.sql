-- What waits is counted in slices of an index, which has all that is asked for.

DROP INDEX recipients_waiting;
CREATE INDEX recipients_waiting ON recipients (due_at, message_pk, n, priority) WHERE state = 'deferred';

DROP INDEX recipients_suspended;
CREATE INDEX recipients_suspended ON recipients (message_pk, n, priority) WHERE state = 'suspended';
