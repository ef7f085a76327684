-- name: add_revision!
INSERT INTO revision (action_id, revision, editor, call_digest, statement, seal)
VALUES (:action_id, :revision, :editor, :call_digest, :statement, :seal);

-- name: every_revision_of
SELECT action_id, revision, editor, call_digest, statement, seal FROM revision
WHERE action_id = :action_id ORDER BY revision;

-- name: set_aside_revision!
UPDATE revision SET revision = :aside WHERE action_id = :action_id AND revision = :revision;

-- name: every_revision
SELECT * FROM revision;

-- name: revise_action!
UPDATE action SET
    revision = :revision, call_digest = :call_digest, arguments = :arguments, canonical = :canonical,
    digest = :digest, natural_key = :natural_key, amount = :amount, counterparty_id = :counterparty_id,
    counterparty_key = :counterparty_key, transaction_date = :transaction_date, file_sha256 = :file_sha256,
    notes = :notes, verdict = :verdict, approvers = :approvers, expires_at = :expires_at, updated_at = :updated_at,
    business_day = :business_day, destination = :destination
WHERE id = :id AND state = 'awaiting_approval' AND revision = :old_revision AND digest = :old_digest;

-- name: renew_action!
UPDATE action SET
    canonical = :canonical, digest = :digest, amount = :amount, counterparty_id = :counterparty_id,
    counterparty_key = :counterparty_key
WHERE id = :id AND state = 'approved' AND revision = :revision AND digest = :old_digest;
