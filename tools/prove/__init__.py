"""Proves the completion protocol for small worlds: `make prove`, or `python -m tools.prove`.

The protocol (docs/developers/completion-protocol.md) brings every unit, one frame for one model revision, to an
answer or a failure, and wakes the run that waits for it. The functions of the stack run side by side, and any of them
may die between two calls to AWS. A test picks a few of the possible orders. The explorer visits all of them.

How it works. The explorer runs the product's own code, the domain over its AWS adapters (functions.py), one call to
AWS at a time (replay.py). Pure functions answer the calls (services.py). A state holds everything that the next step
may depend on (world.py). From each state the explorer takes every step that may come next: a call of any running
function, an event of the world, or a fault for which the world still has a budget (steps.py). It goes on until no new
state is left (search.py). Calls that no other function can notice do not get an order of their own.

What it proves. In every state of each world in worlds.py, the promises of promises.py hold. It says nothing of larger
worlds, of faults beyond a world's budget, or of the services themselves: tests/contract holds services.py to what the
product expects of DynamoDB. tests/exploration breaks the protocol in five known ways, and the explorer must find each.

How to read a violation. The first line is the broken promise, and the drive, unit or state that breaks it. Then comes
the shortest schedule that leads there, one step a line:

    4. the endpoint answers d/detector.0001/front/1700000000000000000/0a2057f31cba-1.out
    5. collect(Completed d/front/1700000000000000000.png 0a2057f31cba-1.out) and it dies: delete_item pending#d#1 -> ok

* A line that begins with `submit(…)`, `collect(…)`, `turn(…)` (a reconcile pass) or `wait(…)` is a step of that
  function. In parentheses is its argument: the upload, the notification, the drive, the token of the wait.
* After the colon are the calls that it made in this step: operation, key or item, and after `->` the answer.
  Calls that read the clock, and queries of empty places that matter to no run, are left out.
* `and ends`: the function returned. `and it dies`, `and it stays on the queue`, `and the last call is made twice`: a
  fault. `and then <operation>`: the call that breaks the promise.
* Any other line is an event of the world: the endpoint answers, a wait times out, a message is lost.
"""
