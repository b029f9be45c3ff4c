CREATE TABLE audit (
    tenant    TEXT   NOT NULL,
    sequence  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    who       TEXT   NOT NULL,
    operation TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    path      TEXT   NOT NULL,
    before    TEXT   NOT NULL,
    after     TEXT   NOT NULL,
    why       TEXT   NOT NULL,
    previous  TEXT   NOT NULL,
    hash      TEXT   NOT NULL,
    PRIMARY KEY (tenant, sequence)
);
CREATE INDEX audit_by_path ON audit (tenant, kind, path);

CREATE TABLE audit_heads (
    tenant   TEXT   NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash     TEXT   NOT NULL
);

CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit records are not changed or deleted'; END $$;
CREATE TRIGGER audit_stays_as_written BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_refuses();
