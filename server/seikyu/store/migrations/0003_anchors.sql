ALTER TABLE action ADD COLUMN business_day TEXT;

CREATE INDEX action_search ON action (business_day, id, amount, counterparty_key, state);
