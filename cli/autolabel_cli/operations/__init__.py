"""What operators ask and do: status, redrive, relabel, stop, triage."""
