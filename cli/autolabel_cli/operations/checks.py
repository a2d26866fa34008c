"""Checks of a deployed stack: whether it can take drives, and whether it can tell operators when it cannot."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from autolabel.aws import SageMakerEndpointStates, Secrets
from autolabel.contracts.errors import AutolabelError
from autolabel.contracts.wording import counted
from autolabel.models import Catalogue
from autolabel.verification import LABEL_STUDIO, LabelStudioClient, read_connection
from autolabel_cli.errors import explain
from autolabel_cli.operations.capacity import Load, plan_capacity, serving
from autolabel_cli.operations.interventions import caller
from autolabel_cli.stack import Stack

Verdict = Literal["ok", "warning", "fault", "unknown"]
# The functions that have no concurrency of their own: a run needs one call of each at a time.
_SINGLE_FUNCTIONS = 6
_LAMBDA_QUOTA = "Service Quotas, AWS Lambda, Concurrent executions (L-B99A9384)"
_CLOUDWATCH, _EVENTS = "cloudwatch.amazonaws.com", "events.amazonaws.com"
_PENDING = ("pending confirmation", "PendingConfirmation", "pendingconfirmation")
_POLL_SECONDS = 2.0
_ACTION_SECONDS = 90.0
_CLOCKS_DIFFER = timedelta(seconds=2)
# What operators' commands ask of the buckets, the ledger, the executions and the queues.
NEEDED = {
    "labels": ("s3:GetObject", "s3:PutObject"),
    "buckets": ("s3:ListBucket",),
    "ledger": ("dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"),
    "machine": ("states:StartExecution", "states:ListExecutions"),
    "executions": (
        "states:DescribeExecution",
        "states:GetExecutionHistory",
        "states:StopExecution",
        "states:RedriveExecution",
    ),
}


class Finding(msgspec.Struct, frozen=True):
    """What a check found. `unknown`: it could not look, for the reason in `detail`. `fix`: what to do; empty if ok."""

    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


class Diagnosis(msgspec.Struct, frozen=True):
    """All findings about a stack. `healthy`: none of them is a fault."""

    stack: str
    at: datetime
    healthy: bool
    findings: tuple[Finding, ...]


class Check(NamedTuple):
    """A check by its name; `look` yields its findings."""

    name: str
    look: Callable[[Stack], Iterator[Finding]]


def diagnose(stack: Stack, now: float, *, fire: bool = False, load: Load | None = None) -> Diagnosis:
    """Make all checks. `fire`: also set an alarm, to see whether it publishes. `load`: that the quotas must bear."""
    checks = [*CHECKS, Check("quotas", partial(_quotas, load=load))]
    if fire:
        checks.append(Check("fired alarm", fire_alarm))
    findings = tuple(finding for check in checks for finding in _guarded(check, stack))
    healthy = all(finding.verdict != "fault" for finding in findings)
    return Diagnosis(stack.name, datetime.fromtimestamp(now, UTC), healthy, findings)


def _guarded(check: Check, stack: Stack) -> Iterator[Finding]:
    """Yield the findings of a check. A call that fails is a finding, and the other checks go on."""
    try:
        yield from check.look(stack)
    except (ClientError, BotoCoreError, AutolabelError) as e:
        yield Finding(check.name, "unknown", explain(e), "")


def _stack_status(stack: Stack) -> Iterator[Finding]:
    status = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"][0]["StackStatus"]
    if status.endswith("_IN_PROGRESS"):
        yield Finding("stack", "warning", f"the stack is {status}", "wait until the deployment has ended")
    elif "ROLLBACK" in status or status.endswith("_FAILED"):
        fix = f"aws cloudformation describe-stack-events --stack-name {stack.name} says why; then deploy again"
        yield Finding("stack", "warning" if status.endswith("ROLLBACK_COMPLETE") else "fault", f"it is {status}", fix)
    else:
        yield Finding("stack", "ok", f"it is {status}")


def _permissions(stack: Stack) -> Iterator[Finding]:
    who = caller(stack)
    if who.endswith(":root"):
        yield Finding("permissions", "ok", f"{who} is the account's root user, which may do everything")
        return
    # IAM simulates a role, not a session of it.
    _, assumed, session = who.partition(":assumed-role/")
    principal = who.replace(":sts:", ":iam:").replace(f":assumed-role/{session}", f":role/{session.split('/')[0]}")
    machine = stack.outputs["StateMachineArn"]
    partition, region, account = (machine.split(":")[at] for at in (1, 3, 4))
    buckets = [f"arn:{partition}:s3:::{bucket.name}" for bucket in (stack.ingest, stack.labels)]
    resources = {
        "labels": [f"{buckets[1]}/labels/doctor/0001/drive.json"],
        "buckets": buckets,
        "ledger": [f"arn:{partition}:dynamodb:{region}:{account}:table/{stack.outputs['LedgerName']}"],
        "machine": [machine],
        "executions": [stack.execution_arn("doctor-0001")],
    }
    lacking = list[str]()
    for place, actions in NEEDED.items():
        answer = stack.client("iam").simulate_principal_policy(
            PolicySourceArn=principal if assumed else who, ActionNames=list(actions), ResourceArns=resources[place]
        )
        results = answer["EvaluationResults"]
        lacking += [one["EvalActionName"] for one in results if one["EvalDecision"] != "allowed"]
    if lacking:
        detail = f"{who} lacks {', '.join(sorted(set(lacking)))}"
        yield Finding("permissions", "warning", detail, "docs/operators/permissions.md says which command needs which")
    else:
        yield Finding("permissions", "ok", f"{who} may read runs, and stop, redrive and relabel them")


def _reviewers(stack: Stack) -> Iterator[Finding]:
    back_end = stack.parameters.get("VerificationBackEnd", "ground-truth")
    name, arn = stack.parameters.get("WorkteamName", ""), stack.parameters.get("WorkteamArn", "")
    if name or arn:
        yield _workteam(stack, name, arn)
    elif back_end != LABEL_STUDIO:
        yield Finding("reviewers", "fault", "there is no work team", "deploy with WorkteamName or WorkteamArn")
    if secret := stack.parameters.get("LabelStudioConnectionArn", ""):
        connection = read_connection(Secrets(stack.client("secretsmanager")).read(secret), secret)
        LabelStudioClient(connection, secret).find_projects("autolabel doctor")
        yield Finding("reviewers", "ok", f"Label Studio at {connection.url} answers, and takes the token")


def _workteam(stack: Stack, name: str, arn: str) -> Finding:
    region = stack.outputs["StateMachineArn"].split(":")[3]
    if arn and arn.split(":")[3] != region:
        detail = f"the work team {arn} is not in {region}, where the stack is"
        return Finding("reviewers", "fault", detail, "deploy with a work team of this Region")
    if ":workteam/vendor-crowd/" in arn:
        return Finding("reviewers", "unknown", f"{arn} is a vendor's work team, which cannot be looked at")
    name = arn.rpartition("/")[2] or name
    try:
        team = stack.client("sagemaker").describe_workteam(WorkteamName=name)["Workteam"]
    except ClientError as e:
        if e.response.get("Error", {}).get("Code") not in ("ValidationException", "ResourceNotFound"):
            raise
        fix = "create it in the console (Ground Truth, Labeling workforces), or deploy with the name of another"
        return Finding("reviewers", "fault", f"the work team {name} does not exist in {region}", fix)
    if not team["MemberDefinitions"]:
        return Finding("reviewers", "fault", f"the work team {name} has no members", "invite reviewers to it")
    return Finding("reviewers", "ok", f"the work team {name} exists, its portal is {team.get('SubDomain', 'unknown')}")


def _buckets(stack: Stack) -> Iterator[Finding]:
    s3, again = stack.client("s3"), "deploy the stack again: something changed the bucket"
    for bucket in (stack.ingest, stack.labels):
        try:
            rules = s3.get_bucket_cors(Bucket=bucket.name)["CORSRules"]
        except ClientError as e:
            if e.response.get("Error", {}).get("Code") != "NoSuchCORSConfiguration":
                raise
            rules = []
        if any("GET" in rule["AllowedMethods"] and "*" in rule["AllowedOrigins"] for rule in rules):
            yield Finding("buckets", "ok", f"reviewers' browsers may load pictures from {bucket.name} (CORS)")
        else:
            detail = f"{bucket.name} has no CORS rule for GET: reviewers see no pictures"
            yield Finding("buckets", "fault", detail, again)
    queue = stack.output("SubmitQueueUrl").rpartition("/")[2]
    told = s3.get_bucket_notification_configuration(Bucket=stack.ingest.name).get("QueueConfigurations", [])
    if any(one["QueueArn"].rpartition(":")[2] == queue for one in told):
        yield Finding("buckets", "ok", f"{stack.ingest.name} notifies the submit queue of uploads")
    else:
        detail = f"{stack.ingest.name} does not notify the submit queue: uploads are not labelled"
        yield Finding("buckets", "fault", detail, again)


def _event_sources(stack: Stack) -> Iterator[Finding]:
    functions = stack.resources("AWS::Lambda::Function")
    for name in ("SubmitFunction", "CollectFunction"):
        pages = stack.client("lambda").get_paginator("list_event_source_mappings")
        found = [one for page in pages.paginate(FunctionName=functions[name]) for one in page["EventSourceMappings"]]
        stopped = [one for one in found if not one["State"].startswith("Enabl")]
        if found and not stopped:
            yield Finding("queues", "ok", f"{name} takes messages from its queue")
            continue
        what = f"is {stopped[0]['State']}" if stopped else "does not exist"
        fix = f"aws lambda update-event-source-mapping --enabled --uuid {stopped[0]['UUID']}" if stopped else ""
        yield Finding("queues", "fault", f"the event source of {name} {what}", fix or "deploy the stack again")


def _endpoints(stack: Stack) -> Iterator[Finding]:
    models = Catalogue(stack.labels.read, time.time).active_models(views=stack.shows_views)
    states = SageMakerEndpointStates(stack.client("sagemaker"))
    for model in models:
        state = states.state(model.endpoint)
        if state == "InService":
            yield Finding("endpoints", "ok", f"{model.id}: endpoint {model.endpoint} is in service")
        else:
            name, _, revision = model.id.rpartition(".")
            fix = f"autolabel models restore {name}@{revision}" if state == "missing" else "look at the endpoint's log"
            yield Finding("endpoints", "fault", f"{model.id}: endpoint {model.endpoint} is {state}", fix)
    if not models:
        yield Finding("endpoints", "warning", "no model is active: drives that name none wait", "autolabel models add")


def _quotas(stack: Stack, load: Load | None) -> Iterator[Finding]:
    """Compare the account's quotas with what the stack may use, and with what a load needs."""
    planned = plan_capacity(stack, load) if load else None
    for request in planned.changes if planned else ():
        yield Finding("quotas", "warning", "the load needs more than the stack is deployed with", request)
    limit = stack.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    given = {name: int(value) for name, value in stack.parameters.items() if name.endswith("Concurrency")}
    shards = max(given.get("ShardConcurrency", 0), given.get("SliceConcurrency", 0))
    needed = 2 * given.get("QueueConcurrency", 0) + shards + given.get("WebhookConcurrency", 0) + _SINGLE_FUNCTIONS
    needed = max(needed, sum(planned.functions.values()) if planned else 0)
    if limit >= needed:
        yield Finding("quotas", "ok", f"the account may run {limit:,} functions at once, the stack needs {needed:,}")
    else:
        detail = f"the account may run {limit:,} functions at once, and the stack uses up to {needed:,}"
        fix = f"ask for {needed:,} ({_LAMBDA_QUOTA}), or deploy with a smaller QueueConcurrency and ShardConcurrency"
        yield Finding("quotas", "warning", detail, fix)
    wanted = dict[str, int]()
    for need in planned.models if planned else ():
        wanted[need.instance] = wanted.get(need.instance, 0) + need.instances
    yield from _instance_quotas(stack, Counter(wanted) | _most_instances(stack))


