-- name: secret^
SELECT
    connection, provider, kind, key_id, sealed, generation, state, expires_at, obtained_at, lease_owner, lease_until
FROM secret WHERE connection = :connection;

-- name: put_secret!
INSERT INTO secret (connection, provider, kind, key_id, sealed, generation, state, expires_at, obtained_at)
VALUES (:connection, :provider, :kind, :key_id, :sealed, :generation, 'ready', :expires_at, :obtained_at)
ON CONFLICT (connection) DO UPDATE SET
    provider = excluded.provider, kind = excluded.kind, key_id = excluded.key_id, sealed = excluded.sealed,
    generation = excluded.generation, state = excluded.state, expires_at = excluded.expires_at,
    obtained_at = excluded.obtained_at, lease_owner = NULL, lease_until = NULL;

-- name: forget_secret!
DELETE FROM secret WHERE connection = :connection;

-- name: lease_secret!
UPDATE secret SET state = :to_state, lease_owner = :lease_owner, lease_until = :lease_until
WHERE connection = :connection AND generation = :generation AND sealed = :sealed AND state = :from_state;

-- name: renew_secret!
UPDATE secret SET
    key_id = :key_id, sealed = :sealed, generation = :generation + 1, state = :state, expires_at = :expires_at,
    obtained_at = :obtained_at, lease_owner = NULL, lease_until = NULL
WHERE connection = :connection AND generation = :generation AND sealed = :was_sealed;

-- name: release_secret!
UPDATE secret SET state = :to_state, lease_owner = NULL, lease_until = :not_before
WHERE connection = :connection AND generation = :generation AND sealed = :sealed AND state = :from_state
AND lease_owner = :lease_owner AND lease_until = :lease_until;

-- name: secrets
SELECT connection, provider, kind, key_id, sealed, generation, lease_owner, lease_until
FROM secret ORDER BY connection;

-- name: reseal_secret!
UPDATE secret SET key_id = :key_id, sealed = :sealed
WHERE connection = :connection AND generation = :generation AND sealed = :was_sealed;

-- name: dropped_key^
SELECT dropped_at FROM dropped_key WHERE key_id = :key_id;

-- name: drop_key!
INSERT INTO dropped_key (key_id, dropped_at) VALUES (:key_id, :dropped_at) ON CONFLICT (key_id) DO NOTHING;
