// What a history says about the states of an execution. Knows no page.
//
// An event names the one before it in its strand. A visit of a state begins with its StateEntered; every later event
// belongs to the visit of the event before it, or to a visit around that one.

const ENDS = { ExecutionFailed: "FAILED", ExecutionAborted: "ABORTED", ExecutionTimedOut: "TIMED_OUT", ExecutionSucceeded: "SUCCEEDED" };
const CONTAINER = /^(Map|Parallel)/;
const RUNNING = new Set(["RUNNING", "RETRYING"]);

export class Run {
  #visits = new Map(); // the visit of each event, by the event's number
  #kinds = new Map(); // the type of each event, by number
  #iterations = new Map(); // the index of each MapIterationStarted, by number
  #open = new Set();
  last = 0;
  all = []; // visits in order
  taken = new Set(); // transitions, as JSON of [from, to]

  /** Takes up the events that it does not have yet, in order. */
  add(events) {
    for (const event of events) {
      if (event.id <= this.last) continue;
      this.#take(event);
      this.#kinds.set(event.id, event.type);
      this.last = event.id;
    }
  }

  /** The visit that an event belongs to; undefined for those of the execution itself. */
  visitOf(id) {
    return this.#visits.get(id);
  }

  /** All visits of a state, the newest last. */
  visits(name) {
    return this.all.filter((visit) => visit.name === name);
  }

  /** The statuses of all states that were entered, by name: the one that needs attention most. */
  statuses() {
    const found = new Map();
    for (const visit of this.all) {
      const known = found.get(visit.name);
      if (!known || !RUNNING.has(known) || RUNNING.has(visit.status)) {
        // Of iterations beside each other, a failed one counts more than those that ended later.
        const beside = known === "FAILED" && visit.parent?.status === "FAILED" && !RUNNING.has(visit.status);
        found.set(visit.name, beside ? known : visit.status);
      }
    }
    return found;
  }

  #take(event) {
    const before = this.#visits.get(event.previous);
    if (event.type.endsWith("StateEntered")) {
      const exited = this.#kinds.get(event.previous)?.endsWith("StateExited");
      const visit = {
        name: event.details.name, kind: event.type.replace("StateEntered", ""), entered: event.time, enteredId: event.id,
        parent: exited ? before?.parent : before, index: exited ? before?.index : this.#iterations.get(event.previous),
        status: "RUNNING", attempts: 0, errors: [],
      };
      if (exited && before) this.taken.add(JSON.stringify([before.name, visit.name]));
      else this.taken.add(JSON.stringify(["", visit.name]));
      this.all.push(visit);
      this.#open.add(visit);
      this.#visits.set(event.id, visit);
      return;
    }
    if (event.type === "MapIterationStarted") this.#iterations.set(event.id, event.details.index);
    const visit = this.#belongs(event, before);
    if (visit) this.#visits.set(event.id, visit);
    if (event.type in ENDS) this.#end(ENDS[event.type], visit, event);
    else if (event.type === "ExecutionRedriven") this.#reopen();
    else if (visit) this.#note(visit, event);
  }

  #belongs(event, before) {
    const around = function* (visit) {
      for (let one = visit; one; one = one.parent) yield one;
    };
    const name = event.details.name;
    let fits = () => true;
    if (event.type.endsWith("StateExited")) fits = (visit) => visit.name === name && this.#open.has(visit);
    else if (event.type.startsWith("MapIteration")) fits = (visit) => visit.name === name;
    else if (CONTAINER.test(event.type)) fits = (visit) => CONTAINER.test(visit.kind);
    // After a redrive, a strand goes on behind an event of the state around it, without another StateEntered.
    if (/Scheduled$/.test(event.type) && CONTAINER.test(before?.kind)) return this.#resumed(before, this.#iterations.get(event.previous));
    for (const visit of around(before)) if (fits(visit)) return visit;
    return event.type.endsWith("StateExited") ? [...this.#open].findLast((visit) => visit.name === name) : undefined;
  }

  /** The visit in which an iteration, or a branch, goes on after a redrive. */
  #resumed(container, index) {
    const ended = (visit) => visit.kind === "Task" && !["SUCCEEDED", "CAUGHT", "RUNNING"].includes(visit.status);
    const visit = this.all.findLast((one) => isInside(one, container) && one.index === index && ended(one));
    if (visit) this.#open.add(visit);
    return visit ?? container;
  }

  #note(visit, event) {
    const { type, details } = event;
    if (type.endsWith("StateExited")) {
      const caught = visit.errors.length && visit.failing;
      this.#close(visit, caught ? "CAUGHT" : "SUCCEEDED", event);
      visit.exitedId = event.id;
    } else if (/^(MapIteration)(Failed|Aborted)$/.test(type)) {
      // The strand that ended is that of the event before.
      const inner = this.#visits.get(event.previous);
      if (inner && inner !== visit) this.#close(inner, type.endsWith("Failed") ? "FAILED" : "ABORTED", event);
    } else if (/Scheduled$|^(Map|Parallel)StateStarted$/.test(type)) {
      visit.attempts += 1;
      visit.failing = false;
      visit.status = "RUNNING";
      visit.exited = undefined;
    } else if (type === "MapIterationStarted") {
      visit.iterations = Math.max(visit.iterations ?? 0, details.index + 1);
    } else if (type === "MapRunStarted") {
      visit.mapRun = details.mapRunArn;
    } else if (/(Failed|TimedOut|Aborted)$/.test(type)) {
      if (details.error !== undefined || details.cause !== undefined || !visit.failing) {
        visit.errors.push({ time: event.time, error: details.error ?? type, cause: details.cause ?? "" });
      }
      visit.failing = true;
      visit.status = "RETRYING";
      for (const inner of [...this.#open].filter((one) => isInside(one, visit))) this.#close(inner, inner.failing ? "FAILED" : "ABORTED", event);
    }
  }

  #end(status, at, event) {
    for (const visit of [...this.#open]) {
      const failed = status === "FAILED" && (visit === at || isInside(at, visit) || (visit.failing && isInside(visit, at)));
      this.#close(visit, failed || status !== "FAILED" ? status : "ABORTED", event);
      visit.endedWith = true;
    }
  }

  #reopen() {
    for (const visit of this.all.filter((one) => one.endedWith)) {
      visit.endedWith = false;
      visit.status = "RUNNING";
      visit.exited = undefined;
      this.#open.add(visit);
    }
  }

  #close(visit, status, event) {
    visit.status = status;
    visit.exited = event.time;
    this.#open.delete(visit);
  }
}

const isInside = (visit, container) => {
  for (let one = visit?.parent; one; one = one.parent) if (one === container) return true;
  return false;
};
