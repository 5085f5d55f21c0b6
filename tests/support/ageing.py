"""Operations of a time long ago: their ids rise with time, so they are given other ones."""

OLDER = """
with old as (select %s::uuid as id, %s::interval as age), new as (
	select (left(kser.first_id(clock_timestamp() - age)::text, 13) || substr(id::text, 14))::uuid as id from old
), operations as (
	update kser.operations o set id = new.id, created_at = o.created_at - age, started_at = o.started_at - age, finished_at = o.finished_at - age from old, new where o.id = old.id
), tasks as (update kser.tasks k set operation_id = new.id from old, new where k.operation_id = old.id
), history as (update kser.history h set operation_id = new.id, at = h.at - age from old, new where h.operation_id = old.id
), keys as (update kser.keys k set operation_id = new.id from old, new where k.operation_id = old.id
), ready as (update kser.ready r set operation_id = new.id from old, new where r.operation_id = old.id
), claims as (update kser.claims c set operation_id = new.id from old, new where c.operation_id = old.id
), stops as (update kser.stops s set operation_id = new.id from old, new where s.operation_id = old.id
)
select id from new
"""


def make_older(run, operation, age):
    """As if everything about it had happened so much earlier; returns the operation's new id. run(statement, *parameters) gives rows."""
    row = run(OLDER, str(operation), age)[0]
    return row["id"] if isinstance(row, dict) else row[0]
