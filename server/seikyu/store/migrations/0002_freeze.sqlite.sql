CREATE TRIGGER freeze_is_never_updated BEFORE UPDATE ON "freeze"
BEGIN
SELECT RAISE(ABORT, 'the kill switch is append-only');
END;

CREATE TRIGGER freeze_is_never_deleted BEFORE DELETE ON "freeze"
BEGIN
SELECT RAISE(ABORT, 'the kill switch is append-only');
END;
