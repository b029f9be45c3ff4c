-- Times are Unix milliseconds, 0 for never. Truth values are 0 and 1. JSON is text.

-- An identity is a device (module = '') or one of its modules.
CREATE TABLE identities (
    hub                  TEXT NOT NULL,
    device               TEXT NOT NULL,
    module               TEXT NOT NULL,
    generation           TEXT NOT NULL,
    etag                 TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
    status_reason        TEXT NOT NULL,
    status_changed       INTEGER NOT NULL,
    auth_type            TEXT NOT NULL,
    primary_key          TEXT NOT NULL,
    secondary_key        TEXT NOT NULL,
    primary_thumbprint   TEXT NOT NULL,
    secondary_thumbprint TEXT NOT NULL,
    edge                 INTEGER NOT NULL,
    scope                TEXT NOT NULL,
    parent_scopes        TEXT NOT NULL,
    managed_by           TEXT NOT NULL,
    created              INTEGER NOT NULL,
    connected            INTEGER NOT NULL,
    connection_changed   INTEGER NOT NULL,
    last_activity        INTEGER NOT NULL,
    PRIMARY KEY (hub, device, module)
);

INSERT INTO identities (hub, device, module, generation, etag, status, status_reason, status_changed, auth_type, primary_key, secondary_key,
    primary_thumbprint, secondary_thumbprint, edge, scope, parent_scopes, managed_by, created, connected, connection_changed, last_activity)
SELECT hub, id, '', generation, etag, status, status_reason, status_changed, auth_type, primary_key, secondary_key,
    primary_thumbprint, secondary_thumbprint, edge, '', '', '', created, 0, connection_changed, last_activity FROM devices;

DROP TABLE devices;

CREATE TABLE twins (
    hub              TEXT NOT NULL,
    device           TEXT NOT NULL,
    module           TEXT NOT NULL,
    version          INTEGER NOT NULL, -- of the whole; less reported_version it is the etag
    model            TEXT NOT NULL,
    tags             TEXT NOT NULL,
    desired          TEXT NOT NULL,
    desired_version  INTEGER NOT NULL,
    desired_meta     TEXT NOT NULL,
    reported         TEXT NOT NULL,
    reported_version INTEGER NOT NULL,
    reported_meta    TEXT NOT NULL,
    changed          INTEGER NOT NULL,
    PRIMARY KEY (hub, device, module),
    FOREIGN KEY (hub, device, module) REFERENCES identities ON DELETE CASCADE
);

-- Whoever had no twin gets the empty one.
INSERT INTO twins (hub, device, module, version, model, tags, desired, desired_version, desired_meta, reported, reported_version, reported_meta, changed)
SELECT hub, device, module, 2, '', '{}', '{}', 1, '{}', '{}', 1, '{}', created FROM identities;

