-- $1 why nothing may be dispatched any more.
select kser.halt($1)
