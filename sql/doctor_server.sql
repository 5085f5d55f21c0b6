-- The part of doctor about the server: settings that endanger what is stored, what keeps dead rows alive, sessions that hold locks.
-- client_time: what the caller's clock says. Sees of other sessions what the owner of the schema may see.
create or replace function kser.doctor_server(client_time timestamptz, patience interval) returns table (severity text, code text, finding text, remedy text) language plpgsql stable
set search_path = pg_catalog, kser, pg_temp as $$
#variable_conflict use_column
declare
	t constant timestamptz := clock_timestamp();
begin
	return query
	select s.severity, 'setting_' || s.name, format('%s is %s: %s', s.name, current_setting(s.name), s.finding), format('set %s = on', s.name)
	from (values ('fsync', 'error', 'a crash of the machine destroys the database'), ('full_page_writes', 'error', 'a crash of the machine may destroy the database'),
		('synchronous_commit', 'warning', 'what was acknowledged may be lost in a crash'), ('autovacuum', 'warning', 'tables only grow')) as s (name, severity, finding)
	where current_setting(s.name) in ('off', 'local');
	return query
	select 'info', 'setting_data_checksums', 'data_checksums is off: a damaged page is not noticed', 'pg_checksums --enable, with the server stopped'
	where current_setting('data_checksums') = 'off';
	return query
	select 'warning', 'clock', format('the clocks of the database and of this machine differ by %s s', round(extract(epoch from t - client_time), 1)), 'synchronize them (NTP): deadlines are told by the database and kept by the workers'
	where abs(extract(epoch from t - client_time)) > 2;

	return query
	select 'warning', 'dead_rows', format('table kser.%s has %s dead rows and %s live ones', s.relname, s.n_dead_tup, s.n_live_tup), 'is something keeping them (old_snapshot)? Else vacuum kser.' || s.relname
	from pg_stat_user_tables s
	where s.schemaname = 'kser' and s.relname in ('ready', 'operations', 'tasks', 'claims', 'instances', 'workers') and s.n_dead_tup > greatest(20000, s.n_live_tup);
	return query
	select 'warning', 'old_snapshot', format('session %s (%s) has had a snapshot open for %s: dead rows cannot be removed', a.pid, coalesce(nullif(a.application_name, ''), a.usename, '?'), date_trunc('second', t - a.xact_start)), format('select pg_terminate_backend(%s)', a.pid)
	from pg_stat_activity a where a.backend_xmin is not null and a.xact_start < t - patience and a.pid <> pg_backend_pid() and a.backend_type not like 'autovacuum%' order by a.xact_start limit 5;
	return query
	select 'warning', 'prepared_transaction', format('prepared transaction %s is open since %s: dead rows cannot be removed', to_json(x.gid), date_trunc('second', x.prepared)), format('commit prepared or rollback prepared %L', x.gid)
	from pg_prepared_xacts x where x.prepared < t - patience order by x.prepared limit 5;
	return query
	select 'warning', 'replication_slot', format('replication slot %s is used by nobody: it keeps WAL%s', x.slot_name, case when x.xmin is not null then ' and dead rows' end), format('select pg_drop_replication_slot(%L), unless its reader comes back', x.slot_name)
	from pg_replication_slots x where not x.active order by x.slot_name;
	return query
	select 'warning', 'idle_in_transaction', format('session %s (%s) is idle in a transaction for %s and holds locks on kser''s tables', a.pid, coalesce(nullif(a.application_name, ''), a.usename, '?'), date_trunc('second', t - a.state_change)), format('select pg_terminate_backend(%s)', a.pid)
	from pg_stat_activity a
	where a.state like 'idle in transaction%' and a.state_change < t - patience and a.datname = current_database()
		and exists (select from pg_locks l join pg_class c on c.oid = l.relation where l.pid = a.pid and l.locktype = 'relation' and c.relnamespace = 'kser'::regnamespace)
	order by a.state_change limit 5;
end
$$;
