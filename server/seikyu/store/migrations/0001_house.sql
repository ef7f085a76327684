CREATE TABLE action (
    id TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    tool TEXT NOT NULL,
    operation TEXT NOT NULL,
    kind TEXT NOT NULL,
    connection TEXT NOT NULL,
    requester TEXT NOT NULL,
    surface TEXT NOT NULL,
    call_digest TEXT NOT NULL,
    canonical TEXT NOT NULL,
    digest TEXT NOT NULL,
    natural_key TEXT,
    amount BIGINT,
    counterparty_id TEXT,
    counterparty_key TEXT,
    transaction_date TEXT,
    file_sha256 TEXT,
    notes TEXT NOT NULL,
    verdict TEXT NOT NULL,
    approvers INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    jst_day TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until TEXT,
    not_before TEXT,
    unsent_tries INTEGER NOT NULL DEFAULT 0,
    unknown_since TEXT,
    may_have_left INTEGER NOT NULL DEFAULT 0,
    reference TEXT,
    provider_facts TEXT,
    outcome TEXT,
    reversed_by TEXT
);

CREATE UNIQUE INDEX action_live_call ON action (call_digest)
WHERE reversed_by IS NULL
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded');

CREATE UNIQUE INDEX action_natural_key ON action (connection, operation, natural_key)
WHERE natural_key IS NOT NULL
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded');

CREATE INDEX action_call ON action (call_digest, created_at);
CREATE INDEX action_state ON action (state, id);
CREATE INDEX action_requester ON action (requester, id);
CREATE INDEX action_requester_state ON action (requester, state);
CREATE INDEX action_totals ON action (requester, jst_day, kind, state, amount);
CREATE INDEX action_customer ON action (connection, counterparty_id) WHERE state = 'succeeded';
CREATE INDEX action_twin ON action (kind, amount, transaction_date);
CREATE INDEX action_file ON action (file_sha256);
CREATE INDEX action_reference ON action (connection, operation, reference);

CREATE TABLE vote (
    action_id TEXT NOT NULL REFERENCES action (id),
    revision INTEGER NOT NULL,
    operator TEXT NOT NULL,
    decision TEXT NOT NULL,
    statement TEXT NOT NULL,
    seal TEXT NOT NULL,
    via TEXT NOT NULL,
    voted_at TEXT NOT NULL,
    PRIMARY KEY (action_id, revision, operator, decision)
);

CREATE TABLE attempt (
    action_id TEXT NOT NULL REFERENCES action (id),
    epoch INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT,
    detail TEXT,
    PRIMARY KEY (action_id, epoch)
);

CREATE TABLE operator (
    name TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    wrapped_key TEXT NOT NULL,
    enrolled_at TEXT NOT NULL,
    endorsed_by TEXT NOT NULL,
    endorsement TEXT NOT NULL,
    removed_at TEXT,
    removed_by TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    locked_until TEXT
);

CREATE TABLE secret (
    connection TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    kind TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL,
    expires_at TEXT,
    obtained_at TEXT NOT NULL,
    lease_owner TEXT,
    lease_until TEXT
);

CREATE TABLE policy (
    sha256 TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    first_used_at TEXT NOT NULL
);

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    action_id TEXT,
    record TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
);

CREATE INDEX audit_action ON audit (action_id, seq);
