UPDATE runs SET error = x'00';
