CREATE TRIGGER slack_link_is_never_changed BEFORE UPDATE OR DELETE ON slack_link
FOR EACH ROW EXECUTE FUNCTION seikyu_append_only();

CREATE TRIGGER slack_link_is_never_emptied BEFORE TRUNCATE ON slack_link
FOR EACH STATEMENT EXECUTE FUNCTION seikyu_append_only();
