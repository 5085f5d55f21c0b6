-- Whose topics the tasks of this database go to: the prefix of the first orchestrator; null: none has come yet.
alter table kser.meta add topic_prefix text;
