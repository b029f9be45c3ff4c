-- Times are Unix milliseconds, 0 for never. Documents are JSON.
CREATE TABLE dps_services (
    id       TEXT NOT NULL PRIMARY KEY,
    scope    TEXT NOT NULL UNIQUE,
    secret   TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created  INTEGER NOT NULL
);

CREATE TABLE dps_policies (
    service       TEXT NOT NULL,
    name          TEXT NOT NULL,
    rights        INTEGER NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    PRIMARY KEY (service, name)
);

CREATE TABLE dps_enrollments (
    service  TEXT NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('individual', 'group')),
    id       TEXT NOT NULL,
    etag     TEXT NOT NULL,
    document TEXT NOT NULL,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    PRIMARY KEY (service, kind, id)
);

CREATE TABLE dps_registrations (
    service          TEXT NOT NULL,
    id               TEXT NOT NULL,
    enrollment_group TEXT NOT NULL,
    etag             TEXT NOT NULL,
    operation        TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('assigning', 'assigned', 'failed')),
    document         TEXT NOT NULL,
    created          INTEGER NOT NULL,
    updated          INTEGER NOT NULL,
    PRIMARY KEY (service, id)
);
CREATE INDEX dps_registrations_by_group ON dps_registrations (service, enrollment_group, id);

CREATE TABLE dps_hubs (
    service    TEXT NOT NULL,
    host       TEXT NOT NULL,
    connection TEXT NOT NULL,
    weight     INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    PRIMARY KEY (service, host)
);

CREATE TABLE dps_certificates (
    service  TEXT NOT NULL,
    name     TEXT NOT NULL,
    etag     TEXT NOT NULL,
    der      BLOB NOT NULL,
    verified INTEGER NOT NULL,
    code     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    updated  INTEGER NOT NULL,
    PRIMARY KEY (service, name)
);
