CREATE INDEX action_customer_key_totals ON action (counterparty_key, jst_day, kind, state, amount);
CREATE INDEX action_customer_id_totals ON action (connection, counterparty_id, jst_day, kind, state, amount);
CREATE INDEX action_connection_totals ON action (connection, jst_day, kind, state, amount);
