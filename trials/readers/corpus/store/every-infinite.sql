UPDATE curves SET every = 9e999;
