UPDATE members SET sweep = x'00ff';
