UPDATE runs SET flop = 9e999;