def _most_instances(stack: Stack) -> Counter[str]:
    """Count the instances to which the endpoints of active models may grow, by type."""
    most = Counter[str]()
    for model in Catalogue(stack.labels.read, time.time).active_models(views=stack.shows_views):
        (target,) = stack.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{model.endpoint}/variant/all"]
        )["ScalableTargets"] or [{"MaxCapacity": 1}]
        most[serving(stack, model.endpoint).instance] += target["MaxCapacity"]
    return most


def _instance_quotas(stack: Stack, wanted: Counter[str]) -> Iterator[Finding]:
    if not wanted:
        return
    pages = stack.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quotas = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    for kind, count in sorted(wanted.items()):
        quota = quotas.get(name := f"{kind} for endpoint usage", 0.0)
        detail = f"the models may grow to {counted(count, 'instance')} of {kind}, the account may have {quota:g}"
        fix = f"ask for {count} (Service Quotas, Amazon SageMaker, {name}), or give the models a smaller MaxInstances"
        yield Finding("quotas", "ok", detail) if quota >= count else Finding("quotas", "warning", detail, fix)


def _subscriptions(stack: Stack) -> Iterator[Finding]:
    topic = stack.output("OpsTopicArn")
    pages = stack.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    found = [one for page in pages for one in page["Subscriptions"]]
    # SNS spells it in several ways.
    pending = [one["Endpoint"] for one in found if one["SubscriptionArn"] in _PENDING]
    confirm = "open AWS's mail to the address and confirm; after three days, subscribe it again"
    if len(pending) < len(found):
        heard = ", ".join(sorted(one["Endpoint"] for one in found if one["Endpoint"] not in pending))
        yield Finding("ops topic", "ok", f"its messages go to {heard}")
    elif found:
        yield Finding("ops topic", "fault", f"nobody has confirmed: {', '.join(sorted(pending))}", confirm)
        return
    else:
        fix = "deploy with OpsEmail, or aws sns subscribe"
        yield Finding("ops topic", "fault", "nobody is subscribed: failures and alarms reach nobody", fix)
    if pending:
        yield Finding("ops topic", "warning", f"not confirmed: {', '.join(sorted(pending))}", confirm)


