-- What the oracle sees of the database: every change of a task's or an operation's state, noted by triggers in the transaction
-- that makes it. Not part of kser; only the fault suite's databases have it.
create schema audit;

create table audit.changes (
	id bigint generated always as identity primary key, -- of one task: in the order of its changes, since they hold its row
	at timestamptz not null default clock_timestamp(),
	xid xid8 not null default pg_current_xact_id(),
	operation_id uuid not null,
	position integer,       -- null: the operation itself
	uuid uuid,
	was text,               -- null: it was made
	was_attempt integer,
	status text not null,
	attempt integer,
	nonce text              -- of the execution whose result the row holds
);

create function audit.note_task() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	insert into audit.changes (operation_id, position, uuid, was, was_attempt, status, attempt, nonce)
	values (new.operation_id, new.position, new.uuid, old.status, old.attempt, new.status, new.attempt, new.retval ->> 'nonce');
	return null;
end
$$;

create function audit.note_operation() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	insert into audit.changes (operation_id, was, status) values (new.id, case when tg_op = 'UPDATE' then old.status::text end, new.status);
	return null;
end
$$;

create trigger audit after update on kser.tasks for each row
	when (old.status is distinct from new.status or old.attempt is distinct from new.attempt or old.uuid is distinct from new.uuid)
	execute function audit.note_task();
create trigger audit_change after update on kser.operations for each row when (old.status is distinct from new.status)
	execute function audit.note_operation();
create trigger audit_new after insert on kser.operations for each row execute function audit.note_operation();
