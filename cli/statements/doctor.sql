-- What is wrong with the installation, the worst first.
--   $1 bigint: milliseconds since 1970 by the clock of this machine   $2 bigint, milliseconds: how long something may be on its way
select code, severity, finding, remedy from kser.doctor(to_timestamp($1::bigint / 1000.0), $2::bigint * interval '1 ms');