def _publishing(stack: Stack) -> Iterator[Finding]:
    """Check that CloudWatch and EventBridge may publish on the ops topic, and use its key."""
    topic, again = stack.output("OpsTopicArn"), "deploy the stack again: something changed the topic's policy"
    attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    for service in (_CLOUDWATCH, _EVENTS):
        if _allows(attributes.get("Policy", "{}"), service, ("SNS:Publish", "sns:Publish", "sns:*", "SNS:*")):
            yield Finding("alarms", "ok", f"{service} may publish on the ops topic")
        else:
            yield Finding("alarms", "fault", f"{service} may not publish on the ops topic", again)
    key = attributes.get("KmsMasterKeyId", "")
    if "alias/aws/sns" in key:
        detail = "the ops topic is encrypted with AWS's own key, which CloudWatch may not use: no alarm arrives"
        yield Finding("alarms", "fault", detail, "encrypt it with a key of yours that cloudwatch.amazonaws.com may use")
    elif key:
        policy = stack.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        if not _allows(policy, _CLOUDWATCH, ("kms:GenerateDataKey*", "kms:GenerateDataKey", "kms:*")):
            fix = f"let {_CLOUDWATCH} use kms:Decrypt and kms:GenerateDataKey* in the key's policy"
            yield Finding("alarms", "fault", f"CloudWatch may not use the key {key} of the ops topic", fix)


