-- no PostgreSQL database is older than this
UPDATE action SET business_day = coalesce(transaction_date, date(created_at, '+9 hours'));
