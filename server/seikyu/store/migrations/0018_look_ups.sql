-- many customers may owe the same price on the same day: the customer first, then what makes a twin
DROP INDEX action_twin;

CREATE INDEX action_twin_key ON action (counterparty_key, amount, transaction_date, kind);

CREATE INDEX action_twin_id ON action (connection, counterparty_id, amount, transaction_date, kind);
