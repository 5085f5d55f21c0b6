-- $1 reason.
select kser.halt($1)
