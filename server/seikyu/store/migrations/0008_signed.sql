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

CREATE TABLE seen_request (
    mark TEXT PRIMARY KEY,
    seen_at TEXT NOT NULL
);

CREATE INDEX seen_request_age ON seen_request (seen_at);

CREATE TABLE slack_link (
    seq INTEGER PRIMARY KEY,
    operator TEXT NOT NULL,
    statement TEXT NOT NULL,
    seal TEXT NOT NULL,
    vouched_by TEXT NOT NULL,
    vouch TEXT NOT NULL
);

CREATE TABLE slack_message (
    channel TEXT NOT NULL,
    ts TEXT NOT NULL,
    action_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    posted_at TEXT NOT NULL,
    PRIMARY KEY (channel, ts)
);

CREATE INDEX slack_message_action ON slack_message (action_id);
