-- $1 the worker's incarnation, $2 names of tasks, each with a reason. Rows: places that became free, by queue.
select queue, freed from kser.release($1, $2)
