CREATE TABLE resources (
    kind       TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    uid        TEXT    NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    meta       TEXT    NOT NULL,
    spec       TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    refers_to  TEXT    NOT NULL,
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    PRIMARY KEY (kind, tenant, scope, name)
) STRICT;
CREATE INDEX resources_by_place ON resources (tenant, scope);
CREATE INDEX resources_by_reference ON resources (refers_to) WHERE refers_to <> '';

CREATE TABLE addresses (
    network  TEXT NOT NULL REFERENCES resources (uid),
    address  TEXT NOT NULL,
    endpoint TEXT NOT NULL UNIQUE REFERENCES resources (uid) ON DELETE CASCADE,
    PRIMARY KEY (network, address)
) STRICT;

CREATE TABLE links (
    id       INTEGER NOT NULL PRIMARY KEY,
    endpoint TEXT    NOT NULL UNIQUE REFERENCES resources (uid) ON DELETE CASCADE
) STRICT;

CREATE TABLE link_keys (
    service TEXT NOT NULL PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    secret  BLOB NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE revision (number INTEGER NOT NULL) STRICT;
INSERT INTO revision (number) VALUES (0);
