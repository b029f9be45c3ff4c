-- Times are Unix milliseconds, 0 for never. Names of blobs are compared byte by byte.
CREATE TABLE st_accounts (
    id            TEXT NOT NULL PRIMARY KEY,
    created       BIGINT NOT NULL,
    primary_key   TEXT NOT NULL,
    secondary_key TEXT NOT NULL
);

CREATE TABLE st_containers (
    account     TEXT NOT NULL,
    container   TEXT COLLATE "C" NOT NULL,
    incarnation TEXT NOT NULL,
    etag        TEXT NOT NULL,
    modified    BIGINT NOT NULL,
    metadata    TEXT NOT NULL,
    declared    INTEGER NOT NULL,
    PRIMARY KEY (account, container)
);

-- The content is in small when content is ''.
CREATE TABLE st_blobs (
    account    TEXT NOT NULL,
    container  TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    etag       TEXT NOT NULL,
    created    BIGINT NOT NULL,
    modified   BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    properties TEXT NOT NULL,
    lease      TEXT NOT NULL,
    content    TEXT NOT NULL,
    small      BYTEA,
    PRIMARY KEY (account, container, name)
);

CREATE INDEX st_blobs_content ON st_blobs (account, content) WHERE content <> '';

-- Contents that more than one block became. Ids and sizes of the blocks in turn.
CREATE TABLE st_blocks (
    account TEXT NOT NULL,
    content TEXT NOT NULL,
    blocks  BYTEA NOT NULL,
    PRIMARY KEY (account, content)
);

-- Contents that no blob has, or not yet.
CREATE TABLE st_garbage (
    account TEXT NOT NULL,
    content TEXT NOT NULL,
    since   BIGINT NOT NULL,
    PRIMARY KEY (account, content)
);
