-- The limits that the functions check, by name. What the programs check too has the same number there (a test compares them).
create or replace function kser.bound(name text) returns integer language sql immutable parallel safe
return case name
	when 'message_bytes' then 1048576       -- a record on a topic
	when 'stamp_bytes' then 4096            -- kept free in a record for what the orchestrator and the worker add
	when 'json_depth' then 64
	when 'entrypoint_bytes' then 255
	when 'queue_bytes' then 100
	when 'operation_tasks' then 10000
	when 'submit_operations' then 10000     -- in one call of submit_many
	when 'dead_letter_bytes' then 65536     -- kept of a record that could not be used
end;
