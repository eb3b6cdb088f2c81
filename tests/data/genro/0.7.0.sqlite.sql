BEGIN TRANSACTION;
CREATE TABLE accounts (
    "pk" TEXT PRIMARY KEY,
    "id" TEXT NOT NULL,
    "tenant_id" TEXT NOT NULL,
    "host" TEXT NOT NULL,
    "port" INTEGER NOT NULL,
    "user" TEXT,
    "password" TEXT,
    "ttl" INTEGER DEFAULT 300,
    "limit_per_minute" INTEGER,
    "limit_per_hour" INTEGER,
    "limit_per_day" INTEGER,
    "limit_behavior" TEXT,
    "use_tls" INTEGER,
    "batch_size" INTEGER,
    "created_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "is_pec_account" INTEGER DEFAULT 0,
    "imap_host" TEXT,
    "imap_port" INTEGER DEFAULT 993,
    "imap_user" TEXT,
    "imap_password" TEXT,
    "imap_folder" TEXT DEFAULT 'INBOX',
    "imap_last_uid" INTEGER,
    "imap_last_sync" TIMESTAMP,
    "imap_uidvalidity" INTEGER,
    FOREIGN KEY ("tenant_id") REFERENCES tenants("id")
,
    UNIQUE ("tenant_id", "id")
);
INSERT INTO "accounts" VALUES('Z0GwvdCalu90hN4ABJOI8B','main','acme','smtp.acme.test',587,'acme','ENC:ReNStxzylVPrGQcV4KvS6iBss29Md4133ubw9dg5pMRnsVH2LwRGBCE=',300,0,50,NULL,'reject',1,10,'2026-11-22 21:24:06','2026-11-22 21:24:06',0,NULL,993,NULL,NULL,'INBOX',NULL,NULL,NULL);
INSERT INTO "accounts" VALUES('Z0GwvdCg2e3g5xpfZ1MVAS','pec','acme','smtp.pec.test',465,'pec','ENC:9qOGEGCNCVYeslaujZ8Ad6euiUNcPIilVF4fuiy0b6IQlaRNMDHetw==',300,NULL,NULL,NULL,'defer',NULL,NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',1,'imap.pec.test',993,'pec','ENC:QjET3bOtomBWRWkNmrXdQ9yXzJF8XMbiR2SLM3+f8AlV3j03rk3QOJA=','INBOX',NULL,NULL,NULL);
INSERT INTO "accounts" VALUES('Z0GwvdCj5ZQ8TMYz22r0Yj','main','rival','127.0.0.1',25,NULL,NULL,300,NULL,NULL,NULL,'defer',0,NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',0,NULL,993,NULL,NULL,'INBOX',NULL,NULL,NULL);
CREATE TABLE command_log (
    "id" INTEGER PRIMARY KEY,
    "command_ts" INTEGER NOT NULL,
    "endpoint" TEXT NOT NULL,
    "tenant_id" TEXT,
    "payload" TEXT NOT NULL,
    "response_status" INTEGER,
    "response_body" TEXT
);
CREATE TABLE instance (
    "id" INTEGER PRIMARY KEY,
    "name" TEXT DEFAULT 'mail-proxy',
    "api_token" TEXT,
    "edition" TEXT DEFAULT 'ce',
    "config" TEXT,
    "created_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "bounce_enabled" INTEGER DEFAULT 0,
    "bounce_imap_host" TEXT,
    "bounce_imap_port" INTEGER DEFAULT 993,
    "bounce_imap_user" TEXT,
    "bounce_imap_password" TEXT,
    "bounce_imap_folder" TEXT DEFAULT 'INBOX',
    "bounce_imap_ssl" INTEGER DEFAULT 1,
    "bounce_poll_interval" INTEGER DEFAULT 60,
    "bounce_return_path" TEXT,
    "bounce_last_uid" INTEGER,
    "bounce_last_sync" TIMESTAMP,
    "bounce_uidvalidity" INTEGER
);
INSERT INTO "instance" VALUES(1,'mail-proxy',NULL,'ee',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',0,NULL,993,NULL,NULL,'INBOX',1,60,NULL,NULL,NULL,NULL);
CREATE TABLE message_events (
    "id" INTEGER PRIMARY KEY,
    "message_pk" TEXT NOT NULL,
    "event_type" TEXT NOT NULL,
    "event_ts" INTEGER NOT NULL,
    "description" TEXT,
    "metadata" TEXT,
    "reported_ts" INTEGER
);
INSERT INTO "message_events" VALUES(1,'Z0GwvdDDMx6oVLgoUu55Mo','sent',1790000000,NULL,NULL,NULL);
INSERT INTO "message_events" VALUES(2,'Z0GwvdDHZS2Au0MJX0k9yT','error',1790000000,'550 no such user',NULL,NULL);
CREATE TABLE messages (
    "pk" TEXT PRIMARY KEY,
    "id" TEXT NOT NULL,
    "tenant_id" TEXT NOT NULL,
    "account_id" TEXT,
    "account_pk" TEXT,
    "priority" INTEGER NOT NULL DEFAULT 2,
    "payload" TEXT NOT NULL,
    "batch_code" TEXT,
    "created_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "deferred_ts" INTEGER,
    "smtp_ts" INTEGER,
    "is_pec" INTEGER DEFAULT 0
,
    UNIQUE ("tenant_id", "id")
);
INSERT INTO "messages" VALUES('Z0GwvdCnI9c4kitRAGkVDe','plain','acme','main','Z0GwvdCalu90hN4ABJOI8B',2,'{"id": "plain", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message plain", "body": "This is plain.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdCofkFe70cQDYFy9P','urgent','acme','main','Z0GwvdCalu90hN4ABJOI8B',0,'{"id": "urgent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message urgent", "body": "<p>Now</p>", "priority": 0, "content_type": "html", "cc": ["eve@there.test"]}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdCrRlbXS7v8jTxsmO','later','acme','main','Z0GwvdCalu90hN4ABJOI8B',2,'{"id": "later", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message later", "body": "This is later.", "priority": 2, "deferred_ts": 2000000000, "headers": {"X-Campaign": "7"}, "reply_to": "a@acme.test"}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',2000000000,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdCwdGM30MMZgQKkun','spring-1','acme','main','Z0GwvdCalu90hN4ABJOI8B',3,'{"id": "spring-1", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message spring-1", "body": "This is spring-1.", "priority": 3, "batch_code": "spring", "bcc": "hidden@there.test"}','spring','2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdD2L2X4Ii9TxzLPtd','certified','acme','pec','Z0GwvdCg2e3g5xpfZ1MVAS',2,'{"id": "certified", "tenant_id": "acme", "account_id": "pec", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message certified", "body": "This is certified.", "priority": 2, "retry_count": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,1);
INSERT INTO "messages" VALUES('Z0GwvdD5rQEbRuxlXu7Cz4','orphan','acme','gone',NULL,2,'{"id": "orphan", "tenant_id": "acme", "account_id": "gone", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message orphan", "body": "This is orphan.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdDBJt7GqzwfnMKdXW','broken','acme','main','Z0GwvdCalu90hN4ABJOI8B',2,'{"id": "broken", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["not an address"], "subject": "Message broken", "body": "This is broken.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvdDDMx6oVLgoUu55Mo','sent','acme','main','Z0GwvdCalu90hN4ABJOI8B',2,'{"id": "sent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message sent", "body": "This is sent.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,1790000000,0);
INSERT INTO "messages" VALUES('Z0GwvdDHZS2Au0MJX0k9yT','failed','acme','main','Z0GwvdCalu90hN4ABJOI8B',2,'{"id": "failed", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message failed", "body": "This is failed.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,1790000000,0);
INSERT INTO "messages" VALUES('Z0GwvdDKRkcbz2bOx9LpIX','theirs','rival','main','Z0GwvdCj5ZQ8TMYz22r0Yj',2,'{"id": "theirs", "tenant_id": "rival", "account_id": "main", "from": "App <app@rival.test>", "to": ["bob@there.test"], "subject": "Message theirs", "body": "This is theirs.", "priority": 2}',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06',NULL,NULL,0);
CREATE TABLE storages (
    "pk" TEXT PRIMARY KEY,
    "tenant_id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "protocol" TEXT NOT NULL,
    "config" TEXT,
    "created_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY ("tenant_id") REFERENCES tenants("id")
,
    UNIQUE ("tenant_id", "name")
);
CREATE TABLE tenants (
    "id" TEXT PRIMARY KEY,
    "name" TEXT,
    "client_auth" TEXT,
    "client_base_url" TEXT,
    "client_sync_path" TEXT,
    "client_attachment_path" TEXT,
    "rate_limits" TEXT,
    "large_file_config" TEXT,
    "active" INTEGER DEFAULT 1,
    "suspended_batches" TEXT,
    "api_key_hash" TEXT,
    "api_key_expires_at" TIMESTAMP,
    "created_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO "tenants" VALUES('acme','Acme','{"method": "bearer", "token": "callback-token"}','https://app.acme.test','/reports',NULL,'{"hourly": 100, "daily": 0}','{"enabled": true, "max_size_mb": 5.0, "storage_url": "s3://bucket/mail", "lifespan_after_download_days": 3, "action": "rewrite"}',1,'spring','5ab0d67215f904088384eee9bb5c1e9af197473684033b1312aacb6221d1905b',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06');
INSERT INTO "tenants" VALUES('rival',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'6e0a1d0bb381d151a7da60f7b37d89d94e579f15855de37c6ec94799be5d0aa4',NULL,'2026-11-22 21:24:06','2026-11-22 21:24:06');
CREATE UNIQUE INDEX idx_accounts_tenant_id ON accounts ("tenant_id", "id");
COMMIT;
