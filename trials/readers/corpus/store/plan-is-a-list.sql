UPDATE sweeps SET plan = '[]';
