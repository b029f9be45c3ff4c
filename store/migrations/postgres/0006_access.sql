CREATE TABLE people (
    uid       TEXT    NOT NULL PRIMARY KEY,
    tenant    TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    provider  TEXT    NOT NULL DEFAULT '',
    issuer    TEXT    NOT NULL DEFAULT '',
    subject   TEXT    NOT NULL DEFAULT '',
    roles     TEXT    NOT NULL,
    created   BIGINT NOT NULL,
    made_by   TEXT    NOT NULL,
    disabled  BIGINT NOT NULL DEFAULT 0,
    signed_in BIGINT NOT NULL DEFAULT 0,
    UNIQUE (tenant, name)
);
CREATE UNIQUE INDEX people_by_subject ON people (tenant, provider, subject) WHERE subject <> '';

ALTER TABLE api_tokens ADD COLUMN person TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN expires BIGINT NOT NULL DEFAULT 0;
UPDATE api_tokens SET role = 'owner' WHERE role = 'operator';

CREATE TABLE sign_ins (
    hash    BYTEA    NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
);

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
    requested   BIGINT NOT NULL,
    due         BIGINT NOT NULL,
    grant_doc   TEXT    NOT NULL
);
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
    opened      BIGINT NOT NULL,
    ended       BIGINT NOT NULL,
    refused     INTEGER NOT NULL,
    session_doc TEXT    NOT NULL
);
CREATE INDEX sessions_by_tenant ON sessions (tenant, opened);
CREATE INDEX sessions_by_grant ON sessions (grant_id, opened);
CREATE INDEX sessions_by_person ON sessions (person, opened);
CREATE INDEX sessions_open ON sessions (agent) WHERE ended = 0;

CREATE TABLE former_leaders (
    target_uid TEXT    NOT NULL,
    agent      TEXT    NOT NULL,
    until      BIGINT NOT NULL,
    PRIMARY KEY (target_uid, agent)
);

CREATE TABLE recordings (
    session  TEXT    NOT NULL PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    size     BIGINT NOT NULL,
    sha256   TEXT    NOT NULL,
    received BIGINT NOT NULL,
    file     TEXT    NOT NULL
);

CREATE TABLE sealed_keys (
    tenant  TEXT    NOT NULL,
    purpose TEXT    NOT NULL,
    public  TEXT    NOT NULL,
    sealed  BYTEA    NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (tenant, purpose)
);

CREATE TABLE webhooks (
    id       TEXT    NOT NULL PRIMARY KEY,
    tenant   TEXT    NOT NULL,
    shown    TEXT    NOT NULL,
    events   TEXT    NOT NULL,
    sealed   BYTEA   NOT NULL,
    created  BIGINT NOT NULL,
    made_by  TEXT    NOT NULL,
    state    TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant);

CREATE TABLE deliveries (
    id       TEXT    NOT NULL PRIMARY KEY,
    webhook  TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    body     TEXT    NOT NULL,
    created  BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX deliveries_by_due ON deliveries (due);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, created);

CREATE TABLE audit_checkpoints (
    tenant    TEXT    NOT NULL,
    sequence  BIGINT NOT NULL,
    hash      TEXT    NOT NULL,
    at        BIGINT  NOT NULL,
    domain    TEXT    NOT NULL,
    authority TEXT    NOT NULL,
    signature TEXT    NOT NULL,
    PRIMARY KEY (tenant, sequence)
);
CREATE FUNCTION audit_checkpoints_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit checkpoints are not changed or deleted'; END $$;
CREATE TRIGGER audit_checkpoints_stay_as_written BEFORE UPDATE OR DELETE ON audit_checkpoints
FOR EACH ROW EXECUTE FUNCTION audit_checkpoints_refuse();
CREATE TRIGGER audit_checkpoints_stay BEFORE TRUNCATE ON audit_checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION audit_checkpoints_refuse();
CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses();
