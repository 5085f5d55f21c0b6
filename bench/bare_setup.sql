-- The tables of the bare loop: kser's shape, without what only kser needs. 5,000 operations of 10 tasks; the first ones run.
drop schema if exists bare cascade;
create schema bare;
create table bare.operations (id uuid primary key, status smallint, finished_at timestamptz, params json) with (fillfactor = 60);
create table bare.tasks (operation_id uuid, position integer, status smallint, attempt integer, dispatched_at timestamptz, finished_at timestamptz, retcode integer,
	params json, primary key (operation_id, position)) with (fillfactor = 35);
insert into bare.operations select gen_random_uuid(), 1, null, '{}' from generate_series(1, 5000);
insert into bare.tasks select o.id, p, case p when 0 then 1 else 0 end, 0, null, null, null, '{}' from bare.operations o, generate_series(0, 9) as p;
