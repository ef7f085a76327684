CREATE TABLE outbox (
    channel TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    action_id TEXT,
    at TEXT NOT NULL,
    ja TEXT NOT NULL,
    en TEXT NOT NULL,
    requester TEXT,
    stands TEXT,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    tried_since TEXT,
    not_before TEXT NOT NULL,
    lease_owner TEXT,
    lease_until TEXT,
    ended_at TEXT,
    fault TEXT,
    PRIMARY KEY (channel, id)
);

CREATE INDEX outbox_waiting ON outbox (channel, state, not_before);
CREATE INDEX outbox_of_requester ON outbox (channel, requester, at);
CREATE INDEX outbox_age ON outbox (at);

CREATE TABLE outbox_channel (
    channel TEXT PRIMARY KEY,
    seq BIGINT NOT NULL
);
