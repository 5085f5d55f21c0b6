-- kser.admit tells how long each task has waited: its rows are other ones now.
drop function if exists kser.admit(text, integer[]);
