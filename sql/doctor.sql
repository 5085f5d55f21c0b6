-- What is wrong with this installation, as far as the database can tell. A row for each finding, the worst first:
--
--   severity  error: something stands still or is in danger; warning: look at it; info
--   code      names the kind of finding; docs/verbs.md lists them
--   finding   what was seen; remedy: what helps
--
--   client_time  what the caller's clock says, to be compared with the server's; null: not
--   patience     how long something may be on its way before it is a finding
--
-- Changes nothing. Looks at every operation that has not ended.
create or replace function kser.doctor(client_time timestamptz default null, patience interval default '1 min')
returns table (severity text, code text, finding text, remedy text) language plpgsql volatile security definer
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
begin
	return query
	select * from (
		select * from doctor_operations()
		union all select * from doctor_claims(patience)
		union all select * from doctor_engine(patience)
		union all select * from doctor_server(client_time, patience)
	) as f (severity, code, finding, remedy) order by array_position(array['error', 'warning', 'info'], f.severity), f.code, f.finding;
end
$$;
