"""Step Functions executions: a strict interpreter of JSONata state machines.

ministack keeps the state machines. Executions run here, because redrives, stops, timeouts and the distributed map
affect every state. A state machine with a construct that is not implemented is refused when it is created.
"""
