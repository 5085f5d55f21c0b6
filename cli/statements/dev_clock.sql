-- The database's clock, as a text that dev_ready.sql takes.
select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US+00') as now;
