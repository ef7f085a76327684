-- name: freeze_head^
SELECT seq, kind, at, os_user, operator, reason, seal FROM "freeze" ORDER BY seq DESC LIMIT 1;

-- name: add_freeze!
INSERT INTO "freeze" (seq, kind, at, os_user, operator, reason, seal)
VALUES (:seq, :kind, :at, :os_user, :operator, :reason, :seal);
