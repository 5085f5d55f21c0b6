-- The database's clock, as a text that may be compared with times in the tables.
select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US+00') as now;
