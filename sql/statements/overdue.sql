select kser.overdue()
