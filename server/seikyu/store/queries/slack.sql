-- name: remember_request!
INSERT INTO seen_request (mark, seen_at) VALUES (:mark, :seen_at) ON CONFLICT (mark) DO NOTHING;

-- name: forget_requests!
DELETE FROM seen_request WHERE seen_at < :before;

-- name: slack_links
SELECT seq, operator, statement, seal, vouched_by, vouch FROM slack_link ORDER BY seq;

-- name: slack_head^
SELECT record FROM audit
WHERE action_id IS NULL AND kind IN ('slack.linked', 'slack.unlinked') ORDER BY seq DESC LIMIT 1;

-- name: add_slack_link!
INSERT INTO slack_link (seq, operator, statement, seal, vouched_by, vouch)
VALUES (:seq, :operator, :statement, :seal, :vouched_by, :vouch);

-- name: slack_message^
SELECT channel, ts, action_id, digest FROM slack_message WHERE channel = :channel AND ts = :ts;

-- name: slack_messages_of
SELECT channel, ts, action_id, digest FROM slack_message WHERE action_id = :action_id ORDER BY posted_at, ts;

-- name: add_slack_message!
INSERT INTO slack_message (channel, ts, action_id, digest, posted_at)
VALUES (:channel, :ts, :action_id, :digest, :posted_at) ON CONFLICT (channel, ts) DO NOTHING;
