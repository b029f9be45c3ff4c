CREATE TABLE audit (
    tenant    TEXT    NOT NULL,
    sequence  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    who       TEXT    NOT NULL,
    operation TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    path      TEXT    NOT NULL,
    before    TEXT    NOT NULL,
    after     TEXT    NOT NULL,
    why       TEXT    NOT NULL,
    previous  TEXT    NOT NULL,
    hash      TEXT    NOT NULL,
    PRIMARY KEY (tenant, sequence)
) STRICT;
CREATE INDEX audit_by_path ON audit (tenant, kind, path);

CREATE TABLE audit_heads (
    tenant   TEXT    NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     TEXT    NOT NULL
) STRICT;

CREATE TRIGGER audit_stays_as_written BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are not changed'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit records are not deleted'); END;
