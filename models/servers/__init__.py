"""Model servers that follow SageMaker's container contract: GET /ping, POST /invocations."""
