CREATE TABLE contract_keys (
    contract TEXT  NOT NULL PRIMARY KEY REFERENCES resources (uid) ON DELETE CASCADE,
    sealed   BYTEA NOT NULL
);
