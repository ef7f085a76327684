-- name: operators
SELECT name, public_key, enrolled_at, endorsed_by, endorsement, removed_at FROM operator ORDER BY enrolled_at, name;

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
