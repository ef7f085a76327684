-- what is asked anew and may have left before counts into every total; there is hardly ever such a row
CREATE INDEX action_doubtful ON action (
    may_have_left, state, kind, jst_day, requester, connection, counterparty_key, counterparty_id, amount, id
)
WHERE kind = 'bill' AND state = 'awaiting_approval' AND may_have_left = 1;
