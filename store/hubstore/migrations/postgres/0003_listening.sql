-- What an identity listens to also when it comes back: its door's words.
CREATE TABLE listening (
    hub    TEXT NOT NULL,
    device TEXT COLLATE "C" NOT NULL,
    module TEXT COLLATE "C" NOT NULL,
    topic  TEXT NOT NULL,
    PRIMARY KEY (hub, device, module),
    FOREIGN KEY (hub, device, module) REFERENCES identities ON DELETE CASCADE
);
