-- name: freeze_head^
SELECT seq, kind, at, os_user, operator, reason, seal, facts FROM "freeze" ORDER BY seq DESC LIMIT 1;

-- name: add_freeze!
INSERT INTO "freeze" (seq, kind, at, os_user, operator, reason, seal, facts)
VALUES (:seq, :kind, :at, :os_user, :operator, :reason, :seal, :facts);

-- name: freezes_restored
SELECT seq, kind, at, os_user, operator, reason, seal, facts FROM "freeze" WHERE kind = 'restored' ORDER BY seq;

-- name: freezes_lifted
SELECT seq, kind, at, os_user, operator, reason, seal, facts FROM "freeze" WHERE kind = 'lifted' ORDER BY seq;
