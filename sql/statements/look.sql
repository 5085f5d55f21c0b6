-- $1 queue, $2 epoch, by partition: $3 committed offsets, $4 whether marked, $5 starts, $6 ends.
select kser.look($1, $2, $3, $4, $5, $6)
