"""Pages that show what runs in an account: executions, queues, alarms, metrics. They only read, through AWS's APIs."""
