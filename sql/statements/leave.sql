select kser.leave($1)
