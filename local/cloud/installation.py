"""Install all patches and services that make ministack behave like AWS, in order."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from local.cloud.acts_of_services import install_acts_of_services
from local.cloud.alarm_actions import install_alarm_actions
from local.cloud.alarms import Alarms
from local.cloud.allowed_requests import install_allowed_requests
from local.cloud.application_autoscaling import ScalingRecords, application_autoscaling_service
from local.cloud.boot import Boot
from local.cloud.cloudformation.autoscaling_types import register_autoscaling_types
from local.cloud.cloudformation.bucket_settings import install_bucket_settings
from local.cloud.cloudformation.conditions import install_conditions
from local.cloud.cloudformation.function_settings import install_function_settings
from local.cloud.cloudformation.mapping_settings import install_mapping_settings
from local.cloud.cloudformation.sagemaker_types import register_sagemaker_types
from local.cloud.cloudformation.state_machine_settings import install_state_machine_settings
from local.cloud.cloudformation.table_settings import install_table_settings
from local.cloud.cloudformation.unread_properties import install_property_watch
from local.cloud.denials import install_denial_log
from local.cloud.endpoint_instances import EndpointInstances
from local.cloud.endpoint_metrics import EndpointMetricsFeed
from local.cloud.event_sources import install_event_sources
from local.cloud.faults.board import FAULT_BOARD
from local.cloud.faults.calls import CallFaults
from local.cloud.faults.control import install_control
from local.cloud.faults.deliveries import Deliveries
from local.cloud.faults.invocations import Invocations
from local.cloud.function_urls import install_function_urls
from local.cloud.functions.worker import Worker
from local.cloud.json_service import Handler, serve
from local.cloud.keeping.keeper import Keeper
from local.cloud.key_use import install_key_use, install_topic_keys
from local.cloud.lambda_runtime import LambdaRuntime
from local.cloud.latencies import install_latencies
from local.cloud.log_patterns import install_log_patterns
from local.cloud.metering.meter import Meter
from local.cloud.metering.request_meter import RequestMeter
from local.cloud.metering.work_meter import WorkMeter
from local.cloud.metric_search import install_metric_search
from local.cloud.permissions import guard_sagemaker, install_permissions
from local.cloud.policy_cache import install_policy_cache
from local.cloud.policy_variables import install_policy_variables
from local.cloud.resource_policies import install_resource_policies
from local.cloud.role_credentials import role_credentials
from local.cloud.s3_refusals import install_s3_refusals
from local.cloud.scaling import Scaling
from local.cloud.sqs_moves import MessageMoves
from local.cloud.stepfunctions.service import install_step_functions
from local.cloud.xray import handle_xray
from local.portal.server import Portal
from local.records import Records
from local.sagemaker import service as sagemaker
from local.sagemaker.gateway import connect


def install(boot: Boot, stopping: threading.Event) -> Callable[[], None]:
    """Patch the ministack of this process; return the function that ends the started threads and processes.

    `stopping` is set when the server begins to end. Raises UnreadableState.
    """
    with contextlib.ExitStack() as ending:
        # First: ministack reads the objects as soon as one of its services is patched.
        keeper = Keeper(boot.kept, stopping) if boot.settings.keep else None
        kept = keeper.records if keeper else Records()
        invocations = Invocations(FAULT_BOARD)
        invoke = invocations.invoke if boot.settings.faults else Worker.invoke
        meter = Meter()
        work = WorkMeter(meter)
        runtime = LambdaRuntime(boot, work.metered(invoke) if boot.settings.meter else invoke)
        runtime.install()
        ending.callback(runtime.close)

        install_function_urls(boot.gateway)
        install_denial_log()
        install_event_sources()
        install_log_patterns()
        install_alarm_actions()
        install_metric_search()
        install_resource_policies()
        install_s3_refusals()
        MessageMoves().install()
        serve("xray", handle_xray, target_prefixes=[])
        alarms = Alarms(boot.settings.alarm_scale)
        executions = install_step_functions(boot, alarms.count_execution, work.count_transition, kept)
        install_bucket_settings()
        install_conditions()
        install_function_settings()
        install_state_machine_settings()
        install_table_settings()
        install_topic_keys()
        install_property_watch()
        # After the watch, which would take every property that the conversion reads as used.
        install_mapping_settings()

        requests: Handler = sagemaker.handle_request
        if boot.settings.enforce_iam:
            install_permissions()
            install_policy_cache()
            install_policy_variables()
            install_acts_of_services()
            install_key_use()
            install_allowed_requests(boot.folder / "allowed.jsonl")
            requests = guard_sagemaker(requests)
        serve("sagemaker", requests, target_prefixes=["SageMaker."])
        rest_of_the_cloud = connect(boot.gateway, lambda role: role_credentials(role, "SageMaker"))
        sagemaker.start(boot.settings, rest_of_the_cloud, boot.folder, kept)
        ending.callback(sagemaker.stop)
        if boot.portal is not None:
            portal = Portal(sagemaker.current().jobs, socket.socket(fileno=boot.portal))
            portal.start()
            sagemaker.current().workteams.portal = portal.url.rstrip("/")
            ending.callback(portal.close)
        register_sagemaker_types()

        records = ScalingRecords()
        scaling = Scaling(
            records,
            EndpointInstances(),
            in_alarm=alarms.in_alarm,
            value=alarms.value,
            scale=boot.settings.alarm_scale,
        )
        alarms.follow(EndpointMetricsFeed(sagemaker.endpoints, alarms.level).publish)
        alarms.follow(scaling.act)
        alarms.install()
        # Ends before the stand-in, because its steps ask for the endpoints.
        ending.callback(alarms.stop)
        serve(
            "application-autoscaling",
            application_autoscaling_service(records, lambda: list(scaling.activities)).handle,
            target_prefixes=["AnyScaleFrontendService."],
        )
        register_autoscaling_types(records)
        if boot.settings.meter:
            # Inside the faults: AWS does not bill what they keep from the services.
            work.install()
            RequestMeter(meter).install()
            meter.serve()
        if boot.settings.faults:
            Deliveries(FAULT_BOARD).install()
            CallFaults(FAULT_BOARD, invocations).install()
            install_control(FAULT_BOARD)
        install_latencies(boot.settings.latencies)
        if keeper:
            keeper.install()
            keeper.serve(sagemaker.current().jobs, executions)
            ending.callback(keeper.stop)
        return ending.pop_all().close
    raise AssertionError("unreachable")
