-- $1 at most so many.
select id, topic, bytes from kser.take_redrive($1)
