-- $1 ids of dead letters that the broker has acknowledged.
select kser.redriven($1)
