SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.accounts (
    pk text NOT NULL,
    id text NOT NULL,
    tenant_id text NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    "user" text,
    password text,
    ttl integer DEFAULT 300,
    limit_per_minute integer,
    limit_per_hour integer,
    limit_per_day integer,
    limit_behavior text,
    use_tls integer,
    batch_size integer,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    is_pec_account integer DEFAULT 0,
    imap_host text,
    imap_port integer DEFAULT 993,
    imap_user text,
    imap_password text,
    imap_folder text DEFAULT 'INBOX'::text,
    imap_last_uid integer,
    imap_last_sync timestamp without time zone,
    imap_uidvalidity integer
);
CREATE TABLE public.command_log (
    id integer NOT NULL,
    command_ts integer NOT NULL,
    endpoint text NOT NULL,
    tenant_id text,
    payload text NOT NULL,
    response_status integer,
    response_body text
);
CREATE SEQUENCE public.command_log_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.command_log_id_seq OWNED BY public.command_log.id;
CREATE TABLE public.instance (
    id integer NOT NULL,
    name text DEFAULT 'mail-proxy'::text,
    api_token text,
    edition text DEFAULT 'ce'::text,
    config text,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    bounce_enabled integer DEFAULT 0,
    bounce_imap_host text,
    bounce_imap_port integer DEFAULT 993,
    bounce_imap_user text,
    bounce_imap_password text,
    bounce_imap_folder text DEFAULT 'INBOX'::text,
    bounce_imap_ssl integer DEFAULT 1,
    bounce_poll_interval integer DEFAULT 60,
    bounce_return_path text,
    bounce_last_uid integer,
    bounce_last_sync timestamp without time zone,
    bounce_uidvalidity integer
);
CREATE TABLE public.message_events (
    id integer NOT NULL,
    message_pk text NOT NULL,
    event_type text NOT NULL,
    event_ts integer NOT NULL,
    description text,
    metadata text,
    reported_ts integer
);
CREATE SEQUENCE public.message_events_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.message_events_id_seq OWNED BY public.message_events.id;
CREATE TABLE public.messages (
    pk text NOT NULL,
    id text NOT NULL,
    tenant_id text NOT NULL,
    account_id text,
    account_pk text,
    priority integer DEFAULT 2 NOT NULL,
    payload text NOT NULL,
    batch_code text,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    deferred_ts integer,
    smtp_ts integer,
    is_pec integer DEFAULT 0
);
CREATE TABLE public.storages (
    pk text NOT NULL,
    tenant_id text NOT NULL,
    name text NOT NULL,
    protocol text NOT NULL,
    config text,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE public.tenants (
    id text NOT NULL,
    name text,
    client_auth text,
    client_base_url text,
    client_sync_path text,
    client_attachment_path text,
    rate_limits text,
    large_file_config text,
    active integer DEFAULT 1,
    suspended_batches text,
    api_key_hash text,
    api_key_expires_at timestamp without time zone,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
);
ALTER TABLE ONLY public.command_log ALTER COLUMN id SET DEFAULT nextval('public.command_log_id_seq'::regclass);
ALTER TABLE ONLY public.message_events ALTER COLUMN id SET DEFAULT nextval('public.message_events_id_seq'::regclass);
INSERT INTO public.accounts VALUES ('Z0Gwvd5nEHZ6J5OgRIido4', 'main', 'acme', 'smtp.acme.test', 587, 'acme', 'ENC:SvUvepB2zOlJqUtyoWZZnw7DfbwQxUyODrBO0PjURDF8dGaRsJ+Ya/c=', 300, 0, 50, NULL, 'reject', 1, 10, '2026-11-22 21:24:04.609595', '2026-11-22 21:24:04.609595', 0, NULL, 993, NULL, NULL, 'INBOX', NULL, NULL, NULL);
INSERT INTO public.accounts VALUES ('Z0Gwvd5suhLQohxNF0FIHr', 'pec', 'acme', 'smtp.pec.test', 465, 'pec', 'ENC:hnkdepqWacYsdb2dpGEP4ADmLNhleo0YgU7OHooqvsvXKV2pjPfGwQ==', 300, NULL, NULL, NULL, 'defer', NULL, NULL, '2026-11-22 21:24:04.61491', '2026-11-22 21:24:04.61491', 1, 'imap.pec.test', 993, 'pec', 'ENC:5uO/UYIe5zFsFnIJNxWUSsnCh1bBMa5y/PYpNyVOPR3Mk5CCSxHGsz0=', 'INBOX', NULL, NULL, NULL);
INSERT INTO public.accounts VALUES ('Z0Gwvd5u7DJhMWB0ReaCLh', 'main', 'rival', '127.0.0.1', 25, NULL, NULL, 300, NULL, NULL, NULL, 'defer', 0, NULL, '2026-11-22 21:24:04.619329', '2026-11-22 21:24:04.619329', 0, NULL, 993, NULL, NULL, 'INBOX', NULL, NULL, NULL);
INSERT INTO public.instance VALUES (1, 'mail-proxy', NULL, 'ee', NULL, '2026-11-22 21:24:04.570776', '2026-11-22 21:24:04.570776', 0, NULL, 993, NULL, NULL, 'INBOX', 1, 60, NULL, NULL, NULL, NULL);
INSERT INTO public.message_events VALUES (1, 'Z0Gwvd649MkOh53awsbRJU', 'sent', 1790000000, NULL, NULL, NULL);
INSERT INTO public.message_events VALUES (2, 'Z0Gwvd66pti49JwcHIINXW', 'error', 1790000000, '550 no such user', NULL, NULL);
INSERT INTO public.messages VALUES ('Z0Gwvd5v1pVXCHnHAobZBL', 'plain', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 2, '{"id": "plain", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message plain", "body": "This is plain.", "priority": 2}', NULL, '2026-11-22 21:24:04.622713', '2026-11-22 21:24:04.622713', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd5voFyxCLCt0dkiGR', 'urgent', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 0, '{"id": "urgent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message urgent", "body": "<p>Now</p>", "priority": 0, "content_type": "html", "cc": ["eve@there.test"]}', NULL, '2026-11-22 21:24:04.625791', '2026-11-22 21:24:04.625791', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd5weyfL3T9Eube15H', 'later', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 2, '{"id": "later", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message later", "body": "This is later.", "priority": 2, "deferred_ts": 2000000000, "headers": {"X-Campaign": "7"}, "reply_to": "a@acme.test"}', NULL, '2026-11-22 21:24:04.629115', '2026-11-22 21:24:04.629115', 2000000000, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd5xTfM45boqzhquvB', 'spring-1', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 3, '{"id": "spring-1", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message spring-1", "body": "This is spring-1.", "priority": 3, "batch_code": "spring", "bcc": "hidden@there.test"}', 'spring', '2026-11-22 21:24:04.632204', '2026-11-22 21:24:04.632204', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd5yUU6OQdUJSy8Kig', 'certified', 'acme', 'pec', 'Z0Gwvd5suhLQohxNF0FIHr', 2, '{"id": "certified", "tenant_id": "acme", "account_id": "pec", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message certified", "body": "This is certified.", "priority": 2, "retry_count": 2}', NULL, '2026-11-22 21:24:04.636065', '2026-11-22 21:24:04.636065', NULL, NULL, 1);
INSERT INTO public.messages VALUES ('Z0Gwvd5zRiSP9q8fsZp8FP', 'orphan', 'acme', 'gone', NULL, 2, '{"id": "orphan", "tenant_id": "acme", "account_id": "gone", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message orphan", "body": "This is orphan.", "priority": 2}', NULL, '2026-11-22 21:24:04.639847', '2026-11-22 21:24:04.639847', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd629VKPDgQaC9NlNV', 'broken', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 2, '{"id": "broken", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["not an address"], "subject": "Message broken", "body": "This is broken.", "priority": 2}', NULL, '2026-11-22 21:24:04.650118', '2026-11-22 21:24:04.650118', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd68yhBTzjrAtCUy44', 'theirs', 'rival', 'main', 'Z0Gwvd5u7DJhMWB0ReaCLh', 2, '{"id": "theirs", "tenant_id": "rival", "account_id": "main", "from": "App <app@rival.test>", "to": ["bob@there.test"], "subject": "Message theirs", "body": "This is theirs.", "priority": 2}', NULL, '2026-11-22 21:24:04.67647', '2026-11-22 21:24:04.67647', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd649MkOh53awsbRJU', 'sent', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 2, '{"id": "sent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message sent", "body": "This is sent.", "priority": 2}', NULL, '2026-11-22 21:24:04.657794', '2026-11-22 21:24:04.657794', NULL, 1790000000, 0);
INSERT INTO public.messages VALUES ('Z0Gwvd66pti49JwcHIINXW', 'failed', 'acme', 'main', 'Z0Gwvd5nEHZ6J5OgRIido4', 2, '{"id": "failed", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message failed", "body": "This is failed.", "priority": 2}', NULL, '2026-11-22 21:24:04.6683', '2026-11-22 21:24:04.6683', NULL, 1790000000, 0);
INSERT INTO public.tenants VALUES ('rival', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, '6e0a1d0bb381d151a7da60f7b37d89d94e579f15855de37c6ec94799be5d0aa4', NULL, '2026-11-22 21:24:04.588632', '2026-11-22 21:24:04.588632');
INSERT INTO public.tenants VALUES ('acme', 'Acme', '{"method": "bearer", "token": "callback-token"}', 'https://app.acme.test', '/reports', NULL, '{"hourly": 100, "daily": 0}', '{"enabled": true, "max_size_mb": 5.0, "storage_url": "s3://bucket/mail", "lifespan_after_download_days": 3, "action": "rewrite"}', 1, 'spring', '5ab0d67215f904088384eee9bb5c1e9af197473684033b1312aacb6221d1905b', NULL, '2026-11-22 21:24:04.584405', '2026-11-22 21:24:04.584405');
SELECT pg_catalog.setval('public.command_log_id_seq', 1, false);
SELECT pg_catalog.setval('public.message_events_id_seq', 2, true);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (pk);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_tenant_id_id_key UNIQUE (tenant_id, id);
ALTER TABLE ONLY public.command_log
    ADD CONSTRAINT command_log_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.instance
    ADD CONSTRAINT instance_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.message_events
    ADD CONSTRAINT message_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (pk);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_tenant_id_id_key UNIQUE (tenant_id, id);
ALTER TABLE ONLY public.storages
    ADD CONSTRAINT storages_pkey PRIMARY KEY (pk);
ALTER TABLE ONLY public.storages
    ADD CONSTRAINT storages_tenant_id_name_key UNIQUE (tenant_id, name);
ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX idx_accounts_tenant_id ON public.accounts USING btree (tenant_id, id);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);
ALTER TABLE ONLY public.storages
    ADD CONSTRAINT storages_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);
