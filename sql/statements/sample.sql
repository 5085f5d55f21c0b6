-- $1 queue, $2 epoch, $3 valid, $4 ends.
select kser.sample($1, $2, $3, $4)
