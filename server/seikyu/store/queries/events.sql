-- name: events_named
SELECT body_sha256, state FROM event WHERE connection = :connection AND event_id = :event_id;

-- name: add_event!
INSERT INTO event (connection, event_id, body_sha256, kind, reference, number, received_at, not_before, state)
VALUES (:connection, :event_id, :body_sha256, :kind, :reference, :number, :received_at, :received_at, :state);

-- name: events_due
SELECT connection, event_id, body_sha256, kind, reference, number, received_at, not_before FROM event
WHERE state = 'waiting' AND not_before <= :now ORDER BY not_before, event_id LIMIT :limit;

-- name: take_event!
UPDATE event SET not_before = :not_before
WHERE connection = :connection AND event_id = :event_id AND body_sha256 = :body_sha256
AND state = 'waiting' AND not_before = :was;

-- name: postpone_event!
UPDATE event SET not_before = :not_before
WHERE connection = :connection AND event_id = :event_id AND body_sha256 = :body_sha256 AND state = 'waiting';

-- name: close_event!
UPDATE event SET state = :state
WHERE connection = :connection AND event_id = :event_id AND body_sha256 = :body_sha256 AND state = 'waiting';

-- name: forget_events!
DELETE FROM event WHERE received_at < :before AND state <> 'waiting';

-- name: actions_told_of
-- each look-up by itself: for an OR over them every action would be read
SELECT a.* FROM (
    SELECT id AS candidate FROM action WHERE connection = :connection AND reference = CAST(:reference AS TEXT)
    UNION
    SELECT id AS candidate FROM action WHERE connection = :connection AND natural_key = CAST(:number AS TEXT)
    UNION
    SELECT id AS candidate FROM action WHERE connection = :connection AND natural_key = CAST(:reference AS TEXT)
) AS found CROSS JOIN action AS a
WHERE a.id = found.candidate ORDER BY a.id LIMIT 20;

-- name: set_provider_facts!
UPDATE action SET provider_facts = :provider_facts, updated_at = :updated_at
WHERE id = :id AND state = 'succeeded' AND epoch = :epoch;
