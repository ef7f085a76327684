-- name: action^
SELECT * FROM action WHERE id = :id;

-- name: actions_after
SELECT * FROM action WHERE id > :after ORDER BY id LIMIT :limit;

-- name: search_actions
SELECT * FROM action
WHERE business_day BETWEEN :day_from AND :day_to
AND (CAST(:amount_from AS BIGINT) IS NULL OR amount >= CAST(:amount_from AS BIGINT))
AND (CAST(:amount_to AS BIGINT) IS NULL OR amount <= CAST(:amount_to AS BIGINT))
AND (
    CAST(:counterparty AS TEXT) IS NULL
    OR replace(counterparty_key, CAST(:counterparty AS TEXT), '') <> counterparty_key
)
AND (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT))
ORDER BY business_day DESC, id DESC LIMIT :limit;

-- name: count_search
SELECT count(*) AS total, coalesce(sum(amount), 0) AS yen FROM action
WHERE business_day BETWEEN :day_from AND :day_to
AND (CAST(:amount_from AS BIGINT) IS NULL OR amount >= CAST(:amount_from AS BIGINT))
AND (CAST(:amount_to AS BIGINT) IS NULL OR amount <= CAST(:amount_to AS BIGINT))
AND (
    CAST(:counterparty AS TEXT) IS NULL
    OR replace(counterparty_key, CAST(:counterparty AS TEXT), '') <> counterparty_key
)
AND (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT));

-- name: actions_between
-- what has no day, because somebody changed it, belongs to each range: nobody can say that it does not
SELECT * FROM action
WHERE id > :after AND (
    business_day BETWEEN :day_from AND :day_to
    OR business_day IS NULL OR business_day NOT BETWEEN '0001-01-01' AND '9999-12-31'
)
ORDER BY id LIMIT :limit;

-- name: add_action!
INSERT INTO action (
    id, revision, state, tool, operation, kind, connection, requester, surface, call_digest, canonical, digest,
    natural_key, amount, counterparty_id, counterparty_key, transaction_date, file_sha256, notes, verdict, approvers,
    created_at, jst_day, expires_at, updated_at, epoch, lease_owner, lease_until, not_before, unsent_tries,
    unknown_since, may_have_left, reference, provider_facts, outcome, reversed_by, business_day, destination, arguments,
    taken_up
) VALUES (
    :id, :revision, :state, :tool, :operation, :kind, :connection, :requester, :surface, :call_digest, :canonical,
    :digest, :natural_key, :amount, :counterparty_id, :counterparty_key, :transaction_date, :file_sha256, :notes,
    :verdict, :approvers, :created_at, :jst_day, :expires_at, :updated_at, :epoch, :lease_owner, :lease_until,
    :not_before, :unsent_tries, :unknown_since, :may_have_left, :reference, :provider_facts, :outcome, :reversed_by,
    :business_day, :destination, :arguments, :taken_up
);

-- name: move_action!
UPDATE action SET
    state = :state, approvers = :approvers, verdict = :verdict, expires_at = :expires_at, epoch = :epoch,
    revision = :revision, notes = :notes, jst_day = :jst_day, may_have_left = :may_have_left,
    lease_owner = :lease_owner, lease_until = :lease_until, not_before = :not_before, unsent_tries = :unsent_tries,
    unknown_since = :unknown_since, reference = :reference, provider_facts = :provider_facts, outcome = :outcome,
    updated_at = :updated_at
WHERE id = :id AND state = :from_state AND revision = :from_revision AND epoch = :from_epoch;

-- name: postpone_action!
UPDATE action SET not_before = :not_before, updated_at = :updated_at WHERE id = :id AND state = :state
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review');

-- name: set_aside_action!
UPDATE action SET state = 'manual_review' WHERE id = :id AND state = :state
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown');

-- name: live_call^
-- CROSS JOIN: the few candidates first, for an OR over both look-ups would read every open action
SELECT a.* FROM (
    SELECT id AS candidate FROM action WHERE call_digest = :call_digest
    UNION
    SELECT r.action_id AS candidate FROM revision AS r WHERE r.call_digest = :call_digest
) AS found CROSS JOIN action AS a
WHERE a.id = found.candidate AND a.reversed_by IS NULL AND (
    a.state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded')
    OR (a.state IN ('rejected', 'returned') AND a.updated_at > :rejected_after)
)
ORDER BY a.created_at DESC LIMIT 1;

