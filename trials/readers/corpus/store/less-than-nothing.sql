UPDATE runs SET params = -5, tokens = -1;
