UPDATE runs SET samples = '[1]';