-- name: live_natural_key^
SELECT * FROM action
WHERE connection = :connection AND operation = :operation AND natural_key = :natural_key
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded')
LIMIT 1;

-- name: actions_of
SELECT * FROM action
WHERE requester = :requester
AND (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT))
AND (CAST(:cursor AS TEXT) IS NULL OR id < CAST(:cursor AS TEXT))
ORDER BY id DESC LIMIT :limit;

-- name: actions_of_all
SELECT * FROM action
WHERE (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT))
AND (CAST(:cursor AS TEXT) IS NULL OR id < CAST(:cursor AS TEXT))
ORDER BY id DESC LIMIT :limit;

-- name: actions_since
SELECT * FROM action WHERE id >= :first_id ORDER BY id;

-- name: count_actions_of^
SELECT count(*) AS total FROM action
WHERE requester = :requester AND (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT));

-- name: count_actions_of_all^
SELECT count(*) AS total FROM action WHERE (CAST(:state AS TEXT) IS NULL OR state = CAST(:state AS TEXT));

-- name: actions_in
SELECT * FROM action WHERE state = :state ORDER BY id LIMIT :limit;

-- name: actions_due
SELECT * FROM action
WHERE state = :state AND (not_before IS NULL OR not_before <= :now OR not_before > '3') -- no time begins so
ORDER BY id LIMIT :limit;

-- name: count_awaiting_of^
SELECT count(*) AS total FROM action WHERE state = 'awaiting_approval' AND requester = :requester;

-- name: totals^
-- all of it at once, for each is a journey to another machine; `doubtful` is what awaits approval anew and may have left
SELECT
    of_requester.of_day + doubtful.requester_day AS daily_total,
    of_requester.of_month + doubtful.requester_month AS monthly_total,
    of_customer.of_day + doubtful.customer_day AS customer_daily_total,
    of_customer.of_month + doubtful.customer_month AS customer_monthly_total,
    of_connection.of_day + doubtful.connection_day AS connection_daily_total,
    of_connection.of_month + doubtful.connection_month AS connection_monthly_total,
    of_customer.split + doubtful.split AS split_total,
    CASE WHEN EXISTS (
        SELECT 1 FROM action
        WHERE connection = :connection AND counterparty_id = :counterparty_id AND state = 'succeeded'
    ) THEN 1 ELSE 0 END AS knows_customer
FROM (
    SELECT
        coalesce(sum(amount), 0) AS of_month,
        coalesce(sum(CASE WHEN jst_day = :today THEN amount END), 0) AS of_day
    FROM action
    WHERE requester = :requester AND jst_day BETWEEN :first_day AND :last_day AND id <> :except_id
    AND kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded')
) AS of_requester CROSS JOIN (
    SELECT
        coalesce(sum(amount), 0) AS of_month,
        coalesce(sum(CASE WHEN jst_day = :today THEN amount END), 0) AS of_day,
        coalesce(sum(CASE WHEN jst_day = :today AND requester = :requester THEN amount END), 0) AS split
    FROM (
        SELECT id, jst_day, requester, amount FROM action
        WHERE counterparty_key = :counterparty_key AND jst_day BETWEEN :first_day AND :last_day
        AND kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded')
        UNION
        SELECT id, jst_day, requester, amount FROM action
        WHERE connection = :connection AND counterparty_id = :counterparty_id
        AND jst_day BETWEEN :first_day AND :last_day
        AND kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded')
    ) AS counted
    WHERE id <> :except_id
) AS of_customer CROSS JOIN (
    SELECT
        coalesce(sum(amount), 0) AS of_month,
        coalesce(sum(CASE WHEN jst_day = :today THEN amount END), 0) AS of_day
    FROM action
    WHERE connection = :connection AND jst_day BETWEEN :connection_from AND :last_day AND id <> :except_id
    AND kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded')
) AS of_connection CROSS JOIN (
    SELECT
        coalesce(sum(CASE WHEN jst_day = :today AND is_mine = 1 THEN amount END), 0) AS requester_day,
        coalesce(sum(CASE WHEN is_mine = 1 THEN amount END), 0) AS requester_month,
        coalesce(sum(CASE WHEN jst_day = :today AND is_theirs = 1 THEN amount END), 0) AS customer_day,
        coalesce(sum(CASE WHEN is_theirs = 1 THEN amount END), 0) AS customer_month,
        coalesce(sum(CASE WHEN jst_day = :today AND connection = :connection THEN amount END), 0) AS connection_day,
        coalesce(sum(CASE WHEN connection = :connection THEN amount END), 0) AS connection_month,
        coalesce(sum(CASE WHEN jst_day = :today AND is_mine = 1 AND is_theirs = 1 THEN amount END), 0) AS split
    FROM (
        SELECT
            id, jst_day, connection, amount,
            CASE WHEN requester = :requester THEN 1 ELSE 0 END AS is_mine,
            CASE
                WHEN counterparty_key = :counterparty_key THEN 1
                WHEN connection = :connection AND counterparty_id = :counterparty_id THEN 1
                ELSE 0
            END AS is_theirs
        FROM action
        WHERE kind = 'bill' AND state = 'awaiting_approval' AND may_have_left = 1
        AND jst_day BETWEEN :first_day AND :last_day AND id <> :except_id
    ) AS counted
) AS doubtful;

