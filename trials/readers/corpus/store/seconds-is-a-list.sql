UPDATE runs SET seconds = '[1]';
