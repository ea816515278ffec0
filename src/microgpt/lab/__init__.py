"""Many runs: what is planned, how it is kept, and what can soundly be said of it."""