-- name: twins_of
SELECT a.id, a.operation, a.connection, a.transaction_date, a.counterparty_id, a.counterparty_key FROM (
    SELECT id AS candidate FROM action
    WHERE counterparty_key = :counterparty_key AND amount = :amount
    AND transaction_date BETWEEN :date_from AND :date_to AND kind = :kind
    UNION
    SELECT id AS candidate FROM action
    WHERE connection = :connection AND counterparty_id = :counterparty_id AND amount = :amount
    AND transaction_date BETWEEN :date_from AND :date_to AND kind = :kind
) AS found CROSS JOIN action AS a
WHERE a.id = found.candidate AND a.id <> :except_id AND a.reversed_by IS NULL
AND a.state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded')
ORDER BY a.created_at DESC LIMIT 5;

-- name: twin_files
SELECT id, operation, connection FROM action
WHERE kind = 'document' AND file_sha256 = :file_sha256 AND id <> :except_id
AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded')
ORDER BY created_at DESC LIMIT 5;

-- name: knows_destination^
SELECT 1 AS known FROM action
WHERE connection = :connection AND destination = :destination AND state = 'succeeded' AND id <> :except_id LIMIT 1;

-- name: last_destination^
SELECT destination FROM action
WHERE connection = :connection AND destination IS NOT NULL AND state = 'succeeded' AND id <> :except_id
AND (counterparty_id = :counterparty_id OR counterparty_key = :counterparty_key)
ORDER BY updated_at DESC, id DESC LIMIT 1;

-- name: reverse_action!
UPDATE action SET reversed_by = :reversed_by
WHERE connection = :connection AND operation = :operation AND reference = :reference AND state = 'succeeded';

-- name: actions_done
SELECT * FROM action
WHERE connection = :connection AND operation = :operation AND reference = :reference AND state = 'succeeded';

-- name: add_vote!
INSERT INTO vote (action_id, revision, operator, decision, statement, seal, via, voted_at)
VALUES (:action_id, :revision, :operator, :decision, :statement, :seal, :via, :voted_at);

-- name: voted_between
SELECT DISTINCT action_id FROM vote WHERE action_id BETWEEN :first AND :last;

-- name: has_vote^
SELECT 1 AS known FROM vote
WHERE action_id = :action_id AND operator = :operator AND decision = :decision AND voted_at = :voted_at;

-- name: votes_of
SELECT action_id, revision, operator, decision, statement, seal, via, voted_at FROM vote
WHERE action_id = :action_id ORDER BY voted_at;

-- name: every_vote
SELECT * FROM vote;

-- name: add_attempt!
INSERT INTO attempt (action_id, epoch, started_at) VALUES (:action_id, :epoch, :started_at);

-- name: end_attempt!
UPDATE attempt SET ended_at = :ended_at, outcome = :outcome, detail = :detail
WHERE action_id = :action_id AND epoch = :epoch AND ended_at IS NULL;