-- Every scalar leaf of tags, and of what twin_indexes names.
CREATE TABLE twin_terms (
    hub    TEXT NOT NULL,
    path   TEXT NOT NULL,
    kind   TEXT NOT NULL, -- string, number, bool, null
    text   TEXT NOT NULL, -- of a string; of the others as JSON
    number REAL,          -- of a number only
    device TEXT NOT NULL,
    module TEXT NOT NULL,
    PRIMARY KEY (hub, path, text, device, module),
    FOREIGN KEY (hub, device, module) REFERENCES twins ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX twin_terms_number ON twin_terms (hub, path, number) WHERE number IS NOT NULL;
CREATE INDEX twin_terms_twin ON twin_terms (hub, device, module);

CREATE TABLE twin_indexes (
    hub  TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (hub, path)
);

-- Cloud-to-device messages that are not settled.
CREATE TABLE commands (
    hub            TEXT NOT NULL,
    device         TEXT NOT NULL,
    module         TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    message_id     TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    recipient      TEXT NOT NULL, -- "to", as the sender wrote it
    content_type   TEXT NOT NULL,
    encoding       TEXT NOT NULL,
    ack            TEXT NOT NULL,
    properties     TEXT NOT NULL,
    enqueued       INTEGER NOT NULL,
    expires        INTEGER NOT NULL,
    deliveries     INTEGER NOT NULL,
    lock_token     TEXT NOT NULL, -- '' when it is free
    locked_until   INTEGER NOT NULL, -- 0 with a lock_token: while its session lives
    body           BLOB NOT NULL, -- last, because it may be large
    PRIMARY KEY (hub, device, module, sequence),
    FOREIGN KEY (hub, device, module) REFERENCES identities ON DELETE CASCADE
);

CREATE INDEX commands_expires ON commands (hub, expires) WHERE lock_token = '';
CREATE INDEX commands_locked ON commands (hub, locked_until) WHERE locked_until > 0;

-- The last numbers given out, by what they count.
CREATE TABLE counters (
    hub  TEXT NOT NULL,
    name TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (hub, name)
);

CREATE TABLE feedback (
    hub          TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    message_id   TEXT NOT NULL,
    device       TEXT NOT NULL,
    generation   TEXT NOT NULL,
    status       TEXT NOT NULL,
    description  TEXT NOT NULL,
    happened     INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL,
    lock_token   TEXT NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (hub, sequence)
);

CREATE INDEX feedback_expires ON feedback (hub, expires);
CREATE INDEX feedback_locked ON feedback (hub, lock_token) WHERE lock_token <> '';

CREATE TABLE uploads (
    hub         TEXT NOT NULL,
    correlation TEXT NOT NULL,
    device      TEXT NOT NULL,
    blob        TEXT NOT NULL,
    started     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    PRIMARY KEY (hub, correlation)
);

CREATE INDEX uploads_device ON uploads (hub, device);

CREATE TABLE file_notifications (
    hub          TEXT NOT NULL,
    sequence     INTEGER NOT NULL,
    device       TEXT NOT NULL,
    blob_uri     TEXT NOT NULL,
    blob_name    TEXT NOT NULL,
    updated      INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    enqueued     INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    deliveries   INTEGER NOT NULL,
    lock_token   TEXT NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (hub, sequence)
);

CREATE TABLE jobs (
    hub       TEXT NOT NULL,
    id        TEXT NOT NULL,
    type      TEXT NOT NULL, -- scheduleUpdateTwin, scheduleDeviceMethod, import, export
    status    TEXT NOT NULL,
    condition TEXT NOT NULL, -- which identities
    payload   TEXT NOT NULL, -- JSON: what to do with each
    created   INTEGER NOT NULL,
    starts    INTEGER NOT NULL,
    started   INTEGER NOT NULL,
    ended     INTEGER NOT NULL,
    seconds   INTEGER NOT NULL, -- it may take
    progress  INTEGER NOT NULL, -- per cent
    failure   TEXT NOT NULL,
    message   TEXT NOT NULL,
    PRIMARY KEY (hub, id)
);

CREATE INDEX jobs_status ON jobs (hub, status, starts);

CREATE TABLE job_devices (
    hub     TEXT NOT NULL,
    job     TEXT NOT NULL,
    device  TEXT NOT NULL,
    module  TEXT NOT NULL,
    type    TEXT NOT NULL,
    status  TEXT NOT NULL, -- pending, scheduled, running, completed, failed, canceled
    outcome TEXT NOT NULL, -- JSON
    error   TEXT NOT NULL, -- JSON
    created INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (hub, job, device, module),
    FOREIGN KEY (hub, job) REFERENCES jobs ON DELETE CASCADE
);

CREATE INDEX job_devices_status ON job_devices (hub, job, status);

CREATE TABLE configurations (
    hub      TEXT NOT NULL,
    id       TEXT NOT NULL,
    etag     TEXT NOT NULL,
    labels   TEXT NOT NULL, -- JSON
    content  TEXT NOT NULL, -- JSON
    target   TEXT NOT NULL, -- condition
    priority INTEGER NOT NULL,
    metrics  TEXT NOT NULL, -- JSON: name to query
    results  TEXT NOT NULL, -- JSON: the last counts
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    PRIMARY KEY (hub, id)
);

-- Which configuration an identity has, or should have.
CREATE TABLE configuration_targets (
    hub           TEXT NOT NULL,
    configuration TEXT NOT NULL,
    device        TEXT NOT NULL,
    module        TEXT NOT NULL,
    status        TEXT NOT NULL, -- Targeted, Applied
    applied_etag  TEXT NOT NULL,
    PRIMARY KEY (hub, configuration, device, module),
    FOREIGN KEY (hub, device, module) REFERENCES identities ON DELETE CASCADE
);

CREATE INDEX configuration_targets_identity ON configuration_targets (hub, device, module);

CREATE TABLE endpoints (
    hub      TEXT NOT NULL,
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    settings TEXT NOT NULL, -- JSON
    PRIMARY KEY (hub, name)
);

CREATE TABLE routes (
    hub       TEXT NOT NULL,
    name      TEXT NOT NULL,
    source    TEXT NOT NULL,
    condition TEXT NOT NULL,
    endpoints TEXT NOT NULL, -- JSON: names
    enabled   INTEGER NOT NULL,
    PRIMARY KEY (hub, name)
);

CREATE TABLE enrichments (
    hub       TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    endpoints TEXT NOT NULL, -- JSON: names
    PRIMARY KEY (hub, name)
);

CREATE TABLE consumer_groups (
    hub      TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    name     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    PRIMARY KEY (hub, endpoint, name)
);

-- How far a consumer group, or a forwarder, has come: the next sequence number it wants.
CREATE TABLE cursors (
    hub       TEXT NOT NULL,
    endpoint  TEXT NOT NULL,
    consumer  TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next      INTEGER NOT NULL,
    owner     TEXT NOT NULL,
    updated   INTEGER NOT NULL,
    PRIMARY KEY (hub, endpoint, consumer, partition)
);

-- Certificate authorities whose devices are let in.
CREATE TABLE authorities (
    hub         TEXT NOT NULL,
    name        TEXT NOT NULL,
    etag        TEXT NOT NULL,
    certificate TEXT NOT NULL, -- PEM
    thumbprint  TEXT NOT NULL, -- SHA-256, hex
    verified    INTEGER NOT NULL,
    code        TEXT NOT NULL, -- to be proved, '' when none was asked for
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    PRIMARY KEY (hub, name)
);

-- What an administrator set, by the name of the room it is for.
CREATE TABLE settings (
    hub   TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL, -- JSON
    PRIMARY KEY (hub, name)
);
