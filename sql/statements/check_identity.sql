-- Whether the server is another one than before, so that a new generation was drawn.
select kser.check_identity()
