"""How states follow each other: started, ended, restarted, removed, taken up again."""
