ALTER TABLE join_tokens ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
ALTER TABLE join_tokens ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE join_tokens ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;
UPDATE join_tokens SET used = 1 WHERE used_at <> 0;

CREATE TABLE join_uses (
    token    TEXT NOT NULL REFERENCES join_tokens (id) ON DELETE CASCADE,
    used_key TEXT NOT NULL,
    used_by  TEXT NOT NULL,
    used_at  INTEGER NOT NULL,
    PRIMARY KEY (token, used_key)
) STRICT;
INSERT INTO join_uses (token, used_key, used_by, used_at) SELECT id, used_key, used_by, used_at FROM join_tokens WHERE used_at <> 0;
