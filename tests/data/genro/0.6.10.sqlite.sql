BEGIN TRANSACTION;
CREATE TABLE accounts (
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
    PRIMARY KEY ("tenant_id", "id")
);
INSERT INTO "accounts" VALUES('main','acme','smtp.acme.test',587,'acme','smtp-password',300,0,50,NULL,'reject',1,10,'2026-11-22 21:24:02','2026-11-22 21:24:02',0,NULL,993,NULL,NULL,'INBOX',NULL,NULL,NULL);
INSERT INTO "accounts" VALUES('pec','acme','smtp.pec.test',465,'pec','pec-password',300,NULL,NULL,NULL,'defer',NULL,NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',1,'imap.pec.test',993,'pec','imap-password','INBOX',NULL,NULL,NULL);
INSERT INTO "accounts" VALUES('main','rival','127.0.0.1',25,NULL,NULL,300,NULL,NULL,NULL,'defer',0,NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',0,NULL,993,NULL,NULL,'INBOX',NULL,NULL,NULL);
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
    "id" TEXT PRIMARY KEY
);
CREATE TABLE instance_config (
    "key" TEXT PRIMARY KEY,
    "value" TEXT NOT NULL,
    "updated_at" TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE message_events (
    "id" INTEGER PRIMARY KEY,
    "message_pk" TEXT NOT NULL,
    "event_type" TEXT NOT NULL,
    "event_ts" INTEGER NOT NULL,
    "description" TEXT,
    "metadata" TEXT,
    "reported_ts" INTEGER
);
INSERT INTO "message_events" VALUES(1,'Z0GwvcyoOdK6QSykilUqq1','sent',1790000000,NULL,NULL,NULL);
INSERT INTO "message_events" VALUES(2,'Z0GwvcyqDUaG23wfymhMpg','error',1790000000,'550 no such user',NULL,NULL);
CREATE TABLE messages (
    "pk" TEXT PRIMARY KEY,
    "id" TEXT NOT NULL,
    "tenant_id" TEXT NOT NULL,
    "account_id" TEXT,
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
INSERT INTO "messages" VALUES('Z0GwvcyTPjnWhqQabmsIDC','plain','acme','main',2,'{"id": "plain", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message plain", "body": "This is plain.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcyYbkrW1tYfYh8jbZ','urgent','acme','main',0,'{"id": "urgent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message urgent", "body": "<p>Now</p>", "priority": 0, "content_type": "html", "cc": ["eve@there.test"]}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcycmuylXLv2bhJOrs','later','acme','main',2,'{"id": "later", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message later", "body": "This is later.", "priority": 2, "deferred_ts": 2000000000, "headers": {"X-Campaign": "7"}, "reply_to": "a@acme.test"}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',2000000000,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcygELIQYABnKQxbQB','spring-1','acme','main',3,'{"id": "spring-1", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message spring-1", "body": "This is spring-1.", "priority": 3, "batch_code": "spring", "bcc": "hidden@there.test"}','spring','2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcyiJfbM7J4rLGEDu5','certified','acme','pec',2,'{"id": "certified", "tenant_id": "acme", "account_id": "pec", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message certified", "body": "This is certified.", "priority": 2, "retry_count": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,1);
INSERT INTO "messages" VALUES('Z0GwvcylMNZLwfQQQn1Yow','orphan','acme','gone',2,'{"id": "orphan", "tenant_id": "acme", "account_id": "gone", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message orphan", "body": "This is orphan.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcymDv6qtmhh9K7v8R','broken','acme','main',2,'{"id": "broken", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["not an address"], "subject": "Message broken", "body": "This is broken.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
INSERT INTO "messages" VALUES('Z0GwvcyoOdK6QSykilUqq1','sent','acme','main',2,'{"id": "sent", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message sent", "body": "This is sent.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,1790000000,0);
INSERT INTO "messages" VALUES('Z0GwvcyqDUaG23wfymhMpg','failed','acme','main',2,'{"id": "failed", "tenant_id": "acme", "account_id": "main", "from": "App <app@acme.test>", "to": ["bob@there.test"], "subject": "Message failed", "body": "This is failed.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,1790000000,0);
INSERT INTO "messages" VALUES('Z0GwvcysjCurIZRVaceak9','theirs','rival','main',2,'{"id": "theirs", "tenant_id": "rival", "account_id": "main", "from": "App <app@rival.test>", "to": ["bob@there.test"], "subject": "Message theirs", "body": "This is theirs.", "priority": 2}',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02',NULL,NULL,0);
CREATE TABLE send_log (
    "account_id" TEXT,
    "timestamp" INTEGER
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
INSERT INTO "tenants" VALUES('acme','Acme','{"method": "bearer", "token": "callback-token"}','https://app.acme.test','/reports',NULL,'{"hourly": 100, "daily": 0}','{"enabled": true, "max_size_mb": 5.0, "storage_url": "s3://bucket/mail", "lifespan_after_download_days": 3, "action": "rewrite"}',1,'spring','5ab0d67215f904088384eee9bb5c1e9af197473684033b1312aacb6221d1905b',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02');
INSERT INTO "tenants" VALUES('rival',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'6e0a1d0bb381d151a7da60f7b37d89d94e579f15855de37c6ec94799be5d0aa4',NULL,'2026-11-22 21:24:02','2026-11-22 21:24:02');
CREATE UNIQUE INDEX idx_accounts_tenant_id ON accounts ("tenant_id", "id");
COMMIT;
