-- How often and how long mail is tried: a tenant's and an account's own measure; a message's goes before both.
ALTER TABLE tenants ADD COLUMN max_attempts BIGINT;
ALTER TABLE tenants ADD COLUMN expires_in_s DOUBLE PRECISION;
ALTER TABLE accounts ADD COLUMN max_attempts BIGINT;
ALTER TABLE accounts ADD COLUMN expires_in_s DOUBLE PRECISION;
