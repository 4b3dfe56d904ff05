"""The judge's side of the processes that run solutions: how they are started, asked, and lent memory."""
