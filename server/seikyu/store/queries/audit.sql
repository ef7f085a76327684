-- name: audit_head^
SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1;

-- name: append_audit!
INSERT INTO audit (seq, at, kind, action_id, record, prev, hash)
VALUES (:seq, :at, :kind, :action_id, :record, :prev, :hash);

-- name: audit_page
SELECT seq, at, kind, action_id, record, prev, hash FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: audit_before_first^
SELECT seq FROM audit WHERE seq < 1 LIMIT 1;

-- name: audit_of_action
SELECT seq, at, kind, action_id, record, prev, hash FROM audit WHERE action_id = :action_id ORDER BY seq;

-- name: audit_hash^
SELECT hash FROM audit WHERE seq = :seq;

-- name: logins_connected
SELECT record FROM audit WHERE kind = :kind AND action_id IS NULL ORDER BY seq DESC;
