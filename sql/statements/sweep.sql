-- $1 at most so many rows.
select kser.sweep($1)
