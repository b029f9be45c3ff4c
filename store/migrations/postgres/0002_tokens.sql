CREATE TABLE join_tokens (
    id       TEXT    NOT NULL PRIMARY KEY,
    hash     BYTEA   NOT NULL,
    joiner   TEXT    NOT NULL,
    tenant   TEXT    NOT NULL,
    network  TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    created  BIGINT  NOT NULL,
    made_by  TEXT    NOT NULL,
    expires  BIGINT  NOT NULL,
    used_at  BIGINT  NOT NULL DEFAULT 0,
    used_by  TEXT    NOT NULL DEFAULT '',
    used_key TEXT    NOT NULL DEFAULT ''
);

CREATE TABLE api_tokens (
    id        TEXT    NOT NULL PRIMARY KEY,
    hash      BYTEA   NOT NULL,
    name      TEXT    NOT NULL,
    tenant    TEXT    NOT NULL,
    role      TEXT    NOT NULL,
    created   BIGINT  NOT NULL,
    made_by   TEXT    NOT NULL,
    revoked   BIGINT  NOT NULL DEFAULT 0,
    last_used BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE revoked (
    id        TEXT    NOT NULL PRIMARY KEY,
    tenant    TEXT    NOT NULL,
    network   TEXT    NOT NULL,
    not_after BIGINT  NOT NULL
);
