-- a total reads its index alone: the rows that count, with everything the sum looks at
DROP INDEX action_totals;
DROP INDEX action_customer_key_totals;
DROP INDEX action_customer_id_totals;
DROP INDEX action_connection_totals;

CREATE INDEX action_totals ON action (requester, jst_day, amount, id, kind, state)
WHERE kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded');

CREATE INDEX action_customer_key_totals ON action (counterparty_key, jst_day, requester, amount, id, kind, state)
WHERE kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded');

CREATE INDEX action_customer_id_totals ON action (connection, counterparty_id, jst_day, requester, amount, id, kind, state)
WHERE kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded');

CREATE INDEX action_connection_totals ON action (connection, jst_day, amount, id, kind, state)
WHERE kind = 'bill' AND state IN ('approved', 'executing', 'unknown', 'manual_review', 'succeeded');
