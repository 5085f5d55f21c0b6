-- $1 instance, $2 name, $3 version, $4 floor, $5 sleeping, $6 joining, $7 lease, $8 silence.
select registered, generation, epoch, keeper, in_flight, overdue, stops, redrive from kser.beat($1, $2, $3, $4, $5, $6, $7, $8)
