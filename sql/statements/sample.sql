-- $1 queue, $2 epoch, $3 least of epoch and floor, $4 ends by partition.
select kser.sample($1, $2, $3, $4)
