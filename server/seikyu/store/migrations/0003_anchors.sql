ALTER TABLE action ADD COLUMN business_day TEXT;

UPDATE action SET business_day = coalesce(transaction_date, date(created_at, '+9 hours'));

CREATE INDEX action_search ON action (business_day, id, amount, counterparty_key, state);
