SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.accounts (
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
    id text NOT NULL
);
CREATE TABLE public.instance_config (
    key text NOT NULL,
    value text NOT NULL,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP
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
    priority integer DEFAULT 2 NOT NULL,
    payload text NOT NULL,
    batch_code text,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    deferred_ts integer,
    smtp_ts integer,
    is_pec integer DEFAULT 0
);
CREATE TABLE public.send_log (
    account_id text,
    "timestamp" integer
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
INSERT INTO public.accounts VALUES ('main', 'acme', 'smtp.acme.test', 587, 'acme', 'smtp-password', 300, 0, 50, NULL, 'reject', 1, 10, '2026-11-22 21:24:01.702409', '2026-11-22 21:24:01.702409', 0, NULL, 993, NULL, NULL, 'INBOX', NULL, NULL, NULL);
INSERT INTO public.accounts VALUES ('pec', 'acme', 'smtp.pec.test', 465, 'pec', 'pec-password', 300, NULL, NULL, NULL, 'defer', NULL, NULL, '2026-11-22 21:24:01.708018', '2026-11-22 21:24:01.708018', 1, 'imap.pec.test', 993, 'pec', 'imap-password', 'INBOX', NULL, NULL, NULL);
INSERT INTO public.accounts VALUES ('main', 'rival', '127.0.0.1', 25, NULL, NULL, 300, NULL, NULL, NULL, 'defer', 0, NULL, '2026-11-22 21:24:01.711552', '2026-11-22 21:24:01.711552', 0, NULL, 993, NULL, NULL, 'INBOX', NULL, NULL, NULL);
INSERT INTO public.message_events VALUES (1, 'Z0Gwvcu0ZU2l8Xpp5I3xhP', 'sent', 1790000000, NULL, NULL, NULL);
INSERT INTO public.message_events VALUES (2, 'Z0Gwvcu19JLp3DeoCq7ni0', 'error', 1790000000, '550 no such user', NULL, NULL);
INSERT INTO public.messages VALUES ('Z0Gwvcti4XBvGMtB2GlWyf', 'plain', 'acme', 'main', 2, '{"id": "plain", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message plain", "body": "This is plain.", "priority": 2}', NULL, '2026-11-22 21:24:01.713072', '2026-11-22 21:24:01.713072', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0GwvctmxE56T0J70ixO7N', 'urgent', 'acme', 'main', 0, '{"id": "urgent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message urgent", "body": "<p>Now</p>", "priority": 0, "content_type": "html", "cc": ["eve@there.test"]}', NULL, '2026-11-22 21:24:01.73779', '2026-11-22 21:24:01.73779', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0GwvctsKAVAgAMH1Y3myy', 'later', 'acme', 'main', 2, '{"id": "later", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message later", "body": "This is later.", "priority": 2, "deferred_ts": 2000000000, "headers": {"X-Campaign": "7"}, "reply_to": "a@acme.test"}', NULL, '2026-11-22 21:24:01.753712', '2026-11-22 21:24:01.753712', 2000000000, NULL, 0);
INSERT INTO public.messages VALUES ('Z0GwvcttduWe45HWjBfFUf', 'spring-1', 'acme', 'main', 3, '{"id": "spring-1", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message spring-1", "body": "This is spring-1.", "priority": 3, "batch_code": "spring", "bcc": "hidden@there.test"}', 'spring', '2026-11-22 21:24:01.757562', '2026-11-22 21:24:01.757562', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0GwvctwSal2gymmzx115g', 'certified', 'acme', 'pec', 2, '{"id": "certified", "tenant_id": "acme", "account_id": "pec", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message certified", "body": "This is certified.", "priority": 2, "retry_count": 2}', NULL, '2026-11-22 21:24:01.77095', '2026-11-22 21:24:01.77095', NULL, NULL, 1);
INSERT INTO public.messages VALUES ('Z0Gwvcty7lvFPByc5Hf16Q', 'orphan', 'acme', 'gone', 2, '{"id": "orphan", "tenant_id": "acme", "account_id": "gone", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message orphan", "body": "This is orphan.", "priority": 2}', NULL, '2026-11-22 21:24:01.774846', '2026-11-22 21:24:01.774846', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0GwvctzKRl6oXUgoBKvU0', 'broken', 'acme', 'main', 2, '{"id": "broken", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["not an address"], "subject": "Message broken", "body": "This is broken.", "priority": 2}', NULL, '2026-11-22 21:24:01.779582', '2026-11-22 21:24:01.779582', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvcu1tatsrlib5DFQCC', 'theirs', 'rival', 'main', 2, '{"id": "theirs", "tenant_id": "rival", "account_id": "main", "from": "App <app@rival.test>", "to": ["bob@there.test"], "subject": "Message theirs", "body": "This is theirs.", "priority": 2}', NULL, '2026-11-22 21:24:01.789373', '2026-11-22 21:24:01.789373', NULL, NULL, 0);
INSERT INTO public.messages VALUES ('Z0Gwvcu0ZU2l8Xpp5I3xhP', 'sent', 'acme', 'main', 2, '{"id": "sent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message sent", "body": "This is sent.", "priority": 2}', NULL, '2026-11-22 21:24:01.784251', '2026-11-22 21:24:01.793389', NULL, 1790000000, 0);
INSERT INTO public.messages VALUES ('Z0Gwvcu19JLp3DeoCq7ni0', 'failed', 'acme', 'main', 2, '{"id": "failed", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message failed", "body": "This is failed.", "priority": 2}', NULL, '2026-11-22 21:24:01.786414', '2026-11-22 21:24:01.800336', NULL, 1790000000, 0);
INSERT INTO public.tenants VALUES ('rival', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, '6e0a1d0bb381d151a7da60f7b37d89d94e579f15855de37c6ec94799be5d0aa4', NULL, '2026-11-22 21:24:01.701298', '2026-11-22 21:24:01.701298');
INSERT INTO public.tenants VALUES ('acme', 'Acme', '{"method": "bearer", "token": "callback-token"}', 'https://app.acme.test', '/reports', NULL, '{"hourly": 100, "daily": 0}', '{"enabled": true, "max_size_mb": 5.0, "storage_url": "s3://bucket/mail", "lifespan_after_download_days": 3, "action": "rewrite"}', 1, 'spring', '5ab0d67215f904088384eee9bb5c1e9af197473684033b1312aacb6221d1905b', NULL, '2026-11-22 21:24:01.698867', '2026-11-22 21:24:01.815162');
SELECT pg_catalog.setval('public.command_log_id_seq', 1, false);
SELECT pg_catalog.setval('public.message_events_id_seq', 2, true);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (tenant_id, id);
ALTER TABLE ONLY public.command_log
    ADD CONSTRAINT command_log_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.instance_config
    ADD CONSTRAINT instance_config_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.instance
    ADD CONSTRAINT instance_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.message_events
    ADD CONSTRAINT message_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (pk);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_tenant_id_id_key UNIQUE (tenant_id, id);
ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);
CREATE UNIQUE INDEX idx_accounts_tenant_id ON public.accounts USING btree (tenant_id, id);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);
