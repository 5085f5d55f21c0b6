select kser.measure_backlog()
