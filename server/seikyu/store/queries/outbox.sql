-- name: outbox_cursor^
SELECT seq FROM outbox_channel WHERE channel = :channel;

-- name: open_outbox!
INSERT INTO outbox_channel (channel, seq)
SELECT CAST(:channel AS TEXT), coalesce(max(seq), 0) FROM audit WHERE at < :before
ON CONFLICT (channel) DO NOTHING;

-- name: move_outbox!
UPDATE outbox_channel SET seq = :to_seq WHERE channel = :channel AND seq = :from_seq;

-- name: add_notice!
INSERT INTO outbox (channel, id, kind, action_id, at, ja, en, requester, stands, state, tries, not_before)
VALUES (:channel, :id, :kind, :action_id, :at, :ja, :en, :requester, :stands, 'waiting', 0, :not_before)
ON CONFLICT (channel, id) DO NOTHING;

-- name: has_notice^
SELECT 1 AS known FROM outbox WHERE channel = :channel AND id = :id;

-- name: count_like
SELECT count(*) AS total FROM outbox
WHERE channel = :channel AND requester = :requester AND at >= :since AND kind = :kind AND stands = :stands;

-- name: notices_due
SELECT * FROM outbox WHERE channel = :channel AND state = 'waiting' AND not_before <= :now
ORDER BY tries, at, id LIMIT :limit;

-- name: lease_notice!
UPDATE outbox SET
    tries = :tries + 1, lease_owner = :lease_owner, lease_until = :lease_until,
    tried_since = coalesce(tried_since, :now)
WHERE channel = :channel AND id = :id AND state = 'waiting' AND tries = :tries;

-- name: end_notice!
UPDATE outbox SET state = :to_state, ended_at = :now, fault = :fault, lease_owner = NULL, lease_until = NULL
WHERE channel = :channel AND id = :id AND state = 'waiting';

-- name: delay_notice!
UPDATE outbox SET
    tries = :tries, not_before = :not_before, fault = coalesce(CAST(:fault AS TEXT), fault), lease_owner = NULL, lease_until = NULL
WHERE channel = :channel AND id = :id AND state = 'waiting' AND lease_owner = :lease_owner;

-- name: forget_notices!
DELETE FROM outbox WHERE at < :before;

-- name: actions_nearly_over
SELECT * FROM action
WHERE state = 'awaiting_approval' AND expires_at <= :expires_by AND expires_at > :now ORDER BY id LIMIT :limit;

-- name: outbox_page
SELECT * FROM outbox WHERE state = :state ORDER BY at DESC, id DESC LIMIT :limit;

-- name: outbox_page_all
SELECT * FROM outbox ORDER BY at DESC, id DESC LIMIT :limit;

-- name: outbox_counts
SELECT channel, state, count(*) AS total FROM outbox GROUP BY channel, state ORDER BY channel, state;