-- name: attempts
SELECT epoch, started_at, ended_at, outcome, detail FROM attempt WHERE action_id = :action_id ORDER BY epoch;

-- name: remember_policy!
INSERT INTO policy (sha256, source, first_used_at) VALUES (:sha256, :source, :first_used_at)
ON CONFLICT (sha256) DO NOTHING;

-- name: action_epochs
-- so many at once, for each is a journey to another machine
SELECT id, epoch FROM action WHERE id IN (
    :id_0, :id_1, :id_2, :id_3, :id_4, :id_5, :id_6, :id_7,
    :id_8, :id_9, :id_10, :id_11, :id_12, :id_13, :id_14, :id_15,
    :id_16, :id_17, :id_18, :id_19, :id_20, :id_21, :id_22, :id_23,
    :id_24, :id_25, :id_26, :id_27, :id_28, :id_29, :id_30, :id_31
);

-- name: count_taken_up_open
SELECT count(*) AS total FROM action
WHERE taken_up IS NOT NULL AND state IN ('approved', 'executing', 'unknown', 'manual_review');

-- name: rivals_of
SELECT a.* FROM (
    SELECT id AS candidate FROM action WHERE reversed_by IS NULL AND call_digest = :call_digest
    UNION
    SELECT b.id AS candidate FROM revision AS r CROSS JOIN action AS b
    WHERE r.call_digest = :call_digest AND b.id = r.action_id AND b.reversed_by IS NULL
    UNION
    SELECT id AS candidate FROM action
    WHERE connection = :connection AND operation = :operation AND natural_key = CAST(:natural_key AS TEXT)
    AND state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded')
) AS found CROSS JOIN action AS a
WHERE a.id = found.candidate AND a.id <> :id
AND a.state IN ('awaiting_approval', 'approved', 'executing', 'unknown', 'manual_review', 'succeeded');

-- name: take_up_action!
INSERT INTO action (
    id, revision, state, tool, operation, kind, connection, requester, surface, call_digest, canonical, digest,
    natural_key, amount, counterparty_id, counterparty_key, transaction_date, file_sha256, notes, verdict, approvers,
    created_at, jst_day, expires_at, updated_at, epoch, lease_owner, lease_until, not_before, unsent_tries,
    unknown_since, may_have_left, reference, provider_facts, outcome, reversed_by, business_day, destination, arguments,
    taken_up
) VALUES (
    :id, :revision, :state, :tool, :operation, :kind, :connection, :requester, :surface, :call_digest, :canonical,
    :digest, :natural_key, :amount, :counterparty_id, :counterparty_key, :transaction_date, :file_sha256, :notes,
    :verdict, :approvers, :created_at, :jst_day, :expires_at, :updated_at, :epoch, :lease_owner, :lease_until,
    :not_before, :unsent_tries, :unknown_since, :may_have_left, :reference, :provider_facts, :outcome, :reversed_by,
    :business_day, :destination, :arguments, :taken_up
)
ON CONFLICT (id) DO UPDATE SET
    revision = excluded.revision, state = excluded.state, tool = excluded.tool, operation = excluded.operation,
    kind = excluded.kind, connection = excluded.connection, requester = excluded.requester,
    surface = excluded.surface, call_digest = excluded.call_digest, canonical = excluded.canonical,
    digest = excluded.digest, natural_key = excluded.natural_key, amount = excluded.amount,
    counterparty_id = excluded.counterparty_id, counterparty_key = excluded.counterparty_key,
    transaction_date = excluded.transaction_date, file_sha256 = excluded.file_sha256, notes = excluded.notes,
    verdict = excluded.verdict, approvers = excluded.approvers, created_at = excluded.created_at,
    jst_day = excluded.jst_day, expires_at = excluded.expires_at, updated_at = excluded.updated_at,
    epoch = excluded.epoch, lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
    not_before = excluded.not_before, unsent_tries = excluded.unsent_tries, unknown_since = excluded.unknown_since,
    may_have_left = excluded.may_have_left, reference = excluded.reference,
    provider_facts = excluded.provider_facts, outcome = excluded.outcome, reversed_by = excluded.reversed_by,
    business_day = excluded.business_day, destination = excluded.destination, arguments = excluded.arguments,
    taken_up = excluded.taken_up;
