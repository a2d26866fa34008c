"""Step Functions executions: a strict interpreter of JSONata state machines.

ministack keeps the state machines themselves; what runs them is here, because redriving, stopping, time-outs and the
distributed map reach into every state. A construct that is not implemented is refused when the machine is created.
"""
