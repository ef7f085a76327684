-- name: operators
SELECT name, public_key, enrolled_at, endorsed_by, endorsement, removed_at, removed_by FROM operator
ORDER BY enrolled_at, name;

-- name: every_operator
SELECT name, public_key, wrapped_key, enrolled_at, endorsed_by, endorsement, removed_at, removed_by FROM operator
ORDER BY name;

-- name: operator^
SELECT name, public_key, wrapped_key, removed_at, failures, locked_until FROM operator WHERE name = :name;

-- name: add_operator!
INSERT INTO operator (name, public_key, wrapped_key, enrolled_at, endorsed_by, endorsement)
VALUES (:name, :public_key, :wrapped_key, :enrolled_at, :endorsed_by, :endorsement);

-- name: remove_operator!
UPDATE operator SET removed_at = :removed_at, removed_by = :removed_by WHERE name = :name AND removed_at IS NULL;

-- name: count_failure!
UPDATE operator SET failures = :failures, locked_until = :locked_until WHERE name = :name;

-- name: clear_failures!
UPDATE operator SET failures = 0, locked_until = NULL WHERE name = :name;

-- name: mandates
SELECT seq, statement, seal FROM mandate ORDER BY seq;

-- name: mandates_and_head
-- the log row that names the last of them beside each: another journey is saved
SELECT seq, statement, seal, (
    SELECT record FROM audit
    WHERE action_id IS NULL
    AND kind IN (
        'operator.enrolled', 'operator.granted', 'operator.removed', 'operator.delegated', 'operator.undelegated'
    )
    ORDER BY audit.seq DESC LIMIT 1
) AS head FROM mandate ORDER BY seq;

-- name: add_mandate!
INSERT INTO mandate (seq, statement, seal) VALUES (:seq, :statement, :seal);

-- name: last_doubt^
SELECT at, record FROM audit WHERE action_id IS NULL AND kind = 'operator.alarm' ORDER BY seq DESC LIMIT 1;

-- name: mandate_head^
SELECT record FROM audit
WHERE action_id IS NULL
AND kind IN (
    'operator.enrolled', 'operator.granted', 'operator.removed', 'operator.delegated', 'operator.undelegated'
)
ORDER BY seq DESC LIMIT 1;
