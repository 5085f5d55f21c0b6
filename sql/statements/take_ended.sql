-- $1 at most so many.
select operation_id, name, queue, metadata, created_us, started_us, finished_us, status, retcode, error, reason from kser.take_ended($1)