def _alarms(stack: Stack) -> Iterator[Finding]:
    topic, found = stack.output("OpsTopicArn"), _described_alarms(stack)
    mute = sorted(name for name, alarm in found.items() if not alarm["ActionsEnabled"])
    silent = sorted(name for name, alarm in found.items() if topic not in alarm["AlarmActions"])
    ringing = sorted(name for name, alarm in found.items() if alarm["StateValue"] == "ALARM")
    if not found:
        yield Finding("alarms", "fault", "the stack has no alarm", "deploy the stack again")
    for name in mute:
        fix = f"aws cloudwatch enable-alarm-actions --alarm-names {name}"
        yield Finding("alarms", "fault", f"{name} does not publish: its actions are switched off", fix)
    for name in silent:
        yield Finding("alarms", "fault", f"{name} does not publish on the ops topic", "deploy the stack again")
    if found and not mute and not silent:
        yield Finding("alarms", "ok", f"{counted(len(found), 'alarm')} publish on the ops topic")
    for name in ringing:
        reason = found[name].get("StateReason", "")
        yield Finding("alarms", "warning", f"{name} is in ALARM: {reason}", found[name].get("AlarmDescription", ""))


# `Any`: alarms as boto3 gives them.
def _described_alarms(stack: Stack) -> dict[str, dict[str, Any]]:
    names = sorted(stack.resources("AWS::CloudWatch::Alarm").values())
    cloudwatch, found = stack.client("cloudwatch"), dict[str, dict[str, Any]]()
    # DescribeAlarms takes a hundred names.
    for start in range(0, len(names), 100):
        answer = cloudwatch.describe_alarms(AlarmNames=names[start : start + 100], MaxRecords=100)
        found |= {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    return found


def fire_alarm(stack: Stack, pause: Callable[[float], None] = time.sleep) -> Iterator[Finding]:
    """Set an alarm that is not in ALARM to ALARM, look whether CloudWatch publishes, and set it back."""
    topic, cloudwatch = stack.output("OpsTopicArn"), stack.client("cloudwatch")
    quiet = [alarm for alarm in _described_alarms(stack).values() if alarm["StateValue"] != "ALARM"]
    able = [alarm for alarm in quiet if alarm["ActionsEnabled"] and topic in alarm["AlarmActions"]]
    if not able:
        detail = "no alarm can be fired: each is in ALARM already or does not publish on the ops topic"
        yield Finding("fired alarm", "unknown", detail, "see the findings about alarms")
        return
    name, before = able[0]["AlarmName"], able[0]["StateValue"]
    began = datetime.now(UTC) - _CLOCKS_DIFFER
    reason = f"autolabel doctor --fire by {caller(stack)}: a test, nothing is wrong"
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason=reason)
    try:
        summary = _action_of(cloudwatch, name, began, pause)
    finally:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=before, StateReason=reason)
    if summary.startswith("Successfully"):
        detail = f"{name} was set to ALARM, and CloudWatch published it on the ops topic"
        fix = "whether a mail came, only its reader can tell: look for it"
        yield Finding("fired alarm", "ok", detail, fix)
    elif summary:
        detail = f"{name} was set to ALARM, and CloudWatch could not publish it: {summary}"
        yield Finding("fired alarm", "fault", detail, "check the policy and the key of the ops topic")
    else:
        detail = f"{name} was set to ALARM, and CloudWatch has no action of it after {_ACTION_SECONDS:g} s"
        fix = f"aws cloudwatch describe-alarm-history --alarm-name {name} --history-item-type Action"
        yield Finding("fired alarm", "fault", detail, fix)


