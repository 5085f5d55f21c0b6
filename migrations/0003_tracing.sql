-- What the export of traces needs.

alter table kser.meta add traced_until timestamptz; -- operations that end before this are noted for the export of traces; null: none

-- Operations that have ended and whose root span is not exported yet. Insert and delete only; read as a whole.
create table kser.ended_operations (
	operation_id uuid not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
