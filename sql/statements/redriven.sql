-- $1 ids of dead letters that are on their topics again.
select kser.redriven($1)
