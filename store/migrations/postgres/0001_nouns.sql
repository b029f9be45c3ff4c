CREATE TABLE resources (
    kind       TEXT   NOT NULL,
    tenant     TEXT   COLLATE "C" NOT NULL,
    scope      TEXT   COLLATE "C" NOT NULL,
    name       TEXT   COLLATE "C" NOT NULL,
    uid        TEXT   NOT NULL UNIQUE,
    generation BIGINT NOT NULL,
    meta       JSON   NOT NULL,
    spec       JSON   NOT NULL,
    status     JSON   NOT NULL,
    refers_to  TEXT   NOT NULL,
    created    BIGINT NOT NULL,
    updated    BIGINT NOT NULL,
    PRIMARY KEY (kind, tenant, scope, name)
);
CREATE INDEX resources_by_place ON resources (tenant, scope);
CREATE INDEX resources_by_reference ON resources (refers_to) WHERE refers_to <> '';

CREATE TABLE addresses (
    network  TEXT NOT NULL REFERENCES resources (uid),
    address  TEXT NOT NULL,
    endpoint TEXT NOT NULL UNIQUE REFERENCES resources (uid) ON DELETE CASCADE,
    PRIMARY KEY (network, address)
);

CREATE TABLE links (
    id       BIGINT NOT NULL PRIMARY KEY,
    endpoint TEXT   NOT NULL UNIQUE REFERENCES resources (uid) ON DELETE CASCADE
);

CREATE TABLE link_keys (
    service TEXT  NOT NULL PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    secret  BYTEA NOT NULL
);

CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE revision (number BIGINT NOT NULL);
INSERT INTO revision (number) VALUES (0);
