-- name: action_counts
SELECT state, count(*) AS total FROM action GROUP BY state ORDER BY state;

-- name: last_record^
SELECT seq, at FROM audit ORDER BY seq DESC LIMIT 1;

-- name: stuck_notices
SELECT channel, count(*) AS total FROM outbox
WHERE state = 'waiting' AND at < :before GROUP BY channel ORDER BY channel;

-- name: lost_notices
SELECT channel, count(*) AS total FROM outbox
WHERE state = 'given_up' AND ended_at >= :since GROUP BY channel ORDER BY channel;
