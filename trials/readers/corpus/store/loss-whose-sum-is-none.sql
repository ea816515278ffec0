UPDATE runs SET loss = 1.7e308 WHERE status = 'done';
