-- How often in a row our own code failed at a recipient, or a node died that had it.
ALTER TABLE recipients ADD COLUMN faults BIGINT NOT NULL DEFAULT 0;
