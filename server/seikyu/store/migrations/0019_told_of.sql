-- an event names what it is about by the provider's id or by our number, whatever became of it here
DROP INDEX action_reference;

CREATE INDEX action_reference ON action (connection, reference, operation);

CREATE INDEX action_number ON action (connection, natural_key);
