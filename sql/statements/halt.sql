-- $1 reason, $2 the generation of the reply that gave cause.
select kser.halt($1, $2)
