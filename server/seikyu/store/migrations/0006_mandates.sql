CREATE TABLE mandate (
    seq INTEGER PRIMARY KEY,
    statement TEXT NOT NULL,
    seal TEXT NOT NULL
);

CREATE INDEX audit_mandate ON audit (kind, seq) WHERE action_id IS NULL;

ALTER TABLE action ADD COLUMN destination TEXT;

CREATE INDEX action_destination ON action (connection, destination) WHERE state = 'succeeded';
