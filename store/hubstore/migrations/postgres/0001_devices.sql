-- Times are Unix milliseconds, 0 for never.
CREATE TABLE devices (
    hub                  TEXT NOT NULL,
    id                   TEXT COLLATE "C" NOT NULL,
    generation           TEXT NOT NULL,
    etag                 TEXT NOT NULL,
    status               TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
    status_reason        TEXT NOT NULL,
    status_changed       BIGINT NOT NULL,
    auth_type            TEXT NOT NULL,
    primary_key          TEXT NOT NULL,
    secondary_key        TEXT NOT NULL,
    primary_thumbprint   TEXT NOT NULL,
    secondary_thumbprint TEXT NOT NULL,
    edge                 INTEGER NOT NULL,
    created              BIGINT NOT NULL,
    connection_changed   BIGINT NOT NULL,
    last_activity        BIGINT NOT NULL,
    PRIMARY KEY (hub, id)
);

CREATE TABLE policies (
    hub           TEXT NOT NULL,
    name          TEXT NOT NULL,
    rights        BIGINT NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    PRIMARY KEY (hub, name)
);
