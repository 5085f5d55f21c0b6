-- True: the server is another one, there is a new generation.
select kser.check_identity()
