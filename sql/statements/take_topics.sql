-- The prefix of topics that this database belongs to. $1 that of this orchestrator.
select kser.take_topics($1)
