ALTER TABLE action ADD COLUMN arguments TEXT;

CREATE TABLE revision (
    action_id TEXT NOT NULL REFERENCES action (id),
    revision INTEGER NOT NULL,
    editor TEXT NOT NULL,
    call_digest TEXT NOT NULL,
    statement TEXT NOT NULL,
    seal TEXT,
    PRIMARY KEY (action_id, revision)
);

CREATE INDEX revision_call ON revision (call_digest);
