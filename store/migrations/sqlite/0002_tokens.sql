CREATE TABLE join_tokens (
    id       TEXT    NOT NULL PRIMARY KEY,
    hash     BLOB    NOT NULL,
    joiner   TEXT    NOT NULL,
    tenant   TEXT    NOT NULL,
    network  TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    made_by  TEXT    NOT NULL,
    expires  INTEGER NOT NULL,
    used_at  INTEGER NOT NULL DEFAULT 0,
    used_by  TEXT    NOT NULL DEFAULT '',
    used_key TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE api_tokens (
    id        TEXT    NOT NULL PRIMARY KEY,
    hash      BLOB    NOT NULL,
    name      TEXT    NOT NULL,
    tenant    TEXT    NOT NULL,
    role      TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    made_by   TEXT    NOT NULL,
    revoked   INTEGER NOT NULL DEFAULT 0,
    last_used INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE revoked (
    id        TEXT    NOT NULL PRIMARY KEY,
    tenant    TEXT    NOT NULL,
    network   TEXT    NOT NULL,
    not_after INTEGER NOT NULL
) STRICT;
