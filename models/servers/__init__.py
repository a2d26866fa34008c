"""Model servers that obey SageMaker's container contract: GET /ping, POST /invocations."""
