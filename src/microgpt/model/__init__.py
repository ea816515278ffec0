"""What is computed: settings, the ledger of parameters, the state of a training, its schedule and its cost."""
