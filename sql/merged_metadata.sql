-- What a task's message carries as metadata: the operation's, its own keys win; null: nothing.
create or replace function kser.merged_metadata(of_operation json, of_task json) returns json language sql immutable parallel safe
return case
	when of_task is null then nullif(of_operation::text, '{}')::json
	else (of_operation::jsonb || of_task::jsonb)::json
end;
