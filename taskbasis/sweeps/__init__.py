"""Many runs: what remains to do before they start, what each became, and what is not done twice."""
