CREATE TABLE people (
    uid       TEXT    NOT NULL PRIMARY KEY,
    tenant    TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    provider  TEXT    NOT NULL DEFAULT '',
    issuer    TEXT    NOT NULL DEFAULT '',
    subject   TEXT    NOT NULL DEFAULT '',
    roles     TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    made_by   TEXT    NOT NULL,
    disabled  INTEGER NOT NULL DEFAULT 0,
    signed_in INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, name)
) STRICT;
CREATE UNIQUE INDEX people_by_subject ON people (tenant, provider, subject) WHERE subject <> '';

ALTER TABLE api_tokens ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN expires INTEGER NOT NULL DEFAULT 0;
UPDATE api_tokens SET role = 'owner' WHERE role = 'operator';

CREATE TABLE sign_ins (
    hash    BLOB    NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE grants (
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    target_uid  TEXT    NOT NULL,
    person      TEXT    NOT NULL,
    person_name TEXT    NOT NULL,
    home        TEXT    NOT NULL,
    asker       TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    unreviewed  INTEGER NOT NULL,
    requested   INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    grant_doc   TEXT    NOT NULL
) STRICT;
CREATE INDEX grants_by_tenant ON grants (tenant, requested);
CREATE INDEX grants_by_person ON grants (person, requested);
CREATE INDEX grants_by_asker ON grants (asker, requested);
CREATE INDEX grants_by_target ON grants (target_uid) WHERE state IN ('Requested', 'Approved');
CREATE INDEX grants_open ON grants (due) WHERE state IN ('Requested', 'Approved');

CREATE TABLE sessions (
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    target      TEXT    NOT NULL,
    target_uid  TEXT    NOT NULL,
    grant_id    TEXT    NOT NULL,
    person      TEXT    NOT NULL,
    person_name TEXT    NOT NULL,
    agent       TEXT    NOT NULL,
    opened      INTEGER NOT NULL,
    ended       INTEGER NOT NULL,
    refused     INTEGER NOT NULL,
    session_doc TEXT    NOT NULL
) STRICT;
CREATE INDEX sessions_by_tenant ON sessions (tenant, opened);
CREATE INDEX sessions_by_grant ON sessions (grant_id, opened);
CREATE INDEX sessions_by_person ON sessions (person, opened);
CREATE INDEX sessions_open ON sessions (agent) WHERE ended = 0;

CREATE TABLE former_leaders (
    target_uid TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    until      INTEGER NOT NULL,
    PRIMARY KEY (target_uid, agent)
) STRICT;

CREATE TABLE recordings (
    session  TEXT    NOT NULL PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    sha256   TEXT    NOT NULL,
    received INTEGER NOT NULL,
    file     TEXT    NOT NULL
) STRICT;

CREATE TABLE sealed_keys (
    tenant  TEXT    NOT NULL,
    purpose TEXT    NOT NULL,
    public  TEXT    NOT NULL,
    sealed  BLOB    NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (tenant, purpose)
) STRICT;

CREATE TABLE webhooks (
    id       TEXT    NOT NULL PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    shown    TEXT    NOT NULL,
    events   TEXT    NOT NULL,
    sealed   BLOB    NOT NULL,
    created  INTEGER NOT NULL,
    made_by  TEXT    NOT NULL,
    state    TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX webhooks_by_tenant ON webhooks (tenant);

CREATE TABLE deliveries (
    id       TEXT    NOT NULL PRIMARY KEY,
    webhook  TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    body     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_by_due ON deliveries (due);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, created);

CREATE TABLE audit_checkpoints (
    tenant    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    hash      TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    domain    TEXT    NOT NULL,
    authority TEXT    NOT NULL,
    signature TEXT    NOT NULL,
    PRIMARY KEY (tenant, sequence)
) STRICT;
CREATE TRIGGER audit_checkpoints_stay_as_written BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are not changed'); END;
CREATE TRIGGER audit_checkpoints_stay BEFORE DELETE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are not deleted'); END;
