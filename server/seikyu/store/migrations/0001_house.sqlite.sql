CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN
SELECT RAISE(ABORT, 'the audit log is append-only');
END;
