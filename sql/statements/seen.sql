select kser.seen($1, $2)
