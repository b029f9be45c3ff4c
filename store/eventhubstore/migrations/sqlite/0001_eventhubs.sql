-- Times are Unix milliseconds, 0 for never. Keys are names in lower case; the hub of what belongs to the namespace itself is ''.
CREATE TABLE eh_namespaces (
    id      TEXT NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL
);

CREATE TABLE eh_hubs (
    namespace  TEXT NOT NULL,
    hub        TEXT NOT NULL,
    name       TEXT NOT NULL,
    partitions INTEGER NOT NULL,
    age        INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    disabled   INTEGER NOT NULL,
    declared   INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    PRIMARY KEY (namespace, hub)
);

CREATE TABLE eh_policies (
    namespace     TEXT NOT NULL,
    hub           TEXT NOT NULL,
    policy        TEXT NOT NULL,
    name          TEXT NOT NULL,
    rights        INTEGER NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL,
    declared      INTEGER NOT NULL,
    PRIMARY KEY (namespace, hub, policy)
);

CREATE TABLE eh_groups (
    namespace TEXT NOT NULL,
    hub       TEXT NOT NULL,
    grp       TEXT NOT NULL,
    name      TEXT NOT NULL,
    declared  INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    PRIMARY KEY (namespace, hub, grp)
);

CREATE TABLE eh_checkpoints (
    namespace TEXT NOT NULL,
    hub       TEXT NOT NULL,
    grp       TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position  TEXT NOT NULL,
    sequence  INTEGER NOT NULL,
    owner     TEXT NOT NULL,
    etag      TEXT NOT NULL,
    updated   INTEGER NOT NULL,
    PRIMARY KEY (namespace, hub, grp, partition)
);

CREATE TABLE eh_ownerships (
    namespace TEXT NOT NULL,
    hub       TEXT NOT NULL,
    grp       TEXT NOT NULL,
    partition INTEGER NOT NULL,
    owner     TEXT NOT NULL,
    etag      TEXT NOT NULL,
    modified  INTEGER NOT NULL,
    PRIMARY KEY (namespace, hub, grp, partition)
);
