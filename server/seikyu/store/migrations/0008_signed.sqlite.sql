CREATE TRIGGER slack_link_is_never_updated BEFORE UPDATE ON slack_link
BEGIN
SELECT RAISE(ABORT, 'who speaks for whom in Slack is append-only');
END;

CREATE TRIGGER slack_link_is_never_deleted BEFORE DELETE ON slack_link
BEGIN
SELECT RAISE(ABORT, 'who speaks for whom in Slack is append-only');
END;
