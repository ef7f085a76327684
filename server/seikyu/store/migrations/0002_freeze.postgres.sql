CREATE TRIGGER freeze_is_never_changed BEFORE UPDATE OR DELETE ON "freeze"
FOR EACH ROW EXECUTE FUNCTION seikyu_append_only();

CREATE TRIGGER freeze_is_never_emptied BEFORE TRUNCATE ON "freeze"
FOR EACH STATEMENT EXECUTE FUNCTION seikyu_append_only();
