CREATE TABLE event (
    connection TEXT NOT NULL,
    event_id TEXT NOT NULL,
    body_sha256 TEXT NOT NULL,
    kind TEXT NOT NULL,
    reference TEXT,
    number TEXT,
    received_at TEXT NOT NULL,
    not_before TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (connection, event_id, body_sha256)
);

CREATE INDEX event_due ON event (state, not_before);
CREATE INDEX event_age ON event (received_at);
