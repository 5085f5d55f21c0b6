-- The database of a dev stack's private server.
create database kser;
