-- $1 queue, $2 epoch, $3 committed, $4 marked, $5 starts, $6 ends.
select kser.look($1, $2, $3, $4, $5, $6)