# `Any`: boto3's client.
def _action_of(cloudwatch: Any, name: str, began: datetime, pause: Callable[[float], None]) -> str:
    """Wait for the action of an alarm, and return CloudWatch's sentence about it; empty if there is none in time."""
    waited = 0.0
    while waited < _ACTION_SECONDS:
        history = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="Action", StartDate=began)
        for item in history["AlarmHistoryItems"]:
            return str(item["HistorySummary"])
        pause(_POLL_SECONDS)
        waited += _POLL_SECONDS
    return ""


def _allows(policy: str, service: str, actions: tuple[str, ...]) -> bool:
    """Check whether a resource's policy allows a service one of these actions. Conditions are not looked at."""
    statements = msgspec.json.decode(policy).get("Statement", [])
    return any(
        statement["Effect"] == "Allow"
        and service in _listed(_principal(statement))
        and set(actions) & set(_listed(statement.get("Action", [])))
        for statement in statements
    )


# `Any`: a statement of a policy document that anybody may have written.
def _principal(statement: dict[str, Any]) -> object:
    principal = statement.get("Principal", {})
    return principal.get("Service", []) if isinstance(principal, dict) else principal


def _listed(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


CHECKS = (
    Check("stack", _stack_status),
    Check("permissions", _permissions),
    Check("reviewers", _reviewers),
    Check("buckets", _buckets),
    Check("queues", _event_sources),
    Check("endpoints", _endpoints),
    Check("ops topic", _subscriptions),
    Check("alarms", _publishing),
    Check("alarms", _alarms),
)
